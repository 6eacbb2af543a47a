# shellcheck shell=bash
# podman.sh - how the rig's Podmans are configured. Sourced, not run.

# Podman's defaults (nofile 1048576, nproc 4194304) cannot be set where CAP_SYS_RESOURCE is missing:
# what this machine can give is what a process of ours already has. Podman lowers its own nproc to
# the kernel's highest pid, so a container can have no more than that either.
ulimits() {
  local nofile nproc pid_max
  nofile=$(ulimit -Hn) nproc=$(ulimit -Hu)
  [ "$nofile" != unlimited ] || nofile=1048576
  read -r pid_max </proc/sys/kernel/pid_max
  if [ "$nproc" = unlimited ] || [ "$nproc" -gt "$pid_max" ]; then nproc=$pid_max; fi
  printf '[ "nofile=%s:%s", "nproc=%s:%s" ]' "$nofile" "$nofile" "$nproc" "$nproc"
}

# Of storage.conf a rootless Podman heeds neither graphroot nor runroot: the former has another name
# there, the latter is always below XDG_RUNTIME_DIR.
#
# ROOT is what the path has to be prefixed with here, where Podman runs in a mount namespace of its own.
podman_config() { # DIR GRAPHROOT NETNS NETWORK-SECTION [ROOT]
  local at=${5:-}$1
  mkdir -p "$at"
  cat >"$at/storage.conf" <<END
[storage]
driver = "overlay"
graphroot = "$2"
rootless_storage_path = "$2"
runroot = "$1/runroot"
END
  cat >"$at/containers.conf" <<END
[containers]
default_ulimits = $(ulimits)
log_driver = "k8s-file"
netns = "$3"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "$1/libpod"
lock_type = "file"
[network]
$4
END
  # Images are loaded, never pulled under a short name; where a test wants to pull, this is Docker Hub.
  printf 'unqualified-search-registries = ["docker.io"]\n' >"$at/registries.conf"
  chmod 0755 "$at"
  chmod 0644 "$at"/*.conf
}
