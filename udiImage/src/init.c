/*
 * init: the first process of a job container (docs/internals.md, section 4).
 *
 * It writes the job's environment down for the sessions, opens the sockets that sessions come in by, says so to
 * the launcher, starts the job's command when told, passes signals on, reaps, reports the exact end and
 * then ends the container as the linger policy says. It needs the tree, a run directory and an environment,
 * nothing of the engine: by hand, or under a runtime that is not PID-1-minded, it works as well.
 *
 * One thread, one poll(2). All signals are blocked from the first instruction on and read from a descriptor, so
 * there is no moment at which one could be lost (as PID 1, what has no handler is dropped by the kernel:
 * pid_namespaces(7)) and none at which one could do harm.
 *
 * Sources: signalfd(2), pid_namespaces(7), credentials(7) and tcsetpgrp(3) on job control, execvp(3),
 * proc(5), accept(2), unix(7), ipv6(7).
 */
#include "init_state.h"
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include "init_process.h"
#include "init_record.h"
#include "init_control.h"
#include "init_connections.h"
#include "init_revoke.h"
#include "init_report.h"
#include "init_agents.h"
#include "init_x11.h"
#include "init_peer.h"
#include "init_listen.h"
#include "init_sessions.h"
#include "init_command.h"
#include "init_word.h"
#include "init_end.h"

static const char usage[] =
	"usage: init [--run-dir DIR] [--launcher] [--port N | --prefer-port N | --no-listen] [--listen ADDR]\n"
	"            [--no-sshd] [--linger none|sessions|SECONDS] [--max-connections N] [--max-per-source N]\n"
	"            [--shared-terminal] [--hold] [-- COMMAND ARG...]\n";

__attribute__((noreturn))
static void misused(const char *what, const char *value)
{
	say("init", "%s%s%s", what, value ? ": " : "", value ? value : "");
	write_all(2, usage, sizeof usage - 1);
	exit(EXIT_OURS);
}

static long long number_option(const char *name, const char *value, long long least, long long most)
{
	long long number = parse_number(value, least, most);

	if (number < 0)
		misused(name, value);
	return number;
}

static long long linger_option(const char *value)
{
	if (strcmp(value, "none") == 0)
		return LINGER_NONE;
	if (strcmp(value, "sessions") == 0)
		return LINGER_SESSIONS;
	return number_option("--linger", value, 0, 100000000) * 1000;
}

static int flag_option(const char *name)
{
	if (strcmp(name, "--launcher") == 0)
		options.launcher = 1;
	else if (strcmp(name, "--no-listen") == 0)
		options.no_tcp = 1;
	else if (strcmp(name, "--no-sshd") == 0)
		options.no_sshd = 1;
	else if (strcmp(name, "--hold") == 0)
		options.hold = 1;
	else if (strcmp(name, "--shared-terminal") == 0)
		options.shared_terminal = 1;
	else
		return 0;
	return 1;
}

static int value_option(const char *name, const char *value)
{
	if (strcmp(name, "--run-dir") == 0)
		options.run_dir = value;
	else if (strcmp(name, "--port") == 0)
		options.port = number_option(name, value, 0, 65535);
	else if (strcmp(name, "--prefer-port") == 0)
		options.prefer_port = number_option(name, value, 1, 65535);
	else if (strcmp(name, "--listen") == 0)
		options.listen = value;
	else if (strcmp(name, "--linger") == 0)
		options.linger = linger_option(value);
	else if (strcmp(name, "--max-connections") == 0)
		options.max_connections = (size_t)number_option(name, value, 1, 1000000);
	else if (strcmp(name, "--max-per-source") == 0)
		options.max_per_source = (size_t)number_option(name, value, 1, 1000000);
	else if (strcmp(name, "--held-back") == 0)
		options.held_back = number_option(name, value, 0, 3600000);
	else
		return 0;
	return 1;
}

