// SPDX-License-Identifier: GPL-2.0
/*
 * The owner stamp: see owner.h. First the owner's rounds, then taking a group over.
 *
 * In pseudo-code:
 *
 *	every interval, on the next few drives		(on all of them, when not sure)
 *		read the stamp;		another's, of our epoch or a later one?	lost: fault the group
 *		write the next one
 *	sure_until = when the oldest of the newest rounds on a quorum of drives began + fence
 *
 *	to open:	watch until a fence and a margin have passed without a change	(refuse if there is one)
 *			read all; write all; wait; read all: ours alone?		(refuse if not)
 */
#include "group.h"

#define MS		1000000ULL
#define DEFAULT_MS	1000u
#define CLAIM_TRIES	16u
#define SEIZE_TRIES	4u
#define WATCH_TRIES	4u

enum { STEP_IDLE, STEP_READING, STEP_READ, STEP_WRITING, STEP_WRITTEN };

/* A stamp is in time if it was written within this of the beginning of the read before … */
static u64 window(const struct pav_owner *o)
{
	return o->interval_ns / 2;
}

/* … and is looked at again when this has passed: the longest a rival may take, and a margin. */
static u64 gap(const struct pav_owner *o)
{
	return window(o) + o->interval_ns / 4;
}

static bool is_ours(const struct pav_owner *o, const struct pav_d_owner *d)
{
	return !memcmp(d->instance, o->stamp.instance, sizeof(d->instance));
}

/* Is @cell a stamp of this group? */
static bool is_stamp(const struct pav_group *g, const struct pav_d_owner *cell)
{
	bool blank;

	return !pav_owner_check(cell, &blank) && !memcmp(cell->group_uuid, g->uuid, sizeof(g->uuid));
}

static bool usable(struct pav_group *g, unsigned int slot)
{
	return g->drives[slot].dev && !(READ_ONCE(g->gone) & BIT_ULL(slot));
}

/* Is what is known of the slot's stamp about the drive that has it now? */
static bool counts(struct pav_group *g, unsigned int slot)
{
	return usable(g, slot) && g->owner.drives[slot].dev == READ_ONCE(g->drives[slot].dev);
}

/*
 * So many drives must take a stamp for a beat to count. Who would open the group must see pav_group_needed() of those that the superblocks do not call
 * failed; so he sees one of these at least. But all there are is always enough: of four drives, two may be lost, and the superblocks that are to say so wait
 * for the lease.
 */
static unsigned int owner_quorum(struct pav_group *g)
{
	unsigned int slot, left = 0, here = 0, needed = pav_group_needed(g);

	for (slot = 0; slot < g->slots; slot++) {
		left += !(READ_ONCE(g->durable_gone) & BIT_ULL(slot)) && READ_ONCE(g->drives[slot].state) != PAV_DRIVE_EMPTY;
		here += usable(g, slot);
	}
	return min(max(here, 1u), left < needed ? left : left - needed + 1);
}

static void fill_stamp(struct pav_owner *o, struct pav_d_owner *cell)
{
	*cell = o->stamp;
	cell->written = cpu_to_le64(pav_real_seconds());
	pav_seal(cell, offsetof(struct pav_d_owner, crc));
}

/* ---- what waits ---- */

static void let_go(struct pav_group *g)
{
	struct pav_owner *o = &g->owner;
	struct list_head held, waits;
	struct pav_waiter *w, *next_w;
	struct pav_io *io, *next_io;
	unsigned long flags;

	INIT_LIST_HEAD(&held);
	INIT_LIST_HEAD(&waits);
	spin_lock_irqsave(&o->lock, flags);
	list_splice_init(&o->held, &held);
	list_splice_init(&o->waits, &waits);
	spin_unlock_irqrestore(&o->lock, flags);
	list_for_each_entry_safe(io, next_io, &held, held) {
		list_del(&io->held);
		pav_group_write(g, io->error, io, io->block, io->cells, io->buf);
	}
	list_for_each_entry_safe(w, next_w, &waits, link) {
		list_del(&w->link);
		w->fn(w);
	}
}

void pav_owner_hold(struct pav_group *g, unsigned int slot, struct pav_io *io, u64 block, unsigned int cells, void *buf)
{
	struct pav_owner *o = &g->owner;
	unsigned long flags;
	bool keep;

	io->block = block;
	io->cells = cells;
	io->buf = buf;
	io->error = slot;	/* until it is submitted */
	spin_lock_irqsave(&o->lock, flags);
	keep = !READ_ONCE(g->faulted) && !pav_owner_holds(o);
	if (keep)
		list_add_tail(&io->held, &o->held);
	spin_unlock_irqrestore(&o->lock, flags);
	if (!keep)
		pav_group_write(g, slot, io, block, cells, buf);
	else
		pav_reached("write held until the group is known to be ours");
}

