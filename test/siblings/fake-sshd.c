/*
 * fake-sshd: stands where sshd does in the tests of init alone. Ends with its connection. Each line is a question,
 * answered by what it says and then `answered`:
 *
 *   arguments         how it was started
 *   pid               which process it is
 *   status, stay      the witness of that name is run
 *   report TEXT       a datagram to init, from a process in the place of sshd's own
 *   child TEXT        the same from a child, which stays
 *   last TEXT         the same from that child; then it ends and is reaped
 *   orphan TEXT       the same from a process that has left by setsid and whose parent is gone
 *   long N, zero      datagrams of N bytes, and with a NUL in it
 *   flood N TEXT      N datagrams, as fast as they are taken
 *   command           a command without a terminal; tells its pid, and that of one which called setsid
 *   terminal          a terminal; tells its name, and from then on passes on what is written to it
 *   full-terminal     one that takes nothing more
 *   deaf              TERM is ignored from now on
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static struct sockaddr_un init = { .sun_family = AF_UNIX };
static int terminal = -1;

static void send_bytes(const char *data, size_t length, int flags)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	if (sendto(fd, data, length, flags, (struct sockaddr *)&init, sizeof init) < 0)
		printf("not sent\n");
	close(fd);
}

static void send_text(const char *text)
{
	send_bytes(text, strlen(text), 0);
}

static pid_t child;
static int to_child = -1;

/* One line, one datagram. */
static void be_child(int from)
{
	static char line[4096];
	ssize_t got;

	while ((got = read(from, line, sizeof line - 1)) > 0) {
		line[got] = 0;
		send_text(line);
	}
	_exit(0);
}

static void send_from_child(const char *text)
{
	int ends[2];

	if (to_child < 0) {
		if (pipe(ends) < 0)
			exit(1);
		child = fork();
		if (child == 0) {
			close(ends[1]);
			be_child(ends[0]);
		}
		close(ends[0]);
		to_child = ends[1];
	}
	if (write(to_child, text, strlen(text)) < 0)
		exit(1);
}

static void end_child(void)
{
	close(to_child);
	to_child = -1;
	waitpid(child, NULL, 0);
}

static void send_from_orphan(const char *text)
{
	int ends[2];
	char byte;

	if (pipe(ends) < 0)
		exit(1);
	pid_t parent = fork();

	if (parent == 0) {
		pid_t middle = (setsid(), getpid());

		if (fork())
			_exit(0);
		while (getppid() == middle)
			usleep(1000);
		send_text(text);
		_exit(0);
	}
	close(ends[1]);
	waitpid(parent, NULL, 0);
	/* The orphan has the other end until it ends. */
	while (read(ends[0], &byte, 1) > 0)
		;
	close(ends[0]);
}

static void run_witness(char *what)
{
	char *const question[] = { WITNESS, what, NULL };
	pid_t pid = fork();

	if (pid == 0) {
		execv(WITNESS, question);
		_exit(1);
	}
	waitpid(pid, NULL, 0);
}

/* As sshd starts one: leader of a session, with dispositions as they come; within it one that has left. */
static void start_command(int stubborn)
{
	int ends[2];
	pid_t left;

	if (pipe(ends) < 0)
		exit(1);
	pid_t leader = fork();

	if (leader == 0) {
		setsid();
		if (stubborn) {
			signal(SIGHUP, SIG_IGN);
			signal(SIGTERM, SIG_IGN);
		}
		/* The connection is sshd's alone. */
		for (int fd = 0; fd <= 2; fd++)
			close(fd);
		left = fork();
		if (left == 0) {
			setsid();
			for (;;)
				pause();
		}
		if (write(ends[1], &left, sizeof left) != sizeof left)
			_exit(1);
		for (;;)
			pause();
	}
	if (read(ends[0], &left, sizeof left) != sizeof left)
		exit(1);
	close(ends[0]);
	close(ends[1]);
	printf("command %d left %d\n", leader, left);
}

