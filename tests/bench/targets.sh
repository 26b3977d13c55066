# SPDX-License-Identifier: GPL-2.0
# Sourced by the scripts that run in a guest: drives, and the targets that are made of them. TARGET says which: raw, md or pav.
#   setup		makes drives and target, and fills REGION
#   make_target		makes drives and target; sets DEV, the device, and REGION, the part of it that works may touch
#   fill FROM SIZE	writes so much of it (in fio's words, as 2g), from there on
#   lose SLOT		takes one of its drives out of use (not raw)
#   spare DRIVE		lets a drive wait for that (not raw)
#   failed TEXT		prints why, and ends the job
# Whoever sources it may set these otherwise, before a target is made:

DRIVES=18
SPARES=0		# drives that are made, and belong to nobody yet
DRIVE_MIB=256
VOLUME_MIB=2048		# of our volume; 0: all that its group can hold
NULLB=/sys/kernel/config/nullb
TARGET=$(</files/target)

failed() {
	echo "FAILED $TARGET: $1"
	dmesg | tail -20
	exit 1
}

# Drives in use have been written before. A memory-backed one takes memory for each page when that is first written, so
# each is written in full first: what is measured is the target, not the guest's memory management.
make_drives() {
	echo "STEP $TARGET: making $((DRIVES + SPARES)) drives of $DRIVE_MIB MiB, and writing each once"
	modprobe null_blk nr_devices=0
	for ((i = 0; i < DRIVES + SPARES; i++)); do
		n=$(printf 'n%02d' "$i")
		d=$NULLB/$n
		mkdir "$d"
		echo $DRIVE_MIB >"$d/size"
		echo 4096 >"$d/blocksize"
		echo 1 >"$d/memory_backed"
		echo 2 >"$d/queue_mode"
		nproc >"$d/submit_queues"
		echo 0 >"$d/irqmode"
		echo 1 >"$d/power"
		dd if=/dev/zero of="/dev/$n" bs=1M count=$DRIVE_MIB oflag=direct status=none || return 1
	done
}

drive_names() {
	for ((i = 0; i < DRIVES; i++)); do printf '/dev/n%02d ' "$i"; done
}

setup_md() {
	modprobe raid456 &&
	mdadm --create /dev/md0 --level=6 --raid-devices=$DRIVES --chunk=64 --assume-clean --run $(drive_names) \
		>/tmp/mdadm.out 2>&1 || { cat /tmp/mdadm.out; return 1; }
	echo 8192 >/sys/block/md0/md/stripe_cache_size
	lose() { mdadm --fail /dev/md0 "$(printf '/dev/n%02d' "$1")" 2>/dev/null; }
	spare() { mdadm --add /dev/md0 "$1" 2>/dev/null; }
	DEV=/dev/md0 REGION=2g
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
	lose() { /files/pavcfg fail drive grpname bench slot "$1" --yes; }
	spare() { /files/pavcfg add spares "$1" to group bench; }
	create_group || return 1
	[ $VOLUME_MIB = 0 ] && VOLUME_MIB=$(($(group_number free_bytes) / 1048576 - 1))
	DEV=/dev/pav0 REGION=${VOLUME_MIB}m
	/files/pavcfg create volume name v1 size $VOLUME_MIB MB grpname bench &&
	[ -b $DEV ]
}

# By a message that is there ready made, if what it asks for pavcfg has no word for.
create_group() {
	if [ -e /files/group-create ]; then
		/files/nlpipe pavraid 5 "$(</files/group-create)" | tee /tmp/create.out | grep -q '^end 0' || { cat /tmp/create.out; return 1; }
	else
		/files/pavcfg create group name bench zone 1 drives $(drive_names) --yes
	fi
}

# One of the numbers that pavcfg tells of the group, counters included.
group_number() {
	/files/pavcfg show groups --json | sed -n "s/^ *\"$1\": \([0-9]*\),\{0,1\}\$/\1/p" | head -1
}

setup_raw() {
	DEV=/dev/n00 REGION=${DRIVE_MIB}m
}

make_target() {
	make_drives || failed "the drives could not be made"
	"setup_$TARGET" || failed "could not be set up (see above)"
}

setup() {
	make_target
	echo "STEP $TARGET: filling $REGION of $DEV"
	fill 0 $REGION
}

fill() {
	fio --name=fill --filename=$DEV --direct=1 --ioengine=io_uring --rw=write --bs=1m --iodepth=8 --offset=$1 --size=$2 \
		--output-format=terse >/tmp/fio.out 2>&1 || { cat /tmp/fio.out; failed "could not be filled"; }
}
