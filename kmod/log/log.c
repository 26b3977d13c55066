// SPDX-License-Identifier: GPL-2.0
/*
 * Segments and the replay list. Who may take a free one: space.c.
 *
 * A data segment goes FREE -> RESERVED (in the replay list, so that replay will look there) -> DATA (opened by a stream) -> closed when full ->
 * out of the list with the first checkpoint that covers all its stripes -> FREE again once nothing is alive in it.
 * Metadata segments need no reservation: what an unfinished checkpoint wrote is never looked for.
 */
#include "log.h"

static void seg_dirty(struct pav_log *log, u32 seg)
{
	WRITE_ONCE(log->seg_dirty[seg / PAV_SEGS_PER_NODE], 1);
}

void pav_log_lack(struct pav_log *log, u32 seg, u64 clear, u64 add)
{
	if (pav_group_lack(log->g, log->seg[seg].set, seg, clear, add))
		seg_dirty(log, seg);
}

void pav_log_rebuilt(struct pav_log *log, u32 seg, u64 slots, u32 losses)
{
	if (pav_group_rebuilt(log->g, log->seg[seg].set, seg, slots, losses))
		seg_dirty(log, seg);
}

void pav_log_lack_in_use(struct pav_log *log, u32 seg, u64 slots)
{
	struct pav_segment *s = &log->seg[seg];
	unsigned long flags;

	spin_lock_irqsave(&log->lock, flags);
	if (s->state == PAV_SEG_DATA || s->state == PAV_SEG_META)
		pav_log_lack(log, seg, 0, slots);
	spin_unlock_irqrestore(&log->lock, flags);
}

bool pav_log_seg_usable(const struct pav_stream *s)
{
	const struct pav_group *g = s->log->g;

	return pav_group_usable(s->log->g, s->set->members) && !(READ_ONCE(g->lacks[s->seg]) & ~READ_ONCE(g->gone));
}

void pav_log_live(struct pav_log *log, u64 loc, int delta)
{
	u32 seg = pav_loc_seg(loc);
	struct pav_segment *s = &log->seg[seg];
	int live = atomic_add_return(delta, &s->live);

	/* Of metadata segments the table keeps no count. */
	if (s->state == PAV_SEG_META) {
		atomic64_add(delta, &log->meta_live);
		return;
	}
	seg_dirty(log, seg);
	if (!live && !READ_ONCE(s->open) && !atomic_xchg(&s->dead, 1))
		atomic_inc(&log->dead);
}

void pav_log_seg_free(struct pav_log *log, u32 seg)
{
	struct pav_segment *s = &log->seg[seg];

	lockdep_assert_held(&log->lock);
	if (s->state == PAV_SEG_META)
		log->meta_segs--;
	atomic_dec(&s->set->segments);
	pav_group_lack(log->g, s->set, seg, ~0ULL, 0);
	s->state = PAV_SEG_FREE;
	s->stale = true;
	if (atomic_xchg(&s->dead, 0))
		atomic_dec(&log->dead);
	log->free++;
	seg_dirty(log, seg);
}

void pav_log_encode_segment(struct pav_log *log, u32 seg, struct pav_d_segment *d)
{
	struct pav_segment *s = &log->seg[seg];

	memset(d, 0, sizeof(*d));
	if (s->state != PAV_SEG_DATA && s->state != PAV_SEG_META)
		return;
	d->state = s->state;
	d->members = cpu_to_le64(s->set->members);
	d->seq = cpu_to_le64(s->seq);
	d->live = cpu_to_le32(atomic_read(&s->live));
	d->lacks = cpu_to_le64(READ_ONCE(log->g->lacks[seg]));
}

/*
 * Takes a free segment out of the pool, or returns -1. Lock held. @keep: so many are left for others. First those that the last checkpoint does not know
 * to be free: were the power cut, the checkpoint that ends replay could not have them.
 */
