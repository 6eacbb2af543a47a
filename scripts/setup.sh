#!/bin/bash
# setup.sh - installs what this machine lacks, out of Debian's archive; nothing when nothing is missing.
#
#   scripts/setup.sh [--check] [build] [engine] [test]      all three by default; each contains those before it
#
#   build    what compiles the udiImage tree and the command line
#   engine   engines to run, and what makes the demo's and the tests' images
#   test     what the tests and the measurements use besides
#
# As root it installs; otherwise, and with --check, it says what is missing and how to get it (exit status 1).
# A program that is there is good wherever it came from: Docker's own packages do as well as Debian's.
# No service is started by it, and none that it brought is left enabled: the tests start what they need.
set -eu
PROGRAM=${0##*/}
die() { printf '%s: %s\n' "$PROGRAM" "$*" >&2; exit 1; }

check=0
[ "${1:-}" != --check ] || { check=1; shift; }
section=0
[ $# -gt 0 ] || set -- test
for word; do
  case $word in
    build) level=1 ;;
    engine) level=2 ;;
    test) level=3 ;;
    *) die "usage: setup.sh [--check] [build] [engine] [test]" ;;
  esac
  [ "$level" -le "$section" ] || section=$level
done

# --- what is missing ---------------------------------------------------------------------------------

missing=()

# An administrator's programs are in places that an ordinary user's PATH may not have.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

program() { # PACKAGE PROGRAM
  command -v "$2" >/dev/null 2>&1 || missing+=("$1")
}

file() { # PACKAGE PATTERN…: one of the files is there
  local package=$1 name
  shift
  for name; do [ ! -e "$name" ] || return 0; done
  missing+=("$package")
}

file ca-certificates /etc/ssl/certs/ca-certificates.crt
program gcc gcc
file libc6-dev /usr/include/stdio.h
file linux-libc-dev /usr/include/linux/seccomp.h
file libcrypt-dev /usr/include/crypt.h
program binutils strip
program make make
program musl-tools musl-gcc
program dpkg-dev dpkg-source
program perl perl
program patch patch
program xz-utils xz
program bzip2 bzip2
program curl curl
file debian-archive-keyring /usr/share/keyrings/debian-archive-keyring.gpg

if [ "$section" -ge 2 ]; then
  program docker.io dockerd
  # One package with the engine in Debian 12, one of its own since Debian 13.
  if ! command -v docker >/dev/null 2>&1 && apt-cache show docker-cli >/dev/null 2>&1; then
    missing+=(docker-cli)
  fi
  program containerd containerd
  program runc runc
  program podman podman
  program conmon conmon
  file golang-github-containers-common /usr/share/containers/seccomp.json
  file containernetworking-plugins /usr/lib/cni/bridge /opt/cni/bin/bridge
  program uidmap newuidmap
  program iptables iptables
  program iproute2 ip
  program mmdebstrap mmdebstrap
  program procps ps
  program passwd useradd
  program util-linux setpriv
fi

if [ "$section" -ge 3 ]; then
  program openssh-client ssh
  program openssh-server sshd
  program slurmctld slurmctld
  program slurmd slurmd
  program slurm-client scontrol
  program munge munged
  program rsync rsync
  program strace strace
  program socat socat
  program tmux tmux
  program zsh zsh
  program fish fish
  program python3 python3
  program bsdutils script
  program sshfs sshfs
  program fuse3 fusermount3
  program chromium chromium
  program xvfb Xvfb
  program xauth xauth
  program man-db man
  program groff-base groff
  program mandoc mandoc
fi

# Not out of Debian 12's archive, where it is too old.
node_wanted="20.19"
node_found=$(node -p 'process.versions.node' 2>/dev/null) || node_found=
node_ok=0
if [ -n "$node_found" ] && [ "$(printf '%s\n%s\n' "$node_wanted" "$node_found" | sort -V | head -n 1)" = "$node_wanted" ] &&
  command -v npm >/dev/null 2>&1; then
  node_ok=1
fi

if [ ${#missing[@]} -gt 0 ]; then
  if [ $check = 1 ] || [ "$(id -u)" != 0 ]; then
    printf '%s: missing Debian packages; as root: apt-get install --no-install-recommends %s\n' \
      "$PROGRAM" "${missing[*]}" >&2
  fi
fi
if [ $node_ok = 0 ]; then
  printf '%s: Node.js %s or newer with npm is needed (found: %s); see https://nodejs.org/en/download\n' \
    "$PROGRAM" "$node_wanted" "${node_found:-none}" >&2
fi

if [ ${#missing[@]} -eq 0 ]; then
  [ $node_ok = 1 ] || exit 1
  exit 0
fi
[ $check = 0 ] && [ "$(id -u)" = 0 ] || exit 1
command -v apt-get >/dev/null 2>&1 || die "no apt-get on this machine; the packages' Debian names are: ${missing[*]}"

# --- installing --------------------------------------------------------------------------------------

# While a policy-rc.d says 101, packages start no service when they are installed. Ours is told by its
# text, so that one left by a killed run is taken for what it is; somebody else's is put back.
policy=/usr/sbin/policy-rc.d
kept=$policy.gangway-kept
text='#!/bin/sh
# gangway setup.sh: no service is started while packages are installed
exit 101'

restore_policy() {
  [ "$(cat $policy 2>/dev/null)" != "$text" ] || rm -f $policy
  [ ! -e $kept ] || [ -e $policy ] || mv $kept $policy
}
trap restore_policy EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Two clones at once: one after the other.
exec 9>/run/gangway-setup.lock
flock 9
restore_policy
[ ! -e $policy ] || mv $policy $kept
printf '%s\n' "$text" >$policy
chmod 0755 $policy

printf '%s: installing %s\n' "$PROGRAM" "${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
wait_for_dpkg=(-o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
apt-get -qq "${wait_for_dpkg[@]}" update || printf '%s: apt-get update failed; trying with what is known\n' "$PROGRAM" >&2
log=$(mktemp)
if ! apt-get -qq -y "${wait_for_dpkg[@]}" install --no-install-recommends "${missing[@]}" >"$log" 2>&1; then
  tail -n 30 "$log" >&2
  die "apt-get could not install them; its whole output is $log"
fi
rm -f "$log"

# Nor at the next boot: none of these was wanted as a service here.
for package in "${missing[@]}"; do
  case $package in
    openssh-server) units="ssh.service ssh.socket" ;;
    docker.io) units="docker.service docker.socket" ;;
    containerd) units=containerd.service ;;
    podman) units="podman.service podman.socket podman-restart.service podman-auto-update.service podman-auto-update.timer" ;;
    rsync) units=rsync.service ;;
    slurmctld | slurmd) units=$package.service ;;
    munge) units=munge.service ;;
    *) continue ;;
  esac
  for unit in $units; do
    # With systemd, and without it.
    systemctl --quiet disable "$unit" >/dev/null 2>&1 || :
    [ ! -e "/etc/init.d/${unit%.*}" ] || update-rc.d "${unit%.*}" disable >/dev/null 2>&1 || :
  done
done

[ $node_ok = 1 ] || exit 1
