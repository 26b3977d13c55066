// SPDX-License-Identifier: GPL-2.0
/*
 * Fuzzes the validators of the on-disk format, with sums mended so that the fuzzer gets past them. What a validator lets pass must then bear being used
 * the way the engine uses it; every index the engine would compute from it is checked here.
 *
 * Input: one byte that picks the kind, then bytes laid over a valid block of that kind.
 */
#include <stdlib.h>
#include "format/format.h"

#define MUST(x) do { if (!(x)) abort(); } while (0)

static void lay_over(u8 *block, const u8 *data, size_t size)
{
	size_t i;

	for (i = 0; i < size && i < PAV_CELL_BYTES; i++)
		block[i] ^= data[i];
}

static void superblock(u8 *block, const u8 *data, size_t size)
{
	struct pav_d_superblock *sb = (struct pav_d_superblock *)block;
	u64 drive_cells = 256 + 64 * 1024;
	unsigned int i;
	bool blank;

	memcpy(sb->magic, PAV_SB_MAGIC, sizeof(sb->magic));
	sb->version = cpu_to_le16(PAV_FORMAT_VERSION);
	memcpy(sb->name, "fuzz", 5);
	sb->segment_blocks = cpu_to_le32(1024);
	sb->segments = cpu_to_le32(64);
	sb->data_drives = cpu_to_le16(2);
	sb->slots = cpu_to_le16(4);
	sb->replays = cpu_to_le16(1);
	sb->sets[0] = cpu_to_le64(0xf);
	lay_over(block, data, size);
	pav_seal(block, offsetof(struct pav_d_superblock, crc));
	if (pav_sb_check(sb, drive_cells, &blank))
		return;
	MUST(!blank);
	MUST(strlen(sb->name) <= PAV_NAME_MAX);
	MUST(PAV_SEGMENTS_CELL + (u64)le32_to_cpu(sb->segments) * le32_to_cpu(sb->segment_blocks) <= drive_cells);
	MUST(le16_to_cpu(sb->slots) <= PAV_MAX_DRIVES && le16_to_cpu(sb->slot) < le16_to_cpu(sb->slots));
	MUST(le16_to_cpu(sb->data_drives) + 2 <= le16_to_cpu(sb->slots));
	for (i = 0; i < le16_to_cpu(sb->replays); i++) {
		MUST(le32_to_cpu(sb->replay[i].segment) < le32_to_cpu(sb->segments));
		MUST(le16_to_cpu(sb->replay[i].row) <= le32_to_cpu(sb->segment_blocks));
		MUST(sb->replay[i].set < PAV_MAX_SETS && hweight64(le64_to_cpu(sb->sets[sb->replay[i].set])) >= 3);
	}
	for (i = 0; i < PAV_MAX_SETS; i++)
		MUST(hweight64(le64_to_cpu(sb->sets[i])) <= 32 && !(le64_to_cpu(sb->sets[i]) >> le16_to_cpu(sb->slots)));
}

static void stripe(u8 *block, const u8 *data, size_t size)
{
	struct pav_d_stripe *h = (struct pav_d_stripe *)block;
	unsigned int i, n;

	h->magic = cpu_to_le32(PAV_STRIPE_MAGIC);
	h->members = cpu_to_le64(0x3ff);
	h->width = 10;
	h->rows = 2;
	h->entries = cpu_to_le16(3);
	for (i = 0; i < 3; i++)
		h->entry[i].key = cpu_to_le64(pav_key(PAV_ENTRY_WRITE, i, 10 + i));
	lay_over(block, data, size);
	pav_seal(block, offsetof(struct pav_d_stripe, crc));
	if (pav_stripe_check(h, 1024))
		return;
	n = hweight64(le64_to_cpu(h->members));
	MUST(n <= PAV_MAX_WIDTH && h->width >= PAV_MIN_WIDTH && h->width <= n && h->c0 < n);
	MUST(h->rows && h->rows <= PAV_STRIPE_MAX_ROWS && le16_to_cpu(h->row) + h->rows <= 1024);
	MUST(le16_to_cpu(h->entries) <= PAV_STRIPE_ENTRIES);
	MUST(pav_stripe_cells(h) <= (h->width - 2u) * h->rows && pav_stripe_cells(h) <= PAV_STRIPE_MAX_CELLS);
	for (i = 0; i < le16_to_cpu(h->entries); i++) {
		u64 key = le64_to_cpu(h->entry[i].key);

		MUST(pav_key_type(key) != PAV_ENTRY_WRITE || pav_key_volume(key) < PAV_MAX_VOLUMES);
		if (pav_key_type(key) == PAV_ENTRY_UNMAP)
			MUST(pav_key_lba(key) / PAV_LEAF_ENTRIES == (pav_key_lba(key) + le32_to_cpu(h->entry[i].crc) - 1) / PAV_LEAF_ENTRIES);
	}
}

