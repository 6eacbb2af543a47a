#!/bin/bash
# condor.sh - HTCondor on this machine: a pool in two containers, whose jobs use the rig's Docker engine.
#
#   condor.sh up                    start it, unless it runs; its image is made on the way (images/condor)
#   condor.sh down                  stop it; nothing stays but the image
#   condor.sh as USER COMMAND…      run a command on the machine that runs jobs, as a user who has logged in there
#   condor.sh on COMMAND…           the same as root
#   condor.sh from USER COMMAND…    run a command on the host that only submits, as a user who has logged in there
#   condor.sh at COMMAND…           the same as root
#   condor.sh env                   shell variables for tests
#   condor.sh purge                 down, and remove the image too
#
# The first container is the machine as far as jobs can tell: its processes, network and name, the homes, the installed
# Gangway. Its own are HTCondor's daemons, their configuration, and what the starter makes for a job: a private /tmp and
# /dev/shm, as it does everywhere. Where jobs run lies at the same path outside, so that the engine finds it. It has Apptainer,
# which needs nothing but user namespaces, and a /proc of which nothing is hidden, to mount one of its own.
#
# The other is a host of its own, `submit`: with a queue, homes and a network of its own, which leads to the first one and nowhere
# else, and without an engine. Installed Gangway lies at the same path. What is submitted there runs on the first.
# Needs root and `engines.sh up docker`; it is not --privileged.
set -eu
# Tests call this thousands of times: what every call does starts no process that it can do without.
HERE=${0%/*}
[ "${HERE#/}" != "$HERE" ] || HERE=$(cd "$HERE" && pwd)
# shellcheck source=test/rig/rig.sh
. "$HERE/rig.sh"
PLACE=$RIG/condor
NAME=$MARK-condor
SUBMIT=$NAME-submit
IMAGE=gangway-test/condor
# The two machines' network, and their addresses in it.
BRIDGE=gwt-${NET/./-}-h
ADDRESS=$NET.48.1 SUBMIT_ADDRESS=$NET.48.2 ADDRESSES="$NET.48.* 127.0.0.1"
PORT=9${NET##*.} # of all daemons of a machine
RUN_BASE=$RUN/jobs
START_LIMIT=30

engine() { env -u DOCKER_CONTEXT -u DOCKER_TLS_VERIFY docker -H "unix://$DOCKER_SOCK" "$@"; }

# A command among a machine's processes, with its file system. Not by the engine: that takes ten times as much of this machine.
enter() { # CONTAINER COMMAND…
  local pid namespaces=(-m -i)
  [ "$1" = "$NAME" ] || namespaces=(-m -i -u -n -p)
  { read -r pid <"$PLACE/$1.pid"; } 2>/dev/null && [ -d "/proc/$pid" ] || die "HTCondor is down"
  shift
  nsenter -t "$pid" "${namespaces[@]}" -- env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root "$@"
}

on() { enter "$NAME" "$@"; }
at() { enter "$SUBMIT" "$@"; }

as() { logged_in "$NAME" "$@"; }
from() { logged_in "$SUBMIT" "$@"; }

logged_in() { # CONTAINER USER COMMAND…
  local machine=$1 user=$2 uid gid home account
  shift 2
  account=$(getent passwd "$user") || die "unknown user $user"
  IFS=: read -r _ _ uid gid _ home _ <<<"$account"
  enter "$machine" setpriv --reuid "$uid" --regid "$gid" --init-groups --inh-caps=-all \
    env -C "$home" -i PATH=/usr/local/bin:/usr/bin:/bin HOME="$home" USER="$user" LOGNAME="$user" SHELL=/bin/bash TERM="${TERM:-dumb}" "$@"
}

# What both machines have, besides a key from which their daemons know each other.
common_config() { # DIRECTORY ADDRESS
  cat <<END
CONDOR_HOST = $ADDRESS
COLLECTOR_HOST = $ADDRESS:$PORT
SHARED_PORT_PORT = $PORT
NETWORK_INTERFACE = $2
BIND_ALL_INTERFACES = False
UID_DOMAIN = site.test
TRUST_UID_DOMAIN = True
use SECURITY: HOST_BASED
$(for level in READ WRITE DAEMON NEGOTIATOR ADVERTISE_MASTER ADVERTISE_STARTD ADVERTISE_SCHEDD; do
    echo "ALLOW_$level = $ADDRESSES"
  done)
# Anybody may look; who has no token is nobody on the other machine.
SEC_CLIENT_AUTHENTICATION = OPTIONAL
SEC_CLIENT_ENCRYPTION = OPTIONAL
SEC_CLIENT_INTEGRITY = OPTIONAL
LOG = $1/log
SPOOL = $1/spool
# As quick as it gets: a test waits for each of these.
SCHEDD_INTERVAL = 2
SCHEDD_MIN_INTERVAL = 1
UPDATE_INTERVAL = 5
JOB_START_DELAY = 0
# It would raise limits of this machine's kernel, for good: a Podman that was started before has lower ones than its clients then.
ENABLE_KERNEL_TUNING = False
END
}

write_config() {
  local submit=$PLACE/submit user home
  mkdir -p "$PLACE"/{etc,log,execute,spool/second} "$submit"/{etc,log,spool,home}
  chmod 0755 "$PLACE" "$PLACE"/{etc,log,execute,spool,spool/second} "$submit" "$submit"/{etc,log,spool,home}
  {
    common_config "$PLACE" "$ADDRESS"
    cat <<END
use ROLE: CentralManager, Submit, Execute
EXECUTE = $PLACE/execute
BASE_CGROUP = $MARK/htcondor
NUM_CPUS = 8
MEMORY = 4000
START = True
SUSPEND = False
PREEMPT = False
KILL = False
NEGOTIATOR_INTERVAL = 2
NEGOTIATOR_MIN_INTERVAL = 1
NEGOTIATOR_CYCLE_DELAY = 1
STARTER_UPDATE_INTERVAL = 5
RUNBENCHMARKS = False
# A second queue, with numbers of its own: second@HOST.
SCHEDD_SECOND = \$(SCHEDD)
SCHEDD_SECOND_ARGS = -local-name second
second.SCHEDD_NAME = second
second.SCHEDD_LOG = $PLACE/log/SchedLog.second
second.SPOOL = $PLACE/spool/second
second.SCHEDD_ADDRESS_FILE = $PLACE/spool/second/.schedd_address
second.SCHEDD_DAEMON_AD_FILE = $PLACE/spool/second/.schedd_classad
DAEMON_LIST = \$(DAEMON_LIST) SCHEDD_SECOND
DC_DAEMON_LIST = + SCHEDD_SECOND
END
  } >"$PLACE/etc/condor"
  {
    common_config "$submit" "$SUBMIT_ADDRESS"
    echo "use ROLE: Submit"
  } >"$submit/etc/condor"
  cat >"$PLACE/etc/gangway" <<END
engine = "unix://$DOCKER_SOCK"
# A job's /dev/shm is its own: the engine does not see it.
runDirectory = "$RUN_BASE/%U"
END
  head -c 64 /dev/urandom | (umask 077 && tee "$PLACE/etc/POOL" >"$submit/etc/POOL")
  getent passwd "$TEST_USER" "$OTHER_USER" | tee "$PLACE/etc/passwd" >"$submit/etc/passwd"
  getent group "$TEST_USER" "$OTHER_USER" "$ENGINE_GROUP" | tee "$PLACE/etc/group" >"$submit/etc/group"
  for user in "$TEST_USER" "$OTHER_USER"; do
    home=$(getent passwd "$user" | cut -d: -f6)
    install -d -m 0755 -o "$user" -g "$(id -g "$user")" "$submit/home/${home##*/}"
  done
  mkdir -p "$RUN_BASE"
  mountpoint -q "$RUN_BASE" || mount -t tmpfs -o mode=1777,nosuid,nodev,size=256m gangway-test-jobs "$RUN_BASE"
}

