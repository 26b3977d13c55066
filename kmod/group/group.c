// SPDX-License-Identifier: GPL-2.0
/* Membership and superblock commits. See group.h for the rules of failure; DESIGN.md for those of generations. */
#include "group.h"
#include "../../raid6/raid6.h"

unsigned int pav_evacuate_delay = 60;
unsigned int pav_error_limit = 256;
unsigned int pav_stall_limit = 10;

#define PAV_AWAY_NS	(10 * 1000000000ULL)	/* so long after its first error a drive that is gone may be found to have vanished */
#define PAV_ERROR_WINDOW_NS	(60 * 1000000000ULL)
#define PAV_SB_RETRIES	PAV_MAX_DRIVES	/* each retry has lost one more drive */

void pav_group_event(struct pav_group *g, enum pav_event type, int slot, u64 value, const char *text)
{
	if (g->ops && g->ops->event)
		g->ops->event(g->host, type, NULL, slot, value, text);
}

/* The set of @members if there is one, picked. Lock held. */
static struct pav_set *pick_set(struct pav_group *g, u64 members)
{
	unsigned int i;

	for (i = 0; i < g->nsets; i++)
		if (g->sets[i]->members == members) {
			g->sets[i]->picks++;
			return g->sets[i];
		}
	return NULL;
}

/* Where another set can be: -1: nowhere. Lock held. */
static int place_for_set(const struct pav_group *g)
{
	unsigned int i;

	if (g->nsets < PAV_MAX_SETS)
		return g->nsets;
	/* Nothing lies there any more, and nobody is about to: no location names it, in memory or on the drives. */
	for (i = 0; i < g->nsets; i++)
		if (!atomic_read(&g->sets[i]->segments) && !g->sets[i]->picks)
			return i;
	return -1;
}

struct pav_set *pav_group_set(struct pav_group *g, u64 members)
{
	struct pav_set *set, *fresh;
	unsigned long flags;
	unsigned int slot;
	int place;

	spin_lock_irqsave(&g->lock, flags);
	set = pick_set(g, members);
	spin_unlock_irqrestore(&g->lock, flags);
	if (set)
		return set;
	fresh = pav_alloc(sizeof(*fresh));
	if (!fresh)
		return NULL;
	fresh->members = members;
	fresh->picks = 1;
	for (slot = 0; slot < PAV_MAX_DRIVES; slot++)
		if (members & BIT_ULL(slot))
			fresh->slot[fresh->n++] = slot;
	spin_lock_irqsave(&g->lock, flags);
	/* Somebody may have made it meanwhile. */
	set = pick_set(g, members);
	place = set ? -1 : place_for_set(g);
	if (place >= 0) {
		set = fresh;
		fresh = NULL;
		set->index = place;
		if (place < (int)g->nsets) {
			pav_reached("set given back");
			/* Somebody may look at it still. */
			g->sets[place]->retired = g->retired;
			g->retired = g->sets[place];
		}
		smp_store_release(&g->sets[place], set);
		if (place == (int)g->nsets)
			smp_store_release(&g->nsets, g->nsets + 1);
	}
	spin_unlock_irqrestore(&g->lock, flags);
	pav_free(fresh);
	return set;
}

void pav_group_put_set(struct pav_group *g, struct pav_set *set)
{
	unsigned long flags;

	if (!set)
		return;
	spin_lock_irqsave(&g->lock, flags);
	set->picks--;
	spin_unlock_irqrestore(&g->lock, flags);
}

unsigned int pav_group_staying(const struct pav_group *g)
{
	unsigned int slot, n = 0;

	for (slot = 0; slot < g->slots; slot++) {
		u8 state = READ_ONCE(g->drives[slot].state);

		n += state == PAV_DRIVE_ACTIVE || state == PAV_DRIVE_FAILED;
	}
	return n;
}

