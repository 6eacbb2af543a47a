# shellcheck shell=bash
# recipe.sh - what the recipes in images/NAME/recipe share. Sourced by each; run by build.sh as
#
#   images/NAME/recipe TAR WORK     make the root file system as TAR, with the empty directory WORK to use
#
# A change of this file or of probe.c makes every image anew.
# shellcheck disable=SC2034 # used by the recipes
set -eu
IMAGES=$(cd "$(dirname "$0")/.." && pwd)
TAR=$1
WORK=$2
# Times of what we make ourselves; the packages' files keep theirs.
export SOURCE_DATE_EPOCH=1700000000 LC_ALL=C

# The machine's own Debian mirror, as its apt is configured. Who a repository belongs to is known when
# its index has been fetched; before that its path must do.
debian_mirror() {
  local mirror=${GANGWAY_DEBIAN_MIRROR:-}
  # shellcheck disable=SC2016 # apt's own variables
  [ -n "$mirror" ] || mirror=$(apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 'Created-By: Packages' |
    sed -n 's/^Debian|Debian|//p' | head -n 1)
  # shellcheck disable=SC2016
  [ -n "$mirror" ] || mirror=$(apt-get indextargets --no-release-info --format '$(REPO_URI)' 'Created-By: Packages' |
    grep -E '/debian/?$' | head -n 1)
  if [ -z "$mirror" ]; then
    echo "no Debian mirror in this machine's apt configuration: set GANGWAY_DEBIAN_MIRROR to one" >&2
    exit 1
  fi
  printf '%s\n' "$mirror"
}

# download PACKAGE: its .deb into $WORK. By the machine's package lists, or where those are missing or
# older than the mirror by fresh ones of our own, since nobody asked us to change the machine's.
download() {
  (
    cd "$WORK"
    apt-get download -qq -o APT::Sandbox::User=root "$1" 2>/dev/null && exit 0
    mkdir -p apt/lists/partial apt/cache/archives/partial
    own=(-qq -o APT::Sandbox::User=root -o Dir::State::Lists="$WORK/apt/lists" -o Dir::Cache="$WORK/apt/cache")
    apt-get "${own[@]}" update
    apt-get "${own[@]}" download "$1"
  )
}

# debootstrap SUITE PACKAGES [OPTION…]: the smallest system with these packages, without manuals and
# translations, into $TAR. The main archive alone: these images never face a network, and each
# further archive is one more index to fetch. No device nodes: an engine makes its own /dev, and a
# rootless one cannot unpack them.
debootstrap() {
  local suite=$1 packages=$2 line
  shift 2
  # The machine's proxies, if it needs any to reach the mirror.
  while read -r line; do
    set -- "$@" --aptopt="$line"
  done < <(apt-config dump 2>/dev/null | grep -iE '^Acquire::https?::(Proxy|Proxy-Auto-Detect|CaInfo|Verify-)[^ ]* "[^"]' || :)
  mmdebstrap --quiet --variant=essential --format=tar \
    --aptopt='APT::Install-Recommends "false"' \
    --aptopt='Acquire::Languages "none"' \
    --dpkgopt=force-unsafe-io \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt='path-exclude=/usr/share/lintian/*' \
    --skip=output/dev \
    --include="$packages" \
    --customize-hook="install -D -m 0755 '$PROBE' \"\$1/usr/local/bin/probe\"" \
    "$@" "$suite" "$TAR" "$(debian_mirror)"
}

# Debian's static busybox, out of its package and not installed: it would push out a machine's own
# busybox, which the initramfs needs.
busybox_into() { # ROOT
  download busybox-static
  dpkg-deb --fsys-tarfile "$WORK"/busybox-static_*.deb | tar -x -C "$WORK" --wildcards '*bin/busybox'
  local binary applet
  binary=$(find "$WORK" -name busybox -type f)
  install -D -m 0755 "$binary" "$1/bin/busybox"
  "$binary" --list-full | while read -r applet; do
    [ "$applet" != bin/busybox ] || continue
    mkdir -p "$1/${applet%/*}"
    ln -s /bin/busybox "$1/$applet"
  done
}

pack() { # ROOT: as root's files, in an order and with times of their own
  tar -c --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -C "$1" -f "$TAR" .
}

# The probe, made once by build.sh.
PROBE=${PROBE:?run by build.sh}
