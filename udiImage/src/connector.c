/*
 * connector PATH [ADDRESS PORT]: the ProxyCommand for `ProxyUseFdpass yes` (ssh_config(5)). It connects to the unix socket
 * PATH, on which init of a job container listens, and hands the connected descriptor to ssh over its own
 * stdout, which ssh made a socket for that purpose (unix(7), SCM_RIGHTS). Then it is gone: no byte of the
 * session is ever copied. It works for paths of any length that open(2) takes. Where nobody listens at PATH, as on
 * another host than the node's, it connects to ADDRESS and PORT, if it was given these.
 *
 * connector --stdio PATH [ADDRESS PORT]: copies between its stdin and stdout and the socket, for a client on another machine
 * that runs it here by an ssh of its own.
 *
 * --owner UID: for root, who goes into a job of that user. --kit FILE HOST: the key that ssh is going to use. On a host that
 * does not have it, where ssh would say no more than "Permission denied", it says so.
 *
 * connector --who PATH: prints the process and the user that listen at PATH, `PID UID`; the process is 0 where it is in
 * another pid namespace.
 *
 * connector --carried PROGRAM JOB SILENCE_MS PADDING BASE…: what a workload manager starts on a job's host to carry a session
 * there (connector_carried.h).
 *
 * connector --near SILENCE_MS PADDING: the client's side of that (connector_near.h).
 *
 * The kernel says who listens (SO_PEERCRED): where the path lies in a place that others can make, somebody else's
 * socket would see what is typed.
 */
#include "common/common.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "connector_place.h"
#include "connector_stdio.h"
#include "connector_carried.h"
#include "connector_near.h"

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
static void unreachable(const struct place *place, int by_socket)
{
	int reason = place->address ? errno : by_socket;
	const char *ended = reason == ENOENT || reason == ECONNREFUSED ? " (has the job ended?)" : "";

	if (place->address)
		say("connector", "cannot reach the job's container at %s port %d: %s; nor at %.700s: %s%s", place->address,
		    place->port, strerror(reason), place->path, strerror(by_socket), ended);
	else
		say("connector", "cannot reach the job's container at %.700s: %s%s", place->path, strerror(by_socket), ended);
	exit(1);
}

static void check_listener(int fd, const struct place *place, uid_t owner)
{
	struct ucred listener;
	socklen_t length = sizeof listener;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &listener, &length) < 0)
		unreachable(place, errno);
	if (listener.uid == owner)
		return;
	say("connector", "who listens at %.700s is not %s (uid %u) but uid %u: nothing is sent there", place->path,
	    owner == geteuid() ? "you" : "the job's user", (unsigned)owner, (unsigned)listener.uid);
	exit(1);
}

/* `fd`: what came of connecting to the socket. */
static int reach(int fd, const struct place *place, uid_t owner)
{
	int by_socket = errno;

	if (fd >= 0) {
		check_listener(fd, place, owner);
		return fd;
	}
	if (place->address)
		fd = tcp_connect(place);
	if (fd < 0)
		unreachable(place, by_socket);
	return fd;
}

static int copy_stdio(const struct place *place, uid_t owner)
{
	int fd = connect_while_wanted(place->path);

	if (fd == -2) {
		say("connector", "the input ended before the job's container was reached");
		return 1;
	}
	return relay_stdio(reach(fd, place, owner));
}

static int pass_descriptor(const struct place *place, uid_t owner)
{
	int fd = reach(unix_connect(place->path), place, owner);

	/* As ssh would have made it. */
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	if (hand_over(1, fd) == 0)
		return 0;
	say("connector", "cannot hand the connection to ssh: %s%s", strerror(errno),
	    errno == ENOTSOCK ? " (ProxyUseFdpass yes is needed)" : "");
	return 1;
}

static int say_who(const char *path)
{
	struct ucred listener;
	socklen_t length = sizeof listener;
	int fd = unix_connect(path);

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &listener, &length) < 0) {
		say("connector", "cannot reach %.700s: %s", path, strerror(errno));
		return 1;
	}
	return dprintf(1, "%d %u\n", (int)listener.pid, (unsigned)listener.uid) < 0;
}

__attribute__((noreturn))
static void misused(void)
{
	say("connector", "usage: connector [--owner UID] [--kit FILE HOST] PATH [ADDRESS PORT] (as ProxyCommand, with "
	    "ProxyUseFdpass yes) | connector --stdio PATH [ADDRESS PORT] | connector --who PATH | "
	    "connector --carried PROGRAM JOB SILENCE_MS PADDING BASE... | connector --near SILENCE_MS PADDING");
	exit(1);
}

static void check_kit(const char *key, const char *host)
{
	if (faccessat(AT_FDCWD, key, R_OK, AT_EACCESS) == 0)
		return;
	say("gangway", "this host has no key for the job (it runs on %.200s); use gangway ssh, or log in to one of its hosts",
	    host);
	exit(1);
}

static uid_t owner_option(const char *value)
{
	/* The last number is no uid, but what chown(2) takes for none. */
	long long owner = value ? parse_number(value, 0, UINT32_MAX - 1) : -1;

	if (owner < 0)
		misused();
	return (uid_t)owner;
}

int main(int argc, char **argv)
{
	struct place place = { 0 };
	uid_t owner = geteuid();
	int stdio = 0;
	char **word = argv + 1, **kit = NULL;

	fill_stdio();
	if (argc == 3 && strcmp(argv[1], "--who") == 0)
		return say_who(argv[2]);
	if (argc > 1 && (strcmp(argv[1], "--carried") == 0 || strcmp(argv[1], "--near") == 0)) {
		int status = argv[1][2] == 'n' ? carry_near(argv + 2) : carry(argv + 2);

		if (status < 0)
			misused();
		return status;
	}
	for (; *word && **word == '-'; word++) {
		if (strcmp(*word, "--stdio") == 0) {
			stdio = 1;
		} else if (strcmp(*word, "--owner") == 0) {
			owner = owner_option(*++word);
		} else if (strcmp(*word, "--kit") == 0 && word[1] && word[2]) {
			kit = word + 1;
			word += 2;
		} else {
			misused();
		}
	}
	int left = (int)(argv + argc - word);

	if ((left != 1 && left != 3) || !**word)
		misused();
	place.path = word[0];
	if (left == 3 && place_parse(&place, word[1], word[2]) < 0)
		misused();
	if (kit)
		check_kit(kit[0], kit[1]);
	return stdio ? copy_stdio(&place, owner) : pass_descriptor(&place, owner);
}