static s64 take_free(struct pav_log *log, u32 keep)
{
	bool early = log->early;
	u32 i;

	lockdep_assert_held(&log->lock);
	if (log->free <= keep)
		return -1;
	for (i = 0; i < log->g->segments; i++) {
		u32 seg = (log->cursor + i) % log->g->segments;
		struct pav_segment *s = &log->seg[seg];

		if (s->state == PAV_SEG_FREE && s->early == early) {
			log->cursor = (seg + 1) % log->g->segments;
			log->free--;
			log->early -= early;
			s->early = false;
			return seg;
		}
	}
	return -1;
}

/* ---- what streams ask for ---- */

static void seg_open(struct pav_log *log, u32 seg, struct pav_set *set, enum pav_segment_state state)
{
	struct pav_segment *s = &log->seg[seg];

	lockdep_assert_held(&log->lock);
	s->set = set;
	s->state = state;
	s->open = true;
	s->seq = atomic64_read(&log->seq);
	atomic_inc(&set->segments);
	log->meta_segs += state == PAV_SEG_META;
	seg_dirty(log, seg);
	if (state == PAV_SEG_META)
		pav_log_lack(log, seg, 0, READ_ONCE(log->g->gone));
}

void pav_log_lack_meta(struct pav_log *log)
{
	u32 i;

	for (i = 0; i < log->g->segments; i++)
		if (READ_ONCE(log->seg[i].state) == PAV_SEG_META && (READ_ONCE(log->seg[i].open) || READ_ONCE(log->seg[i].prepared)))
			pav_log_lack(log, i, 0, READ_ONCE(log->g->gone));
}

/* A reserved segment for data, or a free one for metadata, on drives that all work. False: none now; a checkpoint was asked for if it may help. */
bool pav_log_open_segment(struct pav_stream *s)
{
	struct pav_log *log = s->log;
	unsigned int i, left = 0, ready;
	unsigned long flags;
	struct pav_set *set = NULL, *picked = NULL;
	bool found = false, few, helps;

	if (s->meta) {
		u64 members = pav_group_members(log->g, log->cursor);
		s64 seg = -1;

		if (hweight64(members) >= PAV_MIN_WIDTH)
			set = picked = pav_group_set(log->g, members);
		spin_lock_irqsave(&log->lock, flags);
		/* One that pav_log_reserve_meta() has set aside first. */
		for (i = 0; i < log->g->segments && log->meta_ready; i++) {
			struct pav_segment *p = &log->seg[i];

			if (p->state == PAV_SEG_META && p->prepared) {
				p->prepared = false;
				log->meta_ready--;
				if (!pav_group_usable(log->g, p->set->members))
					continue;
				p->open = true;
				seg = i;
				set = p->set;
				break;
			}
		}
		if (seg < 0 && set) {
			seg = take_free(log, 0);
			if (seg >= 0)
				seg_open(log, seg, set, PAV_SEG_META);
		}
		if (seg >= 0) {
			s->seg = seg;
			s->set = set;
			found = true;
		}
		spin_unlock_irqrestore(&log->lock, flags);
		pav_group_put_set(log->g, picked);
	} else {
		spin_lock_irqsave(&log->lock, flags);
		ready = pav_log_ready(log);
		for (i = 0; i < log->replays; i++) {
			struct pav_replay_seg *r = &log->replay[i];

			if (r->opened || !r->ready || r->drop)
				continue;
			if (!found && (s->gc || ready > PAV_GC_SEGMENTS) && pav_group_usable(log->g, r->set->members)) {
				r->opened = true;
				s->seg = r->seg;
				s->set = r->set;
				seg_open(log, r->seg, r->set, PAV_SEG_DATA);
				found = true;
			} else {
				left++;
			}
		}
		few = pav_log_pool_locked(log) < log->reserve_target;
		helps = pav_log_short_locked(log);
		spin_unlock_irqrestore(&log->lock, flags);
		/* Starved, users wait for the garbage collector, which sees to it itself. */
		if (helps && (s->gc || !READ_ONCE(log->starved)))
			log->ops->want_segments(log->ops->ctx, false);
		if (few)
			log->ops->want_space(log->ops->ctx);
	}
	if (found) {
		s->row = 0;
		s->has_seg = true;
		s->band_rows = 0;
	}
	return found;
}

