/*
 * inject withdraw: a part of inject.c. Runs as the owner of the directory that the tree lies in, which nobody else can
 * write: the client has looked. What it removes is relative to descriptors and follows no link.
 */
#include <dirent.h>
#include <sys/syscall.h>

/* What the client wrote down when it put the tree in: `made PATH` and `mtime PATH SECONDS NANOSECONDS` lines. */
#define RECORD "/injected"
/* How long sessions that are told to end may take, and how deep a tree of ours can be. */
#define LEAVE_MS 5000
#define DEEPEST 16

/* `mount`: the one that `dir`, which is taken over, is on; -1: it cannot be told. */
static int remove_children(int dir, long long mount, int depth)
{
	DIR *list = fdopendir(dir);
	struct dirent *entry;
	int failed = 0;

	if (!list) {
		close(dir);
		return -1;
	}
	while ((entry = readdir(list))) {
		const char *name = entry->d_name;
		struct stat facts;

		if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
			continue;
		if (fstatat(dirfd(list), name, &facts, AT_SYMLINK_NOFOLLOW) < 0) {
			failed = -1;
			continue;
		}
		if (S_ISDIR(facts.st_mode)) {
			int child = openat(dirfd(list), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

			/* What somebody has mounted in it is not ours. */
			if (child < 0 || mount < 0 || mount_of(child) != mount || depth == DEEPEST) {
				if (child >= 0)
					close(child);
				failed = -1;
				continue;
			}
			if (remove_children(child, mount, depth + 1) < 0)
				failed = -1;
		}
		if (unlinkat(dirfd(list), name, S_ISDIR(facts.st_mode) ? AT_REMOVEDIR : 0) < 0)
			failed = -1;
	}
	closedir(list);
	return failed;
}

/* Up to `size` bytes of a file's beginning; -1 where it cannot be read. */
static ssize_t read_start(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t length = 0;
	ssize_t got = fd < 0 ? -1 : 0;

	while (fd >= 0 && length < size && (got = read(fd, text + length, size - length)) > 0)
		length += (size_t)got;
	if (fd >= 0)
		close(fd);
	return got < 0 ? -1 : (ssize_t)length;
}

/*
 * Whether a process lives where we do: containers that see each other's, or the host's, have each a tree of its own.
 * Other users' /proc/PID/ns is closed to a root without capabilities, but never /proc/PID/cgroup.
 */
static int is_neighbour(const char *pid, const char *beside)
{
	char path[64], one[4096], other[4096];
	struct stat mine, theirs;

	snprintf(path, sizeof path, "/proc/%s/root", pid);
	if (stat(path, &theirs) == 0 && stat("/", &mine) == 0)
		return mine.st_dev == theirs.st_dev && mine.st_ino == theirs.st_ino;
	snprintf(path, sizeof path, "/proc/%s/cgroup", pid);
	ssize_t length = read_start(path, one, sizeof one);

	snprintf(path, sizeof path, "/proc/%s/cgroup", beside);
	return length > 0 && read_start(path, other, sizeof other) == length && memcmp(one, other, (size_t)length) == 0;
}

/* pidfd_open(2) and pidfd_send_signal(2), by the numbers that all architectures have. */
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif

/* Every session's program by its command line: other users' /proc/PID/exe is closed to a root without capabilities. */
static void end_sessions(int number, const char *beside)
{
	char wanted[PATH_ROOM + 16];
	size_t length = (size_t)sprintf(wanted, "%s%s", own_tree, SELF) + 1;
	DIR *list = opendir("/proc");
	struct dirent *entry;

	length += (size_t)sprintf(wanted + length, "session") + 1;

	while (list && (entry = readdir(list))) {
		long long pid = parse_number(entry->d_name, 1, 0x7fffffff);
		char path[64], words[sizeof wanted];

		if (pid < 0)
			continue;
		/* Before it is looked at: so that the signal is for that process, or for none. */
		int process = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);

		snprintf(path, sizeof path, "/proc/%lld/cmdline", pid);
		if ((process >= 0 || errno != ESRCH) && read_start(path, words, length) == (ssize_t)length && memcmp(words, wanted, length) == 0 &&
		    is_neighbour(entry->d_name, beside)) {
			/* Kernels before 5.3, and some engines' filters, do not know it. */
			if (process < 0)
				kill((pid_t)pid, number);
			else
				syscall(SYS_pidfd_send_signal, process, number, NULL, 0);
		}
		if (process >= 0)
			close(process);
	}
	if (list)
		closedir(list);
}

