/*
 * session: what sshd executes in place of the account's shell (patch session-entry). It makes the session
 * like the job: environment, working directory and umask as init wrote them down when the container started,
 * tells of the job's command and agent, then becomes the account's shell. Its arguments are the shell's: `-NAME`
 * alone for a login shell, `NAME -c COMMAND` for a command.
 *
 * It runs unprivileged, as the job's user. What it reads was written by init and can be changed by nobody but
 * that user; nothing it cannot read stops a session.
 */
#include "common/common.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef SFTP_SERVER
#define SFTP_SERVER TREE "/libexec/sftp-server"
#endif
#ifndef TOOLS_SHELL
#define TOOLS_SHELL TREE "/tools/sh"
#endif

extern char **environ;

#include "session_agent.h"
#include "session_pids.h"
#include "session_greeting.h"

/* The whole of a file that belongs to us, with a NUL behind it; NULL when there is none. */
static char *read_own(const char *path, size_t *length)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat facts;
	char *text = NULL;

	*length = 0;
	if (fd < 0)
		return NULL;
	if (fstat(fd, &facts) == 0 && S_ISREG(facts.st_mode) && facts.st_uid == geteuid())
		text = malloc((size_t)facts.st_size + 1);
	while (text && *length < (size_t)facts.st_size) {
		ssize_t got = read(fd, text + *length, (size_t)facts.st_size - *length);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		*length += (size_t)got;
	}
	if (text)
		text[*length] = 0;
	close(fd);
	return text;
}

/* The record after this one in NUL-terminated records; NULL behind the last. */
static char *next_record(char *text, size_t length, char *record)
{
	record = record ? record + strlen(record) + 1 : text;
	return text && record < text + length ? record : NULL;
}

static size_t name_length(const char *variable)
{
	return strcspn(variable, "=");
}

static int same_name(const char *one, const char *other)
{
	size_t length = name_length(one);

	return length == name_length(other) && memcmp(one, other, length) == 0;
}

#include "session_injected.h"

/*
 * What sshd derives from the account is the job's affair; what it says about the connection, and what the
 * client sent, is the session's. TERM is the session's where there is a terminal.
 */
static int comes_from_session(const char *variable)
{
	static const char *const jobs[] = { "USER", "LOGNAME", "HOME", "PATH", "SHELL", "MAIL", "TZ", "GANGWAY_INJECTED" };

	for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++)
		if (same_name(variable, jobs[i]))
			return 0;
	return !same_name(variable, "TERM") || getenv("SSH_TTY");
}

static int overridden(const char *variable)
{
	for (char **mine = environ; *mine; mine++)
		if (same_name(*mine, variable) && comes_from_session(*mine))
			return 1;
	return 0;
}

/*
 * The job's environment (`text`) in its own order, minus what the session has another value for, then the
 * session's. Without a job's environment sshd's stays as it is.
 */
static char **merged_environment(char *text, size_t length)
{
	size_t count = 1;

	if (!text)
		return environ;
	for (char *record = NULL; (record = next_record(text, length, record));)
		count++;
	for (char **mine = environ; *mine; mine++)
		count++;
	char **merged = malloc(count * sizeof *merged), **next = merged;

	if (!merged)
		return environ;
	for (char *record = NULL; (record = next_record(text, length, record));)
		if (!overridden(record))
			*next++ = record;
	for (char **mine = environ; *mine; mine++)
		if (comes_from_session(*mine))
			*next++ = *mine;
	*next = NULL;
	return merged;
}

#include "session_shells.h"

static const char *value_of(char **variables, const char *name)
{
	for (; *variables; variables++)
		if (same_name(*variables, name) && (*variables)[name_length(*variables)] == '=')
			return *variables + name_length(*variables) + 1;
	return NULL;
}

/* Of `key=value` records, such as init's context and the job's environment. */
static const char *record_value(char *text, size_t length, const char *key)
{
	for (char *record = NULL; (record = next_record(text, length, record));)
		if (same_name(record, key) && record[name_length(record)] == '=')
			return record + name_length(record) + 1;
	return NULL;
}

static void restore_umask(const char *octal)
{
	char *rest;

	if (!octal || *octal < '0' || *octal > '7')
		return;
	unsigned long mask = strtoul(octal, &rest, 8);
	if (!*rest && mask <= 0777)
		umask((mode_t)mask);
}

