/*
 * fake-sshd: stands where sshd does in the tests of init alone. Tells how it was started, then answers a line
 * `status` or `arguments` by running the witness, and ends with its connection.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

int main(int argc, char **argv)
{
	char line[256];

	(void)argc;
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("SSH-2.0-fake\n");
	while (fgets(line, sizeof line, stdin)) {
		line[strcspn(line, "\r\n")] = 0;
		if (strcmp(line, "arguments") == 0) {
			for (char **one = argv; *one; one++)
				printf("argument %s\n", *one);
			for (char **one = environ; *one; one++)
				printf("variable %s\n", *one);
		}
		if (strcmp(line, "status") == 0) {
			char *const question[] = { WITNESS, "status", NULL };
			pid_t child = fork();

			if (child == 0) {
				execv(WITNESS, question);
				_exit(1);
			}
			waitpid(child, NULL, 0);
		}
		if (strcmp(line, "stay") == 0) {
			char *const question[] = { WITNESS, "stay", NULL };
			pid_t child = fork();

			if (child == 0) {
				execv(WITNESS, question);
				_exit(1);
			}
			waitpid(child, NULL, 0);
		}
		printf("answered\n");
	}
	return 0;
}
