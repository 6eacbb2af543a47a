#!/bin/bash
# All tests, against real engines, which are started here and stopped again whatever happens.
set -eu
cd "$(dirname "$0")/.."
scripts/setup.sh test
mkdir -p build/tests
rm -f build/tests/*.json
# condor.sh waits for it.
images/build.sh condor &
. scripts/test-engines.sh
result=0
trap 'test/rig/condor.sh down; test/rig/cluster.sh down; test/rig/engines.sh down' EXIT
test/rig/cluster.sh up podman
eval "$(test/rig/cluster.sh env)"
# Lanes side by side, as each waits a good part of its time: what needs the engines of this machine, what needs the hosts of
# the cluster, HTCondor, and the rest.
lane() { # NAME PROJECT…
  local name=$1 words=()
  shift
  for project; do words+=(--project "$project"); done
  npx vitest run "${words[@]}" --reporter=default --reporter=json --outputFile.json="build/tests/$name.json"
}
lane cluster cluster >build/tests/cluster.log 2>&1 &
cluster=$!
# What needs no engine takes both cores for minutes, which most of the others do not: it gets what they leave.
{
  status=0
  flags="--reporter=default --reporter=json --outputFile.json=build/tests/unit.json"
  nice make --no-print-directory check VITEST_FLAGS="$flags" || status=$?
  lane others oracle root siblings || status=$?
  exit $status
} >build/tests/others.log 2>&1 &
others=$!
# HTCondor's jobs are on an engine of this machine, too: they begin when no engine is restarted any more.
lane restart restart || result=$?
lane condor condor >build/tests/condor.log 2>&1 &
condor=$!
lane job job || result=$?
# Those of the jobs look at all that is in an engine, so they were alone with what they make there.
lane engine engine >build/tests/engine.log 2>&1 &
engine=$!
lane inject inject >build/tests/inject.log 2>&1 &
inject=$!
lane reach reach || result=$?
for started in "$others" "$condor" "$cluster" "$engine" "$inject"; do wait "$started" || result=$?; done
for log in others condor cluster engine inject; do cat "build/tests/$log.log"; done
node scripts/count-tests.mjs build/tests/*.json || result=1
exit $result
