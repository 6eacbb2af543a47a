/*
 * connector --carried PROGRAM JOB SILENCE_MS PADDING BASE…: the end of a workload manager's carrier on a job's host, for the
 * commonest case: the job's head, whose directory lies in one of these run bases, launched in the manager's job that was entered,
 * and a key that is to be signed. For all else, and to say what is wrong, it executes `PROGRAM carried`, which takes half as long
 * as all the rest of a session's start; up to there it has read nothing. A part of connector.c.
 *
 * It understands neither the request, which the launcher does, nor the job's record, nor the launcher's answer, which the client does.
 */
#include <sys/stat.h>

#include "connector_frames.h"
#include "connector_relay.h"

#define CARRIED_MARK "gangway-carried 1 "
#define LONGEST_REQUEST 4096
#define LONGEST_RECORD (32 * 1024)
#define LONGEST_ANSWER (16 * 1024)
#define REQUEST_MS 30000
#define ANSWER_MS 5000		/* a launcher answers at once */

struct job_place {
	int launcher, ssh;		/* connected */
	char *record;
};

/* A directory or file of the user's own, which nobody else can change. */
static int is_own(int fd, mode_t type)
{
	struct stat state;

	return fstat(fd, &state) == 0 && (state.st_mode & S_IFMT) == type && state.st_uid == geteuid() &&
	       !(state.st_mode & 022);
}

/* NULL: it has none, or not one that can be used. */
static char *read_record(int directory)
{
	int fd = openat(directory, "job.json", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	char *text = fd >= 0 && is_own(fd, S_IFREG) ? malloc(LONGEST_RECORD) : NULL;
	ssize_t got = text ? read(fd, text, LONGEST_RECORD) : -1;

	if (fd >= 0)
		close(fd);
	if (got <= 0 || got == LONGEST_RECORD) {
		free(text);
		return NULL;
	}
	text[got] = 0;
	return text;
}

/* -1 unless the user's own process listens there. */
static int connect_own(const char *base, const char *job, const char *name)
{
	char path[PATH_MAX];
	struct ucred listener = { 0 };
	socklen_t length = sizeof listener;
	int fd = -1;

	if (snprintf(path, sizeof path, "%s/%s/%s", base, job, name) < (int)sizeof path)
		fd = unix_connect_as(path, SOCK_NONBLOCK);
	if (fd < 0)
		return -1;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &listener, &length) == 0 && listener.uid == geteuid())
		return fd;
	close(fd);
	return -1;
}

/*
 * Two queues of HTCondor may have a job of one number here, and both launches a name that fits: the one is meant whose launcher
 * runs in the same job as this process, as the path of the job's ad tells.
 */
static int is_of_this_job(int launcher)
{
	static const char name[] = "_CONDOR_JOB_AD=";
	const char *own = getenv("_CONDOR_JOB_AD");
	struct ucred listener = { 0 };
	socklen_t length = sizeof listener;
	char path[64], *entry = NULL;
	size_t size = 0;
	int same = 0;

	if (!own)
		return 1;
	if (getsockopt(launcher, SOL_SOCKET, SO_PEERCRED, &listener, &length) < 0)
		return 0;
	snprintf(path, sizeof path, "/proc/%d/environ", (int)listener.pid);
	FILE *environment = fopen(path, "re");

	if (!environment)
		return 0;
	while (!same && getdelim(&entry, &size, 0, environment) > 0)
		same = strncmp(entry, name, sizeof name - 1) == 0 && strcmp(entry + sizeof name - 1, own) == 0;
	free(entry);
	fclose(environment);
	return same;
}

static int find_in(const char *base, const char *job, struct job_place *place)
{
	int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;
	int above = open(base, flags);
	int directory = above >= 0 && is_own(above, S_IFDIR) ? openat(above, job, flags) : -1;

	place->record = directory >= 0 && is_own(directory, S_IFDIR) ? read_record(directory) : NULL;
	if (place->record) {
		place->launcher = connect_own(base, job, "launcher.sock");
		place->ssh = connect_own(base, job, "0/ssh");
	}
	if (directory >= 0)
		close(directory);
	if (above >= 0)
		close(above);
	return place->record && place->launcher >= 0 && place->ssh >= 0 && is_of_this_job(place->launcher);
}

/* A line with its newline, which is made the end of the text. No byte behind it is read. -1: none came. */
static int read_line(int fd, char *line, size_t size, int patience_ms)
{
	long long until = now_ms() + patience_ms;

	for (size_t filled = 0; filled < size;) {
		struct pollfd wait = { fd, POLLIN, 0 };
		long long left = until - now_ms();

		if (left <= 0 || (poll(&wait, 1, (int)left) <= 0 && errno != EINTR))
			return -1;
		ssize_t got = read(fd, line + filled, 1);

		if (got < 0 && would_block())
			continue;
		if (got <= 0)
			return -1;
		if (line[filled] == '\n') {
			line[filled] = 0;
			return 0;
		}
		filled++;
	}
	return -1;
}

/* What the client's first line asks of the launcher, and the launcher's word on it. */
static int ask_launcher(int launcher, char *answer)
{
	char line[LONGEST_REQUEST];
	size_t mark = strlen(CARRIED_MARK);

	if (read_line(0, line, sizeof line, REQUEST_MS) < 0 || strncmp(line, CARRIED_MARK, mark) != 0)
		return -1;
	size_t length = strlen(line);

	line[length] = '\n';
	if (write_all(launcher, line + mark, length + 1 - mark) < 0)
		return -1;
	return read_line(launcher, answer, LONGEST_ANSWER, ANSWER_MS);
}

/* Both are JSON: outside of its strings what is no printable character is a blank, and in them it does not occur. */
static int reply(char *record, const char *answer)
{
	for (char *at = record; *at; at++)
		if ((unsigned char)*at < ' ')
			*at = ' ';
	return dprintf(1, "\n" CARRIED_MARK "{\"kind\":\"head\",\"record\":%s,\"answer\":%s}\n", record, answer) < 0 ? -1 : 0;
}

__attribute__((noreturn))
static void let_program(char *program)
{
	execl(program, program, "carried", (char *)NULL);
	say("connector", "cannot execute %.700s: %s", program, strerror(errno));
	exit(1);
}

/* -1 for words that are none. */
static int carry(char **word)
{
	static struct carried carried;
	static char answer[LONGEST_ANSWER];
	struct job_place place = { -1, -1, NULL };
	char *program = word[0], *job = program ? word[1] : NULL, *silence = job ? word[2] : NULL;
	char *padding = silence ? word[3] : NULL;
	long long bytes = padding ? parse_number(padding, 0, MOST_PADDING) : -1;

	carried.silence_ms = silence ? parse_number(silence, 500, 3600000) : -1;
	if (bytes < 0 || carried.silence_ms < 0 || *program != '/' || *job == '.' || !*job || strchr(job, '/'))
		return -1;
	carried.padding = (size_t)bytes;
	int found = 0;

	for (word += 4; *word && !found; word++)
		found = **word == '/' && find_in(*word, job, &place);
	if (!found)
		let_program(program);
	if (ask_launcher(place.launcher, answer) < 0 || reply(place.record, answer) < 0) {
		say("connector", "the job's launcher does not answer");
		return 1;
	}
	close(place.launcher);
	free(place.record);
	carried.from = carried.to = place.ssh;
	make_nonblocking((const int[]){ 0, 1, place.ssh }, 3);
	return relay_frames(&carried);
}
