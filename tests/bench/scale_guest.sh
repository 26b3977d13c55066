# SPDX-License-Identifier: GPL-2.0
# The guest side of scale_bench.py: random reads and writes on a target (targets.sh) by one fio job for each of 1, 2 and 4 processors, while the
# guest has that many. Prints
#   STEP what-is-done-now
#   FIO target work processors fio's-terse-line
SECONDS_EACH=6		# real
WRITE_SIZE=160m		# of all jobs of a work together; our log keeps every write until garbage is collected
. /files/targets.sh

# processors N: no more than that are there.
processors() {
	for ((c = 1; c < 4; c++)); do
		echo $((c < $1)) >/sys/devices/system/cpu/cpu$c/online || return 1
	done
}

# work NAME PROCESSORS FIO-ARGUMENTS...
work() {
	local name=$1 n=$2
	shift 2
	fio --name="$name" --filename=$DEV --direct=1 --ioengine=io_uring --size=$REGION --runtime=$SECONDS_EACH --numjobs="$n" --group_reporting \
		--bs=4k --iodepth=32 --output-format=terse --terse-version=3 "$@" >/tmp/fio.out 2>/tmp/fio.err || sed 's/^/fio: /' /tmp/fio.err
	echo "FIO $TARGET $name $n $(grep -m1 '^3;' /tmp/fio.out)"
}

setup
for n in 1 2 4; do
	processors $n || failed "the guest cannot be given $n processors"
	# md does its writes on one thread unless it is told to use more.
	[ $TARGET = md ] && echo $((n == 1 ? 0 : n)) >/sys/block/md0/md/group_thread_cnt
	work randread-qd32 $n --rw=randread --time_based
	work randwrite-qd32 $n --rw=randwrite --io_size=$((${WRITE_SIZE%m} / n))m
done
dmesg | grep -E 'WARNING|BUG|Oops' && failed "the kernel has complained"
exit 0
