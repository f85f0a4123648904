#!/usr/bin/env bash
# The tests that take too long, or need too much, for every change.
#
#   tests/long.sh [--build DIR] [STEP...]
#
# DIR, build/cpu if not given, is a build with its tests. STEPs, all if none is
# named:
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
    --help) sed -n '2,14s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "tests/long.sh: unknown argument '$1' (try --help)" >&2; exit 2 ;;
    *) steps+=("$1"); shift ;;
  esac
done

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
