// SPDX-License-Identifier: GPL-2.0
/*
 * The simplest thing that keeps engine.h's promises, to test the simulator with: a log of records, the same on every drive. Memory holds where each cell is.
 *
 * A record is a header block and up to 256 data blocks, written to every living drive with FUA, one record at a time by one worker. Opening reads the log
 * from the start; where drives disagree the newest epoch wins (each open begins one), and what was found is written to all of them again.
 *
 * It has bugs to order: the simulator must find each of them.
 */
#include "engine.h"
#include "raid6.h"
#include "counts.h"
#include "toy_engine.h"

#define TOY_MAGIC	0x59544f54u
#define TOY_CHUNKS	600		/* a volume's touched MiB */
#define TOY_VOLUMES	16
#define TOY_RESERVE	768		/* blocks that users do not write to: unmaps and metadata have them */

enum toy_type { TOY_OPEN = 1, TOY_FAILED, TOY_DATA, TOY_UNMAP, TOY_VOLUME, TOY_DELETE };

struct toy_props {
	char key[4][16], value[4][440];
};

struct toy_header {
	u32 magic, crc, type, cells;		/* @crc: of the header with this field zero */
	u64 group, epoch, seq, failed;
	u64 volume, lba, size;
	struct pav_volume_ident ident;
	struct toy_props props;
	u32 data_crc[PAV_REQ_MAX_CELLS];
} __aligned(4096);
static_assert(sizeof(struct toy_header) == 4096, "one block");

struct toy_chunk {
	u64 number;
	u64 at[PAV_REQ_MAX_CELLS];		/* 0: unmapped */
	u32 crc[PAV_REQ_MAX_CELLS];
};

struct pav_volume {
	struct pav_engine *e;
	struct pav_volume_ident ident;
	struct toy_props props;
	u64 id, size, birth;
	struct toy_chunk chunk[TOY_CHUNKS];
	unsigned int chunks;
	void *host;
};

struct pav_engine {
	struct pav_dev *dev[PAV_MAX_DRIVES];
	unsigned int n;
	u64 group, epoch, seq, failed, end;
	bool faulted;
	const struct pav_host_ops *ops;
	void *host;
	struct pav_volume *volumes[TOY_VOLUMES];
	u64 next_birth;
	struct toy_header *h;			/* one I/O at a time: one header, ... */
	u8 *data;				/* ... and one piece of data of 64 cells */
	struct mutex lock;
	struct pav_worker *worker;
	struct pav_work work;
	spinlock_t qlock;
	struct list_head queue;
	struct pav_io io[PAV_MAX_DRIVES];	/* ... and one I/O a drive */
	atomic_t pending;
	struct completion done;
};

static enum toy_bug bug;

void toy_set_bug(enum toy_bug which)
{
	bug = which;
}

static void io_done(struct pav_io *io)
{
	struct pav_engine *e = io->ctx;

	if (atomic_dec_and_test(&e->pending))
		complete(&e->done);
}

static bool alive(struct pav_engine *e, unsigned int i)
{
	return e->dev[i] && !(e->failed & BIT_ULL(i));
}

static void fault_if_lost(struct pav_engine *e)
{
	if (hweight64(e->failed) > 2 && !e->faulted) {
		e->faulted = true;
		pav_log(PAV_ERR, "toy: a third drive is lost");
		e->ops->event(e->host, PAV_EVENT_GROUP_FAULTED, NULL, -1, 0, "third drive lost");
	}
}

/* Starts I/O on drive @i; the caller has set e->pending to 1 before the first. */
static void start_io(struct pav_engine *e, unsigned int i, enum pav_io_op op, u64 block, void *buf, unsigned int cells)
{
	e->io[i] = (struct pav_io){ .dev = e->dev[i], .block = block, .cells = cells, .op = op, .buf = buf, .done = io_done, .ctx = e,
				    .fua = op == PAV_IO_WRITE && (bug != TOY_BUG_NO_FUA || i == 0) };
	atomic_inc(&e->pending);
	pav_io_submit(&e->io[i]);
}

static void wait_io(struct pav_engine *e)
{
	if (!atomic_dec_and_test(&e->pending))
		wait_for_completion(&e->done);
}

