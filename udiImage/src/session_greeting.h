/*
 * session: what a person at a terminal is told, and what tells programs of the job.
 */

/* A value for a terminal: what is not printable ASCII could command the terminal. */
static void append_printable(char *line, size_t size, const char *text)
{
	size_t length = strlen(line);

	for (; *text && length + 1 < size; text++)
		line[length++] = *text >= ' ' && *text < 0x7f ? *text : '?';
	line[length] = 0;
}

static int hushed(const char *home)
{
	char path[4096];

	if (!home || *home != '/' || snprintf(path, sizeof path, "%s/.hushlogin", home) >= (int)sizeof path)
		return 0;
	return access(path, F_OK) == 0;
}

/* At most JOB_PIDS_MAX numbers with a blank between them. */
static void print_pids(char text[JOB_PIDS_MAX * 12], const pid_t *pids, size_t count)
{
	size_t length = 0;

	*text = 0;
	for (size_t i = 0; i < count; i++)
		length += (size_t)sprintf(text + length, i ? " %d" : "%d", (int)pids[i]);
}

/* In one write, so that nothing of the job's that is on this terminal gets between. */
static void welcome(const char *node, const char *job, const char *pids)
{
	char text[2048] = "Welcome to ";

	if (node && *node) {
		append_printable(text, 300, node);
		strcat(text, " of ");
	}
	strcat(text, "job ");
	append_printable(text, 600, job);
	strcat(text, "!\n");
	if (*pids)
		snprintf(text + strlen(text), sizeof text - strlen(text), "The job's command runs with pid(s) %s.\n", pids);
	write_all(1, text, strlen(text));
}
