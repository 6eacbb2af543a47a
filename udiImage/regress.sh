#!/bin/bash
# OpenSSH's own regression suite against the programs of the finished tree, as an ordinary user (as they run in a
# job) and as the suite would run on a host without Gangway: without the session entry all is stock. Needs root
# to become that user. Takes about a quarter of an hour.
#
#   regress.sh [TEST...]     only these (names as in regress/Makefile: connect, multiplex, …)
#
# A test that fails although it is not in EXPECTED below, and one that passes although it is, fails the run.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
OUT=${OUT:-$(dirname "$HERE")/build/udiImage}
WORK=${WORK:-$OUT-work}
ACCOUNT=gangway-regress
ACCOUNT_UID=42431

# What cannot pass, and why.
declare -A EXPECTED=(
)

if [ "${1-}" != --inside ]; then
	[ "$(id -u)" = 0 ] || { echo "regress: needs root" >&2; exit 2; }
	exec unshare --mount --pid --fork --kill-child --mount-proc --propagation private \
	    bash "$HERE/regress.sh" --inside "$@"
fi
shift
export OUT WORK

build=$WORK/regress
key=$(sha256sum "$OUT/manifest.json" | cut -c1-64)
if [ "$(cat "$build/key" 2>/dev/null)" != "$key" ]; then
	echo "regress: building the test programs"
	rm -rf "$build"
	mkdir -p "$build"
	bash "$HERE/build.sh" --regress "$build" >"$WORK/regress.log" 2>&1 || {
		tail -n 30 "$WORK/regress.log" >&2
		exit 1
	}
	echo "$key" >"$build/key"
fi

# The scene: an account, a home in memory, the build where that account may write.
scene=$(mktemp -d)
chmod 755 "$scene"
mount -t tmpfs -o mode=755 scene "$scene"
cp -a "$build/source" "$scene/source"
mkdir -m 700 "$scene/home"
chown -R $ACCOUNT_UID:$ACCOUNT_UID "$scene/source" "$scene/home"
# All of /etc: a file mounted over /etc/passwd would vanish when somebody adds an account to the machine.
cp -a /etc "$scene/etc"
echo "$ACCOUNT:x:$ACCOUNT_UID:$ACCOUNT_UID::$scene/home:/bin/bash" >>"$scene/etc/passwd"
echo "$ACCOUNT:x:$ACCOUNT_UID:" >>"$scene/etc/group"
mount --bind "$scene/etc" /etc

# The suite knows its directory by its absolute name.
mount --bind "$scene/source" "$build/source"
cd "$build/source"
if [ $# = 0 ]; then
	set -- file-tests $(make -s -f - print <<'X'
include regress/Makefile
print: ; @echo $(LTESTS)
X
	)
fi
passed=0 failed=0 skipped=0
for t in "$@"; do
	rc=0
	target=(t-exec "LTESTS=$t")
	[ "$t" != file-tests ] || target=(file-tests)
	setpriv --reuid $ACCOUNT_UID --regid $ACCOUNT_UID --clear-groups --no-new-privs --inh-caps=-all \
	    env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME="$scene/home" USER=$ACCOUNT LOGNAME=$ACCOUNT \
	    SHELL=/bin/bash TEST_SSH_UNSAFE_PERMISSIONS=1 \
	    timeout 600 make -s SK_DUMMY_LIBRARY= "${target[@]}" >"$scene/out" 2>&1 </dev/null || rc=$?
	if [ $rc = 0 ] && [ -n "${EXPECTED[$t]-}" ]; then
		echo "FAIL $t: passes, but is expected not to: ${EXPECTED[$t]}"
		failed=$((failed + 1))
	elif [ $rc = 0 ] && grep -qi '^skipped\|^SKIPPED' "$scene/out"; then
		echo "skip $t: $(grep -i '^skipped' "$scene/out" | head -n 1)"
		skipped=$((skipped + 1))
	elif [ $rc = 0 ]; then
		echo "ok   $t"
		passed=$((passed + 1))
	elif [ -n "${EXPECTED[$t]-}" ]; then
		echo "ok   $t (fails as expected: ${EXPECTED[$t]})"
		passed=$((passed + 1))
	else
		echo "FAIL $t"
		tail -n 12 "$scene/out" | cut -c1-300 | sed 's/^/     /'
		failed=$((failed + 1))
	fi
done
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
