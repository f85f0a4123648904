#!/usr/bin/env bash
# Downloads the Debian packages that a GPU machine without a registry lacks, to
# be copied there and unpacked by launch/unpack_deps.sh. Needs apt, not root.
# Usage: launch/fetch_deps.sh [FOLDER=.deps]
set -euo pipefail
folder=${1:-.deps}
mkdir -p "$folder"
cd "$folder"
apt-get download libabsl-dev libabsl20220623 libpcre2-dev libutf8proc-dev \
  libutf8proc2
du -sh .
