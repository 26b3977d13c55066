// SPDX-License-Identifier: GPL-2.0
/*
 * Space: who may take a free segment, and when one is free again.
 *
 * Metadata comes first: a checkpoint that finds no room would take the group with it. It is written anew by every checkpoint and leaves holes, so
 *
 *	- after every checkpoint there is room for two of the largest there can be (meta_margin): the next one, and the one that ends the next replay;
 *	- it may spread over three times what is alive of it: user data takes no segment that would go below that, and where data holds the rest, no
 *	  new nodes are made (pav_log_node_room). At a third alive, emptying the emptiest segments (pav_log_sparse_meta) always gains room.
 *
 * User data may be alive up to the group's capacity (pav_log_capacity), which is less than there is: so there is always a segment that pays to be emptied.
 * Beyond, writes to blocks that hold nothing yet are refused by the map; blocks that are mapped can be written for ever.
 */
#include "log.h"

/* Members that work, and stay. */
static int working(const struct pav_log *log)
{
	const struct pav_group *g = log->g;
	unsigned int slot;
	int n = 0;

	for (slot = 0; slot < g->slots; slot++)
		n += READ_ONCE(g->drives[slot].state) == PAV_DRIVE_ACTIVE && !(READ_ONCE(g->gone) & BIT_ULL(slot));
	return n;
}

/* Data columns of a segment opened now. */
static u32 columns_now(const struct pav_log *log)
{
	/* While drives go there may be fewer than any stripe has. */
	return max_t(int, (int)hweight64(pav_group_members(log->g, 0)) - 2, 1);
}

/* Those that space is reckoned with, were there so many drives less; of two drives, what there would be with a third: what is written now is to find room then. */
static u32 columns_without(const struct pav_log *log, unsigned int drives)
{
	return clamp_t(int, working(log) - (int)drives - 2, 1, log->g->data_drives);
}

/* Data cells of a segment, reckoned so, were there none less. */
static u32 segment_cells(const struct pav_log *log)
{
	return log->g->segment_blocks * columns_without(log, 0);
}

/* Data cells that a segment of @k columns holds, beside headers. */
static u32 segment_holds(const struct pav_log *log, unsigned int k)
{
	u32 cells = log->g->segment_blocks * k;

	return cells - DIV_ROUND_UP(cells, pav_log_stripe_cells(log, k));
}

u32 pav_log_new_segment_holds(const struct pav_log *log)
{
	return segment_holds(log, columns_now(log));
}

/* Segments for two checkpoints of so many rows, and one that is half used. */
static u32 margin_segments(const struct pav_log *log, u64 rows)
{
	return DIV_ROUND_UP_ULL(2 * rows, log->g->segment_blocks) + 1;
}

/* Segments that metadata may spread over. */
static u64 meta_share(const struct pav_log *log)
{
	return DIV_ROUND_UP_ULL(PAV_META_SPREAD * atomic64_read(&log->meta_live), segment_cells(log));
}

/* … and has not got yet. */
static u32 meta_wants(const struct pav_log *log)
{
	u64 share = meta_share(log);

	return share > log->meta_segs ? share - log->meta_segs : 0;
}

u32 pav_log_meta_keep(const struct pav_log *log)
{
	return margin_segments(log, log->meta_margin) + meta_wants(log);
}

u32 pav_log_gc_keep(const struct pav_log *log)
{
	u32 keep = pav_log_meta_keep(log);
	u64 share = meta_share(log), more = share < log->meta_segs ? log->meta_segs - share : 0;

	if (!log->gc_borrows)
		return keep;
	/* What metadata has beyond its share, and has set aside for the next checkpoint, is not to be left to it once more. */
	return keep - min_t(u32, keep, 1 + min_t(u32, more, log->meta_ready));
}

/*
 * One that is being filled with what is moved, one for what a victim holds beyond it, and one to be free when that is needed; more where that costs
 * little, since the metadata's share goes up and down.
 */
static u32 data_segments(const struct pav_log *log)
{
	return clamp_t(u32, log->g->segments / 512, 3, 8);
}

u32 pav_log_data_keep(const struct pav_log *log)
{
	return margin_segments(log, log->meta_worst) + meta_wants(log) + data_segments(log);
}

unsigned int pav_log_ready(const struct pav_log *log)
{
	unsigned int i, n = 0;

	for (i = 0; i < log->replays; i++)
		n += !log->replay[i].opened && log->replay[i].ready && !log->replay[i].drop;
	return n;
}

