# shellcheck shell=bash
# test-engines.sh - sourced by what tests against real engines: installs what is missing, starts engines of our own with
# the tests' images in them, and installs this clone's Gangway. All of it is stopped when the caller exits.
scripts/setup.sh test
trap 'test/rig/engines.sh down' EXIT
test/rig/engines.sh up
images/build.sh
images/load.sh
eval "$(test/rig/engines.sh env)"
# Where every account can read it: a clone may lie in somebody's home.
export GANGWAY_TEST_INSTALL=$GANGWAY_TEST_RIG/install
scripts/install.sh "$GANGWAY_TEST_INSTALL"
