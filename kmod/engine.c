// SPDX-License-Identifier: GPL-2.0
/*
 * The engine put together: making, opening and closing a group; control of its volumes; the entrance for requests.
 *
 * Everything that changes a volume's record is made durable by a checkpoint before it returns, so that such changes need no entries in the log.
 */
#include "engine_parts.h"

/* ---- open ---- */

static int too_few(struct pav_group *g, struct pav_err *err)
{
	char list[120] = "";
	unsigned int slot, at = 0;

	for (slot = 0; slot < g->slots; slot++)
		if ((g->gone & BIT_ULL(slot)) && g->drives[slot].state != PAV_DRIVE_EMPTY)
			at += scnprintf(list + at, sizeof(list) - at, "%s%u (%s)", at ? ", " : "", slot, g->drives[slot].path);
	pav_reached("open refused: too few drives");
	return pav_fail(err, -ENOMEDIUM, "group %s: too many drives are missing: %s. Nothing was changed; bring them back and import again",
			g->name, list);
}

static int load_segments(struct pav_engine *e, struct pav_err *err)
{
	struct pav_group *g = &e->g;
	u64 slots = BIT_ULL(g->slots) - 1;
	u32 i, j;

	for (i = 0; i < e->log.seg_nodes; i++) {
		struct pav_node *n = pav_node_get_wait(&e->map, PAV_NR_SEGMENTS + i);
		const struct pav_d_segment *d = (const struct pav_d_segment *)n->data;
		const char *why = NULL;
		int error = n->error;

		for (j = 0; j < PAV_SEGS_PER_NODE && i * PAV_SEGS_PER_NODE + j < g->segments && !error; j++) {
			why = pav_segment_check(&d[j], slots);
			error = why ? -EUCLEAN : pav_log_load_segment(&e->log, i * PAV_SEGS_PER_NODE + j, &d[j]);
		}
		pav_node_put(&e->map, n);
		if (error == -EIO)
			return too_few(g, err);
		if (error)
			return pav_fail(err, error, "group %s: segment table: %s", g->name, why ? why : "out of memory");
	}
	return 0;
}

static int load_volumes(struct pav_engine *e, struct pav_err *err)
{
	unsigned int block, i;

	for (block = 0; block < PAV_MAX_VOLUMES >> PAV_TABLE_BITS; block++) {
		struct pav_node *t = pav_node_get_wait(&e->map, PAV_TABLE_KEY(0, (PAV_NR_VOLUME >> PAV_TABLE_BITS) + block));
		int error = t->error;

		for (i = 0; i < 1u << PAV_TABLE_BITS && !error; i++) {
			unsigned int id = (block << PAV_TABLE_BITS) + i;
			const char *why = NULL;
			struct pav_node *n;

			if (!((struct pav_d_entry *)t->data)[i].loc)
				continue;
			n = pav_node_get_wait(&e->map, PAV_NR_VOLUME + id);
			error = n->error ? n->error : pav_volume_decode(&e->map, id, (const struct pav_d_volume *)n->data, &why);
			pav_node_put(&e->map, n);
			if (error && error != -EIO)
				pav_fail(err, error, "group %s: volume %u: %s", e->g.name, id, why ? why : "out of memory");
		}
		pav_node_put(&e->map, t);
		if (error)
			return error == -EIO ? too_few(&e->g, err) : error;
	}
	return 0;
}

/* Counts what the node table points to: of metadata segments no count is kept. */
static int count_metadata(struct pav_engine *e, int level, u64 index)
{
	unsigned int i;
	int error = 0;

	for (i = 0; i < 1u << PAV_TABLE_BITS && !error; i++) {
		struct pav_node *t = pav_node_get_wait(&e->map, PAV_TABLE_KEY(level, index));
		u64 loc = le64_to_cpu(((struct pav_d_entry *)t->data)[i].loc);

		error = t->error;
		pav_node_put(&e->map, t);
		if (!loc || error)
			continue;
		if (!pav_loc_ok(&e->g, loc))
			return -EIO;
		pav_log_found_meta(&e->log, loc);
		if (level)
			error = count_metadata(e, level - 1, index << PAV_TABLE_BITS | i);
	}
	return error;
}

