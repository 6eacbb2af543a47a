/*
 * connector --near SILENCE_MS PADDING: the client's side of a workload manager's carrier, once the way to the node's sshd is open. Its
 * stdin and stdout are the carrier's; descriptor 3 gives what of the carrier was read before, to its end; 4 and 5 are what is read of
 * and written to the client program. gangway starts it, in a session of its own, where no terminal's signal reaches it: it goes on
 * beating while the session is stopped (^Z). It ends with gangway. A part of connector.c.
 *
 * The status is 0 where the client program or the sshd ended the connection, 1 where the carrier or the other side was gone before
 * that.
 */
#include <sys/prctl.h>
#include <sys/stat.h>

enum { CARRIER_IN, CARRIER_OUT, READ_BEFORE = 3, CLIENT_IN, CLIENT_OUT };

static void end_now(int signal)
{
	(void)signal;
	restore_flags();
	_exit(1);
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

static int is_one_socket(int from, int to)
{
	struct stat one, other;

	return fstat(from, &one) == 0 && fstat(to, &other) == 0 && S_ISSOCK(one.st_mode) && one.st_dev == other.st_dev &&
	       one.st_ino == other.st_ino;
}

/* -1 for words that are none. */
static int carry_near(char **word)
{
	static struct carried carried;
	long long padding = word[0] && word[1] ? parse_number(word[1], 0, MOST_PADDING) : -1;

	carried.silence_ms = padding >= 0 && !word[2] ? parse_number(word[0], 500, 3600000) : -1;
	if (carried.silence_ms < 0 || fcntl(READ_BEFORE, F_GETFD) < 0)
		return -1;
	carried.padding = (size_t)padding;
	carried.from = CLIENT_IN;
	carried.to = CLIENT_OUT;
	carried.near = 1;
	carried.one = is_one_socket(CLIENT_IN, CLIENT_OUT);
	signal(SIGTERM, end_now);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (take_read_before(&carried) < 0)
		return 1;
	/* gangway's own ends of the carrier stay as they are for it, and what the client gave may be shared with a shell. */
	for (int fd = CARRIER_IN; fd <= CARRIER_OUT; fd++)
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	make_nonblocking((const int[]){ CLIENT_IN, CLIENT_OUT }, 2);
	return relay_frames(&carried);
}
