#!/bin/bash
# The demo's job: runs on node1, in a container; hops to its siblings with nothing but the usual names.
set -eu
step() { printf '\n\033[1m-- %s\033[0m\n' "$*"; }

step "I am $(id -un) in job $GANGWAY_JOB_ID on $(hostname), one of: $GANGWAY_NODELIST"
cat /etc/os-release | sed -n 's/^PRETTY_NAME=//p'

step "ssh to every node: same user, same directory, same environment"
for node in node1 node2 node3; do
  ssh "$node" 'echo "$(hostname): $(id -un) in $PWD, GREETING=$GREETING"'
done

step "each node is a container of its own, and a session is in the job's: /tmp/mark was made there by the job"
for node in node1 node2 node3; do ssh "$node" "hostname > /tmp/mark"; done
for node in node3 node2 node1; do ssh "$node" 'echo "$(hostname) has /tmp/mark: $(cat /tmp/mark)"'; done

step "scp, sftp, rsync"
seq 1000 > /tmp/numbers
scp -q /tmp/numbers node2:/tmp/
ssh node2 'scp -q /tmp/numbers node3:/tmp/numbers'
echo 'get /tmp/numbers /tmp/numbers.back' | sftp -q -b - node3 > /dev/null
cmp /tmp/numbers /tmp/numbers.back && echo "1000 lines went node1 -> node2 -> node3 -> node1 unharmed"
rsync -a --stats /tmp/numbers node3:/tmp/again | sed -n 's/^Number of regular files transferred/rsync: files transferred/p'

step "exit codes: ssh node2 'exit 7'"
ssh node2 'exit 7' || echo "gave $?"
ssh node2 'kill -TERM $$' || echo "a command killed by SIGTERM gave $?"

step "/var/hostsfile, and mpirun without a flag"
cat /var/hostsfile | tr '\n' ' '; echo
mpirun -np 6 ring
