/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The on-disk format, version 1. Little-endian; the unit of address is the cell (4 KiB). DESIGN.md tells what it means; nothing here does I/O.
 *
 * A drive:
 *	cell 0			never written
 *	cell 8, cell 16		superblock slots; a commit writes the one that holds the older generation
 *	cell 24			owner stamp: which host has the group open
 *	cell 256…		segments, segment_blocks cells each; segment s lies at the same cells on every member
 *
 * A stripe is a rectangle in a segment: @rows rows from row @row, @width columns from column @c0 on, wrapping at the segment's number of drives n.
 * Its columns in order are data 0…k'-1 (k' = width - 2), P, Q. Column c of a segment is the drive of the c-th set bit of the segment's member mask.
 * Data cells are numbered column by column: cell i is at data column i / rows, row i % rows. Cell 0 is the header. Every cell of the rectangle is
 * written, so the parity of a row needs nothing but the row:	P = sum d_j	Q = sum 2^j d_j	over GF(2^8) mod 0x11d (raid6/).
 */
#ifndef PAV_FORMAT_H
#define PAV_FORMAT_H

#include "../env/env.h"
#include "../uapi/pav_netlink.h"

#define PAV_FORMAT_VERSION	2
#define PAV_SB_CELL(slot)	((slot) ? 16u : 8u)
#define PAV_OWNER_CELL		24u
#define PAV_SEGMENTS_CELL	256u
#define PAV_SEGMENT_MIN_BLOCKS	16u
#define PAV_SEGMENT_MAX_BLOCKS	2048u	/* so that a row and the next never differ but in the row's bits */
#define PAV_MAX_SEGMENTS	(1u << 24)
#define PAV_MIN_WIDTH		3u	/* header, P, Q: a stripe that only unmaps */
#define PAV_MAX_WIDTH		32u	/* 30+2 */
#define PAV_MIN_DRIVES		4u	/* 2+2 */
#define PAV_REPLAY_MAX		128u
#define PAV_MAX_SETS		56u

/* ---- location: where a cell lies, and all it takes to rebuild it from its row ---- */

#define PAV_LOC_ROW_BITS	12	/*  0…11	row in the segment */
#define PAV_LOC_COL_SHIFT	12	/* 12…17	its column */
#define PAV_LOC_C0_SHIFT	18	/* 18…23	its stripe's first column */
#define PAV_LOC_WIDTH_SHIFT	24	/* 24…29	its stripe's width: never 0, so that location 0 means unmapped */
#define PAV_LOC_SEG_SHIFT	30	/* 30…53	segment */
#define PAV_LOC_SET_SHIFT	54	/* 54…61	index in the superblock's sets[]: the segment's drives */

static inline u64 pav_loc(u32 set, u32 seg, u32 row, u32 col, u32 c0, u32 width)
{
	return row | (u64)col << PAV_LOC_COL_SHIFT | (u64)c0 << PAV_LOC_C0_SHIFT | (u64)width << PAV_LOC_WIDTH_SHIFT |
	       (u64)seg << PAV_LOC_SEG_SHIFT | (u64)set << PAV_LOC_SET_SHIFT;
}

static inline u32 pav_loc_row(u64 loc) { return loc & 0xfff; }
static inline u32 pav_loc_col(u64 loc) { return (loc >> PAV_LOC_COL_SHIFT) & 0x3f; }
static inline u32 pav_loc_c0(u64 loc) { return (loc >> PAV_LOC_C0_SHIFT) & 0x3f; }
static inline u32 pav_loc_width(u64 loc) { return (loc >> PAV_LOC_WIDTH_SHIFT) & 0x3f; }
static inline u32 pav_loc_seg(u64 loc) { return (loc >> PAV_LOC_SEG_SHIFT) & 0xffffff; }
static inline u32 pav_loc_set(u64 loc) { return (loc >> PAV_LOC_SET_SHIFT) & 0xff; }

/* ---- map: an entry of a leaf, of a block of the node table, or the root in the superblock ---- */

struct pav_d_entry {
	__le64 loc;			/*  0	0: unmapped */
	__le32 crc;			/*  8	CRC32C of the cell */
	__le32 birth;			/* 12	checkpoint number it was written under */
};
static_assert(sizeof(struct pav_d_entry) == 16);

