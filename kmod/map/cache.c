// SPDX-License-Identifier: GPL-2.0
/*
 * The bounded cache of the map's blocks.
 *
 * Found by key in a hash whose chains may be walked without a lock; changed with the bucket's lock. A slot is given to another node only when nobody
 * has it pinned and it is clean; the clock hand finds such a slot.
 *
 * Loading a node needs its block of the node table, which may need loading too, up to the root. That is loaded first, and only then a slot is taken:
 * a slot that is being loaded waits for a drive, never for another slot. Nodes that are dirty, or that a write has been admitted to, are limited to
 * claim_limit. So the rest of the slots become free by themselves, and a load, and with it a checkpoint, can go on (I9).
 */
#include "map.h"

static unsigned int hash(const struct pav_map *map, u64 key)
{
	return (unsigned int)((key * 0x9e3779b97f4a7c15ULL) >> 32) & (map->buckets - 1);
}

static spinlock_t *hash_lock(struct pav_map *map, unsigned int h)
{
	return &map->hash_lock[h % PAV_HASH_LOCKS];
}

/* ---- who waits ---- */

static void ready_work(struct pav_work *work)
{
	struct pav_map *map = container_of(work, struct pav_map, ready_work);
	struct list_head now;
	struct pav_waiter *w, *next;
	bool paced = READ_ONCE(map->paced);
	unsigned long flags;
	unsigned int i;

	INIT_LIST_HEAD(&now);
	spin_lock_irqsave(&map->lock, flags);
	list_splice_init(&map->ready, &now);
	spin_unlock_irqrestore(&map->lock, flags);
	/* Where space is scarce these are writes that may go on: together, then, not the first of them alone. */
	for (i = 0; paced && i < map->log->nstreams - 1; i++)
		pav_log_begin_batch(&map->log->streams[i]);
	list_for_each_entry_safe(w, next, &now, link) {
		list_del(&w->link);
		w->fn(w);
	}
	for (i = 0; paced && i < map->log->nstreams - 1; i++)
		pav_log_end_batch(&map->log->streams[i]);
}

/* With map->lock held, see pav_map_free(). */
static void queue_ready(struct pav_map *map)
{
	pav_work_queue(map->worker, &map->ready_work);
}

void pav_map_call_back(struct pav_map *map, struct pav_waiter *w)
{
	unsigned long flags;

	spin_lock_irqsave(&map->lock, flags);
	list_add_tail(&w->link, &map->ready);
	queue_ready(map);
	spin_unlock_irqrestore(&map->lock, flags);
}

static void park(struct pav_map *map, struct pav_waiter *w, struct list_head *list)
{
	unsigned long flags;

	spin_lock_irqsave(&map->lock, flags);
	list_add_tail(&w->link, list);
	spin_unlock_irqrestore(&map->lock, flags);
}

static void call_back_all(struct pav_map *map, struct list_head *list)
{
	unsigned long flags;

	spin_lock_irqsave(&map->lock, flags);
	if (!list_empty(list)) {
		list_splice_tail_init(list, &map->ready);
		queue_ready(map);
	}
	spin_unlock_irqrestore(&map->lock, flags);
}

bool pav_map_turn(struct pav_map *map, struct pav_waiter *w)
{
	unsigned long flags;
	bool got = false;

	spin_lock_irqsave(&map->lock, flags);
	if (map->turns) {
		map->turns--;
		got = true;
	} else {
		pav_reached("waited for a turn to load");
		list_add_tail(&w->link, &map->turn_waiters);
	}
	spin_unlock_irqrestore(&map->lock, flags);
	return got;
}

void pav_map_turn_over(struct pav_map *map)
{
	unsigned long flags;

	/* To whoever waits longest; it keeps the number of turns as it is. */
	spin_lock_irqsave(&map->lock, flags);
	if (!list_empty(&map->turn_waiters)) {
		list_move_tail(map->turn_waiters.next, &map->ready);
		queue_ready(map);
	} else {
		map->turns++;
	}
	spin_unlock_irqrestore(&map->lock, flags);
}

void pav_map_wait_claim(struct pav_map *map, struct pav_waiter *w)
{
	pav_reached("waited for a claim");
	park(map, w, &map->claims);
	map->want_checkpoint(map->ctx);
}

void pav_map_wait_hold(struct pav_map *map, struct pav_waiter *w)
{
	pav_reached("waited to hold a node");
	park(map, w, &map->claims);
	/* Whoever let go just before the parking woke nobody. */
	smp_mb();
	if (atomic_read(&map->held) < (int)map->held_limit)
		call_back_all(map, &map->claims);
}

