// SPDX-License-Identifier: GPL-2.0
/* Rebuilding and scrubbing: see rebuild.h. */
#include "rebuild.h"

unsigned int pav_rebuild_rate_min = 64, pav_rebuild_rate_max;
bool pav_repair = true;

#define PAV_REBUILD_RETRY_NS	1000000000ULL
#define PAV_EVACUATION_LOOK_NS	5000000000ULL

/* ---- who sits where ---- */

/* From now on every segment that lies on @slot lacks it. */
static void lack_all(struct pav_rebuild *r, unsigned int slot)
{
	u32 i;

	for (i = 0; i < r->g->segments; i++)
		pav_log_lack_in_use(r->log, i, BIT_ULL(slot));
}

/*
 * A drive is seated only when what it lacks is durable, and before the next checkpoint begins: one under way may have written metadata without the drive
 * after its table said what is lacking, and no replay looks at metadata.
 */
int pav_rebuild_take_over(struct pav_rebuild *r, unsigned int slot, unsigned int spare)
{
	int error;

	mutex_lock(&r->ckpt->lock);
	/* Should the power go, the spare is a spare, or it is a member that is known to lack everything. */
	lack_all(r, slot);
	error = pav_checkpoint_locked(r->ckpt, 0, 0);
	if (!error)
		error = pav_group_take_over(r->g, slot, spare);
	mutex_unlock(&r->ckpt->lock);
	if (!error) {
		pav_reached("spare took over");
		pav_rebuild_want(r);
	}
	return error;
}

int pav_rebuild_come_home(struct pav_rebuild *r, unsigned int slot, struct pav_dev *dev)
{
	int error;

	mutex_lock(&r->ckpt->lock);
	error = pav_checkpoint_locked(r->ckpt, 0, 0);
	if (!error)
		error = pav_group_come_home(r->g, slot, dev);
	mutex_unlock(&r->ckpt->lock);
	if (!error) {
		pav_reached("drive came home");
		pav_rebuild_want(r);
	}
	return error;
}

/* Wherever a drive has failed and a spare is there. False: one could not take over now. */
static bool use_spares(struct pav_rebuild *r)
{
	struct pav_group *g = r->g;
	unsigned int slot, spare;
	bool done = true;

	mutex_lock(&r->lock);
	for (slot = 0; slot < g->slots && !READ_ONCE(r->off) && READ_ONCE(pav_repair); slot++) {
		if (READ_ONCE(g->drives[slot].state) != PAV_DRIVE_FAILED)
			continue;
		for (spare = 0; spare < g->slots; spare++)
			if (READ_ONCE(g->drives[spare].state) == PAV_DRIVE_SPARE && !(READ_ONCE(g->gone) & BIT_ULL(spare)))
				break;
		if (spare == g->slots)
			break;
		done = !pav_rebuild_take_over(r, slot, spare);
		if (!done)
			break;
	}
	mutex_unlock(&r->lock);
	return done;
}

/* Slots that are to be empty, and where nothing lies any more. */
static void let_leave(struct pav_rebuild *r)
{
	struct pav_group *g = r->g;
	unsigned int slot;

	mutex_lock(&r->lock);
	for (slot = 0; slot < g->slots && !READ_ONCE(r->off); slot++) {
		struct pav_dev *dev;

		if (g->drives[slot].state != PAV_DRIVE_LEAVING && !READ_ONCE(g->drives[slot].leave))
			continue;
		if (pav_group_slot_used(g, slot) || READ_ONCE(g->faulted))
			continue;
		/* The table on the drives may still call segments in use that have become free since; whoever opens the group goes by that. */
		if (pav_checkpoint_run(r->ckpt) || pav_group_slot_used(g, slot))
			continue;
		/* A segment may have died while the garbage collector reads it. */
		pav_gc_barrier(r->gc);
		/* Who has found something there in the map of before; then what is healed after its reader was answered, or discarded. */
		pav_map_wait_readers(r->map);
		pav_recon_pool_drain(g);
		while (atomic_read(&g->discarding))
			pav_sleep_ns(100000);
		pav_reached("drive left");
		if (pav_group_leave(g, slot, &dev))
			break;
		if (dev && g->ops && g->ops->release)
			g->ops->release(g->host, dev);
	}
	mutex_unlock(&r->lock);
}