#define PAV_LEAF_ENTRIES	256u	/* a leaf maps 1 MiB of a volume */
#define PAV_INTERIOR_ENTRIES	512u	/* an interior node holds numbers of nodes, __le64, 0: none */
#define PAV_TABLE_BITS		8	/* a block of the node table: 256 entries */
#define PAV_TABLE_LEVELS	5	/* node numbers have 40 bits; the one block of level 4 is the root */

/* Numbers of nodes: the top 4 of 40 bits tell the kind. */
#define PAV_NR_TREE		0x0000000000ULL	/* leaves and interior nodes, numbered from 1 on, never reused */
#define PAV_NR_VOLUME		0x1000000000ULL	/* + volume id: struct pav_d_volume */
#define PAV_NR_SEGMENTS		0x2000000000ULL	/* + index: struct pav_d_segment[128] */
#define PAV_NR_LIMIT		0x1000000000ULL	/* of tree nodes */

/* ---- superblock ---- */

#define PAV_SB_MAGIC		"PAVRAID\0"

struct pav_d_member {
	u8 uuid[16];			/*  0 */
	u8 state;			/* 16	enum pav_drive_state */
	u8 away;			/* 17	of a FAILED member: it vanished, and did nothing wrong */
	u8 pad[6];			/* 18 */
	__le64 last_generation;		/* 24	of a FAILED member: the newest superblock that it is known to hold */
	char path[24];			/* 32	where it was last seen; a hint for people */
};
static_assert(sizeof(struct pav_d_member) == 56);

/* A segment that stripes newer than the checkpoint may lie in, from @row on. Nothing is written to a segment that is not in this list. */
struct pav_d_replay {
	__le32 segment;			/*  0 */
	__le16 row;			/*  4 */
	u8 set;				/*  6	index in sets[] */
	u8 renewed;			/*  7	what the segment table says of it is of an earlier use */
};
static_assert(sizeof(struct pav_d_replay) == 8);

struct pav_d_superblock {
	u8 magic[8];			/*    0 */
	__le32 crc;			/*    8	of all 4,096 bytes with this field 0 */
	__le16 version;			/*   12 */
	__le16 slot;			/*   14	of this drive */
	__le64 compat;			/*   16	features an older version may ignore */
	__le64 ro_compat;		/*   24	… that it may read past, but not write */
	__le64 incompat;		/*   32	… that it must refuse */
	u8 group_uuid[16];		/*   40 */
	u8 drive_uuid[16];		/*   56 */
	char name[64];			/*   72 */
	__le64 generation;		/*  136	counts commits */
	__le64 admit_generation;	/*  144	an ACTIVE member at this generation or later has missed nothing */
	__le64 log_id;			/*  152	new at every open; stripes of another log are not ours */
	__le64 seq;			/*  160	of the newest stripe in this checkpoint */
	__le64 next_node;		/*  168 */
	__le64 created;			/*  176	seconds since 1970 */
	__le64 committed;		/*  184 */
	__le32 segment_blocks;		/*  192 */
	__le32 segments;		/*  196 */
	__le16 data_drives;		/*  200	k of k+2, as asked for; segments may be narrower */
	__le16 slots;			/*  202	members[] in use */
	__le16 reserve_percent;		/*  204 */
	__le16 replays;			/*  206	replay[] in use */
	__le32 checkpoint;		/*  208	number of this checkpoint: the clock of births */
	__le32 pad;			/*  212 */
	struct pav_d_entry root;	/*  216	of the node table */
	__le32 scrub_left;		/*  232	one more than the segments, the first ones, that a scrub has still to look at; 0: none is under way */
	__le32 pad2;			/*  236 */
	__le64 scrub_started;		/*  240	seconds since 1970: of the one under way or the last; 0: never */
	__le64 scrub_finished;		/*  248	of the last that came to its end */
	__le64 scrub_healed;		/*  256	cells, in it */
	u8 reserved[120];		/*  264 */
	struct pav_d_replay replay[PAV_REPLAY_MAX];	/*  384 */
	struct pav_d_member members[PAV_MAX_DRIVES];	/* 1408 */
	__le64 sets[PAV_MAX_SETS];	/* 3648	masks of slots that segments lie on, by index; 0: not in use */
};
static_assert(sizeof(struct pav_d_superblock) == 4096);
static_assert(offsetof(struct pav_d_superblock, generation) == 136);
static_assert(offsetof(struct pav_d_superblock, root) == 216);
static_assert(offsetof(struct pav_d_superblock, scrub_started) == 240);
static_assert(offsetof(struct pav_d_superblock, replay) == 384);
static_assert(offsetof(struct pav_d_superblock, members) == 1408);
static_assert(offsetof(struct pav_d_superblock, sets) == 3648);

