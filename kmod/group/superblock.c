// SPDX-License-Identifier: GPL-2.0
/*
 * Superblocks of drives that are in no open group: making them, reading them, wiping them, and gathering drives into a group by what they say.
 * Commits of an open group are in group.c.
 */
#include "group.h"

#define DEFAULT_SEGMENT_BLOCKS	1024u
#define DEFAULT_RESERVE		15u
#define MIN_SEGMENTS		24u
#define GENERATION_JUMP		16u	/* at open: past anything a drive that is absent now may have seen of commits cut short */

struct sync_io {
	struct pav_io io;
	struct completion done;
};

static void sync_done(struct pav_io *io)
{
	complete(&container_of(io, struct sync_io, io)->done);
}

static int cell_io(struct pav_dev *dev, enum pav_io_op op, u64 block, void *buf)
{
	struct sync_io *s = pav_alloc(sizeof(*s));
	int error;

	if (!s)
		return -ENOMEM;
	init_completion(&s->done);
	s->io.dev = dev;
	s->io.op = op;
	s->io.block = block;
	s->io.cells = 1;
	s->io.fua = op == PAV_IO_WRITE && pav_dev_volatile(dev);
	s->io.buf = buf;
	s->io.done = sync_done;
	pav_io_submit(&s->io);
	wait_for_completion(&s->done);
	error = s->io.error;
	pav_free(s);
	return error;
}

/* All cells that say what a drive belongs to. */
static const u64 label_cells[] = { PAV_SB_CELL(0), PAV_SB_CELL(1), PAV_OWNER_CELL };

/* The newest valid superblock of a drive, into @sb; in which of the two slots it lies, into @at, if that is not NULL. @cell: room for one more. */
static int read_superblock(struct pav_dev *dev, struct pav_d_superblock *sb, u8 *at, struct pav_d_superblock *cell, struct pav_err *err)
{
	const char *why = NULL, *bad = NULL;
	bool found = false, blank;
	unsigned int slot;
	int error;

	if (pav_dev_blocks(dev) < PAV_SEGMENTS_CELL + PAV_SEGMENT_MIN_BLOCKS)
		return pav_fail(err, -ENOENT, "drive %s: too small to hold a superblock", pav_dev_name(dev));
	for (slot = 0; slot < 2; slot++) {
		error = cell_io(dev, PAV_IO_READ, PAV_SB_CELL(slot), cell);
		if (error == -ENOMEM)
			return pav_fail(err, error, "drive %s: out of memory", pav_dev_name(dev));
		why = error ? "superblock cannot be read" : pav_sb_check(cell, pav_dev_blocks(dev), &blank);
		if (why) {
			if (error || !blank)
				bad = why;
			continue;
		}
		if (!found || le64_to_cpu(cell->generation) > le64_to_cpu(sb->generation)) {
			*sb = *cell;
			if (at)
				*at = slot;
		}
		found = true;
	}
	if (bad)
		pav_log(PAV_WARN, "drive %s: one superblock slot: %s", pav_dev_name(dev), bad);
	if (found)
		return 0;
	if (!bad)
		return pav_fail(err, -ENOENT, "drive %s: holds no superblock", pav_dev_name(dev));
	return pav_fail(err, bad[0] == 'w' ? -EOPNOTSUPP : -EUCLEAN, "drive %s: %s", pav_dev_name(dev), bad);
}

/* Who has the group open, by the drive's owner stamp. */
static void probe_owner(struct pav_dev *dev, const struct pav_d_superblock *sb, struct pav_d_owner *stamp, struct pav_probe *out)
{
	bool blank;

	if (cell_io(dev, PAV_IO_READ, PAV_OWNER_CELL, stamp) || pav_owner_check(stamp, &blank) ||
	    memcmp(stamp->group_uuid, sb->group_uuid, 16) != 0 || stamp->state != PAV_OWNER_OPEN)
		return;
	out->owned = true;
	memcpy(out->owner_id, stamp->host_id, 16);
	strscpy(out->owner, stamp->host_name, sizeof(out->owner));
	out->owner_since = le64_to_cpu(stamp->opened);
	out->owner_seen = le64_to_cpu(stamp->written);
}