bool pav_owner_sure(struct pav_group *g, struct pav_waiter *w)
{
	struct pav_owner *o = &g->owner;
	unsigned long flags;
	bool now;

	if (likely(pav_owner_holds(o)))
		return true;
	spin_lock_irqsave(&o->lock, flags);
	now = pav_owner_holds(o) || READ_ONCE(o->lost);
	if (!now) {
		pav_reached("acknowledgement held until the group is known to be ours");
		list_add_tail(&w->link, &o->waits);
		/* With the lock, see pav_owner_release(): who waits may be answered by a round that is under way. */
		pav_work_queue(o->worker, &o->work);
	}
	spin_unlock_irqrestore(&o->lock, flags);
	return now;
}

struct owner_asleep {
	struct pav_waiter wait;
	struct completion done;
};

static void owner_wake(struct pav_waiter *w)
{
	complete(&container_of(w, struct owner_asleep, wait)->done);
}

bool pav_owner_wait(struct pav_group *g)
{
	struct owner_asleep a = { .wait.fn = owner_wake };

	init_completion(&a.done);
	if (!pav_owner_sure(g, &a.wait))
		wait_for_completion(&a.done);
	return !READ_ONCE(g->owner.lost);
}

/* ---- rounds ---- */

static void step_done(struct pav_io *io)
{
	struct pav_owner_drive *d = container_of(io, struct pav_owner_drive, io);
	struct pav_owner *o = io->ctx;

	if (d->step == STEP_WRITING)
		d->ended = pav_now_ns();
	smp_store_release(&d->step, d->step + 1);
	pav_work_queue(o->worker, &o->work);
	/* Last: the worker may have seen the step, and somebody wait to free it all. */
	atomic_dec(&o->in_flight);
}

static void step_io(struct pav_group *g, unsigned int slot, unsigned int step, enum pav_io_op op)
{
	struct pav_owner_drive *d = &g->owner.drives[slot];

	d->step = step;
	d->io.done = step_done;
	d->io.ctx = &g->owner;
	atomic_inc(&g->owner.in_flight);
	pav_drive_io(&g->drives[slot], &d->io, op, PAV_OWNER_CELL, 1, d->cell);
}

/* Another host has the group. It is said before requests begin to fail of it. */
static void owner_lost(struct pav_group *g, const struct pav_d_owner *other)
{
	struct pav_owner *o = &g->owner;
	unsigned long flags;
	char text[160];
	bool news = !READ_ONCE(g->faulted);

	if (news) {
		pav_reached("the group was taken over by another host");
		scnprintf(text, sizeof(text), "host %s has taken the group over; nothing more is written here: export it", other->host_name);
		pav_log(PAV_ERR, "%s: %s", g->name, text);
		pav_group_event(g, PAV_EVENT_OWNER_LOST, -1, le64_to_cpu(other->epoch), text);
	}
	spin_lock_irqsave(&g->lock, flags);
	WRITE_ONCE(g->faulted, true);
	spin_unlock_irqrestore(&g->lock, flags);
	WRITE_ONCE(o->lost, true);
	if (!news)
		return;
	pav_group_event(g, PAV_EVENT_GROUP_FAULTED, -1, 0, text);
	pav_group_record_losses(g);
}

/*
 * A drive that comes home, or joins, may bring a stamp of an epoch that is not before ours: of an owner from before that was the last to see it, while we took
 * over from drives that had missed that one. A living owner's changes: so the first look only takes note of it.
 */
static bool is_brought(const struct pav_owner_drive *d)
{
	return d->brought_beat && le64_to_cpu(d->cell->beat) == d->brought_beat && !memcmp(d->cell->instance, d->brought, sizeof(d->brought));
}