u64 pav_group_members(struct pav_group *g, u32 seg)
{
	u64 active = 0, gone = READ_ONCE(g->gone), picked = 0;
	unsigned int want = g->data_drives + 2, n, i, slot;

	for (slot = 0; slot < g->slots; slot++)
		if (!(gone & BIT_ULL(slot)) && READ_ONCE(g->drives[slot].state) == PAV_DRIVE_ACTIVE)
			active |= BIT_ULL(slot);
	n = hweight64(active);
	if (n < PAV_MIN_WIDTH) {
		/* Too few for any stripe: go on as if one or two that are missing were there. */
		for (slot = 0, i = 0; slot < g->slots && i < 2 && hweight64(active) < want; slot++)
			if ((gone & BIT_ULL(slot)) &&
			    (READ_ONCE(g->drives[slot].state) == PAV_DRIVE_ACTIVE || READ_ONCE(g->drives[slot].state) == PAV_DRIVE_FAILED)) {
				active |= BIT_ULL(slot);
				i++;
			}
		return active;
	}
	if (n <= want)
		return active;
	/* More drives than a stripe is wide: take turns; only eight, since sets are few. */
	for (i = 0, slot = seg % 8 * g->slots / 8; i < want; slot = (slot + 1) % g->slots)
		if (active & BIT_ULL(slot)) {
			picked |= BIT_ULL(slot);
			i++;
		}
	return picked;
}

bool pav_group_usable(struct pav_group *g, u64 members)
{
	u64 gone = READ_ONCE(g->gone);
	unsigned int slot, left = 0;

	if (members & READ_ONCE(g->leaving))
		return false;
	if (!(members & gone))
		return true;
	for (slot = 0; slot < g->slots; slot++)
		left += !(gone & BIT_ULL(slot)) && READ_ONCE(g->drives[slot].state) == PAV_DRIVE_ACTIVE;
	return left < PAV_MIN_WIDTH && hweight64(members & gone) <= 2;
}

unsigned int pav_group_worst_loss(struct pav_group *g, u64 gone)
{
	unsigned int i, j, worst = 0, n = smp_load_acquire(&g->nsets);

	for (i = 0; i < n; i++) {
		const struct pav_set *set = g->sets[i];

		if (!atomic_read(&set->segments))
			continue;
		worst = max_t(unsigned int, worst, hweight64(set->members & gone));
		for (j = 0; j < PAV_LOSSES; j++)
			if (set->loss[j].segments)
				worst = max_t(unsigned int, worst, hweight64(set->members & (gone | set->loss[j].slots)));
	}
	return worst;
}

bool pav_group_lacks_any(struct pav_group *g, unsigned int slot)
{
	unsigned int i, j, n = smp_load_acquire(&g->nsets);

	for (i = 0; i < n; i++)
		for (j = 0; j < PAV_LOSSES; j++)
			if (READ_ONCE(g->sets[i]->loss[j].segments) && (READ_ONCE(g->sets[i]->loss[j].slots) & BIT_ULL(slot)))
				return true;
	return false;
}

u64 pav_group_unwanted(struct pav_group *g)
{
	u64 slots = READ_ONCE(g->leaving), members = pav_group_members(g, 0);

	if (pav_now_ns() - READ_ONCE(g->loss_ns) >= READ_ONCE(pav_evacuate_delay) * 1000000000ULL)
		slots |= READ_ONCE(g->gone);
	return hweight64(members) < PAV_MIN_WIDTH || (members & slots) ? 0 : slots;
}

bool pav_group_slot_used(struct pav_group *g, unsigned int slot)
{
	unsigned int i, n = smp_load_acquire(&g->nsets);

	for (i = 0; i < n; i++)
		if (atomic_read(&g->sets[i]->segments) && (g->sets[i]->members & BIT_ULL(slot)))
			return true;
	return false;
}

/* One more, or one less (@by), of the set's segments lacks @slots. */
static void loss_count(struct pav_set *set, u64 slots, int by)
{
	struct pav_loss *l = NULL;
	unsigned int i;

	if (!slots)
		return;
	for (i = 0; i < PAV_LOSSES && !l; i++)
		if (set->loss[i].segments && set->loss[i].slots == slots)
			l = &set->loss[i];
	for (i = 0; i < PAV_LOSSES && !l; i++)
		if (!set->loss[i].segments && by > 0)
			l = &set->loss[i];
	/* More kinds than are told apart: the last holds the sum of what it has met. Rather too careful than not enough. */
	if (!l)
		l = &set->loss[PAV_LOSSES - 1];
	l->slots = l->segments ? l->slots | slots : slots;
	l->segments += by;
}

