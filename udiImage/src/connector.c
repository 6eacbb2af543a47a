/*
 * connector PATH: the ProxyCommand for `ProxyUseFdpass yes` (ssh_config(5)). It connects to the unix socket
 * PATH, on which init of a job container listens, and hands the connected descriptor to ssh over its own
 * stdout, which ssh made a socket for that purpose (unix(7), SCM_RIGHTS). Then it is gone: no byte of the
 * session is ever copied. It works for paths of any length that open(2) takes.
 *
 * connector --stdio PATH: copies between its stdin and stdout and the socket, for a client on another machine that
 * runs it here by an ssh of its own.
 *
 * connector --owner UID PATH: as the first, for root, who goes into a job of that user.
 *
 * The kernel says who listens (SO_PEERCRED): where the path lies in a place that others can make, somebody else's
 * socket would see what is typed.
 */
#include "common/common.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "connector_stdio.h"

/* One byte must go along with the descriptor; OpenSSH's mm_receive_fd reads and drops it. */
static int hand_over(int over, int fd)
{
	char byte = 0;
	struct iovec data = { &byte, 1 };
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof control };

	memset(&control, 0, sizeof control);
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(header), &fd, sizeof fd);
	ssize_t sent;

	do
		sent = sendmsg(over, &message, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent == 1 ? 0 : -1;
}

/* Without waiting for longer than somebody wants it: -2 when stdin has ended first. */
static int connect_while_wanted(const char *path)
{
	for (;;) {
		struct pollfd input = { 0, POLLRDHUP, 0 };
		int fd = unix_connect_as(path, SOCK_NONBLOCK);

		if (fd >= 0 || errno != EAGAIN)
			return fd;
		/* A socket that is busy gives no sign when it is free again. */
		if (poll(&input, 1, 20) > 0 && (input.revents & (POLLHUP | POLLRDHUP | POLLERR | POLLNVAL)))
			return -2;
	}
}

__attribute__((noreturn))
static void unreachable(const char *path)
{
	say("connector", "cannot reach the job's container at %.700s: %s%s", path, strerror(errno),
	    errno == ENOENT || errno == ECONNREFUSED ? " (has the job ended?)" : "");
	exit(1);
}

static void check_listener(int fd, const char *path, uid_t owner)
{
	struct ucred listener;
	socklen_t length = sizeof listener;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &listener, &length) < 0)
		unreachable(path);
	if (listener.uid == owner)
		return;
	say("connector", "who listens at %.700s is not %s (uid %u) but uid %u: nothing is sent there", path,
	    owner == geteuid() ? "you" : "the job's user", (unsigned)owner, (unsigned)listener.uid);
	exit(1);
}

static int copy_stdio(const char *path)
{
	int fd = connect_while_wanted(path);

	if (fd == -2) {
		say("connector", "the input ended before the job's container was reached");
		return 1;
	}
	if (fd < 0)
		unreachable(path);
	check_listener(fd, path, geteuid());
	return relay_stdio(fd);
}

static int pass_descriptor(const char *path, uid_t owner)
{
	int fd = unix_connect(path);

	if (fd < 0)
		unreachable(path);
	check_listener(fd, path, owner);
	if (hand_over(1, fd) == 0)
		return 0;
	say("connector", "cannot hand the connection to ssh: %s%s", strerror(errno),
	    errno == ENOTSOCK ? " (ProxyUseFdpass yes is needed)" : "");
	return 1;
}

int main(int argc, char **argv)
{
	fill_stdio();
	if (argc == 3 && strcmp(argv[1], "--stdio") == 0 && *argv[2])
		return copy_stdio(argv[2]);
	if (argc == 2 && *argv[1] && *argv[1] != '-')
		return pass_descriptor(argv[1], geteuid());
	if (argc == 4 && strcmp(argv[1], "--owner") == 0 && *argv[3]) {
		/* The last number is no uid, but what chown(2) takes for none. */
		long long owner = parse_number(argv[2], 0, UINT32_MAX - 1);

		if (owner >= 0)
			return pass_descriptor(argv[3], (uid_t)owner);
	}
	say("connector", "usage: connector PATH (as ProxyCommand, with ProxyUseFdpass yes) | connector --owner UID PATH | "
	    "connector --stdio PATH");
	return 1;
}