/* Writes @cells of @buf at @block of all living drives. 1: drives failed, and were added to the mask. */
static int write_all(struct pav_engine *e, u64 block, void *buf, unsigned int cells)
{
	u64 before = e->failed;
	unsigned int i;

	for (i = 0; i < e->n; i++)
		if (e->dev[i] && block + cells > pav_dev_blocks(e->dev[i]))
			return -ENOSPC;
	if (e->faulted && bug != TOY_BUG_WRITES_WHEN_FAULTED)
		return -EIO;
	atomic_set(&e->pending, 1);
	for (i = 0; i < e->n; i++) {
		e->io[i].error = 0;
		if (alive(e, i))
			start_io(e, i, PAV_IO_WRITE, block, buf, cells);
	}
	wait_io(e);
	for (i = 0; i < e->n; i++)
		if (e->io[i].error && alive(e, i))
			e->failed |= BIT_ULL(i);
	fault_if_lost(e);
	if (e->faulted)
		return -EIO;
	return e->failed == before ? 0 : 1;
}

static int read_one(struct pav_engine *e, unsigned int i, u64 block, void *buf, unsigned int cells)
{
	atomic_set(&e->pending, 1);
	start_io(e, i, PAV_IO_READ, block, buf, cells);
	wait_io(e);
	return e->io[i].error;
}

static void seal(struct pav_engine *e, struct toy_header *h)
{
	h->magic = TOY_MAGIC;
	h->group = e->group;
	h->epoch = e->epoch;
	h->seq = e->seq;
	h->failed = e->failed;
	h->crc = 0;
	h->crc = pav_crc32c(0, h, sizeof(*h));
}

static bool header_ok(struct toy_header *h)
{
	u32 crc = h->crc;
	bool ok;

	if (h->magic != TOY_MAGIC)
		return false;
	h->crc = 0;
	ok = pav_crc32c(0, h, sizeof(*h)) == crc;
	h->crc = crc;
	return ok;
}

/* Appends e->h, and the data that @fill puts into e->data piece by piece; data first, so that a header says it is there. */
static int append(struct pav_engine *e, struct pav_req *req)
{
	unsigned int i, n, at;
	int ret;

	if (req)
		req->error = 0;
again:
	if (req && bug == TOY_BUG_TORN_ACCEPTED) {
		seal(e, e->h);
		write_all(e, e->end, e->h, 1);
	}
	for (at = 0; req && at < req->cells; at += n) {
		n = min(req->cells - at, 64u);
		for (i = 0; i < n; i++) {
			const void *cell = pav_req_cell(req, at + i, e->data + i * PAV_CELL_BYTES);

			if (cell != e->data + i * PAV_CELL_BYTES)
				memcpy(e->data + i * PAV_CELL_BYTES, cell, PAV_CELL_BYTES);
			e->h->data_crc[at + i] = pav_crc32c(0, e->data + i * PAV_CELL_BYTES, PAV_CELL_BYTES);
		}
		ret = write_all(e, e->end + 1 + at, e->data, n);
		if (ret > 0)
			goto again;
		if (ret)
			return ret;
	}
	if (req && bug == TOY_BUG_ACK_EARLY)
		req->done(req);
	seal(e, e->h);
	ret = write_all(e, e->end, e->h, 1);
	if (ret > 0) {
		/* A drive failed: what the others have says so before anything is acknowledged. */
		e->epoch++;
		goto again;
	}
	return ret;
}

static struct toy_chunk *chunk_of(struct pav_volume *v, u64 lba, bool make)
{
	unsigned int i;

	for (i = 0; i < v->chunks; i++)
		if (v->chunk[i].number == lba / PAV_REQ_MAX_CELLS)
			return &v->chunk[i];
	if (!make || v->chunks == TOY_CHUNKS)
		return NULL;
	v->chunk[v->chunks].number = lba / PAV_REQ_MAX_CELLS;
	return &v->chunk[v->chunks++];
}

static struct pav_volume *by_birth(struct pav_engine *e, u64 birth)
{
	unsigned int i;

	for (i = 0; i < TOY_VOLUMES; i++)
		if (e->volumes[i] && e->volumes[i]->birth == birth)
			return e->volumes[i];
	return NULL;
}

