#!/bin/bash
# The main job, end to end: three virtual nodes on an engine that is started for it and stopped after it.
set -eu
cd "$(dirname "$0")/.."
scripts/setup.sh engine
here=$PWD
trap '"$here/test/rig/engines.sh" down >/dev/null' EXIT
echo "demo: starting a container engine of our own, and making an image (a minute, the first time)"
test/rig/engines.sh up docker >/dev/null
images/build.sh debian >/dev/null
images/load.sh docker debian >/dev/null
eval "$(test/rig/engines.sh env)"
install=$GANGWAY_TEST_RIG/install
scripts/install.sh "$install"

# The job belongs to an ordinary user, who has the script in a directory of his own.
work=$(mktemp -d /tmp/gangway-demo.XXXXXX)
trap 'cd /; rm -rf "$work"; "$here/test/rig/engines.sh" down >/dev/null' EXIT
cp scripts/demo/job.sh "$work/"
chmod 755 "$work" "$work/job.sh"
chown -R "$GANGWAY_TEST_USER:" "$work"

command=(gangway run --image gangway-test/debian --nodes 3 --env GREETING=hello -- ./job.sh)
printf '\ndemo: as user %s:\n\n  $ %s\n' "$GANGWAY_TEST_USER" "${command[*]}"
cd "$work"
setpriv --reuid="$GANGWAY_TEST_UID" --regid="$GANGWAY_TEST_GID" --init-groups --inh-caps=-all -- \
  env -i PATH="$install/bin:$PATH" HOME="$GANGWAY_TEST_HOME" USER="$GANGWAY_TEST_USER" TERM="${TERM:-dumb}" \
  DOCKER_HOST="$GANGWAY_TEST_DOCKER" "${command[@]}" < /dev/null
printf '\ndemo: the job is over; what is left of it on the engine: '
left=$(DOCKER_HOST="$GANGWAY_TEST_DOCKER" docker ps -aq --filter label=gangway.job | wc -l)
[ "$left" = 0 ] && echo "nothing" || { echo "$left containers"; exit 1; }
