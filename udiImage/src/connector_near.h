/*
 * connector --near SILENCE_MS PADDING: the client's side of a workload manager's carrier, once the way to the node's sshd is open. Its
 * stdin and stdout are the carrier's; descriptor 3 gives what of the carrier was read before, to its end; 4 and 5 are what is read of
 * and written to the client program. gangway starts it, in a session of its own, and ends it by ending itself. A part of
 * connector.c.
 *
 * SIGTSTP: the other side is told before this process is stopped. The status is 0 where the client program or the sshd ended the
 * connection, 1 where the carrier or the other side was gone before that.
 */
#include <sys/prctl.h>

enum { CARRIER_IN, CARRIER_OUT, READ_BEFORE = 3, CLIENT_IN, CLIENT_OUT };

static volatile sig_atomic_t asked_to_rest;

static void note_rest(int signal)
{
	(void)signal;
	asked_to_rest = 1;
}

/* Frames are whole where nothing is to be written. */
static void perhaps_rest(struct carried *c)
{
	if (!asked_to_rest || out_waits(c))
		return;
	asked_to_rest = 0;
	c->out_begin = c->out_end = 0;
	put_header(c, 'r', 0);
	give_to_carrier(c);
	raise(SIGSTOP);
	c->out_begin = c->out_end = 0;
	put_header(c, 'b', 0);
}

/* -1: more came than there is room for. */
static int take_read_before(struct carried *c)
{
	ssize_t got;

	do {
		got = read(READ_BEFORE, c->in + c->in_end, sizeof c->in - c->in_end);
		if (got > 0)
			c->in_end += (size_t)got;
	} while (got > 0 || (got < 0 && errno == EINTR));
	close(READ_BEFORE);
	return c->in_end == sizeof c->in ? -1 : 0;
}

/* -1 for words that are none. */
static int carry_near(char **word)
{
	static struct carried carried;
	long long padding = word[0] && word[1] ? parse_number(word[1], 0, MOST_PADDING) : -1;
	sigset_t resting, heard;

	carried.silence_ms = padding >= 0 && !word[2] ? parse_number(word[0], 500, 3600000) : -1;
	if (carried.silence_ms < 0 || fcntl(READ_BEFORE, F_GETFD) < 0)
		return -1;
	carried.padding = (size_t)padding;
	carried.from = CLIENT_IN;
	carried.to = CLIENT_OUT;
	carried.near = 1;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigemptyset(&resting);
	sigaddset(&resting, SIGTSTP);
	sigprocmask(SIG_BLOCK, &resting, &heard);
	sigdelset(&heard, SIGTSTP);
	signal(SIGTSTP, note_rest);
	if (take_read_before(&carried) < 0)
		return 1;
	make_nonblocking((const int[]){ CARRIER_IN, CARRIER_OUT, CLIENT_IN, CLIENT_OUT }, 4);
	return relay_frames(&carried, perhaps_rest, &heard);
}