static int replay_cell(void *ctx, u32 volume, u64 lba, u64 loc, u32 crc, u32 birth)
{
	struct pav_engine *e = ctx;
	struct pav_volume *vol = e->map.volumes[volume];

	/* Of a volume that was deleted since: its stripes are older than the deletion, which is a checkpoint. */
	if (!vol || vol->state != PAV_VOLUME_LIVE || lba >= vol->cells)
		return 0;
	return pav_tree_set(vol, lba, 1, loc, crc, birth);
}

static int replay_unmap(void *ctx, u32 volume, u64 lba, u32 cells)
{
	struct pav_engine *e = ctx;
	struct pav_volume *vol = e->map.volumes[volume];

	if (!vol || vol->state != PAV_VOLUME_LIVE || lba + cells > vol->cells)
		return 0;
	return pav_tree_set(vol, lba, cells, 0, 0, 0);
}

static int replay_between(void *ctx, u64 seq)
{
	struct pav_engine *e = ctx;
	int error;

	pav_reached("checkpoint in the middle of replay");
	mutex_lock(&e->ckpt.lock);
	error = pav_checkpoint_locked(&e->ckpt, seq, 0);
	mutex_unlock(&e->ckpt.lock);
	return error == -ENOSPC ? -EIO : error;
}

static int finish_delete(struct pav_engine *e, struct pav_volume *vol)
{
	int more, error = 0;

	do {
		mutex_lock(&e->ckpt.lock);
		more = pav_tree_free_some(vol, max(16u, pav_map_control_claims(&e->map)));
		mutex_unlock(&e->ckpt.lock);
		if (more && atomic_read(&e->map.claimed) > (int)e->map.claim_limit / 2)
			error = pav_checkpoint_run(&e->ckpt);
	} while (more && !error);
	if (error)
		return error;
	vol->state = PAV_VOLUME_NONE;
	vol->dirty = true;
	error = pav_checkpoint_run(&e->ckpt);
	if (!error) {
		e->map.volumes[vol->id] = NULL;
		pav_free(vol);
	}
	return error;
}

/* All that are under way: one for which there was no room may have been left by an earlier command, or life. */
static int finish_deletes(struct pav_engine *e)
{
	unsigned int id;
	int error = 0;

	for (id = 0; id < PAV_MAX_VOLUMES && !error; id++)
		if (e->map.volumes[id] && e->map.volumes[id]->state == PAV_VOLUME_DELETING)
			error = finish_delete(e, e->map.volumes[id]);
	return error;
}

static int start(struct pav_engine *e, struct pav_err *err)
{
	struct pav_replay_ops ops = { .cell = replay_cell, .unmap = replay_unmap, .between = replay_between, .ctx = e };
	unsigned int id;
	u64 log_id = 0;
	int error;

	error = pav_log_replay(&e->log, &ops, err);
	if (error)
		return error;
	while (!log_id || log_id == e->log.log_id)
		pav_random(&log_id, sizeof(log_id));
	pav_log_start(&e->log);
	mutex_lock(&e->ckpt.lock);
	error = pav_checkpoint_locked(&e->ckpt, 0, log_id);
	mutex_unlock(&e->ckpt.lock);
	if (error)
		return pav_fail(err, error, "group %s: the checkpoint that ends replay failed (error %d)", e->g.name, error);
	e->log.log_id = log_id;
	WRITE_ONCE(e->ckpt.off, false);
	if (pav_log_end_replay(&e->log) && pav_log_check_starved(&e->log, false))
		pav_checkpoint_run(&e->ckpt);
	for (id = 0; id < PAV_MAX_VOLUMES; id++)
		if (e->map.volumes[id] && e->map.volumes[id]->state == PAV_VOLUME_DELETING)
			pav_reached("deletion finished at open");
	finish_deletes(e);
	pav_gc_start(&e->gc);
	for (id = 0; id < e->g.slots; id++) {
		struct pav_dev *back = e->g.drives[id].back;

		/* It merely was not there last time: home with it, before a spare takes its place. */
		if (back && e->g.drives[id].away && pav_engine_return(e, back, NULL))
			pav_log(PAV_WARN, "%s: drive %s stays out", e->g.name, pav_dev_name(back));
	}
	pav_rebuild_start(&e->rebuild);
	return 0;
}

