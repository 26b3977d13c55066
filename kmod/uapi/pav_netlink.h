/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The control interface of pavraid.ko: a generic netlink family, shared with user space.
 * uapi/pavraid.yaml says the same in the kernel's specification format.
 *
 * Conventions
 *  - Objects are addressed by name (PAV_A_GROUP, PAV_A_VOLUME) or, drives, by path (PAV_A_DRIVE_PATH) or slot.
 *  - Every refusal carries a text (NLMSGERR_ATTR_MSG) that names the object, the reason and the remedy.
 *  - Commands that change anything need CAP_SYS_ADMIN. They return when the change is durable on the drives.
 *  - A dump is one message an object. Sizes are bytes, times seconds (since 1970, where they are no spans), counters since the group was opened.
 */
#ifndef _UAPI_PAV_NETLINK_H
#define _UAPI_PAV_NETLINK_H

#define PAV_GENL_NAME		"pavraid"
#define PAV_GENL_VERSION	1
#define PAV_GENL_MCGRP_EVENTS	"events"

#define PAV_NAME_MAX		63	/* characters of a group's or volume's name: [A-Za-z0-9._-], first alphanumeric */
#define PAV_SERIAL_MAX		20	/* an NVMe serial number */
#define PAV_PROP_KEY_MAX	63
#define PAV_PROP_VALUE_MAX	1023
#define PAV_PROPS_MAX_BYTES	3072	/* all keys and values of one volume, terminators included */
#define PAV_MAX_DRIVES		40	/* a group's drives, spares included */
#define PAV_MAX_VOLUMES		1024	/* a group's volumes */
#define PAV_VOLUME_MIN_BYTES	(1ULL << 20)
#define PAV_VOLUME_MAX_BYTES	(1ULL << 46)

enum pav_cmd {
	PAV_CMD_UNSPEC,
	PAV_CMD_DRIVE_PROBE,	/* DRIVE_PATH -> DRIVE (what a superblock on it says, or ERROR_TEXT why there is none) */
	PAV_CMD_GROUP_CREATE,	/* GROUP, DRIVES{DRIVE{DRIVE_PATH,[DRIVE_SPARE]}…}, [DATA_DRIVES], [SEGMENT_BYTES], [RESERVE_PERCENT], [HOST_ID], [HOST_NAME] */
	PAV_CMD_GROUP_IMPORT,	/* DRIVES{DRIVE{DRIVE_PATH}…}, [GROUP: refuse if the drives say another name], [HOST_ID], [HOST_NAME], [TAKEOVER] -> GROUP */
	PAV_CMD_GROUP_EXPORT,	/* GROUP: checkpoint, close the drives. EBUSY while a volume is open */
	PAV_CMD_GROUP_DESTROY,	/* GROUP: export it and wipe its superblocks; a drive that is gone keeps its own. EBUSY while it has volumes */
	PAV_CMD_GROUP_GET,	/* [GROUP] do/dump -> GROUP_* */
	PAV_CMD_GROUP_CHECKPOINT, /* GROUP: write a checkpoint now */
	PAV_CMD_DRIVE_GET,	/* GROUP, dump -> DRIVE_* */
	PAV_CMD_DRIVE_FAIL,	/* GROUP, DRIVE_SLOT: take a drive out of use. Refused if that would lose data */
	PAV_CMD_VOLUME_CREATE,	/* GROUP, VOLUME, SIZE, [SERIAL], [UUID], [NGUID] -> VOLUME_* */
	PAV_CMD_VOLUME_DELETE,	/* GROUP, VOLUME. EBUSY while open */
	PAV_CMD_VOLUME_GROW,	/* GROUP, VOLUME, SIZE (larger than now) */
	PAV_CMD_VOLUME_RENAME,	/* GROUP, VOLUME, NEW_NAME */
	PAV_CMD_VOLUME_SET_PROP, /* GROUP, VOLUME, PROP{KEY,[VALUE]}…: sets, or without VALUE removes */
	PAV_CMD_VOLUME_GET,	/* [GROUP], [VOLUME] do/dump -> VOLUME_* */
	PAV_CMD_EVENT,		/* multicast: EVENT_TYPE, GROUP, [VOLUME], [DRIVE_SLOT], [DRIVE_PATH], [VALUE], EVENT_TEXT */
	PAV_CMD_DRIVE_WIPE,	/* DRIVE_PATH, in no open group: destroy the superblock on it. ENOENT: there is none */
	PAV_CMD_DRIVE_ADD,	/* GROUP, DRIVES{DRIVE{DRIVE_PATH,[DRIVE_SPARE]}…}: drives join, which loses what they held */
	PAV_CMD_DRIVE_REPLACE,	/* GROUP, DRIVE_SLOT, [DRIVE_PATH: a spare, or a drive that joins; without it, any spare]: takes the slot's place */
	PAV_CMD_DRIVE_REMOVE,	/* GROUP, DRIVE_SLOT: a spare leaves at once, another when what it holds has been moved */
	PAV_CMD_DRIVE_RETURN,	/* DRIVE_PATH -> GROUP: a member that was away is back */
	PAV_CMD_SCRUB,		/* GROUP, [SCRUB_STOP]: begin a scrub, or go on with one, or stop it */
	__PAV_CMD_MAX,
	PAV_CMD_MAX = __PAV_CMD_MAX - 1
};

