/*
 * inject: Gangway's one program of its own in a container that somebody else started (docs/internals.md, section 12).
 * The engine starts it there by an exec stream, in one of two ways:
 *
 *   inject session AUTHORITY    one ssh connection over stdin and stdout, for who has a certificate of AUTHORITY
 *   inject withdraw [--force]   takes the whole tree out again, and leaves the directory above as it was
 *
 * or, where the engine's archive cannot put the tree in, in a container of its own beside it (inject_carry.h):
 *
 *   inject carry [MOUNT…]           puts the tree, which lies in that container of ours, into memory of the other one,
 *                                   but not where the engine has mounted something, by the client's word
 *   inject fetch [--force] [MOUNT…] takes it out of there again
 *   inject owners PATH…             tells whose paths of the other one are (inject_owners.h)
 *
 * `session` runs as the container's own user. The host key is born here and lies in memory that no path leads to but
 * this process's own /proc, as everything else that sshd reads: no file is made, whatever ends us.
 */
#include "common/common.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "own_tree.h"

#define PROGRAM "gangway-inject"
#define SELF "/libexec/inject"

/* Exit statuses that the client tells apart (src/job/inject.ts). */
#define FAILED 125
#define BUSY 75

#include "inject_mount.h"
#include "inject_session.h"
#include "inject_withdraw.h"
#include "inject_carry.h"
#include "inject_owners.h"

int main(int argc, char **argv)
{
	fill_stdio();
	close_from(3);
	find_own_tree(SELF);
	open_mount_numbers();
	const char *what = argc > 1 ? argv[1] : "";
	int force = argc >= 3 && strcmp(argv[2], "--force") == 0;

	if (argc == 3 && strcmp(what, "session") == 0)
		return serve(argv[2]);
	if ((argc == 2 || (argc == 3 && force)) && strcmp(what, "withdraw") == 0)
		return withdraw(force);
	if (strcmp(what, "carry") == 0)
		return carry(argv + 2);
	if (strcmp(what, "fetch") == 0)
		return fetch(force, argv + 2 + force);
	if (strcmp(what, "owners") == 0)
		return owners(argv + 2);
	say(PROGRAM, "usage: inject session AUTHORITY | withdraw [--force] | carry [MOUNT…] | fetch [--force] [MOUNT…] | owners PATH…");
	return FAILED;
}
