#!/bin/bash
# engines.sh - the container engines that tests, demo and bench use: private, and gone without a trace.
#
#   engines.sh up [ENGINE…]            start what is not running; leaves a running engine and its containers alone
#   engines.sh down                    stop all; nothing stays but images on disk and the accounts
#   engines.sh restart ENGINE [kill]   as an administrator would (SIGTERM, start again), or after SIGKILL
#   engines.sh status                  one line an engine; exit status 1 unless all are up
#   engines.sh env                     shell variables for tests (also as JSON: $GANGWAY_RIG_RUN/engines.json)
#   engines.sh purge                   down, and remove the disk state too
#
# ENGINE is docker (Docker Engine), podman (Podman's socket, as root) or rootless (Podman as the
# ordinary test user). Where all lies, and the names, is in rig.sh. Needs root.
#
# Nothing here touches an engine of the machine's own: own sockets, storage, bridges, containerd.
# Both bridges are ours, and so are the few firewall rules: the engines are told to make none, since
# two dockerds on one machine would overwrite each other's chains.
set -eu
# shellcheck source=test/rig/rig.sh
. "$(dirname "$0")/rig.sh"
# shellcheck source=test/rig/podman.sh
. "$(dirname "$0")/podman.sh"
HERE=$(cd "$(dirname "$0")" && pwd)
ENGINES=(docker podman rootless)
LOG=$RIG/log
# We name the engine ourselves each time; nothing of the caller's may speak against it.
unset DOCKER_HOST DOCKER_CONTEXT DOCKER_TLS_VERIFY DOCKER_CERT_PATH CONTAINER_HOST
START_LIMIT=30 # seconds an engine may take to answer

# --- processes -------------------------------------------------------------------------------

# Runs a program as a daemon: own session, log file, a clean environment, none of our descriptors
# (a lock or the pipe of whoever started us would otherwise be held for hours), and a directory that it can read, whoever it is.
daemon() { # LOGNAME COMMAND…
  local log=$LOG/$1.log
  shift
  setsid --fork env -i -C / PATH="$PATH" HOME=/root "$@" </dev/null >>"$log" 2>&1 9>&-
}

# Pids of our processes by the places in their command line: daemons, shims and monitors carry the
# path of our rig as an argument. Nothing is ever picked by its name alone.
our_pids() { # PROGRAM-PATTERN PATH-PREFIX…
  local pattern=$1 dir pid name args prefix
  shift
  for dir in /proc/[0-9]*; do
    pid=${dir#/proc/}
    { read -r name <"$dir/comm" && args=$(tr '\0' ' ' <"$dir/cmdline"); } 2>/dev/null || continue
    # shellcheck disable=SC2254 # a pattern is what it is meant to be
    case $name in $pattern) ;; *) continue ;; esac
    for prefix in "$@"; do
      # With a slash or the end behind it: /run/gangway-test must not catch /run/gangway-test2.
      case "$args " in *"$prefix/"* | *"$prefix "*) printf '%s\n' "$pid" && break ;; esac
    done
  done
}

# TERM, a while to obey, KILL.
end_pids() { # SECONDS PID…
  local wait=$1 tick
  shift
  [ $# -gt 0 ] || return 0
  kill -TERM "$@" 2>/dev/null || :
  for ((tick = 0; tick < wait * 20; tick++)); do
    any_alive "$@" || return 0
    sleep 0.05
  done
  kill -KILL "$@" 2>/dev/null || :
  for ((tick = 0; tick < 60; tick++)); do
    any_alive "$@" || return 0
    sleep 0.05
  done
}

any_alive() {
  local pid state
  for pid in "$@"; do
    # A zombie nobody has reaped yet is dead for our purpose.
    state=$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null) || continue
    case $state in Z* | X* | '') ;; *) return 0 ;; esac
  done
  return 1
}

