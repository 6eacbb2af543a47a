/*
 * init: the job's command. Its own process group, in the foreground where there is a terminal; the container's
 * stdio; default dispositions and an empty mask, whatever init itself was started with.
 */
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <termios.h>

/* ---- the terminal ---- */

static struct {
	int fd;			/* the container's terminal; -1: none */
	int ours;		/* it is ours to say who is in its foreground */
} terminal = { -1, 0 };

/*
 * Which of the three is a terminal, and may init hand out its foreground? As leader of the session: yes (runc
 * makes it that, with the terminal as controlling one). Started by hand in a shell's pipeline: when the shell
 * has put it in the foreground.
 */
static void terminal_find(void)
{
	int leader = getsid(0) == getpid();

	for (int fd = 0; fd <= 2 && terminal.fd < 0; fd++)
		if (isatty(fd))
			terminal.fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (terminal.fd < 0)
		return;
	if (leader && tcgetsid(terminal.fd) != getpid())
		ioctl(terminal.fd, TIOCSCTTY, 0);
	if (tcgetsid(terminal.fd) == getsid(0))
		terminal.ours = leader || tcgetpgrp(terminal.fd) == getpgrp();
}

static void terminal_foreground(pid_t group)
{
	/* SIGTTOU is blocked, as all are: tcsetpgrp(3) from the background goes through. */
	if (terminal.ours)
		tcsetpgrp(terminal.fd, group);
}

static void terminal_size(int rows, int columns)
{
	struct winsize size = { .ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns };

	if (terminal.fd >= 0 && rows >= 0 && rows <= 65535 && columns >= 0 && columns <= 65535)
		ioctl(terminal.fd, TIOCSWINSZ, &size);
}

/*
 * The command has the container's stdio; init gives its own copies up, so that a reader sees the end when the
 * job's last writer has closed, and a writer when the job's last reader has, lingering or not. stderr stays
 * where there is no launcher to tell things to.
 */
static void stdio_give_up(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		return;
	for (int fd = 0; fd <= (control >= 0 ? 2 : 1); fd++)
		dup2(null, fd);
	close(null);
}

/* ---- starting ---- */

struct exec_failure {
	int reason;
	char text[800];
};

/* As a shell decides it: a file without NUL in its beginning, and not ELF, may be a script without `#!`. */
static int looks_like_script(const char *path)
{
	char start[128];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, start, sizeof start);

	if (fd >= 0)
		close(fd);
	return length >= 0 && !(length >= 4 && memcmp(start, "\177ELF", 4) == 0) && !memchr(start, 0, (size_t)length);
}

/* As execvp(3): what has no `#!` is the shell's. Returns only when it cannot be executed. */
static int execute(const char *path, char **arguments)
{
	execve(path, arguments, environ);
	if (errno != ENOEXEC || !looks_like_script(path))
		return errno;
	size_t count = 0;

	while (arguments[count])
		count++;
	char **for_shell = calloc(count + 2, sizeof *for_shell);

	if (!for_shell)
		return ENOMEM;
	for_shell[0] = "sh";
	for_shell[1] = (char *)path;
	memcpy(for_shell + 2, arguments + 1, (count - 1) * sizeof *for_shell);
	execve("/bin/sh", for_shell, environ);
	execve(TOOLS_SHELL, for_shell, environ);
	free(for_shell);
	return ENOEXEC;
}

/* execve(2) says ENOENT also when it is the interpreter that is missing, which nobody guesses. */
static void explain(struct exec_failure *failure, const char *name, const char *found)
{
	char start[128];
	int fd = failure->reason == ENOENT && found ? open(found, O_RDONLY | O_CLOEXEC) : -1;
	ssize_t length = fd < 0 ? -1 : read(fd, start, sizeof start - 1);

	if (length > 2 && start[0] == '#' && start[1] == '!') {
		start[length] = 0;
		char *interpreter = start + 2 + strspn(start + 2, " \t");

		interpreter[strcspn(interpreter, " \t\r\n")] = 0;
		snprintf(failure->text, sizeof failure->text, "%.400s: its interpreter %s is not in the image",
			 found, interpreter);
	} else if (length > 0) {
		snprintf(failure->text, sizeof failure->text,
			 "%.400s: the dynamic loader it asks for is not in the image", found);
	} else if (failure->reason == ENOENT && !strchr(name, '/')) {
		snprintf(failure->text, sizeof failure->text, "%.400s: not found in PATH", name);
	} else if (failure->reason == ENOEXEC) {
		snprintf(failure->text, sizeof failure->text, "%.400s: not a program for this machine",
			 found ? found : name);
	} else {
		snprintf(failure->text, sizeof failure->text, "%.400s: %s", found ? found : name,
			 strerror(failure->reason));
	}
	if (fd >= 0)
		close(fd);
}

/*
 * execvp(3)'s search, so that the failure can be told exactly: the first file that is there but cannot be
 * executed is the one to talk about, not the last place that was looked at.
 */
static void search_and_execute(char **arguments, struct exec_failure *failure)
{
	const char *name = arguments[0], *path = getenv("PATH");
	static char candidate[8192], found[8192];

	failure->reason = ENOENT;
	if (strchr(name, '/')) {
		failure->reason = execute(name, arguments);
		explain(failure, name, access(name, F_OK) == 0 ? name : NULL);
		return;
	}
	if (!path)
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	for (const char *place = path; *name && place; ) {
		size_t length = strcspn(place, ":");
		int fits = snprintf(candidate, sizeof candidate, "%.*s%s%s", (int)length, place,
				    length ? "/" : "", name);

		place = place[length] ? place + length + 1 : NULL;
		if (fits >= (int)sizeof candidate)
			continue;
		int reason = execute(candidate, arguments);

		if (!*found && access(candidate, F_OK) == 0) {
			strcpy(found, candidate);
			failure->reason = reason;
		}
		if (reason != ENOENT && reason != ENOTDIR && reason != EACCES && reason != ENODEV &&
		    reason != ESTALE && reason != ETIMEDOUT && reason != ELOOP)
			break;
	}
	explain(failure, name, *found ? found : NULL);
}