/* Another drive was lost meanwhile, or more was written: where the garbage collector has no room left to move anything to, nobody leaves. */
static void call_off_leaving(struct pav_rebuild *r)
{
	struct pav_group *g = r->g;
	unsigned int slot;

	if (!pav_log_leaving_hurts(r->log))
		return;
	mutex_lock(&r->lock);
	for (slot = 0; slot < g->slots && !READ_ONCE(r->off); slot++) {
		struct pav_drive *d = &g->drives[slot];

		if (READ_ONCE(d->state) != PAV_DRIVE_LEAVING)
			continue;
		pav_reached("leaving called off");
		WRITE_ONCE(d->leave, false);
		if (pav_group_leaving(g, slot, false))
			break;
		pav_log(PAV_WARN, "%s: drive %s stays in slot %u: there is no room without it", g->name, d->path, slot);
		pav_group_event(g, PAV_EVENT_DRIVE_JOINED, slot, slot, "it was to leave, and stays: there is no room without it");
	}
	mutex_unlock(&r->lock);
	/* What is opened now is wider. */
	pav_checkpoint_want(r->ckpt);
	pav_gc_want(r->gc);
}

/* ---- one segment ---- */

/* I/O on the drives that is not ours. */
static u64 others_io(struct pav_rebuild *r)
{
	unsigned int slot;
	u64 n = 0;

	for (slot = 0; slot < r->g->slots; slot++)
		n += atomic64_read(&r->g->drives[slot].reads) + atomic64_read(&r->g->drives[slot].writes);
	return n - r->scan.ios;
}

static void pace_begin(struct pav_rebuild *r)
{
	r->pace_start_ns = pav_now_ns();
	r->pace_rows = 0;
}

/* Sleeps as long as it takes not to be faster than allowed. */
static void pace(struct pav_rebuild *r, unsigned int rows)
{
	bool busy = r->pace_others != 0;
	unsigned int rate = busy ? READ_ONCE(pav_rebuild_rate_min) : READ_ONCE(pav_rebuild_rate_max);
	u64 due;

	r->pace_rows += rows;
	if (!rate || READ_ONCE(r->off))
		return;
	due = r->pace_start_ns + r->pace_rows * (1000000000ULL / 256) / rate;
	if (due > pav_now_ns() + 1000000)
		pav_sleep_ns(due - pav_now_ns());
}

/* Does anything point into the stripe? Then it should be whole; if nothing does, it may be torn. */
static bool is_alive(struct pav_rebuild *r, const struct pav_d_stripe *h, const struct pav_stripe_place *at)
{
	unsigned int i, cell = 1;
	bool alive = false;

	for (i = 0; i < le16_to_cpu(h->entries) && !alive; i++) {
		u64 key = le64_to_cpu(h->entry[i].key), lba = pav_key_lba(key), loc;
		struct pav_volume *vol;
		u32 crc, birth;

		if (pav_key_type(key) == PAV_ENTRY_UNMAP)
			continue;
		loc = pav_place_loc(at, cell++);
		if (pav_key_type(key) == PAV_ENTRY_NODE) {
			alive = pav_checkpoint_lies_at(r->ckpt, (u64)pav_key_volume(key) << 56 | lba, loc);
			continue;
		}
		mutex_lock(&r->gc->lock);
		vol = pav_key_volume(key) < PAV_MAX_VOLUMES ? r->map->volumes[pav_key_volume(key)] : NULL;
		alive = vol && vol->state == PAV_VOLUME_LIVE && lba < vol->cells && pav_map_lookup(vol, lba, &crc, &birth) == loc;
		mutex_unlock(&r->gc->lock);
	}
	return alive;
}

static int mend_stripe(void *ctx, const struct pav_d_stripe *h, const struct pav_scan_at *at)
{
	struct pav_rebuild *r = ctx;
	struct pav_mend *m = &r->mend;
	struct pav_task *task = r->task;

	m->column0 = at->c0;
	m->modulus = at->set->n;
	m->first = at->i;
	m->at = pav_stripe_place(at->set, h);
	/* @h may lie in scratch memory that is used from here on. */
	*m->header = *h;
	if (pav_mend_check(m)) {
		pav_mend_write(m, &task->count);
	} else if (is_alive(r, m->header, &m->at)) {
		pav_reached("stripe beyond repair");
		pav_log(PAV_ERR, "%s: segment %u, row %u: more than two cells of a row are lost", r->g->name, at->seg, at->row);
		task->lost++;
		r->lost = true;
	}
	task->bytes += (u64)m->at.rows * m->at.width * PAV_CELL_BYTES;
	task->ns = pav_now_ns() - task->start_ns;
	pace(r, m->at.rows);
	return READ_ONCE(r->off) || READ_ONCE(r->g->faulted) ? -EIO : 0;
}

