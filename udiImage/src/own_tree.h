/*
 * Where the tree lies that this program is of: /opt/udiImage, or, in a container whose root is read-only, a directory
 * in memory (inject_carry.h). The kernel's path of the program tells it; nothing that anybody could have set does.
 */
#ifndef GANGWAY_OWN_TREE_H
#define GANGWAY_OWN_TREE_H

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Room for the path of the tree, and for that of something in it. */
#define TREE_ROOM 256
#define PATH_ROOM (TREE_ROOM + 64)

static char own_tree[TREE_ROOM] = TREE;

/* `tail`: the program's own path in the tree. -1 where /proc says something else: then the tree's place is the usual one. */
static int find_own_tree(const char *tail)
{
	char path[PATH_ROOM];
	ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
	ssize_t prefix = length - (ssize_t)strlen(tail);

	if (prefix <= 0 || prefix >= TREE_ROOM || *path != '/')
		return -1;
	path[length] = 0;
	if (strcmp(path + prefix, tail) != 0)
		return -1;
	path[prefix] = 0;
	strcpy(own_tree, path);
	return 0;
}

/* The path of `name` (with a slash in front) in the tree, in `path`, which has PATH_ROOM bytes. */
static char *in_tree(char *path, const char *name)
{
	snprintf(path, PATH_ROOM, "%s%s", own_tree, name);
	return path;
}

#endif
