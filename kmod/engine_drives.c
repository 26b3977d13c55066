// SPDX-License-Identifier: GPL-2.0
/*
 * The drives of an open group: they fail, are replaced, join, leave and come back; and what works on them in the background. Members
 * change under the rebuild's lock.
 */
#include "engine_parts.h"

int pav_engine_fail_drive(struct pav_engine *e, unsigned int slot, struct pav_err *err)
{
	struct pav_group *g = &e->g;
	int error;

	if (slot >= g->slots || g->drives[slot].state == PAV_DRIVE_EMPTY)
		return pav_fail(err, -ENOENT, "group %s has no drive in slot %u", g->name, slot);
	if (g->gone & BIT_ULL(slot))
		return 0;
	if (pav_group_too_few(g, g->gone | BIT_ULL(slot)))
		return pav_fail(err, -EBUSY, "group %s: without drive %u (%s) too, data would be lost", g->name, slot,
				g->drives[slot].path);
	pav_group_fail_drive(g, slot, PAV_LOSS_BY_HAND, "taken out of use by the administrator");
	error = pav_group_commit(g, PAV_COMMIT_DRIVES, NULL, NULL);
	return error ? pav_fail(err, error, "group %s: the failure of drive %u could not be recorded (error %d)", g->name, slot, error) : 0;
}

void pav_engine_drive_gone(struct pav_engine *e, struct pav_dev *dev)
{
	unsigned int slot;

	for (slot = 0; slot < e->g.slots; slot++)
		if (e->g.drives[slot].dev == dev)
			pav_group_fail_drive(&e->g, slot, PAV_LOSS_AWAY, "it is gone");
}

int pav_engine_replace(struct pav_engine *e, unsigned int slot, const struct pav_dev *dev, int spare, struct pav_err *err)
{
	struct pav_group *g = &e->g;
	int i = spare < 0 ? 0 : spare, error;

	mutex_lock(&e->rebuild.lock);
	/* Whoever waited for the lock may have waited for a spare to take over: that one is not to be failed. */
	if (slot < g->slots && g->drives[slot].dev != dev) {
		pav_reached("another drive has the place of one that is to be replaced");
		error = pav_fail(err, -EBUSY, "group %s: slot %u has another drive by now (%s): nothing was done; see the list of drives", g->name, slot,
				 g->drives[slot].path);
		goto out;
	}
	for (; i < (int)g->slots; i++) {
		if (g->drives[i].state == PAV_DRIVE_SPARE && !(g->gone & BIT_ULL(i)))
			break;
		if (spare >= 0)
			i = (int)g->slots;
	}
	if (i >= (int)g->slots) {
		error = spare < 0 ? pav_fail(err, -ENOENT, "group %s has no spare: add one first", g->name) :
			pav_fail(err, -EINVAL, "group %s: the drive in slot %d is no spare", g->name, spare);
		goto out;
	}
	error = pav_engine_fail_drive(e, slot, err);
	if (error)
		goto out;
	error = pav_rebuild_take_over(&e->rebuild, slot, i);
	if (error)
		pav_fail(err, error, "group %s: the spare in slot %d cannot take over slot %u (error %d)", g->name, i, slot, error);
out:
	mutex_unlock(&e->rebuild.lock);
	return error;
}

/* Is @dev fit to join: large enough, in no group, not twice among the @n before it? */
static int check_newcomer(struct pav_engine *e, const struct pav_drive_arg *drives, unsigned int n, struct pav_err *err)
{
	struct pav_group *g = &e->g;
	struct pav_dev *dev = drives[n].dev;
	u64 need = PAV_SEGMENTS_CELL + (u64)g->segments * g->segment_blocks;
	struct pav_probe probe;
	unsigned int i;
	int error;

	for (i = 0; i < g->slots; i++)
		if (g->drives[i].dev == dev && g->drives[i].state != PAV_DRIVE_EMPTY)
			return pav_fail(err, -EEXIST, "drive %s is a member of group %s already, in slot %u", pav_dev_name(dev), g->name, i);
	for (i = 0; i < n; i++)
		if (drives[i].dev == dev)
			return pav_fail(err, -EINVAL, "drive %s is named twice", pav_dev_name(dev));
	if (pav_dev_blocks(dev) < need)
		return pav_fail(err, -EINVAL, "drive %s holds %llu MiB: group %s needs drives of at least %llu MiB", pav_dev_name(dev),
				(unsigned long long)pav_dev_blocks(dev) >> 8, g->name, (unsigned long long)(need + 255) >> 8);
	error = pav_probe(dev, &probe, err);
	if (!error || error == -EUCLEAN || error == -EOPNOTSUPP)
		return pav_fail(err, -EBUSY, "drive %s holds a superblock%s%s: wipe it first, if nobody needs it", pav_dev_name(dev), error ? "" : " of group ",
				error ? "" : probe.group);
	return error == -ENOENT ? 0 : error;
}

