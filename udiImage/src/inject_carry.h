/*
 * inject carry, inject fetch: a part of inject.c. Where a container's root is read-only, or something is mounted over the
 * tree's usual place, an engine's archive puts nothing into it. But each container has directories in memory (/dev, and
 * often /run and /tmp), and who shares its processes (docker run --pid container:ID) comes to them by /proc/1/root.
 *
 * So we run as root of a container of our own, which has nothing but the tree and the capabilities for that, and whose
 * process 1 is the other container's. No program of that container is run, and none of its links is followed: a place
 * counts only where nobody but root can change what root has made in it.
 */
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>

#define TARGET_ROOT "/proc/1/root"
/* What the engine has mounted in the other container, as the client was told: paths there. */
static char *const *mounted;
#define CARRIED "gangway-inject"
/* More programs of the tree than that are not one file under many names. */
#define TWINS_MAX 16

static const char *const carried_places[] = { "/dev", "/run", "/tmp" };

struct copy {
	int top;			/* the new tree */
	size_t twins;
	struct {
		ino_t inode;
		char path[PATH_ROOM];	/* relative to top */
	} twin[TWINS_MAX];
};

static int copy_content(int from, int to)
{
	char buffer[64 * 1024];
	ssize_t got;

	while ((got = read(from, buffer, sizeof buffer)) > 0)
		if (write_all(to, buffer, (size_t)got) < 0)
			return -1;
	return got < 0 ? -1 : 0;
}

static int copy_file(struct copy *copy, int from, int to, const char *name, const char *path, const struct stat *facts)
{
	for (size_t i = 0; i < copy->twins; i++)
		if (copy->twin[i].inode == facts->st_ino)
			return linkat(copy->top, copy->twin[i].path, to, name, 0);
	int source = openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	int target = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int failed = source < 0 || target < 0 || copy_content(source, target) < 0 || fchmod(target, facts->st_mode & 0755) < 0;
	int reason = errno;

	if (source >= 0)
		close(source);
	/* A file that is open for writing cannot be executed. */
	if (target >= 0)
		close(target);
	if (!failed && facts->st_nlink > 1 && copy->twins < TWINS_MAX) {
		copy->twin[copy->twins].inode = facts->st_ino;
		snprintf(copy->twin[copy->twins++].path, PATH_ROOM, "%s", path);
	}
	errno = reason;
	return failed ? -1 : 0;
}

static int copy_link(int from, int to, const char *name)
{
	char target[256];
	ssize_t length = readlinkat(from, name, target, sizeof target - 1);

	if (length < 0)
		return -1;
	target[length] = 0;
	return symlinkat(target, to, name);
}

/* Takes over `from`. `path`: of the directory, relative to the tree's top, with a slash at its end or empty. */
static int copy_children(struct copy *copy, int from, int to, const char *path, int depth)
{
	DIR *list = fdopendir(from);
	struct dirent *entry;
	int failed = 0;

	while (list && !failed && (entry = readdir(list))) {
		const char *name = entry->d_name;
		char below[PATH_ROOM];
		struct stat facts;

		/* The record comes last, and is another one. */
		if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || (depth == 0 && strcmp(name, RECORD + 1) == 0))
			continue;
		if (fstatat(from, name, &facts, AT_SYMLINK_NOFOLLOW) < 0 || depth == DEEPEST ||
		    snprintf(below, sizeof below, "%s%s", path, name) >= (int)sizeof below - 1) {
			failed = -1;
		} else if (S_ISDIR(facts.st_mode)) {
			int inner = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			int made = mkdirat(to, name, 0755) < 0 ? -1 : openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

			strcat(below, "/");
			failed = inner < 0 || made < 0 ? -1 : copy_children(copy, inner, made, below, depth + 1);
			if (made >= 0)
				close(made);
		} else {
			failed = S_ISLNK(facts.st_mode) ? copy_link(from, to, name)
							: copy_file(copy, from, to, name, below, &facts);
		}
	}
	int reason = errno;

	if (list)
		closedir(list);
	errno = reason;
	return list ? failed : -1;
}

/* Whether only root can change what root has made there, and programs can be started. */
static int is_safe_place(int dir)
{
	struct stat facts;
	struct statfs system;
	struct statvfs flags;

	if (fstat(dir, &facts) < 0 || fstatfs(dir, &system) < 0 || fstatvfs(dir, &flags) < 0)
		return 0;
	if (facts.st_uid != 0 || ((facts.st_mode & 022) && !(facts.st_mode & S_ISVTX)))
		return 0;
	return system.f_type == TMPFS_MAGIC && !(flags.f_flag & (ST_RDONLY | ST_NOEXEC));
}

/*
 * Whether the engine has mounted something at a place or above it: then it is not the container's own memory, but, say, a
 * volume that another container has as well, or the host's /dev. Links of the image may lead from the path that the engine
 * was told to another one, so the kernel's number of the mount counts, too.
 */
static int is_mounted(const char *place, int dir)
{
	long long mount = mount_of(dir);

	if (mount < 0)
		return 1;
	for (char *const *path = mounted; *path; path++) {
		size_t length = strlen(*path);

		while (length && (*path)[length - 1] == '/')
			length--;
		if (strncmp(place, *path, length) == 0 && (!place[length] || place[length] == '/'))
			return 1;
		int there = open(*path, O_PATH | O_CLOEXEC);
		int same = there >= 0 && mount_of(there) == mount;

		if (there >= 0)
			close(there);
		if (same)
			return 1;
	}
	return 0;
}

