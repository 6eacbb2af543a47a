/*
 * connector: where a node's sshd is, and how one gets there. A part of connector.c.
 *
 * The unix socket is the best way, and only there on the node's own host. Where it is not, the node's address and port
 * lead to it over the network; who answers there is ssh's to find out, by the host key.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#ifndef CONNECT_MS
#define CONNECT_MS 20000	/* ssh itself has no limit on what its ProxyCommand takes */
#endif

struct place {
	const char *path;
	const char *address;	/* a literal, as inet_pton(3) reads it; NULL: there is the socket alone */
	int port;
	union {
		struct sockaddr any;
		struct sockaddr_in four;
		struct sockaddr_in6 six;
	} tcp;
	socklen_t length;
};

/* -1 for what is no address of IPv4 or IPv6, or no port. */
static int place_parse(struct place *place, const char *address, const char *port)
{
	long long number = parse_number(port, 1, 65535);

	place->address = address;
	place->port = (int)number;
	if (number < 0)
		return -1;
	if (inet_pton(AF_INET, address, &place->tcp.four.sin_addr) == 1) {
		place->tcp.four.sin_family = AF_INET;
		place->tcp.four.sin_port = htons((uint16_t)number);
		place->length = sizeof place->tcp.four;
	} else if (inet_pton(AF_INET6, address, &place->tcp.six.sin6_addr) == 1) {
		place->tcp.six.sin6_family = AF_INET6;
		place->tcp.six.sin6_port = htons((uint16_t)number);
		place->length = sizeof place->tcp.six;
	} else {
		return -1;
	}
	return 0;
}

/* 0 when the connection that was begun is there. */
static int tcp_await(int fd)
{
	long long until = now_ms() + CONNECT_MS;
	int reason = 0;
	socklen_t length = sizeof reason;

	for (;;) {
		struct pollfd wait = { fd, POLLOUT, 0 };
		long long left = until - now_ms();
		int ready = left > 0 ? poll(&wait, 1, (int)left) : 0;

		if (ready < 0 && errno == EINTR)
			continue;
		if (ready == 0)
			errno = ETIMEDOUT;
		if (ready <= 0)
			return -1;
		if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &reason, &length) == 0 && reason == 0)
			return 0;
		errno = reason ? reason : errno;
		return -1;
	}
}

/* Non-blocking, and without delay: OpenSSH asks for that only in interactive sessions. -1 and errno. */
static int tcp_connect(const struct place *place)
{
	int one = 1;
	int fd = socket(place->tcp.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if ((connect(fd, &place->tcp.any, place->length) == 0 || errno == EINPROGRESS) && tcp_await(fd) == 0)
		return fd;
	int reason = errno;

	close(fd);
	errno = reason;
	return -1;
}
