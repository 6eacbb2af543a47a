/*
 * rounds - the stop watch of the measurements: the same little static program on the host and in the containers, so that
 * both sides are timed alike and one round at a time can be asked of each in turn.
 *
 *   rounds              reads lines "INPUT PROGRAM ARGUMENT…" (words separated by one blank), runs each with the file
 *                       INPUT as standard input, and answers "NANOSECONDS STATUS": from fork to wait, 128+n for a signal
 *   rounds crowd N PROGRAM ARGUMENT…
 *                       starts N at once, and answers for each "NANOSECONDS STATUS": from the first fork to its first
 *                       byte of output, which says that its session is open
 */
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORDS = 64, CROWD = 1000, CANNOT_EXECUTE = 127 };

static int64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int code_of(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* The child's side: input from a file, output as given, errors to ours. */
static void become(const char *input, int output, char **argv)
{
	int in = open(input, O_RDONLY);
	if (in < 0 || dup2(in, 0) < 0 || dup2(output, 1) < 0) {
		perror(input);
		_exit(CANNOT_EXECUTE);
	}
	execvp(argv[0], argv);
	perror(argv[0]);
	_exit(CANNOT_EXECUTE);
}

static void serve(void)
{
	static char line[1 << 17]; /* a hostlist of ten thousand names is one word */
	int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
	while (fgets(line, sizeof line, stdin)) {
		char *words[WORDS + 1];
		int count = 0;
		line[strcspn(line, "\n")] = 0;
		for (char *word = strtok(line, " "); word && count < WORDS; word = strtok(NULL, " "))
			words[count++] = word;
		words[count] = NULL;
		if (count < 2)
			continue;
		int status;
		int64_t start = now();
		pid_t pid = fork();
		if (pid == 0)
			become(words[0], nowhere, words + 1);
		if (pid < 0 || waitpid(pid, &status, 0) < 0)
			exit(1);
		printf("%lld %d\n", (long long)(now() - start), code_of(status));
		fflush(stdout);
	}
}

static void crowd(int count, char **argv)
{
	static struct pollfd ends[CROWD];
	static int64_t opened[CROWD];
	static pid_t pids[CROWD];
	int64_t start = now();
	for (int i = 0; i < count; i++) {
		int pipe_ends[2];
		if (pipe2(pipe_ends, O_CLOEXEC) < 0 || (pids[i] = fork()) < 0)
			exit(1);
		if (pids[i] == 0)
			become("/dev/null", pipe_ends[1], argv);
		close(pipe_ends[1]);
		ends[i] = (struct pollfd){ .fd = pipe_ends[0], .events = POLLIN };
	}
	for (int open_ends = count; open_ends > 0;) {
		if (poll(ends, (nfds_t)count, -1) < 0)
			exit(1);
		for (int i = 0; i < count; i++) {
			char bytes[256];
			if (ends[i].fd < 0 || !ends[i].revents)
				continue;
			ssize_t got = read(ends[i].fd, bytes, sizeof bytes);
			if (got > 0 && !opened[i])
				opened[i] = now() - start;
			if (got > 0)
				continue;
			close(ends[i].fd);
			ends[i].fd = -1;
			open_ends--;
		}
	}
	for (int i = 0; i < count; i++) {
		int status;
		if (waitpid(pids[i], &status, 0) < 0)
			exit(1);
		printf("%lld %d\n", (long long)opened[i], code_of(status));
	}
}

int main(int argc, char **argv)
{
	if (argc == 1) {
		serve();
		return 0;
	}
	int count = argc > 3 && strcmp(argv[1], "crowd") == 0 ? atoi(argv[2]) : 0;
	if (count < 1 || count > CROWD) {
		fprintf(stderr, "usage: rounds | rounds crowd N PROGRAM ARGUMENT...\n");
		return 2;
	}
	crowd(count, argv + 3);
	return 0;
}