/* The read of a round is back. True: go on and write. */
static bool judge(struct pav_group *g, struct pav_owner_drive *d)
{
	struct pav_owner *o = &g->owner;
	bool valid = !d->io.error && is_stamp(g, d->cell);

	d->ours = valid && is_ours(o, d->cell);
	if (valid && d->fresh) {
		d->fresh = false;
		if (!d->ours) {
			memcpy(d->brought, d->cell->instance, sizeof(d->brought));
			d->brought_beat = le64_to_cpu(d->cell->beat);
			return false;
		}
	}
	if (d->ours && le64_to_cpu(d->cell->beat) == d->beat) {
		if (d->chain && d->begun >= d->ended + gap(o))
			d->proved = d->chain;
	} else if (d->ours) {
		/* One of ours, but not the last: a write was lost. It is ours all the same; it proves nothing. */
		pav_reached("owner stamp older than written");
	} else if (valid && is_brought(d)) {
		pav_reached("owner stamp that a drive brought");
	} else if (valid && le64_to_cpu(d->cell->epoch) >= le64_to_cpu(o->stamp.epoch)) {
		owner_lost(g, d->cell);
		return false;
	} else if (valid) {
		pav_reached("owner stamp of an earlier owner found");	/* his last write came late: ours has the higher epoch */
	} else {
		pav_reached("owner stamp unreadable");
	}
	return true;
}

/* True: the drive is busy. */
static bool advance(struct pav_group *g, unsigned int slot)
{
	struct pav_owner *o = &g->owner;
	struct pav_owner_drive *d = &o->drives[slot];
	unsigned int step = smp_load_acquire(&d->step);

	if (step == STEP_READ) {
		if (READ_ONCE(g->faulted) || !usable(g, slot) || !judge(g, d)) {
			d->step = STEP_IDLE;
			return false;
		}
		fill_stamp(o, d->cell);
		d->beat = le64_to_cpu(o->stamp.beat);
		step_io(g, slot, STEP_WRITING, PAV_IO_WRITE);
		return true;
	}
	if (step == STEP_WRITTEN) {
		d->chain = 0;
		if (d->io.error) {
			d->beat = 0;
			pav_group_io_failed(g, slot, &d->io, "its owner stamp cannot be written");
		} else if (d->ours) {
			d->kept = d->begun;
			d->chain = d->ended - d->begun <= window(o) ? d->begun : 0;
		}
		d->step = STEP_IDLE;
		return false;
	}
	return step != STEP_IDLE;
}

/* A spare has taken over, and a round that began where it sat before is still on its way to it: its stamp is not to race with the next one. */
static bool asked_elsewhere(struct pav_group *g, unsigned int slot)
{
	struct pav_owner *o = &g->owner;
	unsigned int other;

	for (other = 0; other < g->slots; other++)
		if (other != slot && o->drives[other].step != STEP_IDLE && o->drives[other].dev == o->drives[slot].dev)
			return true;
	return false;
}

/* Starts rounds: on the next drives in turn; on all, if there is something to be proved. */
static void beat(struct pav_group *g)
{
	struct pav_owner *o = &g->owner;
	unsigned int n = max_t(unsigned int, owner_quorum(g), 3), i;
	bool all = !pav_owner_holds(o);
	u64 now = pav_now_ns();

	o->stamp.beat = cpu_to_le64(le64_to_cpu(o->stamp.beat) + 1);
	atomic64_inc(&o->beats);
	for (i = 0; i < g->slots && (n || all); i++) {
		unsigned int slot = (o->next + i) % g->slots;
		struct pav_owner_drive *d = &o->drives[slot];

		/* Too early a look proves nothing, and would take the place of one that does. */
		if (d->step == STEP_IDLE && d->dev != READ_ONCE(g->drives[slot].dev)) {
			d->dev = READ_ONCE(g->drives[slot].dev);
			d->beat = d->chain = d->kept = d->proved = d->brought_beat = 0;
			d->fresh = true;
		}
		if (!usable(g, slot) || d->step != STEP_IDLE || (all && d->chain && now < d->ended + gap(o)) || asked_elsewhere(g, slot))
			continue;
		d->begun = pav_now_ns();
		step_io(g, slot, STEP_READING, PAV_IO_READ);
		n -= n > 0;
	}
	o->next = (o->next + i) % g->slots;
}

/*
 * Rounds go to every drive in turn, whatever else it has to do: so they tell whether it answers. What is counted are beats, by a clock that stands still while
 * the machine does; and only those that find all other drives answering, asked since. A round that is not done at the next beat may have been unlucky; at the
 * second it is late.
 */