/* Lock held. */
static bool set_lacks(struct pav_group *g, struct pav_set *set, u32 seg, u64 is)
{
	u64 was = g->lacks[seg];

	lockdep_assert_held(&g->lock);
	if (is == was)
		return false;
	loss_count(set, was, -1);
	loss_count(set, is, 1);
	g->lacking += !!is - !!was;
	WRITE_ONCE(g->lacks[seg], is);
	return true;
}

bool pav_group_lack(struct pav_group *g, struct pav_set *set, u32 seg, u64 clear, u64 add)
{
	unsigned long flags;
	bool changed;

	spin_lock_irqsave(&g->lock, flags);
	changed = set_lacks(g, set, seg, (g->lacks[seg] & ~clear) | (add & set->members));
	spin_unlock_irqrestore(&g->lock, flags);
	return changed;
}

bool pav_group_rebuilt(struct pav_group *g, struct pav_set *set, u32 seg, u64 slots, u32 losses)
{
	unsigned long flags;
	bool changed;

	spin_lock_irqsave(&g->lock, flags);
	changed = g->losses == losses && set_lacks(g, set, seg, g->lacks[seg] & ~slots);
	spin_unlock_irqrestore(&g->lock, flags);
	return changed;
}

void pav_group_write(struct pav_group *g, unsigned int slot, struct pav_io *io, u64 block, unsigned int cells, void *buf)
{
	if (unlikely(READ_ONCE(g->faulted))) {
		io->error = -EIO;
		io->done(io);
		return;
	}
	if (unlikely(!pav_owner_holds(&g->owner))) {
		pav_owner_hold(g, slot, io, block, cells, buf);
		return;
	}
	pav_drive_io(&g->drives[slot], io, PAV_IO_WRITE, block, cells, buf);
}

unsigned int pav_group_needed(const struct pav_group *g)
{
	unsigned int slot, members = 0, most;

	for (slot = 0; slot < g->slots; slot++) {
		enum pav_drive_state state = READ_ONCE(g->drives[slot].state);

		members += state != PAV_DRIVE_EMPTY && state != PAV_DRIVE_SPARE && !(READ_ONCE(g->durable_gone) & BIT_ULL(slot));
	}
	/* Half of four: 2+2 without two. */
	most = members <= 4 ? DIV_ROUND_UP(members, 2) : members / 2 + 1;
	return max_t(unsigned int, most, min_t(u32, g->data_drives, members > 2 ? members - 2 : 0));
}

bool pav_group_too_few(struct pav_group *g, u64 gone)
{
	unsigned int slot, left = 0, writable = 0, missing = 0;

	for (slot = 0; slot < g->slots; slot++) {
		enum pav_drive_state state = READ_ONCE(g->drives[slot].state);
		bool is_gone = gone & BIT_ULL(slot);

		writable += state == PAV_DRIVE_ACTIVE && !is_gone;
		missing += (state == PAV_DRIVE_ACTIVE && is_gone) || state == PAV_DRIVE_FAILED;
		if (state == PAV_DRIVE_EMPTY || state == PAV_DRIVE_SPARE || (g->durable_gone & BIT_ULL(slot)))
			continue;
		left += !is_gone;
	}
	/* Data may be all there, and yet there are too few drives for a stripe that survives as it is, or with two missing. */
	if (writable + min_t(unsigned int, missing, 2) < PAV_MIN_WIDTH)
		return true;
	return left < pav_group_needed(g) || pav_group_worst_loss(g, gone) > 2;
}

void pav_group_record_losses(struct pav_group *g)
{
	unsigned long flags;

	spin_lock_irqsave(&g->lock, flags);
	/* A group that is being let go of has had its last commit. */
	if (!g->closing)
		pav_work_queue(g->worker, &g->failure_work);
	spin_unlock_irqrestore(&g->lock, flags);
}

