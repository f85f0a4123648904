#!/usr/bin/env bash
# The tests that take too long, or need too much, for every change.
#
#   tests/long.sh [--build DIR] [STEP...]
#
# DIR, build/cpu if not given, is a build with its tests. STEPs, all if none is
# named:
#   kills   200 kills of random ranks; a quarter of an hour on two cores. Prints
#           their seed: RTPURBO_SEED=... sees the same again, RTPURBO_KILLS=1000
#           makes more of them
#   files   each call of the file system failed on the first and the last of 2
#           and 4 ranks
#   loading 8 real ranks load 8.7 GB of holes, each with 64 MB beside its part
#   slurm   launch/slurm under a real Slurm of four nodes here: 2 minutes, root,
#           slurmctld slurmd slurm-client munge
# To add one: a function step_<name>, and a line here. It returns 0 if it passed
# and 77 if this machine lacks something, which it names.
# The last line is "N passed, N failed, N skipped", a step as one. Exit code: 0
# if nothing failed, 2 wrong usage, else 1.
set -euo pipefail
cd "$(dirname "$0")/.."

build=build/cpu
steps=()
while (($#)); do
  case $1 in
    --build) build=${2:?tests/long.sh: --build needs a folder}; shift 2 ;;
    --help) sed -n '2,22s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "tests/long.sh: unknown argument '$1' (try --help)" >&2; exit 2 ;;
    *) steps+=("$1"); shift ;;
  esac
done

export RTPURBO_ROOT=$PWD

step_kills() {
  cmake --build "$build" --target launch_faults_test rtpurbo &&
    RTPURBO_KILLS=${RTPURBO_KILLS:-200} \
      "$build/tests/launch_faults_test" --gtest_filter='*KilledRanks*'
}

step_files() {
  cmake --build "$build" --target trainer_rank_faults_test &&
    RTPURBO_STRIDE=1 "$build/tests/trainer_rank_faults_test"
}

step_loading() { tests/launch/loading_test.sh "$build"; }

step_slurm() { tests/launch/slurm_test.sh "$build"; }

if ((${#steps[@]} == 0)); then
  mapfile -t steps < <(declare -F | sed -n 's/^declare -f step_//p')
fi
passed=0 failed=0 skipped=0
for step in "${steps[@]}"; do
  if ! declare -F "step_$step" >/dev/null; then
    echo "tests/long.sh: no step '$step' (try --help)" >&2
    exit 2
  fi
  start=$SECONDS code=0
  "step_$step" || code=$?
  echo "$step: code $code, $((SECONDS - start)) s"
  case $code in
    0) passed=$((passed + 1)) ;;
    77) skipped=$((skipped + 1)) ;;
    *) failed=$((failed + 1)) ;;
  esac
done
echo "$passed passed, $failed failed, $skipped skipped"
exit $((failed != 0))
