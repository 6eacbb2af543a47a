/*
 * session: the shells that the client asks for, in order (`-shells` of condor_ssh_to_job). It names them in a variable of
 * the session; the first that is there, and can be executed, stands for the account's.
 */
#define ASKED_SHELLS "_CONDOR_SHELLS"

static int is_program(const char *path)
{
	struct stat facts;

	return *path == '/' && stat(path, &facts) == 0 && S_ISREG(facts.st_mode) && access(path, X_OK) == 0;
}

/* NULL: none was asked for, or none of them is there. The variable is taken away: it is for us alone. */
static const char *take_asked_shell(void)
{
	const char *value = getenv(ASKED_SHELLS);
	char *list = value ? strdup(value) : NULL;

	unsetenv(ASKED_SHELLS);
	if (!list)
		return NULL;
	for (char *rest = list, *shell; (shell = strsep(&rest, ","));)
		if (is_program(shell))
			return shell;
	free(list);
	return NULL;
}

/* The variables with this shell as SHELL. */
static char **with_shell(char **variables, const char *shell)
{
	size_t count = 0, length = strlen("SHELL=") + strlen(shell) + 1;

	while (variables[count])
		count++;
	char **changed = malloc((count + 2) * sizeof *changed), **next = changed;
	char *variable = malloc(length);

	if (!changed || !variable)
		return variables;
	snprintf(variable, length, "SHELL=%s", shell);
	for (char **old = variables; *old; old++)
		if (!same_name(*old, variable))
			*next++ = *old;
	*next++ = variable;
	*next = NULL;
	return changed;
}
