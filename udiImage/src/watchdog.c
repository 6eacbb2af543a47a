/*
 * watchdog --socket ENGINE_SOCKET --job-dir DIR [--uid UID --gid GID] NAME...
 *
 * Clears up behind a launcher that was killed: it cannot do that itself, and a container that was created and
 * not started, or the keys of a job on the host, would stay. The launcher starts it with a pipe as stdin. A byte
 * `k` before the pipe's end says that all is well. The end without it is the launcher's death: the job's
 * directory is removed, and the containers NAME... are removed through the engine's unix socket until it is sure
 * that none comes any more (the launcher's request to create one may still be under way in the engine when
 * the launcher is dead).
 *
 * It is in a session of its own, ignores what can be ignored and holds nothing of its launcher open.
 * Sources: Docker Engine API 1.41 (ContainerDelete), openat(2), unlinkat(2), symlink(7), credentials(7).
 */
#include "common/common.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SILENCE_MS
#define SILENCE_MS (10 * 60 * 1000)	/* an engine that does not answer at all is asked for so long */
#endif
#ifndef NO_HELP_MS
#define NO_HELP_MS (15 * 1000)		/* one that answers, but with errors, for so long */
#endif
#ifndef ANSWER_MS
#define ANSWER_MS (60 * 1000)		/* removing a running container takes the engine its time */
#endif
#ifndef PAUSE_MS
#define PAUSE_MS 50			/* after the first round of a kind, doubled with each further one */
#endif
#define CLEAN_ROUNDS 6			/* they spread over three seconds */
#define MOST_MOVES 1000000		/* somebody who nests directories faster than we lift them has to stop */
#define AT_ONCE 16			/* requests under way at a time */

static struct {
	const char *engine, *directory;
	long long uid, gid;
	char **names;
} options = { .uid = -1, .gid = -1 };

/* ---- the job's directory ---- */

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

/* As the job's user: root removing files in a directory that a user can change is how links become weapons. */
static void remove_job_directory(void)
{
	struct stat facts;

	if (lstat(options.directory, &facts) < 0 && errno == ENOENT)
		return;
	pid_t child = fork();

	if (child == 0) {
		gid_t gid = (gid_t)options.gid;

		if (geteuid() == 0 && options.uid > 0 &&
		    (setgroups(1, &gid) < 0 || setresgid(gid, gid, gid) < 0 ||
		     setresuid((uid_t)options.uid, (uid_t)options.uid, (uid_t)options.uid) < 0))
			_exit(1);
		remove_directory(options.directory);
		_exit(0);
	}
	while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
}

/* ---- the engine ---- */

/* Sends one request; the connection its answer will come over, -1 when the engine is not there. */
static int ask_removal(const char *name)
{
	char request[512];
	int fd = unix_connect(options.engine);
	int length = snprintf(request, sizeof request, "DELETE /containers/%s?force=1&v=1 HTTP/1.1\r\n"
			      "Host: gangway\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", name);

	if (fd < 0)
		return -1;
	if (send(fd, request, (size_t)length, MSG_NOSIGNAL) == length)
		return fd;
	close(fd);
	return -1;
}

/* The answer's status, 0 when there is none. */
static int read_status(int fd)
{
	char answer[256];
	size_t length = 0;
	int status = 0;
	long long until = now_ms() + ANSWER_MS;

	while (length < sizeof answer - 1) {
		struct pollfd wait = { fd, POLLIN, 0 };
		long long left = until - now_ms();

		if (left <= 0 || poll(&wait, 1, (int)left) <= 0)
			break;
		ssize_t got = recv(fd, answer + length, sizeof answer - 1 - length, 0);

		if (got <= 0)
			break;
		length += (size_t)got;
		answer[length] = 0;
		if (strchr(answer, '\n'))
			break;
	}
	answer[length] = 0;
	if (!strchr(answer, '\n') || sscanf(answer, "HTTP/1.%*1d %3d", &status) != 1)
		return 0;
	return status;
}

struct round {
	int answered;	/* the engine said anything */
	int helped;	/* it removed one, is about to, or knows that there is none */
	int none;	/* it knows none of them any more */
};

static void judge(struct round *round, int status)
{
	if (!status) {
		round->none = 0;
		return;
	}
	round->answered = 1;
	if (status != 404)
		round->none = 0;
	/* 409: a removal is in progress. Everything else, 500 before all, is a try that did not help. */
	if (status < 300 || status == 404 || status == 409)
		round->helped = 1;
}

static struct round ask_all(void)
{
	struct round round = { 0, 0, 1 };

