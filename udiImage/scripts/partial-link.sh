#!/bin/sh
# Stands in for the linker of OpenSSH's Makefile: links one program's own objects and what they need of libssh
# into one relocatable object, in which only main (as main_NAME) can be seen from outside. See cures/multicall.c.
set -eu
objects='' out=''
while [ $# -gt 0 ]; do
	case $1 in
	-o) out=$2; shift ;;
	*cures.o) ;;
	*.o) objects="$objects $1" ;;
	esac
	shift
done
symbol=main_$(echo "$out" | tr - _)
# shellcheck disable=SC2086 # a list of words
gcc -r -nostdlib -o "$out.tmp" $objects -L. -Lopenbsd-compat -Wl,--start-group -lssh -lopenbsd-compat -Wl,--end-group
objcopy --redefine-sym main="$symbol" --keep-global-symbol="$symbol" "$out.tmp" "$out"
rm "$out.tmp"
