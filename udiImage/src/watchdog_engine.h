/*
 * watchdog: what it says to the engine, and what it reads of the answers. A part of watchdog.c.
 *
 * Every request has a connection of its own that the engine closes, and says HTTP/1.0: answers to that have no
 * chunks (RFC 9112, 7.1). One that comes in chunks all the same is understood.
 */
#define AT_ONCE 16			/* requests under way at a time */
#define ANSWER_MOST (4 * 1024 * 1024)	/* of a container's description; kept for a moment, one at a time */

/* Sends one request; the connection its answer will come over, -1 when the engine is not there. */
static int engine_ask(const char *format, const char *name)
{
	char request[512];
	int fd = unix_connect(options.engine);
	int length = snprintf(request, sizeof request, format, name);

	if (fd < 0)
		return -1;
	if (length < (int)sizeof request && send(fd, request, (size_t)length, MSG_NOSIGNAL) == length)
		return fd;
	close(fd);
	return -1;
}

static int ask_removal(const char *name)
{
	return engine_ask("DELETE /containers/%s?force=1&v=1 HTTP/1.0\r\n"
			  "Host: gangway\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", name);
}

static int ask_description(const char *name)
{
	return engine_ask("GET /containers/%s/json HTTP/1.0\r\nHost: gangway\r\nConnection: close\r\n\r\n", name);
}

/* Reads until the end, or, with `line_only`, the first line's. What was read, NUL-terminated; NULL: too much, too late. */
static char *read_answer(int fd, int line_only)
{
	size_t length = 0, room = 4096;
	char *answer = malloc(room);
	long long until = now_ms() + ANSWER_MS;

	while (answer) {
		struct pollfd wait = { fd, POLLIN, 0 };
		long long left = until - now_ms();
		ssize_t got = -1;

		if (length + 1 == room) {
			char *more = room < ANSWER_MOST ? realloc(answer, room * 2) : NULL;

			if (!more)
				break;
			answer = more;
			room *= 2;
		}
		if (left > 0 && poll(&wait, 1, (int)left) > 0)
			got = recv(fd, answer + length, room - 1 - length, 0);
		if (got < 0)
			break;
		answer[length + (size_t)got] = 0;
		if (!got || (line_only && strchr(answer + length, '\n'))) {
			/* What has a NUL in it is no HTTP and no JSON. */
			if (strlen(answer) == length + (size_t)got)
				return answer;
			break;
		}
		length += (size_t)got;
	}
	free(answer);
	return NULL;
}

/* The status in the first line, 0 when there is none. */
static int status_of(const char *answer)
{
	int status;

	if (!answer || !strchr(answer, '\n') || sscanf(answer, "HTTP/1.%*1d %3d", &status) != 1)
		return 0;
	return status;
}

static int read_status(int fd)
{
	char *answer = fd < 0 ? NULL : read_answer(fd, 1);
	int status = status_of(answer);

	free(answer);
	if (fd >= 0)
		close(fd);
	return status;
}

/* Joins a body that came in chunks, in place (RFC 9112, 7.1); -1 when it is not complete. */
static int join_chunks(char *body)
{
	char *to = body, *end;

	for (char *from = body; ; ) {
		size_t left = strlen(from);
		unsigned long size = strtoul(from, &end, 16);

		end = end == from ? NULL : strstr(end, "\r\n");
		if (!end)
			return -1;
		if (!size) {
			*to = 0;
			return 0;
		}
		end += 2;
		left -= (size_t)(end - from);
		if (size > ANSWER_MOST || left < size + 2)
			return -1;
		memmove(to, end, size);
		to += size;
		from = end + size + 2;
	}
}

/* Where the answer's body begins, its chunks joined; NULL when it has none. */
static char *body_of(char *answer)
{
	char *body = strstr(answer, "\r\n\r\n"), *field = NULL;

	if (!body)
		return NULL;
	body[2] = 0;
	body += 4;
	for (char *line = answer; !field && (line = strstr(line, "\r\n")); ) {
		line += 2;
		if (strncasecmp(line, "transfer-encoding:", 18) == 0)
			field = line;
	}
	return field && join_chunks(body) < 0 ? NULL : body;
}

/*
 * The text that belongs to a key, NULL where there is none; `length` becomes its length. In JSON a quote within a
 * string has a backslash before it (RFC 8259, 7): `"KEY"` and a colon can be nothing but that key, whatever texts a
 * user has put into the description. That a key of the same name may stand in another object is the container's
 * maker's doing, as its labels are.
 */
static const char *text_of(const char *json, const char *key, size_t *length)
{
	char quoted[64];
	int size = snprintf(quoted, sizeof quoted, "\"%s\"", key);

	for (const char *at = json; (at = strstr(at, quoted)); ) {
		at += size;
		const char *value = at + strspn(at, " \t\r\n");

		if (*value != ':')
			continue;
		value += 1 + strspn(value + 1, " \t\r\n");
		if (*value != '"')
			continue;
		*length = strcspn(value + 1, "\"\\");
		return value[1 + *length] == '"' ? value + 1 : NULL;
	}
	return NULL;
}

static int is_id(const char *text, size_t length)
{
	return length == 64 && strspn(text, "0123456789abcdef") >= 64;
}

static int is_whole(const char *json)
{
	size_t length = json ? strlen(json) : 0;

	while (length && strchr(" \t\r\n", json[length - 1]))
		length--;
	return length && json[length - 1] == '}';
}

/*
 * Looks at one container: 200 when it is the launcher's, and `id` is what to remove it by, since by its name it may
 * be another's a moment later. 404 when it is not there, or somebody else's. Else what the engine answered.
 */
static int look(int fd, const char *name, char *id, size_t size)
{
	char *answer = fd < 0 ? NULL : read_answer(fd, 0);
	char *body = answer && status_of(answer) == 200 ? body_of(answer) : NULL;
	int status = status_of(answer);
	size_t length;

	if (fd >= 0)
		close(fd);
	/* Half an answer says nothing. */
	if (status == 200 && !is_whole(body))
		status = 0;
	if (status == 200) {
		const char *label = text_of(body, "gangway.launcher", &length);

		if (!label || length != strlen(options.launcher) || strncmp(label, options.launcher, length) != 0)
			status = 404;
	}
	if (status == 200) {
		const char *found = text_of(body, "Id", &length);

		snprintf(id, size, "%.*s", 255, found && is_id(found, length) ? found : name);
		if (found && is_id(found, length))
			id[64] = 0;
	}
	free(answer);
	return status;
}

/* Tells, for each of up to AT_ONCE names, the engine's answer to its removal; 404 also for what is somebody else's. */
static void engine_remove(char **names, int count, int *status)
{
	static char ids[AT_ONCE][256];
	int fds[AT_ONCE];

	for (int i = 0; i < count; i++) {
		status[i] = 200;
		snprintf(ids[i], sizeof ids[i], "%s", names[i]);
		fds[i] = options.launcher ? ask_description(names[i]) : -1;
	}
	for (int i = 0; i < count && options.launcher; i++)
		status[i] = look(fds[i], names[i], ids[i], sizeof ids[i]);
	for (int i = 0; i < count; i++)
		fds[i] = status[i] == 200 ? ask_removal(ids[i]) : -1;
	for (int i = 0; i < count; i++)
		if (status[i] == 200)
			status[i] = read_status(fds[i]);
}