static void engine_free(struct pav_engine *e)
{
	pav_group_last_record(&e->g);
	pav_rebuild_free(&e->rebuild);
	pav_gc_free(&e->gc);
	pav_discard_free(&e->discard);
	pav_checkpoint_free(&e->ckpt);
	if (e->map.worker) {
		/* A node's load may have told us that it failed, and be at its last steps still. */
		pav_map_wait_readers(&e->map);
		/* The worker may have had a stream's turn, for a request that has ended. */
		pav_work_flush(e->map.worker);
	}
	pav_log_free(&e->log);
	pav_map_free(&e->map);
	pav_group_free(&e->g);
	pav_free(e);
}

/* All that is read before the group is ours. */
static int load(struct pav_engine *e, struct pav_err *err)
{
	int error = load_segments(e, err);

	if (!error)
		error = load_volumes(e, err);
	if (error)
		return error;
	error = pav_log_load_replay_list(&e->log);
	if (!error && e->map.root.loc) {
		pav_log_found_meta(&e->log, le64_to_cpu(e->map.root.loc));
		error = count_metadata(e, PAV_TABLE_LEVELS - 1, 0);
	}
	if (error == -EIO || (!error && pav_group_too_few(&e->g, e->g.gone)))
		return too_few(&e->g, err);
	return error ? pav_fail(err, error, "group %s: out of memory", e->g.name) : 0;
}

/* What could not be read may be what another host, at work, has let go of since: then that is to be said, or all is to be read again. */
static int load_failed(struct pav_engine *e, const struct pav_open_params *p, int error, struct pav_err *err)
{
	if (error == -ENOMEM || pav_group_unchanged(&e->g) != -EAGAIN)
		return error;
	pav_reached("group changed while it was read");
	error = pav_owner_take(&e->g, p, err);
	return error ? error : -EAGAIN;
}

static int open_once(const struct pav_drive_arg *drives, unsigned int n, const struct pav_open_params *p, struct pav_engine **out, struct pav_err *err)
{
	struct pav_engine *e = pav_alloc(sizeof(*e));
	int error;
	u32 i;

	if (!e)
		return pav_fail(err, -ENOMEM, "out of memory");
	mutex_init(&e->control);
	error = pav_group_gather(&e->g, drives, n, p, err);
	if (error)
		goto fail;
	/* Not a byte is written before it is known that enough drives are there. */
	e->g.faulted = true;
	e->log_ops = pav_map_log_ops;
	e->log_ops.want_segments = pav_checkpoint_want_segments;
	e->log_ops.want_space = pav_checkpoint_want_space;
	e->log_ops.ctx = &e->ckpt;
	e->map.want_checkpoint = pav_checkpoint_want;
	e->map.ctx = &e->ckpt;
	error = pav_log_init(&e->log, &e->g, &e->log_ops, p->streams ? p->streams : 2);
	if (!error)
		error = pav_map_init(&e->map, &e->g, &e->log, p);
	if (!error)
		error = pav_checkpoint_init(&e->ckpt, &e->g, &e->log, &e->map);
	if (!error)
		error = pav_gc_init(&e->gc, &e->ckpt);
	if (!error)
		error = pav_discard_init(&e->discard, &e->log);
	if (!error)
		error = pav_rebuild_init(&e->rebuild, &e->gc);
	if (error) {
		pav_fail(err, error, "group %s: out of memory", e->g.name);
		goto fail;
	}
	/* No more may be dirty than a little of the group could take: in a small one, less than the cache would bear. */
	while (e->map.claim_limit > 24 &&
	       pav_log_meta_rows(&e->log, e->map.claim_limit + e->map.claim_limit / 2) > (u64)e->g.segments * e->g.segment_blocks / 48)
		e->map.claim_limit -= e->map.claim_limit / 4;
	e->map.held_limit = e->map.claim_limit - e->map.claim_limit / 4;
	error = load(e, err);
	if (error)
		error = load_failed(e, p, error, err);
	if (error)
		goto fail;
	/* Metadata may have been written without a drive after the checkpoint had told what its segments lack. */
	for (i = 0; i < e->g.segments; i++)
		if (e->log.seg[i].state == PAV_SEG_META)
			pav_log_lack(&e->log, i, 0, e->g.gone);
	pav_log_free_dead_at_open(&e->log);
	pav_checkpoint_loaded(&e->ckpt);
	error = pav_owner_take(&e->g, p, err);
	if (error)
		goto fail;
	WRITE_ONCE(e->g.faulted, false);
	/* The newest superblock may be on one drive alone. What its checkpoint let go of is about to be written over: first, all are to have it. */
	if (e->g.uneven) {
		pav_reached("commit completed at open");
		error = pav_group_commit(&e->g, PAV_COMMIT_DRIVES, NULL, NULL);
		if (error) {
			pav_fail(err, error, "group %s: a superblock could not be written (error %d)", e->g.name, error);
			goto fail;
		}
	}
	error = start(e, err);
	if (error)
		goto fail;
	if (!p->no_discard) {
		e->ckpt.discard = &e->discard;
		smp_store_release(&e->ckpt.freed, pav_discard_want);
		pav_discard_start(&e->discard);
	}
	pav_group_event(&e->g, PAV_EVENT_GROUP_OPENED, -1, 0, "group opened");
	*out = e;
	return 0;
fail:
	e->ckpt.off = true;
	pav_recon_pool_drain(&e->g);
	engine_free(e);
	return error;
}

