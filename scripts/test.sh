#!/bin/bash
# All tests, against real engines, which are started here and stopped again whatever happens.
set -eu
cd "$(dirname "$0")/.."
scripts/setup.sh test
make --no-print-directory check
trap 'test/rig/engines.sh down' EXIT
test/rig/engines.sh up
images/build.sh
images/load.sh
eval "$(test/rig/engines.sh env)"
# Where every account can read it: a clone may lie in somebody's home.
export GANGWAY_TEST_INSTALL=$GANGWAY_TEST_RIG/install
scripts/install.sh "$GANGWAY_TEST_INSTALL"
npx vitest run --project siblings --project engine --project job
