/* SPDX-License-Identifier: GPL-2.0 */
/*
 * env.h's host when the engine runs in the simulator: the primitives (linux_like.h) and the parts of structures that belong to the host.
 * To be included by env.h alone. The other side is env_sim.cc.
 */
#ifndef PAV_ENV_SIM_H
#define PAV_ENV_SIM_H

#ifndef PAV_SIM
#error "env_sim.h: build with -DPAV_SIM"
#endif

#include "linux_like.h"

struct pav_worker;

struct pav_io_env {
	u64 id;				/* of the drive's command; 0: not submitted */
};

struct pav_req_env {
	void *sim;			/* the request of the workload */
};

struct pav_work {
	struct list_head link;		/* in its worker's queue */
	struct pav_worker *worker;	/* NULL: not queued */
	void (*fn)(struct pav_work *work);
	u32 made;
};

struct pav_timer {
	void (*fn)(struct pav_timer *t);
	u64 event;			/* that will run it; 0: not armed */
	u32 running;
	u32 made;
};

#endif
