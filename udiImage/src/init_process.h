/*
 * init: who is there, as proc(5) tells it. Where /proc is missing, or is that of another pid namespace, nothing of
 * this can be known, and numbers from it would be strangers'.
 */
#include <dirent.h>

struct process {
	pid_t pid, parent, group, session;
	pid_t foreground;	/* of the session's terminal; -1: it has none */
	char state;
	int below_us;
};

/* From stat, `PID (NAME) STATE PPID PGRP SESSION TTY_NR TPGID …`; zombies too. -1: not there. */
static int process_look(pid_t pid, struct process *process)
{
	char path[64], text[512];

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);

	if (fd >= 0)
		close(fd);
	if (length <= 0)
		return -1;
	text[length] = 0;
	/* A name may contain blanks and brackets; the last bracket is the one. */
	char *after = strrchr(text, ')');

	memset(process, 0, sizeof *process);
	process->pid = pid;
	if (!after || sscanf(after + 1, " %c %d %d %d %*d %d", &process->state, &process->parent,
			     &process->group, &process->session, &process->foreground) != 5)
		return -1;
	return 0;
}

/* By the name of an entry of /proc; -1 also for a zombie. */
static int process_read(const char *name, struct process *process)
{
	pid_t pid = (pid_t)parse_number(name, 1, 0x7fffffff);

	if (pid < 0 || process_look(pid, process) < 0)
		return -1;
	return process->state == 'Z' || process->state == 'X' ? -1 : 0;
}

static struct process *processes_read(size_t *count)
{
	DIR *list = opendir("/proc");
	struct process *all = NULL, *more, one;
	struct dirent *entry;
	size_t room = 0;

	*count = 0;
	while (list && (entry = readdir(list))) {
		if (process_read(entry->d_name, &one) < 0)
			continue;
		if (*count == room) {
			room = room ? room * 2 : 256;
			more = realloc(all, room * sizeof *all);
			if (!more)
				break;
			all = more;
		}
		all[(*count)++] = one;
	}
	if (list)
		closedir(list);
	return all;
}

/* A /proc of another pid namespace would have us signal strangers. */
static int proc_is_ours(void)
{
	char self[16];
	ssize_t length = readlink("/proc/self", self, sizeof self - 1);

	if (length <= 0)
		return 0;
	self[length] = 0;
	return parse_number(self, 1, 0x7fffffff) == getpid();
}