# Kills what is left in a cgroup of ours (containers whose monitor was killed), then removes the
# directories, the engines' own leavings included.
end_cgroup() { # NAME
  local root dir pids
  for root in /sys/fs/cgroup /sys/fs/cgroup/*; do
    [ -d "$root/$1" ] || continue
    pids=$(find "$root/$1" -name cgroup.procs -exec cat {} + 2>/dev/null) || :
    # shellcheck disable=SC2086 # one word a pid
    [ -z "$pids" ] || kill -KILL $pids 2>/dev/null || :
  done
  for root in /sys/fs/cgroup /sys/fs/cgroup/*; do
    [ -d "$root/$1" ] || continue
    for _ in 1 2 3 4 5 6 7 8 9 10; do
      find "$root/$1" -depth -type d -exec rmdir {} + 2>/dev/null || :
      [ -d "$root/$1" ] || break
      sleep 0.1
    done
    dir=$root/$1
    [ ! -d "$dir" ] || say "could not remove $dir"
  done
}

# Processes of rootless containers and of Podman's user namespace whose monitor is gone. No cgroup
# tells them, but each lives in another mount namespace than ours, and either our storage is mounted
# in it or its environment is the one we gave to Podman.
rootless_strays() {
  local ours dir ns
  ours=$(readlink /proc/self/ns/mnt)
  for dir in /proc/[0-9]*; do
    ns=$(readlink "$dir/ns/mnt" 2>/dev/null) || continue
    [ "$ns" != "$ours" ] || continue
    if grep -qsF -e "$RIG/rootless/" -e "$RUN/rootless/" "$dir/mountinfo" ||
      grep -qszxF "CONTAINERS_CONF=$RUN/rootless/containers.conf" "$dir/environ"; then
      printf '%s\n' "${dir#/proc/}"
    fi
  done
}

# --- mounts, networks, rules -----------------------------------------------------------------

unmount_below() { # DIR…
  local dir target
  for dir in "$@"; do
    # Deepest first; lazily where something still holds it, since the holder has just been killed.
    awk '{ print $2 }' /proc/mounts | grep -E "^$dir(/|\$)" | sort -r | while read -r target; do
      target=$(printf '%b' "$target")
      umount "$target" 2>/dev/null || umount -l "$target" 2>/dev/null || :
    done
  done
}

bridge_up() { # NAME GATEWAY SUBNET
  local alias
  if ip link show dev "$1" >/dev/null 2>&1; then
    alias=$(cat "/sys/class/net/$1/ifalias" 2>/dev/null || :)
    [ "$alias" = "$MARK:$RIG" ] ||
      die "a bridge $1 exists and is not this rig's (${alias:-no alias}): take that rig down, or give this one a GANGWAY_RIG_NET of its own (see rig.sh)"
  else
    if ip -4 route show match "$2" | grep -qv '^default'; then
      die "the network $3 is in use on this machine: choose another, e.g. GANGWAY_RIG_NET=10.199 (see rig.sh)"
    fi
    ip link add name "$1" type bridge
    ip link set dev "$1" alias "$MARK:$RIG"
  fi
  steady_address "$1" "$2"
  ip addr replace "$2/20" dev "$1"
  ip link set dev "$1" up
  let_through "$3"
  if [ "$(cat /proc/sys/net/ipv4/ip_forward)" = 0 ]; then
    : >"$RUN/ip_forward.was-off"
    echo 1 >/proc/sys/net/ipv4/ip_forward
  fi
}

# Containers' way out (masqueraded) and among each other. Bridged packets pass the FORWARD chain too
# where br_netfilter is loaded, and that chain may drop: a Docker of the machine's own sets its policy
# so. Hence the first rule, which is also what lets two containers of one bridge talk.
let_through() { # SUBNET
  rule filter FORWARD ACCEPT -s "$1"
  rule filter FORWARD ACCEPT -d "$1" -m conntrack --ctstate RELATED,ESTABLISHED,DNAT
  rule nat POSTROUTING MASQUERADE -s "$1" ! -d "$1"
}

rule() { # TABLE CHAIN TARGET MATCH…
  local table=$1 chain=$2 target=$3
  shift 3
  set -- "$@" -m comment --comment "$MARK" -j "$target"
  iptables -w 10 -t "$table" -C "$chain" "$@" 2>/dev/null || iptables -w 10 -t "$table" -I "$chain" "$@"
}

network_down() {
  local name table line chain
  command -v iptables >/dev/null 2>&1 || return 0
  for table in filter nat; do
    iptables-save -t "$table" 2>/dev/null | grep -E "^-A .*--comment \"?$MARK\"?( |\$)" | while read -r line; do
      # shellcheck disable=SC2086 # iptables-save's words; ours have no blanks in them
      iptables -w 10 -t "$table" -D ${line#-A } || :
    done
  done
  # CNI's port mapping leaves its empty chains behind; they go unless they were there before us.
  if [ -e "$RUN/cni-chains.ours" ] && ! iptables-save -t nat | grep -q '^:CNI-DN-'; then
    for chain in CNI-HOSTPORT-DNAT CNI-HOSTPORT-MASQ CNI-HOSTPORT-SETMARK; do
      iptables-save -t nat | grep -E -- "^-A .*-j $chain\$" | sed 's/^-A //' | while read -r line; do
        eval "iptables -w 10 -t nat -D $line" || :
      done
      iptables -w 10 -t nat -F "$chain" 2>/dev/null || :
    done
    for chain in CNI-HOSTPORT-DNAT CNI-HOSTPORT-MASQ CNI-HOSTPORT-SETMARK; do
      iptables -w 10 -t nat -X "$chain" 2>/dev/null || :
    done
  fi
  for name in "$DOCKER_BRIDGE" "$PODMAN_BRIDGE"; do
    if [ "$(cat "/sys/class/net/$name/ifalias" 2>/dev/null || :)" = "$MARK:$RIG" ]; then
      ip link delete dev "$name" 2>/dev/null || :
    fi
  done
  # Bridges of users' networks, which a killed dockerd leaves behind: told by their address.
  ip -o -4 addr show 2>/dev/null | awk -v net="$NET." '$2 ~ /^br-/ && index($4, net) == 1 { print $2 }' |
    while read -r name; do ip link delete dev "$name" || :; done
  # Off again as it was, unless somebody else has a bridge by now that may need it.
  if [ -e "$RUN/ip_forward.was-off" ] && [ -z "$(ip -o link show type bridge)" ]; then
    echo 0 >/proc/sys/net/ipv4/ip_forward
  fi
}

# --- places ----------------------------------------------------------------------------------

prepare() {
  need ip iproute2
  need iptables iptables
  need setpriv util-linux
  "$HERE/accounts.sh" make
  mkdir -p "$RIG" "$RUN" "$LOG" "$RUN/rootless"
  # All may pass through, to the sockets; each socket and directory has its own guard.
  chmod 0711 "$RIG" "$RUN"
  chmod 0755 "$LOG"
  chown "$TEST_USER:" "$RUN/rootless"
  chmod 0711 "$RUN/rootless"
  case $(stat -f -c %T "$RIG") in
    overlayfs | tmpfs | nfs | fuseblk | fuse)
      die "$RIG lies on $(stat -f -c %T "$RIG"), where overlay2 does not work: set GANGWAY_RIG to a directory on a real disk"
      ;;
  esac
  local user
  mkdir -p "$XDG"
  # In memory, as a login would give it: a job's keys go there.
  mountpoint -q "$XDG" || mount -t tmpfs -o mode=0711,nosuid,nodev,size=512m gangway-test-xdg "$XDG"
  for user in "$TEST_USER" "$OTHER_USER" "$MANY_USER"; do
    [ -d "$XDG/$user" ] || install -d -m 0700 -o "$user" -g "$(id -g "$user")" "$XDG/$user"
  done
}

answers() { # ENGINE
  local socket
  socket=$(socket_of "$1")
  # -e first: no program is started for a socket that is not there. `docker version` asks the
  # server too, on either engine, and ends with an error when nobody answers.
  [ -S "$socket" ] && timeout 10 docker -H "unix://$socket" version >/dev/null 2>&1
}

socket_of() {
  case $1 in
    docker) echo "$DOCKER_SOCK" ;;
    podman) echo "$PODMAN_SOCK" ;;
    rootless) echo "$ROOTLESS_SOCK" ;;
    *) die "unknown engine $1 (one of: ${ENGINES[*]})" ;;
  esac
}

await() { # ENGINE
  local tick
  for ((tick = 0; tick < START_LIMIT * 20; tick++)); do
    answers "$1" && return 0
    sleep 0.05
  done
  tail -n 15 "$LOG/$1.log" >&2 || :
  die "$1 did not answer on $(socket_of "$1") within $START_LIMIT s; its log is $LOG/$1.log"
}

# What an earlier run left in an engine that has just been started: containers (running or only
# created), user networks, anonymous volumes. Images stay.
sweep() { # ENGINE
  local api ids
  api="docker -H unix://$(socket_of "$1")"
  ids=$($api ps -aq --no-trunc) || return 0
  # shellcheck disable=SC2086 # a command with words, and a list
  [ -z "$ids" ] || $api rm -f -v $ids >/dev/null 2>&1 || $api rm -f -v $ids >/dev/null || :
  ids=$($api network ls -q --filter type=custom --no-trunc 2>/dev/null) || ids=
  local id name
  for id in $ids; do
    name=$($api network inspect -f '{{.Name}}' "$id" 2>/dev/null) || continue
    case $name in podman | "$MARK" | bridge | host | none) continue ;; esac
    $api network rm "$id" >/dev/null 2>&1 || :
  done
  $api volume prune -f >/dev/null 2>&1 || :
}

# --- Docker ----------------------------------------------------------------------------------

docker_start() {
  need dockerd docker.io
  need docker docker.io
  need containerd containerd
  need runc runc
  bridge_up "$DOCKER_BRIDGE" "$DOCKER_GATEWAY" "$DOCKER_SUBNET"
  let_through "$DOCKER_POOL"
  mkdir -p "$RIG/containerd" "$RIG/docker" "$RUN/containerd" "$RUN/docker"
  # A containerd of our own: dockerd would take the machine's where there is one.
  cat >"$RUN/containerd.toml" <<END
version = 2
root = "$RIG/containerd"
state = "$RUN/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
address = "$RUN/containerd/containerd.sock"
END
  # An empty configuration, so that the machine's own /etc/docker/daemon.json is not read.
  echo '{}' >"$RUN/docker.json"
  if [ -z "$(our_pids containerd "$RUN/containerd.toml")" ]; then
    rm -f "$RUN/containerd/containerd.sock"
    daemon containerd containerd --config "$RUN/containerd.toml" --log-level warn
  fi
  # A pid file whose number has meanwhile been given to another process keeps dockerd from starting.
  rm -f "$RUN/docker.pid" "$DOCKER_SOCK"
  local tick
  for ((tick = 0; tick < START_LIMIT * 20; tick++)); do
    [ -S "$RUN/containerd/containerd.sock" ] && break
    sleep 0.05
  done
  daemon docker dockerd --config-file "$RUN/docker.json" \
    --containerd "$RUN/containerd/containerd.sock" \
    --data-root "$RIG/docker" --exec-root "$RUN/docker" --pidfile "$RUN/docker.pid" \
    -H "unix://$DOCKER_SOCK" -G "$ENGINE_GROUP" \
    --storage-driver overlay2 --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$MARK" \
    --bridge "$DOCKER_BRIDGE" --default-address-pool "base=$DOCKER_POOL,size=24" \
    --iptables=false --ip6tables=false --ip-masq=false \
    --log-level warn
  await docker
}

# dockerd stops its containers itself, 10 s each at worst.
docker_stop() { # term|kill
  local pids
  pids=$(our_pids dockerd "$RUN/docker.json")
  # shellcheck disable=SC2086 # one word a pid
  if [ "$1" = kill ]; then
    [ -z "$pids" ] || kill -KILL $pids
    end_pids 1 $pids
  else
    end_pids 20 $pids
  fi
}

docker_clean() {
  # shellcheck disable=SC2046 # one word a pid
  {
    docker_stop term
    end_pids 5 $(our_pids containerd "$RUN/containerd.toml")
    end_pids 2 $(our_pids 'containerd-shim*' "$RUN/containerd")
  }
  end_cgroup "$MARK"
  unmount_below "$RIG/docker" "$RIG/containerd" "$RUN/docker" "$RUN/containerd"
  rm -rf "$RUN/docker" "$RUN/containerd"
  rm -f "$RUN/docker.pid" "$DOCKER_SOCK" "$RUN/docker.json" "$RUN/containerd.toml"
  # containerd's shims listen in a place that cannot be configured; a socket of a killed one stays.
  local socket
  for socket in /run/containerd/s/*; do
    [ -S "$socket" ] || continue
    grep -qF " $socket" /proc/net/unix || rm -f "$socket"
  done
  rmdir /run/containerd/s /run/containerd 2>/dev/null || :
}

# --- Podman as root --------------------------------------------------------------------------

# Podman itself, not its service, at most a minute.
podman_root() { # COMMAND…
  env -i PATH="$PATH" HOME=/root CONTAINERS_CONF="$RUN/podman/containers.conf" \
    CONTAINERS_STORAGE_CONF="$RUN/podman/storage.conf" \
    CONTAINERS_REGISTRIES_CONF="$RUN/podman/registries.conf" timeout -k 5 60 podman "$@"
}

podman_start() {
  need podman podman
  need docker docker.io
  need runc runc
  need conmon conmon
  local plugins=/usr/lib/cni
  [ -x $plugins/bridge ] || die "$plugins/bridge is missing (Debian package containernetworking-plugins): run scripts/setup.sh engine"
  bridge_up "$PODMAN_BRIDGE" "$PODMAN_GATEWAY" "$PODMAN_SUBNET"
  [ -e "$RUN/cni-chains.ours" ] || iptables-save -t nat | grep -q '^:CNI-HOSTPORT' || : >"$RUN/cni-chains.ours"
  mkdir -p "$RIG/podman" "$RUN/podman/net.d"
  podman_config "$RUN/podman" "$RIG/podman/storage" bridge "network_backend = \"cni\"
cni_plugin_dirs = [ \"$plugins\" ]
network_config_dir = \"$RUN/podman/net.d\"
default_network = \"$MARK\""
  cat >"$RUN/podman/net.d/50-$MARK.conflist" <<END
{
  "cniVersion": "0.4.0",
  "name": "$MARK",
  "plugins": [
    {
      "type": "bridge", "bridge": "$PODMAN_BRIDGE", "isGateway": true, "ipMasq": false, "hairpinMode": true,
      "ipam": {
        "type": "host-local", "dataDir": "$RUN/podman/ipam",
        "routes": [ { "dst": "0.0.0.0/0" } ],
        "ranges": [ [ { "subnet": "$PODMAN_SUBNET", "gateway": "$PODMAN_GATEWAY" } ] ]
      }
    },
    { "type": "portmap", "capabilities": { "portMappings": true } }
  ]
}
END
  rm -f "$PODMAN_SOCK"
  daemon podman env CONTAINERS_CONF="$RUN/podman/containers.conf" \
    CONTAINERS_STORAGE_CONF="$RUN/podman/storage.conf" \
    CONTAINERS_REGISTRIES_CONF="$RUN/podman/registries.conf" \
    podman --log-level warn system service --time 0 "unix://$PODMAN_SOCK"
  await podman
  chgrp "$ENGINE_GROUP" "$PODMAN_SOCK"
  chmod 0660 "$PODMAN_SOCK"
}

podman_stop() { # term|kill
  local pids
  pids=$(our_pids podman "$PODMAN_SOCK")
  # shellcheck disable=SC2086 # one word a pid
  if [ "$1" = kill ]; then
    [ -z "$pids" ] || kill -KILL $pids
    end_pids 1 $pids
  else
    end_pids 10 $pids
  fi
}

podman_clean() {
  podman_stop term
  if [ -e "$RUN/podman/containers.conf" ]; then
    # By the program, not the service: this also ends what a killed service or conmon left behind,
    # with its network namespace and address.
    podman_root rm -f -a -v -t 0 >/dev/null 2>&1 || :
  fi
  # shellcheck disable=SC2046 # one word a pid
  end_pids 2 $(our_pids conmon "$RUN/podman" "$RIG/podman")
  unmount_below "$RIG/podman" "$RUN/podman"
  rm -rf "$RUN/podman"
  rm -f "$PODMAN_SOCK"
  # By the whole name: another rig's network has a name that begins with ours.
  find /var/lib/cni/results -regextype posix-extended -regex ".*/$MARK-[0-9a-f]{64}-eth[0-9]+" -delete 2>/dev/null || :
  # Made by Podman for all its containers; goes only when empty.
  local root
  for root in /sys/fs/cgroup /sys/fs/cgroup/*; do
    [ ! -d "$root/libpod_parent" ] || rmdir "$root/libpod_parent" 2>/dev/null || :
  done
}

# --- Podman without root -----------------------------------------------------------------------

# Variables of the ordinary user's Podman: what a test needs to run `podman` itself as that user.
rootless_env() {
  printf '%s\n' "HOME=$(getent passwd "$TEST_USER" | cut -d: -f6)" "USER=$TEST_USER" \
    "XDG_RUNTIME_DIR=$XDG/$TEST_USER" \
    "CONTAINERS_CONF=$RUN/rootless/containers.conf" \
    "CONTAINERS_STORAGE_CONF=$RUN/rootless/storage.conf" \
    "CONTAINERS_REGISTRIES_CONF=$RUN/rootless/registries.conf"
}

as_test_user() { # COMMAND…
  local vars
  mapfile -t vars < <(rootless_env)
  env -i PATH="$PATH" "${vars[@]}" setpriv --reuid "$TEST_USER" --regid "$(id -g "$TEST_USER")" \
    --init-groups "$@"
}

rootless_start() {
  need podman podman
  need docker docker.io
  need runc runc
  need newuidmap uidmap
  mkdir -p "$RIG/rootless"
  chown "$TEST_USER:" "$RIG/rootless"
  chmod 0700 "$RIG/rootless"
  # Bridges and slirp need /dev/net/tun, which not every machine lets an ordinary user open: the
  # host's network is what works everywhere.
  podman_config "$RUN/rootless" "$RIG/rootless/storage" host ''
  chown -R "$TEST_USER:" "$RUN/rootless"
  rm -f "$ROOTLESS_SOCK"
  local vars
  mapfile -t vars < <(rootless_env)
  daemon rootless "${vars[@]}" setpriv --reuid "$TEST_USER" \
    --regid "$(id -g "$TEST_USER")" --init-groups \
    podman --log-level warn system service --time 0 "unix://$ROOTLESS_SOCK"
  await rootless
}

rootless_stop() { # term|kill
  local pids
  pids=$(our_pids podman "$ROOTLESS_SOCK")
  # shellcheck disable=SC2086 # one word a pid
  if [ "$1" = kill ]; then
    [ -z "$pids" ] || kill -KILL $pids
    end_pids 1 $pids
  else
    end_pids 10 $pids
  fi
}

rootless_clean() {
  rootless_stop term
  if [ -e "$RUN/rootless/containers.conf" ]; then
    (cd / && as_test_user timeout -k 5 60 podman rm -f -a -v -t 0 >/dev/null 2>&1) || :
  fi
  # shellcheck disable=SC2046 # one word a pid
  end_pids 2 $(our_pids conmon "$RUN/rootless" "$RIG/rootless") $(rootless_strays)
  unmount_below "$RIG/rootless" "$RUN/rootless"
  rm -rf "$RUN/rootless" "$XDG/$TEST_USER/libpod" "$XDG/$TEST_USER/containers" "$XDG/$TEST_USER/crun" \
    "$XDG/$TEST_USER/runc"
}

# --- commands --------------------------------------------------------------------------------

check_engine() { socket_of "$1" >/dev/null; }

up() {
  local engine
  for engine in "$@"; do check_engine "$engine"; done
  prepare
  [ $# -gt 0 ] || set -- "${ENGINES[@]}"
  for engine in "$@"; do
    if answers "$engine"; then
      continue
    fi
    "${engine}_clean"
    mkdir -p "$RUN/rootless"
    "${engine}_start"
    sweep "$engine"
    say "$engine is up: unix://$(socket_of "$engine")"
  done
  write_json
}

down() {
  local engine tick
  if [ ! -d "$RUN" ]; then network_down; return 0; fi
  for engine in "${ENGINES[@]}"; do
    # With the engine's help first: it knows its networks, port mappings and volumes.
    if answers "$engine"; then sweep "$engine"; fi
  done
  # Side by side: each waits for daemons to end.
  for engine in "${ENGINES[@]}"; do "${engine}_clean" & done
  wait
  network_down
  unmount_below "$RUN"
  for ((tick = 0; tick < 20; tick++)); do
    rm -rf "$RUN" 2>/dev/null && break
    sleep 0.1
  done
  [ ! -e "$RUN" ] || die "could not remove $RUN"
}

restart() { # ENGINE [kill]
  [ $# -ge 1 ] || die "usage: engines.sh restart ENGINE [kill]"
  check_engine "$1"
  [ -d "$RUN" ] || die "the rig is not up: run engines.sh up first"
  "$1_stop" "${2:-term}"
  "$1_start"
  write_json
}

status() {
  local engine all=0
  for engine in "${ENGINES[@]}"; do
    if answers "$engine"; then
      printf '%-9s up    unix://%s  %s containers\n' "$engine" "$(socket_of "$engine")" \
        "$(docker -H "unix://$(socket_of "$engine")" ps -aq | wc -l)"
    else
      printf '%-9s down  unix://%s\n' "$engine" "$(socket_of "$engine")"
      all=1
    fi
  done
  return $all
}

env_lines() { # as NAME=value
  cat <<END
GANGWAY_TEST_RIG=$RIG
GANGWAY_TEST_RIG_RUN=$RUN
GANGWAY_TEST_DOCKER=unix://$DOCKER_SOCK
GANGWAY_TEST_PODMAN=unix://$PODMAN_SOCK
GANGWAY_TEST_PODMAN_ROOTLESS=unix://$ROOTLESS_SOCK
GANGWAY_TEST_USER=$TEST_USER
GANGWAY_TEST_UID=$(id -u "$TEST_USER" 2>/dev/null || :)
GANGWAY_TEST_GID=$(id -g "$TEST_USER" 2>/dev/null || :)
GANGWAY_TEST_HOME=$(getent passwd "$TEST_USER" | cut -d: -f6)
GANGWAY_TEST_XDG_RUNTIME_DIR=$XDG/$TEST_USER
GANGWAY_TEST_OTHER_USER=$OTHER_USER
GANGWAY_TEST_MANY_USER=$MANY_USER
GANGWAY_TEST_XDG=$XDG
GANGWAY_TEST_ENGINE_GROUP=$ENGINE_GROUP
GANGWAY_TEST_DOCKER_BRIDGE=$DOCKER_BRIDGE
GANGWAY_TEST_DOCKER_GATEWAY=$DOCKER_GATEWAY
GANGWAY_TEST_PODMAN_BRIDGE=$PODMAN_BRIDGE
GANGWAY_TEST_PODMAN_GATEWAY=$PODMAN_GATEWAY
GANGWAY_TEST_PODMAN_NETWORK=$MARK
GANGWAY_TEST_ROOTLESS_ENV=$(rootless_env | tr '\n' ' ' | sed 's/ $//')
END
}

# Values are paths, names and numbers of the rig's own: single quotes are enough.
print_env() { env_lines | sed "s/=\(.*\)/='\1'/; s/^/export /"; }

write_json() {
  env_lines | sed 's/["\\]/\\&/g; s/^\([^=]*\)=\(.*\)$/  "\1": "\2",/; $ s/,$//' |
    { echo '{'; cat; echo '}'; } >"$RUN/engines.json.new"
  chmod 0644 "$RUN/engines.json.new"
  mv "$RUN/engines.json.new" "$RUN/engines.json"
}

usage() { sed -n '4,9s/^#   //p' "$0"; }

# Two clones, or a test and a person, may call this at the same time: one after the other.
locked() {
  need_root "$@"
  mkdir -p /run/lock
  exec 9>/run/lock/gangway-test-rig
  flock -w 180 9 || die "another engines.sh has been at work for three minutes (/run/lock/gangway-test-rig)"
  "$@"
}

command=${1:-}
[ $# -eq 0 ] || shift
case $command in
  up) locked up "$@" ;;
  down) locked down ;;
  restart) locked restart "$@" ;;
  purge)
    locked down
    unmount_below "$RIG"
    rm -rf "$RIG"
    ;;
  status) status ;;
  env) print_env ;;
  *) usage >&2; exit 2 ;;
esac
