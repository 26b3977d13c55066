#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# lint-kernel.sh KDIR OUT: checkpatch on the module's sources, then sparse and the compiler's extra warnings (W=1) on a build of its own.
# Any finding is a failure.
set -euo pipefail
kdir=$1 out=$2
mkdir -p "$out"

# checkpatch is not in the headers' package; it is taken out of the kernel's source package, which need not be installed for that.
checkpatch=$out/checkpatch/scripts/checkpatch.pl
if [ ! -x "$checkpatch" ]; then
  release=$(make -s -C "$kdir" kernelversion | cut -d. -f1,2)
  rm -rf "$out/checkpatch" && mkdir -p "$out/checkpatch"
  (cd "$out/checkpatch" && { apt-get -qq -o APT::Sandbox::User=root download "linux-source-$release" ||
    { apt-get -qq update && apt-get -qq -o APT::Sandbox::User=root download "linux-source-$release"; }; })
  dpkg-deb --fsys-tarfile "$out"/checkpatch/linux-source-*.deb | tar -xO --wildcards './usr/src/linux-source-*.tar.xz' |
    tar -xJ -C "$out/checkpatch" --strip-components=1 --wildcards '*/scripts/checkpatch.pl' '*/scripts/spelling.txt' \
      '*/scripts/const_structs.checkpatch'
  rm -f "$out"/checkpatch/linux-source-*.deb
fi

# What it may say that does not hold here:
ignored=(
  LINUX_VERSION_CODE             # one header, compat.h, is there to carry the module from one kernel to another
  PREFER_DEFINED_ATTRIBUTE_MACRO # env.h and raid6.h are compiled in user space too, which has no __printf()
  PREFER_KERNEL_TYPES            # raid6/ is compiled in user space too, and uses C's uint8_t
  FILE_PATH_CHANGES              # there is no MAINTAINERS file
  MEMORY_BARRIER                 # wants a comment beside each barrier; who reads without a lock, and what makes that right, is told once a structure
)
# raid6/ makes functions, tables, vector types and unrolled loops by macro and typedef, which has no other way to be there once for every
# instruction set; a tool that reads line by line takes what stands inside of those macros for badly set statements.
ignored_raid6=(NEW_TYPEDEFS COMPLEX_MACRO MULTISTATEMENT_MACRO_USE_DO_WHILE TRAILING_STATEMENTS TABSTOP SUSPECT_CODE_INDENT BRACES LINE_SPACING)
failed=0
check() { # check FOLDER IGNORED…
  local folder=$1
  shift
  mapfile -t files < <(find "$folder" -name '*.[ch]' -not -path 'raid6/test/*' -not -path 'raid6/bench/*' | sort)
  echo "checkpatch, $folder: ${#files[@]} files"
  "$checkpatch" --no-tree --terse --show-types --no-summary --max-line-length=140 --ignore "$(IFS=,; echo "$*")" -f "${files[@]}" || failed=1
}
check kmod "${ignored[@]}"
check raid6 "${ignored[@]}" "${ignored_raid6[@]}"

echo "sparse and W=1"
rm -rf "$out/src" && mkdir -p "$out/src"
scripts/mirror.sh kmod raid6 "$out/src"
log=$out/build.log
# An I/O has its bio inside, whose empty tail array sparse does not like to see in an array of I/Os. Nothing is ever put there.
sparse="-Wsparse-error -Wno-flexible-array-array"
make -C "$kdir" --no-print-directory M="$(realpath "$out")/src/kmod" C=2 CF="$sparse" W=1 modules >"$log" 2>&1 || { failed=1; tail -20 "$log"; }
# The message about BTF is about a kernel image that headers do not come with.
if grep -E 'warning|error' "$log" | grep -v 'BTF'; then failed=1; fi
[ $failed = 0 ] && echo "no findings"
exit $failed
