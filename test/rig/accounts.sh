#!/bin/bash
# accounts.sh - the ordinary accounts that tests and demo run as.
#
#   accounts.sh make     make what is missing (default); changes nothing that is there
#   accounts.sh purge    remove them, their groups, homes and subordinate ids
#
# gangway-test   runs the jobs; may use the engines (group gangway-engines)
# gangway-other  the neighbour on the same node who must get nowhere
# gangway-many   has 60 supplementary groups; may use the engines
#
# `engines.sh down` leaves the accounts alone: they cost nothing and their ids stay the same.
set -eu
# shellcheck source=test/rig/rig.sh
. "$(dirname "$0")/rig.sh"

group_of_many() { printf 'gangway-many-%02d' "$1"; }

make_user() { # NAME COMMENT
  getent passwd "$1" >/dev/null && return 0
  # Above every distribution's range for people, so that no number is taken from a real user later.
  useradd --create-home --shell /bin/bash --comment "$2" -K UID_MIN=20000 -K UID_MAX=29999 \
    -K GID_MIN=20000 -K GID_MAX=29999 -K HOME_MODE=0755 --user-group "$1"
}

# Rootless Podman needs a range of subordinate ids. useradd gives one on most systems, but neither
# where /etc/subuid is missing nor for accounts it takes for system ones.
give_subids() { # NAME
  local file option start
  for file in /etc/subuid /etc/subgid; do
    [ -e "$file" ] || : >"$file"
    grep -q "^$1:" "$file" && continue
    option=--add-subuids
    [ "$file" = /etc/subgid ] && option=--add-subgids
    start=$(awk -F: 'BEGIN { top = 524288 } $2 + $3 > top { top = $2 + $3 } END { printf "%d", top }' "$file")
    usermod "$option" "$start-$((start + 65535))" "$1"
  done
}

in_group() { id -nG "$1" | tr ' ' '\n' | grep -qxF "$2"; }

make_accounts() {
  local i names name have
  getent group "$ENGINE_GROUP" >/dev/null || groupadd -K GID_MIN=20000 -K GID_MAX=29999 "$ENGINE_GROUP"
  make_user "$TEST_USER" "Gangway tests"
  make_user "$OTHER_USER" "Gangway tests, hostile neighbour"
  make_user "$MANY_USER" "Gangway tests, many groups"
  in_group "$TEST_USER" "$ENGINE_GROUP" || usermod -aG "$ENGINE_GROUP" "$TEST_USER"
  give_subids "$TEST_USER"
  give_subids "$OTHER_USER"

  # The engines' group is one of the sixty.
  names=$ENGINE_GROUP
  have=$(getent group | cut -d: -f1)
  for ((i = 1; i < MANY_COUNT; i++)); do
    name=$(group_of_many "$i")
    grep -qxF "$name" <<<"$have" || groupadd -K GID_MIN=300000 -K GID_MAX=309999 "$name"
    names=$names,$name
  done
  [ "$(id -G "$MANY_USER" | wc -w)" -gt "$MANY_COUNT" ] || usermod -aG "$names" "$MANY_USER"
}

purge_accounts() {
  local i name
  for name in "$TEST_USER" "$OTHER_USER" "$MANY_USER"; do
    getent passwd "$name" >/dev/null && userdel --remove "$name" 2>/dev/null
    [ -e /etc/subuid ] && sed -i "/^$name:/d" /etc/subuid
    [ -e /etc/subgid ] && sed -i "/^$name:/d" /etc/subgid
  done
  for ((i = 1; i < MANY_COUNT; i++)); do
    name=$(group_of_many "$i")
    getent group "$name" >/dev/null && groupdel "$name"
  done
  if getent group "$ENGINE_GROUP" >/dev/null; then groupdel "$ENGINE_GROUP"; fi
}

need_root "$@"
case ${1:-make} in
  make) make_accounts ;;
  purge)
    [ ! -S "$DOCKER_SOCK" ] || die "the engines are up: run engines.sh down first"
    purge_accounts
    ;;
  *) die "usage: accounts.sh [make|purge]" ;;
esac
