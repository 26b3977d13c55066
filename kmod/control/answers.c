// SPDX-License-Identifier: GPL-2.0
/* answers: what there is, as attributes of uapi/pav_netlink.h. */
#include <linux/slab.h>
#include <net/netlink.h>

#include "answers.h"
#include "events.h"
#include "volume/volume.h"
#include "env/host.h"

static int pav_put_u64(struct sk_buff *skb, enum pav_attr type, u64 value)
{
	return nla_put_u64_64bit(skb, type, value, PAV_A_PAD);
}

struct pav_putter {
	struct sk_buff *skb;
	int code;	/* of the first that did not fit */
};

static void pav_put_counter(void *ctx, const char *name, u64 value)
{
	struct pav_putter *p = ctx;
	struct nlattr *nest;

	if (p->code)
		return;
	nest = nla_nest_start(p->skb, PAV_A_COUNTER);
	if (!nest || nla_put_string(p->skb, PAV_A_COUNTER_NAME, name) || pav_put_u64(p->skb, PAV_A_COUNTER_VALUE, value)) {
		p->code = -EMSGSIZE;
		return;
	}
	nla_nest_end(p->skb, nest);
}

static void pav_put_prop(void *ctx, const char *key, const char *value)
{
	struct pav_putter *p = ctx;
	struct nlattr *nest;

	if (p->code)
		return;
	nest = nla_nest_start(p->skb, PAV_A_PROP);
	if (!nest || nla_put_string(p->skb, PAV_A_PROP_KEY, key) || nla_put_string(p->skb, PAV_A_PROP_VALUE, value)) {
		p->code = -EMSGSIZE;
		return;
	}
	nla_nest_end(p->skb, nest);
}

static void pav_put_task(struct pav_putter *p, enum pav_task_kind kind, const struct pav_task_info *t)
{
	struct nlattr *nest;

	if (p->code)
		return;
	nest = nla_nest_start(p->skb, PAV_A_TASK);
	if (!nest || nla_put_u32(p->skb, PAV_A_TASK_KIND, kind) || (t->running && nla_put_flag(p->skb, PAV_A_TASK_RUNNING)) ||
	    pav_put_u64(p->skb, PAV_A_TASK_DONE, t->done) || pav_put_u64(p->skb, PAV_A_TASK_TOTAL, t->total) ||
	    pav_put_u64(p->skb, PAV_A_TASK_REBUILT, t->rebuilt << PAV_CELL_SHIFT) ||
	    pav_put_u64(p->skb, PAV_A_TASK_HEALED, t->healed << PAV_CELL_SHIFT) || pav_put_u64(p->skb, PAV_A_TASK_LOST, t->lost) ||
	    pav_put_u64(p->skb, PAV_A_TASK_STARTED, t->started) || pav_put_u64(p->skb, PAV_A_TASK_FINISHED, t->finished) ||
	    pav_put_u64(p->skb, PAV_A_TASK_SECONDS, t->seconds) || pav_put_u64(p->skb, PAV_A_TASK_RATE, t->rate)) {
		p->code = -EMSGSIZE;
		return;
	}
	nla_nest_end(p->skb, nest);
}

static void pav_put_tasks(struct pav_putter *p, struct pav_engine *e)
{
	struct pav_task_info rebuild, scrub;

	pav_engine_tasks(e, &rebuild, &scrub);
	pav_put_task(p, PAV_TASK_REBUILD, &rebuild);
	pav_put_task(p, PAV_TASK_SCRUB, &scrub);
}

int pav_fill_group(struct sk_buff *skb, struct pav_hosted *h)
{
	struct pav_putter p = { .skb = skb };
	struct pav_group_info *info;
	u64 before, seconds;

	info = kzalloc(sizeof(*info), GFP_KERNEL);
	if (!info)
		return -ENOMEM;
	pav_engine_info(h->engine, info);
	if (nla_put_string(skb, PAV_A_GROUP, info->name) ||
	    nla_put(skb, PAV_A_GROUP_UUID, sizeof(info->uuid), info->uuid) ||
	    nla_put_u32(skb, PAV_A_GROUP_STATE, info->state) ||
	    nla_put_u32(skb, PAV_A_DATA_DRIVES, info->data_drives) ||
	    pav_put_u64(skb, PAV_A_SEGMENT_BYTES, info->segment_blocks << PAV_CELL_SHIFT) ||
	    nla_put_u32(skb, PAV_A_RESERVE_PERCENT, info->reserve_percent) ||
	    pav_put_u64(skb, PAV_A_CAPACITY, info->capacity_cells << PAV_CELL_SHIFT) ||
	    pav_put_u64(skb, PAV_A_USED, info->used_cells << PAV_CELL_SHIFT) ||
	    pav_put_u64(skb, PAV_A_FREE, info->free_cells << PAV_CELL_SHIFT) ||
	    pav_put_u64(skb, PAV_A_PROVISIONED, info->provisioned_cells << PAV_CELL_SHIFT) ||
	    pav_put_u64(skb, PAV_A_GENERATION, info->generation) ||
	    pav_put_u64(skb, PAV_A_STRIPE_SEQ, info->stripe_seq))
		p.code = -EMSGSIZE;
	pav_put_counter(&p, "drives", info->drives);
	pav_put_counter(&p, "drives_failed", info->failed);
	pav_engine_counters(h->engine, pav_put_counter, &p);
	pav_put_counter(&p, "events_dropped", pav_events_dropped());
	if (!p.code && pav_space_before(&h->space, &before, &seconds) &&
	    (pav_put_u64(skb, PAV_A_USED_BEFORE, before) || pav_put_u64(skb, PAV_A_USED_SECONDS, seconds)))
		p.code = -EMSGSIZE;
	pav_put_tasks(&p, h->engine);
	kfree(info);
	return p.code;
}

