#!/usr/bin/env bash
# Unpacks the packages of launch/fetch_deps.sh into /usr, as root. A file that
# is already there stays as it is.
# Usage: launch/unpack_deps.sh [FOLDER=.deps]
set -euo pipefail
folder=${1:-.deps}
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
for package in "$folder"/*.deb; do
  dpkg -x "$package" "$stage"
done
rm -rf "$stage/usr/share/doc"
# Only /usr: the packages' /lib would replace a link of merged systems.
cp -a --update=none "$stage/usr/." /usr/ 2>/dev/null ||
  cp -an "$stage/usr/." /usr/
ldconfig
