/*
 * session: in a container that is not a job's there is no run directory. What `docker exec` would give a command,
 * environment, working directory and umask, is what inject (inject.c) was started with, and /proc still shows it.
 */

#include "own_tree.h"
#include "inject_account.h"

/* Behind the container's own: nothing of it is shadowed. */
#define INJECTED_PATH ":%s/bin:%s/tools"

/* The pid of the inject that our sshd belongs to; 0 in a job. The client can set the variable, too: it is the same user. */
static int injected_by(void)
{
	const char *text = getenv("GANGWAY_INJECTED");
	long long pid = text ? parse_number(text, 1, 0x7fffffff) : -1;

	return pid < 0 ? 0 : (int)pid;
}

static char *read_proc(int pid, const char *name, size_t *length)
{
	char path[64], *text = NULL;
	size_t room = 0;
	ssize_t got = 1;

	*length = 0;
	snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return NULL;
	/* Files of /proc do not tell their size. */
	while (got > 0) {
		if (*length + 1 >= room) {
			char *more = realloc(text, room += 64 * 1024);

			if (!more)
				break;
			text = more;
		}
		got = read(fd, text + *length, room - *length - 1);
		if (got > 0)
			*length += (size_t)got;
	}
	close(fd);
	if (text)
		text[*length] = 0;
	return text;
}

/* Its environment, NUL-terminated records, with our programs at the end of PATH. */
static char *injected_environment(int pid, size_t *length)
{
	size_t old, at = 0;
	char *text = read_proc(pid, "environ", &old);
	char *with = text ? malloc(old + sizeof INJECTED_PATH + 2 * TREE_ROOM + sizeof "PATH=/usr/bin:/bin") : NULL;
	int found = 0;

	*length = 0;
	for (char *record = text; with && record < text + old; record += strlen(record) + 1) {
		at += (size_t)sprintf(with + at, "%s", record);
		if (strncmp(record, "PATH=", 5) == 0 && !found++)
			at += (size_t)sprintf(with + at, INJECTED_PATH, own_tree, own_tree);
		at++;
	}
	if (with && !found)
		at += (size_t)sprintf(with + at, "PATH=/usr/bin:/bin" INJECTED_PATH, own_tree, own_tree) + 1;
	free(text);
	*length = at;
	return with;
}

/* Its umask and working directory, as records like those of init's context. */
static char *injected_context(int pid, size_t *length)
{
	size_t old;
	char *status = read_proc(pid, "status", &old), *line = status ? strstr(status, "\nUmask:\t") : NULL;
	char *text = malloc(128);

	*length = 0;
	if (!text)
		return NULL;
	*length = (size_t)sprintf(text, "cwd=/proc/%d/cwd", pid) + 1;
	if (line)
		*length += (size_t)sprintf(text + *length, "umask=%.4s", line + 8) + 1;
	free(status);
	return text;
}
