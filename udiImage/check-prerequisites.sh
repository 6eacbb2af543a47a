#!/bin/sh
# Names the Debian packages that the build of the tree needs and that are not installed, in one line.
missing=
need() { # need PACKAGE TEST...
	package=$1
	shift
	"$@" >/dev/null 2>&1 || missing="$missing $package"
}
have() { command -v "$1"; }
header() { printf '#include <%s>\n' "$1" | cc -E - ; }

need gcc have gcc
need libc6-dev header stdio.h
need linux-libc-dev header linux/seccomp.h
need libcrypt-dev header crypt.h
need binutils have strip
need make have make
need musl-tools have musl-gcc
need perl have perl
need patch have patch
need xz-utils have xz
need bzip2 have bzip2

if [ -n "$missing" ]; then
	echo "udiImage: missing packages: apt-get install$missing" >&2
	exit 1
fi
