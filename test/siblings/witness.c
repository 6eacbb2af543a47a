/*
 * witness: a job's command that says exactly how it was started and what reached it.
 *
 *   witness status             signal masks, descriptors, process group, session
 *   witness environment        the environment as it is, NUL-terminated each
 *   witness arguments ARG...   argv[0] and the rest, one a line; then cwd and umask
 *   witness listen             catches every signal, tells each number (and sigqueue's value); ends with USR2's second
 *   witness exit N             ends so
 *   witness die N              dies of signal N
 *   witness queue PID N VALUE  sigqueue(3)
 *   witness orphans N          makes N orphans, waits until each is gone, tells so
 *   witness tell TEXT          a datagram to the socket REPORT (in the environment), as an sshd sends it
 *   witness stay               a daemon (setsid, twice forked) that ignores TERM, HUP and INT; tells its pid
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void mask_all(int how)
{
	unsigned long long all = ~0ULL;

	syscall(SYS_rt_sigprocmask, how, &all, NULL, 8);
}

static int status(void)
{
	char line[256];
	FILE *file = fopen("/proc/self/status", "r");

	while (file && fgets(line, sizeof line, file))
		if (strncmp(line, "SigBlk", 6) == 0 || strncmp(line, "SigIgn", 6) == 0 || strncmp(line, "SigPnd", 6) == 0)
			fputs(line, stdout);
	if (file)
		fclose(file);
	DIR *list = opendir("/proc/self/fd");

	printf("fds:");
	for (int fd = 0; fd < 1024; fd++)
		if (fd != dirfd(list) && fcntl(fd, F_GETFD) >= 0)
			printf(" %d%s", fd, fcntl(fd, F_GETFL) & O_NONBLOCK ? "!" : "");
	struct rlimit files;

	getrlimit(RLIMIT_NOFILE, &files);
	printf("\nleader: %s\nnofile: %ld\n", getpgrp() == getpid() ? "group" : "no", (long)files.rlim_cur);
	return 0;
}

/* Raw, so that 32 to 34 are seen as well; all are blocked, and taken one by one. */
static int listen_for_all(void)
{
	unsigned long long all = ~0ULL;
	int goodbyes = 0;

	mask_all(SIG_BLOCK);
	printf("listening\n");
	fflush(stdout);
	while (goodbyes < 2) {
		siginfo_t info;
		int number = (int)syscall(SYS_rt_sigtimedwait, &all, &info, NULL, 8);

		if (number < 0)
			continue;
		goodbyes += number == SIGUSR2;
		if (info.si_code == SI_QUEUE)
			printf("got %d value %d\n", number, info.si_value.sival_int);
		else
			printf("got %d\n", number);
		fflush(stdout);
	}
	return 0;
}

__attribute__((noreturn))
static void die(int number)
{
	struct rlimit none = { 0, 0 };
	unsigned long long nothing = 0;

	setrlimit(RLIMIT_CORE, &none);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &nothing, NULL, 8);
	syscall(SYS_kill, getpid(), number);
	for (;;)
		pause();
}

static int orphans(int count)
{
	for (int i = 0; i < count; i++) {
		int ends[2];
		pid_t orphan;

		if (pipe(ends) < 0)
			return 1;
		pid_t child = fork();

		if (child == 0) {
			orphan = fork();
			if (orphan == 0)
				_exit(0);
			_exit(write(ends[1], &orphan, sizeof orphan) != sizeof orphan);
		}
		waitpid(child, NULL, 0);
		if (read(ends[0], &orphan, sizeof orphan) != sizeof orphan)
			return 1;
		close(ends[0]);
		close(ends[1]);
		/* A zombie would still be there. */
		while (kill(orphan, 0) == 0)
			usleep(1000);
	}
	printf("%d orphans reaped\n", count);
	return 0;
}

static int stay(void)
{
	if (fork())
		return 0;
	setsid();
	if (fork())
		_exit(0);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	printf("daemon %d\n", getpid());
	fflush(stdout);
	for (;;)
		pause();
}

static int tell(const char *text)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	snprintf(address.sun_path, sizeof address.sun_path, "%s", getenv("REPORT"));
	return sendto(fd, text, strlen(text), 0, (struct sockaddr *)&address, sizeof address) < 0;
}

static int arguments(char **argv)
{
	char directory[4096];
	mode_t mask = umask(0);

	for (; *argv; argv++)
		printf("%s\n", *argv);
	printf("cwd=%s\numask=%04o\n", getcwd(directory, sizeof directory), (unsigned)mask);
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	int number = argc > 2 ? atoi(argv[2]) : 0;

	if (strcmp(what, "status") == 0)
		return status();
	if (strcmp(what, "listen") == 0)
		return listen_for_all();
	if (strcmp(what, "exit") == 0)
		return number;
	if (strcmp(what, "die") == 0)
		die(number);
	if (strcmp(what, "orphans") == 0)
		return orphans(number);
	if (strcmp(what, "stay") == 0)
		return stay();
	if (strcmp(what, "tell") == 0 && argc == 3)
		return tell(argv[2]);
	if (strcmp(what, "queue") == 0 && argc > 4)
		return sigqueue(number, atoi(argv[3]), (union sigval){ .sival_int = atoi(argv[4]) });
	if (strcmp(what, "environment") == 0 || (argc == 3 && strcmp(argv[2], "environment") == 0)) {
		for (char **variable = environ; *variable; variable++)
			fwrite(*variable, 1, strlen(*variable) + 1, stdout);
		return 0;
	}
	return arguments(argv);
}