	for (char **name = options.names; *name; ) {
		int fds[AT_ONCE], count = 0;

		for (; *name && count < AT_ONCE; name++)
			fds[count++] = ask_removal(*name);
		for (int i = 0; i < count; i++) {
			judge(&round, fds[i] < 0 ? 0 : read_status(fds[i]));
			if (fds[i] >= 0)
				close(fds[i]);
		}
	}
	return round;
}

static void remove_containers(void)
{
	long long started = now_ms(), silent_since = started, helpless_since = -1;
	int clean = 0, tries = 0;

	while (clean < CLEAN_ROUNDS) {
		struct round round = ask_all();
		long long now = now_ms();

		remove_job_directory();
		clean = round.none ? clean + 1 : 0;
		if (round.answered)
			silent_since = now;
		if (round.helped || !round.answered)
			helpless_since = -1;
		else if (helpless_since < 0)
			helpless_since = now;
		if (now - silent_since > SILENCE_MS || now - started > 2LL * SILENCE_MS ||
		    (helpless_since >= 0 && now - helpless_since > NO_HELP_MS))
			return;
		tries = round.none ? 0 : tries + (tries < CLEAN_ROUNDS - 1);
		usleep((useconds_t)PAUSE_MS * 1000 << (round.none ? clean - 1 : tries - 1));
	}
}

/* ---- the launcher ---- */

/* Whether the pipe's last byte before its end was `k`. */
static int launcher_said_goodbye(void)
{
	char data[256], last = 0;

	for (;;) {
		struct pollfd wait = { 0, POLLIN, 0 };
		ssize_t got = read(0, data, sizeof data);

		if (got > 0)
			last = data[got - 1];
		else if (got < 0 && errno == EAGAIN)
			poll(&wait, 1, -1);
		else if (got == 0 || errno != EINTR)
			return last == 'k';
	}
}

__attribute__((noreturn))
static void misused(const char *text, const char *value)
{
	say("watchdog", "%s%s", text, value);
	exit(2);
}

/* What an engine takes as a container's name: nothing in it needs to be quoted in an address. */
static int is_name(const char *text)
{
	size_t length = strlen(text);

	return length > 0 && length <= 255 && *text != '.' && *text != '-' &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == length;
}

static long long id_option(const char *value)
{
	long long id = parse_number(value, 0, 0x7fffffff);

	if (id < 0)
		misused("not an id: ", value);
	return id;
}

static void read_options(char **arguments)
{
	for (; *arguments && arguments[0][0] == '-'; arguments += 2) {
		const char *value = arguments[1];

		if (!value)
			misused("unknown option, or one without its value: ", *arguments);
		if (strcmp(*arguments, "--socket") == 0)
			options.engine = value;
		else if (strcmp(*arguments, "--job-dir") == 0)
			options.directory = value;
		else if (strcmp(*arguments, "--uid") == 0)
			options.uid = id_option(value);
		else if (strcmp(*arguments, "--gid") == 0)
			options.gid = id_option(value);
		else
			misused("unknown option: ", *arguments);
	}
	options.names = arguments;
	for (; *arguments; arguments++)
		if (!is_name(*arguments))
			misused("not a container's name: ", *arguments);
	if (!options.engine || *options.engine != '/')
		misused("--socket needs an absolute path", "");
	if (!options.directory || *options.directory != '/')
		misused("--job-dir needs an absolute path", "");
	if ((options.uid < 0) != (options.gid < 0))
		misused("--uid and --gid go together", "");
}

/* With anything else as stdin, /dev/null before all, its end would be there at once, and the job gone. */
static void check_stdin(void)
{
	struct stat facts;

	if (fstat(0, &facts) < 0 || !(S_ISFIFO(facts.st_mode) || S_ISSOCK(facts.st_mode)))
		misused("stdin must be the launcher's pipe", "");
}

static void ignore_signals(void)
{
	signals_block_all();
	for (int number = 1; number <= LAST_SIGNAL; number++)
		if (number != SIGCHLD)
			signal(number, SIG_IGN);
}

/* The user's pipes must see their end while we wait, and no file system stay busy for our sake. */
static void let_go(void)
{
	int null = open("/dev/null", O_RDWR);

	for (int fd = 1; fd <= 2; fd++) {
		if (null >= 0)
			dup2(null, fd);
		else
			close(fd);
	}
	close_from(3);
	setsid();
	if (chdir("/") < 0)
		_exit(1);
}

int main(int argc, char **argv)
{
	ignore_signals();
	if (argc < 1)
		return 2;
	read_options(argv + 1);
	check_stdin();
	let_go();
	if (launcher_said_goodbye())
		return 0;
	remove_job_directory();
	remove_containers();
	/* The launcher's last deed may have been to make it. */
	remove_job_directory();
	return 0;
}