answers() {
  [ "$(on condor_status -schedd -af Name 2>/dev/null | wc -l)" = 3 ] && [ -n "$(on condor_status -af Name 2>/dev/null)" ]
}

running() { [ "$(engine inspect -f '{{.State.Running}}' "$NAME" "$SUBMIT" 2>/dev/null | uniq)" = true ]; }

start_first() { # NODE
  # HTCondor looks for cgroup v1 as distributions mount it, cpu and cpuacct in one. Where they are apart, it gets the
  # half that counts: a job has its cpu time, and no weight.
  # shellcheck disable=SC2016 # it is the inner shell's
  engine run -d --name "$NAME" --pid host --network host --uts host --cgroupns host \
    --add-host "submit.site.test:$SUBMIT_ADDRESS" --cap-add SYS_ADMIN --cap-add SYS_PTRACE --cap-add SYS_NICE \
    --security-opt apparmor=unconfined --security-opt seccomp=unconfined --security-opt systempaths=unconfined \
    -v /home:/home -v "$RIG/install:$RIG/install:ro" -v "$PLACE:$PLACE" -v "$RUN_BASE:$RUN_BASE" \
    -v "$DOCKER_SOCK:$DOCKER_SOCK" -v /sys/fs/cgroup:/sys/fs/cgroup -v "$1:/usr/local/bin/node:ro" \
    "$IMAGE" sh -c 'if [ -d /sys/fs/cgroup/memory ] && [ ! -e /sys/fs/cgroup/cpu,cpuacct ]; then
        mkdir /cgroup; mount --rbind /sys/fs/cgroup /cgroup; mount -t tmpfs cgroup /sys/fs/cgroup
        for c in /cgroup/*; do mkdir "/sys/fs/cgroup/${c##*/}"; mount --bind "$c" "/sys/fs/cgroup/${c##*/}"; done
        umount -R -l /cgroup; ln -s cpuacct /sys/fs/cgroup/cpu,cpuacct
      fi
      install -D -m 644 "$1/etc/gangway" /etc/gangway/config.toml; chown condor: "$1/execute"
      '"$MACHINE" sh "$PLACE" "$RIG" >/dev/null
}

