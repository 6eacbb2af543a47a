/*
 * init: the sessions. It owns the listening sockets and runs one `sshd -i` for each connection, so there is no
 * daemon to supervise, no race for a port, and port 0 works. sshd gets nothing of the job's environment.
 */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>

#define BACK_OFF_MS 100
#define LONGEST_LOG (1024 * 1024)

struct session {
	pid_t pid;
	int tcp;
	struct in6_addr from;	/* IPv4 in its mapped form */
};

static struct session *sessions;
static size_t session_count, session_room, tcp_count;
static int tcp_listener = -1, unix_listener = -1, tcp_port;
static long long accept_after;	/* no accept(2) before that: the last one met a limit */

/* ---- opening ---- */

static int tcp_open_address(const struct sockaddr *address, socklen_t length)
{
	int one = 1, zero = 0;
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (address->sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
	/* The kernel cuts the backlog to net.core.somaxconn. */
	if (bind(fd, address, length) == 0 && listen(fd, 4096) == 0)
		return fd;
	int reason = errno;

	close(fd);
	errno = reason;
	return -1;
}

static int tcp_open4(const char *host, int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };

	if (host && inet_pton(AF_INET, host, &address.sin_addr) != 1) {
		errno = EINVAL;
		return -1;
	}
	return tcp_open_address((struct sockaddr *)&address, sizeof address);
}

static int tcp_open6(const char *host, int port)
{
	struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };

	if (host && inet_pton(AF_INET6, host, &address.sin6_addr) != 1) {
		errno = EINVAL;
		return -1;
	}
	return tcp_open_address((struct sockaddr *)&address, sizeof address);
}

static int tcp_open(void)
{
	int port = (int)options.port;

	if (options.listen)
		return strchr(options.listen, ':') ? tcp_open6(options.listen, port) : tcp_open4(options.listen, port);
	int fd = tcp_open6(NULL, port);

	/* A kernel without IPv6 refuses the socket, one where it is switched off the address. */
	if (fd < 0 && errno != EADDRINUSE && errno != EACCES)
		fd = tcp_open4(NULL, port);
	return fd;
}

static int port_of(int fd)
{
	struct sockaddr_in6 address;
	socklen_t length = sizeof address;

	/* sin_port and sin6_port lie at the same place. */
	return getsockname(fd, (struct sockaddr *)&address, &length) ? 0 : ntohs(address.sin6_port);
}

/* `ssh` in the run directory, by a name short enough for sun_path wherever the directory is. */
static int unix_open(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fits = snprintf(address.sun_path, sizeof address.sun_path, "%s/ssh", options.run_dir);

	if (fits >= (int)sizeof address.sun_path)
		snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/ssh", run_dir);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	unlinkat(run_dir, "ssh", 0);
	mode_t mask = umask(0177);
	int failed = bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 4096);
	int reason = errno;

	umask(mask);
	if (!failed)
		return fd;
	close(fd);
	errno = reason;
	return -1;
}

/* ---- `up PORT ADDR…` ---- */

static int is_worth_telling(const struct ifaddrs *interface, int family)
{
	if (!interface->ifa_addr || interface->ifa_addr->sa_family != family)
		return 0;
	/* Running means with a carrier: a bridge that nobody is on leads nowhere, and is alike on every node. */
	if ((interface->ifa_flags & (IFF_UP | IFF_RUNNING | IFF_LOOPBACK)) != (IFF_UP | IFF_RUNNING))
		return 0;
	if (family == AF_INET) {
		uint32_t address = ntohl(((struct sockaddr_in *)interface->ifa_addr)->sin_addr.s_addr);

		return address >> 24 != 127 && address >> 16 != 0xa9fe;
	}
	const struct in6_addr *address = &((struct sockaddr_in6 *)interface->ifa_addr)->sin6_addr;

	return !IN6_IS_ADDR_LINKLOCAL(address) && !IN6_IS_ADDR_LOOPBACK(address);
}

