/*
 * init: the control channel to the launcher. Lines of ASCII, see docs/internals.md, section 4.
 *
 * init never waits for the launcher: a launcher that is stopped must not stop the sessions. What the socket
 * does not take is kept here, QUEUE_MOST bytes of it. Of `sessions N` only the latest matters. A `login` or an
 * `open` that is told has room put by for the `logout` or `close` that will follow: nothing the launcher has
 * been told of stays open in its table for ever. What is not kept is counted, and told as `lost N`.
 */
#include <poll.h>
#include <stdarg.h>

#define LINE_MAX_BYTES 1024
#define QUEUE_MOST (1024 * 1024)
#define QUEUE_FOR_THE_END (8 * LINE_MAX_BYTES)
#define PART_MS 250	/* a launcher that was stopped keeps nobody waiting */
#define OWED_LOGOUT 72	/* `logout` and three numbers of 20 digits */
#define OWED_CLOSE 48	/* `close` with one of 20, one of 10 and one of 3 */

static int control = -1;
static char queue_first[16 * LINE_MAX_BYTES];	/* what a launcher that reads never fills */
static char *queue = queue_first;
static size_t queue_room = sizeof queue_first, queue_from, queue_length;
static size_t queue_owed;		/* room put by */
static unsigned long lines_lost;
static int sessions_to_tell = -1;

/* What the launcher has asked for and is not done yet. */
static struct {
	int go, end, gone;
} asked;

static void queue_empty(void)
{
	if (queue != queue_first)
		free(queue);
	queue = queue_first;
	queue_room = sizeof queue_first;
	queue_from = queue_length = 0;
}

static void control_flush(void)
{
	while (control >= 0 && queue_length) {
		ssize_t sent = send(control, queue + queue_from, queue_length, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0) {
			/* A launcher that is gone is noticed by reading. */
			if (errno != EAGAIN)
				queue_empty();
			return;
		}
		queue_from += (size_t)sent;
		queue_length -= (size_t)sent;
	}
	if (!queue_length)
		queue_empty();
}

/* Makes room for one more line and what is put by; 0 when there is none. The end's lines may use what is kept for them. */
static int queue_make_room(size_t length, int urgent)
{
	size_t needed = queue_length + length + (urgent ? 0 : QUEUE_FOR_THE_END);

	if (needed + (urgent ? 0 : queue_owed) > QUEUE_MOST)
		return 0;
	if (queue_from) {
		memmove(queue, queue + queue_from, queue_length);
		queue_from = 0;
	}
	if (needed <= queue_room)
		return 1;
	size_t room = queue_room * 2 < needed ? needed : queue_room * 2;
	char *more = malloc(room);

	if (!more)
		return 0;
	memcpy(more, queue, queue_length);
	if (queue != queue_first)
		free(queue);
	queue = more;
	queue_room = room;
	return 1;
}

/*
 * Queues one line and tells whether it could be kept. Bytes that are not printable ASCII (a name of a file in an
 * error) become '?', so that a line is a line. `urgent` lines are those of the job's start and end, few and
 * short: room for them is always kept.
 */
static int control_put(int urgent, char *line, int length)
{
	if (control < 0 || length < 0)
		return 0;
	if (length > LINE_MAX_BYTES - 1)
		length = LINE_MAX_BYTES - 1;
	for (int i = 0; i < length; i++)
		if (line[i] < ' ' || line[i] > '~')
			line[i] = '?';
	line[length++] = '\n';
	if (!queue_make_room((size_t)length, urgent)) {
		lines_lost++;
		return 0;
	}
	memcpy(queue + queue_from + queue_length, line, (size_t)length);
	queue_length += (size_t)length;
	control_flush();
	return 1;
}

__attribute__((format(printf, 2, 3)))
static int tell(int urgent, const char *format, ...)
{
	char line[LINE_MAX_BYTES + 1];
	va_list values;

	va_start(values, format);
	int length = vsnprintf(line, sizeof line, format, values);

	va_end(values);
	return control_put(urgent, line, length);
}

/* What only matters as it is now, once the launcher has taken all that was before. */
static void tell_sessions(void)
{
	if (queue_length)
		return;
	if (lines_lost && tell(0, "lost %lu", lines_lost))
		lines_lost = 0;
	if (sessions_to_tell >= 0 && !queue_length && tell(0, "sessions %d", sessions_to_tell))
		sessions_to_tell = -1;
}

