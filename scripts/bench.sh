#!/bin/bash
# bench.sh [MEASUREMENT…] - measures Gangway against its peers: a table, and build/bench.json.
# Measurements: launch three hop bulk reach copy help crowd memory size; all by default. Best on a machine that does nothing else.
set -eu
cd "$(dirname "$0")/.."
scripts/setup.sh test
eval "$(test/rig/engines.sh env)"
export GANGWAY_TEST_INSTALL=$GANGWAY_TEST_RIG/install-bench
engine=
finish() {
  rm -rf "$GANGWAY_TEST_INSTALL"
  [ -z "$engine" ] || test/rig/engines.sh down
}
trap finish EXIT
if ! docker -H "$GANGWAY_TEST_DOCKER" version >/dev/null 2>&1; then
  engine=ours
  test/rig/engines.sh up docker
  eval "$(test/rig/engines.sh env)"
fi
images/load.sh docker bare
scripts/install.sh "$GANGWAY_TEST_INSTALL"
mkdir -p build/bench
musl-gcc -std=c11 -D_GNU_SOURCE -O2 -static -s -Wall -Wextra -o build/bench/rounds bench/rounds.c
npx esbuild bench/main.ts --bundle --platform=node --format=esm --target=node20 --log-level=warning --outfile=build/bench/main.mjs
node build/bench/main.mjs build/bench.json build/bench/rounds "$@"
