#!/usr/bin/env bash
# What takes too long for every change: 200 kills of random ranks, and each call
# of the file system failed on the first and the last of 2 and 4 ranks. A quarter
# of an hour on two cores. Prints the seed of the kills: RTPURBO_SEED=... sees
# the same again; RTPURBO_KILLS=1000 makes more of them.
#
#   tests/long.sh [BUILD_FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build/cpu}
export RTPURBO_ROOT=$PWD
cmake --build "$build" --target \
  launch_faults_test trainer_rank_faults_test rtpurbo
RTPURBO_KILLS=${RTPURBO_KILLS:-200} \
  "$build/tests/launch_faults_test" --gtest_filter='*KilledRanks*'
RTPURBO_STRIDE=1 "$build/tests/trainer_rank_faults_test"