void pav_log_close_segment(struct pav_stream *s)
{
	struct pav_log *log = s->log;
	unsigned long flags;
	unsigned int i;

	spin_lock_irqsave(&log->lock, flags);
	log->seg[s->seg].open = false;
	if (!s->meta)
		for (i = 0; i < log->replays; i++)
			if (log->replay[i].seg == s->seg)
				log->replay[i].closed = true;
	spin_unlock_irqrestore(&log->lock, flags);
	s->has_seg = false;
}

void pav_log_leave_segments(struct pav_log *log, bool all)
{
	unsigned int dropped = 0, i;
	unsigned long flags;

	/* What is set aside for metadata holds nothing yet: of a drive that is there again it lacks nothing, and no rebuilding could tell. */
	spin_lock_irqsave(&log->lock, flags);
	for (i = 0; i < log->g->segments; i++) {
		if (!log->seg[i].prepared)
			continue;
		if (!pav_group_usable(log->g, log->seg[i].set->members) && log->free > pav_log_data_keep(log) + dropped) {
			/* Nor will anything: the next checkpoint finds it dead. There is room for that without it. */
			pav_reached("segment set aside on drives that are gone");
			log->seg[i].prepared = false;
			log->meta_ready--;
			dropped++;
		} else if (READ_ONCE(log->g->lacks[i])) {
			pav_reached("nothing is lacking where nothing lies");
			pav_log_lack(log, i, ~READ_ONCE(log->g->gone), 0);
		}
	}
	spin_unlock_irqrestore(&log->lock, flags);
	for (i = 0; i <= log->nstreams; i++) {
		struct pav_stream *s = &log->streams[i];

		mutex_lock(&s->turn);
		if (s->has_seg && (all || !pav_log_seg_usable(s)))
			pav_log_close_segment(s);
		mutex_unlock(&s->turn);
	}
}

int pav_log_reserve_meta(struct pav_log *log, unsigned int cells)
{
	struct pav_stream *s = &log->streams[log->nstreams];
	unsigned int rows;
	unsigned long flags;
	int error = 0;

	/* The stream is idle: the checkpoint is its only user. */
	rows = s->has_seg && pav_log_seg_usable(s) ? log->g->segment_blocks - s->row : 0;
	while (rows + log->meta_ready * log->g->segment_blocks < pav_log_meta_rows(log, cells)) {
		u64 members = pav_group_members(log->g, log->cursor);
		struct pav_set *set = hweight64(members) >= PAV_MIN_WIDTH ? pav_group_set(log->g, members) : NULL;
		s64 seg;

		spin_lock_irqsave(&log->lock, flags);
		seg = set ? take_free(log, 0) : -1;
		if (seg >= 0) {
			seg_open(log, seg, set, PAV_SEG_META);
			log->seg[seg].open = false;
			log->seg[seg].prepared = true;
			log->meta_ready++;
		} else {
			error = -ENOSPC;
		}
		spin_unlock_irqrestore(&log->lock, flags);
		pav_group_put_set(log->g, set);
		if (error)
			break;
	}
	return error;
}

/* ---- checkpoints ---- */

u64 pav_log_freeze(struct pav_log *log)
{
	unsigned int i;
	unsigned long flags;

	WRITE_ONCE(log->frozen, true);
	for (i = 0; i < log->nstreams; i++) {
		struct pav_stream *s = &log->streams[i];
		bool wait;

		/* Whoever has the turn now may not have seen it; the next one will. */
		mutex_lock(&s->turn);
		mutex_unlock(&s->turn);
		init_completion(&s->drained);
		spin_lock_irqsave(&s->lock, flags);
		wait = s->drain = s->flights > 0;
		spin_unlock_irqrestore(&s->lock, flags);
		if (wait)
			wait_for_completion(&s->drained);
	}
	return atomic64_read(&log->seq);
}

void pav_log_snapshot(struct pav_log *log)
{
	unsigned long flags;
	unsigned int i, j;

	/* Replay begins at the next row: nothing may be put beside what is in the last one. */
	for (i = 0; i < log->nstreams; i++)
		log->streams[i].band_rows = 0;
	spin_lock_irqsave(&log->lock, flags);
	for (i = 0; i < log->replays; i++) {
		struct pav_replay_seg *r = &log->replay[i];

		r->drop = r->closed;
		r->row_new = 0;
		for (j = 0; r->opened && j < log->nstreams; j++)
			if (log->streams[j].has_seg && log->streams[j].seg == r->seg)
				r->row_new = log->streams[j].row;
	}
	spin_unlock_irqrestore(&log->lock, flags);
}

