# What makes a job as easy to reach as any host. Sourced by smoke-test.sh; all in the host's root, the agent also in
# the bare one.

# What sshd tells init, read in init's place: one line a datagram.
listen_for_reports() {
	[ ! -e /run/gangway/report ] || mv /run/gangway/report /run/gangway/report.init
	: >"$SCENE/reports"
	in_host perl -MSocket -e '$| = 1; socket(S, AF_UNIX, SOCK_DGRAM, 0) && bind(S, pack_sockaddr_un($ARGV[0])) or die $!;
		while (defined recv(S, $line, 4096, 0)) { print "$line\n" }' /run/gangway/report >>"$SCENE/reports" &
	LISTENER=$!
	until_true '[ -S /run/gangway/report ]'
}
stop_listening() {
	kill $LISTENER
	rm /run/gangway/report
	[ ! -e /run/gangway/report.init ] || mv /run/gangway/report.init /run/gangway/report
}
until_true() { # until_true CONDITION: at most five seconds
	local i
	for i in $(seq 100); do
		eval "$1" && return
		sleep 0.05
	done
}
# The reports of one connection, when its last one is there; numbers of bytes and what is told twice left out.
reports() {
	until_true 'grep -q "^bytes [1-9][0-9]* [1-9][0-9]*$" "$SCENE/reports"'
	sed 's/^\(bytes\) [1-9][0-9]* [1-9][0-9]*$/\1/' "$SCENE/reports" | uniq
	: >"$SCENE/reports"
}