/* ---- owner stamp ---- */

#define PAV_OWNER_MAGIC		"PAVOWNER"
#define PAV_OWNER_MIN_MS	1u
#define PAV_OWNER_MAX_MS	60000u	/* of interval_ms */
#define PAV_OWNER_FENCE		8u	/* intervals after which an owner that could not renew its stamp writes nothing else */

enum pav_owner_state { PAV_OWNER_CLOSED, PAV_OWNER_OPEN };

/*
 * Who has the group open. Rewritten on a few drives every interval; whoever would open the group watches whether it changes. The times of day are for
 * people: nothing is decided by them. Of stamps that differ, the one of the higher epoch counts, then of the higher beat.
 */
struct pav_d_owner {
	u8 magic[8];			/*   0 */
	__le32 crc;			/*   8	of all 4,096 bytes with this field 0 */
	__le16 version;			/*  12 */
	u8 state;			/*  14	enum pav_owner_state */
	u8 pad;				/*  15 */
	u8 group_uuid[16];		/*  16 */
	u8 host_id[16];			/*  32	the machine, whatever it runs; 0: it has not told */
	u8 boot_id[16];			/*  48	the life of that machine */
	u8 instance[16];		/*  64	this opening of the group */
	char host_name[64];		/*  80	for people; terminated */
	__le64 epoch;			/* 144	one more than that of the owner before */
	__le64 beat;			/* 152	counts the writes of this instance */
	__le32 interval_ms;		/* 160	of the beats */
	__le32 fence_ms;		/* 164	the owner writes nothing else when its last beat that got through began so long ago */
	__le64 opened;			/* 168	seconds since 1970 */
	__le64 written;			/* 176 */
	u8 reserved[3912];		/* 184 */
};
static_assert(sizeof(struct pav_d_owner) == 4096);
static_assert(offsetof(struct pav_d_owner, group_uuid) == 16);
static_assert(offsetof(struct pav_d_owner, host_name) == 80);
static_assert(offsetof(struct pav_d_owner, epoch) == 144);
static_assert(offsetof(struct pav_d_owner, reserved) == 184);
static_assert(PAV_NAME_MAX + 1 == sizeof(((struct pav_d_owner *)0)->host_name));

/* ---- stripe header ---- */

#define PAV_STRIPE_MAGIC	0x53564150u	/* "PAVS" */

enum pav_entry_type {
	PAV_ENTRY_NONE,
	PAV_ENTRY_WRITE,		/* a cell of user data: volume, LBA */
	PAV_ENTRY_UNMAP,		/* no cell: volume, LBA; @crc is the number of cells unmapped */
	PAV_ENTRY_NODE,			/* a cell of metadata: node number; or, volume field not 0, block of the node table's level volume - 1 */
};

struct pav_d_stripe_entry {
	__le64 key;			/*  0	type << 60 | volume << 44 | LBA or node number */
	__le32 crc;			/*  8	CRC32C of the cell */
	__le32 birth;			/* 12 */
};
static_assert(sizeof(struct pav_d_stripe_entry) == 16);

#define PAV_KEY_LBA_BITS	44
#define PAV_NODE_INDEX_MASK	((1ULL << 40) - 1)

static inline u64 pav_key(enum pav_entry_type type, u32 volume, u64 lba)
{
	return (u64)type << 60 | (u64)volume << PAV_KEY_LBA_BITS | lba;
}

static inline enum pav_entry_type pav_key_type(u64 key) { return (enum pav_entry_type)(key >> 60); }
static inline u32 pav_key_volume(u64 key) { return (key >> PAV_KEY_LBA_BITS) & 0xffff; }
static inline u64 pav_key_lba(u64 key) { return key & ((1ULL << PAV_KEY_LBA_BITS) - 1); }

