/* SPDX-License-Identifier: GPL-2.0 */
/* events.c: takes events in any context; netlink.c: sends them in process context. */
#ifndef PAV_EVENTS_H
#define PAV_EVENTS_H

#include "engine.h"

struct pav_event_record {
	enum pav_event type;
	int slot;				/* -1: no drive meant */
	u64 value;
	char group[PAV_NAME_MAX + 1];
	char volume[PAV_NAME_MAX + 1];		/* "": none meant */
	char path[64];
	char text[160];
};

/* All strings are copied; @volume, @path and @text may be NULL, @slot -1. Any context. */
void pav_event_post(enum pav_event type, const char *group, const char *volume, int slot, const char *path, u64 value, const char *text);
u64 pav_events_dropped(void);		/* since the module was loaded */
void pav_events_stop(void);		/* returns when all that was posted is sent. None may be posted any more */

void pav_event_send(const struct pav_event_record *event);

#endif
