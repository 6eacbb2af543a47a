/*
 * init: the connections, each with the sshd that serves it, and what the launcher is told of them
 * (docs/internals.md, section 9). What is remembered is bounded: the connections by what sshds there can be, the
 * sessions of each by MOST_OPENED.
 */
#include <arpa/inet.h>
#include <netinet/in.h>

#define MOST_OPENED 1024	/* sessions remembered of one connection */
#define MOST_REVOKED 1024	/* serials remembered */
#define MOST_DOOMED 1024	/* sessions of revoked connections that have their grace */
#define SENDERS 4
#ifndef REVOKE_GRACE_MS
#define REVOKE_GRACE_MS 2000	/* from TERM to KILL */
#endif

struct opened {
	int id, told;
	int terminal;		/* N of /dev/pts/N; -1: none */
};

struct connection {
	pid_t pid;		/* its sshd, leader of a process group of its own */
	int tcp;
	struct in6_addr from;	/* IPv4 in its mapped form */
	int port;
	uint64_t number;
	int authenticated, told;
	uint64_t serial;	/* of the certificate; 0: none */
	int counted;		/* received and sent are known */
	uint64_t received, sent;
	struct opened *opened;
	size_t opened_count, opened_room;
	pid_t senders[SENDERS];	/* who has told something of it, the latest first */
	long long kill_at;	/* -1: not revoked */
};

static struct connection *connections;
static size_t connection_count, connection_room, tcp_count, revoked_count;
static uint64_t connection_number;
static int room_changed;	/* somebody who waits may have a turn */

static uint64_t revoked[MOST_REVOKED];
static size_t revoked_next, revoked_known;

static struct connection *connection_by_pid(pid_t pid)
{
	for (size_t i = 0; i < connection_count; i++)
		if (connections[i].pid == pid)
			return &connections[i];
	return NULL;
}

static void connections_changed(void)
{
	sessions_to_tell = (int)connection_count;
	tell_sessions();
}

/* Room for one more, before the sshd is started; -1 when there is no memory. */
static int connection_reserve(void)
{
	if (connection_count < connection_room)
		return 0;
	size_t room = connection_room ? connection_room * 2 : 16;
	struct connection *more = realloc(connections, room * sizeof *more);

	if (!more)
		return -1;
	connections = more;
	connection_room = room;
	return 0;
}

static void connection_add(pid_t pid, int tcp, const struct in6_addr *from, int port)
{
	connections[connection_count++] = (struct connection){ .pid = pid, .tcp = tcp, .from = *from, .port = port,
		.number = ++connection_number, .kill_at = -1 };
	tcp_count += tcp != 0;
	connections_changed();
}

static size_t unauthenticated_from(const struct in6_addr *from)
{
	size_t count = 0;

	for (size_t i = 0; i < connection_count; i++)
		count += connections[i].tcp && !connections[i].authenticated &&
			 IN6_ARE_ADDR_EQUAL(&connections[i].from, from);
	return count;
}

/* ---- what the launcher is told ---- */

/* How much of a percent-encoded text may stay, so that no `%XX` is cut in two. */
static int cut_encoded(const char *text, size_t room)
{
	size_t length = strlen(text);

	if (length > room) {
		length = room;
		for (size_t back = 1; back <= 2 && back <= length; back++)
			if (text[length - back] == '%')
				length -= back;
	}
	return (int)length;
}

static void address_text(const struct connection *connection, char *text, size_t size)
{
	char address[INET6_ADDRSTRLEN];

	if (!connection->tcp) {
		snprintf(text, size, "-");
	} else if (IN6_IS_ADDR_V4MAPPED(&connection->from)) {
		inet_ntop(AF_INET, connection->from.s6_addr + 12, address, sizeof address);
		snprintf(text, size, "%s:%d", address, connection->port);
	} else {
		inet_ntop(AF_INET6, &connection->from, address, sizeof address);
		snprintf(text, size, "[%s]:%d", address, connection->port);
	}
}

static void connection_end_by_revocation(struct connection *connection);

