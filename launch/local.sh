#!/usr/bin/env bash
# Starts the program on several ranks by mpirun, here or on the hosts of a file.
#
#   launch/local.sh -n RANKS [--hostfile FILE] COMMAND [FLAG...]
#
#   launch/local.sh -n 2 run --run configs/recipes/tiny.textproto --out runs/a
#
# FILE has a line a host: NAME slots=N. All hosts need this checkout and the
# run's folder at the same path. Ranks of a host share its cores.
# RTPURBO_BINARY is the program; default: build/cpu/rtpurbo of this checkout.
# USR1 to mpirun makes the ranks save and stop, with exit code 75.
# OpenMPI and MPICH are told apart. Where a host has GPUs, a rank sees one, by
# its local rank; the program computes on CPUs only today.
# Exit code: 2 wrong usage, else that of mpirun: the program's.
set -euo pipefail
cd "$(dirname "$0")/.."

ranks='' hosts=()
while (($#)); do
  case $1 in
    -n) ranks=${2:?launch/local.sh: -n needs a number}; shift 2 ;;
    --hostfile) hosts=(--hostfile "${2:?launch/local.sh: --hostfile needs a file}")
                shift 2 ;;
    --help) sed -n '2,16s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "launch/local.sh: unknown argument '$1' (try --help)" >&2; exit 2 ;;
    *) break ;;
  esac
done
if [[ ! $ranks =~ ^[1-9][0-9]*$ ]] || (($# == 0)); then
  echo "launch/local.sh: needs -n RANKS and a command (try --help)" >&2
  exit 2
fi

export OPENBLAS_NUM_THREADS=1
options=("${hosts[@]}" -n "$ranks")
if mpirun --version 2>&1 | grep -qE 'Open MPI|OpenRTE'; then
  options+=(--oversubscribe --bind-to none -x OPENBLAS_NUM_THREADS)
  if ((EUID == 0)); then
    options+=(--allow-run-as-root)
  fi
fi
source launch/slurm/common.sh
exec mpirun "${options[@]}" bash -c "$rank_prologue" rank \
  "${RTPURBO_BINARY:-$PWD/build/cpu/rtpurbo}" "$@"