if wanted "report"; then
	listen_for_reports
	fingerprint=$($K -lf /run/gangway/id_ed25519.pub | cut -d' ' -f2)
	login="auth 7 $fingerprint user"
	in_host ssh node1 "echo 'a  b'; exit 3" </dev/null >/dev/null
	check "report: a command" "$(printf "%s\nopen 0 - command echo%%20'a%%20%%20b';%%20exit%%203\nclose 0 3\nbytes" "$login")" "$(reports)"
	in_host ssh node1 'kill -KILL $$' </dev/null >/dev/null
	check "report: death by a signal" "close 0 137" "$(reports | grep close)"
	printf 'exit\n' | in_host ssh -tt node1 >/dev/null 2>&1
	check "report: a shell on a terminal" "$(printf '%s\nopen 0 /dev/pts/N shell -\nclose 0 0\nbytes' "$login")" "$(reports | sed 's,/[0-9]* ,/N ,')"
	printf 'pwd\n' | in_host sftp -q -b - node1 >/dev/null 2>&1
	check "report: a subsystem" "$(printf '%s\nopen 0 - subsystem sftp\nclose 0 0\nbytes' "$login")" "$(reports)"
	in_host ssh node1 -- - </dev/null >/dev/null 2>&1
	check "report: what looks like nothing" "open 0 - command %2D" "$(reports | grep open)"
	in_host ssh node1 $'true 100%\t\e[2J\n# grüße' </dev/null >/dev/null
	check "report: what is not printable" "open 0 - command true%20100%25%09%1B[2J%0A#%20gr%C3%BC%C3%9Fe" "$(reports | grep open)"
	in_host ssh node1 "true $(printf '%03000d' 0)" </dev/null >/dev/null
	check "report: a long command is cut" 1024 "$(reports | grep open | tr -d '\n' | wc -c)"
	in_host ssh node1 "true $(printf ' %.0s' $(seq 998))" </dev/null >/dev/null
	check "report: never within a %XX" "1023 %20" "$(line=$(reports | grep open); echo "${#line} ${line: -3}")"
	in_host ssh -fN -L /run/gangway/forward:127.0.0.1:9 -o ControlMaster=yes -o ControlPath=/run/gangway/mux node1 </dev/null >/dev/null 2>&1
	in_host ssh -o ControlPath=/run/gangway/mux -O exit node1 >/dev/null 2>&1
	check "report: a connection without a session" "$(printf '%s\nbytes' "$login")" "$(reports)"
	in_host ssh node1 'exec sleep 4731' </dev/null >/dev/null 2>&1 &
	until_true 'grep -q open "$SCENE/reports"'
	pkill -KILL -f 'ssh node1 exec sleep 4731'
	check "report: the client vanishes" "$(printf '%s\nopen 0 - command exec%%20sleep%%204731\nclose 0 -\nbytes' "$login")" "$(reports)"
	in_host ssh node1 'exec sleep 4732' </dev/null >/dev/null 2>&1 &
	until_true 'grep -q open "$SCENE/reports"'
	pkill -TERM -o -f '^sshd-session: alice'
	check "report: sshd is told to end" "$(printf '%s\nopen 0 - command exec%%20sleep%%204732\nclose 0 -\nbytes' "$login")" "$(reports)"
	check "report: sshd is told to end: its command ends" gone "$(gone '^sleep 4732' 3)"
	cp /run/gangway/id_ed25519.pub /run/gangway/authorized_keys
	install -d -o $ACCOUNT_UID -m 700 /run/gangway/plain
	install -o $ACCOUNT_UID -m 600 /run/gangway/id_ed25519 /run/gangway/plain/key
	: >"$SCENE/reports"
	in_host ssh -i /run/gangway/plain/key -o IdentitiesOnly=yes -o "ProxyCommand=/opt/udiImage/libexec/connector /run/gangway/ssh" \
	    -o ProxyUseFdpass=yes -o UserKnownHostsFile=/run/gangway/known_hosts -o HostKeyAlias=node1 plain true </dev/null >/dev/null 2>&1
	check "report: a plain key has serial 0" "auth 0 $fingerprint -" "$(reports | head -n 1)"
	: >/run/gangway/authorized_keys
	rm -r /run/gangway/plain
	# The queue is full and nobody reads: a connection waits for that once, not for ever.
	kill -STOP $LISTENER
	for i in 1 2 3 4 5; do in_host ssh node1 'true; true' </dev/null >/dev/null 2>&1; done
	check "report: nobody reads: sessions go on" "$(printf 'on\nrc=4')" "$(out in_host ssh node1 'echo on; exit 4')"
	kill -CONT $LISTENER
	stop_listening
	check "report: nobody listens" "$(printf 'on\nrc=4')" "$(out in_host ssh node1 'echo on; exit 4')"
fi

# The bare root has no /tmp.
for root in host bare; do
	wanted "$root agent" || continue
	run=in_$root
	[ $root = host ] && prefix= || prefix=$BARE
	agents=$prefix/run/gangway/agents
	install -d -o $ACCOUNT_UID -g $ACCOUNT_UID -m 700 "$agents"
	$run /opt/udiImage/bin/ssh-agent -D -a /run/gangway/own-agent >/dev/null 2>&1 &
	AGENT=$!
	until_true '[ -S "$prefix/run/gangway/own-agent" ]'
	EXTRA=(LANG=C.UTF-8 SSH_AUTH_SOCK=/run/gangway/own-agent)
	$run ssh-add -q /run/gangway/id_ed25519 2>/dev/null
	check "$root agent: answers in a session, under its stable name" "$(printf '/run/gangway/agent.sock\n1\nrc=0')" \
	    "$(out $run ssh -A node1 'echo $SSH_AUTH_SOCK; ssh-add -l | grep -c "(ED25519)"')"
	until_true '[ -z "$(ls "$agents")" ]'
	check "$root agent: its socket goes with the connection" "" "$(ls "$agents")"
	: >"$SCENE/first"
	$run ssh -A node1 'echo ready; exec sleep 4741' </dev/null >"$SCENE/first" 2>&1 &
	until_true 'grep -q ready "$SCENE/first"'
	first=$(readlink "$prefix/run/gangway/agent.sock")
	second=$($run ssh -A node1 'echo $SSH_AUTH_SOCK; readlink /run/gangway/agent.sock')
	check "$root agent: a second session has the same name" /run/gangway/agent.sock "${second%%$'\n'*}"
	check "$root agent: it is that of the newest" other "$([ "$first" = "${second#*$'\n'}" ] || echo other)"
	pkill -KILL -f 'ssh -A node1 echo ready'
	until_true '[ -z "$(ls "$agents")" ]'
	check "$root agent: the client vanishes: its socket goes" "" "$(ls "$agents")"
	EXTRA=(LANG=C.UTF-8)
	kill $AGENT
done

# As an editor's remote mode does it: a script on stdin starts a daemon, later connections come back to it.
if wanted "editor"; then
	place=/run/gangway/editor port=24251
	install -d -o $ACCOUNT_UID -g $ACCOUNT_UID -m 700 $place
	cat >"$SCENE/script" <<-X
		setsid perl -MIO::Socket::UNIX -e '\$s = IO::Socket::UNIX->new(Local => "$place/sock", Listen => 5) or die;
		    while (\$c = \$s->accept) { print \$c "daemon \$\$\n"; close \$c }' </dev/null >/dev/null 2>&1 &
		until [ -S $place/sock ]; do sleep 0.05; done
		echo "daemon \$!"
	X
	got=$(in_host ssh -T -D $port node1 bash -s <"$SCENE/script" 2>&1)
	check "editor: a script on stdin starts a daemon" daemon "${got% *}"
	in_host ssh -fN -D $port -o ExitOnForwardFailure=yes -o ControlMaster=yes -o ControlPath=/run/gangway/mux2 \
	    -L $((port + 1)):$place/sock -L $place/local:$place/sock -R $((port + 2)):$place/sock \
	    -R $place/remote:127.0.0.1:$((port + 1)) -R "*:$((port + 3)):127.0.0.1:$((port + 1))" \
	    node1 </dev/null >"$SCENE/editor.log" 2>&1
	check "editor: comes back with forwards" "" "$(cat "$SCENE/editor.log")"
	ask_port() { timeout 5 bash -c "exec 3<>/dev/tcp/$1/$2; cat <&3"; }
	ask_unix() { timeout 5 perl -MIO::Socket::UNIX -e 'print IO::Socket::UNIX->new(Peer => $ARGV[0])->getline' "$1"; }
	check "editor: -L, a port to the daemon's unix socket" "$got" "$(ask_port 127.0.0.1 $((port + 1)))"
	check "editor: -L, a unix socket" "$got" "$(ask_unix $place/local)"
	check "editor: -R, a port" "$got" "$(ask_port 127.0.0.1 $((port + 2)))"
	check "editor: -R, a unix socket" "$got" "$(ask_unix $place/remote)"
	check "editor: -R, a port on every address" "$got" "$(ask_port 127.0.0.2 $((port + 3)))"
	# SOCKS 5 (RFC 1928): no authentication; connect to 127.0.0.1 and our port; ten bytes of answer after two.
	check "editor: -D" "$got" "$(timeout 5 perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new("127.0.0.1:$ARGV[0]");
		syswrite $s, pack("C3", 5, 1, 0); read $s, $x, 2;
		syswrite $s, pack("C4C4n", 5, 1, 0, 1, 127, 0, 0, 1, $ARGV[1]); read $s, $x, 10; print <$s>' $port $((port + 1)))"
	check "editor: -W" "$got" "$(in_host ssh -W 127.0.0.1:$((port + 1)) node1 </dev/null 2>/dev/null)"
	in_host ssh -o ControlPath=/run/gangway/mux2 -O exit node1 >/dev/null 2>&1
	check "editor: the daemon lives on" "$got" "$(ask_unix $place/sock)"
	kill ${got#* }
fi
