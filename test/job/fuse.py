"""
fuse.py MOUNTPOINT UID GID DIRECTORY COMMAND PID: shows DIRECTORY at MOUNTPOINT by sshfs as that user's own FUSE mount, which
nobody else may enter, root neither (no allow_root), and in the mount namespace of process PID as well. Runs until it is ended.

Mounted by root, as where /dev/fuse is open to users fusermount does it; that is not so on every machine. COMMAND starts an
SFTP server on its standard streams.
"""
import ctypes
import os
import sys

MS_NOSUID, MS_NODEV = 2, 4
AT_FDCWD, OPEN_TREE, MOVE_MOUNT, OPEN_TREE_CLONE, MOVE_MOUNT_F_EMPTY_PATH = -100, 428, 429, 1, 4

point, uid, gid, directory, command, pid = sys.argv[1:7]
libc = ctypes.CDLL(None, use_errno=True)


def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


device = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={device},rootmode=40000,user_id={uid},group_id={gid}"
checked(libc.mount(b"gangway-test", point.encode(), b"fuse.sshfs", MS_NOSUID | MS_NODEV, options.encode()))
tree = checked(libc.syscall(OPEN_TREE, AT_FDCWD, point.encode(), OPEN_TREE_CLONE))
other = os.fork()
if other == 0:
    namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
    checked(libc.setns(namespace, 0))
    checked(libc.syscall(MOVE_MOUNT, tree, b"", AT_FDCWD, point.encode(), MOVE_MOUNT_F_EMPTY_PATH))
    os._exit(0)
if os.waitpid(other, 0)[1] != 0:
    sys.exit("the other namespace does not have it")
os.close(tree)
os.set_inheritable(device, True)
user = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--"]
os.execvp("setpriv", [*user, "sshfs", "-f", "-o", f"ssh_command={command}", f"host:{directory}", f"/dev/fd/{device}"])