static void find_stalled(struct pav_group *g)
{
	struct pav_owner *o = &g->owner;
	unsigned int limit = READ_ONCE(pav_stall_limit), slot, late = 0, which = 0, seconds;

	for (slot = 0; slot < g->slots; slot++) {
		struct pav_owner_drive *d = &o->drives[slot];

		/* If it is another drive's round, the one that has the slot now is not asked yet. */
		d->waits = d->step != STEP_IDLE && counts(g, slot) ? d->waits + 1 : 0;
		if (d->waits > 1) {
			late++;
			which = slot;
		}
	}
	if (late > 1)
		pav_reached("several drives stall");
	o->alone = late == 1 ? min(o->alone + 1, o->drives[which].waits - 1) : 0;
	/* Where all stall, one may look alone for a beat or two: until the others have been asked, and are late. If it may not be failed: another time. */
	seconds = o->alone + 1;
	if (limit && seconds > 2 && !(seconds % max(limit, 3u)))
		pav_group_stalls(g, which, seconds);
}

static void renew(struct pav_group *g)
{
	struct pav_owner *o = &g->owner;
	unsigned int slot, other, newer, quorum = owner_quorum(g);
	bool was_sure = pav_owner_holds(o);
	u64 since = 0, now;

	/* The latest moment at which, or later, a quorum of rounds began. */
	for (slot = 0; slot < g->slots; slot++) {
		u64 t = was_sure ? o->drives[slot].kept : o->drives[slot].proved;

		if (!counts(g, slot) || t <= since)
			continue;
		for (other = 0, newer = 0; other < g->slots; other++)
			newer += counts(g, other) && (was_sure ? o->drives[other].kept : o->drives[other].proved) >= t;
		if (newer >= quorum)
			since = t;
	}
	now = pav_now_ns();
	/* A lease that ran out while it was looked at is out: what was merely kept does not bring it back. */
	if (since && since + o->fence_ns > max_t(u64, now, o->sure_until) && (!was_sure || now < o->sure_until))
		WRITE_ONCE(o->sure_until, since + o->fence_ns);
	if (pav_owner_holds(o)) {
		if (o->late) {
			pav_reached("the group is still ours after a pause");
			o->late = false;
			pav_log(PAV_WARN, "%s: after %llu ms in which its owner stamp could not be renewed the group is still ours: writes go on", g->name,
				(unsigned long long)((now - o->late_since) / MS));
		}
		let_go(g);
	} else if (!o->late) {
		o->late = true;
		o->late_since = o->sure_until - o->fence_ns;
		atomic64_inc(&o->lates);
		pav_log(PAV_WARN, "%s: the owner stamp was not renewed for %llu ms: writes wait until it is known that no other host has taken the group over",
			g->name, (unsigned long long)((now - o->late_since) / MS));
		pav_group_event(g, PAV_EVENT_OWNER_LATE, -1, (now - o->late_since) / MS, "the owner stamp could not be renewed in time: writes wait");
	}
}

static void owner_work(struct pav_work *work)
{
	struct pav_owner *o = container_of(work, struct pav_owner, work);
	struct pav_group *g = container_of(o, struct pav_group, owner);
	/* Looked at once: who waits for the end must not be told of it in a run that began something. */
	bool tick = atomic_xchg(&o->tick, 0), closing = READ_ONCE(o->closing), busy = false;
	unsigned int slot;

	for (slot = 0; slot < g->slots; slot++)
		busy |= advance(g, slot);
	if (READ_ONCE(g->faulted)) {
		/* Nothing is written any more, stamps included. Once the lease is out another host may come. */
		if (!pav_owner_holds(o))
			WRITE_ONCE(o->lost, true);
		let_go(g);
	} else {
		renew(g);
		if (tick && !closing) {
			find_stalled(g);
			beat(g);
		}
	}
	if (tick && !closing)
		pav_timer_arm(&o->timer, o->interval_ns);
	if (closing && !busy)
		complete(&o->idle);
}

static void owner_tick(struct pav_timer *t)
{
	struct pav_owner *o = container_of(t, struct pav_owner, timer);

	atomic_set(&o->tick, 1);
	pav_work_queue(o->worker, &o->work);
}

void pav_owner_let_go_of(struct pav_group *g, unsigned int slot)
{
	struct pav_owner *o = &g->owner;

	if (!o->started)
		return;
	/* Who still saw the drive has begun his I/O then, or has not. */
	pav_work_flush(o->worker);
	while (smp_load_acquire(&o->drives[slot].step) != STEP_IDLE)
		pav_sleep_ns(100000);
}

/* ---- taking over ---- */

struct owner_seen {
	bool read, valid, ours, late;	/* late: first read when the watch had begun */
	u8 state;
	u64 epoch, beat;
	u8 instance[16];
};