int pav_group_unchanged(struct pav_group *g)
{
	struct pav_d_superblock *sb = pav_alloc_cells(1), *cell = pav_alloc_cells(1);
	int error = sb && cell ? 0 : -ENOMEM;
	unsigned int slot;

	for (slot = 0; slot < g->slots && !error; slot++) {
		struct pav_drive *d = &g->drives[slot];

		if (!d->dev || (g->gone & BIT_ULL(slot)))
			continue;
		/* What cannot be read now can only be older than what could. */
		error = read_superblock(d->dev, sb, NULL, cell, NULL);
		if (error != -ENOMEM)
			error = !error && le64_to_cpu(sb->generation) != d->generation ? -EAGAIN : 0;
	}
	if (sb)
		pav_free_cells(sb, 1);
	if (cell)
		pav_free_cells(cell, 1);
	return error;
}

int pav_probe(struct pav_dev *dev, struct pav_probe *out, struct pav_err *err)
{
	struct pav_d_superblock *sb = pav_alloc_cells(1), *cell = pav_alloc_cells(1);
	int error = -ENOMEM;
	unsigned int i;

	if (sb && cell)
		error = read_superblock(dev, sb, NULL, cell, err);
	else
		pav_fail(err, error, "drive %s: out of memory", pav_dev_name(dev));
	if (!error) {
		memset(out, 0, sizeof(*out));
		memcpy(out->group, sb->name, sizeof(out->group));
		memcpy(out->group_uuid, sb->group_uuid, 16);
		memcpy(out->drive_uuid, sb->drive_uuid, 16);
		out->slot = le16_to_cpu(sb->slot);
		out->data_drives = le16_to_cpu(sb->data_drives);
		out->drives = le16_to_cpu(sb->slots);
		out->state = sb->members[out->slot].state;
		for (i = 0; i < out->drives; i++)
			out->expected += sb->members[i].state == PAV_DRIVE_ACTIVE || sb->members[i].state == PAV_DRIVE_SPARE;
		out->generation = le64_to_cpu(sb->generation);
		probe_owner(dev, sb, (struct pav_d_owner *)cell, out);
	}
	if (sb)
		pav_free_cells(sb, 1);
	if (cell)
		pav_free_cells(cell, 1);
	return error;
}

void pav_make_uuid(u8 *uuid)
{
	pav_random(uuid, 16);
	uuid[6] = (uuid[6] & 0x0f) | 0x40;
	uuid[8] = (uuid[8] & 0x3f) | 0x80;
}

static int create_superblock(const struct pav_drive_arg *drives, unsigned int n, const struct pav_create_params *p, struct pav_d_superblock *sb,
			     struct pav_err *err)
{
	u64 blocks = ~0ULL, segment_blocks = p->segment_blocks ? p->segment_blocks : DEFAULT_SEGMENT_BLOCKS, segments;
	unsigned int i, active = 0, k;

	if (!pav_name_ok(p->name))
		return pav_fail(err, -EINVAL, "group name '%.63s': use 1 to %u letters, digits, '.', '_', '-', beginning with a letter or digit", p->name,
				PAV_NAME_MAX);
	if (n > PAV_MAX_DRIVES)
		return pav_fail(err, -EINVAL, "group %s: %u drives are too many: at most %u, spares included", p->name, n, PAV_MAX_DRIVES);
	for (i = 0; i < n; i++) {
		active += !drives[i].spare;
		blocks = min_t(u64, blocks, pav_dev_blocks(drives[i].dev));
	}
	k = p->data_drives ? p->data_drives : active >= 2 ? active - 2 : 0;
	if (k < 2 || k > 30 || active < k + 2)
		return pav_fail(err, -EINVAL, "group %s: %u data drives (and 2 for parity) of %u that are no spares: give 4 to 32 drives, at least 2 more than data drives",
				p->name, k, active);
	if (segment_blocks < PAV_SEGMENT_MIN_BLOCKS || segment_blocks > PAV_SEGMENT_MAX_BLOCKS)
		return pav_fail(err, -EINVAL, "group %s: a segment of %llu blocks: use %u to %u", p->name, (unsigned long long)segment_blocks,
				PAV_SEGMENT_MIN_BLOCKS, PAV_SEGMENT_MAX_BLOCKS);
	if (p->reserve_percent > 90)
		return pav_fail(err, -EINVAL, "group %s: a reserve of %u percent: use 1 to 90", p->name, p->reserve_percent);
	segments = blocks > PAV_SEGMENTS_CELL ? (blocks - PAV_SEGMENTS_CELL) / segment_blocks : 0;
	segments = min_t(u64, segments, PAV_MAX_SEGMENTS);
	if (segments < MIN_SEGMENTS)
		return pav_fail(err, -EINVAL, "group %s: the smallest drive holds %llu MiB: at least %llu MiB are needed", p->name,
				(unsigned long long)blocks >> 8, (unsigned long long)(PAV_SEGMENTS_CELL + MIN_SEGMENTS * segment_blocks + 255) >> 8);