int pav_engine_open(const struct pav_drive_arg *drives, unsigned int n, const struct pav_open_params *p, struct pav_engine **out, struct pav_err *err)
{
	unsigned int tries = 0;
	int error;

	/* Whoever had it open may have changed it between our first look and its end. */
	do
		error = open_once(drives, n, p, out, err);
	while (error == -EAGAIN && tries++ < 8);
	return error;
}

int pav_engine_close(struct pav_engine *e, struct pav_err *err)
{
	int error;

	mutex_lock(&e->control);
	pav_rebuild_stop(&e->rebuild);
	pav_gc_stop(&e->gc);
	pav_discard_stop(&e->discard);
	WRITE_ONCE(e->ckpt.off, true);
	pav_work_flush(e->ckpt.worker);
	error = pav_checkpoint_run(&e->ckpt);
	mutex_unlock(&e->control);
	pav_recon_pool_drain(&e->g);
	if (error)
		pav_fail(err, error, "group %s: closed, but its last checkpoint failed (error %d): the next import replays the log", e->g.name, error);
	pav_group_event(&e->g, PAV_EVENT_GROUP_CLOSED, -1, 0, "group closed");
	engine_free(e);
	return error;
}

int pav_engine_checkpoint(struct pav_engine *e)
{
	return pav_checkpoint_run(&e->ckpt);
}

/* ---- requests ---- */

static bool request_ok(const struct pav_req *req)
{
	return req->cells && req->cells <= PAV_REQ_MAX_CELLS && req->lba < req->vol->cells && req->cells <= req->vol->cells - req->lba &&
	       req->lba / PAV_LEAF_ENTRIES == (req->lba + req->cells - 1) / PAV_LEAF_ENTRIES;
}

void pav_submit(struct pav_req *req)
{
	if (unlikely(!request_ok(req))) {
		req->error = -EINVAL;
		req->done(req);
	} else if (unlikely(READ_ONCE(req->vol->map->g->faulted))) {
		req->error = -EIO;
		req->done(req);
	} else if (req->op == PAV_READ) {
		pav_map_read(req);
	} else {
		pav_map_write(req);
	}
}

/* ---- volumes ---- */

static struct pav_volume *by_name(struct pav_engine *e, const char *name)
{
	unsigned int id;

	for (id = 0; id < PAV_MAX_VOLUMES; id++)
		if (e->map.volumes[id] && e->map.volumes[id]->state == PAV_VOLUME_LIVE && !strcmp(e->map.volumes[id]->ident.name, name))
			return e->map.volumes[id];
	return NULL;
}