/* Makes memory what record @h at e->end says. */
static int apply(struct pav_engine *e, const struct toy_header *h)
{
	struct pav_volume *v = by_birth(e, h->volume);
	struct toy_chunk *c;
	unsigned int i;

	switch (h->type) {
	case TOY_VOLUME:
		if (!v) {
			v = pav_alloc(sizeof(*v));
			for (i = 0; i < TOY_VOLUMES && e->volumes[i]; i++)
				;
			if (!v || i == TOY_VOLUMES) {
				pav_free(v);
				return -ENOMEM;
			}
			v->e = e;
			v->id = i;
			v->birth = h->volume;
			e->volumes[i] = v;
			e->next_birth = max(e->next_birth, h->volume + 1);
		}
		v->ident = h->ident;
		v->props = h->props;
		v->size = h->size;
		break;
	case TOY_DELETE:
		if (v && bug != TOY_BUG_DELETE_FORGOTTEN) {
			e->volumes[v->id] = NULL;
			pav_free(v);
		}
		break;
	case TOY_DATA:
	case TOY_UNMAP:
		c = v ? chunk_of(v, h->lba, true) : NULL;
		if (v && !c)
			return -ENOSPC;
		for (i = 0; c && i < h->cells; i++) {
			c->at[h->lba % PAV_REQ_MAX_CELLS + i] = h->type == TOY_DATA ? e->end + 1 + i : 0;
			c->crc[h->lba % PAV_REQ_MAX_CELLS + i] = h->data_crc[i];
		}
		break;
	}
	e->end += 1 + (h->type == TOY_DATA ? h->cells : 0);
	e->seq++;
	return 0;
}

static int do_read(struct pav_engine *e, struct pav_req *req)
{
	struct toy_chunk *c = chunk_of(req->vol, req->lba, false);
	unsigned int i, d, k = req->lba % PAV_REQ_MAX_CELLS;

	if (e->faulted)
		return -EIO;
	for (i = 0; i < req->cells; i++, k++) {
		if (!c || !c->at[k]) {
			pav_req_zero(req, i, 1);
			continue;
		}
		for (d = 0; d < e->n; d++) {
			if (!alive(e, d) || read_one(e, d, c->at[k], e->data, 1))
				continue;
			if (bug == TOY_BUG_CRC_UNCHECKED || pav_crc32c(0, e->data, PAV_CELL_BYTES) == c->crc[k])
				break;
		}
		if (d == e->n)
			return -EIO;
		pav_req_put(req, i, e->data);
	}
	return 0;
}

static int do_write(struct pav_engine *e, struct pav_req *req)
{
	int ret;

	if (e->faulted && bug != TOY_BUG_WRITES_WHEN_FAULTED)
		return -EIO;
	if (!chunk_of(req->vol, req->lba, true))
		return -ENOSPC;
	/* A part of the reserve is for unmaps, which hold no data. */
	if (e->end + 1 + (req->op == PAV_WRITE ? req->cells + TOY_RESERVE : TOY_RESERVE / 2) >
	    pav_dev_blocks(e->dev[0] ? e->dev[0] : e->dev[1] ? e->dev[1] : e->dev[2])) {
		/* It never gives space back: what is full stays full, for what is mapped too. The world goes by this mark. */
		pav_reached("toy engine is full");
		return -ENOSPC;
	}
	memset(e->h, 0, sizeof(*e->h));
	e->h->type = req->op == PAV_WRITE ? TOY_DATA : TOY_UNMAP;
	e->h->volume = req->vol->birth;
	e->h->lba = req->lba;
	e->h->cells = req->cells;
	ret = append(e, req->op == PAV_WRITE ? req : NULL);
	return ret ? ret : apply(e, e->h);
}

static void serve(struct pav_work *work)
{
	struct pav_engine *e = container_of(work, struct pav_engine, work);
	unsigned long flags;
	struct pav_req *req;

	for (;;) {
		spin_lock_irqsave(&e->qlock, flags);
		req = list_first_entry_or_null(&e->queue, struct pav_req, link);
		if (req)
			list_del(&req->link);
		spin_unlock_irqrestore(&e->qlock, flags);
		if (!req)
			return;
		mutex_lock(&e->lock);
		req->error = req->op == PAV_READ ? do_read(e, req) : do_write(e, req);
		mutex_unlock(&e->lock);
		if (req->op != PAV_WRITE || bug != TOY_BUG_ACK_EARLY)
			req->done(req);
	}
}

