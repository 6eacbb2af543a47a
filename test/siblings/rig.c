/*
 * rig [OPTION...] -- PROGRAM ARG...: starts a program the way an engine starts a container's first process.
 *
 *   --pid      as PID 1 of a new pid namespace, with a /proc of its own
 *   --tty      as leader of a session whose controlling terminal is a new one; stdin and stdout are relayed
 *   --shell    with --tty: not as leader, but as a shell's foreground job: tells on stderr when it stops, and
 *              continues it as `fg` does
 *   --dirty    with every signal ignored and blocked
 *   --no-ipv6  on a kernel without IPv6: socket(AF_INET6) fails with EAFNOSUPPORT
 *   --no-netlink  the same for netlink, as in a sandbox
 *   --kill-ptracer  where prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY) is death by SIGSYS
 *   --nofile N with so small a (soft) limit of open files
 *
 * Ends with the program's exit code, 128+n for a signal; takes the program along when it is killed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int want_pid, want_tty, want_shell, want_dirty, want_no_ipv6, want_no_netlink, want_kill_ptracer, want_nofile;

static void must(int result, const char *what)
{
	if (result < 0) {
		perror(what);
		exit(99);
	}
}

static void forbid_family(unsigned family)
{
	struct sock_filter rules[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, family, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAFNOSUPPORT),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof rules / sizeof *rules, rules };

	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
	must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0), "seccomp");
}

/* Yama may be missing on the machine that tests run on: then nothing else shows that it was asked. */
static void kill_ptracer(void)
{
	struct sock_filter rules[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prctl, 0, 5),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PR_SET_PTRACER, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)PR_SET_PTRACER_ANY, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof rules / sizeof *rules, rules };

	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
	must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0), "seccomp");
}

static void become(char **program, const char *terminal)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (want_pid) {
		must(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), "private mounts");
		must(mount("proc", "/proc", "proc", 0, NULL), "mount /proc");
	}
	if (want_tty && !want_shell) {
		must(setsid(), "setsid");
		int fd = open(terminal, O_RDWR);

		must(fd, terminal);
		for (int i = 0; i < 3; i++)
			dup2(fd, i);
		ioctl(fd, TIOCSCTTY, 0);
	}
	/* An engine hands nothing down but stdio. Not before: a terminal that nobody has open is over. */
	syscall(SYS_close_range, 3, ~0U, 0);
	if (want_shell)
		setpgid(0, 0);
	if (want_nofile) {
		struct rlimit limit;

		must(getrlimit(RLIMIT_NOFILE, &limit), "getrlimit");
		limit.rlim_cur = (rlim_t)want_nofile;
		must(setrlimit(RLIMIT_NOFILE, &limit), "setrlimit");
	}
	if (want_no_ipv6)
		forbid_family(AF_INET6);
	if (want_no_netlink)
		forbid_family(AF_NETLINK);
	if (want_kill_ptracer)
		kill_ptracer();
	if (want_dirty) {
		unsigned long long all = ~0ULL;

		for (int number = 1; number <= 64; number++)
			signal(number, SIG_IGN);
		syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8);
	}
	execvp(program[0], program);
	perror(program[0]);
	_exit(98);
}

static int code_of(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* A shell's part in job control, on the terminal that is its stdin. */
static int be_shell(char **program)
{
	int status;

	signal(SIGTTOU, SIG_IGN);
	pid_t child = fork();

	if (child == 0) {
		setpgid(0, 0);
		tcsetpgrp(0, getpid());
		signal(SIGTTOU, SIG_DFL);
		become(program, NULL);
	}
	setpgid(child, child);
	for (;;) {
		must(waitpid(child, &status, WUNTRACED), "waitpid");
		if (!WIFSTOPPED(status))
			return code_of(status);
		dprintf(1, "shell: stopped, foreground %s\n", tcgetpgrp(0) == child ? "job" : "other");
		tcsetpgrp(0, child);
		kill(-child, SIGCONT);
	}
}

static void relay(int master)
{
	char data[4096];
	struct pollfd wait[2] = { { 0, POLLIN, 0 }, { master, POLLIN, 0 } };

	for (;;) {
		ssize_t got;

		poll(wait, 2, -1);
		if (wait[0].revents) {
			got = read(0, data, sizeof data);
			if (got <= 0)
				wait[0].fd = -1;
			else if (write(master, data, (size_t)got) < 0)
				return;
		}
		if (wait[1].revents) {
			got = read(master, data, sizeof data);
			if (got <= 0 || write(1, data, (size_t)got) < 0)
				return;
		}
	}
}

int main(int argc, char **argv)
{
	int master = -1, slave = -1, status;
	char terminal[64] = "";

	(void)argc;
	for (argv++; *argv && strcmp(*argv, "--") != 0; argv++) {
		want_pid |= strcmp(*argv, "--pid") == 0;
		want_tty |= strcmp(*argv, "--tty") == 0;
		want_shell |= strcmp(*argv, "--shell") == 0;
		want_dirty |= strcmp(*argv, "--dirty") == 0;
		want_no_netlink |= strcmp(*argv, "--no-netlink") == 0;
		want_kill_ptracer |= strcmp(*argv, "--kill-ptracer") == 0;
		want_no_ipv6 |= strcmp(*argv, "--no-ipv6") == 0;
		if (strcmp(*argv, "--nofile") == 0)
			want_nofile = atoi(*++argv);
	}
	if (!*argv || !argv[1])
		return 99;
	if (want_tty) {
		must(openpty(&master, &slave, terminal, NULL, NULL), "openpty");
		fcntl(master, F_SETFD, FD_CLOEXEC);
		fcntl(slave, F_SETFD, FD_CLOEXEC);
	}
	if (want_pid)
		must(unshare(CLONE_NEWPID | CLONE_NEWNS), "unshare");
	pid_t child = fork();

	must(child, "fork");
	if (child == 0 && want_shell) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setsid();
		int fd = open(terminal, O_RDWR);

		for (int i = 0; i < 3; i++)
			dup2(fd, i);
		ioctl(0, TIOCSCTTY, 0);
		close(fd);
		_exit(be_shell(argv + 1));
	}
	if (child == 0)
		become(argv + 1, terminal);
	if (want_tty) {
		close(slave);
		relay(master);
	}
	must(waitpid(child, &status, 0), "waitpid");
	return code_of(status);
}
