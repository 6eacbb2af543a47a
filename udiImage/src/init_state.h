/*
 * init: what its parts share. init is one program in one compilation unit; the init_*.h files are its
 * chapters, each included once, by init.c.
 */
#ifndef GANGWAY_INIT_STATE_H
#define GANGWAY_INIT_STATE_H

#include "common/common.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SSHD_PATH
#define SSHD_PATH TREE "/sbin/sshd"
#endif
#ifndef TOOLS_SHELL
#define TOOLS_SHELL TREE "/tools/sh"
#endif

#define EXIT_OURS 125		/* the end of init's own failures, as docker-run(1) has it */
#define LINGER_NONE 0
#define LINGER_SESSIONS (-1)	/* for as long as a session is open */

extern char **environ;

static struct {
	const char *run_dir;
	const char *listen;	/* this address only; NULL: every one */
	char **command;		/* NULL with --hold */
	long long port;
	long long prefer_port;	/* where it can be had, else port; 0: none */
	long long linger;	/* LINGER_… or milliseconds */
	long long held_back;
	size_t max_connections, max_per_source;
	int launcher, hold, no_tcp, no_sshd, shared_terminal;
} options = { .run_dir = RUN_DIR, .max_connections = 4096, .max_per_source = 1024 };

static int run_dir = -1;	/* descriptor of the run directory */
static int signals = -1;	/* signalfd */
static int is_pid_one;

static struct {
	pid_t pid;		/* 0: not started, or ended and reaped */
	int begun, ended;
	int code;		/* exit code, 128+n for a signal */
	int killed_by;		/* that signal; 0: it exited */
	int exec_report;	/* pipe that tells how exec went; -1 when that is known */
} command = { .exec_report = -1 };

#endif
