/* SPDX-License-Identifier: GPL-2.0 */
/*
 * env_kernel.h: the types that env.h leaves to its host, in Linux.
 *
 * Contexts, as Linux has them
 *  - pav_io_submit() may be called from soft and hard interrupts and with interrupts off: the block layer may sleep for a tag, so such a call is
 *    handed to a thread. In task context it goes straight down. The caller holds no spinlock: @done may run before the call returns.
 *  - pav_uio_read() is for task context only; it may sleep for memory.
 *  - pav_vector_begin() is for task context. A softirq may interrupt somebody else's use of the registers, and would then be refused.
 *  - Completions run wherever the drive's driver completes: mostly hard or soft interrupt, and in task context for errors found early.
 */
#ifndef PAV_ENV_KERNEL_H
#define PAV_ENV_KERNEL_H

#include <linux/atomic.h>
#include <linux/bio.h>
#include <linux/bitmap.h>
#include <linux/bitops.h>
#include <linux/bits.h>
#include <linux/build_bug.h>
#include <linux/bug.h>
#include <linux/byteorder/generic.h>
#include <linux/compiler.h>
#include <linux/completion.h>
#include <linux/container_of.h>
#include <linux/errno.h>
#include <linux/hrtimer.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/lockdep.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/types.h>

struct pav_uio_slot;

struct pav_work {
	struct kthread_work kwork;
	void (*fn)(struct pav_work *work);
};

struct pav_timer {
	struct hrtimer hrtimer;
	void (*fn)(struct pav_timer *timer);
};

/* One piece of memory is enough: what pav_alloc_cells() gives is physically contiguous. */
struct pav_io_env {
	struct bio bio;
	struct bio_vec vec;
	struct llist_node deferred;
};

/*
 * Filled by volume/. The cursor serves pav_req_cell(), whose calls on one request must not overlap; pav_req_put() and pav_req_zero() do not use
 * it and may run side by side.
 */
struct pav_req_env {
	struct bio *bio;
	struct pav_uio_slot *slot;	/* for the request's first pav_uio_read(), NULL when taken: saves it the allocation */
	struct bvec_iter cursor;
	unsigned int cursor_idx;	/* the cell it stands at */
};

/* Marks a rare branch. The simulator counts how often it was taken. */
#define pav_reached(name)	((void)0)

#endif
