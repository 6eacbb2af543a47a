/*
 * connector PATH: the ProxyCommand for `ProxyUseFdpass yes` (ssh_config(5)). It connects to the unix socket
 * PATH, on which init of a job container listens, and hands the connected descriptor to ssh over its own
 * stdout, which ssh made a socket for that purpose (unix(7), SCM_RIGHTS). Then it is gone: no byte of the
 * session is ever copied. It works for paths of any length that open(2) takes.
 */
#include "common/common.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

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

int main(int argc, char **argv)
{
	fill_stdio();
	if (argc != 2 || !*argv[1]) {
		say("connector", "usage: connector PATH (as ProxyCommand, with ProxyUseFdpass yes)");
		return 1;
	}
	int fd = unix_connect(argv[1]);

	if (fd < 0) {
		say("connector", "cannot reach the job's container at %s: %s%s", argv[1], strerror(errno),
		    errno == ENOENT || errno == ECONNREFUSED ? " (has the job ended?)" : "");
		return 1;
	}
	if (hand_over(1, fd) < 0) {
		say("connector", "cannot hand the connection to ssh: %s%s", strerror(errno),
		    errno == ENOTSOCK ? " (ProxyUseFdpass yes is needed)" : "");
		return 1;
	}
	return 0;
}
