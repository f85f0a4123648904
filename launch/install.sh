#!/usr/bin/env bash
# Installs, by apt, the packages that the build needs and that are missing.
#
#   launch/install.sh [--checkers] [--dry-run]
#
# --checkers adds clang-format-14 and clang-tidy-14, which only .ci/run needs.
# --dry-run says what is missing and installs nothing.
# Nothing is done, and no root is needed, when all is there: as a package, or as
# a command, or as a pkg-config module, also under a folder of CMAKE_PREFIX_PATH.
# Exit code: 0 all is there; 1 apt failed; 2 something is missing and this user
# may not install it, or wrong usage.
set -euo pipefail

# Debian package, how to find the same thing without dpkg, what it is for.
needed=(
  'g++               command:g++             C++20 compiler, 12 or later'
  'cmake             command:cmake           3.25 or later'
  'ninja-build       command:ninja           runs the build'
  'pkg-config        command:pkg-config      finds libraries'
  'python3           command:python3         checkers and test counts'
  'git               command:git             the version that reports name'
  'libabsl-dev       module:absl_status      Abseil 20220623 or later'
  'libprotobuf-dev   module:protobuf         protobuf 3.21: configurations'
  'protobuf-compiler command:protoc          protobuf 3.21: its compiler'
  'libgtest-dev      module:gtest            GoogleTest 1.12'
  'libgmock-dev      module:gmock            GoogleTest 1.12'
  'libhdf5-dev       module:hdf5             HDF5 1.10: stores, checkpoints'
  'openmpi-bin       command:mpirun          OpenMPI 4: more than one rank'
  'libopenmpi-dev    module:ompi-c           OpenMPI 4: more than one rank'
  'libopenblas-dev   module:openblas         OpenBLAS 0.3: matrix products'
  'libpcre2-dev      module:libpcre2-8       PCRE2: the tokenizer'
  'libutf8proc-dev   module:libutf8proc      utf8proc: the tokenizer'
  'nlohmann-json3-dev module:nlohmann_json   JSON files'
  'libssl-dev        module:libcrypto        OpenSSL 3: SHA-256'
  'libarchive-dev    module:libarchive       compressed training text'
  'zlib1g-dev        module:zlib             checksums of files'
)
checkers=(
  'clang-format-14   command:clang-format-14 format of the sources'
  'clang-tidy-14     command:clang-tidy-14   lint of the sources'
)

usage() { sed -n '2,12s/^# \{0,1\}//p' "$0"; }

dry_run=false
for argument in "$@"; do
  case $argument in
    --checkers) needed+=("${checkers[@]}") ;;
    --dry-run) dry_run=true ;;
    --help) usage; exit 0 ;;
    *) echo "launch/install.sh: unknown argument '$argument'" >&2
       usage >&2; exit 2 ;;
  esac
done

# pkg-config looks into the prefixes where CMake looks.
for prefix in $(tr ':;' '  ' <<<"${CMAKE_PREFIX_PATH:-}"); do
  PATH=$prefix/bin:$PATH
  folders=$prefix/lib/pkgconfig:$prefix/lib64/pkgconfig:$prefix/share/pkgconfig
  export PKG_CONFIG_PATH=$folders:${PKG_CONFIG_PATH:-}
done

is_there() {  # PACKAGE KIND:NAME
  local name=${2#*:}
  case $2 in
    command:*) command -v "$name" >/dev/null && return 0 ;;
    module:*) pkg-config --exists "$name" 2>/dev/null && return 0 ;;
  esac
  [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

missing=() lines=()
for row in "${needed[@]}"; do
  read -r package probe purpose <<<"$row"
  if ! is_there "$package" "$probe"; then
    missing+=("$package")
    lines+=("$(printf '  %-20s %s' "$package" "$purpose")")
  fi
done
if ((${#missing[@]} == 0)); then
  echo "launch/install.sh: all ${#needed[@]} packages are there"
  exit 0
fi
echo "launch/install.sh: missing:"
printf '%s\n' "${lines[@]}"
if $dry_run; then
  exit 0
fi

if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
  cat >&2 <<TEXT
They can't be installed from here: that needs root and apt (Debian 12, Ubuntu
24.04). Ask for
  apt-get install ${missing[*]}
or build them from source under a folder of your own, each with
  cmake -S SOURCE -B BUILD -DCMAKE_INSTALL_PREFIX=\$HOME/prefix
  cmake --build BUILD --target install
and name that folder, here and for every later command:
  export CMAKE_PREFIX_PATH=\$HOME/prefix
TEXT
  exit 2
fi

export DEBIAN_FRONTEND=noninteractive
echo "launch/install.sh: apt-get install ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { apt-get -o Acquire::Retries=3 update &&
       apt-get -o Acquire::Retries=3 install -y --no-install-recommends \
         "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
  tail -n 40 "$log" >&2
  echo "launch/install.sh: apt-get failed (above): check the network and" \
    "/etc/apt/sources.list, then run it again" >&2
  exit 1
fi
echo "launch/install.sh: installed ${#missing[@]} packages"
