#include "common/common.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static void set_mask(uint64_t mask)
{
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof mask);
}

void signals_block_all(void)
{
	set_mask(~(uint64_t)0);
}

void signals_unblock_all(void)
{
	set_mask(0);
}

void signals_default(void)
{
	/* The kernel's struct sigaction, whatever its layout on this machine: all zero is SIG_DFL, no flags. */
	static const char kernel_default[64] __attribute__((aligned(16)));

	for (int number = 1; number <= LAST_SIGNAL; number++)
		syscall(SYS_rt_sigaction, number, kernel_default, NULL, sizeof(uint64_t));
}

int signals_descriptor(void)
{
	uint64_t mask = ~(uint64_t)0;

	/* O_CLOEXEC and O_NONBLOCK are SFD_CLOEXEC and SFD_NONBLOCK by definition. */
	return (int)syscall(SYS_signalfd4, -1, &mask, sizeof mask, O_CLOEXEC | O_NONBLOCK);
}

/* For kernels before 5.9: the table as /proc shows it, or every number there may be. */
static void close_from_slowly(int lowest)
{
	DIR *list = opendir("/proc/self/fd");

	if (list) {
		struct dirent *entry;

		while ((entry = readdir(list))) {
			int fd = (int)parse_number(entry->d_name, 0, INT_MAX);

			if (fd >= lowest && fd != dirfd(list))
				close(fd);
		}
		closedir(list);
		return;
	}
	struct rlimit limit = { 1024, 1024 };

	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_max == RLIM_INFINITY || limit.rlim_max > 1 << 20)
		limit.rlim_max = 1 << 20;
	for (int fd = lowest; fd < (int)limit.rlim_max; fd++)
		close(fd);
}

void close_from(int lowest)
{
#ifdef SYS_close_range
	if (syscall(SYS_close_range, lowest, ~0U, 0) == 0)
		return;
#endif
	close_from_slowly(lowest);
}

void fill_stdio(void)
{
	for (int fd = 0; fd <= 2; fd++) {
		if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF)
			continue;
		if (open("/dev/null", O_RDWR) < 0 && open("/", O_PATH | O_DIRECTORY) < 0)
			return;
	}
}

void say(const char *program, const char *format, ...)
{
	char line[1024];
	va_list values;
	int length = snprintf(line, sizeof line, "%s: ", program);

	va_start(values, format);
	int more = vsnprintf(line + length, sizeof line - (size_t)length, format, values);
	va_end(values);
	length += more < 0 ? 0 : more;
	if (length > (int)sizeof line - 1)
		length = sizeof line - 1;
	line[length++] = '\n';
	write_all(2, line, (size_t)length);
}

int write_all(int fd, const void *data, size_t length)
{
	const char *next = data;

	while (length) {
		ssize_t written = write(fd, next, length);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return -1;
		next += written;
		length -= (size_t)written;
	}
	return 0;
}

int unix_connect(const char *path)
{
	return unix_connect_as(path, 0);
}

int unix_connect_as(const char *path, int flags)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int handle = -1;

	if (strlen(path) < sizeof address.sun_path) {
		strcpy(address.sun_path, path);
	} else {
		/* proc(5): a descriptor made with O_PATH names the socket in a few bytes. */
		handle = open(path, O_PATH | O_CLOEXEC);
		if (handle < 0)
			return -1;
		snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d", handle);
	}
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
	int failed = 0;

	if (fd >= 0) {
		do
			failed = connect(fd, (struct sockaddr *)&address, sizeof address);
		while (failed && errno == EINTR);
	}
	int reason = errno;

	if (handle >= 0)
		close(handle);
	if (fd >= 0 && failed) {
		close(fd);
		fd = -1;
	}
	errno = reason;
	return fd;
}

long long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

long long parse_number(const char *text, long long least, long long most)
{
	char *rest;

	if (*text < '0' || *text > '9')
		return -1;
	errno = 0;
	long long number = strtoll(text, &rest, 10);
	if (errno || *rest || number < least || number > most)
		return -1;
	return number;
}

int parse_unsigned(const char *text, uint64_t *number)
{
	uint64_t value = 0;

	if (!*text || (*text == '0' && text[1]))
		return -1;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -1;
		uint64_t digit = (uint64_t)(*text - '0');

		if (value > (UINT64_MAX - digit) / 10)
			return -1;
		value = value * 10 + digit;
	}
	*number = value;
	return 0;
}
