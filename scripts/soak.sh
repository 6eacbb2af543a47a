#!/bin/bash
# What takes long: 1 GiB transfers, hundreds of launches, OpenSSH's own regression tests against our build.
set -eu
cd "$(dirname "$0")/.."
scripts/setup.sh test
trap 'test/rig/engines.sh down' EXIT
test/rig/engines.sh up
images/build.sh
images/load.sh
eval "$(test/rig/engines.sh env)"
export GANGWAY_TEST_INSTALL=$GANGWAY_TEST_RIG/install
scripts/install.sh "$GANGWAY_TEST_INSTALL"
npx vitest run --project soak
udiImage/regress.sh
