#!/usr/bin/env bash
# Eight ranks load a model of 8.7 GB, of which each keeps an eighth: none may
# need more than 64 MB beside it. Needs 10 GB of memory, and MPI.
#
#   tests/launch/loading_test.sh [BUILD_FOLDER]
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${1:-build/cpu}
mpirun=$(command -v mpirun) || { echo "no mpirun here" >&2; exit 77; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 - "$scratch/config.json" <<'PYTHON'
import json, sys
config = json.load(open('tests/data/shapes/qwen3_30b_a3b/config.json'))
config['num_hidden_layers'] = 6
json.dump(config, open(sys.argv[1], 'w'))
PYTHON
tests/sparse_model.py "$scratch/config.json" "$scratch/model"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
timeout 300 "$mpirun" --oversubscribe --bind-to none -n 8 \
  "$build/rtpurbo" inspect "$scratch/model" --load | tee "$scratch/out"
awk '/ holds / {
  n++; beside = ($12 - $6) / 1048576
  if (beside > worst) worst = beside
}
END {
  printf "%d ranks, at most %.1f MB beside the weights\n", n, worst
  exit !(n == 8 && worst <= 64)
}' "$scratch/out"