static int check_new_name(struct pav_engine *e, const char *name, struct pav_err *err)
{
	if (!pav_name_ok(name))
		return pav_fail(err, -EINVAL, "volume name '%.63s': use 1 to %u letters, digits, '.', '_', '-', beginning with a letter or digit", name,
				PAV_NAME_MAX);
	if (by_name(e, name))
		return pav_fail(err, -EEXIST, "group %s has a volume %s already", e->g.name, name);
	return 0;
}

static int check_size(const char *name, u64 cells, struct pav_err *err)
{
	if (cells < PAV_VOLUME_MIN_BYTES / PAV_CELL_BYTES || cells > PAV_VOLUME_MAX_BYTES / PAV_CELL_BYTES || cells % PAV_LEAF_ENTRIES)
		return pav_fail(err, -EINVAL, "volume %s: size %llu MiB: use a whole number of MiB from 1 to 67108864 (64 TiB)", name,
				(unsigned long long)cells >> 8);
	return 0;
}

static bool is_blank(const u8 *id)
{
	static const u8 zero[16];

	return !memcmp(id, zero, sizeof(zero));
}

/*
 * Makes a change to @vol's record durable. The checkpoint lock is held since before the change: another checkpoint in between could make durable what this
 * one fails to, and what is then taken back.
 */
static int make_durable(struct pav_engine *e, struct pav_volume *vol, const char *what, struct pav_err *err)
{
	int error;

	vol->dirty = true;
	error = pav_checkpoint_locked(&e->ckpt, 0, 0);
	if (error)
		pav_fail(err, error, "group %s: volume %s: %s could not be made durable (%s)", e->g.name, vol->ident.name, what,
			 error == -ENOSPC ? "no space" : "I/O error");
	return error;
}

int pav_volume_create(struct pav_engine *e, const struct pav_volume_ident *ident, u64 cells, struct pav_volume **out, struct pav_err *err)
{
	struct pav_volume *vol;
	unsigned int id, i;
	u8 random[8];
	int error;

	mutex_lock(&e->control);
	finish_deletes(e);
	error = check_new_name(e, ident->name, err);
	if (!error)
		error = check_size(ident->name, cells, err);
	for (i = 0; i < PAV_MAX_VOLUMES && !error && ident->serial[0]; i++)
		if (e->map.volumes[i] && !strcmp(e->map.volumes[i]->ident.serial, ident->serial))
			error = pav_fail(err, -EEXIST, "volume %s: serial %s is that of volume %s", ident->name, ident->serial,
					 e->map.volumes[i]->ident.name);
	if (error)
		goto out;
	for (id = 0; id < PAV_MAX_VOLUMES && e->map.volumes[id]; id++)
		;
	if (id == PAV_MAX_VOLUMES) {
		error = pav_fail(err, -ENOSPC, "group %s has %u volumes already: delete one first", e->g.name, PAV_MAX_VOLUMES);
		goto out;
	}
	vol = pav_volume_alloc(&e->map, id);
	if (!vol) {
		error = pav_fail(err, -ENOMEM, "volume %s: out of memory", ident->name);
		goto out;
	}
	vol->ident = *ident;
	if (!vol->ident.serial[0]) {
		pav_random(random, sizeof(random));
		scnprintf(vol->ident.serial, sizeof(vol->ident.serial), "GB0%02x%02x%02x%02x%02x%02x%02x", random[0], random[1], random[2], random[3],
			  random[4], random[5], random[6]);
	}
	if (is_blank(vol->ident.uuid))
		pav_make_uuid(vol->ident.uuid);
	if (is_blank(vol->ident.nguid))
		pav_make_uuid(vol->ident.nguid);
	vol->state = PAV_VOLUME_LIVE;
	vol->cells = cells;
	vol->top = PAV_TOP(0, pav_tree_depth(cells));
	vol->birth = e->log.birth;
	mutex_lock(&e->ckpt.lock);
	e->map.volumes[id] = vol;
	error = make_durable(e, vol, "its creation", err);
	if (error) {
		/* Its record may be on its way already: the next checkpoint takes it back, and with it the number. */
		vol->state = PAV_VOLUME_NONE;
		vol->dirty = true;
	}
	mutex_unlock(&e->ckpt.lock);
	if (error)
		goto out;
	*out = vol;
out:
	mutex_unlock(&e->control);
	return error;
}

