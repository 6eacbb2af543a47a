#!/bin/bash
# cluster.sh - a small cluster on one machine: a controller and three compute hosts, with Slurm and an engine each,
# and somebody's laptop.
#
#   cluster.sh up [podman]         start what is not running; with podman: each user's own rootless Podman, too
#                                  with GANGWAY_CLUSTER_LIMITS=none Slurm tracks jobs by their processes and limits
#                                  nothing, else by cgroups, with cpus, memory and devices limited
#   cluster.sh down                stop all; nothing stays but images on disk and the accounts
#   cluster.sh status              one line a host
#   cluster.sh on HOST COMMAND…    run a command on a host, as root (laptop, ctl, n1, n2, n3)
#   cluster.sh as USER HOST COMMAND…    the same as a user who has logged in there
#   cluster.sh engine HOST [USER]  the path of its engine's socket, as it can be used from outside; of that user's Podman
#   cluster.sh env                 shell variables for tests
#   cluster.sh purge               down, and remove the disk state too
#
# A host is a network, UTS and mount namespace: its own name, address, /run, /tmp, /dev/shm, Docker engine and
# slurmd, and the distribution's sshd. Homes (of their own) and programs are shared, as on most clusters; each host knows the others'
# host keys. Who may log in by ssh is in $GANGWAY_CLUSTER_PLACE/ssh/keys/USER. On the laptop the homes are empty and its
# own, in memory, and nothing runs. A bridge joins them all. Needs root.
set -eu
# Tests call this thousands of times: what every call does starts no process that it can do without.
HERE=${0%/*}
[ "${HERE#/}" != "$HERE" ] || HERE=$(cd "$HERE" && pwd)
# shellcheck source=test/rig/rig.sh
. "$HERE/rig.sh"
# shellcheck source=test/rig/podman.sh
. "$HERE/podman.sh"
# shellcheck source=test/rig/cluster-podman.sh
. "$HERE/cluster-podman.sh"
HOSTS=(laptop ctl n1 n2 n3)
COMPUTE=(n1 n2 n3)
PLACE=$RIG/cluster
BRIDGE=gwc-${NET/./-}
START_LIMIT=30

address_of() { # HOST
  case $1 in
    laptop) echo "$NET.192.9" ;;
    ctl) echo "$NET.192.10" ;;
    n[1-3]) echo "$NET.192.1${1#n}" ;;
    *) die "unknown host $1 (one of: ${HOSTS[*]})" ;;
  esac
}

# A network interface has 15 characters for its name.
link_of() { # HOST
  local address
  address=$(address_of "$1")
  printf '%s.%s\n' "$BRIDGE" "${address##*.}"
}

# --- hosts -----------------------------------------------------------------------------------

# Sets HOLDER: the process that holds a host's namespaces; empty when the host is down.
find_holder() { # HOST
  local variable
  HOLDER=
  [ -e "$PLACE/$1.pid" ] && read -r HOLDER <"$PLACE/$1.pid" && [ -r "/proc/$HOLDER/environ" ] || { HOLDER=; return 0; }
  # A number that was given to another process since is no host of ours.
  while IFS= read -r -d '' variable; do
    [ "$variable" != "GANGWAY_CLUSTER_HOST=$PLACE/$1" ] || return 0
  done 2>/dev/null <"/proc/$HOLDER/environ" || :
  HOLDER=
}

holder_of() { # HOST
  find_holder "$1"
  [ -z "$HOLDER" ] || printf '%s\n' "$HOLDER"
}

on() { # HOST COMMAND…
  find_holder "$1"
  [ -n "$HOLDER" ] || die "host $1 is down"
  shift
  nsenter -t "$HOLDER" -n -u -m -w/ -- env -u GANGWAY_CLUSTER_HOST "$@"
}

as() { # USER HOST COMMAND…
  local user=$1 host=$2 uid gid home account
  shift 2
  account=$(getent passwd "$user") || die "unknown user $user"
  IFS=: read -r _ _ uid gid _ home _ <<<"$account"
  find_holder "$host"
  [ -n "$HOLDER" ] || die "host $host is down"
  nsenter -t "$HOLDER" -n -u -m -w/ -- setpriv --reuid "$uid" --regid "$gid" --init-groups --inh-caps=-all \
    env -C "$home" -i PATH="$RIG/install/bin:/usr/local/bin:/usr/bin:/bin" HOME="$home" USER="$user" LOGNAME="$user" SHELL=/bin/bash \
    TERM="${TERM:-dumb}" XDG_RUNTIME_DIR="/run/user/$uid" "$@"
}

# What a host's Slurm takes for the roots of the hierarchies (cgroup v1): every slurmd of this machine would else use the
# same directories. Prints the hierarchies.
cgroups_of() { # HOST
  local root
  case " ${COMPUTE[*]} " in *" $1 "*) ;; *) return 0 ;; esac
  for root in freezer cpuset memory devices cpuacct; do
    root=/sys/fs/cgroup/$root
    [ -e "$root/tasks" ] || continue
    mkdir -p "$root/$MARK-$1"
    # A new one has none, and takes no process.
    if [ -e "$root/cpuset.cpus" ]; then
      cat "$root/cpuset.cpus" >"$root/$MARK-$1/cpuset.cpus"
      cat "$root/cpuset.mems" >"$root/$MARK-$1/cpuset.mems"
    fi
    printf '%s ' "$root"
  done
}

host_up() { # HOST
  local host=$1 address pid user home tick
  [ -z "$(holder_of "$host")" ] || return 0
  address=$(address_of "$host")
  mkdir -p "$PLACE/$host"
  # shellcheck disable=SC2016 # it is the inner shell's
  setsid --fork env -i PATH="$PATH" GANGWAY_CLUSTER_HOST="$PLACE/$host" \
    unshare --net --uts --mount --propagation private -- \
    sh -c 'echo $$ >"$1.pid.new"; hostname "$2"
      mkdir -p "$6" "$1/run"; mount --rbind "$6" "$1/run"
      for place in /run /tmp /dev/shm; do mount -t tmpfs -o mode=1777 gangway-test "$place"; done
      mkdir /run/sysfs; mount -t sysfs gangway-test /run/sysfs
      for place in devices/virtual/net class/net; do mount --bind "/run/sysfs/$place" "/sys/$place"; done
      umount -l /run/sysfs; rmdir /run/sysfs
      chmod 755 /run; mkdir -p "$6"; mount --move "$1/run" "$6"
      mkdir -p /run/munge /run/lock
      mount --bind "$3/hosts" /etc/hosts; mount --bind "$3/slurm" /etc/slurm; mount --bind "$3/munge" /run/munge
      mount --bind "$3/ssh" /etc/ssh; mkdir -p /run/sshd
      for place in $4; do mkdir -p "/run/cgroup/${place##*/}"; mount --bind "$place/$5-$2" "/run/cgroup/${place##*/}"; done
      mv "$1.pid.new" "$1.pid"; exec sleep infinity' sh "$PLACE/$host" "$host" "$PLACE" "$(cgroups_of "$host")" "$MARK" "$RUN" \
    </dev/null >"$PLACE/log/$host.log" 2>&1 9>&-
  for ((tick = 0; tick < 100; tick++)); do
    pid=$(holder_of "$host")
    [ -z "$pid" ] || break
    sleep 0.05
  done
  [ -n "$pid" ] || die "host $host did not start: $(cat "$PLACE/log/$host.log")"
  ip link add name "$(link_of "$host")" type veth peer name eth0 netns "$pid"
  ip link set dev "$(link_of "$host")" master "$BRIDGE" up
  on "$host" sh -c "ip link set lo up && ip addr add $address/24 dev eth0 && ip link set eth0 up && ip route add default via $NET.192.1"
  for user in "$TEST_USER" "$OTHER_USER"; do
    on "$host" install -d -m 0700 -o "$user" -g "$(id -g "$user")" "/run/user/$(id -u "$user")"
    home=$(getent passwd "$user" | cut -d: -f6)
    if [ "$host" = laptop ]; then
      on "$host" mount -t tmpfs -o "mode=0700,uid=$(id -u "$user"),gid=$(id -g "$user")" laptop "$home"
    else
      on "$host" mount --bind "$PLACE/home/$user" "$home"
    fi
  done
}

