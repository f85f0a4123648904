#!/usr/bin/env bash
# Compares any teacher with what transformers computed for it.
#
#   tests/reference/check.sh FOLDER [REFERENCE]
#
# FOLDER holds config.json and *.safetensors. REFERENCE is the path of the
# outputs without their endings .json and .safetensors; without it, the files
# named after the folder in tests/data/reference. Prints each difference; exits
# with 1 if one is over its bound.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [[ $# -lt 1 || $1 == --help ]]; then
  sed -n '2,9s/^# \{0,1\}//p' "$0"
  exit $(($# < 1 ? 2 : 0))
fi
teacher=${1%/}
reference=${2:-tests/data/reference/$(basename "$teacher")}
for file in "$teacher/config.json" "$reference.json" "$reference.safetensors"; do
  if [[ ! -f $file ]]; then
    echo "check.sh: there is no $file" >&2
    exit 3
  fi
done
test=build/cpu/tests/trainer_reference_test
if [[ ! -x $test ]]; then
  echo "check.sh: $test is not built; run launch/test.sh first" >&2
  exit 2
fi
RTPURBO_ROOT=$PWD RTPURBO_TEACHER=$teacher RTPURBO_REFERENCE=$reference \
  exec "$test"
