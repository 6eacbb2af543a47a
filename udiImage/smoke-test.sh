#!/bin/bash
# Tries the finished tree without any engine: a mount namespace with the tree at /opt/udiImage, a run directory at
# /run/gangway and hostile files in place of the host's, once with this host's file system below and once in an
# empty root with nothing but the tree, /dev and /proc. Needs root (to become somebody else).
#
#   smoke-test.sh [-v] [PATTERN]     only the tests whose name contains PATTERN
#   smoke-test.sh -c COMMAND         no tests: COMMAND, with in_host and in_bare to run something in either root
set -u
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
TREE=${OUT:-$(dirname "$HERE")/build/udiImage}
ACCOUNT_UID=42421

if [ "${1-}" != --inside ]; then
	[ "$(id -u)" = 0 ] || { echo "smoke-test: needs root" >&2; exit 2; }
	[ -f "$TREE/manifest.json" ] || { echo "smoke-test: no tree in $TREE: build it first" >&2; exit 2; }
	# A pid namespace too: whatever is left at the end goes with it.
	exec unshare --mount --pid --fork --kill-child --mount-proc --propagation private \
	    bash "$HERE/smoke-test.sh" --inside "$@"
fi
shift
VERBOSE=0
[ "${1-}" != -v ] || { VERBOSE=1; shift; }
COMMAND=
[ "${1-}" != -c ] || { COMMAND=$2; shift 2; }
PATTERN=${1-}

# --- the scene -------------------------------------------------------------------------------------------------
HOSTILE="passwd: sss files systemd
group: sss files systemd
hosts: files myhostname resolve dns
services: db files"
SCENE=$(mktemp -d)
mount -t tmpfs -o mode=755 scene "$SCENE"
mkdir "$SCENE/tree" "$SCENE/etc" "$SCENE/run"
# Kept apart from /opt, which is covered below.
mount --bind "$TREE" "$SCENE/tree"
cat >"$SCENE/etc/passwd" <<X
root:x:0:0:root:/root:/bin/sh
alice:x:$ACCOUNT_UID:$ACCOUNT_UID::/home/alice:/bin/bash
bob:x:$((ACCOUNT_UID + 1)):$ACCOUNT_UID::/home/bob:/bin/sh
X
echo "alice:x:$ACCOUNT_UID:" >"$SCENE/etc/group"
echo "$HOSTILE" >"$SCENE/etc/nsswitch.conf"
printf '127.0.0.1 localhost node1 node2\n' >"$SCENE/etc/hosts"
# An OpenSSL configuration that makes every program fail which reads it.
cat >"$SCENE/etc/openssl.cnf" <<'X'
openssl_conf = init
[init]
providers = provs
alg_section = algs
[provs]
fips = fips_sect
[fips_sect]
activate = 1
[algs]
default_properties = fips=yes
X

make_root() { # make_root DIR: the tree and the run directory in it
	mkdir -p "$1/opt" "$1/run"
	mount -t tmpfs -o mode=755 opt "$1/opt"
	mkdir "$1/opt/udiImage"
	mount --bind "$SCENE/tree" "$1/opt/udiImage"
	mount -o remount,bind,ro "$1/opt/udiImage"
	mount -t tmpfs -o mode=755 run "$1/run"
	mkdir -m 700 "$1/run/gangway"
	chown $ACCOUNT_UID:$ACCOUNT_UID "$1/run/gangway"
}

BARE=$SCENE/bare
mkdir -p "$BARE"/{etc,proc,dev,home}
cp "$SCENE/etc/passwd" "$SCENE/etc/group" "$BARE/etc/"
# Of another machine's life: neither may keep the job's user out.
echo "not today" >"$BARE/etc/nologin"
echo 'alice:!:19000:0:99999:7:::' >"$BARE/etc/shadow"
chmod 644 "$BARE/etc/shadow"
make_root "$BARE"
mount --rbind /dev "$BARE/dev"
mount -t proc proc "$BARE/proc"

make_root ""
mount -t tmpfs -o mode=755 home /home
mkdir -m 700 /home/alice
chown $ACCOUNT_UID:$ACCOUNT_UID /home/alice
# All of /etc: a file mounted over /etc/passwd would vanish when somebody adds an account to the machine.
cp -a /etc "$SCENE/etc-host"
cp "$SCENE"/etc/{passwd,group,nsswitch.conf,hosts} "$SCENE/etc-host/"
cp "$SCENE/etc/openssl.cnf" "$SCENE/etc-host/ssl/openssl.cnf" 2>/dev/null
mount --bind "$SCENE/etc-host" /etc