void pav_map_wait_segment(struct pav_map *map, struct pav_waiter *w)
{
	park(map, w, &map->deferred);
	/* It may have come just before the parking. */
	smp_mb();
	if (!pav_log_users_wait(map->log))
		call_back_all(map, &map->deferred);
}

/* Lets the writes go that credit is there for, or all. */
static void let_go_on(struct pav_map *map, u64 cells, bool paced)
{
	unsigned long flags;
	bool any = false;

	spin_lock_irqsave(&map->lock, flags);
	WRITE_ONCE(map->paced, paced);
	map->credit = paced ? min_t(s64, map->credit + cells, PAV_MAX_CREDIT) : 0;
	/* Not one by one: they are to fill rows. */
	while (!list_empty(&map->slow) && (!paced || map->credit >= (any ? 1 : PAV_MIN_CREDIT))) {
		struct pav_req *req = list_first_entry(&map->slow, struct pav_req, wait.link);

		map->credit -= paced ? req->cells : 0;
		/* All to one stream, for the same reason; there what does not fill a row waits for those that are let go next. */
		req->hint = paced ? 0 : req->hint;
		list_move_tail(&req->wait.link, &map->ready);
		any = true;
	}
	WRITE_ONCE(map->log->more_wait, !list_empty(&map->slow));
	if (any)
		queue_ready(map);
	spin_unlock_irqrestore(&map->lock, flags);
	if (!paced)
		pav_log_kick(map->log);
}

void pav_map_give(struct pav_map *map, u64 cells)
{
	let_go_on(map, cells, true);
}

void pav_map_run_free(struct pav_map *map)
{
	if (READ_ONCE(map->paced))
		let_go_on(map, 0, false);
}

bool pav_map_pace(struct pav_map *map, struct pav_req *req)
{
	unsigned long flags;
	bool go;

	spin_lock_irqsave(&map->lock, flags);
	/* Who has credit may go into debt: or a large one would wait for what may never be saved up. */
	go = !map->paced || (map->credit > 0 && list_empty(&map->slow));
	if (go) {
		map->credit -= map->paced ? req->cells : 0;
		req->hint = map->paced ? 0 : req->hint;
	} else {
		pav_reached("write slowed down");
		list_add_tail(&req->wait.link, &map->slow);
		WRITE_ONCE(map->log->more_wait, true);
	}
	spin_unlock_irqrestore(&map->lock, flags);
	return go;
}

void pav_map_room(struct pav_map *map)
{
	call_back_all(map, &map->room);
	call_back_all(map, &map->claims);
	if (!pav_log_users_wait(map->log))
		call_back_all(map, &map->deferred);
}

/* ---- slots ---- */

static struct pav_node *find(struct pav_map *map, unsigned int h, u64 key)
{
	struct pav_node *n;

	for (n = map->bucket[h]; n; n = n->hnext)
		if (n->key == key)
			return n;
	return NULL;
}

static void enhash(struct pav_map *map, unsigned int h, struct pav_node *n, u64 key, enum pav_node_state state)
{
	n->key = key;
	n->error = 0;
	n->state = state;
	n->hnext = map->bucket[h];
	smp_wmb();
	WRITE_ONCE(map->bucket[h], n);
}

static void unhash(struct pav_map *map, unsigned int h, struct pav_node *n)
{
	struct pav_node **p;

	for (p = &map->bucket[h]; *p != n; p = &(*p)->hnext)
		;
	WRITE_ONCE(*p, n->hnext);
	/* Odd: from here on whoever looked without a pin knows that this is not what it was. */
	WRITE_ONCE(n->ident, (n->ident + 1) | 1);
	smp_wmb();
	n->state = PAV_NODE_FREE;
}

static bool idle(const struct pav_node *n)
{
	return n->state == PAV_NODE_VALID && !atomic_read(&n->pins) && !n->dirty && !n->ckpt && !n->claimed;
}

/* A slot that is no node, for the caller alone. NULL: all are in use just now. Any context. */
static struct pav_node *take_slot(struct pav_map *map)
{
	unsigned int i;
	unsigned long flags, hflags;
	struct pav_node *got = NULL;

