/* SPDX-License-Identifier: GPL-2.0 */
/*
 * control/: what administrators ask for.
 *
 *	netlink.c   the generic netlink family: checks requests, calls the registry, writes answers
 *	registry.c  which groups are open, with which drives and disks
 *	answers.c   groups, drives and volumes as attributes
 *	usage.c     what a group used in the last day
 *	events.c    what happened, to whoever listens
 *	trace.[ch]  tracepoints
 */
#ifndef PAV_CONTROL_H
#define PAV_CONTROL_H

#include "engine.h"

int pav_control_init(void);
void pav_control_exit(void);

/* Module parameters, made into what the engine takes. */
unsigned int pav_param_streams(void);
unsigned int pav_param_cache_nodes(void);

/* The highest of the thresholds set that @percent of a group's capacity has reached; 0: none. */
unsigned int pav_param_space_level(unsigned int percent);

#endif