/* Until no session holds the tree. */
static int take_tree(int force, const char *beside)
{
	char path[PATH_ROOM];
	int fd = open(in_tree(path, SELF), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	long long begun = now_ms();

	if (fd < 0)
		return -1;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (!force)
		return BUSY;
	for (int number = SIGTERM; flock(fd, LOCK_EX | LOCK_NB) < 0;) {
		/* Any program in the container can lock what it can read; none shall keep us here by that. */
		if (now_ms() - begun > 2 * LEAVE_MS)
			return 0;
		if (now_ms() - begun > LEAVE_MS)
			number = SIGKILL;
		end_sessions(number, beside);
		poll(NULL, 0, 50);
	}
	return 0;
}

struct above {
	char path[64];			/* the directory in which something of ours was made */
	struct timespec mtime;		/* what it said before */
	char made[64];			/* a directory that was made there to hold the tree; empty: none */
};

static int read_record(struct above *above)
{
	char path[PATH_ROOM], line[256], first[64] = "";
	long long seconds;
	long nanoseconds;
	FILE *file = fopen(in_tree(path, RECORD), "re");

	memset(above, 0, sizeof *above);
	while (file && fgets(line, sizeof line, file)) {
		if (sscanf(line, "mtime %63s %lld %ld", above->path, &seconds, &nanoseconds) == 3)
			above->mtime = (struct timespec){ .tv_sec = (time_t)seconds, .tv_nsec = nanoseconds };
		sscanf(line, "made %63s", above->made);
		sscanf(line, PROGRAM " %63s", first);
	}
	if (file)
		fclose(file);
	/* Nothing but the directory that the tree lies in is ever written there, or, where that was made too, the one above. */
	size_t length = strlen(above->path);

	if (*above->made)
		return *first && strcmp(above->made, "/opt") == 0 && strcmp(above->path, "/") == 0 ? 0 : -1;
	return *first && length > 1 && strncmp(own_tree, above->path, length) == 0 && own_tree[length] == '/' &&
	    !strchr(own_tree + length + 1, '/') ? 0 : -1;
}

static int later(struct timespec one, struct timespec other)
{
	return one.tv_sec > other.tv_sec || (one.tv_sec == other.tv_sec && one.tv_nsec > other.tv_nsec);
}

/*
 * The directory above gets the time of change that it had, so that nothing shows where an engine compares. Whoever made
 * something in it since the tree came is not hidden: it gets the time of that. `beside`: a process whose cgroup is that of
 * the sessions.
 */
static int withdraw_beside(int force, const char *beside)
{
	struct above above;
	struct stat before, child;

	if (read_record(&above) < 0) {
		say(PROGRAM, "there is no tree of ours here, or its record is damaged");
		return FAILED;
	}
	int taken = take_tree(force, beside);

	if (taken != 0) {
		say(PROGRAM, taken == BUSY ? "sessions are open" : "the tree is damaged");
		return taken == BUSY ? BUSY : FAILED;
	}
	int dir = open(above.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	int top = open(own_tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (dir < 0 || top < 0 || fstat(dir, &before) < 0 ||
	    lstat(*above.made ? above.made : own_tree, &child) < 0) {
		say(PROGRAM, "%s cannot be opened: %s", own_tree, strerror(errno));
		return FAILED;
	}
	long long mount = mount_of(top);

	/* Where /opt was made for the tree, the directory above is one more up, on the same mount. */
	if (mount < 0 || mount_of(dir) != mount) {
		say(PROGRAM, "something is mounted at %s: what is in it is not ours", own_tree);
		return FAILED;
	}
	int failed = remove_children(top, mount, 0);

	if (rmdir(own_tree) < 0 || failed < 0) {
		say(PROGRAM, "not all of %s could be removed: %s", own_tree, strerror(errno));
		return FAILED;
	}
	/* Something of somebody else's may be in it by now. */
	if (*above.made && rmdir(above.made) < 0 && errno != ENOTEMPTY && errno != EEXIST) {
		say(PROGRAM, "%s could not be removed: %s", above.made, strerror(errno));
		return FAILED;
	}
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, above.mtime };

	if (later(before.st_mtim, child.st_ctim))
		times[1] = before.st_mtim;
	if (futimens(dir, times) < 0) {
		say(PROGRAM, "%s keeps the time of this change: %s", above.path, strerror(errno));
		return FAILED;
	}
	return 0;
}

static int withdraw(int force)
{
	return withdraw_beside(force, "self");
}
