#!/bin/sh
# TaskProlog of slurmd (the user, inside the job, before each task): starts the containers of a job that asks for them in
# its directive, before the batch script begins. The script, and everybody of its user, then only enters:
#
#   #!/bin/sh
#   #SBATCH --nodes=2 --comment="gangway: image=app volume=/scratch:/scratch"
#   gangway shell "$GANGWAY_JOB_ID" -- ./prepare.sh      # in the container on this node
#   gangway ssh "$GANGWAY_JOB_ID.n2" ./look.sh           # in the one on another
#
# The directive has blanks between its words. Words: image=NAME (needed), and, as often as wanted, volume=SOURCE:TARGET[:ro].
# It is the user's text and runs with that user's rights alone; its words become arguments, one each, and nothing evaluates them.
#
# What is written to stdout is for slurmstepd: "print TEXT" is shown in the job's output, "export NAME=VALUE" is set for the script.
set -u -f
gangway=/usr/local/bin/gangway
directives=/run/gangway-slurm

# The batch script alone: not the tasks of a step, nor those of steps in it.
[ -z "${SLURM_STEP_ID:-}" ] || exit 0
case ${SLURM_JOB_ID:-} in *[!0-9]* | '') exit 0 ;; esac
[ -r "$directives/$SLURM_JOB_ID" ] || exit 0
IFS= read -r directive <"$directives/$SLURM_JOB_ID" || exit 0

fail() {
  echo "print gangway: the directive \"$directive\" $1"
  exit 1
}

image=
IFS=' '
# shellcheck disable=SC2086 # its words; -f keeps * what it is
set -- ${directive#gangway:}
count=$#
while [ "$count" -gt 0 ]; do
  word=$1
  shift
  count=$((count - 1))
  case $word in
    image=?*)
      [ -z "$image" ] || fail "names two images"
      image=${word#image=}
      ;;
    volume=?*) set -- "$@" "--volume=${word#volume=}" ;;
    *) fail "has the word \"$word\", which is none of image=NAME and volume=SOURCE:TARGET[:ro]" ;;
  esac
done
[ -n "$image" ] || fail "names no image: image=NAME is missing"

# It waits until every node is up, then goes on by itself, with gangway-JOB.out in the working directory for what it has to
# say later (a node that died). What waits in the containers is ours, and needs nothing of the image.
if ! said=$("$gangway" run --detach --image="$image" "$@" -- /opt/udiImage/tools/sleep infinity 2>&1 </dev/null); then
  printf '%s\n' "$said" | sed 's/^/print /'
  exit 1
fi
# The job's name is the last line of what it says.
printf 'export GANGWAY_JOB_ID=%s\n' "$(printf '%s\n' "$said" | tail -n 1)"
