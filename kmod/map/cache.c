// SPDX-License-Identifier: GPL-2.0
/*
 * The bounded cache of the map's blocks.
 *
 * Found by key in a hash whose chains may be walked without a lock; changed with the bucket's lock. A slot is given to another node only when nobody
 * has it pinned and it is clean; the clock hand finds such a slot.
 *
 * Loading a node needs its block of the node table, which may need loading too, up to the root: a chain of waiters, each in the slot that waits.
 * Nodes that are dirty, or that a write has been admitted to, are limited to claim_limit: the rest of the slots always become free by themselves,
 * so that a load, and with it a checkpoint, can go on (I9).
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
	unsigned long flags;

	INIT_LIST_HEAD(&now);
	spin_lock_irqsave(&map->lock, flags);
	list_splice_init(&map->ready, &now);
	spin_unlock_irqrestore(&map->lock, flags);
	list_for_each_entry_safe(w, next, &now, link) {
		list_del(&w->link);
		w->fn(w);
	}
}

void pav_map_call_back(struct pav_map *map, struct pav_waiter *w)
{
	unsigned long flags;

	spin_lock_irqsave(&map->lock, flags);
	list_add_tail(&w->link, &map->ready);
	spin_unlock_irqrestore(&map->lock, flags);
	pav_work_queue(map->worker, &map->ready_work);
}

void pav_map_wait_room(struct pav_map *map, struct pav_waiter *w, bool checkpoint)
{
	unsigned long flags;

	pav_reached("waited for room in the map");
	spin_lock_irqsave(&map->lock, flags);
	list_add_tail(&w->link, &map->room);
	spin_unlock_irqrestore(&map->lock, flags);
	if (checkpoint)
		map->want_checkpoint(map->ctx);
}

void pav_map_room(struct pav_map *map)
{
	unsigned long flags;
	bool any;

	spin_lock_irqsave(&map->lock, flags);
	any = !list_empty(&map->room);
	list_splice_init(&map->room, &map->ready);
	spin_unlock_irqrestore(&map->lock, flags);
	if (any)
		pav_work_queue(map->worker, &map->ready_work);
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

static void unused(struct pav_map *map, struct pav_node *n)
{
	atomic_set(&n->pins, 0);
	pav_map_room(map);
}

/* ---- loading ---- */

static void loaded(struct pav_map *map, struct pav_node *n, int error)
{
	unsigned int h = hash(map, n->key);
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
	pav_node_put(map, n);
}

static void cell_loaded(struct pav_cell_read *cr)
{
	struct pav_node *n = container_of(cr, struct pav_node, cr);

	loaded(n->map, n, cr->error);
}

static void load(struct pav_map *map, struct pav_node *n)
{
	int level = PAV_KEY_LEVEL(n->key);
	u64 index = n->key & ((1ULL << 56) - 1);
	struct pav_d_entry e;
	u64 loc;

	if (level == PAV_TABLE_LEVELS - 1) {
		e = map->root;
	} else {
		struct pav_node *table = pav_node_get(map, PAV_TABLE_KEY(level + 1, index >> PAV_TABLE_BITS), &n->wait);
		unsigned long flags;
		int error;

		if (!table)
			return;
		error = table->error;
		spin_lock_irqsave(&table->lock, flags);
		e = ((struct pav_d_entry *)table->data)[index & ((1u << PAV_TABLE_BITS) - 1)];
		spin_unlock_irqrestore(&table->lock, flags);
		pav_node_put(map, table);
		if (error) {
			loaded(map, n, error);
			return;
		}
	}
	loc = le64_to_cpu(e.loc);
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

static void load_again(struct pav_waiter *w)
{
	struct pav_node *n = container_of(w, struct pav_node, wait);

	load(n->map, n);
}

struct pav_node *pav_node_get(struct pav_map *map, u64 key, struct pav_waiter *w)
{
	unsigned int h = hash(map, key);
	struct pav_node *n, *slot = NULL;
	unsigned long flags;

	for (;;) {
		spin_lock_irqsave(hash_lock(map, h), flags);
		n = find(map, h, key);
		if (n && n->state == PAV_NODE_VALID) {
			atomic_inc(&n->pins);
			if (!n->referenced)
				WRITE_ONCE(n->referenced, 1);
			spin_unlock_irqrestore(hash_lock(map, h), flags);
			break;
		}
		if (n) {
			list_add_tail(&w->link, &n->waiters);
			spin_unlock_irqrestore(hash_lock(map, h), flags);
			n = NULL;
			break;
		}
		if (slot) {
			enhash(map, h, slot, key, PAV_NODE_LOADING);
			list_add_tail(&w->link, &slot->waiters);
			spin_unlock_irqrestore(hash_lock(map, h), flags);
			atomic64_inc(&map->misses);
			load(map, slot);
			return NULL;
		}
		spin_unlock_irqrestore(hash_lock(map, h), flags);
		slot = take_slot(map);
		if (!slot) {
			pav_map_wait_room(map, w, true);
			return NULL;
		}
	}
	if (slot)
		unused(map, slot);
	return n;
}

struct wait_asleep {
	struct pav_waiter w;
	struct completion done;
};

static void wake_asleep(struct pav_waiter *w)
{
	complete(&container_of(w, struct wait_asleep, w)->done);
}

struct pav_node *pav_node_get_wait(struct pav_map *map, u64 key)
{
	struct wait_asleep wait;
	struct pav_node *n;

	wait.w.fn = wake_asleep;
	for (;;) {
		init_completion(&wait.done);
		n = pav_node_get(map, key, &wait.w);
		if (n)
			return n;
		wait_for_completion(&wait.done);
	}
}

void pav_node_put(struct pav_map *map, struct pav_node *n)
{
	/* A waiter that comes to the list just now asked for a checkpoint too, which calls it back. */
	if (atomic_dec_and_test(&n->pins) && !list_empty(&map->room))
		pav_map_room(map);
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

bool pav_node_claim(struct pav_map *map, struct pav_node *n)
{
	lockdep_assert_held(&n->lock);
	if (n->claimed)
		return true;
	if (atomic_inc_return(&map->claimed) > (int)map->claim_limit) {
		atomic_dec(&map->claimed);
		return false;
	}
	if (atomic_read(&map->claimed) > (int)(map->claim_limit - map->claim_limit / 4))
		map->want_checkpoint(map->ctx);
	n->claimed = true;
	return true;
}

void pav_node_unclaim_if_idle(struct pav_map *map, struct pav_node *n)
{
	lockdep_assert_held(&n->lock);
	if (n->claimed && !n->dirty && !n->ckpt && !n->writers) {
		n->claimed = false;
		atomic_dec(&map->claimed);
	}
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
		n->ident = 1;
		spin_lock_init(&n->lock);
		INIT_LIST_HEAD(&n->waiters);
		INIT_LIST_HEAD(&n->blocked);
		n->wait.fn = load_again;
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