	memset(sb, 0, sizeof(*sb));
	memcpy(sb->magic, PAV_SB_MAGIC, sizeof(sb->magic));
	sb->version = cpu_to_le16(PAV_FORMAT_VERSION);
	pav_make_uuid(sb->group_uuid);
	strscpy(sb->name, p->name, sizeof(sb->name));
	sb->generation = cpu_to_le64(1);
	sb->admit_generation = cpu_to_le64(1);
	pav_random(&sb->log_id, sizeof(sb->log_id));
	sb->next_node = cpu_to_le64(1);
	sb->created = sb->committed = cpu_to_le64(pav_real_seconds());
	sb->segment_blocks = cpu_to_le32(segment_blocks);
	sb->segments = cpu_to_le32(segments);
	sb->data_drives = cpu_to_le16(k);
	sb->slots = cpu_to_le16(n);
	sb->reserve_percent = cpu_to_le16(p->reserve_percent ? p->reserve_percent : DEFAULT_RESERVE);
	for (i = 0; i < n; i++) {
		struct pav_drive path = {};	/* all of its path goes to the drive */

		pav_make_uuid(sb->members[i].uuid);
		sb->members[i].state = drives[i].spare ? PAV_DRIVE_SPARE : PAV_DRIVE_ACTIVE;
		pav_drive_set_path(&path, pav_dev_name(drives[i].dev));
		memcpy(sb->members[i].path, path.path, sizeof(path.path));
	}
	return 0;
}

int pav_engine_create(const struct pav_drive_arg *drives, unsigned int n, const struct pav_create_params *p, struct pav_err *err)
{
	struct pav_d_superblock *sb = pav_alloc_cells(1), *cell = pav_alloc_cells(1);
	unsigned int i, pass;
	int error = -ENOMEM;

	if (sb && cell)
		error = create_superblock(drives, n, p, sb, err);
	else
		pav_fail(err, error, "group %s: out of memory", p->name);
	/* First no slot may say anything old, then the newer slot says all. */
	for (pass = 0; pass < 2 && !error; pass++)
		for (i = 0; i < n && !error; i++) {
			memset(cell, 0, sizeof(*cell));
			if (pass) {
				*cell = *sb;
				cell->slot = cpu_to_le16(i);
				memcpy(cell->drive_uuid, sb->members[i].uuid, 16);
				pav_seal(cell, offsetof(struct pav_d_superblock, crc));
			} else {
				error = cell_io(drives[i].dev, PAV_IO_WRITE, PAV_SB_CELL(0), cell);
				if (!error)
					error = cell_io(drives[i].dev, PAV_IO_WRITE, PAV_OWNER_CELL, cell);
			}
			if (!error)
				error = cell_io(drives[i].dev, PAV_IO_WRITE, PAV_SB_CELL(1), cell);
			if (error)
				pav_fail(err, error, "group %s: drive %s: its superblock cannot be written (error %d); take another drive", p->name,
					 pav_dev_name(drives[i].dev), error);
		}
	if (sb)
		pav_free_cells(sb, 1);
	if (cell)
		pav_free_cells(cell, 1);
	return error;
}

