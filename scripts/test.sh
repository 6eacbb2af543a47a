#!/bin/bash
# All tests, against real engines, which are started here and stopped again whatever happens.
set -eu
cd "$(dirname "$0")/.."
scripts/setup.sh test
mkdir -p build/tests
rm -f build/tests/*.json
make --no-print-directory check VITEST_FLAGS="--reporter=default --reporter=json --outputFile.json=build/tests/unit.json"
trap 'test/rig/engines.sh down' EXIT
test/rig/engines.sh up
images/build.sh
images/load.sh
eval "$(test/rig/engines.sh env)"
# Where every account can read it: a clone may lie in somebody's home.
export GANGWAY_TEST_INSTALL=$GANGWAY_TEST_RIG/install
scripts/install.sh "$GANGWAY_TEST_INSTALL"
result=0
npx vitest run --project siblings --project engine --project job --project reach \
  --reporter=default --reporter=json --outputFile.json=build/tests/engines.json || result=$?
node scripts/count-tests.mjs build/tests/*.json || result=1
exit $result