struct owner_watch {
	struct pav_group *g;
	struct owner_seen base[PAV_MAX_DRIVES], now[PAV_MAX_DRIVES];	/* by slot */
	struct pav_d_owner found;	/* the newest of @base that is not ours */
	bool any;			/* there is one */
};

struct owner_batch {
	struct completion done;
	atomic_t pending;
};

static void all_done(struct pav_io *io)
{
	struct owner_batch *b = io->ctx;

	container_of(io, struct pav_owner_drive, io)->ended = pav_now_ns();
	if (atomic_dec_and_test(&b->pending))
		complete(&b->done);
}

/* Reads the stamps of all drives, or writes ours to them. */
static void all_io(struct pav_group *g, enum pav_io_op op)
{
	struct owner_batch b = { .pending = ATOMIC_INIT(1) };
	unsigned int slot;

	init_completion(&b.done);
	if (op == PAV_IO_WRITE)
		g->owner.stamp.beat = cpu_to_le64(le64_to_cpu(g->owner.stamp.beat) + 1);
	for (slot = 0; slot < g->slots; slot++) {
		struct pav_owner_drive *d = &g->owner.drives[slot];

		if (!usable(g, slot))
			continue;
		if (op == PAV_IO_WRITE) {
			fill_stamp(&g->owner, d->cell);
			d->beat = le64_to_cpu(g->owner.stamp.beat);
		}
		d->dev = g->drives[slot].dev;
		d->io.done = all_done;
		d->io.ctx = &b;
		atomic_inc(&b.pending);
		pav_drive_io(&g->drives[slot], &d->io, op, PAV_OWNER_CELL, 1, d->cell);
	}
	if (!atomic_dec_and_test(&b.pending))
		wait_for_completion(&b.done);
}

/* Reads all stamps into @seen; returns how many could be read, whatever they are. */
static unsigned int look(struct owner_watch *w, struct owner_seen *seen)
{
	struct pav_group *g = w->g;
	unsigned int slot, n = 0;

	all_io(g, PAV_IO_READ);
	for (slot = 0; slot < g->slots; slot++) {
		const struct pav_owner_drive *d = &g->owner.drives[slot];
		struct owner_seen *s = &seen[slot];

		memset(s, 0, sizeof(*s));
		s->read = usable(g, slot) && !d->io.error;
		s->valid = s->read && is_stamp(g, d->cell);
		n += s->read;
		if (!s->valid)
			continue;
		s->ours = is_ours(&g->owner, d->cell);
		s->state = d->cell->state;
		s->epoch = le64_to_cpu(d->cell->epoch);
		s->beat = le64_to_cpu(d->cell->beat);
		memcpy(s->instance, d->cell->instance, sizeof(s->instance));
	}
	return n;
}

/* A slot whose stamp is another's and was not there before; -1: none. */
static int changed(struct owner_watch *w)
{
	unsigned int slot;

	for (slot = 0; slot < w->g->slots; slot++) {
		struct owner_seen *a = &w->base[slot], *b = &w->now[slot];

		if (b->read && !a->read) {
			*a = *b;
			a->late = true;
		}
		if (!b->valid || b->ours)
			continue;
		if (!a->valid || a->epoch != b->epoch || a->beat != b->beat || a->state != b->state ||
			 memcmp(a->instance, b->instance, sizeof(a->instance)) != 0)
			return slot;
	}
	return -1;
}

/* On so many drives a beat could not have been missed. */
static unsigned int seen_throughout(const struct owner_watch *w)
{
	unsigned int slot, n = 0;

	for (slot = 0; slot < w->g->slots; slot++)
		n += w->base[slot].read && !w->base[slot].late && w->now[slot].read;
	return n;
}

/* Are stamps of ours on the drives? Then an owner of an earlier epoch that still writes has lost the group: it will find one. */
static bool have_stamps(const struct owner_watch *w)
{
	unsigned int slot;

	for (slot = 0; slot < w->g->slots; slot++)
		if (w->now[slot].ours)
			return true;
	return false;
}

