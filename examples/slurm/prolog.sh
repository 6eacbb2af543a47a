#!/bin/sh
# Prolog of slurmd (root, on each node of a job, before anything of it runs; PrologFlags=Alloc).
#
# 1. Sees to it that the user has a private directory in memory, where pam_systemd makes none for batch jobs.
# 2. Puts the job's directive, if it has one, where its TaskProlog can read it (see task-prolog.sh):
#      #SBATCH --comment="gangway: image=app"
#
# The comment is the user's text: it is compared and copied here, and never evaluated. The rest of the environment is
# Slurm's own. An exit status other than 0 would drain the node and requeue the job: nothing here is worth that.
set -u
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
umask 077
directives=/run/gangway-slurm

case ${SLURM_JOB_UID:-}${SLURM_JOB_ID:-} in *[!0-9]* | '') exit 0 ;; esac
[ "$SLURM_JOB_UID" != 0 ] || exit 0

group=${SLURM_JOB_GID:-$(id -g "$SLURM_JOB_UID" 2>/dev/null)}
case $group in *[!0-9]* | '') exit 0 ;; esac

# /run/user is root's alone: nobody can have laid a link there. A file system of its own, as pam_systemd has it: what the user
# puts there shall not fill the machine's /run.
runtime=/run/user/$SLURM_JOB_UID
if [ -d /run/user ] && [ ! -e "$runtime" ]; then
  if [ -d /run/systemd/system ]; then
    systemctl start "user-runtime-dir@$SLURM_JOB_UID.service"
  elif mkdir -m 0700 "$runtime"; then
    mount -t tmpfs -o "nosuid,nodev,size=10%,mode=0700,uid=$SLURM_JOB_UID,gid=$group" tmpfs "$runtime" || rmdir "$runtime"
  fi
fi

case ${SLURM_JOB_COMMENT:-} in
  gangway:*)
    install -d -m 0755 "$directives"
    rm -f "$directives/$SLURM_JOB_ID"
    # Root's, and for the user to read: who owned it could write as much as there is room for.
    printf '%s\n' "$SLURM_JOB_COMMENT" >"$directives/$SLURM_JOB_ID"
    chgrp "$group" "$directives/$SLURM_JOB_ID" && chmod 0640 "$directives/$SLURM_JOB_ID"
    ;;
esac
exit 0