int pav_engine_wipe(const struct pav_drive_arg *drives, unsigned int n, struct pav_err *err)
{
	void *zero = pav_alloc_cells(1);
	unsigned int i, j;
	int error = zero ? 0 : -ENOMEM, e;

	if (!zero)
		return pav_fail(err, error, "out of memory");
	memset(zero, 0, PAV_CELL_BYTES);
	for (i = 0; i < n; i++)
		for (j = 0; j < ARRAY_SIZE(label_cells); j++) {
			e = cell_io(drives[i].dev, PAV_IO_WRITE, label_cells[j], zero);
			if (e == -ENODEV) {
				pav_log(PAV_WARN, "drive %s: gone, its superblock stays", pav_dev_name(drives[i].dev));
				break;
			}
			if (e)
				error = pav_fail(err, e, "drive %s: its superblock cannot be wiped (error %d)", pav_dev_name(drives[i].dev), e);
		}
	pav_free_cells(zero, 1);
	return error;
}

/* ---- a drive that comes back ---- */

int pav_group_may_return(struct pav_group *g, struct pav_dev *dev, unsigned int *slot, struct pav_err *err)
{
	struct pav_d_superblock *sb = pav_alloc_cells(1), *cell = pav_alloc_cells(1);
	const char *name = pav_dev_name(dev);
	int error = -ENOMEM;
	struct pav_drive *d;
	unsigned int i;
	u8 at = 0;

	if (sb && cell)
		error = read_superblock(dev, sb, &at, cell, err);
	else
		pav_fail(err, error, "drive %s: out of memory", name);
	if (error)
		goto out;
	for (i = 0; i < g->slots; i++)
		if (g->drives[i].state != PAV_DRIVE_EMPTY && !memcmp(g->drives[i].uuid, sb->drive_uuid, 16))
			break;
	d = &g->drives[i];
	*slot = i;
	if (memcmp(sb->group_uuid, g->uuid, 16) != 0)
		error = pav_fail(err, -EINVAL, "drive %s belongs to group %s, not to %s", name, sb->name, g->name);
	else if (i == g->slots)
		error = pav_fail(err, -ENOENT, "drive %s is no member of group %s any more: wipe it, and add it as a new drive", name, g->name);
	else if (d->state != PAV_DRIVE_FAILED)
		error = pav_fail(err, -EEXIST, "group %s: drive %u is there: %s is a copy of it, or is in use already", g->name, i, name);
	else if (!d->away)
		error = pav_fail(err, -EINVAL, "group %s: drive %u (%s) did not merely vanish, it failed: replace it", g->name, i, name);
	else if (le64_to_cpu(sb->generation) < d->generation)
		error = pav_fail(err, -EINVAL, "group %s: drive %u (%s) is not as it was when it left: wipe it, and add it as a new drive", g->name, i, name);
	else
		d->sb_slot = at;	/* no commit looks at it while it is FAILED */
out:
	if (sb)
		pav_free_cells(sb, 1);
	if (cell)
		pav_free_cells(cell, 1);
	return error;
}

/* ---- open ---- */