/* The first look, from which changes are counted. */
static int first_look(struct owner_watch *w, struct pav_err *err)
{
	struct pav_group *g = w->g;
	unsigned int slot;

	if (look(w, w->base) < pav_group_needed(g))
		return pav_fail(err, -EIO, "group %s: the owner stamps of too many drives cannot be read", g->name);
	w->any = false;
	for (slot = 0; slot < g->slots; slot++) {
		const struct owner_seen *s = &w->base[slot];

		if (!s->valid || s->ours)
			continue;
		if (w->any && (s->epoch < le64_to_cpu(w->found.epoch) ||
			       (s->epoch == le64_to_cpu(w->found.epoch) && s->beat <= le64_to_cpu(w->found.beat))))
			continue;
		w->found = *g->owner.drives[slot].cell;
		w->any = true;
	}
	return 0;
}

/*
 * Somebody else's stamp among ours. -EAGAIN: it is of an epoch before ours: the old owner has stirred, and will find ours. Watch again: it has lost the group, or
 * shows that it has not. -EBUSY: a rival.
 */
static int rival(struct owner_watch *w, int slot, struct pav_err *err)
{
	const struct pav_d_owner *d = w->g->owner.drives[slot].cell;

	if (w->now[slot].epoch < le64_to_cpu(w->g->owner.stamp.epoch)) {
		pav_reached("the old owner stirred during the claim");
		return -EAGAIN;
	}
	pav_reached("two hosts would open the group at once");
	return pav_fail(err, -EBUSY, "group %s: host %s is opening it just now; see there, or try again", w->g->name, d->host_name);
}

static u64 stamp_interval(const struct owner_watch *w)
{
	return le32_to_cpu(w->found.interval_ms) * MS;
}

/* How long an owner may live on without a change that we would see: its fence, a quarter for clocks that differ, two beats for I/O on its way. */
static u64 watch_time(const struct owner_watch *w)
{
	u64 fence = le32_to_cpu(w->found.fence_ms) * MS;

	return fence + fence / 4 + 2 * stamp_interval(w);
}

/* Watches for @time_ns. -EBUSY: the owner is alive. -EAGAIN: it has just closed the group. */
static int watch(struct owner_watch *w, u64 time_ns, struct pav_err *err)
{
	struct pav_group *g = w->g;
	u64 began = pav_now_ns(), after;
	int slot;

	pav_log(PAV_INFO, "%s: host %s has it open by its owner stamp: watching whether that changes, for %llu ms", g->name, w->found.host_name,
		(unsigned long long)(time_ns / MS));
	while (pav_now_ns() - began < time_ns) {
		pav_sleep_ns(max_t(u64, stamp_interval(w) / 4, 1));
		look(w, w->now);
		slot = changed(w);
		if (seen_throughout(w) < pav_group_needed(g))
			return pav_fail(err, -EIO, "group %s: the owner stamps of too many drives cannot be read", g->name);
		if (slot < 0)
			continue;
		if (w->now[slot].state == PAV_OWNER_CLOSED) {
			pav_reached("closed elsewhere while it was watched");
			return -EAGAIN;
		}
		if (have_stamps(w) && w->now[slot].epoch < le64_to_cpu(g->owner.stamp.epoch)) {
			pav_reached("the old owner stirred once more");
			return -EAGAIN;
		}
		after = (pav_now_ns() - began) / MS;
		pav_reached("open refused: another host has the group");
		return pav_fail(err, -EBUSY,
				"group %s: host %s has it open: its stamp changed within %llu ms. Export it there; to cut that host off: import with takeover",
				g->name, g->owner.drives[slot].cell->host_name, (unsigned long long)after);
	}
	return 0;
}

/*
 * The owner is alive, and is to be cut off. Our stamps, of the next epoch, go onto all drives, and stay there until it has seen one or its lease has run out. Its
 * writes on their way may undo ours: then ours are written again, and the time counts anew.
 */
static int seize(struct owner_watch *w, struct pav_err *err)
{
	struct pav_group *g = w->g;
	struct pav_owner *o = &g->owner;
	unsigned int tries, slot;

	pav_log(PAV_WARN, "%s: taking it over from host %s, as told; waiting %llu ms for that host to stop", g->name, w->found.host_name,
		(unsigned long long)(watch_time(w) / MS));
	for (tries = 0; tries < SEIZE_TRIES; tries++) {
		u64 began;
		bool undone = false;

		all_io(g, PAV_IO_WRITE);
		o->claimed = true;
		began = pav_now_ns();
		while (!undone && pav_now_ns() - began < watch_time(w)) {
			pav_sleep_ns(max_t(u64, stamp_interval(w) / 4, 1));
			look(w, w->now);
			for (slot = 0; slot < g->slots; slot++) {
				const struct owner_seen *s = &w->now[slot];

				if (!s->valid || s->ours)
					continue;
				if (s->epoch >= le64_to_cpu(o->stamp.epoch))
					return rival(w, slot, err);
				undone = true;
			}
		}
		if (!undone) {
			memcpy(w->base, w->now, sizeof(w->base));
			return 0;
		}
		pav_reached("stamp of a takeover undone, and written again");
	}
	return pav_fail(err, -EBUSY, "group %s: host %s does not let go; stop that host, then import again", g->name, w->found.host_name);
}