static size_t add_addresses(char *line, size_t length, const struct ifaddrs *all, int family)
{
	for (const struct ifaddrs *interface = all; interface; interface = interface->ifa_next) {
		char text[INET6_ADDRSTRLEN];

		if (!is_worth_telling(interface, family))
			continue;
		const void *address = family == AF_INET
			? (void *)&((struct sockaddr_in *)interface->ifa_addr)->sin_addr
			: (void *)&((struct sockaddr_in6 *)interface->ifa_addr)->sin6_addr;

		inet_ntop(family, address, text, sizeof text);
		if (length + strlen(text) + 1 >= LINE_MAX_BYTES)
			break;
		line[length++] = ' ';
		strcpy(line + length, text);
		length += strlen(text);
	}
	return length;
}

static void tell_up(void)
{
	char line[LINE_MAX_BYTES + 1];
	struct ifaddrs *all = NULL;
	size_t length = (size_t)snprintf(line, sizeof line, "up %d", tcp_port);

	if (options.listen && tcp_listener >= 0) {
		length += (size_t)snprintf(line + length, sizeof line - length, " %s", options.listen);
	} else if (getifaddrs(&all) == 0) {
		length = add_addresses(line, length, all, AF_INET);
		length = add_addresses(line, length, all, AF_INET6);
		freeifaddrs(all);
	}
	control_put(1, line, (int)length);
}

/* musl says "Address in use"; the words people know, and search for, are these. */
static const char *listen_reason(void)
{
	return errno == EADDRINUSE ? "Address already in use" : strerror(errno);
}

static void sessions_open(void)
{
	if (!options.no_sshd && !options.no_tcp) {
		tcp_listener = tcp_open();
		if (tcp_listener < 0 && options.listen)
			fail("listen %s port %lld: %s", options.listen, options.port, listen_reason());
		if (tcp_listener < 0)
			fail("listen %lld: %s", options.port, listen_reason());
		tcp_port = port_of(tcp_listener);
	}
	if (!options.no_sshd) {
		unix_listener = unix_open();
		if (unix_listener < 0)
			fail("listen %s/ssh: %s", options.run_dir, strerror(errno));
	}
	tell_up();
}

static void tcp_close(void)
{
	if (tcp_listener >= 0)
		close(tcp_listener);
	tcp_listener = -1;
}

static void sessions_close(void)
{
	tcp_close();
	if (unix_listener >= 0)
		close(unix_listener);
	unix_listener = -1;
}

/* ---- one session ---- */

/*
 * The log lies in memory, which is the job's: what is long past must not take it. A session that is still
 * open goes on in the old one.
 */
static void log_keep_short(void)
{
	struct stat facts;

	if (fstatat(run_dir, "sshd.log", &facts, AT_SYMLINK_NOFOLLOW) == 0 && facts.st_size > LONGEST_LOG)
		renameat(run_dir, "sshd.log", run_dir, "sshd.log.1");
}

__attribute__((noreturn))
static void become_sshd(int connection)
{
	static const char path[] = "PATH=" TREE "/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:"
		TREE "/tools";
	char *const environment[] = { (char *)path, NULL };
	char config[4096], log[4096];

	snprintf(config, sizeof config, "%s/sshd_config", options.run_dir);
	snprintf(log, sizeof log, "%s/sshd.log", options.run_dir);
	char *const arguments[] = { "sshd", "-i", "-f", config, "-E", log, NULL };

	/* Off the job's terminal: a session has one of its own or none. */
	setsid();
	int errors = openat(run_dir, "sshd.log", O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW, 0600);

	if (errors < 0)
		errors = open("/dev/null", O_WRONLY);
	dup2(connection, 0);
	dup2(connection, 1);
	if (errors >= 0)
		dup2(errors, 2);
	close_from(3);
	if (chdir("/") < 0)
		say("init", "cannot enter /: %s", strerror(errno));
	signals_unblock_all();
	execve(SSHD_PATH, arguments, environment);
	say("init", "cannot execute %s: %s", SSHD_PATH, strerror(errno));
	_exit(EXIT_OURS);
}