u64 pav_log_node_room(struct pav_log *log)
{
	s64 segs, room;
	unsigned long flags;

	spin_lock_irqsave(&log->lock, flags);
	segs = (s64)log->meta_segs + log->free - margin_segments(log, log->meta_worst);
	spin_unlock_irqrestore(&log->lock, flags);
	room = segs * segment_cells(log) / PAV_META_SPREAD - atomic64_read(&log->meta_live);
	/* A node brings up to half a block of the node table with it, and makes the largest checkpoints larger. */
	return room > 0 ? room / 3 : 0;
}

/* ---- room for checkpoints ---- */

/* Cells of a row that are sure to be there if two drives in all are lost by the time the checkpoint ends, of as many as there are now at least. */
static u32 row_cells(const struct pav_log *log)
{
	int n = min_t(int, (int)pav_group_staying(log->g) - 4, working(log) - 2);

	return clamp_t(int, n, 1, max_t(int, 1, (int)log->g->data_drives - 2));
}

/*
 * The same, whatever may still be lost: where the segment that is worst off lacks @lost, so many more as make two. Once everything was moved away from lost drives,
 * that is two again. And were there so many drives less: those that are to leave are gone already; who lets one leave asks first (pav_log_room_without).
 */
static u32 row_cells_at_worst(const struct pav_log *log, unsigned int drives, unsigned int lost)
{
	return clamp_t(int, working(log) - (int)drives - (2 - (int)min(lost, 2u)) - 2, 1, row_cells(log));
}

u32 pav_log_meta_rows(const struct pav_log *log, unsigned int nodes)
{
	return nodes / row_cells(log) + nodes / (4 * log->g->data_drives) + log->max_rows + 16;
}

/* Rows that the largest checkpoint takes at worst. */
static u64 margin_at_worst(const struct pav_log *log, unsigned int drives, unsigned int lost)
{
	return DIV_ROUND_UP((u64)log->meta_margin * row_cells(log), row_cells_at_worst(log, drives, lost));
}

void pav_log_set_margin(struct pav_log *log, u32 rows)
{
	log->meta_margin = rows;
	log->meta_worst = margin_at_worst(log, 0, pav_group_worst_loss(log->g, READ_ONCE(log->g->gone)));
}

static u64 meta_rows_left(struct pav_log *log)
{
	struct pav_stream *s = &log->streams[log->nstreams];
	u64 rows = s->has_seg && pav_log_seg_usable(s) ? log->g->segment_blocks - s->row : 0;
	unsigned long flags;

	spin_lock_irqsave(&log->lock, flags);
	rows += (u64)(log->free + log->meta_ready) * log->g->segment_blocks;
	spin_unlock_irqrestore(&log->lock, flags);
	return rows;
}

bool pav_log_room_for_checkpoint(struct pav_log *log, unsigned int nodes, bool margin)
{
	return meta_rows_left(log) >= pav_log_meta_rows(log, nodes) + (margin ? log->meta_margin : 0);
}

bool pav_log_meta_short(struct pav_log *log)
{
	return meta_rows_left(log) < 2 * log->meta_margin;
}

/* Data cells that the group's reserve leaves: more is never mapped. */
static u64 most_cells(const struct pav_log *log, unsigned int drives)
{
	return (u64)(log->g->segments * (u64)(100 - log->g->reserve_percent) / 100) * log->g->segment_blocks * columns_without(log, drives);
}

u64 pav_log_meta_when_full(const struct pav_log *log)
{
	u64 leaves = most_cells(log, 0) / PAV_LEAF_ENTRIES;

	/* The nodes above, the node table, the segment table, volumes: a handful. */
	return max_t(u64, atomic64_read(&log->meta_live), leaves + leaves / 64 + log->seg_nodes + 16);
}

/*
 * The group's reserve stays empty, so that the garbage collector finds segments that are worth emptying. In a small group what metadata needs, what is open
 * and what is set apart for streams is more than that; and of the rest an eighth is to be dead, or there is no segment that pays. What metadata needs is
 * reckoned for a group that is full: who is told what is free counts on it.
 */
