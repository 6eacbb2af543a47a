/*
 * init: what it writes down in the run directory for the session entry: `environ`, exactly as the engine gave
 * it (names that no shell would take included), and `context`.
 */

/* Opens a new private file beside `name`; it becomes `name` when it is complete. */
static int record_open(const char *temporary)
{
	unlinkat(run_dir, temporary, 0);
	return openat(run_dir, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

static int record_close(int fd, int failed, const char *temporary, const char *name)
{
	int reason = errno;

	close(fd);
	if (!failed) {
		failed = renameat(run_dir, temporary, run_dir, name);
		reason = errno;
	}
	if (failed)
		unlinkat(run_dir, temporary, 0);
	errno = reason;
	return failed;
}

/* In pieces of some size: an environment has hundreds of variables and this is on the way to the job's start. */
static int record_environment(void)
{
	char piece[8192];
	size_t filled = 0;
	int failed = 0, fd = record_open(".environ");

	if (fd < 0)
		return -1;
	for (char **variable = environ; *variable && !failed; variable++) {
		size_t length = strlen(*variable) + 1;

		if (filled + length > sizeof piece) {
			failed = write_all(fd, piece, filled);
			filled = 0;
		}
		if (failed) {
			break;
		} else if (length > sizeof piece) {
			failed = write_all(fd, *variable, length);
		} else {
			memcpy(piece + filled, *variable, length);
			filled += length;
		}
	}
	if (!failed)
		failed = write_all(fd, piece, filled);
	return record_close(fd, failed, ".environ", "environ");
}

static int record_context(mode_t mask)
{
	/* getcwd(3) fails where the directory is gone: a session then starts in the home directory. */
	char *directory = getcwd(NULL, 0);
	int failed = 0, fd = record_open(".context");

	if (fd < 0) {
		free(directory);
		return -1;
	}
	char umask_record[16];
	int length = snprintf(umask_record, sizeof umask_record, "umask=%04o", (unsigned)mask);

	if (directory)
		failed = write_all(fd, "cwd=", 4) || write_all(fd, directory, strlen(directory) + 1);
	if (!failed)
		failed = write_all(fd, umask_record, (size_t)length + 1);
	free(directory);
	return record_close(fd, failed, ".context", "context");
}

/* -1 and errno when it cannot be written. */
static int record_job(void)
{
	mode_t mask = umask(0);
	int failed = record_environment() || record_context(mask);
	int reason = errno;

	umask(mask);
	errno = reason;
	return failed ? -1 : 0;
}

static void record_pid(pid_t pid)
{
	char record[32];
	int length = snprintf(record, sizeof record, "pid=%d", (int)pid);
	int fd = run_dir < 0 ? -1 : openat(run_dir, "context", O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return;
	write_all(fd, record, (size_t)length + 1);
	close(fd);
}

/* What must not outlive the launcher. */
static void record_forget_keys(void)
{
	if (run_dir < 0)
		return;
	unlinkat(run_dir, "id_ed25519", 0);
	unlinkat(run_dir, "host_ed25519", 0);
	unlinkat(run_dir, "environ", 0);
}

/* Without a launcher nobody else removes what init made. */
static void record_remove(void)
{
	if (run_dir < 0)
		return;
	unlinkat(run_dir, "ssh", 0);
	unlinkat(run_dir, "report", 0);
	unlinkat(run_dir, "environ", 0);
	unlinkat(run_dir, "context", 0);
}
