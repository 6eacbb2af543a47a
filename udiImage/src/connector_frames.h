/*
 * connector --carried, on a job's host, and --near, on the client's: copies between the frames of a workload manager's carrier
 * (docs/internals.md, section 12) on its stdin and stdout, and a connection. A part of connector.c; what is started there without
 * the connector speaks them by src/session/carriers/frames.ts.
 */
#define FRAME_HEADER 4
#define LONGEST_FRAME (1024 * 1024)
#define CHUNK_BYTES (64 * 1024)
#define LINE_BYTES 1024
/* What makes a frame of whole lines that a pipe takes at once. */
#define LINED_BYTES (CHUNK_BYTES / LINE_BYTES * (LINE_BYTES - 2) - FRAME_HEADER)
#define MOST_PADDING (64 * 1024)
#define WORTH_A_NAP 8192
#define NAP_NS 400000
#define LAST_WORDS_MS 2000		/* of a client that has gone, to a carrier that takes nothing */
#define BEATS 4				/* of a silence, that may be missed */
#define LONGEST_REST_MS (24LL * 3600 * 1000)

struct carried {
	int from, to;			/* of the connection: to the node's sshd, or the client program; often one */
	int near;			/* this is the client's side */
	int one;			/* from and to are one socket */
	long long gone_at;		/* when the client was seen to have closed that; 0: it has not */
	int mute;			/* the carrier takes nothing any more */
	long long silence_ms;
	size_t padding;
	char in[2 * CHUNK_BYTES];	/* frames from the other side: [in_begin, in_end) is still to be done */
	size_t in_begin, in_end;
	char plain[2 * CHUNK_BYTES];	/* what was in lines, without them: [plain_begin, plain_end) is still to be passed on */
	size_t plain_begin, plain_end;
	unsigned char head[FRAME_HEADER];
	size_t head_filled;
	size_t left;			/* bytes of this frame that are still to come */
	int kind;
	size_t at;			/* bytes of this frame, its header too, that have come */
	char mask;			/* of the line that is under way */
	int got_fin;			/* the other side has closed its direction */
	int deaf;			/* the connection takes nothing any more */
	int resting;			/* the client is stopped: its silence is no death */
	char raw[LINED_BYTES];		/* from the connection */
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

/* A value that none of these bytes has, and that is not zero; 0: there is none. */
static int absent_value(const char *data, size_t bytes)
{
	char seen[256] = { 0 };

	for (size_t n = 0; n < bytes; n++)
		seen[(unsigned char)data[n]] = 1;
	for (int value = 1; value < 256; value++)
		if (!seen[value])
			return value;
	return 0;
}

/*
 * A line of the frame: a mask, so many bytes, each of them exclusive-or the mask, and a newline. The mask makes of a value that does
 * not occur the newline's, so that there is none within; hardly ever does each value occur, and then a newline does no harm.
 */
static void put_line(struct carried *c, const char *data, size_t bytes)
{
	int absent = absent_value(data, bytes);
	char mask = (char)(absent ? absent ^ '\n' : 0), *at = c->out + c->out_end;

	*at++ = mask;
	for (size_t n = 0; n < bytes; n++)
		*at++ = (char)(data[n] ^ mask);
	*at = '\n';
	c->out_end += bytes + 2;
}

/*
 * A frame of lines, of which the last may be shorter: Slurm sends 1024 bytes at once, with less ado where they are one line.
 */
static void put_lined(struct carried *c, const char *data, size_t bytes)
{
	c->out_end = FRAME_HEADER;
	while (bytes) {
		size_t room = LINE_BYTES - 2 - c->out_end % LINE_BYTES;
		size_t part = bytes < room ? bytes : room;

		put_line(c, data, part);
		data += part;
		bytes -= part;
	}
	write_header(c->out, 'l', c->out_end - FRAME_HEADER);
}

/* Only when nothing is to be written. What a client's carrier takes is not cut into lines. */
static void take_from_connection(struct carried *c)
{
	ssize_t got = read(c->from, c->raw, sizeof c->raw);

	if (got < 0 && would_block())
		return;
	c->out_begin = c->out_end = 0;
	c->quiet = 0;
	int large = got > 0 && c->padding && (size_t)got >= c->padding;

	if (large && !c->near) {
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
	if (!large)
		pad(c);
}

static int out_waits(const struct carried *c)
{
	return c->out_begin < c->out_end;
}

static int in_waits(const struct carried *c)
{
	return c->in_begin < c->in_end || c->plain_begin < c->plain_end;
}

/*
 * Slurm gives 1 KiB at a time. To be woken for each, and to wake for each who can do nothing before there is a whole packet, takes more
 * of the processor than all of Slurm's own work.
 */
static void nap(void)
{
	nanosleep(&(struct timespec){ 0, NAP_NS }, NULL);
}

/* -1: nobody reads it any more. */
static int give_to_carrier(struct carried *c)
{
	ssize_t sent = write(1, c->out + c->out_begin, c->out_end - c->out_begin);

	if (sent < 0)
		return would_block() ? 0 : -1;
	c->out_begin += (size_t)sent;
	/* It reads 4 KiB at a time. */
	if (c->padding && c->out_end - c->out_begin > WORTH_A_NAP)
		nap();
	return 0;
}
