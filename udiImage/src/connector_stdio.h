/*
 * connector --stdio: copies both ways at once, without ever blocking in one of them. A part of connector.c.
 *
 * splice(2) moves pages where both ends can do that; else a buffer does. Each way holds at most what one pipe or
 * buffer takes, so a slow reader slows the writer down and costs no memory.
 */
#include <fcntl.h>

#define BUFFER_BYTES (256 * 1024)
#define PIPE_BYTES (1024 * 1024)	/* the most an ordinary user is allowed (fs.pipe-max-size) */

struct way {
	int from, to;
	int pipe[2];
	size_t piped;			/* bytes in the pipe */
	char *buffer;			/* once splice(2) has been refused */
	size_t begin, filled;		/* what of the buffer is to be written */
	int over;			/* no more will come */
	int done;			/* and all has been passed on, or cannot be */
};

static size_t held(const struct way *way)
{
	return way->piped + way->filled;
}

static int would_block(void)
{
	return errno == EAGAIN || errno == EINTR;
}

static int use_buffer(struct way *way)
{
	way->buffer = malloc(BUFFER_BYTES);
	return way->buffer ? 0 : -1;
}

static int way_open(struct way *way, int from, int to)
{
	*way = (struct way){ .from = from, .to = to, .pipe = { -1, -1 } };
	if (pipe2(way->pipe, O_CLOEXEC | O_NONBLOCK) < 0)
		return use_buffer(way);
	fcntl(way->pipe[1], F_SETPIPE_SZ, PIPE_BYTES);
	return 0;
}

/* Takes what there is. Only when nothing is held: then the pipe cannot be what is not ready. -1: no memory. */
static int way_read(struct way *way)
{
	ssize_t got;

	if (!way->buffer) {
		got = splice(way->from, NULL, way->pipe[1], NULL, PIPE_BYTES, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
		if (got < 0 && errno == EINVAL)
			return use_buffer(way);
		if (got > 0)
			way->piped = (size_t)got;
	} else {
		got = read(way->from, way->buffer, BUFFER_BYTES);
		way->begin = 0;
		if (got > 0)
			way->filled = (size_t)got;
	}
	/* A reset is the end, too: what had been sent before it has been read. */
	if (got == 0 || (got < 0 && !would_block()))
		way->over = 1;
	return 0;
}

static ssize_t way_write_buffer(struct way *way)
{
	if (!way->filled && way->piped) {
		ssize_t got = read(way->pipe[0], way->buffer, BUFFER_BYTES);

		if (got <= 0)
			return -1;
		way->piped -= (size_t)got;
		way->begin = 0;
		way->filled = (size_t)got;
	}
	ssize_t sent = write(way->to, way->buffer + way->begin, way->filled);

	if (sent > 0) {
		way->begin += (size_t)sent;
		way->filled -= (size_t)sent;
	}
	return sent;
}

/* -1 when whoever should read this is gone, or there is no memory. */
static int way_write(struct way *way)
{
	ssize_t sent;

	if (!way->buffer) {
		sent = splice(way->pipe[0], NULL, way->to, NULL, way->piped, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
		if (sent < 0 && errno == EINVAL)
			return use_buffer(way);
		if (sent > 0)
			way->piped -= (size_t)sent;
	} else {
		sent = way_write_buffer(way);
	}
	return sent < 0 && !would_block() ? -1 : 0;
}

#define MOST_NONBLOCKING 4

static struct { int fd, flags; } old_flags[MOST_NONBLOCKING];
static int nonblocking;

static void restore_flags(void)
{
	for (; nonblocking > 0; nonblocking--)
		fcntl(old_flags[nonblocking - 1].fd, F_SETFL, old_flags[nonblocking - 1].flags);
}

/* They may be shared with a shell that goes on after us, so they become again what they were. */
static void make_nonblocking(const int *fds, int count)
{
	for (int n = 0; n < count; n++) {
		int flags = fcntl(fds[n], F_GETFL);

		if (flags < 0)
			continue;
		old_flags[nonblocking].fd = fds[n];
		old_flags[nonblocking++].flags = flags;
		fcntl(fds[n], F_SETFL, flags | O_NONBLOCK);
	}
	atexit(restore_flags);
}

enum { INPUT, SOCKET, OUTPUT };

static void wait_for_both(struct pollfd *wait, const struct way *in, const struct way *out, int fd)
{
	int in_reads = !in->done && !in->over && !held(in), in_writes = !in->done && held(in);
	int out_reads = !out->done && !out->over && !held(out), out_writes = !out->done && held(out);

	/* Where nothing is wanted of it an end that has hung up would be reported again and again. */
	wait[INPUT] = (struct pollfd){ in_reads ? 0 : -1, POLLIN, 0 };
	wait[SOCKET] = (struct pollfd){ out_writes && !in_writes ? -1 : fd,
		(short)((out_reads ? POLLIN : 0) | (in_writes ? POLLOUT : 0)), 0 };
	wait[OUTPUT] = (struct pollfd){ out->done ? -1 : 1, (short)(out_writes ? POLLOUT : 0), 0 };
	poll(wait, 3, -1);
}

static void finish_in(struct way *in, int fd)
{
	in->done = 1;
	shutdown(fd, SHUT_WR);
}

/* As far as the reader is concerned this is the end, whatever input may still come. */
static void finish_out(struct way *out)
{
	out->done = 1;
	restore_flags();
	close(1);
}

static int out_of_memory(void)
{
	say("connector", "no memory to copy with");
	return 1;
}

/* Until both ways are done, or nobody reads what comes from the socket. The status to end with. */
static int relay_stdio(int fd)
{
	struct way in, out;

	signal(SIGPIPE, SIG_IGN);
	make_nonblocking((const int[]){ 0, 1 }, 2);
	if (way_open(&in, 0, fd) < 0 || way_open(&out, fd, 1) < 0)
		return out_of_memory();
	while (!in.done || !out.done) {
		struct pollfd wait[3];

		wait_for_both(wait, &in, &out, fd);
		/* ssh ends so, too: the status is for whoever looks, and there is nothing to be said. */
		if (wait[OUTPUT].revents & (POLLERR | POLLHUP | POLLNVAL))
			return 1;
		if (wait[INPUT].revents && way_read(&in) < 0)
			return out_of_memory();
		if ((wait[SOCKET].revents & POLLIN) && way_read(&out) < 0)
			return out_of_memory();
		if ((wait[SOCKET].revents & POLLOUT) && !in.done && held(&in) && way_write(&in) < 0)
			in.done = 1;
		if ((wait[OUTPUT].revents & POLLOUT) && way_write(&out) < 0)
			return 1;
		/* Closed on its side for good: nobody is there to write to. */
		if (wait[SOCKET].revents & (POLLHUP | POLLERR)) {
			in.done = 1;
			if (!out.over && !held(&out) && !(wait[SOCKET].revents & POLLIN))
				out.over = 1;
		}
		if (!in.done && in.over && !held(&in))
			finish_in(&in, fd);
		if (!out.done && out.over && !held(&out))
			finish_out(&out);
	}
	return 0;
}
