# Where the source tarballs come from. Sourced by build.sh.
# The checksum in sources.txt decides, not the origin.

# field COMPONENT N: the Nth field of its line in sources.txt.
field() { awk -v n="$1" -v f="$2" '$1 == n { print $f }' "$HERE/sources.txt"; }

good() { [ -f "$1" ] && [ "$(sha "$1")" = "$2" ]; }

# fetch COMPONENT: puts its tarball into WORK/sources.
fetch() {
	local name=$1 file sum package dir
	file=$(field "$name" 3) sum=$(field "$name" 4) package=$(field "$name" 6)
	good "$WORK/sources/$file" "$sum" && return
	mkdir -p "$WORK/sources"
	rm -f "$WORK/sources/$file"
	for dir in "${GANGWAY_SOURCES:-}" "${CACHE:+$CACHE/sources}"; do
		[ -n "$dir" ] && [ -f "$dir/$file" ] || continue
		if take "$dir/$file" "$file" "$sum"; then return; fi
		say "$dir/$file has not the checksum of sources.txt: left alone"
	done
	dir=$WORK/download-$name
	rm -rf "$dir"
	mkdir -p "$dir"
	if [ "${GANGWAY_UPSTREAM:-0}" = 1 ]; then
		say "$name: downloading from upstream"
		from_upstream "$name" "$dir/$file" >"$WORK/download-$name.log" 2>&1 || true
	fi
	if [ ! -f "$dir/$file" ]; then
		say "$name: downloading $file"
		from_apt "$package" "$file" "$dir" >"$WORK/download-$name.log" 2>&1 || {
			tail -n 10 "$WORK/download-$name.log" >&2
			die "$name: cannot download $file from Debian's source packages." \
			    "Put it into a directory and name that in GANGWAY_SOURCES."
		}
	fi
	[ "$(sha "$dir/$file")" = "$sum" ] || die "$name: wrong checksum of $file:" \
	    "$(sha "$dir/$file") instead of $sum (sources.txt). It was not used."
	take "$dir/$file" "$file" "$sum"
	keep_source "$file"
	rm -rf "$dir"
}

# take FILE NAME SUM: copies it into WORK/sources if its checksum is right.
take() {
	cp "$1" "$WORK/sources/.$2.$BASHPID"
	if good "$WORK/sources/.$2.$BASHPID" "$3"; then
		mv -f "$WORK/sources/.$2.$BASHPID" "$WORK/sources/$2"
	else
		rm -f "$WORK/sources/.$2.$BASHPID"
		return 1
	fi
}

keep_source() {
	[ -n "$CACHE" ] && mkdir -p "$CACHE/sources" 2>/dev/null || return 0
	cp "$WORK/sources/$1" "$CACHE/sources/.$1.$$" 2>/dev/null &&
	    mv -f "$CACHE/sources/.$1.$$" "$CACHE/sources/$1" || rm -f "$CACHE/sources/.$1.$$"
}

from_upstream() {
	local url
	case $1 in
	openssh) url=https://cdn.openbsd.org/pub/OpenBSD/OpenSSH/portable/openssh-$(field openssh 2).tar.gz ;;
	openssl) url=https://github.com/openssl/openssl/releases/download/openssl-3.5.7/openssl-$(field openssl 2).tar.gz ;;
	zlib) url=https://zlib.net/fossils/zlib-$(field zlib 2).tar.gz ;;
	busybox) url=https://busybox.net/downloads/busybox-$(field busybox 2).tar.bz2 ;;
	*) return 1 ;;
	esac
	curl -fsSL --max-time 300 -o "$2" "$url"
	# Another packing of the same source is no harm, but it is not what was pinned.
	good "$2" "$(field "$1" 4)" || rm -f "$2"
}

# An apt of our own: the machine's mirror and keys, the suites that hold the pinned sources, private state.
apt_prepare() {
	local apt=$WORK/apt uris
	[ -e "$apt/ready" ] && return
	rm -rf "$apt"
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
	uris=$(cat /etc/apt/sources.list.d/*.sources 2>/dev/null | awk '
		function flush() { if (binary && debian) print uri; binary = debian = 0; uri = "" }
		/^[[:space:]]*$/ { flush(); next }
		/^Types:/ { binary = /deb/ }
		/^URIs:/ { uri = $2 }
		/^Suites:/ { debian = / (bookworm|trixie|stable|oldstable|forky|sid|testing)([ \t]|$)/ }
		END { flush() }'
	    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
	    sed -n 's/^deb\(-src\)\{0,1\} *\(\[[^]]*\] *\)\{0,1\}\([^ ]*\) *\(bookworm\|trixie\|stable\|oldstable\|forky\|sid\|testing\) .*/\3/p')
	uris=$(printf '%s\n' "$uris" | head -n 1)
	[ -n "$uris" ] || { echo "no Debian mirror in this machine's apt configuration"; return 1; }
	printf 'Types: deb-src\nURIs: %s\nSuites: trixie trixie-updates\nComponents: main\nSigned-By: %s\n' \
	    "$uris" /usr/share/keyrings/debian-archive-keyring.gpg >"$apt/gangway.sources"
	our_apt update
	: >"$apt/ready"
}

our_apt() {
	local apt=$WORK/apt
	apt-get -q -o Dir::Etc::sourcelist="$apt/gangway.sources" -o Dir::Etc::sourceparts=/dev/null \
	    -o Dir::Etc::preferencesparts=/dev/null -o Dir::State::lists="$apt/lists" -o Dir::Cache="$apt/cache" \
	    -o APT::Sandbox::User=root -o Acquire::Retries=3 "$@"
}

# from_apt PACKAGE FILE DIR: a mirror may hold several versions of a package; take one with this very file.
from_apt() {
	local apt=$WORK/apt version
	( flock 8; apt_prepare ) 8>"$WORK/apt.lock"
	version=$(apt-cache -o Dir::Etc::sourcelist="$apt/gangway.sources" -o Dir::Etc::sourceparts=/dev/null \
	    -o Dir::Etc::preferencesparts=/dev/null -o Dir::State::lists="$apt/lists" -o Dir::Cache="$apt/cache" \
	    showsrc --only-source "$1" | awk -v f="$2" '/^Version:/ { v = $2 } $NF == f && v { print v; exit }')
	[ -n "$version" ] || { echo "no version of $1 there has $2"; return 1; }
	( cd "$3" && our_apt --download-only --tar-only source "$1=$version" )
	[ -f "$3/$2" ]
}
