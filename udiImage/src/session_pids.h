/*
 * session: the processes of the job's command, as this container numbers them.
 */
#include <dirent.h>

/* More than anybody reads, and what a fork bomb can make of a welcome. */
#define JOB_PIDS_MAX 64
/* sshd's processes stand between init and us; what is further up is none of ours. */
#define ANCESTORS_MAX 64

/* From stat (proc(5)), `PID (NAME) STATE PPID …`: the parent; -1 where the process is gone, or a zombie. */
static pid_t living_parent(pid_t pid)
{
	char path[64], text[512], state;
	int parent;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);

	if (fd >= 0)
		close(fd);
	if (length <= 0)
		return -1;
	text[length] = 0;
	/* A name may hold blanks and brackets; the last bracket is the one. */
	char *after = strrchr(text, ')');

	if (!after || sscanf(after + 1, " %c %d", &state, &parent) != 2 || state == 'Z' || state == 'X')
		return -1;
	return parent;
}

static int is_ancestor(pid_t pid)
{
	pid_t above = getppid();

	for (int step = 0; above > 0 && step < ANCESTORS_MAX; step++) {
		if (above == pid)
			return 1;
		above = living_parent(above);
	}
	return 0;
}

/* Adds the children of one thread; without CONFIG_PROC_CHILDREN there is no such file. */
static void add_children(const char *path, pid_t *pids, size_t *count)
{
	FILE *list = fopen(path, "re");
	int child;

	while (list && *count < JOB_PIDS_MAX && fscanf(list, "%d", &child) == 1)
		pids[(*count)++] = child;
	if (list)
		fclose(list);
}

static void add_children_of_all_threads(pid_t pid, pid_t *pids, size_t *count)
{
	char path[128];
	struct dirent *entry;

	snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
	DIR *threads = opendir(path);

	while (threads && *count < JOB_PIDS_MAX && (entry = readdir(threads))) {
		long long thread = parse_number(entry->d_name, 1, 0x7fffffff);

		if (thread < 0)
			continue;
		snprintf(path, sizeof path, "/proc/%d/task/%lld/children", (int)pid, thread);
		add_children(path, pids, count);
	}
	if (threads)
		closedir(threads);
}

/*
 * Fills `pids` with the command's pid, its children and their children; how many there are. None when `recorded`,
 * what init wrote down, is not the command any more. The number may belong to another by then: the command's
 * parent is init, below which we are, too.
 */
static size_t job_pids(const char *recorded, pid_t pids[JOB_PIDS_MAX])
{
	pid_t command = recorded ? (pid_t)parse_number(recorded, 1, 0x7fffffff) : -1;
	size_t count = 0, generation = 0;

	if (command < 0 || !is_ancestor(living_parent(command)))
		return 0;
	pids[count++] = command;
	for (int depth = 0; depth < 2; depth++) {
		size_t end = count;

		for (; generation < end; generation++)
			add_children_of_all_threads(pids[generation], pids, &count);
	}
	return count;
}