__attribute__((noreturn))
static void become_command(int report)
{
	struct exec_failure failure;

	memset(&failure, 0, sizeof failure);
	setpgid(0, 0);
	/*
	 * Here and not in init: by the time init gets its turn the command may be a shell that has put a job of its
	 * own into the foreground.
	 */
	terminal_foreground(getpid());
	/* Where Yama's ptrace_scope is 1 only ancestors may trace, and a session is none. EINVAL: there is no Yama. */
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
	signals_unblock_all();
	search_and_execute(options.command, &failure);
	write_all(report, &failure, sizeof failure);
	_exit(failure.reason == ENOENT ? 127 : 126);
}

/* No process or descriptor to be had: the container's limits are too low for anything. */
static void command_not_started(void)
{
	int reason = errno;

	command.ended = 1;
	command.code = 126;
	tell(1, "failed %d no process for the command: %s", reason, strerror(reason));
	tell(1, "exit %d", command.code);
	if (control < 0)
		say("init", "no process for the command: %s", strerror(reason));
}

static void command_start(void)
{
	int ends[2];

	command.begun = 1;
	if (pipe2(ends, O_CLOEXEC) < 0) {
		command_not_started();
		return;
	}
	pid_t pid = fork();

	if (pid < 0) {
		command_not_started();
		close(ends[0]);
		close(ends[1]);
		return;
	}
	if (pid == 0)
		become_command(ends[1]);
	/* Whoever of the two comes first: the group is there before anyone can ask for it. */
	setpgid(pid, pid);
	close(ends[1]);
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	command.exec_report = ends[0];
	command.pid = pid;
}

/* The pipe closes by itself when exec(2) succeeds; else it carries the reason. */
static void command_report_exec(void)
{
	struct exec_failure failure;
	ssize_t got;

	do
		got = read(command.exec_report, &failure, sizeof failure);
	while (got < 0 && errno == EINTR);
	if (got < 0 && errno == EAGAIN)
		return;
	close(command.exec_report);
	command.exec_report = -1;
	if (got == sizeof failure) {
		tell(1, "failed %d %s", failure.reason, failure.text);
		if (control < 0)
			say("init", "%s", failure.text);
		return;
	}
	record_pid(command.pid);
	tell(1, "started %d", (int)command.pid);
	stdio_give_up();
}

/* ---- its life ---- */

/*
 * By hand in a terminal, without a launcher or together with one: what stops the command gives the terminal back to the
 * shell that started us, and comes back with its `fg`. PID 1 cannot be stopped.
 */
static void stop_with_command(void)
{
	if ((control >= 0 && !options.shared_terminal) || is_pid_one || !terminal.ours)
		return;
	terminal_foreground(getpgrp());
	kill(0, SIGSTOP);
	if (tcgetpgrp(terminal.fd) == getpgrp())
		terminal_foreground(command.pid);
	kill(-command.pid, SIGCONT);
}

static void command_continue(void)
{
	if (!command.pid)
		return;
	terminal_foreground(command.pid);
	if (kill(-command.pid, SIGCONT) < 0)
		kill(command.pid, SIGCONT);
}

static int suspended;	/* everybody is, by the launcher's word */

static void command_changed(int status)
{
	if (WIFSTOPPED(status) && suspended)
		return;
	if (WIFSTOPPED(status)) {
		tell(0, "stopped %d", WSTOPSIG(status));
		stop_with_command();
		return;
	}
	if (WIFCONTINUED(status)) {
		tell(0, "continued");
		return;
	}
	/* It is dead, so the pipe has an end: what happened first is told first. */
	if (command.exec_report >= 0)
		command_report_exec();
	terminal_foreground(getpgrp());
	command.pid = 0;
	command.ended = 1;
	if (WIFSIGNALED(status)) {
		command.killed_by = WTERMSIG(status);
		command.code = 128 + WTERMSIG(status);
		tell(1, "signal %d %d", WTERMSIG(status), WCOREDUMP(status) ? 1 : 0);
	} else {
		command.code = WEXITSTATUS(status);
		tell(1, "exit %d", command.code);
	}
}

/* ---- signals for it ---- */

static int ending_signal;	/* one that reached init when there was no command to take it */

static int is_fatal(int number)
{
	switch (number) {
	case SIGCHLD: case SIGCONT: case SIGURG: case SIGWINCH:
	case SIGTSTP: case SIGTTIN: case SIGTTOU: case SIGSTOP:
		return 0;
	}
	return 1;
}

/*
 * To the command's process, not its group: a shell passes on what it wants to pass on. Where there is no
 * command (held, not begun, or over and lingering) a signal does to init what it does to a program
 * that has not asked for it: `docker stop` need not wait for its KILL.
 */
static void signal_command(int number, const union sigval *queued)
{
	if (number < 1 || number > LAST_SIGNAL)
		return;
	if (!command.pid) {
		if (is_fatal(number) && !ending_signal)
			ending_signal = number;
	} else if (queued) {
		sigqueue(command.pid, number, *queued);
	} else {
		kill(command.pid, number);
	}
}