/* Whether what has the tree's name there is a whole one, and root's. */
static int is_ours(int dir)
{
	struct stat facts, record;

	return fstatat(dir, CARRIED, &facts, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(facts.st_mode) && facts.st_uid == 0 &&
	    !(facts.st_mode & 022) && fstatat(dir, CARRIED RECORD, &record, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISREG(record.st_mode);
}

static int write_record(int top, const char *place, const struct stat *above)
{
	char text[256];
	int fd = openat(top, RECORD + 1, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	snprintf(text, sizeof text, PROGRAM " 1\nmtime %s %lld %ld\n", place, (long long)above->st_mtim.tv_sec,
	    above->st_mtim.tv_nsec);
	int failed = fd < 0 || write_all(fd, text, strlen(text)) < 0;

	if (fd >= 0)
		close(fd);
	return failed ? -1 : 0;
}

/* Under a name of its own until it is whole: what has the tree's name is all there. Takes over `source`. */
static int put_tree(int source, int dir, const char *place)
{
	static struct copy copy;
	char name[64];
	struct stat above;

	snprintf(name, sizeof name, "." CARRIED ".%d", (int)getpid());
	copy.twins = 0;
	if (fstat(dir, &above) < 0 || mkdirat(dir, name, 0755) < 0)
		return -1;
	copy.top = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int done = copy.top >= 0 && copy_children(&copy, source, copy.top, "", 0) == 0 &&
	    write_record(copy.top, place, &above) == 0 &&
	    syscall(SYS_renameat2, dir, name, dir, CARRIED, RENAME_NOREPLACE) == 0;
	int reason = errno;

	if (!done) {
		int half = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		if (half >= 0)
			remove_children(half, mount_of(half), 0);
		unlinkat(dir, name, AT_REMOVEDIR);
	}
	errno = reason;
	return done ? 0 : -1;
}

static int same_file(int one, int other)
{
	struct stat mine, theirs;

	return one >= 0 && other >= 0 && fstat(one, &mine) == 0 && fstat(other, &theirs) == 0 &&
	    mine.st_dev == theirs.st_dev && mine.st_ino == theirs.st_ino;
}

/*
 * Whether process 1 is in the user namespace in which its container was made, the one that its PID namespace, which is ours
 * as well, belongs to. Any user may enter a new one, and be root of mounts and of a root directory there; nobody comes back.
 */
static int has_own_users(void)
{
	int theirs = open("/proc/1/ns/user", O_RDONLY | O_CLOEXEC), ours = open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC);
	int pids = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC), made = pids < 0 ? -1 : ioctl(pids, NS_GET_USERNS);
	int same = same_file(theirs, ours) && same_file(ours, made);

	for (int i = 0, all[] = { theirs, ours, pids, made }; i < 4; i++)
		if (all[i] >= 0)
			close(all[i]);
	return same;
}

/* From here on every path is one of the other container. */
static int enter_target(void)
{
	int root = open(TARGET_ROOT, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	/* After the root was opened: what holds now did then. */
	if (root >= 0 && !has_own_users()) {
		say(PROGRAM, "its process 1 has made itself a user namespace, so what it has as root may not be the container's");
		return -1;
	}
	if (root >= 0 && fchdir(root) == 0 && chroot(".") == 0 && close(root) == 0)
		return 0;
	say(PROGRAM, "the container's files cannot be reached by its process 1: %s", strerror(errno));
	return -1;
}

/* The next place from `*index` on that is safe, opened; -1 when there is none. */
static int next_place(size_t *index)
{
	for (; *index < sizeof carried_places / sizeof *carried_places; ++*index) {
		int dir = open(carried_places[*index], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		if (dir >= 0 && is_safe_place(dir) && !is_mounted(carried_places[*index], dir))
			return dir;
		if (dir >= 0)
			close(dir);
	}
	return -1;
}

static int announce(const char *place)
{
	char text[128];

	snprintf(text, sizeof text, PROGRAM " 1 at %s/" CARRIED "\n", place);
	return write_all(1, text, strlen(text)) < 0 ? FAILED : 0;
}

static int carry(char *const *mounts)
{
	int source = open(own_tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int reason = 0, dir;

	umask(022);
	mounted = mounts;
	if (source < 0 || enter_target() < 0)
		return FAILED;
	for (size_t i = 0; (dir = next_place(&i)) >= 0; i++, close(dir))
		if (is_ours(dir))
			return announce(carried_places[i]);
	for (size_t i = 0; (dir = next_place(&i)) >= 0; i++, close(dir)) {
		/* Each try closes what it reads. */
		int again = openat(source, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		/* Another call may have been faster. */
		if (put_tree(again, dir, carried_places[i]) == 0 || is_ours(dir))
			return announce(carried_places[i]);
		reason = errno;
	}
	if (reason)
		say(PROGRAM, "the programs cannot be written to its memory: %s", strerror(reason));
	else
		say(PROGRAM, "neither /dev nor /run nor /tmp of it is a place in memory of its own where programs can be started");
	return FAILED;
}

static int fetch(int force, char *const *mounts)
{
	const char *outcome = "nothing\n";
	int dir;

	mounted = mounts;
	if (enter_target() < 0)
		return FAILED;
	for (size_t i = 0; (dir = next_place(&i)) >= 0; i++, close(dir)) {
		if (!is_ours(dir))
			continue;
		outcome = "withdrawn\n";
		snprintf(own_tree, sizeof own_tree, "%s/" CARRIED, carried_places[i]);
		int status = withdraw_beside(force, "1");

		if (status == BUSY)
			outcome = "busy\n";
		if (status != 0 && status != BUSY)
			return status;
	}
	return write_all(1, outcome, strlen(outcome)) < 0 ? FAILED : 0;
}
