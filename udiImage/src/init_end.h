/*
 * init: the end of the container. As PID 1 of a pid namespace "everybody else" is kill(-1), and the kernel
 * clears what is left when init exits. Anywhere else it means our own descendants and nobody else: init is their
 * subreaper (prctl(2)), so each of them hangs from one of our children, whatever it has done to get away.
 */
#include <dirent.h>
#include <poll.h>

#define HANGUP_MS 100	/* after TERM: interactive shells ignore that, and end at HUP */
#define GRACE_MS 200	/* after TERM: then KILL */
#define AFTER_KILL_MS 2000

static void reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED)) > 0) {
		if (pid == command.pid)
			command_changed(status);
		else if (!WIFSTOPPED(status) && !WIFCONTINUED(status))
			session_ended(pid);
	}
}

static int anyone_left(void)
{
	if (is_pid_one)
		return kill(-1, 0) == 0 || errno != ESRCH;
	siginfo_t skipped;

	return waitid(P_ALL, 0, &skipped, WEXITED | WNOHANG | WNOWAIT) == 0 || errno != ECHILD;
}

struct process {
	pid_t pid, parent;
	int below_us;
};

/* pid and parent of a process that is not a zombie, from proc(5)'s stat: `PID (NAME) STATE PPID …`. */
static int process_read(const char *name, struct process *process)
{
	char path[64], text[512];

	process->pid = (pid_t)parse_number(name, 1, 0x7fffffff);
	if (process->pid < 0)
		return -1;
	snprintf(path, sizeof path, "/proc/%d/stat", (int)process->pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);

	if (fd >= 0)
		close(fd);
	if (length <= 0)
		return -1;
	text[length] = 0;
	/* A name may contain blanks and brackets; the last bracket is the one. */
	char *after = strrchr(text, ')'), state;
	int parent;

	if (!after || sscanf(after + 1, " %c %d", &state, &parent) != 2 || state == 'Z' || state == 'X')
		return -1;
	process->parent = parent;
	process->below_us = 0;
	return 0;
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

static void signal_descendants(int number)
{
	size_t count;
	struct process *all = processes_read(&count);
	int grew = 1;

	while (grew) {
		grew = 0;
		for (size_t i = 0; i < count; i++) {
			int below = all[i].parent == getpid();

			for (size_t j = 0; j < count && !below; j++)
				below = all[j].below_us && all[j].pid == all[i].parent;
			if (below && !all[i].below_us)
				grew = all[i].below_us = 1;
		}
	}
	for (size_t i = 0; i < count; i++)
		if (all[i].below_us)
			kill(all[i].pid, number);
	free(all);
}

static void signal_everyone(int number)
{
	if (is_pid_one) {
		kill(-1, number);
	} else if (proc_is_ours()) {
		signal_descendants(number);
	} else {
		/* What we know without /proc: the command's group and the sessions. */
		if (command.pid)
			kill(-command.pid, number);
		for (size_t i = 0; i < session_count; i++)
			kill(sessions[i].pid, number);
	}
}

/* A look at who is left as soon as a child ends; strangers to wait(2), such as an engine's exec, in between. */
static void wait_a_little(long long most)
{
	struct pollfd wait[2] = { { signals, POLLIN, 0 }, { control, POLLOUT, 0 } };
	char skipped[1024];

	poll(wait, queue_length ? 2 : 1, most < 10 ? (int)most : 10);
	while (read(signals, skipped, sizeof skipped) > 0)
		;
	control_flush();
	reap();
}

static void wait_until(long long moment)
{
	while (anyone_left() && now_ms() < moment)
		wait_a_little(moment - now_ms());
}

/*
 * HUP comes a moment after TERM: a program that tidies up at TERM has seldom thought of HUP, and would die of it
 * in the middle. When nobody is there, nothing is waited for.
 */
static void end_everyone(void)
{
	long long begun = now_ms(), until;

	reap();
	if (!anyone_left())
		return;
	signal_everyone(SIGTERM);
	signal_everyone(SIGCONT);
	wait_until(begun + HANGUP_MS);
	if (anyone_left())
		signal_everyone(SIGHUP);
	wait_until(begun + GRACE_MS);
	/* Again and again, because one that forks may be faster than a walk through /proc. */
	for (until = now_ms() + AFTER_KILL_MS; anyone_left() && now_ms() < until; wait_a_little(10))
		signal_everyone(SIGKILL);
}

/* `code` is init's; -1: the command's own, 0 when there was none. */
__attribute__((noreturn))
static void finish(int code)
{
	int alone = control < 0 && !asked.gone;

	sessions_close();
	end_everyone();
	control_drain();
	if (alone)
		record_remove();
	exit(code >= 0 ? code : command.code);
}