static u64 capacity_without(struct pav_log *log, unsigned int drives)
{
	u32 segments = log->g->segments, k = columns_without(log, drives), taken;

	taken = margin_segments(log, log->meta_worst) + DIV_ROUND_UP_ULL(PAV_META_SPREAD * pav_log_meta_when_full(log), log->g->segment_blocks * k) + 1;
	taken += data_segments(log) + log->nstreams + log->reserve_target;
	taken = taken < segments ? segments - taken : 0;
	return min_t(u64, most_cells(log, drives), (u64)(taken - DIV_ROUND_UP(taken, 8)) * segment_holds(log, k));
}

bool pav_log_room_without(struct pav_log *log, unsigned int drives, u64 mapped)
{
	u64 margin = margin_at_worst(log, drives, pav_group_worst_loss(log->g, READ_ONCE(log->g->gone)));

	return capacity_without(log, drives) >= mapped && meta_rows_left(log) >= 2 * margin + log->g->segment_blocks;
}

u64 pav_log_capacity(struct pav_log *log)
{
	return capacity_without(log, 0);
}

/* ---- segments for streams ---- */

bool pav_log_short_locked(const struct pav_log *log)
{
	unsigned int ready = pav_log_ready(log);
	s64 more = (s64)log->free - pav_log_data_keep(log) + atomic_read(&log->dead);

	/* In good time; but not for one or two, while there are some. */
	return more > 0 && (ready <= log->nstreams || (ready <= log->reserve_target / 2 && more >= log->reserve_target / 4));
}

bool pav_log_short(struct pav_log *log)
{
	unsigned long flags;
	bool is;

	spin_lock_irqsave(&log->lock, flags);
	is = pav_log_short_locked(log);
	spin_unlock_irqrestore(&log->lock, flags);
	return is;
}

bool pav_log_may_renew(struct pav_log *log)
{
	unsigned long flags;
	bool may;

	spin_lock_irqsave(&log->lock, flags);
	may = log->replays + log->reserve_target / 2 <= log->replay_most && !READ_ONCE(log->unlogged);
	spin_unlock_irqrestore(&log->lock, flags);
	return may;
}

bool pav_log_check_starved(struct pav_log *log, bool give_up)
{
	unsigned long flags;
	bool hope;

	spin_lock_irqsave(&log->lock, flags);
	hope = log->free > pav_log_data_keep(log) && !give_up;
	/* What it did reserve may be used up already: under load that says nothing. */
	if (pav_log_ready(log) > PAV_GC_SEGMENTS || log->reserved > PAV_GC_SEGMENTS) {
		WRITE_ONCE(log->starved, false);
		WRITE_ONCE(log->full, false);
		hope = false;
	} else {
		WRITE_ONCE(log->starved, !hope);
	}
	spin_unlock_irqrestore(&log->lock, flags);
	return hope;
}

static bool in_replay(const struct pav_log *log, u32 seg)
{
	unsigned int i;

	for (i = 0; i < log->replays; i++)
		if (log->replay[i].seg == seg && !log->replay[i].drop)
			return true;
	return false;
}

/* Lock held. */
static bool is_closed(const struct pav_log *log, u32 seg)
{
	const struct pav_segment *s = &log->seg[seg];

	return !s->open && !s->prepared && !s->held && !s->replaying && !in_replay(log, seg);
}

/* Is @seg in @state, and nothing more will be written to it, nor looked for by a replay once the checkpoint under way is committed? */
static bool closed(struct pav_log *log, u32 seg, enum pav_segment_state state)
{
	const struct pav_segment *s = &log->seg[seg];
	unsigned long flags;
	bool is;

	spin_lock_irqsave(&log->lock, flags);
	is = s->state == state && is_closed(log, seg);
	spin_unlock_irqrestore(&log->lock, flags);
	return is;
}

/* Are stripes of metadata on their way to @seg? Of data, that is told by the replay list: only a checkpoint takes a segment off it, and waits for all stripes before. */
static bool in_flight(struct pav_log *log, u32 seg)
{
	struct pav_stream *s = &log->streams[log->nstreams];
	const struct pav_stripe *st;
	unsigned long flags;
	bool found = false;

	spin_lock_irqsave(&s->lock, flags);
	list_for_each_entry(st, &s->flight, link)
		found |= st->seg == seg;
	spin_unlock_irqrestore(&s->lock, flags);
	return found;
}