/* False: interrupted. */
static bool mend_segment(struct pav_rebuild *r, struct pav_task *task, u32 seg)
{
	u32 losses = READ_ONCE(r->g->losses);
	u64 gone = READ_ONCE(r->g->gone), others = others_io(r), lacks = READ_ONCE(r->g->lacks[seg]);
	int error;

	r->seg = seg;
	r->task = task;
	r->lost = false;
	pace_begin(r);
	error = pav_scan_stripes(&r->scan, seg, mend_stripe, r);
	r->pace_others = others_io(r) - others;
	if (error)
		return false;
	if (r->lost)
		__set_bit(seg, r->stuck);
	else
		/* If a drive was lost meanwhile, what was meant for it was skipped, and it may be back: again then. */
		pav_log_rebuilt(r->log, seg, lacks & ~gone, losses);
	return true;
}

/* ---- which ---- */

/* Can anything of what segment @seg lacks be rebuilt: is a drive there? */
static bool wants_rebuild(const struct pav_rebuild *r, u32 seg)
{
	return (READ_ONCE(r->g->lacks[seg]) & ~READ_ONCE(r->g->gone)) && !test_bit(seg, r->stuck);
}

/* How many segments can be rebuilt. */
static u32 rebuildable(struct pav_rebuild *r)
{
	u32 i, n = 0;

	for (i = 0; i < r->g->segments && READ_ONCE(r->g->lacking); i++)
		n += wants_rebuild(r, i);
	return n;
}

/* Holds the segment that misses most, of those that are closed; -1: there is none. */
static s64 hold_most_endangered(struct pav_rebuild *r)
{
	unsigned int worst = 0;
	s64 found = -1;
	u32 i;

	for (i = 0; i < r->g->segments; i++) {
		const struct pav_set *set = READ_ONCE(r->log->seg[i].set);
		unsigned int missing;

		if (!wants_rebuild(r, i))
			continue;
		missing = hweight64(set->members & pav_group_missing(r->g, i));
		if (missing > worst && pav_log_hold(r->log, i)) {
			if (found >= 0)
				pav_log_let_go(r->log, found);
			worst = missing;
			found = i;
		}
	}
	return found;
}

static void begin(struct pav_task *t, u64 total)
{
	memset(t, 0, sizeof(*t));
	t->total = total;
	t->started = pav_real_seconds();
	t->start_ns = pav_now_ns();
	WRITE_ONCE(t->on, true);
}

static void end(struct pav_task *t)
{
	t->finished = pav_real_seconds();
	WRITE_ONCE(t->on, false);
}

/* Rebuilds what can be. True: something was done. */
static bool rebuild_all(struct pav_rebuild *r)
{
	struct pav_task *t = &r->rebuild;
	unsigned int vain = 0;
	bool any = false;
	u32 left;
	s64 seg;

	while (!READ_ONCE(r->off) && !READ_ONCE(r->g->faulted)) {
		left = rebuildable(r);
		if (!left)
			break;
		if (!t->on) {
			begin(t, left);
			pav_reached("rebuild");
			pav_log(PAV_INFO, "%s: rebuild of %u segments begins", r->g->name, left);
			pav_group_event(r->g, PAV_EVENT_REBUILD_STARTED, -1, left, "segments lack a drive that is there: rebuild begins");
		}
		t->done = t->total > left ? t->total - left : 0;
		seg = hold_most_endangered(r);
		if (seg < 0) {
			/* All that are left are in use. */
			if (vain++ > 2 || pav_checkpoint_leave_segments(r->ckpt, false))
				break;
			continue;
		}
		vain = 0;
		any = true;
		mend_segment(r, t, seg);
		pav_log_let_go(r->log, seg);
		use_spares(r);
	}
	if (!t->on)
		return false;
	/* Until then a crash would have it all to do again, and might find that it cannot: it goes on until it is durable. */
	r->owed |= any;
	if (r->owed && !READ_ONCE(r->off) && !pav_checkpoint_run(r->ckpt))
		r->owed = false;
	if (r->owed && !READ_ONCE(r->off) && !READ_ONCE(r->g->faulted))
		return false;
	end(t);
	left = rebuildable(r);
	if (!r->owed && !left && !READ_ONCE(r->g->faulted)) {
		t->done = t->total;
		pav_log(PAV_INFO, "%s: rebuild is done: %llu blocks written", r->g->name, (unsigned long long)t->count.rebuilt);
		pav_group_event(r->g, PAV_EVENT_REBUILD_DONE, -1, t->count.rebuilt, "rebuild is done");
	}
	return any;
}

