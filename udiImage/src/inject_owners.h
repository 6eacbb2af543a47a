/*
 * inject owners: a part of inject.c. Podman's archive says of every path that the container's own user has it. Whose it
 * really is the kernel tells root of a container beside, as in inject_carry.h; a line for each path, which is no link's end.
 */
static int owners(char *const *paths)
{
	if (enter_target() < 0)
		return FAILED;
	for (; *paths; paths++) {
		char line[64] = "none\n";
		struct stat facts;

		if (lstat(*paths, &facts) == 0)
			snprintf(line, sizeof line, "%s %u %o\n", S_ISDIR(facts.st_mode) ? "directory" : "other",
			    (unsigned)facts.st_uid, (unsigned)facts.st_mode & 07777);
		if (write_all(1, line, strlen(line)) < 0)
			return FAILED;
	}
	return 0;
}
