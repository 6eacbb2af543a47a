# shellcheck shell=bash
# test-engines.sh - sourced by what tests against real engines: installs what is missing, starts engines of our own with
# the tests' images in them, and installs this clone's Gangway. All of it is stopped when the caller exits.
scripts/setup.sh test
trap 'test/rig/engines.sh down' EXIT
# What a run that was killed left in the homes of the tests' users: an index of jobs that nobody has any more.
for home in /home/gangway-test /home/gangway-other; do rm -rf "$home/.gangway"; done
test/rig/engines.sh up
images/build.sh
images/load.sh
eval "$(test/rig/engines.sh env)"
# Where every account can read it: a clone may lie in somebody's home.
export GANGWAY_TEST_INSTALL=$GANGWAY_TEST_RIG/install
scripts/install.sh "$GANGWAY_TEST_INSTALL"