bool pav_log_hold(struct pav_log *log, u32 seg)
{
	struct pav_segment *s = &log->seg[seg];
	unsigned long flags;
	bool held;

	spin_lock_irqsave(&log->lock, flags);
	/* What nothing is alive in may be about to be freed already. */
	held = (s->state == PAV_SEG_DATA || s->state == PAV_SEG_META) && atomic_read(&s->live) && is_closed(log, seg) && !in_flight(log, seg);
	if (held)
		s->held = true;
	spin_unlock_irqrestore(&log->lock, flags);
	return held;
}

void pav_log_let_go(struct pav_log *log, u32 seg)
{
	unsigned long flags;

	spin_lock_irqsave(&log->lock, flags);
	log->seg[seg].held = false;
	spin_unlock_irqrestore(&log->lock, flags);
}

/* ---- the garbage collector's ---- */

s64 pav_log_pool_locked(const struct pav_log *log)
{
	return (s64)pav_log_ready(log) + log->free - pav_log_data_keep(log) + atomic_read(&log->dead);
}

s64 pav_log_pool(struct pav_log *log)
{
	unsigned long flags;
	s64 pool;

	spin_lock_irqsave(&log->lock, flags);
	pool = pav_log_pool_locked(log);
	spin_unlock_irqrestore(&log->lock, flags);
	return pool;
}

bool pav_log_gc_wanted(struct pav_log *log)
{
	return pav_log_users_wait(log) || pav_log_pool(log) < log->reserve_target;
}

bool pav_log_gc_has_room(struct pav_log *log)
{
	unsigned long flags;
	bool room;

	spin_lock_irqsave(&log->lock, flags);
	room = pav_log_ready(log) || log->free > pav_log_gc_keep(log);
	spin_unlock_irqrestore(&log->lock, flags);
	return room;
}

bool pav_log_gc_borrow(struct pav_log *log)
{
	/* Two of them in three quarters of a segment: the rest is for headers, and rows that are not full. */
	u32 most = segment_cells(log) * 3 / 8, found = 0, i;
	unsigned long flags;

	if (meta_rows_left(log) < log->g->segment_blocks + log->meta_margin + log->meta_margin / 2)
		return false;
	for (i = 0; i < log->g->segments && found < 2; i++) {
		unsigned int live = atomic_read(&log->seg[i].live);

		found += live && live <= most && closed(log, i, PAV_SEG_DATA);
	}
	if (found < 2)
		return false;
	spin_lock_irqsave(&log->lock, flags);
	log->gc_borrows = true;
	spin_unlock_irqrestore(&log->lock, flags);
	return true;
}

void pav_log_want_meta(struct pav_log *log)
{
	unsigned long flags;

	spin_lock_irqsave(&log->lock, flags);
	log->meta_wanted = true;
	spin_unlock_irqrestore(&log->lock, flags);
}

bool pav_log_leaving_hurts(struct pav_log *log)
{
	return READ_ONCE(log->g->leaving) && READ_ONCE(log->starved) && !pav_log_gc_has_room(log);
}

s64 pav_log_gc_victim(struct pav_log *log, const unsigned long *but)
{
	unsigned int k = columns_now(log);
	u64 now = atomic64_read(&log->seq), best = 0, room = segment_holds(log, k);
	s64 victim = -1;
	u32 i;

	/* There may be a million of them: the lock is taken for the few that are the best so far. */
	for (i = 0; i < log->g->segments; i++) {
		struct pav_segment *s = &log->seg[i];
		const struct pav_set *set = READ_ONCE(s->set);
		u64 live, score;

		if (READ_ONCE(s->state) != PAV_SEG_DATA || !set || test_bit(i, but))
			continue;
		/*
		 * What a segment holds that is won: with drives lost, it may be less than this one does; with drives added, more, and then it pays to write
		 * anew what is alive even if that is all.
		 */
		live = atomic_read(&s->live);
		if (!live || live > (set->n - 2 < k ? room - 1 : room - room / 16))
			continue;
		/*
		 * What is won by what it costs, and the longer the better that nothing has died there since: (1 - u) * age / (1 + u), after Rosenblum and
		 * Ousterhout, The design and implementation of a log-structured file system, 1992. In need, what is quickest.
		 */
		score = (room - live) * (log->starved ? 1 : min_t(u64, now - s->seq + 1, 1ULL << 32)) * 16 / (room + live) + 1;
		if (score > best && closed(log, i, PAV_SEG_DATA)) {
			best = score;
			victim = i;
		}
	}
	return victim;
}

/* ---- what lies where it should not ---- */