int pav_volume_delete(struct pav_engine *e, struct pav_volume *vol, struct pav_err *err)
{
	int error;

	mutex_lock(&e->control);
	mutex_lock(&e->ckpt.lock);
	vol->state = PAV_VOLUME_DELETING;
	error = make_durable(e, vol, "its deletion", err);
	if (error)
		vol->state = PAV_VOLUME_LIVE;
	mutex_unlock(&e->ckpt.lock);
	if (!error)
		pav_gc_barrier(&e->gc);
	if (!error && finish_deletes(e)) {
		pav_reached("deletion put off");
		pav_log(PAV_WARN, "%s: there is no room now to give back the space of a deleted volume; that is tried again whenever a volume is created, grown or deleted, and at the next import",
			e->g.name);
	}
	mutex_unlock(&e->control);
	return error;
}

int pav_volume_grow(struct pav_engine *e, struct pav_volume *vol, u64 cells, struct pav_err *err)
{
	unsigned int tries;
	u64 old;
	int error;

	mutex_lock(&e->control);
	finish_deletes(e);
	old = vol->cells;
	error = check_size(vol->ident.name, cells, err);
	if (!error && cells < old)
		error = pav_fail(err, -EINVAL, "volume %s has %llu MiB: it can grow, not shrink", vol->ident.name, (unsigned long long)old >> 8);
	if (!error && cells > old) {
		/* The checkpoint that makes room cannot run while it is kept out. */
		for (tries = 0;; tries++) {
			mutex_lock(&e->ckpt.lock);
			error = pav_tree_deepen(vol, cells);
			mutex_unlock(&e->ckpt.lock);
			if (error != -EAGAIN)
				break;
			pav_reached("growth waited for a checkpoint");
			error = tries < 16 ? pav_checkpoint_run(&e->ckpt) : -ENOSPC;
			if (error)
				break;
		}
		if (error)
			pav_fail(err, error, "group %s: volume %s cannot grow: there is no room for its map", e->g.name, vol->ident.name);
		mutex_lock(&e->ckpt.lock);
		vol->cells = cells;
		if (!error)
			error = make_durable(e, vol, "its growth", err);
		if (error)
			vol->cells = old;
		mutex_unlock(&e->ckpt.lock);
	}
	mutex_unlock(&e->control);
	return error;
}

int pav_volume_rename(struct pav_engine *e, struct pav_volume *vol, const char *name, struct pav_err *err)
{
	char old[PAV_NAME_MAX + 1];
	int error;

	mutex_lock(&e->control);
	/* It has that name: done. */
	if (!strcmp(name, vol->ident.name)) {
		mutex_unlock(&e->control);
		return 0;
	}
	error = check_new_name(e, name, err);
	if (!error) {
		mutex_lock(&e->ckpt.lock);
		memcpy(old, vol->ident.name, sizeof(old));
		memset(vol->ident.name, 0, sizeof(vol->ident.name));
		strscpy(vol->ident.name, name, sizeof(vol->ident.name));
		error = make_durable(e, vol, "its new name", err);
		if (error)
			memcpy(vol->ident.name, old, sizeof(old));
		mutex_unlock(&e->ckpt.lock);
	}
	mutex_unlock(&e->control);
	return error;
}

/* The value of @key in @vol's properties, or NULL; @pair: where the pair begins. */
static const char *find_prop(const struct pav_volume *vol, const char *key, u16 *pair, u16 *bytes)
{
	u16 at = 0;

	while (at < vol->props_bytes) {
		const char *k = vol->props + at, *v = k + strlen(k) + 1;

		*pair = at;
		*bytes = v + strlen(v) + 1 - k;
		if (!strcmp(k, key))
			return v;
		at += *bytes;
	}
	return NULL;
}

