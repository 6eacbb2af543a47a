#!/bin/sh
# TaskEpilog of slurmd (the user, inside the job, after each task): ends in an orderly way what the job started and left
# running when its batch script ends, on all its nodes: the containers of a directive, and what `gangway run --detach` began.
# Without it Slurm kills the launcher, and the epilog clears what that leaves.
set -u
gangway=/usr/local/bin/gangway

# The batch script alone, as in task-prolog.sh.
[ -z "${SLURM_STEP_ID:-}" ] || exit 0
case ${SLURM_JOB_ID:-} in *[!0-9]* | '') exit 0 ;; esac
timeout -k 5 60 "$gangway" gc --job "$SLURM_JOB_ID" >/dev/null 2>&1 </dev/null
exit 0
