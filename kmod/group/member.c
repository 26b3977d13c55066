// SPDX-License-Identifier: GPL-2.0
/*
 * Who sits where, while the group is open: a spare takes the place of a drive that failed, a drive comes back, drives join and leave.
 *
 * Every change is made in memory under the commit's lock, so that no commit sees half of it, and is durable with the commit that follows. What the new
 * drive lacks is durable before that. No stripe is written to it that a replay would look for until a commit has listed its segment with it (I10).
 */
#include "group.h"

/* Puts @dev into slot @slot. Both locks held. */
static void seat(struct pav_group *g, unsigned int slot, struct pav_dev *dev, const u8 *uuid, enum pav_drive_state state)
{
	struct pav_drive *d = &g->drives[slot];

	lockdep_assert_held(&g->lock);
	WRITE_ONCE(d->dev, dev);
	memcpy(d->uuid, uuid, sizeof(d->uuid));
	pav_drive_set_path(d, pav_dev_name(dev));
	d->away = false;
	/* What was healed of whoever sat here before is not this one's. */
	d->bad = 0;
	/* Whoever asked for the slot to be empty meant what was there then. */
	WRITE_ONCE(d->leave, false);
	WRITE_ONCE(d->state, state);
	WRITE_ONCE(g->seats, g->seats + 1);
	WRITE_ONCE(g->gone, g->gone & ~BIT_ULL(slot));
	g->durable_gone &= ~BIT_ULL(slot);
}

/* Slot @slot has no drive any more. Both locks held. */
static void set_empty(struct pav_group *g, unsigned int slot)
{
	struct pav_drive *d = &g->drives[slot];

	lockdep_assert_held(&g->lock);
	/* First: whoever looks for a drive here is to see that there is none. */
	WRITE_ONCE(g->gone, g->gone | BIT_ULL(slot));
	g->durable_gone |= BIT_ULL(slot);
	WRITE_ONCE(g->leaving, g->leaving & ~BIT_ULL(slot));
	WRITE_ONCE(d->leave, false);
	WRITE_ONCE(d->state, PAV_DRIVE_EMPTY);
	/* @dev stays: somebody may have looked a moment ago. */
	memset(d->uuid, 0, sizeof(d->uuid));
}

static bool has_failed(const struct pav_group *g, unsigned int slot)
{
	return !g->faulted && g->drives[slot].state == PAV_DRIVE_FAILED && (g->gone & BIT_ULL(slot));
}

int pav_group_take_over(struct pav_group *g, unsigned int slot, unsigned int spare)
{
	struct pav_drive *d = &g->drives[slot], *s = &g->drives[spare];
	unsigned long flags;
	bool ok;

	mutex_lock(&g->commit_lock);
	spin_lock_irqsave(&g->lock, flags);
	ok = has_failed(g, slot) && s->state == PAV_DRIVE_SPARE && !(g->gone & BIT_ULL(spare));
	if (ok) {
		seat(g, slot, s->dev, s->uuid, PAV_DRIVE_ACTIVE);
		d->generation = s->generation;
		d->sb_slot = s->sb_slot;
		set_empty(g, spare);
	}
	spin_unlock_irqrestore(&g->lock, flags);
	mutex_unlock(&g->commit_lock);
	if (!ok)
		return -EBUSY;
	pav_log(PAV_INFO, "%s: drive %s takes over slot %u", g->name, d->path, slot);
	pav_group_event(g, PAV_EVENT_DRIVE_JOINED, slot, spare, "a spare takes the place of a drive that failed");
	return pav_group_commit(g, PAV_COMMIT_DRIVES, NULL, NULL);
}

int pav_group_come_home(struct pav_group *g, unsigned int slot, struct pav_dev *dev)
{
	unsigned long flags;
	u8 uuid[16];
	bool ok;

	mutex_lock(&g->commit_lock);
	spin_lock_irqsave(&g->lock, flags);
	ok = has_failed(g, slot) && g->drives[slot].away;
	memcpy(uuid, g->drives[slot].uuid, sizeof(uuid));
	if (ok)
		seat(g, slot, dev, uuid, PAV_DRIVE_ACTIVE);
	spin_unlock_irqrestore(&g->lock, flags);
	mutex_unlock(&g->commit_lock);
	if (!ok)
		return -EBUSY;
	pav_log(PAV_INFO, "%s: drive %u (%s) is back", g->name, slot, pav_dev_name(dev));
	pav_group_event(g, PAV_EVENT_DRIVE_JOINED, slot, slot, "a drive is back");
	return pav_group_commit(g, PAV_COMMIT_DRIVES, NULL, NULL);
}

