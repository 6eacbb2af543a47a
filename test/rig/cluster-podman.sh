# shellcheck shell=bash
# cluster-podman.sh - each user's own rootless Podman on each compute host of cluster.sh. Sourced, not run.
#
# The service listens where systemd's would: /run/user/UID/podman/podman.sock, in the host's own /run. Images lie on disk,
# a store a host and user, in $PLACE/HOST/podman-USER; all else is in the host's memory and goes with it.

# Needs: PLACE, TEST_USER, OTHER_USER; on, daemon_on, holder_of (cluster.sh); podman_config (podman.sh).

PODMAN_USERS=("$TEST_USER" "$OTHER_USER")

podman_socket() { printf '/run/user/%s/podman/podman.sock\n' "$(id -u "$1")"; } # USER

podman_answers() { # HOST USER
  # The docker command's own: `version` asks the server too, and -e saves it where nobody listens.
  on "$1" sh -c "[ -S $(podman_socket "$2") ] && timeout 10 docker -H unix://$(podman_socket "$2") version" >/dev/null 2>&1
}

podman_up() { # HOST USER
  local host=$1 user=$2 gid store config root
  podman_answers "$host" "$user" && return 0
  gid=$(id -g "$user")
  store=$PLACE/$host/podman-$user
  config=/run/user/$(id -u "$user")/podman-config
  root=/proc/$(holder_of "$host")/root
  install -d -m 0700 -o "$user" -g "$gid" "$store"
  on "$host" install -d -m 0755 -o "$user" -g "$gid" "$config" "$(dirname "$(podman_socket "$user")")"
  # The host's network is what works everywhere: bridges and slirp need /dev/net/tun.
  podman_config "$config" "$store" host '' "$root"
  on "$host" chown -R "$user:$gid" "$config"
  # The user's own podman command is configured as the service is, by the files that it looks for; each host has its own
  # behind the links of the shared home.
  on "$host" setpriv --reuid "$user" --regid "$gid" --init-groups sh -c 'mkdir -p "$1/.config/containers" &&
    for file in containers storage registries; do ln -sfn "$2/$file.conf" "$1/.config/containers/$file.conf"; done' \
    sh "$(getent passwd "$user" | cut -d: -f6)" "$config"
  on "$host" rm -f "$(podman_socket "$user")"
  daemon_on "$host" "podman-$host-$user" setpriv --reuid "$user" --regid "$gid" --init-groups --inh-caps=-all \
    env -C / HOME="$(getent passwd "$user" | cut -d: -f6)" USER="$user" XDG_RUNTIME_DIR="/run/user/$(id -u "$user")" \
    CONTAINERS_CONF="$config/containers.conf" CONTAINERS_STORAGE_CONF="$config/storage.conf" \
    CONTAINERS_REGISTRIES_CONF="$config/registries.conf" \
    podman --log-level warn system service --time 0 "unix://$(podman_socket "$user")"
}

podmans_up() {
  local host user
  need podman podman
  need newuidmap uidmap
  for host in "${COMPUTE[@]}"; do
    for user in "${PODMAN_USERS[@]}"; do podman_up "$host" "$user"; done
  done
  for host in "${COMPUTE[@]}"; do
    for user in "${PODMAN_USERS[@]}"; do await "the Podman of $user on $host" podman_answers "$host" "$user"; done
  done
  say "each host has a rootless Podman for ${PODMAN_USERS[*]}"
}