void pav_group_fail_drive(struct pav_group *g, unsigned int slot, enum pav_loss_reason why_gone, const char *why)
{
	bool news = false, faulted = false;
	unsigned long flags;

	spin_lock_irqsave(&g->lock, flags);
	/* Of a faulted group nothing is recorded any more. */
	if (!g->faulted && !(g->gone & BIT_ULL(slot))) {
		news = true;
		g->drives[slot].away = why_gone == PAV_LOSS_AWAY;
		g->drives[slot].failed_ns = g->loss_ns = pav_now_ns();
		g->drives[slot].by_hand = why_gone == PAV_LOSS_BY_HAND;
		WRITE_ONCE(g->losses, g->losses + 1);
		WRITE_ONCE(g->gone, g->gone | BIT_ULL(slot));
		if (!g->faulted && pav_group_too_few(g, g->gone)) {
			faulted = true;
			WRITE_ONCE(g->faulted, true);
		}
	}
	/* Its I/O failed first, and now it is seen why: it did nothing wrong. But not if it failed first, and was pulled for that later. */
	if (why_gone == PAV_LOSS_AWAY && !g->drives[slot].by_hand && pav_now_ns() - g->drives[slot].failed_ns < PAV_AWAY_NS)
		g->drives[slot].away = true;
	spin_unlock_irqrestore(&g->lock, flags);
	if (!news)
		return;
	pav_reached("drive failed at run time");
	pav_log(PAV_ERR, "%s: drive %u (%s) failed: %s", g->name, slot, g->drives[slot].path, why);
	pav_group_event(g, PAV_EVENT_DRIVE_FAILED, slot, 0, why);
	if (faulted) {
		pav_reached("third loss at run time");
		pav_log(PAV_ERR, "%s: a third drive is gone: the group is faulted, all I/O is refused, nothing more is written", g->name);
		pav_group_event(g, PAV_EVENT_GROUP_FAULTED, slot, hweight64(READ_ONCE(g->gone)), "a third drive is gone");
	} else {
		pav_group_event(g, PAV_EVENT_GROUP_DEGRADED, slot, hweight64(READ_ONCE(g->gone)), "a drive is gone");
	}
	pav_group_record_losses(g);
}

void pav_group_io_failed(struct pav_group *g, unsigned int slot, const struct pav_io *io, const char *why)
{
	atomic64_inc(&g->drives[slot].errors);
	if (io->dev == READ_ONCE(g->drives[slot].dev))
		pav_group_fail_drive(g, slot, io->error == -ENODEV ? PAV_LOSS_AWAY : PAV_LOSS_ERRED, why);
}

/* Where another is lost already, a drive that can be read in part, or late, is worth more than none. Lock held. */
static bool can_do_without(struct pav_group *g, unsigned int slot)
{
	lockdep_assert_held(&g->lock);
	return !(g->gone & BIT_ULL(slot)) && pav_group_worst_loss(g, g->gone | BIT_ULL(slot)) <= 1;
}

void pav_group_cell_bad(struct pav_group *g, unsigned int slot)
{
	unsigned int limit = READ_ONCE(pav_error_limit);
	struct pav_drive *d = &g->drives[slot];
	unsigned long flags;
	bool enough;

	spin_lock_irqsave(&g->lock, flags);
	if (pav_now_ns() - d->bad_since_ns >= PAV_ERROR_WINDOW_NS) {
		d->bad_since_ns = pav_now_ns();
		d->bad = 0;
	}
	enough = ++d->bad > limit && limit && can_do_without(g, slot);
	spin_unlock_irqrestore(&g->lock, flags);
	if (enough) {
		pav_reached("drive failed for its many errors");
		pav_group_fail_drive(g, slot, PAV_LOSS_ERRED, "too much of what it reads is wrong, or cannot be read");
	}
}