/* ---- joining and leaving ---- */

static unsigned int empty_slots(const struct pav_group *g)
{
	unsigned int slot, n = 0;

	for (slot = 0; slot < PAV_MAX_DRIVES; slot++)
		n += g->drives[slot].state == PAV_DRIVE_EMPTY;
	return n;
}

int pav_group_join(struct pav_group *g, const struct pav_drive_arg *drives, unsigned int n, unsigned int grow, struct pav_err *err)
{
	unsigned int i, slot = 0;
	unsigned long flags;
	u8 uuid[16];
	int error;

	if (empty_slots(g) < n)
		return pav_fail(err, -ENOSPC, "group %s has no room for %u more drives: at most %u, spares included", g->name, n, PAV_MAX_DRIVES);
	/* What they may say of an earlier life must not speak once they are members. */
	error = pav_engine_wipe(drives, n, err);
	if (error)
		return error;
	mutex_lock(&g->commit_lock);
	for (i = 0; i < n; i++, slot++) {
		while (g->drives[slot].state != PAV_DRIVE_EMPTY)
			slot++;
		pav_make_uuid(uuid);
		spin_lock_irqsave(&g->lock, flags);
		seat(g, slot, drives[i].dev, uuid, drives[i].spare ? PAV_DRIVE_SPARE : PAV_DRIVE_ACTIVE);
		g->slots = max_t(u32, g->slots, slot + 1);
		spin_unlock_irqrestore(&g->lock, flags);
		pav_log(PAV_INFO, "%s: drive %s joins in slot %u%s", g->name, g->drives[slot].path, slot, drives[i].spare ? ", as a spare" : "");
		pav_group_event(g, PAV_EVENT_DRIVE_JOINED, slot, slot, drives[i].spare ? "a spare is added" : "a drive is added");
	}
	WRITE_ONCE(g->data_drives, g->data_drives + grow);
	mutex_unlock(&g->commit_lock);
	error = pav_group_commit(g, PAV_COMMIT_DRIVES, NULL, NULL);
	return error ? pav_fail(err, error, "group %s: its new drives could not be recorded (error %d)", g->name, error) : 0;
}

int pav_group_leaving(struct pav_group *g, unsigned int slot, bool on)
{
	unsigned long flags;

	spin_lock_irqsave(&g->lock, flags);
	if (g->drives[slot].state == (on ? PAV_DRIVE_ACTIVE : PAV_DRIVE_LEAVING)) {
		WRITE_ONCE(g->drives[slot].state, on ? PAV_DRIVE_LEAVING : PAV_DRIVE_ACTIVE);
		WRITE_ONCE(g->leaving, on ? g->leaving | BIT_ULL(slot) : g->leaving & ~BIT_ULL(slot));
	}
	spin_unlock_irqrestore(&g->lock, flags);
	return pav_group_commit(g, PAV_COMMIT_DRIVES, NULL, NULL);
}

int pav_group_leave(struct pav_group *g, unsigned int slot, struct pav_dev **dev)
{
	struct pav_drive *d = &g->drives[slot];
	unsigned int members;
	unsigned long flags;
	int error;

	mutex_lock(&g->commit_lock);
	spin_lock_irqsave(&g->lock, flags);
	*dev = d->dev;
	if (g->gone & BIT_ULL(slot))
		*dev = NULL;
	set_empty(g, slot);
	/* Fewer drives than stripes are wide: they are to be narrower from now on, also in what is reckoned with. Nothing wider is left. */
	members = pav_group_staying(g) + hweight64(g->leaving);
	if (members >= PAV_MIN_DRIVES)
		WRITE_ONCE(g->data_drives, min_t(u32, g->data_drives, members - 2));
	spin_unlock_irqrestore(&g->lock, flags);
	mutex_unlock(&g->commit_lock);
	error = pav_group_commit(g, PAV_COMMIT_DRIVES, NULL, NULL);
	/* So that nobody takes it for a member later. If that fails, its identity is none of ours any more. */
	pav_owner_let_go_of(g, slot);
	if (!error && *dev)
		pav_engine_wipe(&(struct pav_drive_arg){ .dev = *dev }, 1, NULL);
	pav_log(PAV_INFO, "%s: drive %u (%s) has left", g->name, slot, d->path);
	pav_group_event(g, PAV_EVENT_DRIVE_REMOVED, slot, slot, "a drive has left the group");
	return error;
}
