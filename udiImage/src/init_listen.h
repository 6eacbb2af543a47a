/*
 * init: the sockets that connections and their sshds' reports come in by, and what is told of them.
 */
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/tcp.h>

static int tcp_listener = -1, unix_listener = -1, tcp_port;

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

static int tcp_open_port(int port)
{
	if (options.listen)
		return strchr(options.listen, ':') ? tcp_open6(options.listen, port) : tcp_open4(options.listen, port);
	int fd = tcp_open6(NULL, port);

	/* A kernel without IPv6 refuses the socket, one where it is switched off the address. */
	if (fd < 0 && errno != EADDRINUSE && errno != EACCES)
		fd = tcp_open4(NULL, port);
	return fd;
}

static int tcp_open(void)
{
	if (options.prefer_port) {
		int fd = tcp_open_port((int)options.prefer_port);

		/* Somebody else's, or one of the low ports that only root may have. */
		if (fd >= 0 || (errno != EADDRINUSE && errno != EACCES))
			return fd;
	}
	return tcp_open_port((int)options.port);
}

static int port_of(int fd)
{
	struct sockaddr_in6 address;
	socklen_t length = sizeof address;

	/* sin_port and sin6_port lie at the same place. */
	return getsockname(fd, (struct sockaddr *)&address, &length) ? 0 : ntohs(address.sin6_port);
}

/* A socket of the user's alone in the run directory, by a name short enough for sun_path wherever that is. */
static int unix_open(const char *name, int type)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fits = snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", options.run_dir, name);

	if (fits >= (int)sizeof address.sun_path)
		snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", run_dir, name);
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	unlinkat(run_dir, name, 0);
	mode_t mask = umask(0177);
	int failed = bind(fd, (struct sockaddr *)&address, sizeof address) ||
		     (type == SOCK_STREAM && listen(fd, 4096));
	int reason = errno;

	umask(mask);
	if (!failed)
		return fd;
	close(fd);
	errno = reason;
	return -1;
}

/* Before the first sshd can be there. */
static void report_open(void)
{
	int one = 1;

	report = unix_open("report", SOCK_DGRAM);
	/* Nothing can have arrived without its sender: nobody has seen the name yet but by guessing. */
	if (report >= 0 && setsockopt(report, SOL_SOCKET, SO_PASSCRED, &one, sizeof one) < 0) {
		close(report);
		report = -1;
	}
	if (report < 0)
		fail("open %s/report: %s", options.run_dir, strerror(errno));
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
	if (!options.no_sshd) {
		agents_make();
		x11_make();
		report_open();
	}
	if (!options.no_sshd && !options.no_tcp) {
		tcp_listener = tcp_open();
		if (tcp_listener < 0 && options.listen)
			fail("listen %s port %lld: %s", options.listen, options.port, listen_reason());
		if (tcp_listener < 0)
			fail("listen %lld: %s", options.port, listen_reason());
		tcp_port = port_of(tcp_listener);
	}
	if (!options.no_sshd) {
		unix_listener = unix_open("ssh", SOCK_STREAM);
		if (unix_listener < 0)
			fail("listen %s/ssh: %s", options.run_dir, strerror(errno));
	}
	tell_up();
}