	spin_lock_irqsave(&map->lock, flags);
	for (i = 0; i < 2 * map->nslots && !got; i++) {
		struct pav_node *n = &map->slots[map->hand];
		unsigned int h;

		map->hand = map->hand + 1 == map->nslots ? 0 : map->hand + 1;
		if (n->state == PAV_NODE_FREE && !atomic_read(&n->pins)) {
			atomic_set(&n->pins, 1);
			got = n;
			break;
		}
		if (!idle(n))
			continue;
		if (READ_ONCE(n->referenced)) {
			WRITE_ONCE(n->referenced, 0);
			continue;
		}
		h = hash(map, n->key);
		spin_lock_irqsave(hash_lock(map, h), hflags);
		if (idle(n) && hash(map, n->key) == h) {
			unhash(map, h, n);
			atomic_set(&n->pins, 1);
			atomic64_inc(&map->evictions);
			got = n;
		}
		spin_unlock_irqrestore(hash_lock(map, h), hflags);
	}
	spin_unlock_irqrestore(&map->lock, flags);
	return got;
}

/* The slot's data are complete: let those in who look without a pin. */
static void publish(struct pav_node *n)
{
	smp_wmb();
	WRITE_ONCE(n->ident, n->ident + 1);
}

/* A slot may have become free. */
static void room_event(struct pav_map *map)
{
	atomic_inc(&map->room_events);
	smp_mb();
	if (!list_empty(&map->room))
		call_back_all(map, &map->room);
}

/* No slot was free after @events events: parks @w until there is another. False: there was one meanwhile, try again. */
static bool wait_slot(struct pav_map *map, struct pav_waiter *w, int events)
{
	if (atomic_read(&map->room_events) != events)
		return false;
	pav_reached("waited for a slot");
	park(map, w, &map->room);
	/* One that came just before the parking saw an empty list. */
	smp_mb();
	if (atomic_read(&map->room_events) != events)
		call_back_all(map, &map->room);
	return true;
}

static void unused(struct pav_map *map, struct pav_node *n)
{
	atomic_set(&n->pins, 0);
	room_event(map);
}

/* ---- loading ---- */

static void loaded(struct pav_map *map, struct pav_node *n, int error)
{
	unsigned int h = hash(map, n->key), ticket = n->ticket;
	struct list_head waiters;
	struct pav_waiter *w, *next;
	unsigned long flags;

	INIT_LIST_HEAD(&waiters);
	spin_lock_irqsave(hash_lock(map, h), flags);
	n->error = error;
	n->state = PAV_NODE_VALID;
	list_splice_init(&n->waiters, &waiters);
	if (!error)
		publish(n);
	spin_unlock_irqrestore(hash_lock(map, h), flags);
	list_for_each_entry_safe(w, next, &waiters, link) {
		list_del(&w->link);
		pav_map_call_back(map, w);
	}
	/* It stays until they have had their turn: or they might load it for one another for ever. */
	pav_map_call_back(map, &n->let_go);
	/* Last: whoever frees the map waits for this alone, and those called back may have been what kept it from that. */
	pav_map_leave(map, ticket);
}

static void let_go(struct pav_waiter *w)
{
	struct pav_node *n = container_of(w, struct pav_node, let_go);

	pav_node_put(n->map, n);
}

static void cell_loaded(struct pav_cell_read *cr)
{
	struct pav_node *n = container_of(cr, struct pav_node, cr);

	loaded(n->map, n, cr->error);
}

/* Reads the node from where @e says it lies. It is in the hash, LOADING: nobody else can load or change it, nor its place. */
static void load(struct pav_map *map, struct pav_node *n, struct pav_d_entry e)
{
	u64 loc = le64_to_cpu(e.loc);

	atomic64_inc(&map->misses);
	if (!loc) {
		memset(n->data, 0, PAV_CELL_BYTES);
		loaded(map, n, 0);
		return;
	}
	if (!pav_loc_ok(map->g, loc)) {
		pav_log(PAV_ERR, "%s: the node table points to a place that cannot be", map->g->name);
		loaded(map, n, -EIO);
		return;
	}
	n->cr.g = map->g;
	n->cr.loc = loc;
	n->cr.crc = le32_to_cpu(e.crc);
	n->cr.buf = n->data;
	n->cr.direct_failed = false;
	n->cr.done = cell_loaded;
	pav_cell_read(&n->cr);
}

/* Finds @key, pinned in *@n; or, if it is being loaded, has @w wait. False: it is not there. */
static bool find_or_wait(struct pav_map *map, u64 key, struct pav_waiter *w, struct pav_node **n)
{
	unsigned int h = hash(map, key);
	struct pav_node *f;
	unsigned long flags;

	*n = NULL;
	spin_lock_irqsave(hash_lock(map, h), flags);
	f = find(map, h, key);
	if (f && f->state == PAV_NODE_VALID) {
		atomic_inc(&f->pins);
		if (!f->referenced)
			WRITE_ONCE(f->referenced, 1);
		*n = f;
	} else if (f) {
		list_add_tail(&w->link, &f->waiters);
	}
	spin_unlock_irqrestore(hash_lock(map, h), flags);
	return f != NULL;
}