void pav_submit(struct pav_req *req)
{
	struct pav_engine *e = req->vol->e;
	unsigned long flags;

	spin_lock_irqsave(&e->qlock, flags);
	list_add_tail(&req->link, &e->queue);
	spin_unlock_irqrestore(&e->qlock, flags);
	pav_work_queue(e->worker, &e->work);
}

static void free_engine(struct pav_engine *e)
{
	unsigned int i;

	pav_worker_destroy(e->worker);
	for (i = 0; i < TOY_VOLUMES; i++)
		pav_free(e->volumes[i]);
	pav_free_cells(e->h, 1);
	pav_free_cells(e->data, 64);
	if (bug != TOY_BUG_LEAK)
		pav_free(e);
}

static struct pav_engine *new_engine(unsigned int n)
{
	struct pav_engine *e = pav_alloc(sizeof(*e));

	if (!e)
		return NULL;
	e->n = n;
	e->h = pav_alloc_cells(1);
	e->data = pav_alloc_cells(64);
	e->worker = pav_worker_create("toy");
	mutex_init(&e->lock);
	spin_lock_init(&e->qlock);
	INIT_LIST_HEAD(&e->queue);
	pav_work_init(&e->work, serve);
	e->next_birth = 1;
	e->end = e->seq = 1;
	init_completion(&e->done);
	if (!e->h || !e->data || !e->worker) {
		free_engine(e);
		return NULL;
	}
	return e;
}

static int refuse(struct pav_err *err, int code, const char *why)
{
	scnprintf(err->text, sizeof(err->text), "toy: %s", why);
	return code;
}

int pav_engine_create(const struct pav_drive_arg *drives, unsigned int n, const struct pav_create_params *p, struct pav_err *err)
{
	struct pav_engine *e = new_engine(n);
	unsigned int i;
	int ret = 0;

	(void)p;
	if (!e)
		return refuse(err, -ENOMEM, "no memory");
	pav_random(&e->group, sizeof(e->group));
	for (i = 0; i < n && !ret; i++) {
		memset(e->h, 0, sizeof(*e->h));
		e->h->lba = i;
		e->h->cells = n;
		e->dev[i] = drives[i].dev;
		seal(e, e->h);
		atomic_set(&e->pending, 1);
		start_io(e, i, PAV_IO_WRITE, 0, e->h, 1);
		wait_io(e);
		ret = e->io[i].error;
	}
	free_engine(e);
	return ret ? refuse(err, ret, "cannot write") : 0;
}

int pav_engine_wipe(const struct pav_drive_arg *drives, unsigned int n, struct pav_err *err)
{
	struct pav_engine *e = new_engine(n);
	unsigned int i;
	int ret;

	if (!e)
		return refuse(err, -ENOMEM, "no memory");
	for (i = 0; i < n; i++)
		e->dev[i] = drives[i].dev;
	memset(e->h, 0, sizeof(*e->h));
	ret = write_all(e, 0, e->h, 1);
	free_engine(e);
	return ret ? refuse(err, ret, "cannot write") : 0;
}

/* Reads the record at e->end from whoever has the newest, into e->h; writes it to all. 0: there is none, 1: there is one. */
static int replay_one(struct pav_engine *e, struct toy_header *tmp)
{
	unsigned int i, at, n;
	u64 best = 0, stale = bug == TOY_BUG_STALE_READMITTED ? 0 : e->failed;

	memset(e->h, 0, sizeof(*e->h));
	for (i = 0; i < e->n; i++) {
		if (e->dev[i] && e->end >= pav_dev_blocks(e->dev[i]))
			return 0;
		if (!e->dev[i] || (stale & BIT_ULL(i)) || read_one(e, i, e->end, tmp, 1))
			continue;
		if (!header_ok(tmp) || tmp->group != e->group || tmp->seq != e->seq || tmp->epoch <= best)
			continue;
		best = tmp->epoch;
		memcpy(e->h, tmp, sizeof(*tmp));
	}
	if (!best)
		return 0;
	e->failed |= e->h->failed;
	e->epoch = max(e->epoch, best);
	for (at = 0; e->h->type == TOY_DATA && at < e->h->cells; at += n) {
		unsigned int good = 0, d;

		n = 1;
		for (d = 0; d < e->n; d++) {
			if (!alive(e, d) || read_one(e, d, e->end + 1 + at, e->data, 1))
				continue;
			good = pav_crc32c(0, e->data, PAV_CELL_BYTES) == e->h->data_crc[at] || bug == TOY_BUG_TORN_ACCEPTED;
			if (good)
				break;
		}
		if (!good)
			return 0;
		if (write_all(e, e->end + 1 + at, e->data, 1) < 0)
			return -EIO;
	}
	if (write_all(e, e->end, e->h, 1) < 0)
		return -EIO;
	return 1;
}

