/*
 * init: the end of the container. As PID 1 of a pid namespace "everybody else" is kill(-1), and the kernel
 * clears what is left when init exits. Anywhere else it means our own descendants and nobody else: init is their
 * subreaper (prctl(2)), so each of them hangs from one of our children, whatever it has done to get away.
 */
#include <poll.h>

#define HANGUP_MS 100	/* after TERM: interactive shells ignore that, and end at HUP */
#define GRACE_MS 200	/* after TERM: then KILL */
#define AFTER_KILL_MS 2000
#define WORD_MS 50	/* for sshd to pass on the last word to a terminal */

static void reap(void)
{
	int status, tidy = 0;
	pid_t pid;

	/* What an sshd told before it ended is of a connection only for as long as that is known. */
	reports_read(REPORTS_AT_AN_END);
	while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED)) > 0) {
		if (pid == command.pid)
			command_changed(status);
		else if (!WIFSTOPPED(status) && !WIFCONTINUED(status) && connection_ended(pid)) {
			x11_tidy(pid);
			tidy = 1;
		}
	}
	if (tidy)
		agents_tidy();
}

static int anyone_left(void)
{
	if (is_pid_one)
		return kill(-1, 0) == 0 || errno != ESRCH;
	siginfo_t skipped;

	return waitid(P_ALL, 0, &skipped, WEXITED | WNOHANG | WNOWAIT) == 0 || errno != ECHILD;
}

static void signal_descendants(int number)
{
	size_t count;
	struct process *all = processes_read(&count);
	int grew = 1;

	while (grew) {
		grew = 0;
		for (size_t i = 0; i < count; i++) {
			int below = all[i].parent == getpid();

			for (size_t j = 0; j < count && !below; j++)
				below = all[j].below_us && all[j].pid == all[i].parent;
			if (below && !all[i].below_us)
				grew = all[i].below_us = 1;
		}
	}
	for (size_t i = 0; i < count; i++)
		if (all[i].below_us)
			kill(all[i].pid, number);
	free(all);
}

static void signal_everyone(int number)
{
	if (is_pid_one) {
		kill(-1, number);
	} else if (proc_is_ours()) {
		signal_descendants(number);
	} else {
		/* What we know without /proc: the command's group and the sessions. */
		if (command.pid)
			kill(-command.pid, number);
		for (size_t i = 0; i < connection_count; i++)
			kill(connections[i].pid, number);
	}
}

/*
 * The manager has suspended the job, where it does not freeze the container: nobody but init runs until `resume`, and
 * nobody is let in. A fork(2) under way does not get by: it is begun anew when a signal has come (copy_process()).
 */
static void suspend(void)
{
	suspended = 1;
	signal_everyone(SIGSTOP);
}

static void resume(void)
{
	suspended = 0;
	signal_everyone(SIGCONT);
}

/* A look at who is left as soon as a child ends; strangers to wait(2), such as an engine's exec, in between. */
static void wait_a_little(long long most)
{
	struct pollfd wait[2] = { { signals, POLLIN, 0 }, { control, POLLOUT, 0 } };
	char skipped[1024];

	poll(wait, queue_length ? 2 : 1, most < 10 ? (int)most : 10);
	while (read(signals, skipped, sizeof skipped) > 0)
		;
	control_flush();
	reap();
}

static void wait_until(long long moment)
{
	while (anyone_left() && now_ms() < moment)
		wait_a_little(moment - now_ms());
}

/*
 * HUP comes a moment after TERM: a program that tidies up at TERM has seldom thought of HUP, and would die of it
 * in the middle. When nobody is there, nothing is waited for.
 */
static void end_everyone(void)
{
	long long begun = now_ms(), until;

	reap();
	if (!anyone_left())
		return;
	signal_everyone(SIGTERM);
	signal_everyone(SIGCONT);
	wait_until(begun + HANGUP_MS);
	if (anyone_left())
		signal_everyone(SIGHUP);
	wait_until(begun + GRACE_MS);
	/* Again and again, because one that forks may be faster than a walk through /proc. */
	for (until = now_ms() + AFTER_KILL_MS; anyone_left() && now_ms() < until; wait_a_little(10))
		signal_everyone(SIGKILL);
}

/* `code` is init's; -1: the command's own, 0 when there was none. */
__attribute__((noreturn))
static void finish(int code)
{
	int alone = control < 0 && !asked.gone;

	sessions_close();
	if (say_to_terminals(WORD_CUT))
		wait_until(now_ms() + WORD_MS);
	end_everyone();
	control_drain();
	if (alone)
		record_remove();
	if (alone) {
		agents_remove();
		x11_remove();
	}
	exit(code >= 0 ? code : command.code);
}
