/* SPDX-License-Identifier: GPL-2.0 */
/*
 * control/: what administrators ask for.
 *
 *	netlink.c   the generic netlink family: checks requests, calls the registry, writes answers
 *	registry.c  which groups are open, with which drives and disks
 *	drives.c    the drives that open groups have open, and what becomes of them
 *	answers.c   groups, drives and volumes as attributes
 *	space.c     how much a group uses and used; events when it becomes much
 *	events.c    what happened, to whoever listens
 *	trace.[ch]  tracepoints
 */
#ifndef PAV_CONTROL_H
#define PAV_CONTROL_H

#include "engine.h"

int pav_control_init(void);
void pav_control_exit(void);

/* Module parameters, made into what pav_engine_open() takes. */
unsigned int pav_param_streams(void);
unsigned int pav_param_cache_nodes(void);
bool pav_param_discard(void);

#endif
