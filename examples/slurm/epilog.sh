#!/bin/sh
# Epilog of slurmd (root, on each node of a job, when nothing of it should run there any more): ends what is left of the
# job's launches on this node, whatever way they died, and clears what dead ones left: containers, private directories,
# entries in the user's index of running jobs.
#
# It deals with the job's user alone, and gangway does in that user's name all that it does with that user's files.
# Slurm waits for it before the node is given away; an exit status other than 0 would drain the node. What could not be
# cleared is said in the system's log, and the next epilog, or the user's next launch, tries again.
set -u
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
gangway=/usr/local/bin/gangway
directives=/run/gangway-slurm

case ${SLURM_JOB_UID:-} in *[!0-9]* | '') exit 0 ;; esac
case ${SLURM_JOB_ID:-} in *[!0-9]* | '') exit 0 ;; esac
rm -f "$directives/$SLURM_JOB_ID"
[ "$SLURM_JOB_UID" != 0 ] || exit 0

# Nothing of the environment decides what root's gangway does: it reads the site's file alone.
if ! said=$(env -i PATH="$PATH" HOME=/root timeout -k 5 120 "$gangway" gc --user "$SLURM_JOB_UID" --job "$SLURM_JOB_ID" 2>&1 </dev/null); then
  logger -t gangway-epilog -p daemon.warning -- "job $SLURM_JOB_ID of uid $SLURM_JOB_UID: $said" 2>/dev/null
fi
exit 0