/* ---- scrub ---- */

/* False: it was stopped meanwhile, and perhaps asked for anew. Lock held. */
static bool is_wanted_still(const struct pav_rebuild *r)
{
	return r->scrub_wanted && r->scrub_of == r->scrub_asked;
}

/* Notes where the scrub is; false: it is nobody's any more. */
static bool scrub_is_at(struct pav_rebuild *r, u32 left)
{
	bool goes_on;

	mutex_lock(&r->scrub_lock);
	goes_on = is_wanted_still(r);
	if (goes_on)
		WRITE_ONCE(r->g->scrub.left, left);
	mutex_unlock(&r->scrub_lock);
	return goes_on;
}

/* A scrub has been everywhere. The superblocks are renewed too, both copies. */
static void scrub_done(struct pav_rebuild *r)
{
	struct pav_task *t = &r->scrub;
	struct pav_scrub_mark *mark = &r->g->scrub;

	mutex_lock(&r->scrub_lock);
	if (!is_wanted_still(r)) {
		mutex_unlock(&r->scrub_lock);
		return;
	}
	pav_reached("scrub done");
	WRITE_ONCE(r->scrub_wanted, false);
	WRITE_ONCE(mark->left, 0);
	end(t);
	mutex_unlock(&r->scrub_lock);
	WRITE_ONCE(mark->finished, t->finished);
	WRITE_ONCE(mark->healed, t->count.healed);
	t->done = t->total;
	pav_group_verified(r->g);
	if (pav_checkpoint_run(r->ckpt) || pav_group_commit(r->g, PAV_COMMIT_DRIVES, NULL, NULL))
		return;
	pav_log(t->lost ? PAV_ERR : PAV_INFO, "%s: scrub is done: %llu blocks healed, %llu stripes beyond repair", r->g->name,
		(unsigned long long)t->count.healed, (unsigned long long)t->lost);
	pav_group_event(r->g, t->lost ? PAV_EVENT_DATA_LOST : PAV_EVENT_SCRUB_DONE, -1, t->lost ? t->lost : t->count.healed,
			t->lost ? "scrub is done: stripes are beyond repair" : "scrub is done");
}

/* Is there a scrub to be done? @left: from where on. */
static bool scrub_begun(struct pav_rebuild *r, u32 *left)
{
	struct pav_task *t = &r->scrub;
	bool wanted, anew = false;

	mutex_lock(&r->scrub_lock);
	wanted = r->scrub_wanted;
	*left = READ_ONCE(r->g->scrub.left);
	/* Stopped; and perhaps asked for anew, before anybody looked. */
	if (t->on && !is_wanted_still(r))
		end(t);
	if (wanted && !t->on) {
		begin(t, r->g->segments);
		r->scrub_of = r->scrub_asked;
		anew = *left == r->g->segments + 1;
		if (anew)
			WRITE_ONCE(r->g->scrub.started, t->started);
		else
			pav_reached("scrub goes on where it was");
	}
	mutex_unlock(&r->scrub_lock);
	/* What is written from now on is not looked at; all that was written before is, if it can be had. */
	if (anew)
		pav_checkpoint_leave_segments(r->ckpt, true);
	return wanted;
}

/* The next segment of the scrub that was asked for. True: there may be more to do. */
static bool scrub_some(struct pav_rebuild *r)
{
	struct pav_task *t = &r->scrub;
	u32 left;

	if (!scrub_begun(r, &left))
		return false;
	while (left > 1 && !pav_log_hold(r->log, left - 2))
		left--;
	t->done = r->g->segments + 1 - left;
	if (left <= 1) {
		scrub_done(r);
		return true;
	}
	if (scrub_is_at(r, left) && mend_segment(r, t, left - 2))
		scrub_is_at(r, left - 1);
	pav_log_let_go(r->log, left - 2);
	return true;
}

void pav_rebuild_scrub(struct pav_rebuild *r, bool on)
{
	mutex_lock(&r->scrub_lock);
	if (!on) {
		WRITE_ONCE(r->g->scrub.left, 0);
	} else if (!READ_ONCE(r->g->scrub.left)) {
		WRITE_ONCE(r->g->scrub.left, r->g->segments + 1);
		r->scrub_asked++;
	}
	WRITE_ONCE(r->scrub_wanted, on);
	mutex_unlock(&r->scrub_lock);
	pav_rebuild_want(r);
}

