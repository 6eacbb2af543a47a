/*
 * init: what `revoke SERIAL` does (docs/internals.md, section 9): every connection that logged in by that certificate is
 * ended, with what runs in its sessions' foreground, and who comes with it a moment later as well.
 */
/*
 * Sessions of revoked connections: their sshd is gone at once, and with it what tells whose they are. After the grace
 * what ignored HUP is killed: it was let in by what is no longer good.
 */
static struct doomed {
	pid_t session, group, foreground;
	long long kill_at;
} doomed[MOST_DOOMED];
static size_t doomed_count;

/* Only groups of that session: a number may be another's by now. */
static void doomed_kill(const struct doomed *one)
{
	size_t count = 0;
	struct process *all = processes_read(&count);

	for (size_t i = 0; i < count; i++)
		if (all[i].session == one->session &&
		    (all[i].group == one->group || all[i].group == one->foreground))
			kill(all[i].pid, SIGKILL);
	free(all);
}

/* There is no room for more than the oldest's grace. */
static void doomed_add(const struct process *leader)
{
	if (doomed_count == MOST_DOOMED) {
		doomed_kill(&doomed[0]);
		memmove(&doomed[0], &doomed[1], --doomed_count * sizeof *doomed);
	}
	doomed[doomed_count++] = (struct doomed){ leader->pid, leader->group, leader->foreground,
		now_ms() + REVOKE_GRACE_MS };
}

/* The next such moment, -1: none. */
static long long doomed_kill_late(long long now)
{
	while (doomed_count && doomed[0].kill_at <= now) {
		doomed_kill(&doomed[0]);
		memmove(&doomed[0], &doomed[1], --doomed_count * sizeof *doomed);
	}
	return doomed_count ? doomed[0].kill_at : -1;
}

/*
 * Ends what a connection consists of. Its sshd is told first: it would else still say to its client how the command ended. Then
 * comes what a terminal does to its foreground when its line is cut, for commands that have none: each is the leader of
 * a session of its own, below the connection's sshd. What called setsid(2) itself hangs from one of these, not
 * from sshd, and lives.
 */
static void connection_end(pid_t sshd, int number)
{
	size_t count = 0;
	struct process *all = proc_is_ours() ? processes_read(&count) : NULL;

	/* The group, once it is there, is sshd's own parts; the sessions have called setsid(2). */
	if (kill(-sshd, number) < 0)
		kill(sshd, number);
	for (size_t i = 0; i < count; i++) {
		if (all[i].session != all[i].pid || all[i].pid == sshd)
			continue;
		for (size_t j = 0; j < count; j++) {
			if (all[j].pid != all[i].parent || all[j].group != sshd)
				continue;
			kill(-all[i].group, SIGHUP);
			kill(-all[i].group, SIGCONT);
			doomed_add(&all[i]);
		}
	}
	free(all);
}

/* TERM first: sshd tidies up and tells the bytes; it gets REVOKE_GRACE_MS for that. */
static void connection_end_by_revocation(struct connection *connection)
{
	if (connection->kill_at >= 0)
		return;
	connection->kill_at = now_ms() + REVOKE_GRACE_MS;
	revoked_count++;
	connection_end(connection->pid, SIGTERM);
}

/* Serial 0 is no certificate's: those who came by plain keys are not meant. */
static void connections_revoke(uint64_t serial)
{
	if (!serial)
		return;
	revoked[revoked_next] = serial;
	revoked_next = (revoked_next + 1) % MOST_REVOKED;
	revoked_known += revoked_known < MOST_REVOKED;
	for (size_t i = 0; i < connection_count; i++)
		if (connections[i].authenticated && connections[i].serial == serial)
			connection_end_by_revocation(&connections[i]);
}

/* KILL to those whose grace is over, with all that sshd consists of. The next such moment, -1: none. */
static long long connections_kill_late(long long now)
{
	long long next = doomed_kill_late(now);

	for (size_t i = 0; revoked_count && i < connection_count; i++) {
		struct connection *connection = &connections[i];

		if (connection->kill_at < 0)
			continue;
		if (connection->kill_at <= now) {
			connection_end(connection->pid, SIGKILL);
			connection->kill_at = now + REVOKE_GRACE_MS;
		}
		if (next < 0 || connection->kill_at < next)
			next = connection->kill_at;
	}
	return next;
}
