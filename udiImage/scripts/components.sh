# How each component is built. Sourced by build.sh.
#
# build_NAME SOURCE RESULT: SOURCE is the unpacked, patched source, RESULT an empty directory for what is kept.

declare -A KEY

# The compilers and C libraries end up in the result, so they belong to its key.
toolchain_key() {
	{
		echo "$ARCH"
		gcc -dumpfullversion
		sha256sum <"$(gcc -print-file-name=libc.a)"
		sha256sum <"$(musl-gcc -print-file-name=libc.a)"
	} 2>/dev/null | sha256sum | cut -c1-64
}

# compute_keys: KEY[name] for each component from everything that goes into it.
compute_keys() {
	local tools name recipe
	tools=$(toolchain_key)
	for name in openssl zlib openssh popt xxhash rsync busybox siblings; do
		case $name in
		openssh) recipe=$(declare -f build_openssh configure_openssh unpack) ;;
		rsync|busybox|siblings) recipe=$(declare -f "build_$name" kernel_headers unpack) ;;
		*) recipe=$(declare -f "build_$name" unpack) ;;
		esac
		KEY[$name]=$(
			{
				echo "$tools $recipe $(field "$name" 4)"
				case $name in
				openssh) echo "${KEY[openssl]} ${KEY[zlib]}"; cd "$HERE" && sha256sum cures/* patches/openssh/* scripts/partial-link.sh ;;
				rsync) echo "${KEY[popt]} ${KEY[xxhash]}"; cd "$HERE" && sha256sum patches/rsync/* ;;
				busybox) cd "$HERE" && sha256sum busybox.config ;;
				siblings) [ ! -d "$HERE/src" ] || { cd "$HERE" && find src -type f -name '*.[ch]' | sort | xargs -r sha256sum; } ;;
				esac
			} | sha256sum | cut -c1-24
		)
	done
}

result() { echo "$WORK/$1-${KEY[$1]}"; }

# component NAME: its result directory exists afterwards. Both chains may want the same one at once.
component() {
	[ -d "$(result "$1")" ] || ( flock 7; make_component "$1" ) 7>"$WORK/.lock-$1"
}

make_component() {
	local name=$1 dir tmp since
	dir=$(result "$name")
	[ ! -d "$dir" ] || return 0
	if from_cache "$name" "$dir"; then
		say "$name: from the cache"
		return
	fi
	case $name in
	openssh) component openssl; component zlib ;;
	rsync) component popt; component xxhash; component zlib ;;
	esac
	[ "$name" = siblings ] || fetch "$name"
	say "$name: building"
	since=$(date +%s)
	tmp=$WORK/tmp-$name
	rm -rf "$tmp"
	mkdir -p "$tmp/result/etc/licences" "$tmp/source"
	# A process of its own: `set -e` does not work below `||`.
	bash "$HERE/build.sh" --one "$name" "$tmp" >"$WORK/$name.log" 2>&1 </dev/null 7>&- || {
		log_end "$name" >&2
		exit 1
	}
	mv -T "$tmp/result" "$dir"
	rm -rf "$tmp"
	to_cache "$name" "$dir"
	say "$name: built in $(( $(date +%s) - since )) s"
}

build_one() {
	[ "$1" = siblings ] || unpack "$1" "$2/source"
	cd "$2/source" || exit
	"build_$1" "$2/source" "$2/result"
}

# The cache holds one directory a result: out.tar and its checksum, made complete before it gets its name.
from_cache() {
	local entry=$CACHE/$1-${KEY[$1]}
	[ -n "$CACHE" ] && [ "$1" != siblings ] && [ -e "$entry" ] || return 1
	if [ "$(sha "$entry/out.tar" 2>/dev/null)" = "$(cat "$entry/sha256" 2>/dev/null)" ]; then
		rm -rf "$WORK/tmp-$1"
		mkdir -p "$WORK/tmp-$1"
		tar -xf "$entry/out.tar" -C "$WORK/tmp-$1" 2>/dev/null && mv -T "$WORK/tmp-$1" "$2" && return
	fi
	say "$1: the cache's copy is damaged: removed"
	rm -rf "$entry"
	return 1
}

to_cache() {
	local entry=$CACHE/$1-${KEY[$1]} tmp
	[ -n "$CACHE" ] && [ "$1" != siblings ] && [ ! -e "$entry" ] || return 0
	tmp=$CACHE/.tmp-$1-$$-$RANDOM
	if mkdir -p "$tmp" 2>/dev/null && tar -cf "$tmp/out.tar" -C "$2" . 2>/dev/null &&
	    sha "$tmp/out.tar" >"$tmp/sha256" 2>/dev/null && mv -T "$tmp" "$entry" 2>/dev/null; then
		# Older results of this component are not needed any more; two are kept for switching branches.
		ls -dt "$CACHE/$1"-* 2>/dev/null | tail -n +4 | xargs -r rm -rf
	else
		rm -rf "$tmp"
	fi
}

# Only libcrypto, and of it what OpenSSH uses. No configuration file, no engines, no modules: an image cannot
# make it load anything.
build_openssl() {
	local target
	case $ARCH in
	x86_64|aarch64|ppc64le|riscv64) target=linux-$ARCH ;;
	*) echo "no OpenSSL target known for $ARCH"; return 1 ;;
	esac
	[ "$target" != linux-riscv64 ] || target=linux64-riscv64
	./Configure "$target" --prefix=$PREFIX --openssldir=$PREFIX/ssl \
	    no-shared no-module no-dso no-engine no-autoload-config no-legacy no-tests no-apps no-docs no-threads \
	    no-ssl no-tls no-dtls no-quic no-sock no-http no-ktls no-cms no-ct no-ocsp no-ts no-cmp no-srp no-psk \
	    no-comp no-async no-ui-console no-ml-dsa no-slh-dsa no-ml-kem no-aria no-bf no-camellia no-cast no-idea \
	    no-md4 no-mdc2 no-rc2 no-rc4 no-rmd160 no-seed no-siphash no-sm2 no-sm3 no-sm4 no-whirlpool no-scrypt \
	    no-gost no-ec2m no-blake2 no-dsa no-argon2 no-rfc3779 no-err no-filenames \
	    -O2 -ffunction-sections -fdata-sections
	make build_generated
	make -j"$JOBS" libcrypto.a
	mkdir "$2/lib" "$2/include"
	cp libcrypto.a "$2/lib/"
	cp -r include/openssl include/crypto "$2/include/"
	find "$2/include" -name '*.in' -delete
	cp LICENSE.txt "$2/etc/licences/openssl"
}

# Twice: for glibc (OpenSSH) and for musl (rsync).
build_zlib() {
	local cc
	for cc in gcc musl-gcc; do
		make distclean >/dev/null 2>&1 || true
		CC=$cc CFLAGS='-O3 -ffunction-sections -fdata-sections' ./configure --static --prefix=$PREFIX
		make -j"$JOBS" libz.a
		mkdir -p "$2/$cc/lib" "$2/$cc/include"
		cp libz.a "$2/$cc/lib/"
		cp zlib.h zconf.h "$2/$cc/include/"
	done
	cp LICENSE "$2/etc/licences/zlib"
}

configure_openssh() { # configure_openssh OPENSSL ZLIB
	./configure --prefix=$PREFIX --sysconfdir=$PREFIX/etc --with-pid-dir=$PREFIX/run \
	    --with-privsep-path=$PREFIX/empty --with-xauth=$PREFIX/libexec/xauth --with-mantype=man \
	    --with-default-path=$PREFIX/bin:/usr/local/bin:/usr/bin:/bin:$PREFIX/tools \
	    --without-pie --without-shadow --disable-pkcs11 --disable-lastlog \
	    --disable-utmp --disable-utmpx --disable-wtmp --disable-wtmpx \
	    CFLAGS="-O2 -ffunction-sections -fdata-sections -I$1/include -I$2/include" \
	    LDFLAGS="-static -Wl,--gc-sections -L$1/lib -L$2/lib"
}

build_openssh() {
	local ssl zlib programs p
	ssl=$(result openssl) zlib=$(result zlib)/gcc
	gcc -O2 -ffunction-sections -Wall -Wextra -Werror -c "$HERE/cures/cures.c" -o cures.o
	configure_openssh "$ssl" "$zlib"
	grep -q '^#define SANDBOX_SECCOMP_FILTER' config.h || { echo "no seccomp sandbox"; return 1; }
	programs='ssh scp sftp ssh-keygen ssh-add ssh-agent ssh-keyscan sshd sshd-session sshd-auth sftp-server'
	make -j"$JOBS" LIBS= LD="$HERE/scripts/partial-link.sh" $programs
	for p in $programs; do echo "PROGRAM(main_${p//-/_})"; done >programs.h
	gcc -O2 -Wall -Wextra -Werror -I. -c "$HERE/cures/multicall.c" -o multicall.o
	gcc -static -Wl,--gc-sections -Wl,-z,relro,-z,now,-z,noexecstack -L"$ssl/lib" -L"$zlib/lib" \
	    -o openssh multicall.o cures.o $programs -lcrypto -lz -lcrypt
	mkdir "$2/bin" "$2/sbin" "$2/libexec"
	strip -o "$2/bin/ssh" openssh
	for p in $programs; do
		case $p in
		ssh) ;;
		sshd) ln "$2/bin/ssh" "$2/sbin/$p" ;;
		sshd-*|sftp-server) ln "$2/bin/ssh" "$2/libexec/$p" ;;
		*) ln "$2/bin/ssh" "$2/bin/$p" ;;
		esac
	done
	cp moduli "$2/etc/"
	cp LICENCE "$2/etc/licences/openssh"
	cp "$ssl/etc/licences/openssl" "${zlib%/*}/etc/licences/zlib" "$2/etc/licences/"
}

# In the unpacked source: everything that the regression suite needs, then the programs of TREE in place of ours.
regress_openssh() {
	local p
	configure_openssh "$(result openssl)" "$(result zlib)/gcc"
	# libssh once more, after openbsd-compat: without the reference Ed25519 nothing else asks it for SHA-512.
	make -j"$JOBS" LIBS='-lssh -lopenbsd-compat' SK_DUMMY_LIBRARY= all regress-prep regress-binaries
	for p in ssh scp sftp ssh-keygen ssh-add ssh-agent ssh-keyscan; do install "$1/bin/$p" "$p"; done
	install "$1/sbin/sshd" sshd
	for p in sshd-session sshd-auth sftp-server; do install "$1/libexec/$p" "$p"; done
}

build_popt() {
	( cd src && musl-gcc -O2 -ffunction-sections -fdata-sections -c -I. \
	    -DPACKAGE='"popt"' -DPOPT_SYSCONFDIR='"'$PREFIX/etc'"' -DHAVE_STPCPY -DHAVE_STRERROR -DHAVE_SECURE_GETENV -DHAVE_UNISTD_H \
	    -D_GNU_SOURCE popt.c poptconfig.c popthelp.c poptint.c poptparse.c lookup3.c )
	mkdir "$2/lib" "$2/include"
	ar rcs "$2/lib/libpopt.a" src/*.o
	cp src/popt.h "$2/include/"
	cp COPYING "$2/etc/licences/popt"
}

build_xxhash() {
	musl-gcc -O3 -ffunction-sections -fdata-sections -c xxhash.c
	mkdir "$2/lib" "$2/include"
	ar rcs "$2/lib/libxxhash.a" xxhash.o
	cp xxhash.h "$2/include/"
	cp LICENSE "$2/etc/licences/xxhash"
}

# musl's headers lack the kernel's; they must come after its own, or glibc's would be found there too.
kernel_headers() {
	echo "-idirafter /usr/include -idirafter /usr/include/$(gcc -print-multiarch)"
}

# musl: its names, locales and converters come from no file or module of the image.
build_rsync() {
	local popt xxhash zlib
	popt=$(result popt) xxhash=$(result xxhash) zlib=$(result zlib)/musl-gcc
	# Newer than what they are made from: nothing is generated anew. The two directories are not in the tarball.
	touch aclocal.m4
	touch configure.sh config.h.in
	mkdir -p zlib popt
	touch zlib/dummy.in popt/dummy.in
	# Its SIMD code is chosen at run time by the loader (ifunc), which a static musl program has none of: it would jump to 0.
	CC=musl-gcc ./configure --prefix=$PREFIX --with-rsyncd-conf=$PREFIX/etc/rsyncd.conf \
	    --with-included-popt=no --with-included-zlib=no --disable-openssl --disable-zstd --disable-lz4 \
	    --disable-md2man --disable-acl-support --disable-locale --disable-roll-simd --disable-md5-asm --disable-roll-asm \
	    CFLAGS="-O2 -ffunction-sections -fdata-sections -I$popt/include -I$xxhash/include -I$zlib/include $(kernel_headers)" \
	    LDFLAGS="-static -Wl,--gc-sections -L$popt/lib -L$xxhash/lib -L$zlib/lib"
	make -j"$JOBS" rsync
	mkdir "$2/tools"
	strip -o "$2/tools/rsync" rsync
	cp COPYING "$2/etc/licences/rsync"
	cp "$popt/etc/licences/popt" "$xxhash/etc/licences/xxhash" "$2/etc/licences/"
}

build_busybox() {
	# The default configuration with everything off that is not asked for, so that no new default creeps in.
	make defconfig
	awk -v wanted="$HERE/busybox.config" '
		BEGIN { while ((getline line < wanted) > 0) if (line ~ /^CONFIG_/) { k = line; sub(/=.*/, "", k); want[k] = line } }
		{ k = $0; sub(/^# /, "", k); sub(/[ =].*/, "", k) }
		k in want { print want[k]; next }
		/^CONFIG_.*=y$/ { print "# " k " is not set"; next }
		{ print }' .config >.config.new
	mv .config.new .config
	# (yes ends with SIGPIPE, which is no failure)
	{ yes "" || true; } | make oldconfig
	# What was asked for and silently dropped would be missed only much later.
	grep '^CONFIG_' "$HERE/busybox.config" | while IFS= read -r line; do
		grep -qxF "$line" .config || { echo "busybox.config: not taken: $line"; exit 1; }
	done
	make -j"$JOBS" CC="musl-gcc" HOSTCC=gcc SKIP_STRIP=y \
	    EXTRA_CFLAGS="-ffunction-sections -fdata-sections $(kernel_headers)" EXTRA_LDFLAGS="-Wl,--gc-sections"
	mkdir "$2/tools"
	strip -o "$2/tools/busybox" busybox
	chmod 755 "$2/tools/busybox"
	"$2/tools/busybox" --list | while read -r applet; do
		[ "$applet" = busybox ] || ln -s busybox "$2/tools/$applet"
	done
	cp LICENSE "$2/etc/licences/busybox"
}

# Our own programs, each from src/NAME.c and all of src/common.
build_siblings() {
	local name common
	mkdir "$2/libexec"
	common=$(find "$HERE/src/common" -name '*.c' 2>/dev/null | sort)
	for name in init session watchdog connector inject; do
		if [ ! -f "$HERE/src/$name.c" ]; then
			echo "no src/$name.c"
			continue
		fi
		musl-gcc -static -Os -std=gnu11 -Wall -Wextra -ffunction-sections -fdata-sections -Wl,--gc-sections -s \
		    -I"$HERE/src" -DRUN_DIR='"/run/gangway"' $(kernel_headers) -o "$2/libexec/$name" "$HERE/src/$name.c" $common
	done
	for name in "$2"/libexec/*; do
		[ -x "$name" ] || { echo "nothing in src/"; break; }
	done
}
