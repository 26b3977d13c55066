/* SPDX-License-Identifier: GPL-2.0 */
/*
 * env: everything the engine wants from the world below and around it.
 *
 * The engine (format, map, log, group, drive, background, engine.c) is built twice: into pavraid.ko on env_kernel.c, and into
 * the simulator on tests/sim/env_sim. It calls nothing but what is declared here, raid6/, and the primitives listed next.
 *
 * Primitives, under their Linux names, come from env_kernel.h (Linux headers) or env_sim.h (shims):
 *   u8…u64, s64, bool, size_t, __le16…__le64, cpu_to_leN(), leN_to_cpu(), BIT(), BIT_ULL(), GENMASK_ULL(), hweight64(), __ffs64()
 *   READ_ONCE, WRITE_ONCE, smp_rmb, smp_wmb, smp_mb, smp_load_acquire, smp_store_release, cpu_relax(), likely, unlikely
 *   atomic_t, atomic64_t: read, set, inc, dec, add, sub, inc_return, dec_return, add_return, dec_and_test, sub_and_test, cmpxchg, xchg
 *   struct list_head and list_*(); struct llist_head/llist_node, llist_add(), llist_del_all(), llist_reverse_order(), llist_empty()
 *   set_bit-free bitmaps: find_next_bit(), find_next_zero_bit(), __set_bit(), __clear_bit(), test_bit(), bitmap_set(), bitmap_clear(),
 *   bitmap_weight(), bitmap_zero(), DECLARE_BITMAP()
 *   spinlock_t: spin_lock_init, spin_lock_irqsave, spin_unlock_irqrestore, lockdep_assert_held
 *   struct mutex: mutex_init, mutex_lock, mutex_unlock; struct completion: init_completion, complete, wait_for_completion
 *   container_of, ARRAY_SIZE, min, max, min_t, max_t, clamp_t, roundup, DIV_ROUND_UP, DIV_ROUND_UP_ULL, swap, memcpy…memcmp, strlen, strcmp,
 *   strscpy, scnprintf, static_assert, errno values, EXPORT-free, WARN_ON_ONCE()
 *
 * Contexts: "any" is any context, hard interrupt included, nothing may sleep. "process" may sleep: worker functions and the control path run
 * there (in the simulator, on a fiber). Completion callbacks (pav_io.done, pav_req.done) run in any context, and may run before the call that
 * started the I/O returns.
 */
#ifndef PAV_ENV_H
#define PAV_ENV_H

#ifdef __KERNEL__
#include "env_kernel.h"
#else
#include "env_sim.h"
#endif

#define PAV_CELL_BYTES	4096u	/* the unit of everything: LBA, block on a drive, cell of a stripe */
#define PAV_CELL_SHIFT	12

/* ---- memory: process context; zeroed; NULL when there is none. The data path allocates nothing: it lives on what was taken at open. ---- */
void *pav_alloc(size_t bytes);
void pav_free(void *p);
/* @cells * 4 KiB, contiguous for the drive, aligned to 4 KiB; @cells <= 64 */
void *pav_alloc_cells(unsigned int cells);
void pav_free_cells(void *p, unsigned int cells);

/* ---- time and chance ---- */
u64 pav_now_ns(void);				/* monotonic, and counts the time the machine sleeps; any context */
u64 pav_real_seconds(void);			/* wall clock, for records */
void pav_random(void *buf, size_t bytes);	/* identifiers, not keys */

/* ---- work: a worker is one thread that runs its queue in order, one item at a time, in process context ---- */
struct pav_worker;
struct pav_work;				/* defined by the host: embed it */
typedef void (*pav_work_fn)(struct pav_work *work);
struct pav_worker *pav_worker_create(const char *name);	/* NULL: out of memory. Batching: waking it does not preempt the waker */
void pav_worker_destroy(struct pav_worker *w);		/* runs what is queued, then ends */
void pav_work_init(struct pav_work *work, pav_work_fn fn);
bool pav_work_queue(struct pav_worker *w, struct pav_work *work); /* any context; false: was queued already */
void pav_work_flush(struct pav_worker *w);		/* process: until all that was queued at the call has run */
void pav_sleep_ns(u64 ns);				/* process */