void pav_log_thaw(struct pav_log *log)
{
	WRITE_ONCE(log->frozen, false);
	pav_log_kick(log);
}

/* Sets free segments apart for what streams will need until the next commit of this kind. */
static void log_reserve(struct pav_log *log, enum pav_commit what)
{
	unsigned int i, unopened = 0, staying = 0;

	lockdep_assert_held(&log->lock);
	for (i = 0; i < log->replays; i++) {
		unopened += !log->replay[i].opened;
		staying += !log->replay[i].drop;
	}
	while (unopened < log->reserve_target && log->replays < ARRAY_SIZE(log->replay) && staying < log->replay_most) {
		/* The garbage collector's are taken from what users must leave. */
		u32 keep = unopened < PAV_GC_SEGMENTS ? pav_log_gc_keep(log) : pav_log_data_keep(log);
		s64 seg = take_free(log, keep - min_t(u32, keep, log->dying));

		if (seg < 0)
			break;
		log->gc_borrows = false;
		log->seg[seg].state = PAV_SEG_RESERVED;
		log->replay[log->replays++] = (struct pav_replay_seg){ .seg = seg, .fresh = true, .renewed = what == PAV_COMMIT_SEGMENTS };
		unopened++;
		staying++;
	}
	log->reserved = 0;
	for (i = 0; i < log->replays; i++)
		log->reserved += log->replay[i].fresh;
}

/* Puts the replay list into a superblock that is about to be committed. */
static void log_fill(void *ctx, struct pav_d_superblock *sb, enum pav_commit what)
{
	struct pav_log *log = ctx;
	bool checkpoint = what == PAV_COMMIT_CHECKPOINT;
	unsigned long flags;
	unsigned int i;

	/* A loss is recorded while the checkpoint that ends replay is on its way. Should the power go before that is committed, all this is to be replayed again. */
	if (!checkpoint && !log->listed) {
		pav_reached("a loss recorded before replay had ended");
		return;
	}
	spin_lock_irqsave(&log->lock, flags);
	if (what != PAV_COMMIT_DRIVES)
		log_reserve(log, what);
	spin_unlock_irqrestore(&log->lock, flags);

	/* Only commits add and, through log_filled(), remove entries, under the group's commit lock. */
	for (i = 0; i < log->replays; i++) {
		u64 members = pav_group_members(log->g, log->replay[i].seg);

		log->replay[i].next_set = hweight64(members) >= PAV_MIN_WIDTH ? pav_group_set(log->g, members) : NULL;
	}
	sb->replays = 0;
	memset(sb->replay, 0, sizeof(sb->replay));
	spin_lock_irqsave(&log->lock, flags);
	for (i = 0; i < log->replays; i++) {
		struct pav_replay_seg *r = &log->replay[i];
		struct pav_d_replay *d = &sb->replay[le16_to_cpu(sb->replays)];

		if (!r->opened && (!r->set || !pav_group_usable(log->g, r->set->members))) {
			/* Not to be opened before the superblocks name its new drives. */
			r->ready = false;
			swap(r->set, r->next_set);
		}
		if (!r->set || (checkpoint ? r->drop : r->fresh && what == PAV_COMMIT_DRIVES))
			continue;
		d->segment = cpu_to_le32(r->seg);
		d->row = cpu_to_le16(checkpoint ? r->row_new : r->row);
		d->set = r->set->index;
		d->renewed = r->renewed && !checkpoint;
		sb->replays = cpu_to_le16(le16_to_cpu(sb->replays) + 1);
	}
	spin_unlock_irqrestore(&log->lock, flags);
	for (i = 0; i < log->replays; i++)
		pav_group_put_set(log->g, log->replay[i].next_set);
}