/* Room for stripes of @width columns wherever there must be some. */
static int widen(struct pav_engine *e, unsigned int width)
{
	int error = pav_log_widen(&e->log, width);

	if (!error)
		error = pav_recon_widen(&e->g, width);
	if (!error)
		error = pav_scan_widen(&e->ckpt.scan, width);
	if (!error)
		error = pav_scan_widen(&e->gc.scan, width);
	return error ? error : pav_scan_widen(&e->rebuild.scan, width);
}

int pav_engine_add(struct pav_engine *e, const struct pav_drive_arg *drives, unsigned int n, struct pav_err *err)
{
	struct pav_group *g = &e->g;
	unsigned int i, grow = 0;
	int error = 0;

	if (!n)
		return pav_fail(err, -EINVAL, "no drives were given");
	mutex_lock(&e->rebuild.lock);
	for (i = 0; i < n && !error; i++) {
		error = check_newcomer(e, drives, i, err);
		grow += !drives[i].spare;
	}
	if (!error && g->data_drives + 2 + grow > PAV_MAX_WIDTH)
		error = pav_fail(err, -EINVAL, "group %s has %u data drives: it can grow to %u", g->name, g->data_drives, PAV_MAX_WIDTH - 2);
	if (!error && widen(e, g->data_drives + 2 + grow))
		error = pav_fail(err, -ENOMEM, "group %s: out of memory", g->name);
	if (!error)
		error = pav_group_join(g, drives, n, grow, err);
	mutex_unlock(&e->rebuild.lock);
	/* Segments of the old width hold less than room is reckoned with from now on; and a checkpoint tells what there is room for. */
	if (!error && grow)
		pav_checkpoint_leave_segments(&e->ckpt, true);
	if (!error)
		pav_rebuild_want(&e->rebuild);
	return error;
}

/* Asks for a member to be emptied, if without it there is room and redundancy for what the group holds. */
static int begin_leaving(struct pav_engine *e, unsigned int slot, struct pav_err *err)
{
	struct pav_group *g = &e->g;
	int error = 0;

	if (hweight64(pav_group_members(g, 0) & ~BIT_ULL(slot)) < PAV_MIN_DRIVES)
		return pav_fail(err, -EBUSY, "group %s: without drive %u (%s) fewer than %u drives would be left: add or replace one", g->name, slot,
				g->drives[slot].path, PAV_MIN_DRIVES);
	if (pav_group_lacks_any(g, slot))
		return pav_fail(err, -EBUSY, "group %s: drive %u (%s) is being rebuilt: remove it when that is done", g->name, slot, g->drives[slot].path);
	mutex_lock(&e->ckpt.lock);
	if (!pav_log_room_without(&e->log, 1, atomic64_read(&e->map.mapped)))
		error = pav_fail(err, -ENOSPC, "group %s: without drive %u (%s) there is no room for what is written: delete or trim volumes first, or add a drive",
				 g->name, slot, g->drives[slot].path);
	if (!error) {
		error = pav_group_leaving(g, slot, true);
		if (error)
			pav_fail(err, error, "group %s: the leaving of drive %u could not be recorded (error %d)", g->name, slot, error);
	}
	mutex_unlock(&e->ckpt.lock);
	pav_checkpoint_want(&e->ckpt);
	return error;
}

/* Members, whether they work or not, that nobody has told to leave: one that failed may still be waiting until nothing lies on it. */
static unsigned int not_told_to_leave(const struct pav_group *g)
{
	unsigned int slot, n = pav_group_staying(g);

	for (slot = 0; slot < g->slots; slot++)
		n -= READ_ONCE(g->drives[slot].state) == PAV_DRIVE_FAILED && READ_ONCE(g->drives[slot].leave);
	return n;
}

int pav_engine_remove(struct pav_engine *e, unsigned int slot, struct pav_err *err)
{
	struct pav_group *g = &e->g;
	enum pav_drive_state state;
	int error = 0;

	mutex_lock(&e->rebuild.lock);
	state = slot < g->slots ? READ_ONCE(g->drives[slot].state) : PAV_DRIVE_EMPTY;
	if (state == PAV_DRIVE_EMPTY) {
		error = pav_fail(err, -ENOENT, "group %s has no drive in slot %u", g->name, slot);
	} else if (state == PAV_DRIVE_ACTIVE && !(READ_ONCE(g->gone) & BIT_ULL(slot))) {
		error = begin_leaving(e, slot, err);
	} else if ((state == PAV_DRIVE_FAILED || state == PAV_DRIVE_ACTIVE) && !READ_ONCE(g->drives[slot].leave) &&
		   not_told_to_leave(g) - 1 < PAV_MIN_DRIVES) {
		/* ACTIVE: it is gone, and that is not on record yet. */
		error = pav_fail(err, -EBUSY, "group %s: without drive %u (%s) the group would have fewer than %u drives: replace it", g->name, slot,
				 g->drives[slot].path, PAV_MIN_DRIVES);
	} else if (state != PAV_DRIVE_LEAVING && state != PAV_DRIVE_SPARE && (pav_group_slot_used(g, slot) || (pav_group_members(g, 0) & BIT_ULL(slot)))) {
		error = pav_fail(err, -EBUSY, "group %s: segments still lie on drive %u (%s): replace it, or wait until they were moved", g->name, slot,
				 g->drives[slot].path);
	}
	mutex_unlock(&e->rebuild.lock);
	if (!error) {
		WRITE_ONCE(g->drives[slot].leave, true);
		pav_gc_want(&e->gc);
		pav_rebuild_want(&e->rebuild);
	}
	return error;
}

