/*
 * init: the sockets of forwarded agents. sshd makes them in DIR/agents and removes them at a connection's end,
 * but one that was killed cannot; and `agent.sock` must not point to what is gone (docs/internals.md, section 9).
 */
#include <sys/un.h>

#define MOST_AGENTS 1024	/* looked at in one turn: the directory is the user's, who may fill it with anything */

/* Nothing but a directory of ours is used; that there is none stops no session. */
static void agents_make(void)
{
	if (mkdirat(run_dir, "agents", 0700) < 0 && errno != EEXIST)
		say("init", "cannot make %s/agents: %s", options.run_dir, strerror(errno));
}

static int agents_open(void)
{
	struct stat facts;
	int fd = openat(run_dir, "agents", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd >= 0 && (fstat(fd, &facts) < 0 || facts.st_uid != geteuid())) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* Connecting, without waiting, is the one way to know. A full backlog is an answer, too. */
static int agent_is_dead(int directory, const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fits = snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", directory, name);

	if (fits >= (int)sizeof address.sun_path)
		return 0;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return 0;
	int dead = connect(fd, (struct sockaddr *)&address, sizeof address) < 0 && errno == ECONNREFUSED;

	close(fd);
	return dead;
}

static int is_newer(const struct stat *one, const struct stat *other)
{
	if (one->st_mtim.tv_sec != other->st_mtim.tv_sec)
		return one->st_mtim.tv_sec > other->st_mtim.tv_sec;
	return one->st_mtim.tv_nsec > other->st_mtim.tv_nsec;
}

/* The link is replaced by renaming: whoever uses it sees the old one or the new one. */
static void agent_point_to(const char *name)
{
	char target[sizeof RUN_DIR + 16 + 256];

	snprintf(target, sizeof target, "agents/%s", name);
	unlinkat(run_dir, ".agent.sock", 0);
	if (symlinkat(target, run_dir, ".agent.sock") == 0 &&
	    renameat(run_dir, ".agent.sock", run_dir, "agent.sock") < 0)
		unlinkat(run_dir, ".agent.sock", 0);
}

/* Removes what nobody answers on. `newest` becomes the newest that is left, "" for none. */
static void agents_sweep(int directory, char *newest, size_t size)
{
	DIR *list = fdopendir(dup(directory));
	struct dirent *entry;
	struct stat facts, best = { 0 };

	*newest = 0;
	for (int seen = 0; list && seen < MOST_AGENTS && (entry = readdir(list)); ) {
		if (*entry->d_name == '.')
			continue;
		seen++;
		if (fstatat(directory, entry->d_name, &facts, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISSOCK(facts.st_mode))
			continue;
		if (agent_is_dead(directory, entry->d_name)) {
			unlinkat(directory, entry->d_name, 0);
		} else if (!*newest || is_newer(&facts, &best)) {
			snprintf(newest, size, "%s", entry->d_name);
			best = facts;
		}
	}
	if (list)
		closedir(list);
}

/* Once a connection has ended. */
static void agents_tidy(void)
{
	char newest[256];
	struct stat facts;
	int directory = agents_open();

	if (directory < 0)
		return;
	agents_sweep(directory, newest, sizeof newest);
	close(directory);
	if (*newest)
		agent_point_to(newest);
	else if (fstatat(run_dir, "agent.sock", &facts, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(facts.st_mode))
		unlinkat(run_dir, "agent.sock", 0);
}

/* Without a launcher nobody else removes what init made. */
static void agents_remove(void)
{
	if (run_dir < 0)
		return;
	agents_tidy();
	unlinkat(run_dir, "agents", AT_REMOVEDIR);
}
