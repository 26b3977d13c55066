# SPDX-License-Identifier: GPL-2.0
# The guest side of md_bench.py's rows of rebuilds: from the loss of a drive until a spare has taken its place, by the kernel's own
# words about both, with no limit to the rate. md does it once, since it does not know what is alive; our group with a tenth of what it
# can hold, and full. Drives are as large as in the budget. Prints, beside what guest.sh prints,
#   REBUILD target work seconds mib-alive
. /files/targets.sh
DRIVE_MIB=192
SPARES=2
VOLUME_MIB=0

counters() {
	awk '{ r += $3; w += $7 } END { printf "DRIVES %d %d\n", r, w }' /sys/block/n[0-9]*/stat
}

# Milliseconds in which the processor had nothing to do.
idle_ms() {
	awk '/^cpu / { print $5 * 10 }' /proc/stat
}

# Seconds from the last loss to the end of the rebuild after it; nothing, if that has not come.
rebuilt_in() {
	dmesg | awk -v lost="$LOST" -v rebuilt="$REBUILT" '{ t = $0; sub(/^\[ */, "", t); sub(/\].*/, "", t) }
		$0 ~ lost { from = t; to = 0 } $0 ~ rebuilt { to = t } END { if (from && to) printf "%.4f\n", to - from }'
}

# rebuild NAME SLOT DRIVE MIB-ALIVE: loses what is in the slot; the drive takes its place.
rebuild() {
	spare "$3" || failed "there is no spare"
	sleep 2
	counters
	idle=$(idle_ms)
	lose "$2" || failed "a drive could not be taken out of use"
	for ((turn = 0; turn < 600; turn++)); do
		[ -n "$(rebuilt_in)" ] && break
		sleep 0.5
	done
	idle=$(($(idle_ms) - idle))
	counters
	[ -n "$(rebuilt_in)" ] || failed "no rebuild came to its end"
	dmesg | awk -v lost="$LOST" '$0 ~ lost { said = "" } { said = said $0 "\n" } END { printf "%s", said }'
	echo "STEP $TARGET: $1: the processor was idle for $idle ms"
	echo "REBUILD $TARGET $1 $(rebuilt_in) $4"
}

make_target
if [ $TARGET = md ]; then
	LOST='Disk failure on' REBUILT='recovery done'
	echo 10000000 | tee /proc/sys/dev/raid/speed_limit_min >/proc/sys/dev/raid/speed_limit_max
	echo 0 >/sys/block/md0/md/group_thread_cnt
	rebuild rebuild 3 /dev/n18 0
else
	LOST='drive [0-9]+ .* failed' REBUILT='rebuild is done'
	echo 0 >/sys/module/pavraid/parameters/rebuild_rate_max
	tenth=$((VOLUME_MIB / 10))
	echo "STEP $TARGET: filling $tenth MiB"
	fill 0 ${tenth}m
	/files/pavcfg checkpoint group name bench
	rebuild rebuild-tenth 3 /dev/n18 $tenth
	echo "STEP $TARGET: filling the rest of $VOLUME_MIB MiB"
	fill ${tenth}m $((VOLUME_MIB - tenth))m
	/files/pavcfg checkpoint group name bench
	rebuild rebuild-full 11 /dev/n19 $VOLUME_MIB
fi
dmesg | grep -E 'WARNING|BUG|Oops' && failed "the kernel has complained"
exit 0