enum pav_attr {
	PAV_A_UNSPEC,
	PAV_A_PAD,
	PAV_A_GROUP,		/* string */
	PAV_A_GROUP_UUID,	/* binary 16 */
	PAV_A_GROUP_STATE,	/* u32 enum pav_group_state */
	PAV_A_DATA_DRIVES,	/* u32: k of k+2 */
	PAV_A_SEGMENT_BYTES,	/* u64: of one segment on one drive */
	PAV_A_RESERVE_PERCENT,	/* u32 */
	PAV_A_CAPACITY,		/* u64: user data the group can hold, reserve taken off */
	PAV_A_USED,		/* u64: live user data */
	PAV_A_FREE,		/* u64: user data that can still be written before space is reclaimed */
	PAV_A_PROVISIONED,	/* u64: sum of volume sizes */
	PAV_A_GENERATION,	/* u64: of the superblock */
	PAV_A_STRIPE_SEQ,	/* u64: of the newest stripe */
	PAV_A_DRIVES,		/* nested: PAV_A_DRIVE… */
	PAV_A_DRIVE,		/* nested: DRIVE_* */
	PAV_A_DRIVE_PATH,	/* string */
	PAV_A_DRIVE_SLOT,	/* u32 */
	PAV_A_DRIVE_UUID,	/* binary 16 */
	PAV_A_DRIVE_STATE,	/* u32 enum pav_drive_state */
	PAV_A_DRIVE_SPARE,	/* flag */
	PAV_A_DRIVE_BYTES,	/* u64 */
	PAV_A_VOLUME,		/* string */
	PAV_A_VOLUME_ID,	/* u32: 0…1023, lasts as long as the volume */
	PAV_A_NEW_NAME,		/* string */
	PAV_A_SIZE,		/* u64 bytes, a multiple of 1 MiB */
	PAV_A_MAPPED,		/* u64 bytes written and not unmapped */
	PAV_A_SERIAL,		/* string, at most PAV_SERIAL_MAX */
	PAV_A_UUID,		/* binary 16 */
	PAV_A_NGUID,		/* binary 16 */
	PAV_A_OPENERS,		/* u32 */
	PAV_A_BLOCK_DEVICE,	/* string: the kernel's name, "pav0" */
	PAV_A_PROP,		/* nested: PROP_KEY, PROP_VALUE; repeated */
	PAV_A_PROP_KEY,		/* string */
	PAV_A_PROP_VALUE,	/* string */
	PAV_A_COUNTER,		/* nested: COUNTER_NAME, COUNTER_VALUE; repeated */
	PAV_A_COUNTER_NAME,	/* string */
	PAV_A_COUNTER_VALUE,	/* u64 */
	PAV_A_EVENT_TYPE,	/* u32 enum pav_event */
	PAV_A_EVENT_TEXT,	/* string, for people */
	PAV_A_VALUE,		/* u64, meaning by event */
	PAV_A_ERROR_TEXT,	/* string */
	PAV_A_DRIVES_EXPECTED,	/* u32: drives of the group, spares too, that had not failed when this superblock was written */
	PAV_A_USED_BEFORE,	/* u64: USED as it was USED_SECONDS ago: a day, or when the group was opened */
	PAV_A_USED_SECONDS,	/* u64 */
	PAV_A_HOST_ID,		/* binary 16: this machine, over its reboots; without it a new one each time the module is loaded */
	PAV_A_HOST_NAME,	/* string of printable ASCII, at most PAV_NAME_MAX; without it the system's */
	PAV_A_TAKEOVER,		/* flag: cut off another host that has the group open. Without it the import is refused with EBUSY */
	PAV_A_OWNER_NAME,	/* string: host that has the group open by this drive's owner stamp, or had and died */
	PAV_A_OWNER_ID,		/* binary 16: its HOST_ID */
	PAV_A_OWNER_SINCE,	/* u64: when it opened the group, in seconds since 1970 by its clock */
	PAV_A_OWNER_SEEN,	/* u64: when it wrote this stamp, likewise */
	PAV_A_SCRUB_STOP,	/* flag */
	PAV_A_TASK,		/* nested: TASK_*; repeated */
	PAV_A_TASK_KIND,	/* u32 enum pav_task_kind */
	PAV_A_TASK_RUNNING,	/* flag */
	PAV_A_TASK_DONE,	/* u64: segments */
	PAV_A_TASK_TOTAL,	/* u64: segments */
	PAV_A_TASK_REBUILT,	/* u64: bytes written that a drive lacked */
	PAV_A_TASK_HEALED,	/* u64: bytes that were wrong */
	PAV_A_TASK_LOST,	/* u64: stripes beyond repair */
	PAV_A_TASK_STARTED,	/* u64: seconds since 1970; 0: never */
	PAV_A_TASK_FINISHED,	/* u64: seconds since 1970; before STARTED: it has not come to its end */
	PAV_A_TASK_SECONDS,	/* u64: how long it has been at work */
	PAV_A_TASK_RATE,	/* u64: bytes a second */
	__PAV_A_MAX,
	PAV_A_MAX = __PAV_A_MAX - 1
};