/* Nobody else has the group, as far as can be seen: makes it ours, if nobody else does the same. */
static int claim(struct owner_watch *w, struct pav_err *err)
{
	struct pav_group *g = w->g;
	struct pav_owner *o = &g->owner;
	unsigned int tries, slot, n, late;
	int other;

	for (tries = 0; tries < CLAIM_TRIES; tries++) {
		u64 began = pav_now_ns(), timely = 0;
		unsigned int need = 0;

		look(w, w->now);
		other = changed(w);
		if (other >= 0)
			return rival(w, other, err);
		all_io(g, PAV_IO_WRITE);
		o->claimed = true;
		for (slot = 0; slot < g->slots; slot++) {
			const struct pav_owner_drive *d = &o->drives[slot];

			need += usable(g, slot);
			if (usable(g, slot) && !d->io.error && d->ended - began <= window(o))
				timely |= BIT_ULL(slot);
		}
		pav_sleep_ns(gap(o));
		look(w, w->now);
		other = changed(w);
		if (other >= 0)
			return rival(w, other, err);
		/* Most of those we see, so that two claims meet; and as many as are needed to open, so that an owner's quorum does. */
		need = max_t(unsigned int, need / 2 + 1, pav_group_needed(g));
		for (slot = 0, n = 0, late = 0; slot < g->slots; slot++) {
			bool there = w->now[slot].ours && w->now[slot].beat == le64_to_cpu(o->stamp.beat);

			n += there;
			late += there && !(timely & BIT_ULL(slot));
		}
		if (n < pav_group_needed(g))
			return pav_fail(err, -EIO, "group %s: the owner stamp could be written to %u drives only; see the kernel's log for the others", g->name,
					n);
		if (n - late >= need && pav_now_ns() - began < o->fence_ns / 2) {
			WRITE_ONCE(o->sure_until, began + o->fence_ns);
			return 0;
		}
		pav_reached("stamps took too long to write");
	}
	return pav_fail(err, -EIO, "group %s: its drives are too slow to be opened safely: %u times a stamp took longer than %llu ms", g->name, CLAIM_TRIES,
			(unsigned long long)(window(o) / MS));
}

static int prepare(struct pav_group *g, const struct pav_open_params *p)
{
	struct pav_owner *o = &g->owner;
	struct pav_d_owner *s = &o->stamp;
	unsigned int slot, ms = p->heartbeat_ms ? p->heartbeat_ms : DEFAULT_MS;

	spin_lock_init(&o->lock);
	INIT_LIST_HEAD(&o->held);
	INIT_LIST_HEAD(&o->waits);
	init_completion(&o->idle);
	pav_work_init(&o->work, owner_work);
	pav_timer_init(&o->timer, owner_tick);
	o->interval_ns = ms * MS;
	o->fence_ns = o->interval_ns * PAV_OWNER_FENCE;
	memcpy(s->magic, PAV_OWNER_MAGIC, sizeof(s->magic));
	s->version = cpu_to_le16(PAV_FORMAT_VERSION);
	s->state = PAV_OWNER_OPEN;
	memcpy(s->group_uuid, g->uuid, sizeof(s->group_uuid));
	memcpy(s->host_id, p->host_id, sizeof(s->host_id));
	memcpy(s->boot_id, p->boot_id, sizeof(s->boot_id));
	pav_make_uuid(s->instance);
	strscpy(s->host_name, p->host_name && p->host_name[0] ? p->host_name : "(unnamed)", sizeof(s->host_name));
	s->interval_ms = cpu_to_le32(ms);
	s->fence_ms = cpu_to_le32(ms * PAV_OWNER_FENCE);
	s->opened = cpu_to_le64(pav_real_seconds());
	/* With room for drives that join. */
	o->drives = pav_alloc(sizeof(*o->drives) * PAV_MAX_DRIVES);
	if (!o->drives)
		return -ENOMEM;
	for (slot = 0; slot < PAV_MAX_DRIVES; slot++) {
		o->drives[slot].cell = pav_alloc_cells(1);
		if (!o->drives[slot].cell)
			return -ENOMEM;
	}
	o->worker = pav_worker_create("owner");
	return o->worker ? 0 : -ENOMEM;
}