static void log_filled(void *ctx, enum pav_commit what, int error)
{
	struct pav_log *log = ctx;
	unsigned int i, n = 0;
	unsigned long flags;

	spin_lock_irqsave(&log->lock, flags);
	log->listed |= !error && what == PAV_COMMIT_CHECKPOINT;
	for (i = 0; i < log->replays; i++) {
		struct pav_replay_seg *r = &log->replay[i];

		if (!error) {
			if (what == PAV_COMMIT_CHECKPOINT) {
				if (r->drop) {
					pav_group_put_set(log->g, r->set);
					continue;
				}
				r->row = r->row_new;
				r->renewed = false;
			}
			if (what != PAV_COMMIT_DRIVES)
				r->fresh = false;
			r->ready = r->set && !r->fresh;
		}
		log->replay[n++] = *r;
	}
	log->replays = n;
	spin_unlock_irqrestore(&log->lock, flags);
	pav_log_kick(log);
}

/* ---- opening ---- */

int pav_log_load_segment(struct pav_log *log, u32 seg, const struct pav_d_segment *d)
{
	struct pav_segment *s = &log->seg[seg];

	/* Of metadata segments it is counted by whoever walks the node table. A free one may have some that replay will find dead: it was renewed. */
	if (d->state != PAV_SEG_META)
		atomic_set(&s->live, le32_to_cpu(d->live));
	if (d->state == PAV_SEG_FREE)
		return 0;
	s->set = pav_group_set(log->g, le64_to_cpu(d->members));
	if (!s->set)
		return -ENOMEM;
	/* Segments are counted below: that keeps it. */
	pav_group_put_set(log->g, s->set);
	s->state = d->state;
	log->meta_segs += s->state == PAV_SEG_META;
	s->seq = le64_to_cpu(d->seq);
	atomic_inc(&s->set->segments);
	pav_group_lack(log->g, s->set, seg, 0, le64_to_cpu(d->lacks));
	log->free--;
	return 0;
}

void pav_log_found_meta(struct pav_log *log, u64 loc)
{
	struct pav_segment *s = &log->seg[pav_loc_seg(loc)];

	/* Opened so late in its checkpoint that the segment table could not tell: a drive had failed, and what was set aside lay on it. */
	if (s->state == PAV_SEG_FREE) {
		pav_reached("metadata segment known by the node table alone");
		s->state = PAV_SEG_META;
		log->meta_segs++;
		s->set = log->g->sets[pav_loc_set(loc)];
		s->seq = le64_to_cpu(log->g->sb->seq);
		atomic_inc(&s->set->segments);
		log->free--;
	}
	pav_log_live(log, loc, 1);
}

/* What the table says of segment @seg was so before it was used again. What it has counted as alive there, replay will find dead. */
static void forget_earlier_use(struct pav_log *log, u32 seg)
{
	struct pav_segment *s = &log->seg[seg];

	pav_reached("replay in a segment that was renewed");
	log->meta_segs -= s->state == PAV_SEG_META;
	atomic_dec(&s->set->segments);
	pav_group_lack(log->g, s->set, seg, ~0ULL, 0);
	s->state = PAV_SEG_FREE;
	log->free++;
	seg_dirty(log, seg);
}

int pav_log_load_replay_list(struct pav_log *log)
{
	struct pav_d_superblock *sb = log->g->sb;
	unsigned int i;

	for (i = 0; i < le16_to_cpu(sb->replays); i++) {
		struct pav_d_replay *d = &sb->replay[i];
		u32 seg = le32_to_cpu(d->segment);
		struct pav_segment *s = &log->seg[seg];

		s->replaying = true;
		if (s->state != PAV_SEG_FREE && d->renewed)
			forget_earlier_use(log, seg);
		if (s->state != PAV_SEG_FREE)
			continue;
		s->set = pav_group_set(log->g, le64_to_cpu(sb->sets[d->set]));
		if (!s->set)
			return -ENOMEM;
		d->set = s->set->index;
		pav_group_put_set(log->g, s->set);
		/* The checkpoint knows of no use of it: whatever is older than that, an earlier use has left. */
		s->seq = le64_to_cpu(sb->seq);
		s->state = PAV_SEG_RESERVED;
		atomic_inc(&s->set->segments);
		log->free--;
	}
	return 0;
}

