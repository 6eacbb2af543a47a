/* inject session, and the session entry: which shell the container's own /etc/passwd has for who we are. */

/* Who has one of these shall not log in to a machine; the engine lets anybody start a program in a container. */
static int refuses_logins(const char *shell)
{
	const char *base = strrchr(shell, '/');

	return base && (strcmp(base, "/nologin") == 0 || strcmp(base, "/false") == 0);
}

/* The shell of the first line of our uid, if it is a path that can stand in an environment; else /bin/sh. */
static const char *account_shell(void)
{
	static char shell[4096];
	char line[8192];
	FILE *file = fopen("/etc/passwd", "re");

	strcpy(shell, "/bin/sh");
	while (file && fgets(line, sizeof line, file)) {
		char *field[7], *rest = line;
		int count = 0;

		line[strcspn(line, "\n")] = 0;
		while (count < 7 && rest)
			field[count++] = strsep(&rest, ":");
		if (count < 7 || rest || parse_number(field[2], 0, 0xfffffffell) != (long long)getuid())
			continue;
		if (*field[6] == '/' && !refuses_logins(field[6]) && strlen(field[6]) < sizeof shell)
			strcpy(shell, field[6]);
		break;
	}
	if (file)
		fclose(file);
	return shell;
}
