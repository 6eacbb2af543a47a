/*
 * All programs of OpenSSH in one file, which has a name for each of them (hard links).
 *
 * Each one linked statically carries 3 MB of libcrypto: eleven of them are 38 MB, this is a quarter of that, and
 * a machine's page cache holds it once.
 *
 * Which one is asked for is decided by the name of the file that was executed, not by argv[0], which the caller
 * chooses freely (sshd and ssh do).
 */
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#define PROGRAM(name) extern int name(int, char **);
#include "programs.h"
#undef PROGRAM

static const struct {
	const char *name;
	int (*run)(int, char **);
} programs[] = {
#define PROGRAM(name) { #name, name },
#include "programs.h"
#undef PROGRAM
};

/* "main_ssh_keygen" is what "ssh-keygen" is called in C. */
static int
matches(const char *symbol, const char *name)
{
	symbol += strlen("main_");
	for (; *symbol != '\0' && *name != '\0'; symbol++, name++) {
		if (*symbol != *name && !(*symbol == '_' && *name == '-'))
			return 0;
	}
	return *symbol == *name;
}

static int
try(const char *path, int argc, char **argv, int *status)
{
	const char *name;
	size_t i;

	if (path == NULL)
		return 0;
	name = strrchr(path, '/');
	name = name == NULL ? path : name + 1;
	for (i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
		if (matches(programs[i].name, name)) {
			*status = programs[i].run(argc, argv);
			return 1;
		}
	}
	return 0;
}

int
main(int argc, char **argv)
{
	char exe[4096];
	ssize_t n;
	int status;

	/* The path as it was executed; through a link of another name, what that points to; then what is left. */
	if (try((const char *)getauxval(AT_EXECFN), argc, argv, &status))
		return status;
	if ((n = readlink("/proc/self/exe", exe, sizeof(exe) - 1)) > 0) {
		exe[n] = '\0';
		if (try(exe, argc, argv, &status))
			return status;
	}
	if (argc > 0 && try(argv[0], argc, argv, &status))
		return status;
	fprintf(stderr, "%s: not the name of a program of OpenSSH\n",
	    argc > 0 ? argv[0] : "openssh");
	return 127;
}