void pav_group_stalls(struct pav_group *g, unsigned int slot, unsigned int seconds)
{
	unsigned long flags;
	char text[96];
	bool enough;

	spin_lock_irqsave(&g->lock, flags);
	enough = can_do_without(g, slot);
	spin_unlock_irqrestore(&g->lock, flags);
	if (!enough) {
		pav_reached("a drive that stalls is kept: another is missing");
		pav_log(PAV_WARN, "%s: drive %u (%s) stalls, for %u s now; it is kept, since another is missing", g->name, slot, g->drives[slot].path, seconds);
		return;
	}
	pav_reached("drive failed because it stalls");
	scnprintf(text, sizeof(text), "it stalls: for %u s it has not read and written one block, while the others did", seconds);
	pav_group_fail_drive(g, slot, PAV_LOSS_ERRED, text);
}

void pav_group_verified(struct pav_group *g)
{
	unsigned long flags;
	unsigned int slot;

	spin_lock_irqsave(&g->lock, flags);
	for (slot = 0; slot < PAV_MAX_DRIVES; slot++)
		g->drives[slot].bad = 0;
	spin_unlock_irqrestore(&g->lock, flags);
}

bool pav_group_failure_wait(struct pav_group *g, u64 erased, struct pav_waiter *w)
{
	unsigned long flags;
	bool covered;

	spin_lock_irqsave(&g->lock, flags);
	covered = !(erased & ~g->durable_gone) || g->faulted;
	if (!covered)
		list_add_tail(&w->link, &g->waits);
	spin_unlock_irqrestore(&g->lock, flags);
	/* The failure may have been met at open, and not be recorded yet. */
	if (!covered)
		pav_group_record_losses(g);
	return covered;
}

/* Makes every failure up to now durable, then lets those go that waited for it. */
static void failure_work(struct pav_work *work)
{
	struct pav_group *g = container_of(work, struct pav_group, failure_work);
	struct list_head ready;
	struct pav_waiter *w, *next;
	unsigned long flags;

	INIT_LIST_HEAD(&ready);
	pav_group_commit(g, PAV_COMMIT_DRIVES, NULL, NULL);
	spin_lock_irqsave(&g->lock, flags);
	/* All that wait did so before their drives went into durable_gone, or the group is faulted: a waiter whose drive failed during the commit
	 * finds itself here again through the work that pav_group_fail_drive() queued; letting it go early would break I4.
	 */
	if (g->faulted || g->gone == g->durable_gone)
		list_splice_init(&g->waits, &ready);
	spin_unlock_irqrestore(&g->lock, flags);
	list_for_each_entry_safe(w, next, &ready, link) {
		list_del(&w->link);
		w->fn(w);
	}
	pav_group_changed(g);
}

struct sb_commit {
	struct pav_group *g;
	atomic_t pending;
	struct completion all;
};

static void sb_written(struct pav_io *io)
{
	struct sb_commit *c = io->ctx;

	if (atomic_dec_and_test(&c->pending))
		complete(&c->all);
}

static void sb_from_group(struct pav_group *g, struct pav_d_superblock *sb)
{
	unsigned int slot;
	unsigned long flags;

	sb->generation = cpu_to_le64(le64_to_cpu(sb->generation) + 1);
	sb->committed = cpu_to_le64(pav_real_seconds());
	spin_lock_irqsave(&g->lock, flags);
	for (slot = 0; slot < g->slots; slot++) {
		struct pav_drive *d = &g->drives[slot];

		if ((g->gone & BIT_ULL(slot)) && d->state != PAV_DRIVE_EMPTY) {
			WRITE_ONCE(d->state, PAV_DRIVE_FAILED);
			WRITE_ONCE(g->leaving, g->leaving & ~BIT_ULL(slot));
		}
	}
	spin_unlock_irqrestore(&g->lock, flags);
	sb->slots = cpu_to_le16(g->slots);
	sb->data_drives = cpu_to_le16(g->data_drives);
	sb->scrub_left = cpu_to_le32(READ_ONCE(g->scrub.left));
	sb->scrub_started = cpu_to_le64(READ_ONCE(g->scrub.started));
	sb->scrub_finished = cpu_to_le64(READ_ONCE(g->scrub.finished));
	sb->scrub_healed = cpu_to_le64(READ_ONCE(g->scrub.healed));
	for (slot = 0; slot < g->slots; slot++) {
		struct pav_drive *d = &g->drives[slot];
		struct pav_d_member *m = &sb->members[slot];

		memcpy(m->uuid, d->uuid, sizeof(m->uuid));
		m->state = d->state;
		m->away = d->state == PAV_DRIVE_FAILED && d->away;
		m->last_generation = d->state == PAV_DRIVE_FAILED ? cpu_to_le64(d->generation) : 0;
		memcpy(m->path, d->path, sizeof(m->path));
	}
}