/* The header is the only cell whose sum is not in the header. Parity has none: it is verified by computing it again from verified data. */
struct pav_d_stripe {
	__le32 magic;			/*  0 */
	__le32 crc;			/*  4	of all 4,096 bytes with this field 0 */
	u8 group_uuid[16];		/*  8 */
	__le64 log_id;			/* 24 */
	__le64 seq;			/* 32 */
	__le64 members;			/* 40	of the segment */
	__le32 segment;			/* 48 */
	__le16 row;			/* 52 */
	u8 c0;				/* 54 */
	u8 width;			/* 55 */
	u8 rows;			/* 56 */
	u8 pad;				/* 57 */
	__le16 entries;			/* 58 */
	__le32 reserved;		/* 60 */
	struct pav_d_stripe_entry entry[252];	/* 64 */
};
static_assert(sizeof(struct pav_d_stripe) == 4096);
static_assert(offsetof(struct pav_d_stripe, entry) == 64);

#define PAV_STRIPE_ENTRIES	252u
#define PAV_STRIPE_MAX_ROWS	16u
#define PAV_STRIPE_MAX_CELLS	(PAV_STRIPE_ENTRIES + 1)	/* data cells, header included */

/* ---- segment table ---- */

enum pav_segment_state { PAV_SEG_FREE, PAV_SEG_DATA, PAV_SEG_META };

struct pav_d_segment {
	__le64 members;			/*  0	mask of slots */
	__le64 seq;			/*  8	when it was opened */
	__le32 live;			/* 16	cells the map points to; of META segments not kept: counted again at open */
	u8 state;			/* 20 */
	u8 pad[3];			/* 21 */
	__le64 lacks;			/* 24	mask of slots: members whose cells of this segment may not be what was written */
};
static_assert(sizeof(struct pav_d_segment) == 32);
#define PAV_SEGS_PER_NODE	(PAV_CELL_BYTES / sizeof(struct pav_d_segment))

/* ---- volume ---- */

enum pav_volume_state { PAV_VOLUME_NONE, PAV_VOLUME_LIVE, PAV_VOLUME_DELETING };

struct pav_d_volume {
	u8 state;			/*    0 */
	u8 depth;			/*    1	interior levels above the leaves */
	__le16 props_bytes;		/*    2 */
	__le32 birth;			/*    4 */
	__le64 cells;			/*    8 */
	__le64 mapped;			/*   16	cells mapped */
	__le64 root;			/*   24	node number, 0: nothing mapped */
	u8 uuid[16];			/*   32 */
	u8 nguid[16];			/*   48 */
	char name[64];			/*   64 */
	char serial[24];		/*  128 */
	u8 reserved[360];		/*  152 */
	char props[3584];		/*  512	key NUL value NUL … */
};
static_assert(sizeof(struct pav_d_volume) == 4096);
static_assert(offsetof(struct pav_d_volume, props) == 512);

/* ---- validators: say what is wrong, or NULL. They trust nothing; any 4 KiB may be passed. ---- */

/* Sets the CRC over a whole block of 4 KiB whose __le32 at @crc_offset holds it. */
void pav_seal(void *block, size_t crc_offset);
bool pav_sealed(const void *block, size_t crc_offset);

/* @blank: the block holds no superblock at all (another or no magic), rather than a bad one. */
const char *pav_sb_check(const struct pav_d_superblock *sb, u64 drive_cells, bool *blank);

struct pav_sb_features { u64 ro_compat, incompat; };
#define PAV_KNOWN_RO_COMPAT	0ULL
#define PAV_KNOWN_INCOMPAT	0ULL

/* @blank: no stamp was ever written here. */
const char *pav_owner_check(const struct pav_d_owner *o, bool *blank);

/* Of a stripe's header, as far as it can be told without knowing where it was read. @n: drives in its segment. */
const char *pav_stripe_check(const struct pav_d_stripe *h, u32 segment_blocks);
/* Number of data cells its entries name, header included. */
unsigned int pav_stripe_cells(const struct pav_d_stripe *h);
/* Does it hold metadata? No stripe holds both. Of a header that was checked. */
bool pav_stripe_of_nodes(const struct pav_d_stripe *h);
const char *pav_volume_check(const struct pav_d_volume *v);
const char *pav_segment_check(const struct pav_d_segment *s, u64 slots_mask);
bool pav_name_ok(const char *name);

#endif
