# Small things that the other parts use. Sourced by build.sh.

say() { printf 'udiImage: %s\n' "$*"; }
die() { printf 'udiImage: %s\n' "$*" >&2; exit 1; }

sha() { sha256sum "$@" | cut -d' ' -f1; }

# log_end NAME: the end of a failed step's log.
log_end() {
	echo "udiImage: $1 failed; the end of $WORK/$1.log:"
	tail -n 30 "$WORK/$1.log" | cut -c1-300
}

# unpack COMPONENT DIR: its checked tarball without the leading directory, patched.
unpack() {
	local name=$1 dir=$2 p
	mkdir -p "$dir"
	tar -xf "$WORK/sources/$(field "$name" 3)" -C "$dir" --strip-components=1 --no-same-owner
	for p in "$HERE/patches/$name"/*.patch; do
		[ -e "$p" ] || continue
		echo "== $p"
		patch -d "$dir" -p1 --no-backup-if-mismatch -F0 <"$p"
	done
}
