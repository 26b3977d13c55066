// SPDX-License-Identifier: GPL-2.0
#include <linux/ktime.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>

#include "events.h"
#include "space.h"

#define PAV_SPACE_SLACK	2u	/* so many percent below a threshold it counts as not reached any more: who hovers there tells it once */

static unsigned int space_levels[8] = { 80, 90, 95 };
static unsigned int space_levels_n = 3;
module_param_array(space_levels, uint, &space_levels_n, 0644);
MODULE_PARM_DESC(space_levels, "percent used of a group's capacity at which a \"space low\" event is sent; up to 8, default 80,90,95; 0: none");

/* The highest threshold that @percent has reached; 0: none. */
static unsigned int pav_space_level(unsigned int percent)
{
	unsigned int i, n = min_t(unsigned int, READ_ONCE(space_levels_n), ARRAY_SIZE(space_levels)), level = 0;

	for (i = 0; i < n; i++)
		if (READ_ONCE(space_levels[i]) <= percent)
			level = max(level, READ_ONCE(space_levels[i]));
	return level;
}

static void pav_space_tell(struct pav_space *s, const struct pav_group_info *info)
{
	u64 capacity = max_t(u64, info->capacity_cells, 1);
	unsigned int used = (capacity - min(info->free_cells, capacity)) * 100 / capacity;
	unsigned int level = pav_space_level(used);
	bool full = info->state == PAV_GROUP_FULL;

	if (level > s->level) {
		pr_warn("pavraid: %s: %u percent of the space for user data is used\n", info->name, used);
		pav_event_post(PAV_EVENT_GROUP_SPACE_LOW, info->name, NULL, -1, NULL, used,
			       "space is low: add drives, or delete or trim volumes");
		s->level = level;
	} else if (pav_space_level(used + PAV_SPACE_SLACK) < s->level) {
		s->level = level;
	}
	if (full && !s->full) {
		pr_err("pavraid: %s: full: writes to blocks that hold nothing yet are refused\n", info->name);
		pav_event_post(PAV_EVENT_GROUP_FULL, info->name, NULL, -1, NULL, used,
			       "full: writes are refused until drives are added, or volumes deleted or trimmed");
	}
	if (!full && s->full)
		pr_info("pavraid: %s: not full any more\n", info->name);
	s->full = full;
}

static void pav_space_sample(struct pav_space *s, u64 bytes)
{
	const struct pav_space_sample *newest = &s->sample[(s->next + PAV_SPACE_SAMPLES - 1) % PAV_SPACE_SAMPLES];
	u64 now = ktime_get_boottime_seconds();

	if (s->n && now - newest->seconds < PAV_SPACE_STEP)
		return;
	s->sample[s->next] = (struct pav_space_sample){ .seconds = now, .bytes = bytes };
	s->next = (s->next + 1) % PAV_SPACE_SAMPLES;
	s->n = min(s->n + 1, PAV_SPACE_SAMPLES);
}

void pav_space_watch(struct pav_space *s, struct pav_engine *e)
{
	struct pav_group_info *info = kzalloc(sizeof(*info), GFP_KERNEL);

	if (!info)
		return;
	pav_engine_info(e, info);
	pav_space_sample(s, info->used_cells << PAV_CELL_SHIFT);
	if (info->state != PAV_GROUP_FAULTED)
		pav_space_tell(s, info);
	kfree(info);
}

bool pav_space_before(const struct pav_space *s, u64 *bytes, u64 *seconds)
{
	const struct pav_space_sample *oldest = &s->sample[(s->next + PAV_SPACE_SAMPLES - s->n) % PAV_SPACE_SAMPLES];

	if (!s->n)
		return false;
	*bytes = oldest->bytes;
	*seconds = ktime_get_boottime_seconds() - oldest->seconds;
	return true;
}
