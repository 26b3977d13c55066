/* SPDX-License-Identifier: GPL-2.0 */
/* What an engine is made of: for engine.c and engine_drives.c alone. */
#ifndef PAV_ENGINE_PARTS_H
#define PAV_ENGINE_PARTS_H

#include "engine.h"
#include "background/discard.h"
#include "background/rebuild.h"

struct pav_engine {
	struct pav_group g;
	struct pav_log log;
	struct pav_map map;
	struct pav_checkpoint ckpt;
	struct pav_gc gc;
	struct pav_discard discard;
	struct pav_rebuild rebuild;
	struct pav_log_ops log_ops;
	struct mutex control;		/* volumes, their records, and whoever changes them */
};

#endif
