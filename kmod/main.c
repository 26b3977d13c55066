// SPDX-License-Identifier: GPL-2.0
/*
 * pavraid.ko: a RAID-6 media group that appends instead of updating in place. This file loads and unloads it, and nothing else; DESIGN.md tells
 * how it works, and kmod/control/ is where commands come in.
 */
#include <linux/kernel.h>
#include <linux/module.h>

#include "env/host.h"
#include "engine.h"
#include "control/control.h"
#include "volume/volume.h"
#include "raid6/raid6.h"

static unsigned int streams;
module_param(streams, uint, 0644);
MODULE_PARM_DESC(streams, "log streams of groups opened from now on, 1 to 8; 0 (default): by the number of CPUs");

static unsigned int cache_nodes;
module_param(cache_nodes, uint, 0644);
MODULE_PARM_DESC(cache_nodes, "map nodes of 4 KiB held in memory by groups opened from now on; 0 (default): 16384");

static bool discard;
module_param(discard, bool, 0644);
MODULE_PARM_DESC(discard, "discard on the drives what segments held that are free again, in groups opened from now on (default: no)");

module_param_named(rebuild_rate_min, pav_rebuild_rate_min, uint, 0644);
MODULE_PARM_DESC(rebuild_rate_min, "MiB a second that rebuilds and scrubs read from each drive while the group is in use (64); 0: no limit");
module_param_named(rebuild_rate_max, pav_rebuild_rate_max, uint, 0644);
MODULE_PARM_DESC(rebuild_rate_max, "the same while it is not in use (0)");
module_param_named(repair, pav_repair, bool, 0644);
MODULE_PARM_DESC(repair, "spares take the place of failed drives by themselves (Y)");
module_param_named(error_limit, pav_error_limit, uint, 0644);
MODULE_PARM_DESC(error_limit, "a drive of which more 4 KiB blocks than this had to be healed for readers within a minute is failed (256); 0: never");
module_param_named(stall_limit, pav_stall_limit, uint, 0644);
MODULE_PARM_DESC(stall_limit, "seconds after which a drive that does not answer, while all others do, is failed (10; at least 3); 0: never");
module_param_named(evacuate_delay, pav_evacuate_delay, uint, 0644);
MODULE_PARM_DESC(evacuate_delay, "seconds a drive is gone, and no spare has taken its place, before its segments are written anew to the others (60)");

unsigned int pav_param_streams(void)
{
	unsigned int n = READ_ONCE(streams);

	return n ? min(n, 8u) : clamp_t(unsigned int, num_online_cpus() / 2, 1, 8);
}

unsigned int pav_param_cache_nodes(void)
{
	unsigned int n = READ_ONCE(cache_nodes);

	return n ? max(n, 64u) : 0;
}

bool pav_param_discard(void)
{
	return READ_ONCE(discard);
}

/* Parity that is wrong would be found when it is needed, which is too late. */
static int __init pav_raid6_init(void)
{
	const struct pav_raid6_impl *impl = pav_raid6_select(NULL);
	int err;

	pav_raid6_begin();
	err = pav_raid6_selftest(impl);
	pav_raid6_end();
	if (err)
		pr_err("pavraid: the parity code \"%s\" computes wrong on this machine; not loaded\n", impl->name);
	else
		pr_info("pavraid: parity by \"%s\"\n", impl->name);
	return err;
}

/* In this order, and back. */
static const struct {
	const char *name;
	int (*init)(void);
	void (*exit)(void);
} pav_steps[] = {
	{ "raid6", pav_raid6_init, NULL },
	{ "env", pav_env_init, pav_env_exit },
	{ "volume", pav_disks_init, pav_disks_exit },
	{ "control", pav_control_init, pav_control_exit },
};

static void pav_unwind(int i)
{
	while (--i >= 0)
		if (pav_steps[i].exit)
			pav_steps[i].exit();
}

static int __init pav_init(void)
{
	int i, err;

	for (i = 0; i < ARRAY_SIZE(pav_steps); i++) {
		err = pav_steps[i].init();
		if (err) {
			pr_err("pavraid: cannot start: %s: error %d\n", pav_steps[i].name, err);
			pav_unwind(i);
			return err;
		}
	}
	return 0;
}

static void __exit pav_exit(void)
{
	pav_unwind(ARRAY_SIZE(pav_steps));
}

module_init(pav_init);
module_exit(pav_exit);

MODULE_DESCRIPTION("log-structured RAID-6 media groups");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1");