void pav_log_free_dead_at_open(struct pav_log *log)
{
	unsigned long flags;
	u32 i;

	spin_lock_irqsave(&log->lock, flags);
	for (i = 0; i < log->g->segments; i++) {
		struct pav_segment *s = &log->seg[i];

		if ((s->state == PAV_SEG_DATA || s->state == PAV_SEG_META) && !s->replaying && !atomic_read(&s->live))
			pav_log_seg_free(log, i);
	}
	spin_unlock_irqrestore(&log->lock, flags);
}

void pav_log_replayed_segment(struct pav_log *log, u32 seg)
{
	struct pav_segment *s = &log->seg[seg];

	if (s->state != PAV_SEG_RESERVED)
		return;
	s->state = PAV_SEG_DATA;
	/* What had been alive in an earlier use has died. */
	if (atomic_xchg(&s->dead, 0))
		atomic_dec(&log->dead);
	seg_dirty(log, seg);
}

bool pav_log_end_replay(struct pav_log *log)
{
	unsigned long flags;
	bool any = false;
	u32 i, j;

	spin_lock_irqsave(&log->lock, flags);
	for (i = 0; i < log->g->segments; i++) {
		struct pav_segment *s = &log->seg[i];

		s->replaying = false;
		if (s->state != PAV_SEG_RESERVED)
			continue;
		for (j = 0; j < log->replays && log->replay[j].seg != i; j++)
			;
		if (j < log->replays)
			continue;
		if (atomic_read(&s->live)) {
			/* Something that was alive in its earlier use died by a stripe that cannot be read any more. */
			pav_log_replayed_segment(log, i);
			continue;
		}
		any = true;
		pav_log_seg_free(log, i);
	}
	spin_unlock_irqrestore(&log->lock, flags);
	return any;
}

/* ---- life ---- */

int pav_log_init(struct pav_log *log, struct pav_group *g, const struct pav_log_ops *ops, unsigned int streams)
{
	unsigned int i, k = g->data_drives;
	int error;

	log->g = g;
	log->ops = ops;
	spin_lock_init(&log->lock);
	INIT_LIST_HEAD(&log->parked);
	atomic64_set(&log->seq, le64_to_cpu(g->sb->seq));
	log->log_id = le64_to_cpu(g->sb->log_id);
	log->birth = le32_to_cpu(g->sb->checkpoint) + 1;
	log->seg_nodes = DIV_ROUND_UP(g->segments, PAV_SEGS_PER_NODE);
	log->seg = pav_alloc(sizeof(*log->seg) * g->segments);
	log->seg_dirty = pav_alloc(log->seg_nodes);
	if (!log->seg || !log->seg_dirty)
		return -ENOMEM;
	log->free = g->segments;
	log->nstreams = clamp_t(unsigned int, streams, 1, PAV_MAX_STREAMS) + 1;
	log->reserve_target = clamp_t(unsigned int, g->segments / 16, log->nstreams + 1 + PAV_GC_SEGMENTS, PAV_RESERVE_MAX);
	log->replay_most = clamp_t(unsigned int, g->segments / 16, 2 * log->reserve_target + log->nstreams, PAV_REPLAY_MAX);
	log->max_rows = clamp_t(unsigned int, PAV_STRIPE_ENTRIES / k, 1, min_t(u32, PAV_STRIPE_MAX_ROWS, g->segment_blocks / 4));
	for (i = 0; i <= log->nstreams; i++) {
		error = pav_stream_init(&log->streams[i], log, i == log->nstreams);
		if (error)
			return error;
	}
	pav_log_gc_stream(log)->gc = true;
	return 0;
}

void pav_log_start(struct pav_log *log)
{
	log->g->log = log;
	log->g->filled = log_filled;
	log->g->fill = log_fill;
}

void pav_log_free(struct pav_log *log)
{
	unsigned int i;

	for (i = 0; i <= log->nstreams; i++)
		pav_stream_free(&log->streams[i]);
	pav_free(log->seg_dirty);
	pav_free(log->seg);
}
