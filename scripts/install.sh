#!/bin/bash
# install.sh PREFIX - puts the built program and its udiImage below PREFIX: bin/gangway, lib/gangway/.
# A new tree is renamed into place, so that jobs that are being started find the old one or the new one, whole.
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
if [ -e "$lib" ]; then
  # Mounted trees live on under their inode until the last job that has them ends.
  mv "$lib" "$fresh.old"
  trap 'rm -rf "$fresh" "$fresh.old"' EXIT
fi
mv "$fresh" "$lib"
ln -sfn ../lib/gangway/dist/gangway.cjs "$prefix/bin/gangway"
