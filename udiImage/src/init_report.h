/*
 * init: the datagrams by which sshds tell what happens on their connections (docs/internals.md, section 9).
 *
 * The sender is told by the kernel (SO_PASSCRED, unix(7)), never by the text. Below an authenticated connection
 * run programs of the job's user, who may send what he likes: he can lie about his own sessions, and about
 * nothing else. Anything that is not exactly as the contract has it is dropped.
 */
#define REPORT_MOST_BYTES 1024
#define REPORTS_A_TURN 64	/* then the others have their turn */
#define REPORTS_AT_AN_END 1024	/* more than the kernel keeps for a socket (net.unix.max_dgram_qlen) */
#define MOST_STEPS_UP 16

static int report = -1;

/* ---- whose is it ---- */

static void sender_remember(struct connection *connection, pid_t pid)
{
	for (size_t i = 0; i < SENDERS; i++)
		if (connection->senders[i] == pid)
			return;
	memmove(connection->senders + 1, connection->senders, (SENDERS - 1) * sizeof pid);
	connection->senders[0] = pid;
}

static struct connection *connection_by_sender(pid_t pid)
{
	for (size_t i = 0; i < connection_count; i++)
		for (size_t j = 0; j < SENDERS; j++)
			if (connections[i].senders[j] == pid)
				return &connections[i];
	return NULL;
}

/* A sender whose last word it was may be gone, reaped by its own sshd, before we look: then what it was counts. */
static struct connection *connection_of(pid_t pid)
{
	struct connection *found = connection_by_pid(pid);
	struct process process;
	pid_t next = pid;

	if (found || pid <= 0)
		return found;
	if (!proc_is_ours())
		return NULL;
	for (int step = 0; step < MOST_STEPS_UP && !found; step++) {
		if (process_look(next, &process) < 0)
			return step ? NULL : connection_by_sender(pid);
		next = process.parent;
		if (next <= 1 || next == getpid())
			return NULL;
		found = connection_by_pid(next);
	}
	if (found)
		sender_remember(found, pid);
	return found;
}

/* ---- what it says ---- */

/* Percent-encoded text without blanks, or `-`. */
static int is_encoded(const char *text)
{
	if (!*text)
		return 0;
	for (; *text; text++) {
		if (*text <= ' ' || *text > '~')
			return 0;
		if (*text != '%')
			continue;
		if (strspn(text + 1, "0123456789abcdefABCDEF") < 2)
			return 0;
		text += 2;
	}
	return 1;
}

static int is_fingerprint(const char *text)
{
	static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	return strncmp(text, "SHA256:", 7) == 0 && strlen(text) == 7 + 43 && strspn(text + 7, base64) == 43;
}

/* N of `/dev/pts/N`; -1 for `-`, -2 for anything else. */
static int terminal_number(const char *text)
{
	uint64_t number;

	if (strcmp(text, "-") == 0)
		return -1;
	if (strncmp(text, "/dev/pts/", 9) != 0 || parse_unsigned(text + 9, &number) < 0 || number > 0xfffff)
		return -2;
	return (int)number;
}

static int is_kind(const char *text)
{
	return strcmp(text, "shell") == 0 || strcmp(text, "command") == 0 || strcmp(text, "subsystem") == 0;
}

static int is_code(const char *text)
{
	uint64_t code;

	return strcmp(text, "-") == 0 || (parse_unsigned(text, &code) == 0 && code <= 255);
}

static int is_session(const char *text, uint64_t *id)
{
	return parse_unsigned(text, id) == 0 && *id <= 0x7fffffff;
}

/* Words separated by one blank each, in place; their number, 0 when the line is not so. */
static int split(char *line, char **words, int most)
{
	int count = 0;

	for (char *at = line; at; ) {
		if (count == most || !*at || *at == ' ')
			return 0;
		words[count++] = at;
		at = strchr(at, ' ');
		if (at)
			*at++ = 0;
	}
	return count;
}

static void report_take(struct connection *connection, char *line)
{
	char *words[6];
	int count = split(line, words, 6);
	uint64_t one, two;

	if (count == 4 && strcmp(words[0], "auth") == 0) {
		if (parse_unsigned(words[1], &one) == 0 && is_fingerprint(words[2]) && is_encoded(words[3]))
			connection_login(connection, one, words[2], words[3]);
	} else if (count == 5 && strcmp(words[0], "open") == 0) {
		int terminal = terminal_number(words[2]);

		if (is_session(words[1], &one) && terminal >= -1 && is_kind(words[3]) && is_encoded(words[4]))
			connection_open(connection, (int)one, terminal, words[3], words[4]);
	} else if (count == 3 && strcmp(words[0], "close") == 0) {
		if (is_session(words[1], &one) && is_code(words[2]))
			connection_close(connection, (int)one, words[2]);
	} else if (count == 3 && strcmp(words[0], "bytes") == 0) {
		if (parse_unsigned(words[1], &one) == 0 && parse_unsigned(words[2], &two) == 0) {
			connection->counted = 1;
			connection->received = one;
			connection->sent = two;
		}
	}
}

/* The sender by the kernel's word; 0: none that we can know. Descriptors that come along are closed by the kernel. */
static pid_t sender_of(struct msghdr *message)
{
	struct cmsghdr *header = CMSG_FIRSTHDR(message);
	struct ucred credentials;

	if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_CREDENTIALS ||
	    header->cmsg_len != CMSG_LEN(sizeof credentials))
		return 0;
	memcpy(&credentials, CMSG_DATA(header), sizeof credentials);
	return credentials.uid == geteuid() ? credentials.pid : 0;
}

/* Takes what has arrived, `most` datagrams of it: a flood must not keep init from everything else. */
static void reports_read(int most)
{
	while (report >= 0 && most--) {
		char line[REPORT_MOST_BYTES + 1];
		union {
			struct cmsghdr header;
			char space[CMSG_SPACE(sizeof(struct ucred))];
		} space;
		struct iovec data = { line, REPORT_MOST_BYTES };
		struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1,
			.msg_control = &space, .msg_controllen = sizeof space };
		ssize_t got = recvmsg(report, &message, MSG_DONTWAIT | MSG_TRUNC | MSG_CMSG_CLOEXEC);

		if (got < 0 && errno != EINTR)
			return;
		if (got <= 0 || got > REPORT_MOST_BYTES || memchr(line, 0, (size_t)got))
			continue;
		line[got] = 0;
		struct connection *connection = connection_of(sender_of(&message));

		if (connection)
			report_take(connection, line);
	}
}