struct pav_timer;				/* defined by the host: embed it */
void pav_timer_init(struct pav_timer *t, void (*fn)(struct pav_timer *t));	/* @fn runs in any context */
void pav_timer_arm(struct pav_timer *t, u64 delay_ns);			/* any; re-arming moves it */
void pav_timer_cancel(struct pav_timer *t);				/* process; @fn is not running when this returns */

/* The CPU the caller runs on, or any number: a hint that spreads load. Any context. */
unsigned int pav_cpu(void);

/* Is this process context where vector registers may be used and I/O submitted? As far as can be told: the caller holds no spinlock. Any context. */
bool pav_in_process(void);

/* ---- vector registers: between begin and end no sleep; not in hard interrupts ---- */
void pav_vector_begin(void);
void pav_vector_end(void);

/* ---- messages: one line, the group's name first ---- */
enum pav_level { PAV_INFO, PAV_WARN, PAV_ERR };
__attribute__((format(printf, 2, 3))) void pav_log(enum pav_level level, const char *fmt, ...);

/* ---- drives ---- */
struct pav_dev;					/* an open drive; the host opens and closes it */
u64 pav_dev_blocks(const struct pav_dev *dev);	/* its size in cells */
bool pav_dev_volatile(const struct pav_dev *dev); /* has a write cache that a power cut empties */
bool pav_dev_discards(const struct pav_dev *dev); /* takes PAV_IO_DISCARD: what was discarded reads anything until it is written */
const char *pav_dev_name(const struct pav_dev *dev); /* "/dev/nvme3n1" */

enum pav_io_op { PAV_IO_READ, PAV_IO_WRITE, PAV_IO_FLUSH, PAV_IO_DISCARD };

/*
 * One I/O on one drive. The engine owns the memory and fills all but @error and @env; it may be reused from within @done.
 * @buf holds @cells * 4 KiB from pav_alloc_cells (NULL for flush and discard). A write with @fua is durable when it completes.
 */
struct pav_io {
	struct pav_dev *dev;
	u64 block;				/* in cells */
	unsigned int cells;
	enum pav_io_op op;
	bool fua;
	void *buf;
	void (*done)(struct pav_io *io);	/* any context */
	void *ctx;
	int error;				/* 0 or -errno, valid in @done */
	struct list_head held;			/* the engine's, before it is submitted */
	struct pav_io_env env;			/* the host's part */
};

void pav_io_submit(struct pav_io *io);		/* any context but hard interrupt; never fails, @done tells */

/* ---- a user's request: the memory it reads into or writes from belongs to the host, which embeds struct pav_req_env in struct pav_req ---- */
struct pav_req;

/*
 * Cell @idx of a write, as one piece of 4 KiB. The user may change it at any time: read it once. Where the user's memory does not hold the cell
 * in one piece, it is copied to @bounce and @bounce returned. Fast when called with rising @idx. Any context.
 */
const void *pav_req_cell(struct pav_req *req, unsigned int idx, void *bounce);
void pav_req_put(struct pav_req *req, unsigned int idx, const void *cell);	/* copies 4 KiB into cell @idx of a read. Any context */
void pav_req_zero(struct pav_req *req, unsigned int idx, unsigned int n);	/* zeroes cells of a read. Any context */

/*
 * Reads @n cells at @block of @dev straight into cells @idx… of @req. @done gets the handle; then pav_uio_verify() may be called on it, and the
 * handle is dead when @done returns. Waits for memory if it must; never fails. Not from hard interrupt.
 */
struct pav_uio {
	struct pav_req *req;
	unsigned int idx, n;
	void *ctx;
	int error;
	void (*done)(struct pav_uio *uio);
};
void pav_uio_read(struct pav_req *req, unsigned int idx, unsigned int n, struct pav_dev *dev, u64 block,
		  void (*done)(struct pav_uio *uio), void *ctx);
/* The first of the @uio's cells, relative to its @idx and from @from on, whose CRC32C differs from @crc[i]; @uio->n if all agree. Any context */
unsigned int pav_uio_verify(struct pav_uio *uio, const u32 *crc, unsigned int from);

#endif
