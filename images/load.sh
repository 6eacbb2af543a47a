#!/bin/bash
# load.sh - puts the test images into an engine, as gangway-test/NAME; makes them first where needed.
#
#   images/load.sh [ENGINE [NAME…]]   ENGINE: docker, podman or rootless (the rig's), a socket's path, or
#                                     all (the default): the rig's engines that are up, side by side
#
# The same for every engine, over its Docker-compatible socket. An image that was made by the same
# recipe (its hash is a label of the image) is left as it is.
set -eu
HERE=$(cd "$(dirname "$0")" && pwd)
LABEL=gangway-test.recipe
ALL=(bare debian foreign locked mpich openmpi5 scratch)

die() { printf 'images: %s\n' "$*" >&2; exit 1; }
engine=${1:-all}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- "${ALL[@]}"
if [ "$engine" = all ]; then
  # shellcheck source=test/rig/rig.sh
  . "$HERE/../test/rig/rig.sh"
  "$HERE/build.sh" "$@"
  loads=() failed=0
  [ ! -S "$DOCKER_SOCK" ] || { "$0" docker "$@" & loads+=($!); }
  [ ! -S "$PODMAN_SOCK" ] || { "$0" podman "$@" & loads+=($!); }
  [ ! -S "$ROOTLESS_SOCK" ] || { "$0" rootless "$@" & loads+=($!); }
  [ ${#loads[@]} -gt 0 ] || die "no engine is up: run test/rig/engines.sh up"
  for load in "${loads[@]}"; do wait "$load" || failed=1; done
  exit $failed
fi
# shellcheck source=test/rig/rig.sh
case $engine in
  docker) socket=$(. "$HERE/../test/rig/rig.sh" && echo "$DOCKER_SOCK") ;;
  podman) socket=$(. "$HERE/../test/rig/rig.sh" && echo "$PODMAN_SOCK") ;;
  rootless) socket=$(. "$HERE/../test/rig/rig.sh" && echo "$ROOTLESS_SOCK") ;;
  *) socket=${engine#unix://} ;;
esac
command -v docker >/dev/null 2>&1 || die "the docker command is missing (Debian package docker.io): run scripts/setup.sh engine"
api() { env -u DOCKER_CONTEXT -u DOCKER_HOST -u DOCKER_TLS_VERIFY docker -H "unix://$socket" "$@"; }
[ -S "$socket" ] || die "no engine at $socket: run test/rig/engines.sh up"

"$HERE/build.sh" "$@"

for name; do
  hash=$("$HERE/build.sh" --hash "$name")
  have=$(api image inspect -f "{{ index .Config.Labels \"$LABEL\" }}" "gangway-test/$name" 2>/dev/null) || have=
  [ "$have" != "$hash" ] || continue
  changes=(--change "LABEL $LABEL=$hash")
  while IFS= read -r line; do
    [ -z "$line" ] || changes+=(--change "$line")
  done <"$HERE/$name/config"
  former=$(api image inspect -f '{{ .Id }}' "gangway-test/$name" 2>/dev/null) || former=
  api import "${changes[@]}" "${HERE%/*}/build/images/$name.tar" "gangway-test/$name:latest" >/dev/null
  # The one it replaces, unless a container still has it.
  [ -z "$former" ] || api rmi "$former" >/dev/null 2>&1 || :
  printf 'images: gangway-test/%s is in %s\n' "$name" "$engine"
done
