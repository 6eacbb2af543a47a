/*
 * init: the sessions. It owns the listening sockets and runs one `sshd -i` for each connection, so there is no
 * daemon to supervise, no race for a port, and port 0 works. sshd gets nothing of the job's environment.
 *
 * Connections over TCP are anybody's. So they are capped in all and per source; a stranger's on this node is
 * refused; and of those that have not logged in a source has only so many sshds, while some more wait
 * (init_waiting.h).
 */
#define BACK_OFF_MS 100
#define LONGEST_LOG (1024 * 1024)
static long long accept_after;	/* no accept(2) before that: the last one met a limit */

/* ---- one sshd ---- */

/*
 * The log lies in memory, which is the job's: what is long past must not take it. A session that is still
 * open goes on in the old one.
 */
static void log_keep_short(void)
{
	struct stat facts;

	if (fstatat(run_dir, "sshd.log", &facts, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	if (!S_ISREG(facts.st_mode) && !S_ISDIR(facts.st_mode))
		unlinkat(run_dir, "sshd.log", 0);
	else if (S_ISDIR(facts.st_mode) || facts.st_size > LONGEST_LOG)
		renameat(run_dir, "sshd.log", run_dir, "sshd.log.1");
}

/*
 * What runs in the container can put anything in its place: a FIFO is not waited for, a link not followed. sshd gets
 * the descriptor and no path, which it would open for itself.
 */
static int log_open(void)
{
	struct stat facts;
	int fd = openat(run_dir, "sshd.log", O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);

	if (fd >= 0 && fstat(fd, &facts) == 0 && S_ISREG(facts.st_mode) && facts.st_uid == geteuid() &&
	    fcntl(fd, F_SETFL, O_APPEND) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return open("/dev/null", O_WRONLY);
}

__attribute__((noreturn))
static void become_sshd(int connection)
{
	static const char path[] = "PATH=" TREE "/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:"
		TREE "/tools";
	char *const environment[] = { (char *)path, NULL };
	char config[4096];

	snprintf(config, sizeof config, "%s/sshd_config", options.run_dir);
	/* -e: to the standard error, which is the log. */
	char *const arguments[] = { "sshd", "-i", "-f", config, "-e", NULL };

	/* Off the job's terminal: a session has one of its own or none. */
	setsid();
	int errors = log_open();

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

/* -1 when the machine is at a limit. */
static int session_start(int connection, int tcp, const struct in6_addr *from, int port)
{
	if (connection_reserve() < 0)
		return -1;
	log_keep_short();
	pid_t pid = fork();

	if (pid < 0)
		return -1;
	if (pid == 0)
		become_sshd(connection);
	connection_add(pid, tcp, from, port);
	return 0;
}

#include "init_waiting.h"

/* ---- who gets in ---- */

static struct in6_addr source_of(const struct sockaddr_storage *peer, int *port)
{
	struct in6_addr from = { 0 };
	uint16_t number = 0;

	diag_address(peer, &from, &number);
	*port = ntohs(number);
	return from;
}

/*
 * The last quarter of all is a reserve: there a source may hold no more than what is still free, so that a few
 * sources that fill up all they can leave room for the next one. The unix socket is the owner's alone and has
 * no cap. Who waits holds a place.
 */
static int may_enter(const struct in6_addr *from)
{
	size_t held = waiting_from(from), taken = tcp_count + waiting_count;
	size_t free_places = options.max_connections > taken ? options.max_connections - taken : 0;

	for (size_t i = 0; i < connection_count; i++)
		held += connections[i].tcp && IN6_ARE_ADDR_EQUAL(&connections[i].from, from);
	if (!free_places || held >= options.max_per_source)
		return 0;
	return taken < options.max_connections - options.max_connections / 4 || held < free_places;
}

/* Lines before the banner are allowed by RFC 4253, 4.2; clients show them with -v. */
static void refuse(int connection, const char *reason)
{
	char text[80];
	int length = snprintf(text, sizeof text, "gangway: %s\r\n", reason);

	send(connection, text, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* A connection over TCP: refused, kept waiting, or served. -1 when the machine is at a limit. */
static int tcp_take(int connection, const struct sockaddr_storage *peer)
{
	int one = 1, port;
	struct in6_addr from = source_of(peer, &port);

	setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (is_foreign(connection, peer)) {
		refuse(connection, "connections of other users of this node are refused");
	} else if (!may_enter(&from) && !(waiting_give_way(&from) && may_enter(&from))) {
		refuse(connection, "too many connections");
	} else if (unauthenticated_from(&from) < MOST_UNHEARD) {
		int started = session_start(connection, 1, &from, port);

		if (started < 0 && waiting_make_place(&from)) {
			waiting_add(connection, &from, port);
			room_changed = 1;
			return started;
		}
		close(connection);
		return started;
	} else if (waiting_make_place(&from)) {
		waiting_add(connection, &from, port);
		return 0;
	} else {
		refuse(connection, "too many connections that have not logged in");
	}
	close(connection);
	return 0;
}

static int unix_take(int connection)
{
	static const struct in6_addr nowhere;
	int started = session_start(connection, 0, &nowhere, 0);

	close(connection);
	return started;
}

/* Descriptors are out: strangers who only wait must not keep the owner out. */
static void make_descriptors(void)
{
	if (waiting_count)
		waiting_remove(waiting_least());
	else
		accept_after = now_ms() + BACK_OFF_MS;
}

/*
 * Takes what has arrived, not for ever: signals and the launcher have their turn. Where a limit is met (EMFILE,
 * ENFILE, no memory, no process) the connection stays in the backlog, or waits for its sshd when it was taken already,
 * and the next try is a moment later: the listener would stay readable and init would spin.
 */
static void sessions_accept(int listener, int tcp)
{
	for (int turn = 0; turn < 64; turn++) {
		struct sockaddr_storage peer = { 0 };
		socklen_t length = sizeof peer;
		int connection = accept4(listener, (struct sockaddr *)&peer, &length, SOCK_CLOEXEC);

		if (connection < 0) {
			if (errno == EAGAIN)
				return;
			if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
				make_descriptors();
				return;
			}
			/* accept(2): errors of the connection itself are reported here too. */
			continue;
		}
		if ((tcp ? tcp_take(connection, &peer) : unix_take(connection)) < 0) {
			accept_after = now_ms() + BACK_OFF_MS;
			return;
		}
	}
}

/* ---- closing ---- */

/* With those who wait: they would never have their turn. */
static void tcp_close(void)
{
	if (tcp_listener >= 0)
		close(tcp_listener);
	tcp_listener = -1;
	waiting_close();
}

static void sessions_close(void)
{
	tcp_close();
	if (unix_listener >= 0)
		close(unix_listener);
	unix_listener = -1;
}
