/*
 * watchdog: the job's directory and the other files. A part of watchdog.c. All of it is done as the job's user.
 */
#define MOST_MOVES 1000000	/* somebody who nests directories faster than we lift them has to stop */

/*
 * Opens a directory to empty it, without ever following a link, and without entering another file
 * system. A directory that forbids it is the job user's own, so it is made to allow it first.
 */
static int open_directory(int parent, const char *name, dev_t device)
{
	int handle = openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), fd = -1;
	struct stat facts;
	char path[64];

	if (handle < 0)
		return -1;
	if (fstat(handle, &facts) == 0 && (!device || facts.st_dev == device)) {
		snprintf(path, sizeof path, "/proc/self/fd/%d", handle);
		if ((facts.st_mode & 0700) != 0700)
			chmod(path, 0700);
		fd = openat(handle, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	close(handle);
	return fd;
}

/*
 * Empties a directory. A directory within `sub` is moved up into `top` instead of being entered, so neither the
 * stack nor the number of descriptors depends on how deep somebody has nested them. Tells how many entries went.
 */
static unsigned long empty_directory(int top, int sub, dev_t device)
{
	static unsigned long moved;
	unsigned long done = 0;
	DIR *list = fdopendir(dup(sub));
	struct dirent *entry;

	if (!list)
		return 0;
	rewinddir(list);
	while ((entry = readdir(list))) {
		const char *name = entry->d_name;
		char fresh[32];

		if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
			continue;
		if (unlinkat(sub, name, 0) == 0) {
			done++;
			continue;
		}
		if (errno != EISDIR && errno != EPERM)
			continue;
		int below = open_directory(sub, name, device);

		if (below < 0)
			continue;
		if (sub == top)
			done += empty_directory(top, below, device);
		snprintf(fresh, sizeof fresh, ".gone-%lu", moved);
		if (unlinkat(sub, name, AT_REMOVEDIR) == 0)
			done++;
		else if (sub != top && moved++ < MOST_MOVES && renameat(sub, name, top, fresh) == 0)
			done++;
		close(below);
	}
	closedir(list);
	return done;
}

/* Each pass lifts nested directories by one level; the passes end when there is nothing left that can be done. */
static void remove_directory(const char *path)
{
	unsigned long done;

	do {
		struct stat facts;
		int top = open_directory(AT_FDCWD, path, 0);

		if (top < 0 || fstat(top, &facts) < 0) {
			/* A link in its place: that goes, not what it points to. */
			unlink(path);
			return;
		}
		done = empty_directory(top, top, facts.st_dev);
		close(top);
	} while (rmdir(path) < 0 && errno == ENOTEMPTY && done);
}

/* The directory says whose it is, or does not say it yet. A link, or what is no file, is nobody's word. */
static int is_directory_ours(void)
{
	char path[4096 + 16], text[512];
	struct stat facts;

	if (!options.launcher)
		return 1;
	snprintf(path, sizeof path, "%s/launcher", options.directory);
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR;
	ssize_t length = fstat(fd, &facts) == 0 && S_ISREG(facts.st_mode) ? read(fd, text, sizeof text - 1) : -1;

	close(fd);
	if (length < 0)
		return 0;
	if (length && text[length - 1] == '\n')
		length--;
	text[length] = 0;
	/* Empty: its launcher died between making it and writing it. */
	return !length || strcmp(text, options.launcher) == 0;
}

/* unlink(2) follows no link in the last place, and the others are followed with the user's rights. */
static void remove_also(void)
{
	for (size_t i = 0; i < options.also_count; i++)
		unlink(options.also[i]);
}

static void become_user(void)
{
	gid_t gid = (gid_t)options.gid;

	if (geteuid() == 0 && options.uid > 0 &&
	    (setgroups(1, &gid) < 0 || setresgid(gid, gid, gid) < 0 ||
	     setresuid((uid_t)options.uid, (uid_t)options.uid, (uid_t)options.uid) < 0))
		_exit(1);
}

/* As the job's user: root removing files in a directory that a user can change is how links become weapons. */
static void as_user(void (*work)(void))
{
	pid_t child = fork();

	if (child == 0) {
		become_user();
		work();
		_exit(0);
	}
	while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
}

static void remove_if_ours(void)
{
	if (is_directory_ours())
		remove_directory(options.directory);
}

static void remove_job_directory(void)
{
	struct stat facts;

	if (lstat(options.directory, &facts) == 0 || errno != ENOENT)
		as_user(remove_if_ours);
}
