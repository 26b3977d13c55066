# SPDX-License-Identifier: GPL-2.0
# The bench's guest side, a guest's only job (vm/job.py): the same works on one bare drive, on md RAID-6 or on our
# volume, as /files/target says, each on memory-backed drives of its own. It prints raw material; md_bench.py makes the table.
#   STEP what-is-done-now
#   DRIVES sectors-read sectors-written      counters of all drives together, before and after each work
#   FIO target work fio's-terse-line
# What is written is bounded by bytes as well as by time: our log keeps every write until garbage is collected.

SECONDS_EACH=2		# virtual
. /files/targets.sh

counters() {
	awk '{ r += $3; w += $7 } END { printf "DRIVES %d %d\n", r, w }' /sys/block/n[0-9]*/stat
}

# work NAME FIO-ARGUMENTS...
work() {
	local name=$1
	shift
	counters
	fio --name="$name" --filename=$DEV --direct=1 --ioengine=io_uring --size=$REGION --runtime=$SECONDS_EACH --randrepeat=1 \
		--output-format=terse --terse-version=3 "$@" >/tmp/fio.out 2>/tmp/fio.err || sed 's/^/fio: /' /tmp/fio.err
	sleep 1		# late writes of the target itself belong to the work
	counters
	echo "FIO $TARGET $name $(grep -m1 '^3;' /tmp/fio.out)"
}

setup
[ $TARGET = md ] && echo 0 >/sys/block/md0/md/group_thread_cnt
work seqwrite-1m --rw=write --bs=1m --iodepth=16 --io_size=384m
work seqread-128k --rw=read --bs=128k --iodepth=32 --time_based
work randread-qd32 --rw=randread --bs=4k --iodepth=32 --time_based
work randwrite-qd32 --rw=randwrite --bs=4k --iodepth=32 --io_size=128m
work randread-qd1 --rw=randread --bs=4k --iodepth=1 --time_based
work randwrite-qd1 --rw=randwrite --bs=4k --iodepth=1 --io_size=48m

if [ $TARGET != raw ]; then
	lose 3 || failed "a drive could not be taken out of use"
	work randread-qd32-lost1 --rw=randread --bs=4k --iodepth=32 --time_based
	work randwrite-qd32-lost1 --rw=randwrite --bs=4k --iodepth=32 --io_size=64m
	lose 11 || failed "a second drive could not be taken out of use"
	work randread-qd32-lost2 --rw=randread --bs=4k --iodepth=32 --time_based
	work randwrite-qd32-lost2 --rw=randwrite --bs=4k --iodepth=32 --io_size=64m
	work seqread-128k-lost2 --rw=read --bs=128k --iodepth=32 --time_based
	work seqwrite-1m-lost2 --rw=write --bs=1m --iodepth=16 --io_size=128m
fi
dmesg | grep -E 'WARNING|BUG|Oops' && failed "the kernel has complained"
exit 0
