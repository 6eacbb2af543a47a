#!/bin/bash
# install.sh PREFIX [shifter] - puts the built program and its udiImage below PREFIX: bin/gangway,
# lib/gangway/, and links to its manual pages: share/man/man1/.
# With `shifter` it can be called by that name, too: bin/shifter, unless this machine has Shifter.
# lib/gangway/condor/condor_ssh_to_job is the program under HTCondor's name, for who puts that directory into the PATH.
# A new tree is renamed into place, so that jobs that are being started find the old one or the new one, whole. Jobs that
# run have the former one mounted: it stays beside it until an install finds that none has it any more.
set -eu
# What others can write is not executed.
umask 022
prefix=$(realpath -m -- "${1:?usage: scripts/install.sh PREFIX [shifter]}")
program=lib/gangway/dist/gangway.cjs
case ${2-} in
  '') ;;
  shifter)
    for other in "$prefix/bin/shifter" $(command -v shifter); do
      [ -e "$other" ] || [ -L "$other" ] || continue
      case $(readlink "$other") in *"$program") continue ;; esac
      echo "install: $other is there, and not ours: nothing was installed" >&2
      exit 1
    done
    ;;
  *) echo "install: usage: scripts/install.sh PREFIX [shifter]" >&2; exit 1 ;;
esac
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
mkdir "$fresh/condor"
ln -s ../dist/gangway.cjs "$fresh/condor/condor_ssh_to_job"
chmod -R go-w,a+rX "$fresh"
[ ! -e "$lib" ] || mv "$lib" "$prefix/lib/gangway-former.$(date +%s).$$"
mv "$fresh" "$lib"
ln -sfn "../$program" "$prefix/bin/gangway"
# Beside the links of commands that are gone.
man=$prefix/share/man/man1
mkdir -p "$man"
for page in "$man"/gangway*.1; do
  case $(readlink "$page") in */lib/gangway/dist/man/*) rm -f "$page" ;; esac
done
for page in "$lib"/dist/man/*.1; do
  ln -sfn "../../../lib/gangway/dist/man/${page##*/}" "$man/${page##*/}"
done
[ -z "${2-}" ] || ln -sfn "../$program" "$prefix/bin/shifter"
for former in "$prefix"/lib/gangway-former.*; do
  [ -d "$former" ] || continue
  # The kernel follows a mounted directory that was moved. A process whose mounts cannot be read is another user's.
  cat /proc/[0-9]*/mountinfo 2>/dev/null | grep -qF "/${former##*/}/udiImage " || rm -rf "$former"
done