int pav_engine_open(const struct pav_drive_arg *drives, unsigned int n, const struct pav_open_params *p, struct pav_engine **out, struct pav_err *err)
{
	struct pav_engine *e = new_engine(0);
	struct toy_header *tmp = pav_alloc_cells(1);
	unsigned int i, there = 0;
	int ret = -ENOMEM;

	if (!e || !tmp)
		goto fail;
	e->ops = p->ops;
	e->host = p->host;
	for (i = 0; i < n; i++) {
		e->dev[PAV_MAX_DRIVES - 1] = drives[i].dev;	/* until it has said who it is */
		if (read_one(e, PAV_MAX_DRIVES - 1, 0, tmp, 1) || !header_ok(tmp))
			continue;
		e->group = tmp->group;
		e->n = tmp->cells;
		e->dev[tmp->lba] = drives[i].dev;
		there++;
	}
	e->dev[PAV_MAX_DRIVES - 1] = NULL;
	ret = -ENOMEDIUM;
	if (!there || there + 2 < e->n)
		goto fail;
	do {
		ret = replay_one(e, tmp);
		if (ret > 0) {
			int r = apply(e, e->h);

			if (r)
				ret = r;
		}
	} while (ret > 0);
	if (ret)
		goto fail;
	for (i = 0; i < e->n; i++)
		if (!e->dev[i])
			e->failed |= BIT_ULL(i);
	ret = -ENOMEDIUM;
	if (hweight64(e->failed) > 2)
		goto fail;
	e->epoch++;
	memset(e->h, 0, sizeof(*e->h));
	e->h->type = TOY_OPEN;
	ret = append(e, NULL);
	if (!ret)
		ret = apply(e, e->h);
	if (ret)
		goto fail;
	pav_free_cells(tmp, 1);
	*out = e;
	return 0;
fail:
	pav_free_cells(tmp, 1);
	if (e)
		free_engine(e);
	return refuse(err, ret, "cannot open");
}

int pav_engine_close(struct pav_engine *e, struct pav_err *err)
{
	(void)err;
	pav_work_flush(e->worker);
	free_engine(e);
	return 0;
}

int pav_engine_checkpoint(struct pav_engine *e)
{
	return e->faulted ? -EIO : 0;
}

int pav_engine_fail_drive(struct pav_engine *e, unsigned int slot, struct pav_err *err)
{
	int ret;

	mutex_lock(&e->lock);
	if (!alive(e, slot) || hweight64(e->failed) >= 2) {
		ret = refuse(err, -EBUSY, "would lose data");
	} else {
		e->failed |= BIT_ULL(slot);
		e->epoch++;
		memset(e->h, 0, sizeof(*e->h));
		e->h->type = TOY_FAILED;
		ret = append(e, NULL);
		if (!ret)
			ret = apply(e, e->h);
		if (ret)
			refuse(err, ret, "cannot write");
	}
	mutex_unlock(&e->lock);
	return ret;
}

void pav_engine_drive_gone(struct pav_engine *e, struct pav_dev *dev)
{
	(void)e;
	(void)dev;
}

void pav_engine_info(struct pav_engine *e, struct pav_group_info *out)
{
	memset(out, 0, sizeof(*out));
	out->state = e->faulted ? PAV_GROUP_FAULTED : PAV_GROUP_ONLINE;
	out->failed = hweight64(e->failed);
	/* It repairs nothing, and knows of nothing that is missing: so it never says that all is there. */
	out->missing = 1;
}

unsigned int pav_rebuild_rate_min, pav_rebuild_rate_max, pav_evacuate_delay, pav_error_limit, pav_stall_limit;

