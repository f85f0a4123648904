#!/usr/bin/env bash
# From a bare machine to a converted model: installs what is missing, builds the
# program, converts the teacher of tests/data/tiny end to end.
#
#   launch/quickstart.sh [--out DIR] [--set PATH=VALUE]...
#
# DIR, runs/quickstart if not given, is the folder of the run. Started again, it
# goes on where it stopped; what is complete and unchanged is not made again.
# The conversion takes about 5 minutes on two cores, and 0.3 GB.
# Prints the table of answers, and where the report is.
# Exit code: 0 done; 2 a package is missing and this user may not install it, or
# wrong usage; else what the build or the program returned.
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/phase.sh

out=runs/quickstart
edits=()
while (($#)); do
  case $1 in
    --out) out=${2:?launch/quickstart.sh: --out needs a folder}; shift 2 ;;
    --set) edits+=(--set "${2:?launch/quickstart.sh: --set needs PATH=VALUE}")
           shift 2 ;;
    --help) sed -n '2,14s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "launch/quickstart.sh: unknown argument '$1' (try --help)" >&2
       exit 2 ;;
  esac
done

launch/install.sh
phase configure cmake --preset cpu
phase build cmake --build --preset cpu --target rtpurbo
start=$SECONDS
build/cpu/rtpurbo run --run configs/recipes/tiny.textproto --out "$out" \
  "${edits[@]}"
echo "conversion: $((SECONDS - start)) s"