static void read_options(char **arguments)
{
	for (; *arguments && strcmp(*arguments, "--") != 0; arguments++) {
		if (flag_option(*arguments))
			continue;
		if (!arguments[1])
			misused("unknown option, or one without its value", *arguments);
		if (!value_option(arguments[0], arguments[1]))
			misused("unknown option", *arguments);
		arguments++;
	}
	if (*arguments && arguments[1])
		options.command = arguments + 1;
	if (options.port && options.prefer_port)
		misused("--port goes without --prefer-port", NULL);
	if (options.hold && options.command)
		misused("--hold goes without a command", NULL);
	if (!options.hold && !options.command)
		misused("no command", NULL);
}

/*
 * By hand there may be no run directory, or one that nobody has prepared for sshd: the command
 * is what counts then, and runs without sessions. Under a launcher either is an error.
 */
static void open_run_dir(void)
{
	/* sshd is told the path and runs in /. */
	char *absolute = *options.run_dir == '/' ? NULL : realpath(options.run_dir, NULL);

	if (absolute)
		options.run_dir = absolute;
	run_dir = open(options.run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (run_dir < 0 && options.launcher)
		fail("run directory %s: %s", options.run_dir, strerror(errno));
	if (run_dir < 0 && !options.no_sshd)
		say("init", "no run directory %s (%s): no sessions", options.run_dir, strerror(errno));
	if (run_dir < 0)
		options.no_sshd = 1;
}

static void write_records(void)
{
	int failed = run_dir >= 0 && record_job() < 0;
	int reason = errno;

	if (run_dir >= 0)
		control_connect();
	if (failed && control >= 0)
		fail("write %s/environ: %s", options.run_dir, strerror(reason));
	if (failed) {
		say("init", "cannot write to %s (%s): no sessions", options.run_dir, strerror(reason));
		options.no_sshd = 1;
	} else if (control < 0 && !options.no_sshd && faccessat(run_dir, "sshd_config", R_OK, 0) < 0) {
		say("init", "no %s/sshd_config: no sessions", options.run_dir);
		options.no_sshd = 1;
	}
}

static void read_signals(void)
{
	struct signalfd_siginfo arrived[8];
	ssize_t got;

	while ((got = read(signals, arrived, sizeof arrived)) > 0) {
		for (size_t i = 0; i < (size_t)got / sizeof *arrived; i++) {
			int number = (int)arrived[i].ssi_signo;
			union sigval value = { .sival_ptr = (void *)(uintptr_t)arrived[i].ssi_ptr };

			/* Our own: a write to a closed stderr, a file size limit. Nothing for the job. */
			if (number == SIGCHLD || arrived[i].ssi_pid == (uint32_t)getpid())
				continue;
			signal_command(number, arrived[i].ssi_code == SI_QUEUE ? &value : NULL);
		}
	}
	reap();
}

static long long linger_until = -1;	/* -1: not lingering; else the latest end */

/* The command is over: is there a reason to stay? Strangers get no new chance to be one: TCP closes. */
static void linger_or_finish(void)
{
	if (options.linger == LINGER_NONE || !connection_count)
		finish(-1);
	if (linger_until < 0) {
		tcp_close();
		linger_until = options.linger == LINGER_SESSIONS ? INT64_MAX : now_ms() + options.linger;
		tell(1, "lingering %d", (int)connection_count);
		say_to_terminals(WORD_LINGER);
	}
	if (now_ms() >= linger_until)
		finish(-1);
}

/* What has to happen because of what has been heard. Ends init when it is over. */
static void act(int is_up)
{
	if (asked.end)
		finish(-1);
	if (asked.gone) {
		record_forget_keys();
		finish(command.ended ? -1 : 128 + SIGKILL);
	}
	if (ending_signal) {
		if (options.command && !command.begun)
			tell(1, "signal %d 0", ending_signal);
		finish(command.ended ? -1 : 128 + ending_signal);
	}
	if (is_up && !suspended && options.command && !command.begun && (asked.go || control < 0))
		command_start();
	if (command.ended)
		linger_or_finish();
}

static int sooner(long long now, long long moment, int timeout)
{
	long long left = moment <= now ? 0 : moment - now;

	if (left > 3600000)
		left = 3600000;
	return timeout < 0 || left < timeout ? (int)left : timeout;
}

/* When something has to be looked at again, whatever happens. */
static int next_timeout(long long up_at, int is_up)
{
	long long now = now_ms(), late = connections_kill_late(now);
	int timeout = -1;

	if (!is_up)
		timeout = sooner(now, up_at, timeout);
	if (linger_until >= 0)
		timeout = sooner(now, linger_until, timeout);
	if (accept_after > now)
		timeout = sooner(now, accept_after, timeout);
	if (late >= 0)
		timeout = sooner(now, late, timeout);
	return timeout;
}

enum { SIGNALS, CONTROL, EXEC_REPORT, REPORT, BY_UNIX, BY_TCP, FIRST_WAITING };

/* What can happen, and waits for it. poll(2) skips what is negative. */
static int wait_for_any(struct pollfd *wait, int timeout)
{
	int listening = accept_after <= now_ms() && !suspended;

	wait[SIGNALS] = (struct pollfd){ signals, POLLIN, 0 };
	wait[CONTROL] = (struct pollfd){ control, (short)(POLLIN | (queue_length ? POLLOUT : 0)), 0 };
	wait[EXEC_REPORT] = (struct pollfd){ command.exec_report, POLLIN, 0 };
	wait[REPORT] = (struct pollfd){ report, POLLIN, 0 };
	wait[BY_UNIX] = (struct pollfd){ listening ? unix_listener : -1, POLLIN, 0 };
	wait[BY_TCP] = (struct pollfd){ listening ? tcp_listener : -1, POLLIN, 0 };
	for (size_t i = 0; i < waiting_count; i++)
		wait[FIRST_WAITING + i] = waiting_events(i);
	return poll(wait, FIRST_WAITING + waiting_count, timeout);
}

__attribute__((noreturn))
static void serve(void)
{
	static struct pollfd wait[FIRST_WAITING + MOST_WAITING_IN_ALL];
	long long up_at = now_ms() + options.held_back;
	int is_up = 0;

	for (;;) {
		if (!is_up && now_ms() >= up_at) {
			sessions_open();
			is_up = 1;
		}
		act(is_up);
		tell_sessions();
		if (accept_after <= now_ms() && !suspended)
			waiting_start();
		if (wait_for_any(wait, next_timeout(up_at, is_up)) < 0)
			continue;
		/* Before anything that changes who waits. */
		waiting_look(wait + FIRST_WAITING);
		if (wait[CONTROL].revents & POLLOUT)
			control_flush();
		if (wait[CONTROL].revents & (POLLIN | POLLHUP | POLLERR))
			control_read();
		if (wait[EXEC_REPORT].revents && command.exec_report >= 0)
			command_report_exec();
		if (wait[REPORT].revents)
			reports_read(REPORTS_A_TURN);
		if (wait[SIGNALS].revents)
			read_signals();
		if (wait[BY_UNIX].revents)
			sessions_accept(unix_listener, 0);
		if (wait[BY_TCP].revents)
			sessions_accept(tcp_listener, 1);
	}
}

int main(int argc, char **argv)
{
	signals_block_all();
	/* An ignored SIGCHLD would let children vanish without a word. Nothing can be delivered: all is blocked. */
	signals_default();
	fill_stdio();
	is_pid_one = getpid() == 1;
	if (!is_pid_one)
		prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	if (argc > 0)
		read_options(argv + 1);
	signals = signals_descriptor();
	if (signals < 0)
		fail("signalfd: %s", strerror(errno));
	open_run_dir();
	write_records();
	terminal_find();
	serve();
}
