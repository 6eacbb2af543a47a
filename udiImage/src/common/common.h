/*
 * What init, session, watchdog and connector share. Everything here is small, static and free of
 * assumptions about the image: these programs run where no libc, shell or /etc can be relied on.
 */
#ifndef GANGWAY_COMMON_H
#define GANGWAY_COMMON_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifndef RUN_DIR
#define RUN_DIR "/run/gangway"
#endif
#ifndef TREE
#define TREE "/opt/udiImage"
#endif

/* Kernel signal numbers run from 1 to this one; musl's own NSIG and masks leave 32 to 34 out. */
#define LAST_SIGNAL 64

/*
 * The three below talk to the kernel directly: musl keeps signals 32 to 34 for itself, and 34 is what a
 * program linked with glibc calls SIGRTMIN.
 */
void signals_block_all(void);
void signals_unblock_all(void);
void signals_default(void);
/* A signalfd for every signal. */
int signals_descriptor(void);

/* Closes every descriptor from `lowest` up. */
void close_from(int lowest);
/* Makes sure that 0, 1 and 2 are open, so that nothing else can end up there. */
void fill_stdio(void);

/* One message on stderr, in one write: "PROGRAM: TEXT\n". */
void say(const char *program, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Writes all of it; -1 and errno when that is not possible. */
int write_all(int fd, const void *data, size_t length);

/* Connects to a unix socket, whatever the length of its path (sun_path holds 107 bytes). */
int unix_connect(const char *path);
/* The same with SOCK_NONBLOCK as flags: EAGAIN when nobody has taken the connections before this one yet. */
int unix_connect_as(const char *path, int flags);

/* Milliseconds of a clock that nobody sets. */
long long now_ms(void);

/* A whole number in [least, most], nothing before or after it; -1 when it is not one. */
long long parse_number(const char *text, long long least, long long most);
/* The same for what needs all of 64 bits, without leading zeros; 0 when it is one, else -1. */
int parse_unsigned(const char *text, uint64_t *number);

#endif