int pav_group_commit(struct pav_group *g, enum pav_commit what, void (*change)(void *ctx, struct pav_d_superblock *sb), void *ctx)
{
	unsigned int slot, tries = 0;
	unsigned long flags;
	struct sb_commit c;
	int error = -EIO;

	mutex_lock(&g->commit_lock);
	if (change)
		change(ctx, g->sb);
	while (tries++ <= PAV_SB_RETRIES && !READ_ONCE(g->faulted)) {
		u64 covered, targets = 0, missed = 0;

		spin_lock_irqsave(&g->lock, flags);
		covered = g->gone;
		spin_unlock_irqrestore(&g->lock, flags);
		sb_from_group(g, g->sb);
		if (g->fill)
			g->fill(g->log, g->sb, what);
		/* With those of the segments that were listed just now. */
		for (slot = 0; slot < smp_load_acquire(&g->nsets); slot++)
			g->sb->sets[slot] = cpu_to_le64(READ_ONCE(g->sets[slot])->members);
		c.g = g;
		init_completion(&c.all);
		atomic_set(&c.pending, 1);
		for (slot = 0; slot < g->slots; slot++) {
			struct pav_drive *d = &g->drives[slot];
			struct pav_io *io = &g->sb_io[slot];
			struct pav_d_superblock *cell = g->sb_cells[slot];

			if (!d->dev || (covered & BIT_ULL(slot)) || d->state == PAV_DRIVE_EMPTY || d->state == PAV_DRIVE_FAILED)
				continue;
			*cell = *g->sb;
			cell->slot = cpu_to_le16(slot);
			memcpy(cell->drive_uuid, d->uuid, sizeof(cell->drive_uuid));
			pav_seal(cell, offsetof(struct pav_d_superblock, crc));
			targets |= BIT_ULL(slot);
			io->done = sb_written;
			io->ctx = &c;
			atomic_inc(&c.pending);
			/* Never over its newest, whatever the others have: should this one be torn, that must stay. */
			pav_group_write(g, slot, io, PAV_SB_CELL(!d->sb_slot), 1, cell);
		}
		if (atomic_dec_and_test(&c.pending))
			complete(&c.all);
		wait_for_completion(&c.all);
		for (slot = 0; slot < g->slots; slot++)
			if ((targets & BIT_ULL(slot)) && g->sb_io[slot].error) {
				pav_reached("superblock write failed");
				missed |= BIT_ULL(slot);
				pav_group_io_failed(g, slot, &g->sb_io[slot], "superblock write failed");
			} else if (targets & BIT_ULL(slot)) {
				g->drives[slot].generation = le64_to_cpu(g->sb->generation);
				g->drives[slot].sb_slot = !g->drives[slot].sb_slot;
			}
		if (missed)
			continue;
		/* Another host may have read the superblocks before these reached them. */
		if (!pav_owner_wait(g))
			break;
		spin_lock_irqsave(&g->lock, flags);
		g->durable_gone |= covered;
		spin_unlock_irqrestore(&g->lock, flags);
		/* This generation is complete: whoever has it, or a later one, has missed nothing. */
		g->sb->admit_generation = g->sb->generation;
		atomic64_inc(&g->commits);
		error = 0;
		break;
	}
	if (g->filled)
		g->filled(g->log, what, error);
	mutex_unlock(&g->commit_lock);
	return error;
}

