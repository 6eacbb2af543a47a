# shellcheck shell=bash disable=SC2034
# rig.sh - names, places and helpers shared by the scripts of the test rig. Sourced, not run.

# Where it all lies. GANGWAY_RIG holds what survives a restart (images, layers) and must be on a
# file system that can be the upper side of an overlay; GANGWAY_RIG_RUN holds sockets, pids, state.
# A second rig beside the first wants a GANGWAY_RIG and a GANGWAY_RIG_NET of its own; the accounts
# are the machine's, shared by all rigs.
RIG=${GANGWAY_RIG:-/var/lib/gangway-test}
if [ -n "${GANGWAY_RIG_RUN:-}" ]; then
  RUN=$GANGWAY_RIG_RUN
elif [ -n "${GANGWAY_RIG:-}" ] && [ "$GANGWAY_RIG" != /var/lib/gangway-test ]; then
  RUN=$RIG/run
else
  RUN=/run/gangway-test
fi

# First two bytes of the bridges' networks: NET.0.0/20 is Docker's, NET.16.0/20 is Podman's, and
# NET.64.0/18 is what networks made in Docker by users are cut from.
NET=${GANGWAY_RIG_NET:-10.213}
MARK=gangway-test            # comment of our iptables rules, cgroup of our containers
[ "$NET" = 10.213 ] || MARK=gangway-test-${NET/./-}
DOCKER_BRIDGE=gwt-${NET/./-}-d DOCKER_GATEWAY=$NET.0.1 DOCKER_SUBNET=$NET.0.0/20
PODMAN_BRIDGE=gwt-${NET/./-}-p PODMAN_GATEWAY=$NET.16.1 PODMAN_SUBNET=$NET.16.0/20
DOCKER_POOL=$NET.64.0/18

TEST_USER=gangway-test       # the ordinary user whose jobs run
OTHER_USER=gangway-other     # the hostile neighbour on the same node: may not touch any engine
MANY_USER=gangway-many       # the user with 60 supplementary groups
ENGINE_GROUP=gangway-engines # whose members may use the two engines that run as root
MANY_COUNT=60

DOCKER_SOCK=$RUN/docker.sock
PODMAN_SOCK=$RUN/podman.sock
ROOTLESS_SOCK=$RUN/rootless/podman.sock
XDG=$RUN/xdg                 # tmpfs with one private run-time directory a test user

PROGRAM=${0##*/}
say() { printf '%s: %s\n' "$PROGRAM" "$*"; }
die() { printf '%s: %s\n' "$PROGRAM" "$*" >&2; exit 1; }

need_root() {
  [ "$EUID" = 0 ] || die "must be run as root (it makes accounts, bridges and engines); try: sudo $0 $*"
}

# need PROGRAM PACKAGE: a clear word instead of "command not found" in the middle of things
need() {
  command -v "$1" >/dev/null 2>&1 || die "$1 is missing (Debian package $2): run scripts/setup.sh engine"
}

# A bridge that was given no hardware address has the lowest of what is joined to it: when that goes, whoever knows the old one
# speaks to nobody for a minute or more. As Docker does for the bridges that it makes.
steady_address() { # BRIDGE ADDRESS
  # shellcheck disable=SC2086 # four numbers
  ip link set dev "$1" address "$(printf '02:42:%02x:%02x:%02x:%02x' ${2//./ })"
}
