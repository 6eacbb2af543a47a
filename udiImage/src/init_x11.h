/*
 * init: the files of X authorities. sshd writes one for each session with X11, `x11/PID.RANDOM`, where PID is the
 * process that init started for the connection, and removes it with the session. One that was killed cannot.
 */
#define MOST_AUTHORITIES 4096	/* looked at in one turn: the directory is the user's, who may fill it with anything */

/* That there is none stops no session: sshd has another place. */
static void x11_make(void)
{
	if (mkdirat(run_dir, "x11", 0700) < 0 && errno != EEXIST)
		say("init", "cannot make %s/x11: %s", options.run_dir, strerror(errno));
}

/* Also what the program xauth left beside a file, whose name begins with the file's. "" is everybody's. */
static void x11_unlink(const char *prefix)
{
	struct stat facts;
	struct dirent *entry;
	int directory = openat(run_dir, "x11", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *list = directory < 0 || fstat(directory, &facts) < 0 || facts.st_uid != geteuid() ? NULL : fdopendir(directory);

	if (!list) {
		if (directory >= 0)
			close(directory);
		return;
	}
	for (int seen = 0; seen < MOST_AUTHORITIES && (entry = readdir(list)); seen++)
		if (*entry->d_name != '.' && strncmp(entry->d_name, prefix, strlen(prefix)) == 0)
			unlinkat(directory, entry->d_name, 0);
	closedir(list);
}

/* Once the connection of this sshd has ended. */
static void x11_tidy(pid_t sshd)
{
	char prefix[32];

	snprintf(prefix, sizeof prefix, "%ld.", (long)sshd);
	x11_unlink(prefix);
}

/* Without a launcher nobody else removes what init made. */
static void x11_remove(void)
{
	if (run_dir < 0)
		return;
	x11_unlink("");
	unlinkat(run_dir, "x11", AT_REMOVEDIR);
}