/* Only the first login counts: sshd speaks before anything of the user's runs. */
static void connection_login(struct connection *connection, uint64_t serial, const char *fingerprint,
			     const char *key_id)
{
	char from[INET6_ADDRSTRLEN + 16], line[LINE_MAX_BYTES];

	if (connection->authenticated)
		return;
	connection->authenticated = 1;
	connection->serial = serial;
	room_changed = 1;
	address_text(connection, from, sizeof from);
	int length = snprintf(line, sizeof line, "login %llu %s %s %llu %s ", (unsigned long long)connection->number,
			      connection->tcp ? "tcp" : "socket", from, (unsigned long long)serial, fingerprint);

	queue_owed += OWED_LOGOUT;
	connection->told = tell(0, "%s%.*s", line,
				cut_encoded(key_id, (size_t)(LINE_MAX_BYTES - 1 - length)), key_id);
	if (!connection->told)
		queue_owed -= OWED_LOGOUT;
	/* sshd may have looked at the list a moment before the serial was in it. */
	for (size_t i = 0; serial && i < revoked_known; i++)
		if (revoked[i] == serial)
			connection_end_by_revocation(connection);
}

static void connection_close(struct connection *connection, int id, const char *code)
{
	for (size_t i = 0; i < connection->opened_count; i++) {
		struct opened *one = &connection->opened[i];

		if (one->id != id)
			continue;
		if (one->told) {
			queue_owed -= OWED_CLOSE;
			tell(0, "close %llu %d %s", (unsigned long long)connection->number, id, code);
		}
		*one = connection->opened[--connection->opened_count];
		return;
	}
}

static struct opened *opened_add(struct connection *connection)
{
	if (connection->opened_count == MOST_OPENED)
		return NULL;
	if (connection->opened_count == connection->opened_room) {
		size_t room = connection->opened_room ? connection->opened_room * 2 : 4;
		struct opened *more = realloc(connection->opened, room * sizeof *more);

		if (!more)
			return NULL;
		connection->opened = more;
		connection->opened_room = room;
	}
	return &connection->opened[connection->opened_count++];
}

static void connection_open(struct connection *connection, int id, int terminal, const char *kind, const char *text)
{
	char line[LINE_MAX_BYTES], name[24] = "-";

	if (!connection->authenticated)
		return;
	/* A number is used again once its session is closed: that this was told may have been lost. */
	connection_close(connection, id, "-");
	struct opened *one = opened_add(connection);

	if (!one) {
		lines_lost += connection->told != 0;
		return;
	}
	*one = (struct opened){ .id = id, .terminal = terminal };
	if (!connection->told)
		return;
	if (terminal >= 0)
		snprintf(name, sizeof name, "/dev/pts/%d", terminal);
	int length = snprintf(line, sizeof line, "open %llu %d %s %s ", (unsigned long long)connection->number, id,
			      name, kind);

	queue_owed += OWED_CLOSE;
	one->told = tell(0, "%s%.*s", line, cut_encoded(text, (size_t)(LINE_MAX_BYTES - 1 - length)), text);
	if (!one->told)
		queue_owed -= OWED_CLOSE;
}

static void connection_logout(struct connection *connection)
{
	for (size_t i = 0; i < connection->opened_count; i++)
		if (connection->opened[i].told)
			queue_owed -= OWED_CLOSE;
	if (!connection->told)
		return;
	queue_owed -= OWED_LOGOUT;
	if (connection->counted)
		tell(0, "logout %llu %llu %llu", (unsigned long long)connection->number,
		     (unsigned long long)connection->received, (unsigned long long)connection->sent);
	else
		tell(0, "logout %llu - -", (unsigned long long)connection->number);
}

/* Whether this process was the sshd of a connection. */
static int connection_ended(pid_t pid)
{
	struct connection *connection = connection_by_pid(pid);

	if (!connection)
		return 0;
	connection_logout(connection);
	free(connection->opened);
	tcp_count -= connection->tcp != 0;
	revoked_count -= connection->kill_at >= 0;
	*connection = connections[--connection_count];
	room_changed = 1;
	connections_changed();
	return 1;
}
