#!/bin/bash
# bench.sh [MEASUREMENT…] - measures Gangway against its peers: a table, and build/bench.json.
# Measurements: launch three srun carrier condor hop bulk reach copy help inject rendezvous crowd unfold names memory size; all by default. Best on a machine that does nothing else.
set -eu
cd "$(dirname "$0")/.."
scripts/setup.sh test
eval "$(test/rig/engines.sh env)"
export GANGWAY_TEST_INSTALL=$GANGWAY_TEST_RIG/install-bench
engine=
cluster=
condor=
bench=
reachable=$(grep -qsF '>>> gangway >>>' "$GANGWAY_TEST_HOME/.ssh/config" && echo before || true)

gangway_as_user() {
  setpriv --reuid="$GANGWAY_TEST_UID" --regid="$GANGWAY_TEST_GID" --init-groups -- env -i -C / PATH=/usr/bin:/bin \
    HOME="$GANGWAY_TEST_HOME" USER="$GANGWAY_TEST_USER" XDG_RUNTIME_DIR="$GANGWAY_TEST_XDG_RUNTIME_DIR" DOCKER_HOST="$GANGWAY_TEST_DOCKER" \
    "$GANGWAY_TEST_INSTALL/bin/gangway" "$@"
}

# What a measurement that was cut short could not put back; else there is nothing.
clear_bench() {
  kill "$bench" 2>/dev/null && wait "$bench"
  gangway_as_user ps --quiet | grep -qx "bench-$bench" && gangway_as_user stop --grace 0 "bench-$bench"
  [ "$reachable" = before ] || gangway_as_user ssh-config --uninstall >/dev/null
  docker -H "$GANGWAY_TEST_DOCKER" rm -f "gangway-bench-$bench" >/dev/null 2>&1
  rm -rf "/dev/shm/gangway-bench-$bench-"* "$GANGWAY_TEST_HOME/gangway-bench-$bench-"*
}

finish() {
  trap '' INT TERM HUP
  [ -z "$bench" ] || clear_bench || true
  rm -rf "$GANGWAY_TEST_INSTALL"
  [ -z "$cluster" ] || test/rig/cluster.sh down
  [ -z "$condor" ] || test/rig/condor.sh down
  [ -z "$engine" ] || test/rig/engines.sh down
}
trap finish EXIT
trap "exit 130" INT
trap "exit 143" TERM HUP
if ! docker -H "$GANGWAY_TEST_DOCKER" version >/dev/null 2>&1; then
  engine=ours
  test/rig/engines.sh up docker
  eval "$(test/rig/engines.sh env)"
fi
images/load.sh docker bare
case " ${*:-srun} " in
  *" srun "* | *" carrier "*)
    if ! test/rig/cluster.sh status >/dev/null; then
      cluster=ours
      test/rig/cluster.sh up
    fi
    eval "$(test/rig/cluster.sh env)"
    for host in n1 n2 n3; do images/load.sh "$(test/rig/cluster.sh engine "$host")" bare; done
    ;;
esac
case " ${*:-condor} " in
  *" condor "*)
    # The pool's machine has the rig's installation.
    scripts/install.sh "$GANGWAY_TEST_RIG/install"
    condor=ours
    test/rig/condor.sh up
    export GANGWAY_CONDOR=$PWD/test/rig/condor.sh GANGWAY_CONDOR_WRAPPER=$PWD/examples/htcondor/wrapper
    ;;
esac
scripts/install.sh "$GANGWAY_TEST_INSTALL"
mkdir -p build/bench
musl-gcc -std=c11 -D_GNU_SOURCE -O2 -static -s -Wall -Wextra -o build/bench/rounds bench/rounds.c
npx esbuild bench/main.ts bench/rendezvous-nodes.ts bench/tls-accept.ts --bundle --platform=node --format=esm --target=node20 --log-level=warning \
  --outdir=build/bench --out-extension:.js=.mjs
npx esbuild bench/unfold.ts --bundle --platform=node --format=cjs --target=node20 --log-level=warning --outfile=build/bench/unfold.cjs
# Behind us, since bash heeds a signal only when what runs in front of it has ended.
node build/bench/main.mjs build/bench.json build/bench "$@" &
bench=$!
wait "$bench"