static void open_terminal(void)
{
	char name[64];
	int slave;

	if (openpty(&terminal, &slave, name, NULL, NULL) < 0)
		exit(1);
	printf("terminal %s\n", name);
}

static void open_full_terminal(void)
{
	char name[64], data[4096] = { 'x' };
	int master, slave;

	if (openpty(&master, &slave, name, NULL, NULL) < 0 || fcntl(slave, F_SETFL, O_NONBLOCK) < 0)
		exit(1);
	while (write(slave, data, sizeof data) > 0)
		;
	printf("terminal %s\n", name);
}

static void flood(const char *arguments)
{
	char *text;
	long count = strtol(arguments, &text, 10);

	for (; count > 0; count--)
		send_text(text + 1);
}

static void answer(char *line, char **argv)
{
	if (strcmp(line, "pid") == 0) {
		printf("pid %d\n", (int)getpid());
	} else if (strcmp(line, "arguments") == 0) {
		for (char **one = argv; *one; one++)
			printf("argument %s\n", *one);
		for (char **one = environ; *one; one++)
			printf("variable %s\n", *one);
	} else if (strcmp(line, "status") == 0 || strcmp(line, "stay") == 0) {
		run_witness(line);
	} else if (strncmp(line, "report ", 7) == 0) {
		send_text(line + 7);
	} else if (strncmp(line, "child ", 6) == 0) {
		send_from_child(line + 6);
	} else if (strncmp(line, "last ", 5) == 0) {
		send_from_child(line + 5);
		end_child();
	} else if (strncmp(line, "orphan ", 7) == 0) {
		send_from_orphan(line + 7);
	} else if (strncmp(line, "long ", 5) == 0) {
		static char data[100000];

		memset(data, 'a', sizeof data);
		memcpy(data, "open 1 - command ", 17);
		send_bytes(data, (size_t)atoi(line + 5), 0);
	} else if (strcmp(line, "zero") == 0) {
		send_bytes("open 1 - command a\0b", 20, 0);
	} else if (strncmp(line, "flood ", 6) == 0) {
		flood(line + 6);
	} else if (strcmp(line, "command") == 0) {
		start_command(0);
	} else if (strcmp(line, "stubborn") == 0) {
		start_command(1);
	} else if (strcmp(line, "terminal") == 0) {
		open_terminal();
	} else if (strcmp(line, "full-terminal") == 0) {
		open_full_terminal();
	} else if (strcmp(line, "deaf") == 0) {
		signal(SIGTERM, SIG_IGN);
	}
	printf("answered\n");
}

static void pass_on_terminal(void)
{
	char data[512];
	ssize_t got = read(terminal, data, sizeof data);

	if (got <= 0 || write(1, data, (size_t)got) != got)
		terminal = -1;
}

/* One byte at a time: nothing is left in a buffer that poll(2) does not know of. */
static int read_line(char *line, size_t size)
{
	size_t length = 0;

	while (length < size - 1) {
		struct pollfd wait[2] = { { 0, POLLIN, 0 }, { terminal, POLLIN, 0 } };

		poll(wait, 2, -1);
		if (wait[1].revents)
			pass_on_terminal();
		if (!wait[0].revents)
			continue;
		if (read(0, line + length, 1) != 1)
			return -1;
		if (line[length] == '\n')
			break;
		length++;
	}
	line[length] = 0;
	return 0;
}

int main(int argc, char **argv)
{
	static char line[4096];
	char *slash;

	/* The run directory by the configuration's path: sshd has its own compiled in. */
	if (argc < 4 || !(slash = strrchr(argv[3], '/')))
		return 1;
	snprintf(init.sun_path, sizeof init.sun_path, "%.*s/report", (int)(slash - argv[3]), argv[3]);
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("SSH-2.0-fake\n");
	while (read_line(line, sizeof line) == 0)
		answer(line, argv);
	return 0;
}
