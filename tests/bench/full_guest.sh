# SPDX-License-Identifier: GPL-2.0
# The guest side of md_bench.py's rows of a full group: all that the group can hold is mapped, and has been overwritten at random until its
# garbage collector has to win whatever is written. Prints, beside what guest.sh prints,
#   DRIVES sectors-read sectors-written sectors-written-by-the-user
#   ENGINE name value name value ...		the group's own numbers, before and after each work
# Segments are small (md_bench.py says how small), so that there are as many as in a group of larger drives: of few, what is kept
# free for checkpoints and streams would be a third of all, and the collector would have an easy life.

SECONDS_EACH=3		# virtual
SECONDS_RAMP=1		# before those: what had been won in advance is used up
. /files/targets.sh
VOLUME_MIB=0

counters() {
	awk -v user="$(awk '{ print $7 }' /sys/block/${DEV##*/}/stat)" '{ r += $3; w += $7 } END { printf "DRIVES %d %d %d\n", r, w, user }' \
		/sys/block/n[0-9]*/stat
	echo "ENGINE$(for name in moved_cells segments_emptied used_bytes reserve_percent; do echo -n " $name $(group_number $name)"; done)"
}

# Milliseconds in which the processor had nothing to do: no instructions, though the clock goes on.
idle_ms() {
	awk '/^cpu / { print $5 * 10 }' /proc/stat
}

# A seed for each: the same places in the same order would be no random writes. fio heeds it only without randrepeat.
overwrite() {
	fio --filename=$DEV --direct=1 --ioengine=io_uring --size=$REGION --norandommap --randrepeat=0 --randseed=$((++seed)) \
		--output-format=terse --terse-version=3 "$@" >/tmp/fio.out 2>/tmp/fio.err || sed 's/^/fio: /' /tmp/fio.err
}

# work NAME FIO-ARGUMENTS...
work() {
	local name=$1 idle
	shift
	counters
	idle=$(idle_ms)
	overwrite --name="$name" --time_based --runtime=$SECONDS_EACH --ramp_time=$SECONDS_RAMP "$@"
	idle=$(($(idle_ms) - idle))
	sleep 1		# what is won again meanwhile belongs to the work
	counters
	echo "STEP $TARGET: $name: the processor was idle for $idle ms of about $((SECONDS_EACH + SECONDS_RAMP))000"
	echo "FIO $TARGET $name $(grep -m1 '^3;' /tmp/fio.out)"
}

setup
# A turn is most of what is free; from the second on the collector should have as much to do as it ever will. In pieces as small as the works': of
# larger ones a segment holds fewer, more die together, and it would have less to do.
for turn in 1 2 3; do
	before=$(group_number moved_cells)
	overwrite --name=age --rw=randwrite --bs=4k --iodepth=32 --io_size=512m
	sleep 1
	echo "STEP $TARGET: overwritten at random, turn $turn of 512 MiB: moved $((($(group_number moved_cells) - before) / 1311)) % of that"
done
work randwrite-qd32-full --rw=randwrite --bs=4k --iodepth=32
work randwrite-qd1-full --rw=randwrite --bs=4k --iodepth=1
work seqwrite-1m-full --rw=write --bs=1m --iodepth=16
dmesg | grep -E 'WARNING|BUG|Oops' && failed "the kernel has complained"
exit 0
