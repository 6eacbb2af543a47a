#!/bin/bash
# install.sh PREFIX - puts the built program and its udiImage below PREFIX: bin/gangway, lib/gangway/.
# A new tree is renamed into place, so that jobs that are being started find the old one or the new one, whole. Jobs that
# run have the former one mounted: it stays beside it until an install finds that none has it any more.
set -eu
prefix=$(realpath -m -- "${1:?usage: scripts/install.sh PREFIX}")
cd "$(dirname "$0")/.."
for built in dist/gangway.cjs build/udiImage/manifest.json; do
  [ -e "$built" ] || { echo "install: $built is not there; run make first" >&2; exit 1; }
done
lib=$prefix/lib/gangway
mkdir -p "$prefix/bin" "$prefix/lib"
fresh=$(mktemp -d "$prefix/lib/gangway.XXXXXX")
trap 'rm -rf "$fresh"' EXIT
chmod 755 "$fresh"
cp -R dist LICENSE "$fresh/"
cp -R --preserve=mode,links build/udiImage "$fresh/udiImage"
chmod -R go-w,a+rX "$fresh"
[ ! -e "$lib" ] || mv "$lib" "$prefix/lib/gangway-former.$(date +%s).$$"
mv "$fresh" "$lib"
ln -sfn ../lib/gangway/dist/gangway.cjs "$prefix/bin/gangway"
for former in "$prefix"/lib/gangway-former.*; do
  [ -d "$former" ] || continue
  # The kernel follows a mounted directory that was moved. A process whose mounts cannot be read is another user's.
  cat /proc/[0-9]*/mountinfo 2>/dev/null | grep -qF "/${former##*/}/udiImage " || rm -rf "$former"
done
