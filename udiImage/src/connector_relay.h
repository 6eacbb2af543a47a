/* The frames that come, and the copying both ways (connector_frames.h). A part of connector.c. */
static int may_have_bytes(const struct carried *c, int kind)
{
	return kind == 'd' || kind == 'p' || (kind == 'l' && c->near);
}

/* A header is whole. -1 for what is no frame. */
static int begin_frame(struct carried *c)
{
	size_t length = (size_t)c->head[1] << 16 | (size_t)c->head[2] << 8 | c->head[3];

	c->head_filled = 0;
	c->kind = c->head[0];
	c->at = FRAME_HEADER;
	if (length > LONGEST_FRAME || (length && !may_have_bytes(c, c->kind)))
		return -1;
	c->left = length;
	switch (c->kind) {
	case 'd': case 'l': case 'p': case 'b':
		return 0;
	case 'r':
		c->resting = 1;
		return 0;
	case 'f':
		c->got_fin = 1;
		if (!c->near)
			shutdown(c->to, SHUT_WR);
		return 0;
	default:
		return -1;
	}
}

/* How many bytes the connection took. -1: none now. */
static ssize_t give_to_connection(struct carried *c, const char *data, size_t length)
{
	ssize_t sent = c->deaf ? (ssize_t)length : write(c->to, data, length);

	if (sent >= 0 || would_block())
		return sent;
	/* It may still have something to say. */
	c->deaf = 1;
	return (ssize_t)length;
}

/* Of so many bytes of a frame of lines what is in them. */
static void unline(struct carried *c, const char *data, size_t length)
{
	for (size_t n = 0, part; n < length; n += part, c->at += part) {
		size_t place = c->at % LINE_BYTES, left = c->left - n;

		part = 1;
		if (place == 0 || c->at == FRAME_HEADER) {
			c->mask = data[n];
		} else if (place < LINE_BYTES - 1 && left > 1) {
			part = LINE_BYTES - 1 - place;
			part = part < length - n ? part : length - n;
			part = part < left - 1 ? part : left - 1;
			for (size_t i = 0; i < part; i++)
				c->plain[c->plain_end++] = (char)(data[n + i] ^ c->mask);
		}
	}
}

/* What there is of a frame's bytes: 1 when the connection does not take more now. */
static int pass_on(struct carried *c)
{
	size_t length = c->in_end - c->in_begin < c->left ? c->in_end - c->in_begin : c->left;

	if (c->kind == 'd') {
		ssize_t sent = give_to_connection(c, c->in + c->in_begin, length);

		if (sent < 0)
			return 1;
		length = (size_t)sent;
	} else if (c->kind == 'l') {
		unline(c, c->in + c->in_begin, length);
	}
	c->in_begin += length;
	c->left -= length;
	return 0;
}

/* 1 when the connection does not take more now. */
static int pass_on_plain(struct carried *c)
{
	while (c->plain_begin < c->plain_end) {
		ssize_t sent = give_to_connection(c, c->plain + c->plain_begin, c->plain_end - c->plain_begin);

		if (sent < 0)
			return 1;
		c->plain_begin += (size_t)sent;
	}
	c->plain_begin = c->plain_end = 0;
	return 0;
}

/* As far as the connection takes it. -1 for what is no frame. */
static int do_frames(struct carried *c)
{
	while (c->in_begin < c->in_end) {
		/* What comes in lines is gathered; the room for it is as large as that for what comes. */
		if ((!c->left || c->kind != 'l') && pass_on_plain(c))
			return 0;
		if (c->left) {
			if (pass_on(c))
				return 0;
			continue;
		}
		c->head[c->head_filled++] = (unsigned char)c->in[c->in_begin++];
		if (c->head_filled == FRAME_HEADER && begin_frame(c) < 0)
			return -1;
	}
	pass_on_plain(c);
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

/* Only when nothing of what came before is still to be done. -1: the other side, or the carrier, is gone. */
static int take_from_carrier(struct carried *c)
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

/* -1: no word came for so long that the other side is dead. */
static int tick(struct carried *c)
{
	long long most = c->resting ? LONGEST_REST_MS / c->silence_ms * BEATS : BEATS;

	if (c->quiet && !out_waits(c) && !c->mute) {
		c->out_begin = c->out_end = 0;
		put_header(c, 'b', 0);
		if (c->padding)
			put_padding(c, 1);
	}
	c->quiet = 1;
	/* Nothing is heard either while it is the connection that does not read. */
	if (in_waits(c))
		return 0;
	return ++c->missed > most ? -1 : 0;
}

/* The carrier takes nothing any more; what it has brought is still passed on. */
static void fall_silent(struct carried *c)
{
	c->mute = 1;
	c->out_begin = c->out_end = 0;
}

/* What the client program has said before it went may still be sent on. */
static void watch_client(struct carried *c, short from, short to)
{
	if (c->one && !c->gone_at && (from & (POLLHUP | POLLERR)))
		c->gone_at = now_ms();
	if (!c->one && (to & (POLLHUP | POLLERR | POLLNVAL)))
		c->deaf = 1;
}

/* -1: the other side, or the carrier, is gone. */
static int step_frames(struct carried *c, long long patience_ms)
{
	int waits = in_waits(c), reads = !c->sent_fin && !out_waits(c) && !c->mute, watches = c->near && !c->gone_at;
	/* Where nothing is wanted of it an end that has hung up would be reported again and again. */
	struct pollfd wait[4] = {
		{ waits ? -1 : 0, POLLIN, 0 },
		{ reads || (watches && c->one) ? c->from : -1, (short)(reads ? POLLIN : 0), 0 },
		{ waits || (watches && !c->one) ? c->to : -1, (short)(waits ? POLLOUT : 0), 0 },
		{ c->mute ? -1 : 1, (short)(out_waits(c) ? POLLOUT : 0), 0 },
	};

	if (poll(wait, 4, patience_ms > 0 ? (int)patience_ms : 0) < 0)
		return 0;
	if (wait[3].revents & (POLLERR | POLLHUP | POLLNVAL))
		fall_silent(c);
	if (wait[0].revents && take_from_carrier(c) < 0)
		return -1;
	if (do_frames(c) < 0)
		return -1;
	if (c->near)
		watch_client(c, wait[1].revents, wait[2].revents);
	if (reads && !c->mute && wait[1].revents)
		take_from_connection(c);
	if (out_waits(c) && give_to_carrier(c) < 0)
		fall_silent(c);
	return c->mute && !c->near && !in_waits(c) ? -1 : 0;
}

/*
 * On the client's side it is over with the sshd's end, as soon as the client has all of it, and with the client's own, which for some
 * of them is two: what it reads and what it writes.
 */
static int is_over(const struct carried *c)
{
	if (!c->near)
		return c->got_fin && c->sent_fin && !out_waits(c);
	return (c->got_fin && !in_waits(c)) || (c->deaf && !c->one) ||
	       (c->gone_at && ((c->sent_fin && !out_waits(c)) || c->mute || now_ms() - c->gone_at > LAST_WORDS_MS));
}

/* Until both directions have ended, or either side is gone. The status to end with. */
static int relay_frames(struct carried *c)
{
	long long step = c->silence_ms / BEATS, next = now_ms() + step;

	signal(SIGPIPE, SIG_IGN);
	while (!is_over(c)) {
		long long left = next - now_ms(), last = c->gone_at + LAST_WORDS_MS + 1 - now_ms();

		if (step_frames(c, c->gone_at && last < left ? last : left) < 0)
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