int pav_engine_return(struct pav_engine *e, struct pav_dev *dev, struct pav_err *err)
{
	(void)e;
	(void)dev;
	return refuse(err, -EOPNOTSUPP, "drives do not come back");
}

int pav_engine_add(struct pav_engine *e, const struct pav_drive_arg *drives, unsigned int n, struct pav_err *err)
{
	(void)e;
	(void)drives;
	(void)n;
	return refuse(err, -EOPNOTSUPP, "no drive joins");
}

int pav_engine_replace(struct pav_engine *e, unsigned int slot, const struct pav_dev *dev, int spare, struct pav_err *err)
{
	(void)e;
	(void)slot;
	(void)dev;
	(void)spare;
	return refuse(err, -EOPNOTSUPP, "no drive is replaced");
}

int pav_engine_remove(struct pav_engine *e, unsigned int slot, struct pav_err *err)
{
	(void)e;
	(void)slot;
	return refuse(err, -EOPNOTSUPP, "no drive leaves");
}

int pav_engine_scrub(struct pav_engine *e, bool on, struct pav_err *err)
{
	(void)e;
	(void)err;
	/* There is nothing to look at: it is done at once. */
	if (on)
		pav_reached("scrub done");
	return 0;
}

void pav_engine_tasks(struct pav_engine *e, struct pav_task_info *rebuild, struct pav_task_info *scrub)
{
	(void)e;
	memset(rebuild, 0, sizeof(*rebuild));
	memset(scrub, 0, sizeof(*scrub));
	scrub->started = scrub->finished = 1;
}

const char *sim_wrong_row(struct pav_volume *vol, u64 lba, sim_peek peek, char *text, size_t room)
{
	(void)vol;
	(void)lba;
	(void)peek;
	(void)text;
	(void)room;
	return NULL;
}

/* Nothing to count: it has no segments. */
u32 sim_segments(struct pav_volume *vol)
{
	(void)vol;
	return 0;
}

bool sim_count_cell(struct pav_volume *vol, u64 lba, u32 *live)
{
	(void)vol;
	(void)lba;
	(void)live;
	return false;
}

u64 sim_moved(struct pav_volume *vol)
{
	(void)vol;
	return 0;
}

bool sim_deleting(struct pav_volume *vol)
{
	(void)vol;
	return false;
}

const char *sim_wrong_live(struct pav_volume *vol, const u32 *live, char *text, size_t room)
{
	(void)vol;
	(void)live;
	(void)text;
	(void)room;
	return NULL;
}

const char *sim_wrong_mapped(struct pav_volume *vol, u64 mapped, char *text, size_t room)
{
	(void)vol;
	(void)mapped;
	(void)text;
	(void)room;
	return NULL;
}

void pav_engine_counters(struct pav_engine *e, void (*fn)(void *ctx, const char *name, u64 value), void *ctx)
{
	fn(ctx, "drives failed", hweight64(e->failed));
}

int pav_engine_drive_info(struct pav_engine *e, unsigned int slot, struct pav_drive_info *out)
{
	if (slot >= e->n)
		return -ENOENT;
	memset(out, 0, sizeof(*out));
	out->dev = e->dev[slot];
	out->state = alive(e, slot) ? PAV_DRIVE_ACTIVE : PAV_DRIVE_FAILED;
	return 0;
}

/* Appends @v's metadata as @next says. */
static int put_volume(struct pav_engine *e, struct pav_volume *v, const struct toy_header *next, struct pav_err *err)
{
	int ret = -EIO;

	mutex_lock(&e->lock);
	if (e->end + TOY_RESERVE / 4 > pav_dev_blocks(e->dev[0] ? e->dev[0] : e->dev[1] ? e->dev[1] : e->dev[2])) {
		ret = -ENOSPC;
	} else if (!e->faulted) {
		memcpy(e->h, next, sizeof(*next));
		e->h->type = next->type;
		e->h->volume = v ? v->birth : e->next_birth;
		ret = append(e, NULL);
		if (!ret)
			ret = apply(e, e->h);
	}
	mutex_unlock(&e->lock);
	return ret ? refuse(err, ret, "cannot write") : 0;
}

static struct toy_header *next_of(struct pav_volume *v)
{
	struct toy_header *h = pav_alloc_cells(1);

