# Sourced by launch/slurm/*.sbatch: how a stage is started, stopped and started
# again inside an allocation.
#
# Environment, by `sbatch --export=ALL,NAME=VALUE` or exported before:
#   RTPURBO_RUN       configuration of the run. Default: run.textproto of the
#                     run's folder
#   RTPURBO_OUT       folder of the run, seen by all nodes. In an array, each
#                     task works in OUT/seed_N with --set seed=N. Required
#   RTPURBO_SET       more edits, PATH=VALUE, one a line
#   RTPURBO_BINARY    the program. Default: build/cpu/rtpurbo of this checkout
#   RTPURBO_HOME      the checkout. Default: the folder sbatch was called in
#   RTPURBO_LAUNCH    srun or mpirun. Default: srun where it has pmix
#   RTPURBO_RESTARTS  how often a job requeues itself at most. Default: 20
# Flags after the script's name go to the program: sbatch ... run.sbatch --out X.
#
# USR1 comes to the batch shell alone (--signal=B:USR1@300, 5 minutes before the
# limit), which passes it on to every rank once: they save after the step and
# end with code 75, and the job requeues itself. Code 75 for any other reason
# does the same. TERM, which `scontrol requeue` and scancel send, is passed on as
# TERM. A rank that dies takes the step with it (srun -K1).
#
# The program computes on CPUs only today. Where a node has GPUs, each rank
# sees one, by its local rank, for the builds that will use it.

usage() {  # FILE: the comment at its top
  sed -n '/^#SBATCH/d; 2,/^$/s/^# \{0,1\}//p' "$1"
}

fail() {
  echo "launch/slurm: $*" >&2
  exit 2
}

# srun can start our MPI only by PMIx.
find_launch() {
  if [[ -n ${RTPURBO_LAUNCH:-} ]]; then
    echo "$RTPURBO_LAUNCH"
  elif srun --mpi=list 2>&1 | grep -qw pmix; then
    echo srun
  else
    echo mpirun
  fi
}

# Replaces the shell of a rank by the program, with one GPU of the node.
rank_prologue='
  local_rank=${OMPI_COMM_WORLD_LOCAL_RANK:-${SLURM_LOCALID:-0}}
  count=$(nvidia-smi -L 2>/dev/null | grep -c "^GPU") || true
  if ((count > 0)); then
    IFS=, read -ra devices <<<"${CUDA_VISIBLE_DEVICES:-$(seq -s, 0 $((count - 1)))}"
    export CUDA_VISIBLE_DEVICES=${devices[local_rank % ${#devices[@]}]}
  fi
  exec "$@"'

# Starts the program on every task of the allocation, in the background.
start_ranks() {  # PROGRAM ARGUMENT...
  local cpus=${SLURM_CPUS_PER_TASK:-1}
  export OPENBLAS_NUM_THREADS=1 RTPURBO_THREADS=${RTPURBO_THREADS:-$cpus}
  case $(find_launch) in
    srun)
      srun --mpi=pmix -K1 --cpus-per-task="$cpus" \
        bash -c "$rank_prologue" rank "$@" & ;;
    mpirun)
      mpirun --bind-to none -n "$SLURM_NTASKS" \
        -x OPENBLAS_NUM_THREADS -x RTPURBO_THREADS \
        bash -c "$rank_prologue" rank "$@" & ;;
    *) fail "RTPURBO_LAUNCH is ${RTPURBO_LAUNCH}, but must be srun or mpirun" ;;
  esac
  ranks=$!
}

pass_on() {  # SIGNAL
  echo "launch/slurm: $1 at $(date +%T), passed on to the ranks"
  if [[ $(find_launch) == srun ]]; then
    # It reaches the ranks alone, not this shell.
    scancel --signal="$1" "$SLURM_JOB_ID" 2>/dev/null || true
  else
    kill -s "$1" "$ranks" 2>/dev/null || true
  fi
}

# `wait` ends early when a signal is trapped.
wait_for_ranks() {
  local code=0
  while true; do
    code=0
    wait "$ranks" || code=$?
    kill -0 "$ranks" 2>/dev/null || return "$code"
  done
}

requeue() {
  local count=${SLURM_RESTART_COUNT:-0} most=${RTPURBO_RESTARTS:-20}
  if ((count >= most)); then
    echo "launch/slurm: saved, but requeued $count times already: stopping" >&2
    exit 75
  fi
  echo "launch/slurm: saved; requeue $((count + 1)) of at most $most"
  # The rest of this script is ended by it.
  scontrol requeue "$SLURM_JOB_ID" || exit 75
  sleep 60
}

run_command() {  # COMMAND [FLAG...]
  local command=$1 flags=() edit
  shift
  [[ -n ${SLURM_JOB_ID:-} ]] || fail "start it by sbatch (see --help)"
  cd "${RTPURBO_HOME:-${SLURM_SUBMIT_DIR:-.}}"
  local out=${RTPURBO_OUT:-} binary=${RTPURBO_BINARY:-build/cpu/rtpurbo}
  [[ -x $binary ]] || fail "no program at $binary: build it (README.md)"
  if [[ -n ${SLURM_ARRAY_TASK_ID:-} ]]; then
    [[ -n $out ]] || fail "an array needs RTPURBO_OUT"
    out=$out/seed_$SLURM_ARRAY_TASK_ID
    flags+=(--set "seed=$SLURM_ARRAY_TASK_ID")
  fi
  [[ -z $out ]] || flags+=(--out "$out")
  [[ -z ${RTPURBO_RUN:-} ]] || flags+=(--run "$RTPURBO_RUN")
  while IFS= read -r edit; do
    [[ -z $edit ]] || flags+=(--set "$edit")
  done <<<"${RTPURBO_SET:-}"
  echo "launch/slurm: $command, job $SLURM_JOB_ID, start" \
    "$((${SLURM_RESTART_COUNT:-0} + 1)), $SLURM_NTASKS ranks on" \
    "$SLURM_JOB_NODELIST by $(find_launch)"
  trap 'pass_on USR1' USR1
  trap 'pass_on TERM' TERM
  start_ranks "$binary" "$command" "${flags[@]}" "$@"
  local code=0
  wait_for_ranks || code=$?
  if ((code == 75)); then
    requeue
  fi
  exit "$code"
}
