/*
 * inject: on which mount a file is, by the kernel's number of it. Unlike the number of the device it tells apart two places
 * of one file system, so nobody can lead us from one to the other by a bind mount.
 */

/* Our own /proc/PID/fdinfo, from before we see another container's root. */
static int mount_numbers = -1;

static void open_mount_numbers(void)
{
	mount_numbers = open("/proc/self/fdinfo", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* -1 where it cannot be told; statx(2) has it too, but not in kernels that are still in use. */
static long long mount_of(int fd)
{
	char name[16], text[512];
	long long mount = -1;

	snprintf(name, sizeof name, "%d", fd);
	int info = openat(mount_numbers, name, O_RDONLY | O_CLOEXEC);
	ssize_t length = info < 0 ? -1 : read(info, text, sizeof text - 1);

	if (info >= 0)
		close(info);
	if (length <= 0)
		return -1;
	text[length] = 0;
	const char *line = strstr(text, "\nmnt_id:");

	return line && sscanf(line, "\nmnt_id: %lld", &mount) == 1 ? mount : -1;
}