s64 pav_log_evacuee(struct pav_log *log, const unsigned long *but)
{
	u64 unwanted = pav_group_unwanted(log->g);
	unsigned int most = 0, n;
	s64 found = -1;
	u32 i;

	for (i = 0; unwanted && i < log->g->segments; i++) {
		struct pav_segment *s = &log->seg[i];
		const struct pav_set *set = READ_ONCE(s->set);

		if (READ_ONCE(s->state) != PAV_SEG_DATA || !set || test_bit(i, but) || !atomic_read(&s->live))
			continue;
		n = hweight64(set->members & unwanted);
		if (n > most && closed(log, i, PAV_SEG_DATA)) {
			most = n;
			found = i;
		}
	}
	return found;
}

s64 pav_log_evacuation_pool(struct pav_log *log)
{
	/* Once nothing lies on lost drives any more, two others may be lost: checkpoints need more rows then. */
	u64 worst = margin_at_worst(log, 0, 0), more = worst > log->meta_worst ? 2 * (worst - log->meta_worst) : 0;

	return log->reserve_target + 1 + DIV_ROUND_UP_ULL(more, log->g->segment_blocks);
}

u32 pav_log_misplaced(struct pav_log *log, enum pav_segment_state state)
{
	u64 unwanted = pav_group_unwanted(log->g);
	u32 i, n = 0;

	for (i = 0; unwanted && i < log->g->segments; i++) {
		const struct pav_set *set = READ_ONCE(log->seg[i].set);

		n += READ_ONCE(log->seg[i].state) == state && set && (set->members & unwanted);
	}
	return n;
}

/* ---- segments that died ---- */

void pav_log_find_dead(struct pav_log *log, enum pav_segment_state state, unsigned long *dead)
{
	u32 i;

	for (i = 0; i < log->g->segments; i++)
		if (READ_ONCE(log->seg[i].state) == state && !atomic_read(&log->seg[i].live) && closed(log, i, state))
			__set_bit(i, dead);
}

void pav_log_find_renewable(struct pav_log *log, unsigned long *dead)
{
	u32 of_set[PAV_MAX_SETS] = {}, i;

	for (i = 0; i < log->g->segments; i++) {
		struct pav_segment *s = &log->seg[i];

		if (READ_ONCE(s->state) != PAV_SEG_DATA || atomic_read(&s->live) || !closed(log, i, PAV_SEG_DATA))
			continue;
		/*
		 * Who opens the group before the next checkpoint goes by what the last one says of this segment, and refuses where too many drives are
		 * missing. So as long as it does, we are to go by it too, when a drive fails: by the last segment of each set, and by all that lack something.
		 */
		if (READ_ONCE(log->g->lacks[i]) || atomic_read(&s->set->segments) <= (int)of_set[s->set->index] + 1)
			continue;
		of_set[s->set->index]++;
		__set_bit(i, dead);
	}
}

void pav_log_set_dying(struct pav_log *log, const unsigned long *dead)
{
	unsigned long flags;

	spin_lock_irqsave(&log->lock, flags);
	log->dying = bitmap_weight(dead, log->g->segments);
	spin_unlock_irqrestore(&log->lock, flags);
}

void pav_log_free_segments(struct pav_log *log, const unsigned long *dead, bool early)
{
	unsigned long flags;
	u32 i;

	spin_lock_irqsave(&log->lock, flags);
	for (i = find_next_bit(dead, log->g->segments, 0); i < log->g->segments; i = find_next_bit(dead, log->g->segments, i + 1)) {
		pav_reached("segment freed");
		WARN_ON_ONCE(atomic_read(&log->seg[i].live) || log->seg[i].open);
		pav_log_seg_free(log, i);
		log->seg[i].early = early;
		log->early += early;
	}
	log->dying = 0;
	spin_unlock_irqrestore(&log->lock, flags);
}

bool pav_log_settle(struct pav_log *log)
{
	unsigned long flags;
	bool any;
	u32 i;

	spin_lock_irqsave(&log->lock, flags);
	any = log->early;
	for (i = 0; any && i < log->g->segments; i++)
		log->seg[i].early = false;
	log->early = 0;
	spin_unlock_irqrestore(&log->lock, flags);
	return any;
}