UNPRIVILEGED="setpriv --reuid $ACCOUNT_UID --regid $ACCOUNT_UID --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all"
# What is run in the two roots as the job's user, with an environment of its own.
in_host() { env -i PATH=/opt/udiImage/bin:/usr/local/bin:/usr/bin:/bin:/opt/udiImage/tools HOME=/home/alice "${EXTRA[@]}" $UNPRIVILEGED "$@"; }
in_bare() {
	env -i PATH=/opt/udiImage/bin:/usr/bin:/bin:/opt/udiImage/tools HOME=/home/alice "${EXTRA[@]}" \
	    /usr/sbin/chroot --userspec=$ACCOUNT_UID:$ACCOUNT_UID --groups= "$BARE" "$@"
}
EXTRA=(LANG=C.UTF-8)
K=/opt/udiImage/bin/ssh-keygen

prepare_job() { # prepare_job ROOT PORT: what node and launcher write, see docs/internals.md 3
	local d=$1/run/gangway
	$K -q -t ed25519 -N '' -C '' -f "$SCENE/ca" <<<y >/dev/null
	$K -q -t ed25519 -N '' -C '' -f "$d/host_ed25519"
	$K -q -t ed25519 -N '' -C '' -f "$d/id_ed25519"
	$K -q -s "$SCENE/ca" -h -I host -n node1,node2,localhost,127.0.0.1 "$d/host_ed25519.pub"
	$K -q -s "$SCENE/ca" -I user -z 7 -n alice "$d/id_ed25519.pub"
	cp "$SCENE/ca.pub" "$d/authority.pub"
	echo alice >"$d/principals"
	: >"$d/revoked_keys"
	: >"$d/authorized_keys"
	echo "@cert-authority * $(cut -d' ' -f1,2 "$SCENE/ca.pub")" >"$d/known_hosts"
	printf 'AllowUsers alice\nInclude /opt/udiImage/etc/sshd_config\n' >"$d/sshd_config"
	cat >"$d/ssh_config" <<X
Match originalhost node1,node2
	HostName 127.0.0.1
	Port $2
Match originalhost unix1
	ProxyCommand /opt/udiImage/libexec/connector /run/gangway/ssh
	ProxyUseFdpass yes
	HostKeyAlias node1
Match originalhost node1,node2,unix1
	User alice
	IdentityFile /run/gangway/id_ed25519
	CertificateFile /run/gangway/id_ed25519-cert.pub
	IdentitiesOnly yes
	UserKnownHostsFile /run/gangway/known_hosts
	GlobalKnownHostsFile none
	StrictHostKeyChecking yes
	GangwayFinal yes
X
	chown -R $ACCOUNT_UID:$ACCOUNT_UID "$d"
}
prepare_job "" 24201
prepare_job "$BARE" 24202

# init as a container's would be: no launcher, stays until it is killed.
(cd / && in_host /opt/udiImage/libexec/init --listen 127.0.0.1 --port 24201 --hold </dev/null >"$SCENE/init.log" 2>&1) &
(cd / && in_bare /opt/udiImage/libexec/init --listen 127.0.0.1 --port 24202 --hold </dev/null >"$SCENE/init-bare.log" 2>&1) &
for i in $(seq 100); do
	[ -S /run/gangway/ssh ] && [ -S "$BARE/run/gangway/ssh" ] && break
	sleep 0.05
done

if [ -n "$COMMAND" ]; then eval "$COMMAND"; exit; fi

# --- the tests -------------------------------------------------------------------------------------------------
PASSED=0 FAILED=0
check() { # check NAME EXPECTED ACTUAL
	if [ "$2" = "$3" ]; then
		PASSED=$((PASSED + 1))
		echo "ok   $1"
	else
		FAILED=$((FAILED + 1))
		echo "FAIL $1"
		printf '     expected: %s\n     got:      %s\n' "${2:0:400}" "${3:0:1200}"
	fi
}
wanted() { [ -z "$PATTERN" ] || [[ $1 == *"$PATTERN"* ]]; }
# (ssh ends its messages with CR LF)
out() { { "$@" 2>&1 </dev/null; echo "rc=$?"; } | tr -d '\r'; }
# exited: as out, but the status alone
status() { "$@" >/dev/null 2>&1 </dev/null; echo $?; }
gone() { # gone MARK SECONDS: no process has MARK in its command line any more
	local i
	for i in $(seq $(( $2 * 20 ))); do
		pgrep -f "$1" >/dev/null || { echo gone; return; }
		sleep 0.05
	done
	echo "still there"
}

