/*
 * passing PROGRAM ARG...: ssh's side of ProxyUseFdpass. Runs the program with a socket as stdout, takes the
 * descriptor that comes over it as OpenSSH's mm_receive_fd does, sends stdin through it and prints the answer.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int receive(int from)
{
	char byte, space[CMSG_SPACE(sizeof(int))];
	struct iovec data = { &byte, 1 };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space };
	int fd = -1;

	if (recvmsg(from, &message, 0) != 1)
		return -1;
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	if (header && header->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(header), sizeof fd);
	return fd;
}

int main(int argc, char **argv)
{
	int pair[2], status;
	char data[4096];
	ssize_t got;

	if (argc < 2 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		return 99;
	pid_t child = fork();

	if (child == 0) {
		dup2(pair[1], 1);
		close(pair[0]);
		close(pair[1]);
		execv(argv[1], argv + 1);
		_exit(98);
	}
	close(pair[1]);
	int fd = receive(pair[0]);

	waitpid(child, &status, 0);
	dprintf(2, "connector ended with %d\n", WEXITSTATUS(status));
	if (fd < 0)
		return 1;
	while ((got = read(0, data, sizeof data)) > 0)
		if (write(fd, data, (size_t)got) != got)
			return 2;
	shutdown(fd, SHUT_WR);
	while ((got = read(fd, data, sizeof data)) > 0)
		if (write(1, data, (size_t)got) != got)
			return 3;
	return 0;
}
