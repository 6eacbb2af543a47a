/* inject session: a part of inject.c. */
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "inject_account.h"

/* How long sshd may take to see that its client has gone, and, told to end, to hang up what it runs. */
#define NOTICE_MS 3000
#define OBEY_MS 2000
/* How long what sshd has left may take to end, which ends with it; what a user has left to run does not. */
#define REAP_MS 500

/* A file in memory without a name, of this text; -1 and a message where there is none. */
static int memory_file(const char *what, const char *text)
{
	int fd = memfd_create(what, MFD_CLOEXEC);

	/* Else anybody who can see our /proc could open it, and sshd refuses a key that others may read. */
	if (fd < 0 || fchmod(fd, 0600) < 0 || write_all(fd, text, strlen(text)) < 0) {
		say(PROGRAM, "no memory for %s: %s", what, strerror(errno));
		return -1;
	}
	return fd;
}

/* What ssh-keygen prints, without the end of line; its input is `input`. Returns its status, -1 where it did not run. */
static int keygen(char *const *argv, int inherit, const char *input, char *output, size_t size)
{
	static char *const nothing[] = { NULL };
	char program[PATH_ROOM];
	int in[2], out[2], status = -1;
	size_t length = 0;

	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
		return -1;
	pid_t pid = fork();

	if (pid == 0) {
		int quiet = open("/dev/null", O_WRONLY);

		dup2(in[0], 0);
		dup2(out[1], 1);
		if (quiet >= 0)
			dup2(quiet, 2);
		fcntl(inherit, F_SETFD, 0);
		execve(in_tree(program, "/bin/ssh-keygen"), argv, nothing);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	if (pid > 0) {
		ssize_t got;

		write_all(in[1], input, strlen(input));
		close(in[1]);
		while (length + 1 < size && (got = read(out[0], output + length, size - length - 1)) != 0)
			if (got > 0)
				length += (size_t)got;
			else if (errno != EINTR)
				break;
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
	} else {
		close(in[1]);
	}
	close(out[0]);
	output[length] = 0;
	output[strcspn(output, "\n")] = 0;
	return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/*
 * A fresh host key: the private half in a file in memory, the public half as text. ssh-keygen asks whether it may
 * overwrite what is there, then fails to make a second file beside it: whether the key is good shows when it is read.
 */
static int host_key(char *public, size_t size)
{
	int fd = memory_file("host key", "");
	char path[64], noise[1024];
	char type[] = "ed25519", none[] = "", name[] = "ssh-keygen";
	char t[] = "-t", N[] = "-N", C[] = "-C", f[] = "-f", q[] = "-q", y[] = "-y";
	char *const make[] = { name, q, t, type, N, none, C, none, f, path, NULL };
	char *const show[] = { name, y, f, path, NULL };

	if (fd < 0)
		return -1;
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	keygen(make, fd, "y\n", noise, sizeof noise);
	if (keygen(show, fd, "", public, size) == 0 && strncmp(public, "ssh-ed25519 AAAA", 16) == 0)
		return fd;
	say(PROGRAM, "no host key could be made in the container (is /proc there, and room for a process?)");
	close(fd);
	return -1;
}

/* Public key lines have letters, digits and a few signs: nothing that a configuration could take for more. */
static int is_public_key(const char *text)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";

	return strncmp(text, "ssh-ed25519 ", 12) == 0 && text[12] && !text[12 + strspn(text + 12, alphabet)];
}

static void run_sshd(int configuration, pid_t parent)
{
	static char shell[4096 + 32], home[4096 + 8];
	static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	char name[PATH_ROOM], file[64], i[] = "-i", e[] = "-e", f[] = "-f";
	char *argv[] = { in_tree(name, "/sbin/sshd"), i, e, f, file, NULL };
	char *variables[] = { path, shell, home, NULL };
	const char *given = getenv("HOME");

	/* Whatever ends us, even KILL, ends it: as the client's leaving does. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(FAILED);
	snprintf(shell, sizeof shell, "GANGWAY_ACCOUNT=%s", account_shell());
	snprintf(home, sizeof home, "HOME=%s", given ? given : "/");
	snprintf(file, sizeof file, "/proc/%d/fd/%d", (int)parent, configuration);
	signals_default();
	signals_unblock_all();
	execve(name, argv, variables);
	say(PROGRAM, "%s cannot be executed: %s", name, strerror(errno));
	_exit(FAILED);
}

/* 1 when there are no children any more. `sshd`'s own status is for the caller. */
static int reap(pid_t sshd, int *status, int *ended)
{
	int any;
	pid_t gone;

	while ((gone = waitpid(-1, &any, WNOHANG)) > 0)
		if (gone == sshd) {
			*status = any;
			*ended = 1;
		}
	return gone < 0 && errno == ECHILD;
}

/*
 * sshd's children end after it, or a moment before: nobody else reaps them where the container's process 1 does not, and
 * each session would leave a zombie.
 */
static void reap_rest(int signals)
{
	struct pollfd ready = { .fd = signals, .events = POLLIN };
	struct signalfd_siginfo info;
	long long end = now_ms() + REAP_MS, now;
	int status, ended;

	while (!reap(0, &status, &ended) && (now = now_ms()) < end) {
		poll(&ready, 1, (int)(end - now));
		while (read(signals, &info, sizeof info) == (ssize_t)sizeof info)
			;
	}
}

/*
 * Until sshd has ended. It sees by itself that its client has gone, unless it hangs; an engine closes our stdin when
 * its client is killed, and does nothing else.
 */
static int wait_for_sshd(pid_t sshd, int signals)
{
	struct pollfd ready[2] = { { .fd = signals, .events = POLLIN }, { .fd = 0 } };
	long long kill_at = 0, term_at = 0;
	int status = 0, ended = 0;

	for (;;) {
		struct signalfd_siginfo info;

		reap(sshd, &status, &ended);
		if (ended)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		long long next = kill_at ? kill_at : term_at, now = now_ms();
		int wait = next ? (next > now ? (int)(next - now) : 0) : -1;

		if (poll(ready, 2, wait) < 0 && errno != EINTR)
			return FAILED;
		if (ready[1].revents) {
			/* It would be told again and again. */
			ready[1].fd = -1;
			term_at = now_ms() + NOTICE_MS;
		}
		while (read(signals, &info, sizeof info) == (ssize_t)sizeof info)
			if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGHUP || info.ssi_signo == SIGINT)
				term_at = now_ms();
		if (kill_at && now_ms() >= kill_at) {
			kill(sshd, SIGKILL);
			kill_at = now_ms() + OBEY_MS;
		} else if (!kill_at && term_at && now_ms() >= term_at) {
			kill(sshd, SIGTERM);
			kill_at = now_ms() + OBEY_MS;
		}
	}
}

/* Who withdraws the tree waits for, or ends, who holds this. -1 while it is being withdrawn. */
static int hold_tree(void)
{
	char path[PATH_ROOM];
	int fd = open(in_tree(path, SELF), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) == 0)
		return fd;
	say(PROGRAM, "the tree is just being withdrawn from this container, or another program in it holds a lock on it");
	return -1;
}

