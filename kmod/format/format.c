// SPDX-License-Identifier: GPL-2.0
/* Validators of the on-disk format. They judge bytes alone; whether a valid block is also the right one is for the reader to say. */
#include "format.h"
#include "../../raid6/raid6.h"

static u32 block_crc(const void *block, size_t crc_offset)
{
	static const u8 zero[4];
	const u8 *b = block;
	u32 crc = pav_crc32c(0, b, crc_offset);

	crc = pav_crc32c(crc, zero, sizeof(zero));
	return pav_crc32c(crc, b + crc_offset + 4, PAV_CELL_BYTES - crc_offset - 4);
}

void pav_seal(void *block, size_t crc_offset)
{
	__le32 crc = cpu_to_le32(block_crc(block, crc_offset));

	memcpy((u8 *)block + crc_offset, &crc, sizeof(crc));
}

bool pav_sealed(const void *block, size_t crc_offset)
{
	__le32 crc;

	memcpy(&crc, (const u8 *)block + crc_offset, sizeof(crc));
	return le32_to_cpu(crc) == block_crc(block, crc_offset);
}

bool pav_name_ok(const char *name)
{
	size_t i;

	for (i = 0; name[i]; i++) {
		char c = name[i];
		bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');

		if (i >= PAV_NAME_MAX || !(alnum || (i && (c == '.' || c == '_' || c == '-'))))
			return false;
	}
	return i > 0;
}

static bool terminated(const char *s, size_t room)
{
	return memchr(s, 0, room) != NULL;
}

const char *pav_sb_check(const struct pav_d_superblock *sb, u64 drive_cells, bool *blank)
{
	u32 seg_blocks = le32_to_cpu(sb->segment_blocks), segs = le32_to_cpu(sb->segments);
	u32 slots = le16_to_cpu(sb->slots), k = le16_to_cpu(sb->data_drives), replays = le16_to_cpu(sb->replays), i;

	*blank = memcmp(sb->magic, PAV_SB_MAGIC, sizeof(sb->magic)) != 0;
	if (*blank)
		return "no superblock";
	if (!pav_sealed(sb, offsetof(struct pav_d_superblock, crc)))
		return "superblock checksum mismatch";
	/* Features before contents: what a later version means by a field is not for us to judge. */
	if (le16_to_cpu(sb->version) < PAV_FORMAT_VERSION)
		return "written by an older version, in a format this one does not read";
	if (le64_to_cpu(sb->incompat) & ~PAV_KNOWN_INCOMPAT || le16_to_cpu(sb->version) != PAV_FORMAT_VERSION)
		return "written by a newer version with features this one does not know";
	if (!terminated(sb->name, sizeof(sb->name)) || !pav_name_ok(sb->name))
		return "superblock names no valid group";
	if (seg_blocks < PAV_SEGMENT_MIN_BLOCKS || seg_blocks > PAV_SEGMENT_MAX_BLOCKS || !segs || segs > PAV_MAX_SEGMENTS)
		return "superblock has a segment size or number out of range";
	if (PAV_SEGMENTS_CELL + (u64)segs * seg_blocks > drive_cells)
		return "drive is smaller than its superblock says";
	if (slots > PAV_MAX_DRIVES || le16_to_cpu(sb->slot) >= slots || k < 1 || k + 2 > slots || k > 30)
		return "superblock has a number of drives out of range";
	if (le32_to_cpu(sb->scrub_left) > segs + 1)
		return "superblock has a scrub position out of range";
	if (replays > PAV_REPLAY_MAX || le16_to_cpu(sb->reserve_percent) > 90)
		return "superblock has a count out of range";
	for (i = 0; i < slots; i++)
		if (sb->members[i].state > PAV_DRIVE_LEAVING)
			return "superblock has a member in an unknown state";
	for (i = 0; i < PAV_MAX_SETS; i++)
		if (le64_to_cpu(sb->sets[i]) >> slots || hweight64(le64_to_cpu(sb->sets[i])) > PAV_MAX_WIDTH)
			return "superblock has a set of drives out of range";
	for (i = 0; i < replays; i++)
		if (le32_to_cpu(sb->replay[i].segment) >= segs || le16_to_cpu(sb->replay[i].row) > seg_blocks || sb->replay[i].set >= PAV_MAX_SETS ||
		    hweight64(le64_to_cpu(sb->sets[sb->replay[i].set])) < PAV_MIN_WIDTH || sb->replay[i].renewed > 1)
			return "superblock has a replay segment out of range";
	if (memcmp(sb->members[le16_to_cpu(sb->slot)].uuid, sb->drive_uuid, 16) != 0)
		return "superblock disagrees with itself about the drive's identity";
	if (le64_to_cpu(sb->root.loc) && pav_loc_seg(le64_to_cpu(sb->root.loc)) >= segs)
		return "superblock has a root out of range";
	return NULL;
}

