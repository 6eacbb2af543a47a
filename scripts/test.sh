#!/bin/bash
# All tests, against real engines, which are started here and stopped again whatever happens.
set -eu
cd "$(dirname "$0")/.."
scripts/setup.sh test
mkdir -p build/tests
rm -f build/tests/*.json
make --no-print-directory check VITEST_FLAGS="--reporter=default --reporter=json --outputFile.json=build/tests/unit.json"
. scripts/test-engines.sh
result=0
trap 'test/rig/cluster.sh down; test/rig/engines.sh down' EXIT
test/rig/cluster.sh up
eval "$(test/rig/cluster.sh env)"
npx vitest run --project root --project oracle --project siblings --project engine --project job --project reach --project cluster \
  --reporter=default --reporter=json --outputFile.json=build/tests/engines.json || result=$?
node scripts/count-tests.mjs build/tests/*.json || result=1
exit $result
