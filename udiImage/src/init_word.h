/*
 * init: the word to those on a terminal when the job's command has ended. The terminals are those that `open` told
 * of; they are the user's, who may have put anything in their place, or stopped them with ^S: nothing is waited for.
 */
#include <sys/sysmacros.h>

#define FIRST_PTS_MAJOR 136	/* to 143: Linux allocated devices, UNIX98 PTY slaves */
#define LAST_PTS_MAJOR 143

enum word { WORD_CUT, WORD_LINGER };

/* "the job's command has ended (exit 3)", or what else it is. */
static int word_reason(char *text, size_t size)
{
	if (!options.command || !command.begun)
		return snprintf(text, size, "the job has ended");
	if (!command.ended)
		return snprintf(text, size, asked.gone ? "the job's launcher is gone" : "the job is being ended");
	if (command.killed_by)
		return snprintf(text, size, "the job's command has ended (signal %d)", command.killed_by);
	return snprintf(text, size, "the job's command has ended (exit %d)", command.code);
}

static int word_text(enum word word, char *text, size_t size)
{
	char reason[64];

	word_reason(reason, sizeof reason);
	if (word == WORD_CUT)
		return snprintf(text, size, "\r\ngangway: %s; this session ends now\r\n", reason);
	if (options.linger == LINGER_SESSIONS)
		return snprintf(text, size, "\r\ngangway: %s; the container stays until the last session is closed\r\n",
				reason);
	return snprintf(text, size, "\r\ngangway: %s; this session may go on for %lld s\r\n", reason,
			options.linger / 1000);
}

static int terminal_open(int number)
{
	struct stat facts;
	char path[24];

	snprintf(path, sizeof path, "/dev/pts/%d", number);
	int fd = open(path, O_WRONLY | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return -1;
	if (fstat(fd, &facts) == 0 && S_ISCHR(facts.st_mode) && facts.st_uid == geteuid() &&
	    major(facts.st_rdev) >= FIRST_PTS_MAJOR && major(facts.st_rdev) <= LAST_PTS_MAJOR && isatty(fd))
		return fd;
	close(fd);
	return -1;
}

/* Tells how many terminals took it. */
static int say_to_terminals(enum word word)
{
	char text[160];
	int length = word_text(word, text, sizeof text), said = 0;

	for (size_t i = 0; i < connection_count; i++) {
		for (size_t j = 0; j < connections[i].opened_count; j++) {
			int number = connections[i].opened[j].terminal;
			int fd = number < 0 ? -1 : terminal_open(number);

			if (fd < 0)
				continue;
			said += write(fd, text, (size_t)length) == length;
			close(fd);
		}
	}
	return said;
}
