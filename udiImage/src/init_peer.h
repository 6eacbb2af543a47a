/*
 * init: whose socket the other end of a TCP connection is, where that end is in our own network namespace: on the
 * host's network every user of the node is. sshd would refuse them after a key exchange; this is before one.
 *
 * Sources: sock_diag(7); inet_diag's exact look-up asks for the socket by its own addresses, which are ours the
 * other way round.
 */
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>

#define LISTENING 10	/* TCP_LISTEN of the kernel's states */

static int diag_address(const struct sockaddr_storage *socket, struct in6_addr *address, uint16_t *port)
{
	if (socket->ss_family == AF_INET6) {
		*address = ((const struct sockaddr_in6 *)socket)->sin6_addr;
		*port = ((const struct sockaddr_in6 *)socket)->sin6_port;
	} else if (socket->ss_family == AF_INET) {
		memset(address, 0, sizeof *address);
		address->s6_addr[10] = address->s6_addr[11] = 0xff;
		memcpy(address->s6_addr + 12, &((const struct sockaddr_in *)socket)->sin_addr, 4);
		*port = ((const struct sockaddr_in *)socket)->sin_port;
	} else {
		return -1;
	}
	return 0;
}

static void diag_put(uint32_t *where, const struct in6_addr *address, int mapped)
{
	memcpy(where, address->s6_addr + (mapped ? 12 : 0), mapped ? 4 : 16);
}

static int diag_send(int fd, const struct sockaddr_storage *peer, const struct sockaddr_storage *ours)
{
	struct {
		struct nlmsghdr header;
		struct inet_diag_req_v2 body;
	} question = {
		.header = { .nlmsg_len = sizeof question, .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST },
		.body = { .sdiag_protocol = IPPROTO_TCP, .idiag_states = ~0U },
	};
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct in6_addr from, to;
	uint16_t from_port, to_port;

	if (diag_address(peer, &from, &from_port) < 0 || diag_address(ours, &to, &to_port) < 0)
		return -1;
	int mapped = IN6_IS_ADDR_V4MAPPED(&from) && IN6_IS_ADDR_V4MAPPED(&to);
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)peer;

	question.body.sdiag_family = mapped ? AF_INET : AF_INET6;
	question.body.id.idiag_sport = from_port;
	question.body.id.idiag_dport = to_port;
	diag_put(question.body.id.idiag_src, &from, mapped);
	diag_put(question.body.id.idiag_dst, &to, mapped);
	/* Link-local addresses are an interface's. */
	if (peer->ss_family == AF_INET6)
		question.body.id.idiag_if = six->sin6_scope_id;
	question.body.id.idiag_cookie[0] = question.body.id.idiag_cookie[1] = (uint32_t)INET_DIAG_NOCOOKIE;
	ssize_t sent = sendto(fd, &question, sizeof question, MSG_DONTWAIT, (struct sockaddr *)&kernel, sizeof kernel);

	return sent == sizeof question ? 0 : -1;
}

/*
 * 1 and the uid when the other end is a socket of this network namespace. 0 when it is not, or when that cannot be
 * known: a kernel without the module, or a sandbox that forbids to ask.
 */
static int peer_uid(const struct sockaddr_storage *peer, const struct sockaddr_storage *ours, uid_t *uid)
{
	union {
		struct nlmsghdr header;
		char bytes[1024];
	} answer;
	struct inet_diag_msg found;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	ssize_t got = -1;

	if (fd < 0)
		return 0;
	/* The kernel answers before sendto(2) returns. */
	if (diag_send(fd, peer, ours) == 0)
		got = recv(fd, &answer, sizeof answer, MSG_DONTWAIT);
	close(fd);
	if (got < (ssize_t)NLMSG_LENGTH(sizeof found) || answer.header.nlmsg_len > (size_t)got ||
	    answer.header.nlmsg_len < NLMSG_LENGTH(sizeof found) || answer.header.nlmsg_type != SOCK_DIAG_BY_FAMILY)
		return 0;
	memcpy(&found, NLMSG_DATA(&answer.header), sizeof found);
	/* Where there is no such connection the kernel offers a listener that would take one. */
	if (found.idiag_state == LISTENING)
		return 0;
	*uid = found.idiag_uid;
	return 1;
}

/* Somebody else's, for certain. In a user namespace who has no number there shows as the overflow uid: he is. */
static int is_foreign(int connection, const struct sockaddr_storage *peer)
{
	struct sockaddr_storage ours = { 0 };
	socklen_t length = sizeof ours;
	uid_t uid;

	if (getsockname(connection, (struct sockaddr *)&ours, &length) < 0 || !peer_uid(peer, &ours, &uid))
		return 0;
	return uid != geteuid() && uid != 0;
}