	if (h && v) {
		h->ident = v->ident;
		h->props = v->props;
		h->size = v->size;
	}
	if (h)
		h->type = TOY_VOLUME;
	return h;
}

static bool name_ok(struct pav_engine *e, const char *name)
{
	unsigned int i;

	if (!name[0] || strchr(name, '/'))
		return false;
	for (i = 0; i < TOY_VOLUMES; i++)
		if (e->volumes[i] && !strcmp(e->volumes[i]->ident.name, name))
			return false;
	return true;
}

int pav_volume_create(struct pav_engine *e, const struct pav_volume_ident *ident, u64 cells, struct pav_volume **out, struct pav_err *err)
{
	struct toy_header *h;
	int ret;

	if (!name_ok(e, ident->name) || !cells)
		return refuse(err, -EINVAL, "bad name or size");
	h = next_of(NULL);
	if (!h)
		return refuse(err, -ENOMEM, "no memory");
	h->ident = *ident;
	h->size = cells;
	ret = put_volume(e, NULL, h, err);
	pav_free_cells(h, 1);
	if (!ret)
		*out = by_birth(e, e->next_birth - 1);
	return ret;
}

static int change(struct pav_engine *e, struct pav_volume *v, struct toy_header *h, struct pav_err *err)
{
	int ret = put_volume(e, v, h, err);

	pav_free_cells(h, 1);
	return ret;
}

int pav_volume_delete(struct pav_engine *e, struct pav_volume *v, struct pav_err *err)
{
	struct toy_header *h = next_of(v);

	if (!h)
		return refuse(err, -ENOMEM, "no memory");
	h->type = TOY_DELETE;
	return change(e, v, h, err);
}

int pav_volume_grow(struct pav_engine *e, struct pav_volume *v, u64 cells, struct pav_err *err)
{
	struct toy_header *h;

	if (cells <= v->size)
		return refuse(err, -EINVAL, "smaller");
	h = next_of(v);
	if (!h)
		return refuse(err, -ENOMEM, "no memory");
	h->size = cells;
	return change(e, v, h, err);
}

int pav_volume_rename(struct pav_engine *e, struct pav_volume *v, const char *name, struct pav_err *err)
{
	struct toy_header *h;

	if (!name_ok(e, name) && strcmp(name, v->ident.name))
		return refuse(err, -EINVAL, "bad name");
	h = next_of(v);
	if (!h)
		return refuse(err, -ENOMEM, "no memory");
	strscpy(h->ident.name, name, sizeof(h->ident.name));
	return change(e, v, h, err);
}

int pav_volume_set_prop(struct pav_engine *e, struct pav_volume *v, const char *key, const char *value, struct pav_err *err)
{
	struct toy_header *h;
	unsigned int i, slot = 4;

	if (value && strlen(value) >= sizeof(v->props.value[0]))
		return refuse(err, -EINVAL, "too long");
	h = next_of(v);
	if (!h)
		return refuse(err, -ENOMEM, "no memory");
	for (i = 4; i-- > 0;)
		if (!strcmp(h->props.key[i], key) || (!h->props.key[i][0] && slot == 4))
			slot = i;
	for (i = 0; i < 4; i++)
		if (!strcmp(h->props.key[i], key))
			slot = i;
	memset(h->props.key[slot], 0, sizeof(h->props.key[slot]));
	if (value) {
		strscpy(h->props.key[slot], key, sizeof(h->props.key[slot]));
		strscpy(h->props.value[slot], value, sizeof(h->props.value[slot]));
	}
	return change(e, v, h, err);
}

void pav_volume_props(struct pav_engine *e, struct pav_volume *v, void (*fn)(void *ctx, const char *key, const char *value), void *ctx)
{
	unsigned int i;

	(void)e;
	for (i = 0; i < 4; i++)
		if (v->props.key[i][0])
			fn(ctx, v->props.key[i], v->props.value[i]);
}

void pav_volume_info(struct pav_volume *v, struct pav_volume_info *out)
{
	memset(out, 0, sizeof(*out));
	out->ident = v->ident;
	out->id = (unsigned int)v->id;
	out->cells = v->size;
}

struct pav_volume *pav_volume_by_id(struct pav_engine *e, unsigned int id)
{
	return id < TOY_VOLUMES ? e->volumes[id] : NULL;
}