static void volume(u8 *block, const u8 *data, size_t size)
{
	struct pav_d_volume *v = (struct pav_d_volume *)block;
	u32 at = 0, bytes;
	u64 leaves;

	v->state = PAV_VOLUME_LIVE;
	v->cells = cpu_to_le64(1024);
	v->depth = 1;
	memcpy(v->name, "vol", 4);
	memcpy(v->serial, "GB000", 6);
	v->props_bytes = cpu_to_le16(4);
	memcpy(v->props, "a\0b", 4);
	lay_over(block, data, size);
	if (pav_volume_check(v))
		return;
	bytes = le16_to_cpu(v->props_bytes);
	/* As find_prop() walks them. */
	while (at < bytes) {
		u32 key = strnlen(v->props + at, bytes - at);

		MUST(at + key + 1 < bytes);
		at += key + 1;
		MUST(at + strnlen(v->props + at, bytes - at) < bytes);
		at += strnlen(v->props + at, bytes - at) + 1;
	}
	MUST(at == bytes && strlen(v->name) <= PAV_NAME_MAX && strlen(v->serial) <= PAV_SERIAL_MAX);
	leaves = le64_to_cpu(v->cells) / PAV_LEAF_ENTRIES;
	MUST(leaves && (leaves - 1) >> (9 * v->depth) == 0);
}

static void segment(u8 *block, const u8 *data, size_t size)
{
	struct pav_d_segment *s = (struct pav_d_segment *)block;

	s->state = PAV_SEG_DATA;
	s->members = cpu_to_le64(0xf);
	lay_over(block, data, min_t(size_t, size, sizeof(*s)));
	if (pav_segment_check(s, 0xff) || s->state == PAV_SEG_FREE)
		return;
	MUST(hweight64(le64_to_cpu(s->members)) >= PAV_MIN_WIDTH && !(le64_to_cpu(s->members) & ~0xffULL));
}

static void owner(u8 *block, const u8 *data, size_t size)
{
	struct pav_d_owner *o = (struct pav_d_owner *)block;
	bool blank;

	memcpy(o->magic, PAV_OWNER_MAGIC, sizeof(o->magic));
	o->version = cpu_to_le16(PAV_FORMAT_VERSION);
	o->state = PAV_OWNER_OPEN;
	o->interval_ms = cpu_to_le32(1000);
	o->fence_ms = cpu_to_le32(8000);
	memcpy(o->host_name, "host", 5);
	lay_over(block, data, size);
	pav_seal(block, offsetof(struct pav_d_owner, crc));
	if (pav_owner_check(o, &blank))
		return;
	MUST(!blank && o->state <= PAV_OWNER_OPEN);
	MUST(strlen(o->host_name) <= PAV_NAME_MAX);
	/* As an importer computes how long to watch: in 32 bits of ms. */
	MUST(le32_to_cpu(o->interval_ms) && le32_to_cpu(o->fence_ms) >= 2 * le32_to_cpu(o->interval_ms));
	MUST((u64)le32_to_cpu(o->fence_ms) * 2 + 4ULL * le32_to_cpu(o->interval_ms) < UINT32_MAX);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);
int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static void (*const kind[])(u8 *block, const u8 *data, size_t size) = { superblock, stripe, volume, segment, owner };
	u8 *block;

	if (!size)
		return 0;
	block = calloc(1, PAV_CELL_BYTES);
	MUST(block);
	kind[data[0] % ARRAY_SIZE(kind)](block, data + 1, size - 1);
	free(block);
	return 0;
}