static int serve(const char *authority)
{
	char public[1024], text[4096];
	pid_t self = getpid();

	if (!is_public_key(authority)) {
		say(PROGRAM, "the authority's key has not the form of one");
		return FAILED;
	}
	/* Where an engine starts root in another user's container, its rights grow at the start, and /proc would be closed. */
	prctl(PR_SET_DUMPABLE, 1);
	signals_block_all();
	int signals = signals_descriptor(), hold = signals < 0 ? -1 : hold_tree();

	if (hold < 0)
		return FAILED;
	/* An image may have told it to ignore its children; then there would be nothing to wait for. */
	signals_default();
	snprintf(text, sizeof text, "%s\n", authority);
	int trusted = memory_file("authority", text), key = host_key(public, sizeof public);

	if (trusted < 0 || key < 0)
		return FAILED;
	/* For each option the first value counts: what is included cannot turn these. */
	snprintf(text, sizeof text,
	    "AllowUsers gangway\nHostKey /proc/%d/fd/%d\nTrustedUserCAKeys /proc/%d/fd/%d\n"
	    "AuthorizedPrincipalsFile none\nAuthorizedKeysFile none\nRevokedKeys none\nPermitRootLogin yes\n"
	    "SshdSessionPath %s/libexec/sshd-session\nSshdAuthPath %s/libexec/sshd-auth\n"
	    "SetEnv GANGWAY_INJECTED=%d\nInclude %s/etc/sshd_config\n",
	    (int)self, key, (int)self, trusted, own_tree, own_tree, (int)self, own_tree);
	int configuration = memory_file("configuration", text);

	if (configuration < 0)
		return FAILED;
	snprintf(text, sizeof text, PROGRAM " 1 %s\n", public);
	if (write_all(1, text, strlen(text)) < 0)
		return FAILED;
	/* Where a kernel does not know that, it is the container's process 1 that reaps. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	pid_t sshd = fork();

	if (sshd == 0)
		run_sshd(configuration, self);
	if (sshd < 0) {
		say(PROGRAM, "no process can be started in the container: %s", strerror(errno));
		return FAILED;
	}
	/* From here on the streams are sshd's, but our copy of stdin tells us of the client's end. */
	close(1);
	int code = wait_for_sshd(sshd, signals);

	/* The session is over: nobody need wait for the rest. */
	close(0);
	close(hold);
	reap_rest(signals);
	return code;
}
