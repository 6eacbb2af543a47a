#!/bin/bash
# Builds the tree mounted at /opt/udiImage. See docs/internals.md, section 2, and README.md here.
#
# Environment: OUT (the finished tree), WORK (everything on the way there), GANGWAY_SOURCES (a directory with
# the source tarballs), GANGWAY_UPSTREAM=1 (also ask the upstream homes' download areas), GANGWAY_CACHE (a
# directory kept between checkouts, default ~/.cache/gangway; "none": no cache).
#
# Every component is built in a directory named by the hash of all that goes into it and gets its name only
# when it is complete: what carries the name is good, and an interrupted build leaves nothing that could be
# taken for good.
set -euo pipefail
export LC_ALL=C TZ=UTC SOURCE_DATE_EPOCH=1700000000 KCONFIG_NOTIMESTAMP=1
umask 022
unset CFLAGS CXXFLAGS CPPFLAGS LDFLAGS LIBS CC MAKEFLAGS MFLAGS MAKELEVEL CDPATH OPENSSL_CONF

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
OUT=${OUT:-$(dirname "$HERE")/build/udiImage}
WORK=${WORK:-$OUT-work}
case $OUT$WORK in *[[:space:]]*) echo "udiImage: OUT and WORK must not contain blanks" >&2; exit 2;; esac
PREFIX=/opt/udiImage
JOBS=${JOBS:-$(nproc)}
ARCH=$(uname -m)
CACHE=${GANGWAY_CACHE-${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/gangway}
case $CACHE in none|'') CACHE= ;; *) CACHE=$CACHE/udiImage ;; esac

mkdir -p "$WORK"
WORK=$(cd "$WORK" && pwd)
mkdir -p "$(dirname "$OUT")"
OUT=$(cd "$(dirname "$OUT")" && pwd)/$(basename "$OUT")

. "$HERE/scripts/lib.sh"
. "$HERE/scripts/sources.sh"
. "$HERE/scripts/components.sh"
. "$HERE/scripts/tree.sh"

compute_keys
case ${1-} in
--chain) # components one after the other: a process of its own, see below
	shift
	for name in "$@"; do component "$name"; done
	exit 0
	;;
--one) # the build of one component, its output going to a log
	build_one "$2" "$3"
	exit 0
	;;
--regress) # for regress.sh: a build with the suite's helpers, and the finished tree's programs in it
	fetch openssh
	component openssl
	component zlib
	unpack openssh "$2/source"
	cd "$2/source"
	regress_openssh "$OUT"
	exit 0
	;;
esac

# Two builds at once would only get in each other's way.
exec 9>"$WORK/lock"
flock 9
if tree_is_current; then
	say "up to date: $OUT"
	exit 0
fi
"$HERE/check-prerequisites.sh"
started=$(date +%s)

# configure of OpenSSH uses one core and takes as long as all the rest: the others are built beside it. Each
# chain has a process group of its own, so that ^C ends all of it (a shell's background jobs ignore it).
export OUT WORK
pids=
trap 'for p in $pids; do kill -TERM -- "-$p" 2>/dev/null || true; done' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
setsid bash "$HERE/build.sh" --chain openssh & pids="$pids $!"
setsid bash "$HERE/build.sh" --chain siblings busybox rsync & pids="$pids $!"
failed=0
for p in $pids; do wait "$p" || failed=1; done
pids=
[ $failed = 0 ] || exit 1

assemble_tree
remove_old_work
say "done in $(( $(date +%s) - started )) s: $OUT ($(du -sk "$OUT" | cut -f1) kB)"