/* ---- what no spare takes ---- */

/* Does anything lie on drives that are gone, or are to leave? The garbage collector moves it. */
static bool is_misplaced(struct pav_rebuild *r)
{
	u64 slots = READ_ONCE(r->g->gone) | READ_ONCE(r->g->leaving);
	unsigned int slot;

	for (slot = 0; slot < r->g->slots; slot++)
		if ((slots & BIT_ULL(slot)) && pav_group_slot_used(r->g, slot))
			return true;
	return false;
}

/* In so many ns it is to be moved, or, if that has been so for a while, looked at again. */
static u64 evacuation_due(struct pav_rebuild *r)
{
	u64 since = pav_now_ns() - READ_ONCE(r->g->loss_ns), delay = READ_ONCE(pav_evacuate_delay) * 1000000000ULL;

	return since < delay ? delay - since : PAV_EVACUATION_LOOK_NS;
}

/* What is endangered first. */
static void rebuild_work(struct pav_work *work)
{
	struct pav_rebuild *r = container_of(work, struct pav_rebuild, work);
	bool waits;

	do {
		if (READ_ONCE(r->off) || READ_ONCE(r->g->faulted))
			return;
		call_off_leaving(r);
		let_leave(r);
		waits = !use_spares(r);
		if (r->seats != READ_ONCE(r->g->seats)) {
			r->seats = READ_ONCE(r->g->seats);
			bitmap_zero(r->stuck, r->g->segments);
		}
	} while (rebuild_all(r) || scrub_some(r));
	/* What was refused for want of memory, or of room for a checkpoint, may be granted later. */
	if ((waits || r->owed || rebuildable(r)) && !READ_ONCE(r->off))
		pav_timer_arm(&r->later, PAV_REBUILD_RETRY_NS);
	else if (is_misplaced(r) && !READ_ONCE(r->off))
		pav_timer_arm(&r->later, evacuation_due(r));
}

static void later(struct pav_timer *t)
{
	struct pav_rebuild *r = container_of(t, struct pav_rebuild, later);

	pav_rebuild_want(r);
	if (is_misplaced(r) && !READ_ONCE(r->off))
		pav_gc_want(r->gc);
}

/* ---- life ---- */

void pav_rebuild_want(struct pav_rebuild *r)
{
	if (!READ_ONCE(r->off))
		pav_work_queue(r->worker, &r->work);
}

static void members_changed(void *ctx)
{
	pav_rebuild_want(ctx);
}

void pav_rebuild_start(struct pav_rebuild *r)
{
	WRITE_ONCE(r->off, false);
	r->g->changed_ctx = r;
	WRITE_ONCE(r->g->changed, members_changed);
	r->scrub_wanted = r->g->scrub.left != 0;
	pav_rebuild_want(r);
}

void pav_rebuild_stop(struct pav_rebuild *r)
{
	WRITE_ONCE(r->off, true);
	WRITE_ONCE(r->g->changed, NULL);
	pav_work_flush(r->g->worker);
	pav_work_flush(r->worker);
	pav_timer_cancel(&r->later);
	/* It may have fired before it was cancelled. */
	pav_work_flush(r->worker);
}

int pav_rebuild_init(struct pav_rebuild *r, struct pav_gc *gc)
{
	struct pav_checkpoint *ckpt = gc->ckpt;

	r->gc = gc;
	r->ckpt = ckpt;
	r->g = ckpt->g;
	r->log = ckpt->log;
	r->map = ckpt->map;
	r->off = true;
	mutex_init(&r->lock);
	mutex_init(&r->scrub_lock);
	pav_work_init(&r->work, rebuild_work);
	pav_timer_init(&r->later, later);
	r->worker = pav_worker_create("rebuild");
	r->stuck = pav_alloc(DIV_ROUND_UP(r->g->segments, 64) * 8);
	if (!r->worker || !r->stuck || pav_scan_init(&r->scan, r->log) || pav_mend_init(&r->mend, &r->scan))
		return -ENOMEM;
	r->scan.thorough = true;
	return 0;
}

void pav_rebuild_free(struct pav_rebuild *r)
{
	if (r->worker)
		pav_worker_destroy(r->worker);
	pav_mend_free(&r->mend);
	pav_scan_free(&r->scan);
	pav_free(r->stuck);
}
