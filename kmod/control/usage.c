// SPDX-License-Identifier: GPL-2.0
#include <linux/kernel.h>
#include <linux/ktime.h>

#include "usage.h"

bool pav_usage_due(const struct pav_usage *u)
{
	const struct pav_usage_sample *newest = &u->sample[(u->next + PAV_USAGE_SAMPLES - 1) % PAV_USAGE_SAMPLES];

	return !u->n || ktime_get_boottime_seconds() - newest->seconds >= PAV_USAGE_STEP;
}

void pav_usage_note(struct pav_usage *u, u64 bytes)
{
	u->sample[u->next].seconds = ktime_get_boottime_seconds();
	u->sample[u->next].bytes = bytes;
	u->next = (u->next + 1) % PAV_USAGE_SAMPLES;
	u->n = min(u->n + 1, PAV_USAGE_SAMPLES);
}

bool pav_usage_before(const struct pav_usage *u, u64 *bytes, u64 *seconds)
{
	const struct pav_usage_sample *oldest = &u->sample[(u->next + PAV_USAGE_SAMPLES - u->n) % PAV_USAGE_SAMPLES];

	if (!u->n)
		return false;
	*bytes = oldest->bytes;
	*seconds = ktime_get_boottime_seconds() - oldest->seconds;
	return true;
}
