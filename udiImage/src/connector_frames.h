/*
 * connector --carried: copies between the frames of a workload manager's carrier (docs/internals.md, section 12) on its stdin and
 * stdout, and a connected socket. A part of connector.c; src/session/carriers/frames.ts is its other side.
 */
#define FRAME_HEADER 4
#define LONGEST_FRAME (1024 * 1024)
#define CHUNK_BYTES (64 * 1024)
#define LINE_BYTES 1023
/* What makes a frame of whole lines that a pipe takes at once. */
#define LINED_BYTES (CHUNK_BYTES / LINE_BYTES * (LINE_BYTES - 1) - FRAME_HEADER)
#define MOST_PADDING (64 * 1024)
#define WORTH_A_NAP 8192
#define NAP_NS 400000
#define BEATS 4				/* of a silence, that may be missed */
#define LONGEST_REST_MS (24LL * 3600 * 1000)

struct carried {
	int fd;				/* of the node's sshd */
	long long silence_ms;
	size_t padding;
	char in[2 * CHUNK_BYTES];	/* frames from the client: [in_begin, in_end) is still to be done */
	size_t in_begin, in_end;
	unsigned char head[FRAME_HEADER];
	size_t head_filled;
	size_t left;			/* bytes of this frame that are still to come */
	int kind;
	int got_fin;			/* the client has closed its direction */
	int deaf;			/* the sshd takes nothing any more */
	int resting;			/* the client is stopped: its silence is no death */
	char raw[LINED_BYTES];		/* from the sshd */
	char out[FRAME_HEADER + CHUNK_BYTES + FRAME_HEADER + MOST_PADDING];
	size_t out_begin, out_end;	/* what is to be written of it */
	int sent_fin;
	int quiet;			/* nothing was said since the last tick */
	long long missed;		/* ticks without a word */
};

static void write_header(char *at, int kind, size_t length)
{
	at[0] = (char)kind;
	at[1] = (char)(length >> 16);
	at[2] = (char)(length >> 8);
	at[3] = (char)length;
}

static void put_header(struct carried *c, int kind, size_t length)
{
	write_header(c->out + c->out_end, kind, length);
	c->out_end += FRAME_HEADER;
}

static void put_padding(struct carried *c, size_t length)
{
	put_header(c, 'p', length);
	memset(c->out + c->out_end, 0, length);
	c->out_end += length;
	c->out[c->out_end - 1] = '\n';
}

/* Behind what is short: see "padding" in the specification. */
static void pad(struct carried *c)
{
	if (c->padding)
		put_padding(c, c->padding);
}

/*
 * A frame of lines, and padding up to the end of a line: Slurm sends what ends in the last newline of 1023 bytes, which of random
 * bytes is a fifth less.
 */
static void put_lined(struct carried *c, const char *data, size_t bytes)
{
	c->out_end = FRAME_HEADER;
	while (bytes) {
		size_t room = LINE_BYTES - 1 - c->out_end % LINE_BYTES;
		size_t part = bytes < room ? bytes : room;

		memcpy(c->out + c->out_end, data, part);
		c->out_end += part;
		data += part;
		bytes -= part;
		if (part == room)
			c->out[c->out_end++] = '\n';
	}
	write_header(c->out, 'l', c->out_end - FRAME_HEADER);
	size_t rest = LINE_BYTES - c->out_end % LINE_BYTES;

	if (rest < LINE_BYTES)
		put_padding(c, (rest > FRAME_HEADER ? rest : rest + LINE_BYTES) - FRAME_HEADER);
}

/* Only when nothing is to be written. */
static void take_from_socket(struct carried *c)
{
	ssize_t got = read(c->fd, c->raw, sizeof c->raw);

	if (got < 0 && would_block())
		return;
	c->out_begin = c->out_end = 0;
	c->quiet = 0;
	if (got > 0 && c->padding && (size_t)got >= c->padding) {
		put_lined(c, c->raw, (size_t)got);
		return;
	}
	if (got > 0) {
		put_header(c, 'd', (size_t)got);
		memcpy(c->out + c->out_end, c->raw, (size_t)got);
		c->out_end += (size_t)got;
	} else {
		/* A reset is the end, too: what had been sent before it has been read. */
		put_header(c, 'f', 0);
		c->sent_fin = 1;
	}
	pad(c);
}

static int out_waits(const struct carried *c)
{
	return c->out_begin < c->out_end;
}

/*
 * Slurm gives 1 KiB at a time. To be woken for each, and to wake the sshd for each, which can do nothing before it has a
 * whole packet, takes more of the processor than all of Slurm's own work.
 */
static void nap(void)
{
	nanosleep(&(struct timespec){ 0, NAP_NS }, NULL);
}

/* -1: nobody reads it any more. */
static int give_to_client(struct carried *c)
{
	ssize_t sent = write(1, c->out + c->out_begin, c->out_end - c->out_begin);

	if (sent < 0)
		return would_block() ? 0 : -1;
	c->out_begin += (size_t)sent;
	return 0;
}