/*
 * Nothing more will be said. The launcher may be saying something at this moment (a signal for a command that has just
 * ended): to a socket that is closed it could not, and might then not read our last lines either. So it closes first.
 */
static void control_part(void)
{
	long long until = now_ms() + PART_MS;
	char skipped[1024];

	if (control < 0 || shutdown(control, SHUT_WR) < 0)
		return;
	for (;;) {
		struct pollfd wait = { control, POLLIN, 0 };
		long long left = until - now_ms();
		ssize_t got;

		if (left <= 0 || (poll(&wait, 1, (int)left) < 0 && errno != EINTR))
			return;
		got = recv(control, skipped, sizeof skipped, MSG_DONTWAIT);
		if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
			return;
	}
}

/* Waits until the launcher's socket has taken every line, or it is clear that it will not. */
static void control_drain(void)
{
	long long until = now_ms() + 5000;

	tell_sessions();
	control_flush();
	while (control >= 0 && queue_length) {
		struct pollfd wait = { control, POLLOUT, 0 };
		long long left = until - now_ms();

		if (left <= 0 || (poll(&wait, 1, (int)left) < 0 && errno != EINTR))
			return;
		control_flush();
	}
	control_part();
}

/* Something the user should read: to the launcher when there is one, else to stderr; then init is over. */
__attribute__((noreturn, format(printf, 1, 2)))
static void fail(const char *format, ...)
{
	char text[900];
	va_list values;

	va_start(values, format);
	vsnprintf(text, sizeof text, format, values);
	va_end(values);
	if (control >= 0) {
		tell(1, "error %s", text);
		control_drain();
	} else {
		say("init", "%s", text);
		record_remove();
	}
	exit(EXIT_OURS);
}

/* Connects to `ctl`. With --launcher it must be there; a hand-started init takes it when somebody listens. */
static void control_connect(void)
{
	char path[4096];

	if (snprintf(path, sizeof path, "%s/ctl", options.run_dir) >= (int)sizeof path)
		errno = ENAMETOOLONG;
	else
		control = unix_connect(path);
	if (control >= 0)
		tell(0, "hello 1");
	else if (options.launcher)
		fail("cannot connect to the launcher at %s/ctl: %s", options.run_dir, strerror(errno));
	else if (errno != ENOENT)
		say("init", "no launcher answers at %s/ctl (%s): going on without", options.run_dir, strerror(errno));
}

static void signal_command(int number, const union sigval *queued);
static void terminal_size(int rows, int columns);
static void command_continue(void);
static void connections_revoke(uint64_t serial);
static void suspend(void);
static void resume(void);

static void control_line(char *line)
{
	int one, two, end = -1;
	uint64_t serial;

	if (strcmp(line, "go") == 0)
		asked.go = 1;
	else if (strcmp(line, "end") == 0)
		asked.end = 1;
	else if (strcmp(line, "continue") == 0)
		command_continue();
	else if (strcmp(line, "suspend") == 0)
		suspend();
	else if (strcmp(line, "resume") == 0)
		resume();
	else if (sscanf(line, "signal %d%n", &one, &end) == 1 && end > 0 && !line[end])
		signal_command(one, NULL);
	else if (sscanf(line, "winsize %d %d%n", &one, &two, &end) == 2 && end > 0 && !line[end])
		terminal_size(one, two);
	else if (strncmp(line, "revoke ", 7) == 0 && parse_unsigned(line + 7, &serial) == 0)
		connections_revoke(serial);
	/* Anything else is a newer launcher's. */
}

/* Reads what has arrived; a line that is too long is dropped as a whole. */
static void control_read(void)
{
	static char line[LINE_MAX_BYTES];
	static size_t length;
	static int too_long;
	char data[LINE_MAX_BYTES];

	for (;;) {
		ssize_t got = recv(control, data, sizeof data, MSG_DONTWAIT);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN)
			return;
		if (got <= 0) {
			asked.gone = 1;
			close(control);
			control = -1;
			queue_empty();
			return;
		}
		for (ssize_t i = 0; i < got; i++) {
			if (data[i] == '\n') {
				line[length] = 0;
				if (!too_long)
					control_line(line);
				length = 0;
				too_long = 0;
			} else if (length < sizeof line - 1) {
				line[length++] = data[i];
			} else {
				too_long = 1;
			}
		}
	}
}