int pav_fill_drive(struct sk_buff *skb, struct pav_hosted *h, unsigned int slot, const struct pav_drive_info *info)
{
	struct pav_putter p = { .skb = skb };

	if (nla_put_string(skb, PAV_A_GROUP, h->name) ||
	    nla_put_u32(skb, PAV_A_DRIVE_SLOT, slot) ||
	    nla_put_string(skb, PAV_A_DRIVE_PATH, info->dev ? pav_dev_name(info->dev) : info->path) ||
	    nla_put(skb, PAV_A_DRIVE_UUID, sizeof(info->uuid), info->uuid) ||
	    nla_put_u32(skb, PAV_A_DRIVE_STATE, info->state) ||
	    pav_put_u64(skb, PAV_A_DRIVE_BYTES, info->blocks << PAV_CELL_SHIFT))
		p.code = -EMSGSIZE;
	pav_put_counter(&p, "present", info->dev && pav_dev_alive(info->dev));
	pav_put_counter(&p, "reads", info->reads);
	pav_put_counter(&p, "writes", info->writes);
	pav_put_counter(&p, "read_bytes", info->read_cells << PAV_CELL_SHIFT);
	pav_put_counter(&p, "write_bytes", info->write_cells << PAV_CELL_SHIFT);
	pav_put_counter(&p, "errors", info->errors);
	pav_put_counter(&p, "healed", info->healed);
	return p.code;
}

int pav_fill_volume(struct sk_buff *skb, struct pav_hosted *h, struct pav_volume *vol)
{
	const struct pav_disk *disk = pav_volume_host(vol);
	struct pav_putter p = { .skb = skb };
	struct pav_volume_info info;

	pav_volume_info(vol, &info);
	if (nla_put_string(skb, PAV_A_GROUP, h->name) ||
	    nla_put_string(skb, PAV_A_VOLUME, info.ident.name) ||
	    nla_put_u32(skb, PAV_A_VOLUME_ID, info.id) ||
	    pav_put_u64(skb, PAV_A_SIZE, info.cells << PAV_CELL_SHIFT) ||
	    pav_put_u64(skb, PAV_A_MAPPED, info.mapped_cells << PAV_CELL_SHIFT) ||
	    nla_put_string(skb, PAV_A_SERIAL, info.ident.serial) ||
	    nla_put(skb, PAV_A_UUID, sizeof(info.ident.uuid), info.ident.uuid) ||
	    nla_put(skb, PAV_A_NGUID, sizeof(info.ident.nguid), info.ident.nguid) ||
	    nla_put_u32(skb, PAV_A_OPENERS, disk ? pav_disk_openers(disk) : 0) ||
	    (disk && nla_put_string(skb, PAV_A_BLOCK_DEVICE, pav_disk_name(disk))))	/* one that could not be made: registry.c */
		p.code = -EMSGSIZE;
	pav_put_counter(&p, "reads", info.reads);
	pav_put_counter(&p, "writes", info.writes);
	pav_put_counter(&p, "unmaps", info.unmaps);
	pav_put_counter(&p, "read_bytes", info.read_cells << PAV_CELL_SHIFT);
	pav_put_counter(&p, "write_bytes", info.write_cells << PAV_CELL_SHIFT);
	pav_volume_props(h->engine, vol, pav_put_prop, &p);
	return p.code;
}

int pav_fill_probe(struct sk_buff *skb, const char *path, u64 blocks, const struct pav_probe *probe)
{
	struct nlattr *nest = nla_nest_start(skb, PAV_A_DRIVE);

	if (!nest ||
	    nla_put_string(skb, PAV_A_DRIVE_PATH, path) ||
	    pav_put_u64(skb, PAV_A_DRIVE_BYTES, blocks << PAV_CELL_SHIFT))
		return -EMSGSIZE;
	if (probe && (nla_put_string(skb, PAV_A_GROUP, probe->group) ||
		      nla_put(skb, PAV_A_GROUP_UUID, sizeof(probe->group_uuid), probe->group_uuid) ||
		      nla_put_u32(skb, PAV_A_DATA_DRIVES, probe->data_drives) ||
		      pav_put_u64(skb, PAV_A_GENERATION, probe->generation) ||
		      nla_put_u32(skb, PAV_A_DRIVE_SLOT, probe->slot) ||
		      nla_put(skb, PAV_A_DRIVE_UUID, sizeof(probe->drive_uuid), probe->drive_uuid) ||
		      nla_put_u32(skb, PAV_A_DRIVE_STATE, probe->state) ||
		      nla_put_u32(skb, PAV_A_DRIVES_EXPECTED, probe->expected)))
		return -EMSGSIZE;
	if (probe && probe->owned &&
	    (nla_put_string(skb, PAV_A_OWNER_NAME, probe->owner) ||
	     nla_put(skb, PAV_A_OWNER_ID, sizeof(probe->owner_id), probe->owner_id) ||
	     pav_put_u64(skb, PAV_A_OWNER_SINCE, probe->owner_since) ||
	     pav_put_u64(skb, PAV_A_OWNER_SEEN, probe->owner_seen)))
		return -EMSGSIZE;
	nla_nest_end(skb, nest);
	return 0;
}
