#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# lint-user.sh CMAKE_BUILD JOBS: cppcheck on C++ and on the engine's C, clang-tidy on C++ (.clang-tidy says what is checked, and what
# not and why). Any finding is a failure. What has not changed since it was found clean is not looked at again.
set -euo pipefail
build=$1 jobs=$2 failed=0
stamps=$build/../lint-user
mkdir -p "$stamps"

# What cppcheck may say that does not hold here:
suppressed=(
  missingIncludeSystem      # of libraries; they compile
  unmatchedSuppression
  useStlAlgorithm           # a plain loop is often the clearer one
  unusedFunction            # a library's functions are used elsewhere
  ctunullpointer:kmod/* ctunullpointer:tests/sim/linux_like.h   # takes the 0 of atomic_set(x, 0) for a pointer, through a macro
  arrayIndexOutOfBoundsCond:kmod/*  # takes the bound of a range check for a value that gets past it
  nullPointerRedundantCheck:tests/sim/* derefInvalidIteratorRedundantCheck:tests/sim/*   # does not see that fail() never returns
  comparePointers:tests/sim/env_sim.cc  # the two ends of a linker section
  ignoredReturnValue:tests/*    # freopen() of a test's stderr
)
cppcheck=(cppcheck --quiet --error-exitcode=1 --inline-suppr --enable=warning,performance,portability -j "$jobs"
  --template='{file}:{line}: {severity}: {message} [{id}]' "${suppressed[@]/#/--suppress=}")

echo "cppcheck, C++"
mapfile -t sources < <(git ls-files 'raid6/*.cpp' 'configfs_tools/*.cpp' 'userland/*.cpp' 'tests/*.cc' 'tests/*.cpp')
mkdir -p "$stamps/cpp" "$stamps/c"
# Its own idea of that macro fails where a suite has no prefix; and where one macro is told, all are to be.
"${cppcheck[@]}" --std=c++20 --cppcheck-build-dir="$stamps/cpp" --library=googletest -D'INSTANTIATE_TEST_SUITE_P(...)=' -D__x86_64__=1 "${sources[@]}" || failed=1

echo "cppcheck, the engine"
mapfile -t engine < <(git ls-files 'kmod/engine*.c' 'kmod/format/*.c' 'kmod/map/*.c' 'kmod/log/*.c' 'kmod/group/*.c' 'kmod/drive/*.c' \
  'kmod/background/*.c' 'raid6/*.c')
"${cppcheck[@]}" --std=c11 --cppcheck-build-dir="$stamps/c" -DPAV_SIM -Ikmod -Itests/sim "${engine[@]}" || failed=1

echo "clang-tidy"
scripts/tidy.py "$build" "$stamps/tidy" "$jobs" "${sources[@]}" || failed=1
[ $failed = 0 ] && echo "no findings"
exit $failed