struct pav_node *pav_node_get(struct pav_map *map, u64 key, struct pav_waiter *w)
{
	int level = PAV_KEY_LEVEL(key);
	u64 index = PAV_KEY_INDEX(key);
	unsigned int h = hash(map, key);
	struct pav_node *n, *table = NULL, *slot = NULL;
	struct pav_d_entry e;
	unsigned long flags;
	int room;

	if (find_or_wait(map, key, w, &n))
		return n;
	/* The block of the node table first: whoever holds a slot waits for nothing but a drive. */
	if (level < PAV_TABLE_LEVELS - 1) {
		table = pav_node_get(map, PAV_TABLE_KEY(level + 1, index >> PAV_TABLE_BITS), w);
		if (!table)
			return NULL;
	}
	do {
		room = atomic_read(&map->room_events);
		slot = take_slot(map);
	} while (!slot && !wait_slot(map, w, room));
	if (!slot) {
		/* No event: the one slot that may be free now is the one we cannot do without. */
		if (table)
			pav_node_put_look(table);
		return NULL;
	}
	spin_lock_irqsave(hash_lock(map, h), flags);
	n = find(map, h, key);
	if (!n) {
		enhash(map, h, slot, key, PAV_NODE_LOADING);
		list_add_tail(&w->link, &slot->waiters);
	}
	spin_unlock_irqrestore(hash_lock(map, h), flags);
	if (n) {
		/* Somebody was quicker. */
		unused(map, slot);
		if (table)
			pav_node_put_look(table);
		return pav_node_get(map, key, w);
	}
	/* From the look at where it lies to the end of the load: that place is not used again meanwhile (I12). */
	slot->ticket = pav_map_enter(map);
	e = map->root;
	if (table) {
		int error = table->error;

		spin_lock_irqsave(&table->lock, flags);
		e = ((struct pav_d_entry *)table->data)[index & ((1u << PAV_TABLE_BITS) - 1)];
		spin_unlock_irqrestore(&table->lock, flags);
		pav_node_put_look(table);
		if (error) {
			loaded(map, slot, error);
			return NULL;
		}
	}
	load(map, slot, e);
	return NULL;
}

struct wait_asleep {
	struct pav_waiter w;
	struct pav_map *map;
	u64 key;
	struct pav_node *n;
	struct completion done;
};

/* Takes hold of the node at once, not only when the sleeper comes to it: it could be gone again. */
static void wake_asleep(struct pav_waiter *w)
{
	struct wait_asleep *a = container_of(w, struct wait_asleep, w);

	a->n = pav_node_get(a->map, a->key, w);
	if (a->n)
		complete(&a->done);
}

struct pav_node *pav_node_get_wait(struct pav_map *map, u64 key)
{
	struct wait_asleep a = { .map = map, .key = key };
	struct pav_node *n;

	a.w.fn = wake_asleep;
	init_completion(&a.done);
	/* If it says no, a.n is wake_asleep()'s, which may be done with it already. */
	n = pav_node_get(map, key, &a.w);
	if (n)
		return n;
	wait_for_completion(&a.done);
	return a.n;
}

void pav_node_put(struct pav_map *map, struct pav_node *n)
{
	if (atomic_dec_and_test(&n->pins))
		room_event(map);
}

struct pav_node *pav_node_new(struct pav_map *map, u64 key)
{
	unsigned int h = hash(map, key);
	struct pav_node *n = take_slot(map);
	unsigned long flags;

	if (!n)
		return NULL;
	memset(n->data, 0, PAV_CELL_BYTES);
	spin_lock_irqsave(hash_lock(map, h), flags);
	enhash(map, h, n, key, PAV_NODE_VALID);
	publish(n);
	spin_unlock_irqrestore(hash_lock(map, h), flags);
	return n;
}

struct pav_node *pav_node_peek(struct pav_map *map, u64 key, u32 *ident)
{
	struct pav_node *n = READ_ONCE(map->bucket[hash(map, key)]);
	unsigned int steps;