/* Did an earlier life of this very machine leave the stamp? Then whoever wrote it is dead. */
static bool our_ghost(const struct pav_d_owner *ours, const struct pav_d_owner *d)
{
	static const u8 untold[16];

	return memcmp(d->host_id, untold, sizeof(untold)) != 0 && !memcmp(d->host_id, ours->host_id, sizeof(d->host_id)) &&
	       memcmp(d->boot_id, ours->boot_id, sizeof(d->boot_id)) != 0;
}

/* One attempt; -EAGAIN: the stamps have changed in a way that calls for another. */
static int take_once(struct owner_watch *w, bool takeover, struct pav_err *err)
{
	struct pav_owner *o = &w->g->owner;
	bool open, ghost, alive = true;
	int error = first_look(w, err);
	u64 epoch;

	if (error)
		return error;
	open = w->any && w->found.state == PAV_OWNER_OPEN;
	ghost = open && our_ghost(&o->stamp, &w->found);
	/* A ghost does not beat. But the clone of a machine may have its id, and is alive: two beats would show it. */
	if (ghost) {
		pav_reached("opened after a crash of this host");
		error = watch(w, 2 * stamp_interval(w) + stamp_interval(w) / 2, err);
		alive = error == -EBUSY;
		if (alive && takeover)
			error = 0;
	} else if (open && !takeover) {
		error = watch(w, watch_time(w), err);
	}
	if (error)
		return error;
	epoch = w->any ? le64_to_cpu(w->found.epoch) + 1 : 1;
	o->stamp.epoch = cpu_to_le64(max_t(u64, epoch, le64_to_cpu(o->stamp.epoch)));
	if (open && alive && takeover)
		error = seize(w, err);
	return error ? error : claim(w, err);
}

static int take(struct owner_watch *w, bool takeover, struct pav_err *err)
{
	unsigned int tries;

	for (tries = 0; tries < WATCH_TRIES; tries++) {
		int error = take_once(w, takeover, err);

		if (error != -EAGAIN)
			return error;
	}
	return pav_fail(err, -EBUSY, "group %s: host %s comes and goes; stop that host, then import again", w->g->name, w->found.host_name);
}

int pav_owner_take(struct pav_group *g, const struct pav_open_params *p, struct pav_err *err)
{
	struct owner_watch *w = pav_alloc(sizeof(*w));
	int error = prepare(g, p);

	if (error || !w) {
		pav_free(w);
		return pav_fail(err, -ENOMEM, "group %s: out of memory", g->name);
	}
	w->g = g;
	error = take(w, p->takeover, err);
	pav_free(w);
	if (error)
		return error;
	/* Whoever had it may have written while we watched. What it left is to be read from the beginning. */
	error = pav_group_unchanged(g);
	if (error) {
		pav_reached("group changed while its stamp was watched");
		return pav_fail(err, error, "group %s: it changed while it was being opened; try again", g->name);
	}
	g->owner.started = true;
	owner_tick(&g->owner.timer);
	return 0;
}

void pav_owner_release(struct pav_group *g)
{
	struct pav_owner *o = &g->owner;
	unsigned long flags;
	unsigned int slot;

	if (o->started) {
		WRITE_ONCE(o->closing, true);
		pav_work_flush(o->worker);
		pav_timer_cancel(&o->timer);
		pav_work_queue(o->worker, &o->work);
		wait_for_completion(&o->idle);
		while (atomic_read(&o->in_flight))
			pav_sleep_ns(10000);
		pav_work_flush(o->worker);
	}
	/* Only what is ours is closed; and to the drives of a faulted group nothing is written. */
	if (o->claimed && !o->lost && pav_owner_holds(o) && !(o->started && g->faulted)) {
		o->stamp.state = PAV_OWNER_CLOSED;
		all_io(g, PAV_IO_WRITE);
	}
	if (o->worker) {
		spin_lock_irqsave(&o->lock, flags);
		spin_unlock_irqrestore(&o->lock, flags);
		pav_worker_destroy(o->worker);
	}
	for (slot = 0; o->drives && slot < PAV_MAX_DRIVES; slot++)
		if (o->drives[slot].cell)
			pav_free_cells(o->drives[slot].cell, 1);
	pav_free(o->drives);
}