int pav_volume_set_prop(struct pav_engine *e, struct pav_volume *vol, const char *key, const char *value, struct pav_err *err)
{
	size_t key_len = strlen(key), value_len = value ? strlen(value) : 0;
	u16 pair = 0, bytes = 0, old_bytes;
	const char *now;
	char *old;
	int error = 0;

	if (!key_len || key_len > PAV_PROP_KEY_MAX || value_len > PAV_PROP_VALUE_MAX)
		return pav_fail(err, -EINVAL, "volume %s: property '%.63s': a name has 1 to %u characters, a value at most %u", vol->ident.name, key,
				PAV_PROP_KEY_MAX, PAV_PROP_VALUE_MAX);
	old = pav_alloc(sizeof(vol->props));
	if (!old)
		return pav_fail(err, -ENOMEM, "volume %s: out of memory", vol->ident.name);
	mutex_lock(&e->control);
	mutex_lock(&e->ckpt.lock);
	memcpy(old, vol->props, sizeof(vol->props));
	old_bytes = vol->props_bytes;
	now = find_prop(vol, key, &pair, &bytes);
	if (now ? value_len && !strcmp(now, value) : !value_len)
		goto out;
	if (old_bytes - (now ? bytes : 0) + (value_len ? key_len + value_len + 2 : 0) > PAV_PROPS_MAX_BYTES) {
		error = pav_fail(err, -ENOSPC, "volume %s: its properties would take more than %u bytes: remove some first", vol->ident.name,
				 PAV_PROPS_MAX_BYTES);
		goto out;
	}
	if (now) {
		memmove(vol->props + pair, vol->props + pair + bytes, vol->props_bytes - pair - bytes);
		vol->props_bytes -= bytes;
	}
	if (value_len) {
		memcpy(vol->props + vol->props_bytes, key, key_len + 1);
		memcpy(vol->props + vol->props_bytes + key_len + 1, value, value_len + 1);
		vol->props_bytes += key_len + value_len + 2;
	}
	error = make_durable(e, vol, "its property", err);
	if (error) {
		memcpy(vol->props, old, sizeof(vol->props));
		vol->props_bytes = old_bytes;
	}
out:
	mutex_unlock(&e->ckpt.lock);
	mutex_unlock(&e->control);
	pav_free(old);
	return error;
}

void pav_volume_props(struct pav_engine *e, struct pav_volume *vol, void (*fn)(void *ctx, const char *key, const char *value), void *ctx)
{
	u16 at = 0;

	mutex_lock(&e->control);
	while (at < vol->props_bytes) {
		const char *k = vol->props + at, *v = k + strlen(k) + 1;

		fn(ctx, k, v);
		at = v + strlen(v) + 1 - vol->props;
	}
	mutex_unlock(&e->control);
}

void pav_volume_info(struct pav_volume *vol, struct pav_volume_info *out)
{
	out->ident = vol->ident;
	out->id = vol->id;
	out->cells = vol->cells;
	out->mapped_cells = atomic64_read(&vol->mapped);
	out->reads = atomic64_read(&vol->reads);
	out->writes = atomic64_read(&vol->writes);
	out->unmaps = atomic64_read(&vol->unmaps);
	out->read_cells = atomic64_read(&vol->read_cells);
	out->write_cells = atomic64_read(&vol->write_cells);
}

struct pav_volume *pav_volume_by_id(struct pav_engine *e, unsigned int id)
{
	struct pav_volume *vol = id < PAV_MAX_VOLUMES ? e->map.volumes[id] : NULL;

	return vol && vol->state == PAV_VOLUME_LIVE ? vol : NULL;
}

void *pav_volume_host(struct pav_volume *vol)
{
	return vol->host;
}

void pav_volume_set_host(struct pav_volume *vol, void *host)
{
	vol->host = host;
}

/* ---- what it looks like from outside ---- */

