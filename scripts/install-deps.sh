#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Installs what the build and the tests need from Debian, without asking; install-deps.sh lint: what `make lint` needs as well.
# Does nothing when all of it is there.
set -euo pipefail
packages=(
  build-essential cmake pkgconf bc bison flex libelf-dev libssl-dev kmod cpio xz-utils zstd
  linux-headers-amd64
  libgtest-dev libgmock-dev libisal-dev
  libcli11-dev nlohmann-json3-dev libfmt-dev libconfig++-dev libmnl-dev libkmod-dev libblkid-dev
  sparse
  qemu-system-x86 busybox-static python3 python3-pytest python3-yaml
)
[ "${1:-}" != fuzz ] || packages+=(clang-14 libclang-rt-14-dev)
[ "${1:-}" != lint ] || packages+=(clang-tidy-14 cppcheck)
missing=()
for p in "${packages[@]}"; do
  dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null | grep -qx installed || missing+=("$p")
done
[ ${#missing[@]} -eq 0 ] && exit 0
echo "installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get -q update
apt-get -q install -y --no-install-recommends "${missing[@]}"