/* A header is whole. -1 for what is no frame. */
static int begin_frame(struct carried *c)
{
	size_t length = (size_t)c->head[1] << 16 | (size_t)c->head[2] << 8 | c->head[3];

	c->head_filled = 0;
	c->kind = c->head[0];
	if (length > LONGEST_FRAME || (length && c->kind != 'd' && c->kind != 'p'))
		return -1;
	c->left = length;
	switch (c->kind) {
	case 'd': case 'p': case 'b':
		return 0;
	case 'r':
		c->resting = 1;
		return 0;
	case 'f':
		c->got_fin = 1;
		shutdown(c->fd, SHUT_WR);
		return 0;
	default:
		return -1;
	}
}

/* What there is of a frame's bytes: 1 when the sshd does not take more now. */
static int pass_on(struct carried *c)
{
	size_t length = c->in_end - c->in_begin < c->left ? c->in_end - c->in_begin : c->left;

	if (c->kind == 'd' && !c->deaf) {
		ssize_t sent = send(c->fd, c->in + c->in_begin, length, MSG_NOSIGNAL);

		if (sent < 0 && would_block())
			return 1;
		/* It may still have something to say. */
		if (sent < 0)
			c->deaf = 1;
		else
			length = (size_t)sent;
	}
	c->in_begin += length;
	c->left -= length;
	return 0;
}

/* As far as the sshd takes it. -1 for what is no frame. */
static int do_frames(struct carried *c)
{
	while (c->in_begin < c->in_end) {
		if (c->left) {
			if (pass_on(c))
				return 0;
			continue;
		}
		c->head[c->head_filled++] = (unsigned char)c->in[c->in_begin++];
		if (c->head_filled == FRAME_HEADER && begin_frame(c) < 0)
			return -1;
	}
	return 0;
}

/* How much of the frame that is under way, or begins here, is still to come. */
static size_t frame_lacks(const struct carried *c)
{
	const unsigned char *head = (const unsigned char *)c->in;
	size_t whole = c->left;

	if (!whole && !c->head_filled && c->in_end >= FRAME_HEADER)
		whole = FRAME_HEADER + ((size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3]);
	return whole > c->in_end ? whole - c->in_end : 0;
}

/* Only when nothing of what came before is still to be done. -1: the client, or the carrier, is gone. */
static int take_from_client(struct carried *c)
{
	ssize_t got = read(0, c->in, sizeof c->in);

	if (got < 0 && would_block())
		return 0;
	if (got <= 0)
		return -1;
	c->in_begin = 0;
	c->in_end = (size_t)got;
	c->missed = 0;
	c->resting = 0;
	while (got > 0 && c->in_end < CHUNK_BYTES && frame_lacks(c) > WORTH_A_NAP) {
		nap();
		got = read(0, c->in + c->in_end, sizeof c->in - c->in_end);
		if (got > 0)
			c->in_end += (size_t)got;
	}
	/* The end is seen again. */
	return 0;
}

/* -1: no word came for so long that the client is dead. */
static int tick(struct carried *c)
{
	long long most = c->resting ? LONGEST_REST_MS / c->silence_ms * BEATS : BEATS;

	if (c->quiet && !out_waits(c)) {
		c->out_begin = c->out_end = 0;
		put_header(c, 'b', 0);
		if (c->padding)
			put_padding(c, 1);
	}
	c->quiet = 1;
	/* Nothing is heard either while it is the sshd that does not read. */
	if (c->in_begin < c->in_end)
		return 0;
	return ++c->missed > most ? -1 : 0;
}

/* Until both directions have ended, or either side is gone. The status to end with. */
static int relay_frames(struct carried *c)
{
	long long step = c->silence_ms / BEATS, next = now_ms() + step;

	signal(SIGPIPE, SIG_IGN);
	make_nonblocking();
	fcntl(c->fd, F_SETFL, fcntl(c->fd, F_GETFL) | O_NONBLOCK);
	while (!c->got_fin || !c->sent_fin || out_waits(c)) {
		int in_waits = c->in_begin < c->in_end, reads = !c->sent_fin && !out_waits(c);
		/* Where nothing is wanted of it an end that has hung up would be reported again and again. */
		struct pollfd wait[3] = {
			{ in_waits ? -1 : 0, POLLIN, 0 },
			{ in_waits || reads ? c->fd : -1, (short)((reads ? POLLIN : 0) | (in_waits ? POLLOUT : 0)), 0 },
			{ 1, (short)(out_waits(c) ? POLLOUT : 0), 0 },
		};
		long long left = next - now_ms();

		poll(wait, 3, left > 0 ? (int)left : 0);
		if (wait[2].revents & (POLLERR | POLLHUP | POLLNVAL))
			return 1;
		if (wait[0].revents && take_from_client(c) < 0)
			return 1;
		if (do_frames(c) < 0)
			return 1;
		if (reads && (wait[1].revents & (POLLIN | POLLHUP | POLLERR)))
			take_from_socket(c);
		if (out_waits(c) && give_to_client(c) < 0)
			return 1;
		/* One that was stopped itself could not hear: that is one tick, however long. */
		if (now_ms() >= next) {
			if (tick(c) < 0)
				return 1;
			next = now_ms() + step;
		}
	}
	return 0;
}
