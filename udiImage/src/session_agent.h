/*
 * session: one name for the agents of all sessions. What was started with it (an editor's server, tmux) finds an
 * agent as long as any session with one is there.
 */
#include <sys/socket.h>

#define AGENTS RUN_DIR "/agents/"
#define AGENT_LINK RUN_DIR "/agent.sock"

/* Is it a socket that our sshd made? The client can set the variable, too. */
static int is_forwarded_agent(const char *path)
{
	struct stat facts;

	if (strncmp(path, AGENTS, strlen(AGENTS)) != 0 || strchr(path + strlen(AGENTS), '/'))
		return 0;
	return lstat(path, &facts) == 0 && S_ISSOCK(facts.st_mode) && facts.st_uid == geteuid();
}

/*
 * Lets the link point to this session's agent, so that whoever asks meanwhile finds either the old or the new one.
 * SSH_AUTH_SOCK stays sshd's own where that cannot be done.
 */
static void use_stable_agent(void)
{
	const char *agent = getenv("SSH_AUTH_SOCK");
	char fresh[sizeof AGENT_LINK + 16];

	if (!agent || !is_forwarded_agent(agent))
		return;
	/* No other living process has this name. */
	snprintf(fresh, sizeof fresh, "%s.%d", AGENT_LINK, (int)getpid());
	unlink(fresh);
	/* Relative: the same from outside of the container. */
	if (symlink(agent + strlen(RUN_DIR "/"), fresh) < 0)
		return;
	if (rename(fresh, AGENT_LINK) < 0) {
		unlink(fresh);
		return;
	}
	setenv("SSH_AUTH_SOCK", AGENT_LINK, 1);
}
