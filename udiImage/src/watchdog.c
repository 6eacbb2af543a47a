/*
 * watchdog --socket ENGINE_SOCKET --job-dir DIR [--uid UID --gid GID] [--launcher TEXT] [--also FILE]... NAME...
 *
 * Clears up behind a launcher that was killed: it cannot do that itself, and a container that was created and
 * not started, or the keys of a job on the host, would stay. The launcher starts it with a pipe as stdin. A byte
 * `k` before the pipe's end says that all is well. The end without it is the launcher's death: the job's
 * directory is removed, and the containers NAME... are removed through the engine's unix socket until it is sure
 * that none comes any more (the launcher's request to create one may still be under way in the engine when
 * the launcher is dead).
 *
 * Meanwhile another launcher may have started a job of the same name. With --launcher only what bears that text is
 * touched: containers by their label `gangway.launcher`, the directory by its file `launcher`.
 *
 * It is in a session of its own, ignores what can be ignored and holds nothing of its launcher open.
 * Sources: Docker Engine API 1.41 (ContainerInspect, ContainerDelete), RFC 9112, openat(2), unlinkat(2), symlink(7), credentials(7).
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

#define MOST_ALSO 8

static struct {
	const char *engine, *directory;
	const char *launcher;	/* NULL: whatever bears the names is ours */
	const char *also[MOST_ALSO];
	size_t also_count;
	long long uid, gid;
	char **names;
} options = { .uid = -1, .gid = -1 };

#include "watchdog_files.h"
#include "watchdog_engine.h"

/* ---- the containers ---- */

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
		int status[AT_ONCE], count = 0;

		while (name[count] && count < AT_ONCE)
			count++;
		engine_remove(name, count, status);
		for (int i = 0; i < count; i++)
			judge(&round, status[i]);
		name += count;
	}
	return round;
}

static void remove_containers(void)
{
	long long started = now_ms(), silent_since = started, helpless_since = -1;
	int clean = 0, tries = 0;

	/* A runtime without an engine: its containers end with the launcher by themselves. */
	if (!*options.names)
		return;
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

/* Nothing that JSON would write in another way. */
static const char *launcher_option(const char *value)
{
	size_t length = strlen(value);

	if (!length || length > 400 ||
	    strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:@+-") != length)
		misused("not a launcher's name: ", value);
	return value;
}

static void add_also(const char *value)
{
	if (*value != '/')
		misused("--also needs an absolute path: ", value);
	if (options.also_count == MOST_ALSO)
		misused("too many of --also: ", value);
	options.also[options.also_count++] = value;
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
		else if (strcmp(*arguments, "--launcher") == 0)
			options.launcher = launcher_option(value);
		else if (strcmp(*arguments, "--also") == 0)
			add_also(value);
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
	if (!options.directory || *options.directory != '/' || strlen(options.directory) > 4095)
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
	/* Once: the next launcher's files may be there in a moment. */
	as_user(remove_also);
	remove_job_directory();
	remove_containers();
	/* The launcher's last deed may have been to make it. */
	remove_job_directory();
	return 0;
}