int pav_engine_return(struct pav_engine *e, struct pav_dev *dev, struct pav_err *err)
{
	unsigned int slot;
	int error;

	mutex_lock(&e->rebuild.lock);
	error = pav_group_may_return(&e->g, dev, &slot, err);
	if (!error) {
		error = pav_rebuild_come_home(&e->rebuild, slot, dev);
		if (error)
			pav_fail(err, error, "group %s: drive %u (%s) cannot be taken in (error %d)", e->g.name, slot, pav_dev_name(dev), error);
	}
	mutex_unlock(&e->rebuild.lock);
	return error;
}

/* ---- what they look like from outside ---- */

int pav_engine_drive_info(struct pav_engine *e, unsigned int slot, struct pav_drive_info *out)
{
	const struct pav_drive *d;
	unsigned long flags;

	if (slot >= e->g.slots)
		return -ENOENT;
	d = &e->g.drives[slot];
	/* Who sits there may change, and the host may close a drive that has left. */
	spin_lock_irqsave(&e->g.lock, flags);
	if (d->state == PAV_DRIVE_EMPTY) {
		spin_unlock_irqrestore(&e->g.lock, flags);
		return -ENOENT;
	}
	memset(out, 0, sizeof(*out));
	memcpy(out->uuid, d->uuid, sizeof(out->uuid));
	out->state = e->g.gone & BIT_ULL(slot) ? PAV_DRIVE_FAILED :
		     d->state == PAV_DRIVE_ACTIVE && pav_group_lacks_any(&e->g, slot) ? PAV_DRIVE_REBUILDING : d->state;
	out->dev = d->dev;
	strscpy(out->path, d->dev ? pav_dev_name(d->dev) : d->path, sizeof(out->path));
	out->blocks = d->dev ? pav_dev_blocks(d->dev) : 0;
	spin_unlock_irqrestore(&e->g.lock, flags);
	out->reads = atomic64_read(&d->reads);
	out->writes = atomic64_read(&d->writes);
	out->read_cells = atomic64_read(&d->read_cells);
	out->write_cells = atomic64_read(&d->write_cells);
	out->errors = atomic64_read(&d->errors);
	out->healed = atomic64_read(&d->healed);
	return 0;
}

/* ---- tasks ---- */

int pav_engine_scrub(struct pav_engine *e, bool on, struct pav_err *err)
{
	if (READ_ONCE(e->g.faulted))
		return pav_fail(err, -EIO, "group %s is faulted: nothing can be scrubbed", e->g.name);
	pav_rebuild_scrub(&e->rebuild, on);
	/* Whoever is told that it is under way can count on it, whatever happens to the power. */
	if (pav_group_commit(&e->g, PAV_COMMIT_DRIVES, NULL, NULL))
		return pav_fail(err, -EIO, "group %s: the scrub's %s could not be put on record: too few drives can be written to", e->g.name, on ? "begin" : "end");
	return 0;
}

static void task_info(const struct pav_task *t, struct pav_task_info *out)
{
	u64 ms = READ_ONCE(t->ns) / 1000000;

	memset(out, 0, sizeof(*out));
	out->running = READ_ONCE(t->on);
	out->total = READ_ONCE(t->total);
	out->done = READ_ONCE(t->done);
	out->healed = READ_ONCE(t->count.healed);
	out->rebuilt = READ_ONCE(t->count.rebuilt);
	out->lost = READ_ONCE(t->lost);
	out->started = READ_ONCE(t->started);
	out->finished = READ_ONCE(t->finished);
	out->rate = ms ? READ_ONCE(t->bytes) / ms * 1000 : 0;
	out->seconds = ms / 1000;
}

void pav_engine_tasks(struct pav_engine *e, struct pav_task_info *rebuild, struct pav_task_info *scrub)
{
	task_info(&e->rebuild.rebuild, rebuild);
	task_info(&e->rebuild.scrub, scrub);
	/* Asked for, and not begun: a rebuild comes first. */
	scrub->running |= READ_ONCE(e->rebuild.scrub_wanted);
	/* Of a life before this one. */
	if (!scrub->started) {
		scrub->started = READ_ONCE(e->g.scrub.started);
		scrub->finished = READ_ONCE(e->g.scrub.finished);
		scrub->healed = READ_ONCE(e->g.scrub.healed);
	}
}