void pav_engine_info(struct pav_engine *e, struct pav_group_info *out)
{
	struct pav_group *g = &e->g;
	unsigned int id, slot;

	memset(out, 0, sizeof(*out));
	memcpy(out->name, g->name, sizeof(out->name));
	memcpy(out->uuid, g->uuid, sizeof(out->uuid));
	out->data_drives = g->data_drives;
	out->reserve_percent = g->reserve_percent;
	out->segment_blocks = g->segment_blocks;
	for (slot = 0; slot < g->slots; slot++) {
		out->drives += g->drives[slot].state != PAV_DRIVE_EMPTY;
		out->failed += g->drives[slot].state != PAV_DRIVE_EMPTY && (READ_ONCE(g->gone) & BIT_ULL(slot));
	}
	for (id = 0; id < PAV_MAX_VOLUMES; id++) {
		struct pav_volume *vol = e->map.volumes[id];

		if (!vol || vol->state != PAV_VOLUME_LIVE)
			continue;
		out->used_cells += atomic64_read(&vol->mapped);
		out->provisioned_cells += vol->cells;
	}
	out->capacity_cells = READ_ONCE(e->map.capacity);
	out->free_cells = out->capacity_cells - min_t(u64, out->capacity_cells, atomic64_read(&e->map.mapped));
	/* What the largest request does not fit into is as good as nothing: writes have begun to be refused. */
	if (out->free_cells < PAV_REQ_MAX_CELLS)
		out->free_cells = 0;
	out->generation = le64_to_cpu(READ_ONCE(g->sb->generation));
	out->stripe_seq = atomic64_read(&e->log.seq);
	out->missing = pav_group_worst_loss(g, READ_ONCE(g->gone));
	out->state = READ_ONCE(g->faulted) ? PAV_GROUP_FAULTED : READ_ONCE(e->log.full) || !out->free_cells ? PAV_GROUP_FULL :
		     out->missing || READ_ONCE(e->rebuild.rebuild.on) ? PAV_GROUP_DEGRADED : PAV_GROUP_ONLINE;
}

void pav_engine_counters(struct pav_engine *e, void (*fn)(void *ctx, const char *name, u64 value), void *ctx)
{
	fn(ctx, "stripes", atomic64_read(&e->log.stripes));
	fn(ctx, "narrow_stripes", atomic64_read(&e->log.narrow));
	fn(ctx, "data_cells", atomic64_read(&e->log.data_cells));
	fn(ctx, "moved_cells", atomic64_read(&e->log.moved_cells));
	fn(ctx, "segments_emptied", atomic64_read(&e->gc.emptied));
	fn(ctx, "node_cells", atomic64_read(&e->log.node_cells));
	fn(ctx, "header_cells", atomic64_read(&e->log.header_cells));
	fn(ctx, "parity_cells", atomic64_read(&e->log.parity_cells));
	fn(ctx, "pad_cells", atomic64_read(&e->log.pad_cells));
	fn(ctx, "lost_cells", atomic64_read(&e->log.lost_cells));
	fn(ctx, "checkpoints", atomic64_read(&e->ckpt.count));
	fn(ctx, "segment_commits", atomic64_read(&e->ckpt.renewals));
	fn(ctx, "checkpoint_nodes", atomic64_read(&e->ckpt.nodes));
	fn(ctx, "checkpoint_last_ns", e->ckpt.last_ns);
	fn(ctx, "checkpoint_freeze_ns", e->ckpt.freeze_ns);
	fn(ctx, "superblock_commits", atomic64_read(&e->g.commits));
	fn(ctx, "node_misses", atomic64_read(&e->map.misses));
	fn(ctx, "node_evictions", atomic64_read(&e->map.evictions));
	fn(ctx, "nodes_claimed", atomic_read(&e->map.claimed));
	fn(ctx, "read_retries", atomic64_read(&e->map.retries));
	fn(ctx, "read_mismatches", atomic64_read(&e->map.mismatches));
	fn(ctx, "cells_reconstructed", atomic64_read(&e->g.reconstructed));
	fn(ctx, "cells_healed", atomic64_read(&e->g.healed));
	fn(ctx, "cells_lost", atomic64_read(&e->g.lost));
	fn(ctx, "discarded_cells", atomic64_read(&e->discard.cells));
	fn(ctx, "free_segments", e->log.free);
	fn(ctx, "owner_beats", atomic64_read(&e->g.owner.beats));
	fn(ctx, "owner_late", atomic64_read(&e->g.owner.lates));
}