const char *pav_owner_check(const struct pav_d_owner *o, bool *blank)
{
	u32 interval = le32_to_cpu(o->interval_ms), fence = le32_to_cpu(o->fence_ms);

	*blank = memcmp(o->magic, PAV_OWNER_MAGIC, sizeof(o->magic)) != 0;
	if (*blank)
		return "no owner stamp";
	if (!pav_sealed(o, offsetof(struct pav_d_owner, crc)))
		return "owner stamp checksum mismatch";
	if (le16_to_cpu(o->version) != PAV_FORMAT_VERSION)
		return "owner stamp written by a newer version";
	if (o->state > PAV_OWNER_OPEN)
		return "owner stamp in an unknown state";
	if (!terminated(o->host_name, sizeof(o->host_name)))
		return "owner stamp without a valid host name";
	if (interval < PAV_OWNER_MIN_MS || interval > PAV_OWNER_MAX_MS || fence / interval < 2 || fence > PAV_OWNER_MAX_MS * PAV_OWNER_FENCE)
		return "owner stamp has times out of range";
	return NULL;
}

unsigned int pav_stripe_cells(const struct pav_d_stripe *h)
{
	unsigned int i, cells = 1;

	for (i = 0; i < le16_to_cpu(h->entries) && i < PAV_STRIPE_ENTRIES; i++) {
		enum pav_entry_type t = pav_key_type(le64_to_cpu(h->entry[i].key));

		cells += t == PAV_ENTRY_WRITE || t == PAV_ENTRY_NODE;
	}
	return cells;
}

bool pav_stripe_of_nodes(const struct pav_d_stripe *h)
{
	return h->entries && pav_key_type(le64_to_cpu(h->entry[0].key)) == PAV_ENTRY_NODE;
}

const char *pav_stripe_check(const struct pav_d_stripe *h, u32 segment_blocks)
{
	u32 n = hweight64(le64_to_cpu(h->members)), i;

	if (le32_to_cpu(h->magic) != PAV_STRIPE_MAGIC)
		return "no stripe header";
	if (!pav_sealed(h, offsetof(struct pav_d_stripe, crc)))
		return "stripe header checksum mismatch";
	if (h->width < PAV_MIN_WIDTH || h->width > n || n > PAV_MAX_WIDTH || h->c0 >= n)
		return "stripe width out of range";
	if (!h->rows || h->rows > PAV_STRIPE_MAX_ROWS || le16_to_cpu(h->row) + h->rows > segment_blocks)
		return "stripe rows out of range";
	if (le16_to_cpu(h->entries) > PAV_STRIPE_ENTRIES)
		return "stripe has too many entries";
	for (i = 0; i < le16_to_cpu(h->entries); i++) {
		u64 key = le64_to_cpu(h->entry[i].key);
		enum pav_entry_type t = pav_key_type(key);

		if (t == PAV_ENTRY_NONE || t > PAV_ENTRY_NODE)
			return "stripe entry of unknown type";
		if (t != PAV_ENTRY_NODE && pav_key_volume(key) >= PAV_MAX_VOLUMES)
			return "stripe entry names a volume out of range";
		if (t == PAV_ENTRY_UNMAP && (!le32_to_cpu(h->entry[i].crc) ||
		    (pav_key_lba(key) % PAV_LEAF_ENTRIES) + le32_to_cpu(h->entry[i].crc) > PAV_LEAF_ENTRIES))
			return "stripe entry unmaps across a leaf";
	}
	if (pav_stripe_cells(h) > (u32)(h->width - 2) * h->rows)
		return "stripe names more cells than it has";
	return NULL;
}

const char *pav_volume_check(const struct pav_d_volume *v)
{
	u64 cells = le64_to_cpu(v->cells);
	u32 bytes = le16_to_cpu(v->props_bytes), i, strings = 0;

	if (v->state > PAV_VOLUME_DELETING)
		return "volume in an unknown state";
	if (!terminated(v->name, sizeof(v->name)) || !pav_name_ok(v->name) || !terminated(v->serial, PAV_SERIAL_MAX + 1))
		return "volume without a valid name";
	if (cells < PAV_VOLUME_MIN_BYTES / PAV_CELL_BYTES || cells > PAV_VOLUME_MAX_BYTES / PAV_CELL_BYTES || cells % PAV_LEAF_ENTRIES)
		return "volume size out of range";
	if (v->depth > 3 || (cells / PAV_LEAF_ENTRIES - 1) >> (9 * v->depth))
		return "volume too large for its tree";
	if (le64_to_cpu(v->root) >= PAV_NR_LIMIT || bytes > sizeof(v->props))
		return "volume record out of range";
	for (i = 0; i < bytes; i++)
		strings += !v->props[i];
	if (bytes && (v->props[bytes - 1] || strings % 2))
		return "volume properties are not pairs of strings";
	return NULL;
}

const char *pav_segment_check(const struct pav_d_segment *s, u64 slots_mask)
{
	u64 members = le64_to_cpu(s->members);

	if (s->state > PAV_SEG_META)
		return "segment in an unknown state";
	if (s->state != PAV_SEG_FREE && (hweight64(members) < PAV_MIN_WIDTH || hweight64(members) > PAV_MAX_WIDTH || (members & ~slots_mask)))
		return "segment with impossible members";
	if (le64_to_cpu(s->lacks) & ~members)
		return "segment lacks what it never had";
	return NULL;
}
