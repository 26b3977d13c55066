#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The same seeds give the same traces: in another process, at other addresses, beside other seeds.
# usage: replay_test.sh PAV_SIM SEEDS
set -euo pipefail
one=$("$1" --seeds "$2" --jobs 1 --hash)
many=$("$1" --seeds "$2" --jobs 3 --hash)
# Every tenth seed has two hosts: here these have a process to themselves.
kinds=$("$1" --seeds "$2" --jobs 10 --hash)
echo "$one (one process) $many (three) $kinds (ten)"
[ "$one" = "$many" ] && [ "$one" = "$kinds" ]
