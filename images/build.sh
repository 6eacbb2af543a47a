#!/bin/bash
# build.sh - makes the root file systems of the test images: build/images/NAME.tar
#
#   images/build.sh [NAME…]      by default bare debian foreign locked mpich openmpi5 scratch; also: condor
#   images/build.sh --hash NAME  prints the recipe's hash (what load.sh writes into the image's label)
#
# An image is made anew only when its recipe has changed (hash in NAME.key). Copies are kept for other
# clones in $GANGWAY_CACHE/images (default ~/.cache/gangway/images), by recipe hash; GANGWAY_CACHE=none
# keeps none.
set -eu
HERE=$(cd "$(dirname "$0")" && pwd)
OUT=${HERE%/*}/build/images
ALL=(bare debian foreign locked mpich openmpi5 scratch)
CACHE=${GANGWAY_CACHE-${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/gangway}
case $CACHE in none | '') CACHE=none ;; *) CACHE=$CACHE/images ;; esac

say() { printf 'images: %s\n' "$*"; }
die() { printf 'images: %s\n' "$*" >&2; exit 1; }

# Everything that decides what comes out, but the packages' versions: those stay as they were when
# the image was made. Remove build/images and the cache for newer ones.
recipe_hash() { # NAME
  local files=("recipe.sh" "probe/probe.c" "$1/recipe" "$1/config")
  case $1 in debian | mpich | openmpi5) files+=("mpi/ring.c") ;; esac
  (cd "$HERE" && { uname -m; sha256sum "${files[@]}"; }) | sha256sum | cut -c1-32
}

tar_sum() { sha256sum <"$1" | cut -d' ' -f1; }

fresh() { # NAME: is build/images/NAME.tar what the recipe makes?
  local key sum size
  [ -f "$OUT/$1.tar" ] && [ -f "$OUT/$1.key" ] || return 1
  read -r key sum size <"$OUT/$1.key"
  # The size is enough here: the file was renamed into place whole. The sum is for the cache.
  [ "$key" = "$(recipe_hash "$1")" ] && [ -n "$sum" ] && [ "$(stat -c %s "$OUT/$1.tar")" = "$size" ]
}

# Puts TAR in place: the old key goes first, the new one comes last, so that a key is never beside
# a file it does not belong to.
settle() { # NAME TAR SUM
  rm -f "$OUT/$1.key"
  mv -f "$2" "$OUT/$1.tar"
  printf '%s %s %s\n' "$(recipe_hash "$1")" "$3" "$(stat -c %s "$OUT/$1.tar")" >"$OUT/$1.key.new"
  mv -f "$OUT/$1.key.new" "$OUT/$1.key"
}

from_cache() { # NAME WORK
  local file sum
  [ "$CACHE" != none ] || return 1
  file=$CACHE/$1-$(recipe_hash "$1")
  [ -f "$file.tar" ] && [ -f "$file.sha256" ] || return 1
  # The copy is what is checked, so that nothing can change in between.
  cp --reflink=auto "$file.tar" "$2/cached.tar" 2>/dev/null || return 1
  read -r sum <"$file.sha256"
  if [ "$(tar_sum "$2/cached.tar")" != "$sum" ]; then
    say "$1: the copy in $CACHE is damaged and is thrown away"
    rm -f "$2/cached.tar" "$file.tar" "$file.sha256"
    return 1
  fi
  touch -c "$file.tar" 2>/dev/null || :
  settle "$1" "$2/cached.tar" "$sum"
}

to_cache() { # NAME: best effort; a full or read-only home is no reason to fail
  local file sum new
  [ "$CACHE" != none ] || return 0
  mkdir -p "$CACHE" 2>/dev/null && [ -w "$CACHE" ] || return 0
  file=$CACHE/$1-$(recipe_hash "$1")
  [ ! -f "$file.sha256" ] || return 0
  read -r _ sum _ <"$OUT/$1.key"
  new=$(mktemp -d "$CACHE/.new-XXXXXX" 2>/dev/null) || return 0
  if cp --reflink=auto "$OUT/$1.tar" "$new/tar" 2>/dev/null && printf '%s\n' "$sum" >"$new/sum"; then
    mv -f "$new/tar" "$file.tar" && mv -f "$new/sum" "$file.sha256"
  fi
  rm -rf "$new"
  # Older recipes' results, unused for a month, and what a killed run left half-written.
  find "$CACHE" -maxdepth 1 -name "$1-*" -mtime +30 -delete 2>/dev/null || :
  find "$CACHE" -maxdepth 1 -name '.new-*' -mmin +60 -exec rm -rf {} + 2>/dev/null || :
}

build_one() { # NAME
  local name=$1 work=$OUT/work/$1 start=$SECONDS
  rm -rf "$work"
  mkdir -p "$work"
  if from_cache "$name" "$work"; then
    say "$name: from the cache"
  else
    if ! PROBE=$OUT/work/probe "$HERE/$name/recipe" "$work/out.tar" "$work" >"$OUT/work/$name.log" 2>&1; then
      tail -n 25 "$OUT/work/$name.log" >&2
      die "$name could not be made; the whole log is $OUT/work/$name.log"
    fi
    settle "$name" "$work/out.tar" "$(tar_sum "$work/out.tar")"
    to_cache "$name"
    say "$name: made in $((SECONDS - start)) s, $(($(stat -c %s "$OUT/$name.tar") >> 20)) MiB"
  fi
  rm -rf "$work"
}

need() { # PROGRAM PACKAGE
  command -v "$1" >/dev/null 2>&1 || die "$1 is missing (Debian package $2): run scripts/setup.sh engine"
}

known() {
  local name
  for name in "${ALL[@]}" condor; do [ "$name" != "$1" ] || return 0; done
  die "there is no image $1 (there are: ${ALL[*]} condor)"
}

if [ "${1:-}" = --hash ]; then
  known "${2:-}"
  recipe_hash "$2"
  exit 0
fi
[ $# -gt 0 ] || set -- "${ALL[@]}"
for name; do known "$name"; done

todo=()
for name; do fresh "$name" || todo+=("$name"); done
[ ${#todo[@]} -gt 0 ] || exit 0

need musl-gcc musl-tools
need gcc gcc
need mmdebstrap mmdebstrap
mkdir -p "$OUT/work"
# One build at a time in this clone; whoever waited finds the work done.
exec 9>"$OUT/work/lock"
flock 9
musl-gcc -std=c11 -Os -static -s -Wall -Wextra -o "$OUT/work/probe.new" "$HERE/probe/probe.c"
mv -f "$OUT/work/probe.new" "$OUT/work/probe"

# Side by side: while one waits for the network the other unpacks.
jobs=()
for name in "${todo[@]}"; do
  fresh "$name" && continue
  build_one "$name" &
  jobs+=($!)
done
failed=0
for job in "${jobs[@]}"; do wait "$job" || failed=1; done
exit $failed