static struct in6_addr source_of(const struct sockaddr_storage *peer)
{
	struct in6_addr from = { 0 };

	if (peer->ss_family == AF_INET6) {
		from = ((const struct sockaddr_in6 *)peer)->sin6_addr;
	} else if (peer->ss_family == AF_INET) {
		from.s6_addr[10] = from.s6_addr[11] = 0xff;
		memcpy(from.s6_addr + 12, &((const struct sockaddr_in *)peer)->sin_addr, 4);
	}
	return from;
}

/*
 * Connections over TCP are anybody's, so they are capped in all and per source. The last quarter of all is a
 * reserve: there a source may hold no more than what is still free, so that a few sources that fill
 * up all they can leave room for the next one. The unix socket is the owner's alone and has no cap.
 */
static int may_enter(const struct in6_addr *from)
{
	size_t held = 0, free_places = options.max_connections > tcp_count ? options.max_connections - tcp_count : 0;

	for (size_t i = 0; i < session_count; i++)
		held += sessions[i].tcp && IN6_ARE_ADDR_EQUAL(&sessions[i].from, from);
	if (!free_places || held >= options.max_per_source)
		return 0;
	return tcp_count < options.max_connections - options.max_connections / 4 || held < free_places;
}

static void refuse(int connection)
{
	/* Lines before the banner are allowed by RFC 4253, 4.2; clients show them with -v. */
	static const char text[] = "gangway: too many connections\r\n";

	send(connection, text, sizeof text - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void sessions_changed(void)
{
	sessions_to_tell = (int)session_count;
	tell_sessions();
}

/* -1 when the machine is at a limit. */
static int session_start(int connection, int tcp, const struct in6_addr *from)
{
	if (session_count == session_room) {
		size_t room = session_room ? session_room * 2 : 16;
		struct session *more = realloc(sessions, room * sizeof *more);

		if (!more)
			return -1;
		sessions = more;
		session_room = room;
	}
	log_keep_short();
	pid_t pid = fork();

	if (pid < 0)
		return -1;
	if (pid == 0)
		become_sshd(connection);
	sessions[session_count++] = (struct session){ pid, tcp, *from };
	tcp_count += tcp != 0;
	sessions_changed();
	return 0;
}

static int session_ended(pid_t pid)
{
	for (size_t i = 0; i < session_count; i++) {
		if (sessions[i].pid != pid)
			continue;
		tcp_count -= sessions[i].tcp != 0;
		sessions[i] = sessions[--session_count];
		sessions_changed();
		return 1;
	}
	return 0;
}

/*
 * Takes what has arrived, not for ever: signals and the launcher have their turn. Where a limit is met (EMFILE,
 * ENFILE, no memory, no process) the connection stays in the backlog, or is closed when it was taken already,
 * and the next try is a moment later: the listener would stay readable and init would spin.
 */
static void sessions_accept(int listener, int tcp)
{
	for (int turn = 0; turn < 64; turn++) {
		struct sockaddr_storage peer = { 0 };
		socklen_t length = sizeof peer;
		int one = 1, connection = accept4(listener, (struct sockaddr *)&peer, &length, SOCK_CLOEXEC);

		if (connection < 0) {
			if (errno == EAGAIN)
				return;
			if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
				accept_after = now_ms() + BACK_OFF_MS;
				return;
			}
			/* accept(2): errors of the connection itself are reported here too. */
			continue;
		}
		struct in6_addr from = source_of(&peer);
		int started = 0;

		if (tcp)
			setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		if (tcp && !may_enter(&from))
			refuse(connection);
		else
			started = session_start(connection, tcp, &from);
		close(connection);
		if (started < 0) {
			accept_after = now_ms() + BACK_OFF_MS;
			return;
		}
	}
}