# --- what runs on them -------------------------------------------------------------------------

# A daemon on a host: none of our descriptors, a clean environment, a log.
daemon_on() { # HOST LOGNAME COMMAND…
  local host=$1 log=$PLACE/log/$2.log
  shift 2
  setsid --fork nsenter -t "$(holder_of "$host")" -n -u -m -w/ -- env -i PATH="$PATH" HOME=/root "$@" </dev/null >>"$log" 2>&1 9>&-
}

engine_answers() { on "$1" timeout 10 docker -H unix:///run/docker.sock version >/dev/null 2>&1; }

engine_up() { # HOST
  local number=${1#n}
  engine_answers "$1" && return 0
  mkdir -p "$PLACE/$1/docker"
  echo '{}' >"$PLACE/$1/docker.json"
  daemon_on "$1" "docker-$1" dockerd --config-file "$PLACE/$1/docker.json" --data-root "$PLACE/$1/docker" \
    --exec-root /run/docker --pidfile /run/docker.pid -H unix:///run/docker.sock -G "$ENGINE_GROUP" \
    --storage-driver overlay2 --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$MARK-$1" \
    --bip "$NET.20$number.1/24" --iptables=false --ip6tables=false --ip-masq=false --log-level warn
}

write_config() {
  local host
  mkdir -p "$PLACE/slurm" "$PLACE/munge" "$PLACE/log" "$PLACE/spool" "$PLACE/state"
  chmod 0755 "$PLACE" "$PLACE/munge" "$PLACE/slurm"
  chmod 0711 "$RIG"
  local user
  # Not the machine's own: other tests use those at the same time.
  for user in "$TEST_USER" "$OTHER_USER"; do install -d -m 0755 -o "$user" -g "$(id -g "$user")" "$PLACE/home/$user"; done
  {
    echo "127.0.0.1 localhost"
    for host in "${HOSTS[@]}"; do echo "$(address_of "$host") $host $host.gangway.test"; done
  } >"$PLACE/hosts"
  # Contain keeps the job's cgroups for as long as it runs, as sites with cgroups have it (docs/administrator.md, "Left-over cgroups").
  local track=cgroup tasks=cgroup prolog=Contain
  [ "${GANGWAY_CLUSTER_LIMITS:-}" != none ] || track=linuxproc tasks=none prolog=Alloc
  cat >"$PLACE/slurm/cgroup.conf" <<END
CgroupPlugin=cgroup/v1
CgroupMountpoint=/run/cgroup
ConstrainCores=yes
ConstrainRAMSpace=yes
ConstrainSwapSpace=no
ConstrainDevices=yes
END
  # What a site would have in its epilog; whoever tests more of it puts it beside.
  mkdir -p "$PLACE/slurm/epilog.d"
  cat >"$PLACE/slurm/epilog.d/cgroups" <<END
#!/bin/sh
GANGWAY_CGROUPS="/sys/fs/cgroup/*/$MARK-\$SLURMD_NODENAME" exec /etc/slurm/epilog-cgroups
END
  cp "$HERE/../../examples/slurm/epilog-cgroups" "$PLACE/slurm/"
  chmod 0755 "$PLACE/slurm/epilog.d/cgroups" "$PLACE/slurm/epilog-cgroups"
  cat >"$PLACE/slurm/slurm.conf" <<END
ClusterName=gangwaytest
SlurmctldHost=ctl($(address_of ctl))
AuthType=auth/munge
CryptoType=crypto/munge
SlurmUser=root
StateSaveLocation=$PLACE/state
SlurmdSpoolDir=$PLACE/spool/%n
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmctldLogFile=$PLACE/log/slurmctld.log
SlurmdLogFile=$PLACE/log/slurmd-%n.log
ProctrackType=proctrack/$track
TaskPlugin=task/$tasks
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1
JobAcctGatherType=jobacct_gather/linux
MpiDefault=none
ReturnToService=2
SlurmdTimeout=60
KillWait=10
DefMemPerCPU=300
PrologFlags=$prolog
Epilog=/etc/slurm/epilog.d/*
NodeName=n[1-3] CPUs=4 RealMemory=4000
PartitionName=main Nodes=n[1-3] Default=YES MaxTime=INFINITE OverSubscribe=YES
END
}

# One host key for all, as a cluster made of one image has it.
write_ssh_config() {
  mkdir -p "$PLACE/ssh/keys"
  chmod 0755 "$PLACE/ssh" "$PLACE/ssh/keys"
  [ -e "$PLACE/ssh/ssh_host_ed25519_key" ] || ssh-keygen -q -t ed25519 -N '' -C '' -f "$PLACE/ssh/ssh_host_ed25519_key"
  cat >"$PLACE/ssh/sshd_config" <<END
HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile /etc/ssh/keys/%u
AuthenticationMethods publickey
UsePAM yes
SetEnv PATH=$RIG/install/bin:/usr/local/bin:/usr/bin:/bin
PidFile /run/sshd.pid
LogLevel VERBOSE
Subsystem sftp internal-sftp
END
  local host
  for host in "${HOSTS[@]}"; do
    echo "$host,$host.gangway.test,$(address_of "$host") $(cut -d' ' -f1,2 "$PLACE/ssh/ssh_host_ed25519_key.pub")"
  done >"$PLACE/ssh/ssh_known_hosts"
  : >"$PLACE/ssh/ssh_config"
}

# It lies where only the host sees it; from outside it is reached by the host's view of the file system.
engine_socket() { # HOST [USER]
  local socket=/run/docker.sock
  [ -z "${2:-}" ] || socket=$(podman_socket "$2")
  printf '/proc/%s/root%s\n' "$(holder_of "$1")" "$socket"
}

sshd_up() {
  local host
  for host in ctl "${COMPUTE[@]}"; do
    on "$host" pgrep -F /run/sshd.pid >/dev/null 2>&1 || daemon_on "$host" "sshd-$host" /usr/sbin/sshd -D -e
  done
}

slurm_up() {
  local host
  if ! on ctl munge -n >/dev/null 2>&1; then
    [ -e "$PLACE/munge.key" ] || (umask 077 && head -c 1024 /dev/urandom >"$PLACE/munge.key")
    daemon_on ctl munged munged --foreground --force --key-file="$PLACE/munge.key" --socket=/run/munge/munge.socket.2 \
      --pid-file=/run/munged.pid --log-file="$PLACE/log/munged.log" --seed-file="$PLACE/munge.seed"
  fi
  on ctl pgrep -F /run/slurmctld.pid >/dev/null 2>&1 || daemon_on ctl slurmctld slurmctld -D
  for host in "${COMPUTE[@]}"; do
    on "$host" pgrep -F /run/slurmd.pid >/dev/null 2>&1 || daemon_on "$host" "slurmd-$host" slurmd -D -N "$host"
  done
}

await() { # WHAT COMMAND…
  local what=$1 tick
  shift
  for ((tick = 0; tick < START_LIMIT * 10; tick++)); do
    "$@" && return 0
    sleep 0.1
  done
  die "$what did not answer within $START_LIMIT s; the logs are in $PLACE/log"
}

nodes_idle() { [ "$(on ctl sinfo -h -t idle,alloc,mix -o %D 2>/dev/null)" = 3 ]; }

# --- commands ----------------------------------------------------------------------------------

bridge_up() {
  ip link show dev "$BRIDGE" >/dev/null 2>&1 || ip link add name "$BRIDGE" type bridge
  steady_address "$BRIDGE" "$NET.192.1"
  ip addr replace "$NET.192.1/24" dev "$BRIDGE"
  ip link set dev "$BRIDGE" up
  # Bridged packets pass FORWARD where br_netfilter is loaded, and an engine of the machine's own may drop them there.
  local rule=(FORWARD -s "$NET.192.0/24" -d "$NET.192.0/24" -m comment --comment "$MARK-cluster" -j ACCEPT)
  iptables -w 10 -C "${rule[@]}" 2>/dev/null || iptables -w 10 -I "${rule[@]}"
}

up() { # [podman]
  local host
  [ "${1:-podman}" = podman ] || die "unknown option $1 (there is: podman)"
  need dockerd docker.io
  need slurmctld slurmctld
  need slurmd slurmd
  need munged munge
  [ -x /usr/sbin/sshd ] || need sshd openssh-server
  "$HERE/accounts.sh" make
  write_config
  write_ssh_config
  bridge_up
  for host in "${HOSTS[@]}"; do host_up "$host"; done
  for host in "${COMPUTE[@]}"; do engine_up "$host"; done
  slurm_up
  sshd_up
  [ -z "${1:-}" ] || podmans_up
  for host in "${COMPUTE[@]}"; do await "the engine of $host" engine_answers "$host"; done
  await Slurm nodes_idle
  say "three hosts are up: $(on ctl sinfo -h -o '%N %t')"
}

# Every process in a host's network namespace: daemons, jobs, containers' shims.
processes_of() { # HOLDER
  local net dir
  net=$(readlink "/proc/$1/ns/net") || return 0
  for dir in /proc/[0-9]*; do
    [ "$(readlink "$dir/ns/net" 2>/dev/null)" != "$net" ] || printf '%s\n' "${dir#/proc/}"
  done
}

host_down() { # HOST
  local pid ids tick
  pid=$(holder_of "$1")
  if [ -n "$pid" ]; then
    if ids=$(on "$1" timeout 10 docker -H unix:///run/docker.sock ps -aq 2>/dev/null) && [ -n "$ids" ]; then
      # shellcheck disable=SC2086 # one word a container
      on "$1" docker -H unix:///run/docker.sock rm -f -v $ids >/dev/null 2>&1 || :
    fi
    for ((tick = 0; tick < 40; tick++)); do
      ids=$(processes_of "$pid" | grep -vx "$pid") || break
      # shellcheck disable=SC2086 # one word a process
      if [ $tick = 0 ]; then kill -TERM $ids 2>/dev/null || :; fi
      # shellcheck disable=SC2086
      [ $tick -lt 30 ] || kill -KILL $ids 2>/dev/null || :
      sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || :
  fi
  rm -f "$PLACE/$1.pid" "$PLACE/$1.pid.new"
  ip link delete dev "$(link_of "$1")" 2>/dev/null || :
}

cgroups_down() {
  local root host dir pids
  for root in /sys/fs/cgroup /sys/fs/cgroup/*; do
    for host in "${COMPUTE[@]}"; do
      dir=$root/$MARK-$host
      [ -d "$dir" ] || continue
      pids=$(find "$dir" -name cgroup.procs -exec cat {} + 2>/dev/null) || :
      # shellcheck disable=SC2086 # one word a process
      [ -z "$pids" ] || kill -KILL $pids 2>/dev/null || :
      find "$dir" -depth -type d -exec rmdir {} + 2>/dev/null || :
    done
  done
}

down() {
  local host
  for host in "${HOSTS[@]}"; do host_down "$host" & done
  wait
  cgroups_down
  iptables-save 2>/dev/null | grep -E "^-A .*--comment \"?$MARK-cluster\"? " | while read -r rule; do
    # shellcheck disable=SC2086 # iptables-save's words; ours have no blanks in them
    iptables -w 10 -D ${rule#-A } || :
  done
  ip link delete dev "$BRIDGE" 2>/dev/null || :
  rm -rf "$PLACE/spool" "$PLACE/state" "$PLACE/log" "$PLACE/munge" "$PLACE/slurm" "$PLACE/ssh" "$PLACE/home" "$PLACE/hosts"
}

status() {
  local host all=0
  for host in "${HOSTS[@]}"; do
    if [ -z "$(holder_of "$host")" ]; then
      printf '%-4s down\n' "$host"
      all=1
    else
      printf '%-4s up    %s\n' "$host" "$(address_of "$host")"
    fi
  done
  return $all
}

print_env() {
  printf "export GANGWAY_CLUSTER='%s'\n" "$HERE/cluster.sh"
  printf "export GANGWAY_CLUSTER_PLACE='%s'\n" "$PLACE"
  local host
  for host in "${HOSTS[@]}"; do printf "export GANGWAY_CLUSTER_%s='%s'\n" "${host^^}" "$(address_of "$host")"; done
}

usage() { sed -n '5,14s/^#   //p' "$0"; }

locked() {
  need_root "$@"
  mkdir -p /run/lock
  exec 9>/run/lock/gangway-test-rig
  flock -w 180 9 || die "another rig has been worked on for three minutes (/run/lock/gangway-test-rig)"
  "$@"
}

command=${1:-}
[ $# -eq 0 ] || shift
case $command in
  up) locked up "$@" ;;
  down) locked down ;;
  purge) locked down && rm -rf "$PLACE" ;;
  on) on "$@" ;;
  as) as "$@" ;;
  status) status ;;
  engine) engine_socket "$@" ;;
  env) print_env ;;
  *) usage >&2; exit 2 ;;
esac