int pav_group_gather(struct pav_group *g, const struct pav_drive_arg *drives, unsigned int n, const struct pav_open_params *p, struct pav_err *err)
{
	struct pav_d_superblock *all = pav_alloc(sizeof(*all) * max_t(unsigned int, n, 1)), *cell = pav_alloc_cells(1);
	unsigned int i, j, newest = 0, valid = 0;
	u64 admit = ~0ULL;
	u8 *at = pav_alloc(max_t(unsigned int, n, 1));
	struct pav_err one;
	int error = -ENOENT;

	if (!all || !cell || !at) {
		error = pav_fail(err, -ENOMEM, "out of memory");
		goto out;
	}
	pav_fail(err, error, "no drives were given");
	for (i = 0; i < n; i++) {
		int er = read_superblock(drives[i].dev, &all[i], &at[i], cell, &one);

		/* Not to be taken for a drive that is missing: that would be recorded. */
		if (er == -ENOMEM) {
			error = er;
			if (err)
				*err = one;
			goto out;
		}
		if (er) {
			all[i].magic[0] = '\0';
			pav_log(PAV_WARN, "import: %s", one.text);
			if (!valid)
				error = er;
			if (err && !valid)
				*err = one;
			continue;
		}
		if (valid && memcmp(all[i].group_uuid, all[newest].group_uuid, 16) != 0) {
			error = pav_fail(err, -EINVAL, "drive %s belongs to group %s, drive %s to group %s: import one group at a time",
					 pav_dev_name(drives[i].dev), all[i].name, pav_dev_name(drives[newest].dev), all[newest].name);
			goto out;
		}
		if (!valid++ || le64_to_cpu(all[i].generation) > le64_to_cpu(all[newest].generation))
			newest = i;
	}
	if (!valid)
		goto out;
	if (p->expect_name && strcmp(p->expect_name, all[newest].name) != 0) {
		error = pav_fail(err, -EINVAL, "these drives hold group %s, not %.63s", all[newest].name, p->expect_name);
		goto out;
	}
	error = pav_group_init(g, &all[newest], p);
	if (error) {
		pav_fail(err, error, "group %s: out of memory", all[newest].name);
		goto out;
	}
	for (i = 0; i < n; i++) {
		unsigned int slot = 0;
		const char *why = NULL;

		if (!all[i].magic[0])
			continue;
		/* By its identity: a spare takes another slot when it takes part, and its own superblock may not say so yet. */
		while (slot < g->slots && (g->drives[slot].state == PAV_DRIVE_EMPTY || memcmp(g->drives[slot].uuid, all[i].drive_uuid, 16) != 0))
			slot++;
		if (slot == g->slots)
			why = "is no member any more";
		else if (g->drives[slot].state == PAV_DRIVE_FAILED)
			why = "failed earlier and comes back only through rebuild";
		else if (le64_to_cpu(all[i].generation) < le64_to_cpu(all[newest].admit_generation))
			why = "has missed changes and comes back only through rebuild";
		if (why) {
			pav_reached("stale drive refused");
			pav_log(PAV_WARN, "%s: drive %s (slot %u) %s", g->name, pav_dev_name(drives[i].dev), slot, why);
			if (slot < g->slots && g->drives[slot].state == PAV_DRIVE_FAILED)
				g->drives[slot].back = drives[i].dev;
			continue;
		}
		for (j = 0; j < i; j++)
			if (all[j].magic[0] && !memcmp(all[j].drive_uuid, all[i].drive_uuid, 16)) {
				error = pav_fail(err, -EINVAL, "group %s: drives %s and %s are copies of one another: give only the one that is right",
						 g->name, pav_dev_name(drives[j].dev), pav_dev_name(drives[i].dev));
				goto out;
			}
		g->drives[slot].dev = drives[i].dev;
		g->drives[slot].generation = le64_to_cpu(all[i].generation);
		g->drives[slot].sb_slot = at[i];
		pav_drive_set_path(&g->drives[slot], pav_dev_name(drives[i].dev));
		admit = min_t(u64, admit, g->drives[slot].generation);
		g->uneven |= g->drives[slot].generation != le64_to_cpu(all[newest].generation);
	}
	for (i = 0; i < g->slots; i++)
		if (!g->drives[i].dev && g->drives[i].state != PAV_DRIVE_EMPTY && g->drives[i].state != PAV_DRIVE_FAILED) {
			pav_reached("opened without a drive");
			g->drives[i].away = true;
			/* What all members had when the newest superblock was written. */
			g->drives[i].generation = le64_to_cpu(all[newest].admit_generation);
			pav_log(PAV_WARN, "%s: drive %u (last seen at %s) is missing", g->name, i, g->drives[i].path);
			g->gone |= BIT_ULL(i);
		}
	/* Until a commit is complete on all of them, whoever has what they have now has missed nothing. */
	g->sb->admit_generation = cpu_to_le64(admit);
	g->sb->generation = cpu_to_le64(le64_to_cpu(g->sb->generation) + GENERATION_JUMP);
out:
	if (cell)
		pav_free_cells(cell, 1);
	pav_free(all);
	pav_free(at);
	return error;
}
