"""Runs a program on a terminal of its own and talks with it, as a person would.

One argument, JSON: {"argv": […], "rows": N, "columns": N, "steps": [STEP…], "seconds": N}. A STEP is one of
  {"expect": REGEX}     wait until the program has printed it, behind what was expected last; lines end with LF
  {"send": TEXT}        type it
  {"resize": [ROWS, COLUMNS]}
  {"pause": SECONDS}
The answer on standard output, JSON: {"code": its exit code, 128+n for a signal, "output": all it has printed,
"missing": the REGEX that did not come}.
"""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

task = json.loads(sys.argv[1])
output = ""
plain = ""
position = 0


def resize(rows, columns):
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def read(seconds):
    """What has been printed meanwhile; False at the end."""
    global output, plain
    if not select.select([master], [], [], max(0, seconds))[0]:
        return True
    try:
        piece = os.read(master, 65536)
    except OSError:
        return False
    text = piece.decode("utf-8", "replace")
    output += text
    plain += text.replace("\r", "")
    return piece != b""


def expect(pattern, until):
    global position
    going = True
    while True:
        found = re.compile(pattern, re.M).search(plain, position)
        if found:
            position = found.end()
            return True
        if not going or time.monotonic() > until:
            return False
        going = read(until - time.monotonic())


# The size is there before the program is: it waits for a word.
gate, opener = os.pipe()
pid, master = pty.fork()
if pid == 0:
    os.close(opener)
    os.read(gate, 1)
    os.close(gate)
    try:
        os.execvp(task["argv"][0], task["argv"])
    finally:
        os._exit(127)
resize(task["rows"], task["columns"])
os.write(opener, b"x")

missing = None
until = time.monotonic() + task["seconds"]
for step in task["steps"]:
    if "expect" in step and not expect(step["expect"], until):
        missing = step["expect"]
        break
    if "send" in step:
        os.write(master, step["send"].encode())
    if "resize" in step:
        resize(*step["resize"])
    if "pause" in step:
        time.sleep(step["pause"])
while missing is None and time.monotonic() < until and read(until - time.monotonic()):
    pass
# At the end of its terminal's output it has ended, or will at once.
status = 0
ended = 0
while ended == 0 and missing is None and time.monotonic() < until:
    ended, status = os.waitpid(pid, os.WNOHANG)
    time.sleep(0.01)
if ended == 0:
    missing = missing or "the program's end"
    os.kill(pid, signal.SIGKILL)
    os.close(master)
    ended, status = os.waitpid(pid, 0)
code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
print(json.dumps({"code": code, "output": output, "missing": missing}))