int pav_group_init(struct pav_group *g, const struct pav_d_superblock *sb, const struct pav_open_params *p)
{
	unsigned int slot;

	spin_lock_init(&g->lock);
	mutex_init(&g->commit_lock);
	INIT_LIST_HEAD(&g->waits);
	INIT_LIST_HEAD(&g->recon_free);
	INIT_LIST_HEAD(&g->recon_waiters);
	pav_work_init(&g->failure_work, failure_work);
	memcpy(g->name, sb->name, sizeof(g->name));
	memcpy(g->uuid, sb->group_uuid, sizeof(g->uuid));
	g->created = le64_to_cpu(sb->created);
	g->segment_blocks = le32_to_cpu(sb->segment_blocks);
	g->segments = le32_to_cpu(sb->segments);
	g->data_drives = le16_to_cpu(sb->data_drives);
	g->slots = le16_to_cpu(sb->slots);
	g->reserve_percent = le16_to_cpu(sb->reserve_percent);
	g->scrub.left = le32_to_cpu(sb->scrub_left);
	g->scrub.started = le64_to_cpu(sb->scrub_started);
	g->scrub.finished = le64_to_cpu(sb->scrub_finished);
	g->scrub.healed = le64_to_cpu(sb->scrub_healed);
	g->impl = pav_raid6_select(NULL);
	g->ops = p->ops;
	g->host = p->host;
	for (slot = 0; slot < g->slots; slot++) {
		const struct pav_d_member *m = &sb->members[slot];
		struct pav_drive *d = &g->drives[slot];

		memcpy(d->uuid, m->uuid, sizeof(d->uuid));
		d->state = m->state;
		d->away = m->away;
		d->generation = le64_to_cpu(m->last_generation);
		memcpy(d->path, m->path, sizeof(d->path));
		d->path[sizeof(d->path) - 1] = '\0';
		if (m->state == PAV_DRIVE_FAILED || m->state == PAV_DRIVE_EMPTY)
			g->gone |= BIT_ULL(slot);
		if (m->state == PAV_DRIVE_LEAVING)
			g->leaving |= BIT_ULL(slot);
	}
	g->durable_gone = g->gone;
	g->loss_ns = pav_now_ns();
	g->sb = pav_alloc_cells(1);
	/* With room for drives that join. */
	g->sb_io = pav_alloc(sizeof(*g->sb_io) * PAV_MAX_DRIVES);
	g->lacks = pav_alloc(sizeof(*g->lacks) * g->segments);
	if (!g->sb || !g->sb_io || !g->lacks)
		return -ENOMEM;
	*g->sb = *sb;
	for (slot = 0; slot < PAV_MAX_DRIVES; slot++) {
		g->sb_cells[slot] = pav_alloc_cells(1);
		if (!g->sb_cells[slot])
			return -ENOMEM;
	}
	/* In the order of their indices: locations name them by index. */
	for (slot = 0; slot < PAV_MAX_SETS && sb->sets[slot]; slot++) {
		struct pav_set *set = pav_group_set(g, le64_to_cpu(sb->sets[slot]));

		if (!set)
			return -ENOMEM;
		pav_group_put_set(g, set);
	}
	g->worker = pav_worker_create("group");
	g->recon_worker = pav_worker_create("rebuild");
	if (!g->worker || !g->recon_worker)
		return -ENOMEM;
	return pav_recon_pool_init(g);
}

void pav_group_last_record(struct pav_group *g)
{
	unsigned long flags;

	if (!g->worker)
		return;
	spin_lock_irqsave(&g->lock, flags);
	g->closing = true;
	spin_unlock_irqrestore(&g->lock, flags);
	pav_work_flush(g->worker);
}

void pav_group_free(struct pav_group *g)
{
	unsigned int i;

	pav_owner_release(g);
	if (g->worker)
		pav_worker_destroy(g->worker);
	if (g->recon_worker)
		pav_worker_destroy(g->recon_worker);
	pav_recon_pool_free(g);
	for (i = 0; i < g->nsets; i++)
		pav_free(g->sets[i]);
	while (g->retired) {
		struct pav_set *set = g->retired;

		g->retired = set->retired;
		pav_free(set);
	}
	for (i = 0; i < PAV_MAX_DRIVES; i++)
		if (g->sb_cells[i])
			pav_free_cells(g->sb_cells[i], 1);
	pav_free(g->lacks);
	pav_free(g->sb_io);
	if (g->sb)
		pav_free_cells(g->sb, 1);
}