/* One that will be taken late, if nothing is discarded meanwhile. The lock is taken once one is found: there may be a million of them. */
s64 pav_log_begin_discard(struct pav_log *log)
{
	u32 i, from = READ_ONCE(log->cursor);
	unsigned long flags;
	s64 got = -1;

	for (i = 1; i <= log->g->segments && got < 0; i++) {
		u32 seg = (from + log->g->segments - i) % log->g->segments;
		struct pav_segment *s = &log->seg[seg];

		if (READ_ONCE(s->state) != PAV_SEG_FREE || !READ_ONCE(s->stale) || READ_ONCE(s->early))
			continue;
		spin_lock_irqsave(&log->lock, flags);
		/* The garbage collector's next one, and one more, must be there without it. */
		if (log->starved || log->free <= pav_log_meta_keep(log) + 2) {
			spin_unlock_irqrestore(&log->lock, flags);
			return -1;
		}
		if (s->state == PAV_SEG_FREE && s->stale && !s->early) {
			s->state = PAV_SEG_DISCARDING;
			s->stale = false;
			log->free--;
			got = seg;
		}
		spin_unlock_irqrestore(&log->lock, flags);
	}
	return got;
}

void pav_log_end_discard(struct pav_log *log, u32 seg)
{
	unsigned long flags;

	spin_lock_irqsave(&log->lock, flags);
	log->seg[seg].state = PAV_SEG_FREE;
	log->free++;
	spin_unlock_irqrestore(&log->lock, flags);
}

/* How much of a segment is alive, in sixteenths of @room. */
static unsigned int sixteenths(const struct pav_segment *s, u32 room)
{
	return (u64)atomic_read(&s->live) * 16 / room;
}

static bool may_empty(const struct pav_segment *s)
{
	return s->state == PAV_SEG_META && !s->open && !s->prepared && atomic_read(&s->live);
}

u32 pav_log_sparse_meta(struct pav_log *log, unsigned int own, unsigned long *victims)
{
	enum { BUCKETS = 12 };				/* three quarters alive: not worth it */
	u64 left = meta_rows_left(log), need = pav_log_meta_rows(log, own) + log->meta_margin, live[BUCKETS] = {}, sum = 0, budget;
	u32 i, n = 0, room = log->g->segment_blocks * log->g->data_drives;
	bool wanted;
	u64 unwanted = pav_group_unwanted(log->g);
	unsigned int b, top = 0;
	unsigned long flags;

	/* Each cell moved may bring half a block of the table; and what is moved must find room beside what the checkpoint writes anyhow. */
	budget = left > need ? (left - need) * row_cells(log) / 2 : 0;
	spin_lock_irqsave(&log->lock, flags);
	wanted = log->meta_wanted || log->free <= pav_log_data_keep(log);
	log->meta_wanted = false;
	if (left >= 2 * log->meta_margin + log->g->segment_blocks && (!wanted || log->meta_segs <= 1 + meta_share(log)))
		goto misplaced;
	for (i = 0; i < log->g->segments; i++)
		if (may_empty(&log->seg[i])) {
			b = sixteenths(&log->seg[i], room);
			if (b < BUCKETS)
				live[b] += atomic_read(&log->seg[i].live);
		}
	/* The emptiest first: buckets below @top as a whole, of @top as many as fit. */
	for (; top < BUCKETS - 1 && sum + live[top] <= budget; top++)
		sum += live[top];
	for (i = 0; i < log->g->segments; i++) {
		struct pav_segment *s = &log->seg[i];

		if (!may_empty(s))
			continue;
		b = sixteenths(s, room);
		if (b > top || (b == top && sum + atomic_read(&s->live) > budget))
			continue;
		if (b == top)
			sum += atomic_read(&s->live);
		__set_bit(i, victims);
		n++;
	}
	/* No gain? Then let it be. With the table's blocks that moving changes, and headers. */
	if ((u64)n * room <= sum + sum / 2 + sum / 8) {
		bitmap_zero(victims, log->g->segments);
		n = sum = 0;
	}
misplaced:
	/* And what should lie elsewhere, as far as there is room for it. */
	budget -= min_t(u64, budget, sum);
	for (i = 0; unwanted && i < log->g->segments; i++) {
		struct pav_segment *s = &log->seg[i];

		if (!may_empty(s) || !(s->set->members & unwanted) || test_bit(i, victims) || atomic_read(&s->live) > budget)
			continue;
		pav_reached("metadata segment evacuated");
		budget -= atomic_read(&s->live);
		__set_bit(i, victims);
		n++;
	}
	spin_unlock_irqrestore(&log->lock, flags);
	return n;
}
