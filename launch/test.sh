#!/usr/bin/env bash
# Installs what is missing, builds, runs every test.
#
#   launch/test.sh [--preset NAME]... [-- CTEST_ARGUMENT...]
#
# Presets: those of CMakePresets.json. Default: cpu, with all its tests, and
# cuda where there is an nvcc: without a GPU that one is only compiled.
# asan leaves out the tests labelled slow; tsan runs those labelled threads.
# With CI=true a compiler warning is an error.
# The last line is "N passed, N failed, N skipped": every GoogleTest case counts
# as one, every other test of ctest as one, a phase that fails otherwise as one
# failed. Exit code: 0 if nothing failed, 2 wrong usage, else 1.
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/phase.sh

presets=()
while (($#)); do
  case $1 in
    --preset) presets+=("${2:?launch/test.sh: --preset needs a name}"); shift 2 ;;
    --help) sed -n '2,14s/^# \{0,1\}//p' "$0"; exit 0 ;;
    --) shift; break ;;
    *) echo "launch/test.sh: unknown argument '$1' (try --help)" >&2; exit 2 ;;
  esac
done
ctest_arguments=("$@")

has_nvcc() { [[ -x /usr/local/cuda/bin/nvcc ]]; }
has_gpu() { nvidia-smi -L 2>/dev/null | grep -q '^GPU'; }

if ((${#presets[@]} == 0)); then
  presets=(cpu)
  if has_nvcc; then
    presets+=(cuda)
  fi
fi

# The tests that a preset runs, as arguments of ctest.
filter_of() {
  case $1 in
    asan) echo '-LE slow|gpu' ;;
    tsan) echo '-L threads' ;;
    *) echo '' ;;
  esac
}

configure() {  # PRESET
  local werror=OFF
  if [[ ${CI:-} == true ]]; then
    werror=ON
  fi
  cmake --preset "$1" -DCMAKE_COMPILE_WARNING_AS_ERROR=$werror
}

# Builds the tests that the filter leaves, or everything without a filter.
build() {  # PRESET
  local filter targets=()
  read -ra filter <<<"$(filter_of "$1")"
  if ((${#filter[@]})); then
    mapfile -t targets < <(comm -12 \
      <(ctest --test-dir "build/$1" -N "${filter[@]}" |
        sed -n 's/^ *Test *#[0-9]*: //p' | sort) \
      <(ninja -C "build/$1" -t targets all | sed -n 's/: phony$//p' | sort))
    targets=(--target "${targets[@]}")
  fi
  cmake --build --preset "$1" "${targets[@]}"
}

run_tests() {  # PRESET
  local filter
  read -ra filter <<<"$(filter_of "$1")"
  ctest --test-dir "build/$1" --output-on-failure --no-tests=error \
    --parallel "$(nproc)" --output-junit "$PWD/$phase_dir/$1.xml" \
    --test-output-size-passed 100000000 --test-output-size-failed 100000000 \
    "${filter[@]}" "${ctest_arguments[@]}"
}

results=()
test_preset() {  # PRESET
  local status=0
  rm -f "$phase_dir/$1.xml"
  phase "$1: configure" configure "$1" || return 1
  phase "$1: build" build "$1" || return 1
  if [[ $1 == cuda ]] && ! has_gpu; then
    echo "cuda: no GPU here, so it was only compiled"
    return 0
  fi
  phase_lines=400 phase "$1: tests" run_tests "$1" || status=$?
  if [[ -s $phase_dir/$1.xml ]]; then
    results+=("$phase_dir/$1.xml")
    if ((status)); then  # the failed tests are counted one by one
      num_failed_phases=$((num_failed_phases - 1))
    fi
  fi
  return "$status"
}

start=$SECONDS status=0
if phase install launch/install.sh; then
  for preset in "${presets[@]}"; do
    test_preset "$preset" || status=1
  done
else
  status=1
fi
echo "all phases: $((SECONDS - start)) s"
python3 tests/count_tests.py --failed "$num_failed_phases" "${results[@]}" ||
  status=1
exit "$status"