enum pav_group_state {
	PAV_GROUP_ONLINE,	/* every drive there */
	PAV_GROUP_DEGRADED,	/* one or two drives gone from data that is still there */
	PAV_GROUP_FULL,		/* less than 1 MiB is free: writes to blocks that hold nothing yet are refused with "no space" */
	PAV_GROUP_FAULTED,	/* a third drive gone: all I/O is refused, nothing is written */
};

enum pav_drive_state {
	PAV_DRIVE_EMPTY,	/* slot not in use */
	PAV_DRIVE_ACTIVE,
	PAV_DRIVE_SPARE,
	PAV_DRIVE_FAILED,	/* comes back only through rebuild */
	PAV_DRIVE_LEAVING,	/* in use, but nothing new is written to it: what it holds is moved to the others */
	PAV_DRIVE_REBUILDING,	/* ACTIVE, and not everything it should hold is there yet; shown, never stored */
};

enum pav_task_kind {
	PAV_TASK_REBUILD,	/* what drives lack is written */
	PAV_TASK_SCRUB,		/* everything is read and verified */
};

enum pav_event {
	PAV_EVENT_UNSPEC,
	PAV_EVENT_GROUP_OPENED,
	PAV_EVENT_GROUP_CLOSED,
	PAV_EVENT_GROUP_DEGRADED,	/* VALUE: drives gone */
	PAV_EVENT_GROUP_FAULTED,
	PAV_EVENT_GROUP_SPACE_LOW,	/* VALUE: percent used */
	PAV_EVENT_GROUP_FULL,
	PAV_EVENT_DRIVE_FAILED,
	PAV_EVENT_CHECKSUM_HEALED,	/* VALUE: block on the drive */
	PAV_EVENT_DATA_LOST,		/* VALUE: LBA; a block could not be rebuilt */
	PAV_EVENT_VOLUME_CREATED,
	PAV_EVENT_VOLUME_DELETED,
	PAV_EVENT_VOLUME_CHANGED,
	PAV_EVENT_OWNER_LATE,		/* VALUE: ms for which the owner stamp was not renewed. Writes wait until it is known that the group is still ours */
	PAV_EVENT_OWNER_LOST,		/* another host has taken the group over; VALUE: its epoch. GROUP_FAULTED follows */
	PAV_EVENT_DRIVE_JOINED,		/* as a member, or in the place of another, or back from where it was */
	PAV_EVENT_DRIVE_REMOVED,	/* nothing lies on it any more */
	PAV_EVENT_REBUILD_STARTED,	/* VALUE: segments */
	PAV_EVENT_REBUILD_DONE,		/* VALUE: cells written */
	PAV_EVENT_SCRUB_DONE,		/* VALUE: cells healed */
	__PAV_EVENT_MAX,
	PAV_EVENT_MAX = __PAV_EVENT_MAX - 1
};

#endif