	/* A chain may change under us, even into another one: bounded, and checked at the end. */
	for (steps = 0; n && steps < 32; n = READ_ONCE(n->hnext), steps++) {
		if (READ_ONCE(n->key) != key)
			continue;
		*ident = READ_ONCE(n->ident);
		smp_rmb();
		if ((*ident & 1) || READ_ONCE(n->key) != key)
			return NULL;
		if (!READ_ONCE(n->referenced))
			WRITE_ONCE(n->referenced, 1);
		return n;
	}
	return NULL;
}

/* ---- dirt ---- */

static bool claim(struct pav_map *map, struct pav_node *n, unsigned int limit)
{
	lockdep_assert_held(&n->lock);
	if (n->claimed)
		return true;
	if (atomic_inc_return(&map->claimed) > (int)limit) {
		atomic_dec(&map->claimed);
		return false;
	}
	if (atomic_read(&map->claimed) > (int)(map->claim_limit - map->claim_limit / 4))
		map->want_checkpoint(map->ctx);
	n->claimed = true;
	return true;
}

bool pav_node_claim(struct pav_map *map, struct pav_node *n)
{
	return claim(map, n, pav_map_write_claims(map));
}

bool pav_node_claim_control(struct pav_map *map, struct pav_node *n)
{
	return claim(map, n, map->claim_limit);
}

bool pav_node_unclaim_if_idle(struct pav_map *map, struct pav_node *n)
{
	lockdep_assert_held(&n->lock);
	if (!n->claimed || n->dirty || n->ckpt || n->staged || n->writers || n->movers)
		return false;
	n->claimed = false;
	atomic_dec(&map->claimed);
	return true;
}

bool pav_node_change(struct pav_map *map, struct pav_node *n)
{
	unsigned long flags;
	bool ok = true;

	lockdep_assert_held(&n->lock);
	if (n->ckpt && !n->shadow) {
		spin_lock_irqsave(&map->dirty_lock, flags);
		if (map->shadows)
			n->shadow = map->shadow[--map->shadows];
		else
			ok = false;
		spin_unlock_irqrestore(&map->dirty_lock, flags);
		if (!ok)
			return false;
		pav_reached("node shadowed");
		memcpy(n->shadow, n->data, PAV_CELL_BYTES);
	}
	if (!n->dirty) {
		n->dirty = true;
		/* While it is in the checkpoint's list it is moved to the dirty list by the checkpoint. */
		if (!n->ckpt) {
			spin_lock_irqsave(&map->dirty_lock, flags);
			list_add_tail(&n->dirty_link, &map->dirty);
			spin_unlock_irqrestore(&map->dirty_lock, flags);
		}
	}
	return true;
}

/* ---- life ---- */

int pav_cache_init(struct pav_map *map, unsigned int slots)
{
	unsigned int i;

	map->nslots = slots;
	for (map->buckets = 64; map->buckets < slots; map->buckets *= 2)
		;
	map->slots = pav_alloc(sizeof(*map->slots) * slots);
	map->bucket = pav_alloc(sizeof(*map->bucket) * map->buckets);
	if (!map->slots || !map->bucket)
		return -ENOMEM;
	for (i = 0; i < PAV_HASH_LOCKS; i++)
		spin_lock_init(&map->hash_lock[i]);
	for (i = 0; i < slots; i++) {
		struct pav_node *n = &map->slots[i];

		n->map = map;
		n->let_go.fn = let_go;
		n->ident = 1;
		spin_lock_init(&n->lock);
		INIT_LIST_HEAD(&n->waiters);
		INIT_LIST_HEAD(&n->blocked);
		n->data = pav_alloc_cells(1);
		if (!n->data)
			return -ENOMEM;
	}
	for (i = 0; i < PAV_SHADOWS; i++) {
		map->shadow[i] = pav_alloc_cells(1);
		if (!map->shadow[i])
			return -ENOMEM;
		map->shadows++;
	}
	/* The rest serves loads: of what is read, and of the node table while a checkpoint runs. */
	map->claim_limit = slots * 5 / 8;
	map->turns = slots / 16;
	pav_work_init(&map->ready_work, ready_work);
	return 0;
}

void pav_cache_free(struct pav_map *map)
{
	unsigned int i;

	for (i = 0; map->slots && i < map->nslots; i++) {
		if (map->slots[i].data)
			pav_free_cells(map->slots[i].data, 1);
		if (map->slots[i].shadow)
			pav_free_cells(map->slots[i].shadow, 1);
	}
	for (i = 0; i < map->shadows; i++)
		pav_free_cells(map->shadow[i], 1);
	pav_free(map->bucket);
	pav_free(map->slots);
}