for root in host bare; do
	run=in_$root
	[ $root = host ] && prefix= || prefix=$BARE
	if wanted "$root login"; then
		check "$root: login over TCP" "$(printf 'hello\nrc=0')" "$(out $run ssh node1 echo hello)"
		check "$root: login over the unix socket" "$(printf 'hello\nrc=0')" "$(out $run ssh unix1 echo hello)"
		check "$root: names without regard to case" "$(printf 'hello\nrc=0')" "$(out $run ssh NODE1 echo hello)"
		check "$root: ssh://" "$(printf 'hello\nrc=0')" "$(out $run ssh ssh://alice@Node1 echo hello)"
		check "$root: through another node (-J)" "$(printf 'hello\nrc=0')" "$(out $run ssh -J node1 node2 echo hello)"
		check "$root: a shell on a terminal" "tty: /dev/pts" \
		    "$($run ssh -tt node1 'echo "tty: $(tty)"' </dev/null 2>/dev/null | tr -d '\r' | sed 's,/[0-9]*$,,')"
		check "$root: login shell from stdin" "$(printf 'got x\nrc=3')" \
		    "$(echo 'echo got x; exit 3' | $run ssh -T node1 2>&1; echo "rc=${PIPESTATUS[1]}")"
	fi
	if wanted "$root exit"; then
		for n in 0 1 2 77 126 127 128 254 255; do
			check "$root: exit status $n" $n "$(status $run ssh node1 "exit $n")"
		done
		for s in HUP:129 INT:130 ABRT:134 KILL:137 SEGV:139 PIPE:141 TERM:143; do
			check "$root: death by ${s%:*}" ${s#*:} "$(status $run ssh node1 "ulimit -c 0; kill -${s%:*} \$\$")"
		done
		check "$root: death by TERM on a terminal" 143 "$(status $run ssh -tt node1 'kill -TERM $$')"
		check "$root: no such command" 127 "$(status $run ssh node1 no-such-command)"
	fi
	if wanted "$root streams"; then
		check "$root: half-closed: output after the end of input" "$(printf 'abc\nlast')" \
		    "$(printf abc | $run ssh node1 'cat; sleep 0.3; echo; printf last')"
		sum=$(head -c 30000000 /dev/urandom | tee "$SCENE/random" | sha256sum)
		check "$root: 30 MB there and back" "$sum" "$($run ssh node1 cat <"$SCENE/random" | sha256sum)"
	fi
	if wanted "$root files"; then
		home=/home/alice
		[ $root = host ] || home=/run/gangway
		echo content >"$SCENE/f"
		chmod 755 "$SCENE"
		in=$home/f1 dest=$home
		install -o $ACCOUNT_UID -g $ACCOUNT_UID -m 644 "$SCENE/f" "$prefix$in"
		check "$root: scp there" "rc=0" "$(out $run scp -q $in node1:$dest/f2)"
		check "$root: scp -O (the old protocol)" "rc=0" "$(out $run scp -q -O $in node1:$dest/f3)"
		check "$root: scp back" "rc=0" "$(out $run scp -q node1:$dest/f2 $dest/f4)"
		check "$root: sftp" "content" \
		    "$(printf 'get %s/f2 %s/f5\n' $dest $dest | $run sftp -q -b - node1 >/dev/null 2>&1; cat $prefix$dest/f5)"
		check "$root: sftp of a name in UTF-8" "$dest/grüße 漢字" \
		    "$(: >"$prefix$dest/grüße 漢字"; printf 'ls %s/gr*\n' $dest | $run sftp -q -b - node1 2>&1 | sed -n 's/ *$//;/^\//p')"
		check "$root: rsync" "rc=0" "$(out $run rsync -a $in node1:$dest/f6)"
		echo changed >>"$prefix$in"
		check "$root: rsync over an older file (a delta)" "rc=0" "$(out $run rsync --no-whole-file $in node1:$dest/f6)"
		check "$root: the delta's result" "$(cat "$prefix$in")" "$(cat "$prefix$dest/f6")"
		echo content >"$prefix$dest/f6"
		check "$root: contents" "content content content content" \
		    "$(cd $prefix$dest && echo $(cat f3 f4 f5 f6))"
		rm -f $prefix$dest/f[1-6] $prefix$dest/gr*
	fi
	if wanted "$root refused"; then
		check "$root: another user is refused" "bob@127.0.0.1: Permission denied (publickey). rc=255" \
		    "$(echo $(out $run ssh -o User=bob node1 true))"
		check "$root: the log says why" 1 \
		    "$(grep -c 'User bob not allowed because this sshd belongs to uid' "$prefix/run/gangway/sshd.log")"
		check "$root: root is refused" 255 "$(status $run ssh root@node1 true)"
		check "$root: without the key" 255 "$(status $run ssh -o PubkeyAuthentication=no node1 true)"
	fi
	if wanted "$root hangup"; then
		$run ssh node1 'exec sleep 4711' </dev/null >/dev/null 2>&1 &
		sleep 0.6
		pkill -KILL -f 'ssh node1 exec sleep 4711'
		check "$root: client killed: its command ends" gone "$(gone '^sleep 4711' 3)"
		(while :; do echo x; sleep 0.1; done) | $run ssh node1 'cat >/dev/null; sleep 4712' >/dev/null 2>&1 &
		sleep 0.6
		pkill -KILL -f 'ssh node1 cat >/dev/null; sleep 4712'
		check "$root: client killed while it sends: its command ends" gone "$(gone 'sleep 4712' 3)"
		$run ssh node1 'setsid sleep 4713 >/dev/null 2>&1 </dev/null & exec sleep 4714' </dev/null >/dev/null 2>&1 &
		sleep 0.6
		pkill -KILL -f 'ssh node1 setsid'
		check "$root: the foreground ends" gone "$(gone '^sleep 4714' 3)"
		check "$root: what called setsid lives on" 1 "$(pgrep -f '^sleep 4713' | wc -l)"
		pkill -f '^sleep 4713'
		$run ssh -tt node1 'sleep 4715' </dev/null >/dev/null 2>&1 &
		sleep 0.6
		pkill -KILL -f 'ssh -tt node1 sleep 4715'
		check "$root: client with a terminal killed" gone "$(gone 'sleep 4715' 3)"
		check "$root: nohup'ed command outlives a clean end" 1 \
		    "$($run ssh node1 'sleep 4716 >/dev/null 2>&1 </dev/null &'; sleep 0.3; pgrep -f '^sleep 4716' | wc -l)"
		pkill -f '^sleep 4716'
	fi
done

run=in_host
if wanted "environment"; then
	check "environment: LD_* does not get in" "A=1 LDFLAGS=2 LINES=3 x=4" \
	    "$(echo $(in_host ssh -o 'SetEnv A=1 LDFLAGS=2 LINES=3 x=4 LD_FOO=5 LD_PRELOAD=/none' node1 'env | grep -E "^(A|LD|LINES|x)" | sort'))"
	check "environment: PATH, HOME and USER are the session's" "none /home/alice" \
	    "$(in_host ssh -o 'SetEnv USER=bob HOME=/ PATH=/none' node1 'echo ${USER-none} $HOME')"
fi

if wanted "shared connection"; then
	in_host ssh -o ControlMaster=yes -o ControlPath=/run/gangway/mux -o ControlPersist=yes -fN node1 </dev/null >/dev/null 2>&1
	in_host ssh -o ControlPath=/run/gangway/mux node1 'exec sleep 4721' </dev/null >/dev/null 2>&1 &
	sleep 0.5
	pkill -KILL -f 'mux node1 exec sleep 4721'
	check "shared connection: client killed: its command ends" gone "$(gone '^sleep 4721' 3)"
	check "shared connection: exit status after closed output" 9 \
	    "$(status in_host ssh -o ControlPath=/run/gangway/mux node1 'exec >&- 2>&-; sleep 0.5; exit 9')"
	check "shared connection: 30 sessions" "30" \
	    "$(for i in $(seq 30); do in_host ssh -o ControlPath=/run/gangway/mux node1 'sleep 0.5; echo y' </dev/null & done 2>/dev/null | grep -c y)"
	in_host ssh -o ControlPath=/run/gangway/mux -O exit node1 >/dev/null 2>&1
fi

if wanted "hostile configuration"; then
	mkdir -p /home/alice/.ssh
	hostile() { # hostile NAME: stdin becomes ~/.ssh/config
		cat >/home/alice/.ssh/config
		chown -R $ACCOUNT_UID:$ACCOUNT_UID /home/alice/.ssh
		chmod "${MODE:-600}" /home/alice/.ssh/config
		check "hostile configuration: $1" "$(printf 'HOP\nrc=0')" "$(out in_host ssh node1 echo HOP)"
	}
	hostile "a syntax error" <<<'Host "unclosed'
	hostile "an unknown option" <<<'NoSuchOption yes'
	hostile "ProxyCommand" <<<$'Host *\n ProxyCommand /bin/false'
	hostile "ProxyJump, User, Port, HostName" <<<$'Host *\n ProxyJump nowhere\n User bob\n Port 1\n HostName nowhere'
	hostile "Match final" <<<$'Match final all\n User bob\n Port 1\n HostName nowhere'
	hostile "canonicalisation" <<<$'CanonicalizeHostname always\nCanonicalDomains example.org\nHost *\n HostName nowhere'
	hostile "KnownHostsCommand, RevokedHostKeys" <<<$'Host *\n KnownHostsCommand /bin/false\n RevokedHostKeys /nonexistent'
	hostile "CASignatureAlgorithms" <<<$'Host *\n CASignatureAlgorithms rsa-sha2-512'
	hostile "Match exec that fails" <<<$'Match exec "exit 1; kill -9 $PPID"\n User bob'
	hostile "a broken Include" <<<'Include /proc/self/mem'
	hostile "RemoteCommand, RequestTTY" <<<$'Host *\n RemoteCommand false\n RequestTTY force'
	hostile "GangwayFinal in another file" <<<$'GangwayFinal no\nHost *\n User bob'
	MODE=666 hostile "wrong permissions"
	check "-F FILE" "$(printf 'HOP\nrc=0')" "$(out in_host ssh -F /home/alice/.ssh/config node1 echo HOP)"
	echo 'Broken yes' >/home/alice/.ssh/config
	chmod 600 /home/alice/.ssh/config
	check "-F FILE with a broken file" "$(printf 'HOP\nrc=0')" "$(out in_host ssh -F /home/alice/.ssh/config node1 echo HOP)"
	check "-F none" "$(printf 'HOP\nrc=0')" "$(out in_host ssh -F none node1 echo HOP)"
	check "-P TAG" "$(printf 'HOP\nrc=0')" "$(out in_host ssh -P tag node1 echo HOP)"
	check "scp and sftp read it too" "rc=0" "$(out in_host scp -q node1:/etc/passwd /home/alice/p)"
	check "another host still fails on the broken file" 255 "$(status in_host ssh -G elsewhere)"
	printf 'Host elsewhere\n User carol\nMatch final host elsewhere\n Port 99\n' >/home/alice/.ssh/config
	check "another host is as the user says" "hostname elsewhere port 99 user carol" \
	    "$(echo $(in_host ssh -G elsewhere 2>/dev/null | grep -E '^(user|hostname|port) ' | sort))"
	check "ssh -G of a job's host" "gangwayfinal yes hostname 127.0.0.1 user alice" \
	    "$(echo $(in_host ssh -G node1 2>/dev/null | grep -E '^(user|hostname|gangwayfinal) ' | sort))"
	check "ssh -G of another host knows no gangwayfinal" 0 "$(in_host ssh -G elsewhere 2>/dev/null | grep -c gangway)"
	check "not on the command line" "command-line: line 0: Bad configuration option: gangwayfinal rc=255" \
	    "$(echo $(out in_host ssh -o GangwayFinal=yes elsewhere true))"
	chmod 666 /run/gangway/ssh_config
	check "a job's file that others can write is refused" "Bad owner or permissions on /run/gangway/ssh_config rc=255" \
	    "$(echo $(out in_host ssh node1 true))"
	chmod 644 /run/gangway/ssh_config
	mv /run/gangway/ssh_config /run/gangway/kept
	ln -s kept /run/gangway/ssh_config
	check "nor is one that a link leads to read" "/run/gangway/ssh_config is no plain file rc=255" \
	    "$(echo $(out in_host ssh node1 true))"
	mv /run/gangway/kept /run/gangway/ssh_config
	rm -rf /home/alice/.ssh /home/alice/p
fi

if wanted "deaf to the image" && command -v strace >/dev/null; then
	EXTRA=(LANG=tr_TR.ISO-8859-9 LC_ALL=de_DE.ISO-8859-1 OPENSSL_CONF=/etc/nsswitch.conf GCONV_PATH=/tmp LOCPATH=/tmp NLSPATH=/tmp)
	# nsswitch.conf itself is read (its lines are then replaced); nscd's socket is asked for the state of the network.
	forbidden='libnss|\.so[."]|openssl.cnf|/ssl/|gconv|locale|"/etc/popt|ld\.so'
	mkdir -m 777 "$SCENE/trace"
	for c in "ssh -G node1" "ssh-keygen -lf /run/gangway/host_ed25519.pub" "scp" "sftp" "/opt/udiImage/tools/rsync --version" "ssh-add -l" "ssh localhost.invalid" "/opt/udiImage/tools/busybox id alice" "/opt/udiImage/tools/rsync -a /run/gangway/principals /run/gangway/x"; do
		in_host strace -f -qq -e trace=%file,connect -o "$SCENE/trace/t" $c >/dev/null 2>&1 </dev/null
		check "deaf to the image: $c" "" "$(grep -E "$forbidden" "$SCENE/trace/t" | grep -v 'execve(' | head -n 3)"
	done
	in_host strace -f -qq -e trace=%file,connect -o "$SCENE/trace/t" /opt/udiImage/sbin/sshd -f /run/gangway/sshd_config -t >/dev/null 2>&1
	check "deaf to the image: sshd" "" "$(grep -E "$forbidden" "$SCENE/trace/t" | grep -v 'execve(' | head -n 3)"
	# The helpers of sshd, with a real login; what the session itself runs is the image's own affair.
	printf '#!/bin/sh\nexec strace -ff -qq -e trace=%%file,connect -o %s /opt/udiImage/sbin/sshd -i -f /run/gangway/sshd_config -E /run/gangway/sshd.log\n' \
	    "$SCENE/trace/sshd" >"$SCENE/traced"
	chmod 755 "$SCENE/traced"
	check "deaf to the image: a login below strace" "$(printf 'yes\nrc=0')" \
	    "$(out in_host ssh -o ProxyUseFdpass=no -o "ProxyCommand=$SCENE/traced" -o HostKeyAlias=node1 unix1 echo yes)"
	# (strace itself must not hinder: no_new_privs is set already)
	found=
	for t in "$SCENE"/trace/sshd.*; do
		found+=$(sed '/execve("\/opt\/udiImage\/libexec\/session"/,$d' "$t" | grep -E "$forbidden" | grep -v 'execve(' | head -n 3)
	done
	check "deaf to the image: sshd, sshd-session, sshd-auth" "" "$found"
	EXTRA=(LANG=C.UTF-8)
fi

. "$HERE/smoke-reach.sh"

if wanted "speed"; then
	in_host ssh node1 true
	t0=$(date +%s%N)
	for i in 1 2 3 4 5 6 7 8 9 10; do in_host ssh node1 true; done
	t1=$(date +%s%N)
	echo "info a whole \`ssh node1 true\`: $(( (t1 - t0) / 10000000 )) ms"
	t0=$(date +%s%N)
	head -c 1500000000 /dev/zero | in_host ssh node1 'cat >/dev/null'
	t1=$(date +%s%N)
	echo "info bulk, one stream over loopback: $(( 1500000000 / ((t1 - t0) / 1000) )) MB/s"
	check "speed: the cipher is AES-GCM" "debug1: kex: client->server cipher: aes128-gcm@openssh.com" \
	    "$(in_host ssh -v node1 true 2>&1 | grep 'client->server cipher' | sed 's/ MAC.*//')"
fi

if wanted "sandbox"; then
	in_host ssh -o ProxyUseFdpass=no -o 'ProxyCommand=/opt/udiImage/sbin/sshd -i -e -f /run/gangway/sshd_config -o LogLevel=DEBUG3' \
	    -o HostKeyAlias=node1 unix1 true 2>"$SCENE/debug"
	check "sandbox: seccomp is used before the login" 1 "$(grep -c 'ssh_sandbox_child: attaching seccomp filter program' "$SCENE/debug")"
fi

if wanted "before membership"; then
	mv /run/gangway/host_ed25519-cert.pub /run/gangway/away
	# A banner is what the launcher waits for.
	check "before membership: a banner without the certificate" "SSH-2.0-OpenSSH" \
	    "$(timeout 2 bash -c 'exec 3<>/dev/tcp/127.0.0.1/24201; head -c 15 <&3' 2>/dev/null)"
	mv /run/gangway/away /run/gangway/host_ed25519-cert.pub
fi

if [ $VERBOSE = 1 ] || [ $FAILED != 0 ]; then
	echo "--- init"; tail -n 5 "$SCENE"/init*.log
	echo "--- sshd.log"; tail -n 15 /run/gangway/sshd.log
	echo "--- sshd.log (bare)"; tail -n 10 "$BARE/run/gangway/sshd.log"
fi
echo "$PASSED passed, $FAILED failed"
[ $FAILED = 0 ]
