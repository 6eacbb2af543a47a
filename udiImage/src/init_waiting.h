/*
 * init: the connections over TCP that wait for an sshd (docs/internals.md, section 9).
 *
 * An ssh client says its version as soon as it is connected; who only wants to fill places says nothing, and has
 * nothing to lose by it. So who has spoken goes before who is silent, everywhere: in getting an sshd, and in
 * keeping a place. Who waits for the server's version first, as RFC 4253, 4.2 allows, is served while there is room.
 */
#include <poll.h>

#define MOST_UNHEARD 16		/* up to so many unauthenticated ones of a source get an sshd unheard */
#define MOST_UNAUTHENTICATED 64	/* sshds of one source that nobody has logged in to */
#define MOST_WAITING 256	/* connections of one source that wait for one */
#define MOST_WAITING_IN_ALL 1024

struct waiting {
	int fd;
	struct in6_addr from;
	int port;
	int spoke;		/* the client has sent something */
};

static struct waiting waiting[MOST_WAITING_IN_ALL];	/* in the order in which they came */
static size_t waiting_count;

static size_t waiting_from(const struct in6_addr *from)
{
	size_t count = 0;

	for (size_t i = 0; i < waiting_count; i++)
		count += IN6_ARE_ADDR_EQUAL(&waiting[i].from, from);
	return count;
}

static void waiting_remove(size_t index)
{
	close(waiting[index].fd);
	waiting_count--;
	memmove(&waiting[index], &waiting[index + 1], (waiting_count - index) * sizeof *waiting);
}

static void waiting_close(void)
{
	while (waiting_count)
		waiting_remove(waiting_count - 1);
}

/* What was sent since poll(2) was asked counts, too. An end is no word; poll(2) tells of it. */
static int has_spoken(struct waiting *one)
{
	char byte;

	if (!one->spoke && recv(one->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1)
		one->spoke = room_changed = 1;
	return one->spoke;
}

static void waiting_add(int connection, const struct in6_addr *from, int port)
{
	waiting[waiting_count] = (struct waiting){ connection, *from, port, 0 };
	has_spoken(&waiting[waiting_count++]);
}

/* The oldest of a source, or of all with NULL, that is silent leaves. Whether there was one. */
static int waiting_give_way(const struct in6_addr *from)
{
	for (size_t i = 0; i < waiting_count; i++) {
		if ((from && !IN6_ARE_ADDR_EQUAL(&waiting[i].from, from)) || has_spoken(&waiting[i]))
			continue;
		waiting_remove(i);
		return 1;
	}
	return 0;
}

/* Whether there is a place for one more of this source, perhaps after another has left. */
static int waiting_make_place(const struct in6_addr *from)
{
	if (waiting_from(from) >= MOST_WAITING)
		return waiting_give_way(from);
	/* Not one of its own first: an honest source's may all have come just now, their words on the way. */
	return waiting_count < MOST_WAITING_IN_ALL || waiting_give_way(NULL);
}

/* Who has to go first of all: the last to come of the silent, else of all. */
static size_t waiting_least(void)
{
	for (size_t i = waiting_count; i-- > 0; )
		if (!has_spoken(&waiting[i]))
			return i;
	return waiting_count - 1;
}

/* What is waited for: a first word, and the end. */
static struct pollfd waiting_events(size_t index)
{
	return (struct pollfd){ waiting[index].fd, (short)(POLLRDHUP | (waiting[index].spoke ? 0 : POLLIN)), 0 };
}

/* As poll(2) has it in `seen`, one for each: who has gone, or closed his side, waits no more. */
static void waiting_look(const struct pollfd *seen)
{
	for (size_t i = waiting_count; i-- > 0; ) {
		if (seen[i].revents & ~POLLIN)
			waiting_remove(i);
		else if (seen[i].revents)
			waiting[i].spoke = room_changed = 1;
	}
}

/* Gives sshds to those of a kind whose source has fewer than `most`; -1 when the machine is at a limit. */
static int waiting_start_kind(int spoke, size_t most)
{
	for (size_t i = 0; i < waiting_count; ) {
		struct waiting *one = &waiting[i];

		if (one->spoke != spoke || unauthenticated_from(&one->from) >= most) {
			i++;
			continue;
		}
		if (session_start(one->fd, 1, &one->from, one->port) < 0)
			return -1;
		waiting_remove(i);
	}
	return 0;
}

/* Gives sshds to those whose turn it is. */
static void waiting_start(void)
{
	if (!room_changed)
		return;
	if (waiting_start_kind(1, MOST_UNAUTHENTICATED) < 0 || waiting_start_kind(0, MOST_UNHEARD) < 0)
		accept_after = now_ms() + BACK_OFF_MS;
	else
		room_changed = 0;
}
