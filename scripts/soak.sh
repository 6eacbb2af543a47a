#!/bin/bash
# What takes long: 1 GiB transfers, hundreds of launches, OpenSSH's own regression tests against our build.
set -eu
cd "$(dirname "$0")/.."
. scripts/test-engines.sh
trap 'test/rig/condor.sh down; test/rig/cluster.sh down; test/rig/engines.sh down' EXIT
test/rig/cluster.sh up podman
eval "$(test/rig/cluster.sh env)"
# What `make test` tries in part (test/whole.ts), with everything.
mapfile -t in_part < <(grep -lE '\b(inPart|WHOLE|DIFFERENT_ENGINES|OTHER_ENGINES)\b' test/{engine,job,inject,reach,restart,cluster,condor}/*.test.ts)
export GANGWAY_TEST_WHOLE=yes
npx vitest run --project engine --project job --project inject --project reach --project restart --project cluster "${in_part[@]}"
# HTCondor's machines are in an engine that those have restarted.
test/rig/condor.sh up
npx vitest run --project condor "${in_part[@]}"
npx vitest run --project soak
udiImage/regress.sh
