# SPDX-License-Identifier: GPL-2.0
# The bench's guest side, a guest's only job (vm/job.py): the same works on one bare drive, on md RAID-6 and on our
# volume, each on memory-backed drives made afresh. It prints raw material; md_bench.py makes the table.
#   DRIVES sectors-read sectors-written      counters of all drives together, before and after each work
#   FIO target work fio's-terse-line
# What is written is bounded by bytes as well as by time: our log keeps every write until garbage is collected.

DRIVES=18
DRIVE_MIB=256
REGION=2g		# the part of a device that works touch; filled before they start
SECONDS_EACH=2		# virtual
NULLB=/sys/kernel/config/nullb

make_drives() {
	for ((i = 0; i < DRIVES; i++)); do
		d=$NULLB/$(printf 'n%02d' "$i")
		mkdir "$d"
		echo $DRIVE_MIB >"$d/size"
		echo 4096 >"$d/blocksize"
		echo 1 >"$d/memory_backed"
		echo 2 >"$d/queue_mode"
		echo 0 >"$d/irqmode"
		echo 1 >"$d/discard"
		echo 1 >"$d/power"
	done
}

remove_drives() {
	for d in $NULLB/n[0-9]*; do
		echo 0 >"$d/power"
		rmdir "$d"
	done
}

drive_names() {
	for ((i = 0; i < DRIVES; i++)); do printf '/dev/n%02d ' "$i"; done
}

counters() {
	awk '{ r += $3; w += $7 } END { printf "DRIVES %d %d\n", r, w }' /sys/block/n[0-9]*/stat
}

# work TARGET NAME FIO-ARGUMENTS...
work() {
	local target=$1 name=$2
	shift 2
	counters
	fio --name="$name" --direct=1 --ioengine=io_uring --size=$REGION --runtime=$SECONDS_EACH --randrepeat=1 \
		--output-format=terse --terse-version=3 "$@" >/tmp/fio.out 2>/tmp/fio.err || sed 's/^/fio: /' /tmp/fio.err
	sleep 1		# late writes of the target itself belong to the work
	counters
	echo "FIO $target $name $(grep -m1 '^3;' /tmp/fio.out)"
}

# suite TARGET DEVICE REGION
suite() {
	local t=$1 dev=$2 REGION=$3
	fio --name=fill --filename="$dev" --direct=1 --ioengine=io_uring --rw=write --bs=1m --iodepth=8 --size="$REGION" \
		--output-format=terse >/tmp/fio.out 2>&1 || cat /tmp/fio.out
	work "$t" seqwrite-1m --filename="$dev" --rw=write --bs=1m --iodepth=16 --io_size=512m
	work "$t" seqread-128k --filename="$dev" --rw=read --bs=128k --iodepth=32 --time_based
	work "$t" randread-qd32 --filename="$dev" --rw=randread --bs=4k --iodepth=32 --time_based
	work "$t" randwrite-qd32 --filename="$dev" --rw=randwrite --bs=4k --iodepth=32 --io_size=256m
	work "$t" randread-qd1 --filename="$dev" --rw=randread --bs=4k --iodepth=1 --time_based
	work "$t" randwrite-qd1 --filename="$dev" --rw=randwrite --bs=4k --iodepth=1 --io_size=48m
}

setup_md() {
	modprobe raid456 &&
	mdadm --create /dev/md0 --level=6 --raid-devices=$DRIVES --chunk=64 --assume-clean --run $(drive_names) \
		>/tmp/mdadm.out 2>&1 || { cat /tmp/mdadm.out; return 1; }
	echo 8192 >/sys/block/md0/md/stripe_cache_size
	echo 0 >/sys/block/md0/md/group_thread_cnt
}

# Our volume as an administrator makes it. Everything the bench knows about our tools is in this function.
setup_pav() {
	local needs
	needs=$(modinfo -F depends /files/pavraid.ko | tr , ' ')
	[ -n "$needs" ] && modprobe -a $needs
	insmod /files/pavraid.ko || return 1
	mkdir -p /etc/pav /var/lib/pav
	cat >/etc/pav/pavcfg.conf <<-CONF
		zones: ( { id = 1; name = "zone1"; } );
		controllers: ( { id = 1; zone = 1; protocol = "tcp"; } );
		ports: ( { name = "100g-1/1"; controller = 1; interface = "lo"; ip = "127.0.0.1"; } );
	CONF
	/files/pavcfg create group name bench zone 1 drives $(drive_names) --yes &&
	/files/pavcfg create volume name v1 size 2 GB grpname bench &&
	[ -b /dev/pav0 ]
}

wanted() {
	[[ " $(</files/targets) " == *" $1 "* ]]
}

modprobe -a null_blk || exit 1
rmmod null_blk
modprobe null_blk nr_devices=0

if wanted raw; then
	make_drives
	suite raw /dev/n00 256m
	remove_drives
fi

if wanted md; then
	make_drives
	if setup_md; then
		suite md /dev/md0 $REGION
		mdadm --stop /dev/md0 2>/dev/null
	else
		echo "SKIPPED md: could not be set up"
	fi
	remove_drives
fi

if ! wanted pav; then
	exit 0
elif [ -e /files/pavraid.ko ] && [ -e /files/pavcfg ]; then
	make_drives
	if setup_pav; then
		suite pav /dev/pav0 $REGION
	else
		echo "SKIPPED pav: pavraid.ko and pavcfg are there, but the volume could not be set up (see above)"
		dmesg | tail -20
		exit 1
	fi
	dmesg | grep -E 'WARNING|BUG|Oops' && exit 1
else
	echo "SKIPPED pav: build/kmod/pavraid.ko or pavcfg is not built"
fi
exit 0