static void restore_directory(const char *job, const char *job_home, const char *account_home)
{
	if (job && chdir(job) == 0)
		return;
	if (job_home && *job_home == '/' && chdir(job_home) == 0)
		return;
	if (account_home && *account_home == '/' && chdir(account_home) == 0)
		return;
	if (chdir("/") < 0)
		say("gangway", "no working directory: %s", strerror(errno));
}

/*
 * The sftp subsystem must work in an image whose account has no working shell, so a command that is the
 * sftp-server of the tree and plain options goes without one. A single character that a shell might read
 * as more than itself leaves the command to the shell. `server` is where it is, which the configuration may not know.
 */
static void run_sftp_server(const char *server, char *command, char **variables)
{
	size_t length = strlen(SFTP_SERVER);
	char *words[64];
	int count = 0;

	if (strncmp(command, SFTP_SERVER, length) != 0 || (command[length] && command[length] != ' '))
		return;
	if (command[strspn(command, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./=,:+- ")])
		return;
	char *copy = strdup(command);

	if (!copy)
		return;
	for (char *word = strtok(copy, " "); word; word = strtok(NULL, " ")) {
		if (count == 63)
			return;
		words[count++] = word;
	}
	words[count] = NULL;
	execve(server, words, variables);
	free(copy);
}

/* Under another name than its own a shell may take itself for something else (busybox does). */
static int run_shell(const char *shell, char **argv, char **variables, int rename)
{
	char *given = argv[0], *base = strrchr(shell, '/');
	char name[64];

	if (rename && base) {
		snprintf(name, sizeof name, "%s%s", *given == '-' ? "-" : "", base + 1);
		argv[0] = name;
	}
	execve(shell, argv, variables);
	argv[0] = given;
	return errno;
}

/* A person at a terminal: a program that reads what we print is never told anything. */
static int is_login(int argc, char **argv)
{
	return argc == 1 && argv[0][0] == '-' && isatty(0) && isatty(1);
}

int main(int argc, char **argv)
{
	char no_name[] = "-sh", *no_arguments[] = { no_name, NULL };
	char pids[JOB_PIDS_MAX * 12], sftp_server[PATH_ROOM] = SFTP_SERVER, tools_shell[PATH_ROOM] = TOOLS_SHELL;
	pid_t processes[JOB_PIDS_MAX];
	size_t length, job_length;

	signals_default();
	signals_unblock_all();
	fill_stdio();
	close_from(3);
	if (argc < 1)
		argv = no_arguments;

	int injected = injected_by();

	if (injected && find_own_tree("/libexec/session") == 0) {
		in_tree(sftp_server, "/libexec/sftp-server");
		in_tree(tools_shell, "/tools/sh");
	}
	char *job = injected ? injected_environment(injected, &job_length) : read_own(RUN_DIR "/environ", &job_length);
	char *context = injected ? injected_context(injected, &length) : read_own(RUN_DIR "/context", &length);

	print_pids(pids, processes, job_pids(record_value(context, length, "pid"), processes));
	if (job && !injected) {
		/* HTCondor's name for it, which its users' scripts know. */
		setenv("_CONDOR_JOB_PIDS", pids, 1);
		use_stable_agent();
	}
	const char *asked = take_asked_shell();
	char **variables = merged_environment(job, job_length);
	const char *shell = asked ? asked : injected ? account_shell() : getenv("SHELL");

	if (asked)
		variables = with_shell(variables, asked);

	restore_umask(record_value(context, length, "umask"));
	restore_directory(record_value(context, length, "cwd"), value_of(variables, "HOME"), getenv("HOME"));

	if (is_login(argc, argv) && !hushed(value_of(variables, "HOME"))) {
		const char *id = record_value(job, job_length, "GANGWAY_JOB_ID");

		if (id && *id)
			welcome(record_value(job, job_length, "GANGWAY_NODE"), id, pids);
	}
	if (argc == 3 && strcmp(argv[1], "-c") == 0)
		run_sftp_server(sftp_server, argv[2], variables);
	int reason = ENOENT;

	if (shell && *shell == '/')
		reason = run_shell(shell, argv, variables, asked || injected);
	/* Another shell would meet the same limit. */
	if (reason != E2BIG) {
		run_shell("/bin/sh", argv, variables, 1);
		run_shell(tools_shell, argv, variables, 1);
	}
	say("gangway", "cannot start a shell (%s): %s", shell ? shell : "none given", strerror(reason));
	return reason == ENOENT ? 127 : 126;
}