start_submit() { # NODE
  local place=$PLACE/submit
  # Not --pid host: a file or process of the first machine is none of this one's.
  engine run -d --name "$SUBMIT" --init --network "$NAME" --ip "$SUBMIT_ADDRESS" --hostname submit.site.test \
    --add-host "$(hostname):$ADDRESS" \
    -v "$place/home:/home" -v "$RIG/install:$RIG/install:ro" -v "$place:$place" -v "$1:/usr/local/bin/node:ro" \
    "$IMAGE" sh -c "$MACHINE" sh "$place" "$RIG" >/dev/null
  # Docker gives even an internal network a way out here.
  nsenter -n -t "$(engine inspect -f '{{.State.Pid}}' "$SUBMIT")" ip route del default 2>/dev/null || :
}

# The way to HTCondor's start on either: DIRECTORY RIG.
# shellcheck disable=SC2016 # it is the inner shell's
MACHINE='cat "$1/etc/passwd" >>/etc/passwd; cat "$1/etc/group" >>/etc/group; cp "$1/etc/condor" /etc/condor/config.d/99-gangway
      mkdir -p -m 700 /etc/condor/passwords.d; install -m 600 "$1/etc/POOL" /etc/condor/passwords.d/POOL
      ln -s "$2/install/bin/gangway" /usr/local/bin/gangway; chown -R condor: "$1/log" "$1/spool"
      exec condor_master -f'

up() {
  local tick node name starting
  [ -S "$DOCKER_SOCK" ] || die "no engine at $DOCKER_SOCK: run test/rig/engines.sh up docker"
  [ -x "$RIG/install/bin/gangway" ] || die "no Gangway in $RIG/install: run scripts/install.sh $RIG/install"
  if running && answers; then return 0; fi
  node=$(realpath "$(command -v node)")
  "$HERE/../../images/load.sh" docker condor
  engine rm -f -v "$NAME" "$SUBMIT" >/dev/null 2>&1 || :
  write_config
  engine network inspect "$NAME" >/dev/null 2>&1 ||
    engine network create --internal --subnet "${ADDRESS%.*}.0/29" \
      -o "com.docker.network.bridge.name=$BRIDGE" "$NAME" >/dev/null
  start_submit "$node" &
  starting=$!
  start_first "$node"
  wait "$starting"
  for name in "$NAME" "$SUBMIT"; do engine inspect -f '{{.State.Pid}}' "$name" >"$PLACE/$name.pid"; done
  for ((tick = 0; tick < START_LIMIT * 5; tick++)); do
    answers && break
    running || die "a machine has ended: $(for name in "$NAME" "$SUBMIT"; do engine logs "$name" 2>&1 | tail -5; done)"
    sleep 0.2
  done
  [ $tick -lt $((START_LIMIT * 5)) ] || die "HTCondor did not answer within $START_LIMIT s; its logs are in $PLACE/log and $PLACE/submit/log"
  say "HTCondor is up: $(on condor_status -af Name)"
}

down() {
  if [ -S "$DOCKER_SOCK" ] && running; then
    at condor_rm -all >/dev/null 2>&1 || :
    on condor_rm -all >/dev/null 2>&1 || :
    on condor_off -fast -master >/dev/null 2>&1 || :
  fi
  if [ -S "$DOCKER_SOCK" ]; then
    engine rm -f -v "$NAME" "$SUBMIT" >/dev/null 2>&1 || :
    engine network rm "$NAME" >/dev/null 2>&1 || :
  fi
  umount "$RUN_BASE" 2>/dev/null || umount -l "$RUN_BASE" 2>/dev/null || :
  rm -rf "$RUN_BASE" "$PLACE"
  # HTCondor's tools note in each home which daemons they have met. What is removed is done as its user: a home is theirs.
  local user home
  for user in "$TEST_USER" "$OTHER_USER"; do
    home=$(getent passwd "$user" | cut -d: -f6)
    [ ! -d "$home/.condor" ] || setpriv --reuid "$user" --regid "$(id -g "$user")" --init-groups \
      sh -c 'rm -f "$1/.condor/known_hosts"; rmdir "$1/.condor" 2>/dev/null || :' sh "$home"
  done
  find /sys/fs/cgroup -depth -type d -path "/sys/fs/cgroup*/$MARK/htcondor*" -exec rmdir {} + 2>/dev/null || :
}

need_root "$@"
command=${1:-}
[ $# -eq 0 ] || shift
case $command in
  up) up ;;
  down) down ;;
  as | on | from | at) "$command" "$@" ;;
  env) printf "export GANGWAY_CONDOR_PLACE='%s'\nexport GANGWAY_CONDOR_RUN_BASE='%s'\n" "$PLACE" "$RUN_BASE" ;;
  purge)
    down
    [ ! -S "$DOCKER_SOCK" ] || engine rmi "$IMAGE" >/dev/null 2>&1 || :
    ;;
  *) sed -n '4,11s/^#   //p' "$0" >&2; exit 2 ;;
esac
