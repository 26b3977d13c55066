// SPDX-License-Identifier: GPL-2.0
/*
 * registry: open groups, and what belongs to each: its drives, its engine, a disk for each of its volumes.
 *
 *	import:  open the drives, ask them which group they are, open the engine (replay), make a disk for each volume, list it
 *	export:  retire every disk, close the engine (checkpoint), destroy the disks, close the drives
 *
 * Each is undone from where it failed.
 */
#include <linux/blkdev.h>
#include <linux/module.h>
#include <linux/once.h>
#include <linux/random.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/utsname.h>
#include <linux/uuid.h>

#include "control.h"
#include "drives.h"
#include "events.h"
#include "registry.h"
#include "env/host.h"
#include "volume/volume.h"

#define PAV_WATCH_INTERVAL	HZ

DEFINE_MUTEX(pav_registry_lock);
unsigned int pav_registry_seq = 1;

static LIST_HEAD(pav_hosted_list);
static u64 pav_next_order = 1;

int pav_refuse(struct pav_err *err, int code, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vscnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	return code;
}

static void pav_registry_changed(void)
{
	if (!++pav_registry_seq)
		pav_registry_seq = 1;
}

struct pav_hosted *pav_hosted_find(const char *name)
{
	struct pav_hosted *h;

	lockdep_assert_held(&pav_registry_lock);
	list_for_each_entry(h, &pav_hosted_list, link)
		if (!strcmp(h->name, name))
			return h;
	return NULL;
}

struct pav_hosted *pav_hosted_from(u64 order)
{
	struct pav_hosted *h;

	lockdep_assert_held(&pav_registry_lock);
	list_for_each_entry(h, &pav_hosted_list, link)
		if (h->order >= order)
			return h;
	return NULL;
}

struct pav_hosted *pav_hosted_by_drive(dev_t number)
{
	struct pav_hosted *h;

	lockdep_assert_held(&pav_registry_lock);
	list_for_each_entry(h, &pav_hosted_list, link)
		if (pav_devs_have(h, number))
			return h;
	return NULL;
}

static void pav_watch(struct work_struct *work)
{
	struct pav_hosted *h = container_of(to_delayed_work(work), struct pav_hosted, watch);
	unsigned int noio = memalloc_noio_save();	/* to fail a drive is to write superblocks, for which users' writes may be waiting */

	pav_devs_watch(h);
	/* Whoever closes the group holds the lock while he waits for us; it can wait. */
	if (mutex_trylock(&pav_registry_lock)) {
		pav_space_watch(&h->space, h->engine);
		mutex_unlock(&pav_registry_lock);
	}
	memalloc_noio_restore(noio);
	schedule_delayed_work(&h->watch, PAV_WATCH_INTERVAL);
}

/* ---- disks ---- */

static void pav_hosted_traits(struct pav_hosted *h, struct pav_disk_traits *traits)
{
	struct pav_group_info info;

	pav_engine_info(h->engine, &info);
	traits->group = h->name;
	traits->row_bytes = info.data_drives * PAV_CELL_BYTES;
	traits->dma_mask = pav_devs_dma_mask(h);
}

static int pav_disk_attach(struct pav_hosted *h, struct pav_volume *vol, struct pav_err *err)
{
	struct pav_disk_traits traits;
	struct pav_volume_info info;
	struct pav_disk *disk;

	pav_hosted_traits(h, &traits);
	disk = pav_disk_create(vol, &traits);
	if (IS_ERR(disk)) {
		pav_volume_info(vol, &info);
		return pav_refuse(err, PTR_ERR(disk), "volume %s/%s: no block device can be made for it (error %ld)", h->name, info.ident.name,
				  -PTR_ERR(disk));
	}
	pav_volume_set_host(vol, disk);
	return 0;
}

/* All or none: on -EBUSY every disk is as it was. */
static int pav_disks_retire(struct pav_hosted *h, struct pav_err *err)
{
	struct pav_volume *vol;
	struct pav_disk *disk;
	unsigned int id;

	for (id = 0; id < PAV_MAX_VOLUMES; id++) {
		struct pav_volume_info info;

		vol = pav_volume_by_id(h->engine, id);
		disk = vol ? pav_volume_host(vol) : NULL;
		if (!disk || !pav_disk_retire(disk))
			continue;
		pav_volume_info(vol, &info);
		pav_refuse(err, 0, "group %s: volume %s (%s) is open by %u; unassign, unmount or close it first", h->name, info.ident.name,
			   pav_disk_name(disk), pav_disk_openers(disk));
		while (id--) {
			vol = pav_volume_by_id(h->engine, id);
			disk = vol ? pav_volume_host(vol) : NULL;
			if (disk)
				pav_disk_revive(disk);
		}
		return -EBUSY;
	}
	return 0;
}

/*
 * The disks are retired; or, with @cut, are now: those of a group that could not be opened in the end, and whoever (udev) has one open already loses it.
 * They must go before the engine does: their volumes are its.
 */
static void pav_disks_destroy(struct pav_hosted *h, bool cut)
{
	struct pav_volume *vol;
	struct pav_disk *disk;
	unsigned int id;

	for (id = 0; id < PAV_MAX_VOLUMES; id++) {
		vol = pav_volume_by_id(h->engine, id);
		disk = vol ? pav_volume_host(vol) : NULL;
		if (!disk)
			continue;
		if (cut)
			pav_disk_cut(disk);
		pav_volume_set_host(vol, NULL);
		pav_disk_destroy(disk);
	}
}

/* ---- groups ---- */

static void pav_hosted_event(void *host, enum pav_event type, const char *volume, int slot, u64 value, const char *text)
{
	struct pav_hosted *h = host;
	struct pav_drive_info info = { };

	/* Who joins is not known here yet; but he will not leave within this instant. */
	if (type == PAV_EVENT_DRIVE_JOINED && h->engine)
		pav_engine_drive_info(h->engine, slot, &info);
	else if (slot >= 0 && slot < PAV_MAX_DRIVES)
		pav_devs_path(h, slot, info.path);
	pav_event_post(type, h->name, volume, slot, info.path, value, text);
}

static const struct pav_host_ops pav_hosted_ops = {
	.event = pav_hosted_event,
	.release = pav_devs_release,
};

/* Which group do these drives say they are? The first readable superblock will do: the engine checks them all. */
static int pav_hosted_identify(struct pav_hosted *h, const struct pav_drive_arg *args, unsigned int n, const char *expect_name, struct pav_err *err)
{
	struct pav_probe *probe;
	unsigned int i;
	int code = -ENOENT;

	probe = kzalloc(sizeof(*probe), GFP_KERNEL);
	if (!probe)
		return pav_refuse(err, -ENOMEM, "out of memory");
	for (i = 0; i < n && code; i++)
		code = pav_probe(args[i].dev, probe, err);
	if (!code) {
		strscpy(h->name, probe->group, sizeof(h->name));
		if (expect_name && strcmp(expect_name, h->name))
			code = pav_refuse(err, -EINVAL, "the drives are of group %s, not %s; name that, or other drives", h->name, expect_name);
		else if (pav_hosted_find(h->name))
			code = pav_refuse(err, -EEXIST, "group %s: a group of that name is open already; export it first", h->name);
	}
	kfree(probe);
	return code;
}

/*
 * What the owner stamp says of us. This life of the machine is this load of the module: it cannot be loaded again while a group is open, nor twice. A machine
 * that nobody named is another one each time.
 */
static void pav_sign(struct pav_open_params *params, const struct pav_as_host *as)
{
	static u8 load_id[16];

	get_random_once(load_id, sizeof(load_id));
	memcpy(params->boot_id, load_id, sizeof(params->boot_id));
	memcpy(params->host_id, memchr_inv(as->id, 0, sizeof(as->id)) ? as->id : load_id, sizeof(params->host_id));
	params->host_name = as->name && as->name[0] ? as->name : init_utsname()->nodename;
	params->takeover = as->takeover;
}

/* Opens the group on these drives of @h. On failure the drives are still open, and @h the caller's. */
static int pav_hosted_open(struct pav_hosted *h, const struct pav_drive_arg *args, unsigned int n, const char *expect_name, const struct pav_as_host *as,
			   struct pav_err *err)
{
	struct pav_open_params params = {
		.streams = pav_param_streams(),
		.cache_nodes = pav_param_cache_nodes(),
		.no_discard = !pav_param_discard(),
		.expect_name = expect_name,
		.ops = &pav_hosted_ops,
		.host = h,
	};
	struct pav_volume *vol;
	struct pav_err ignored;
	unsigned int i;
	int code;

	pav_sign(&params, as);
	code = pav_engine_open(args, n, &params, &h->engine, err);
	if (code)
		return code;
	pav_devs_learn(h);
	for (i = 0; i < PAV_MAX_VOLUMES && !code; i++) {
		vol = pav_volume_by_id(h->engine, i);
		if (vol)
			code = pav_disk_attach(h, vol, err);
	}
	if (code) {
		pav_disks_destroy(h, true);
		pav_engine_close(h->engine, &ignored);
		return code;
	}

	h->order = pav_next_order++;
	list_add_tail(&h->link, &pav_hosted_list);
	pav_registry_changed();
	__module_get(THIS_MODULE);	/* the command that is running has a reference too */
	pav_event_post(PAV_EVENT_GROUP_OPENED, h->name, NULL, -1, NULL, 0, "group opened");
	pav_space_watch(&h->space, h->engine);
	INIT_DELAYED_WORK(&h->watch, pav_watch);
	schedule_delayed_work(&h->watch, PAV_WATCH_INTERVAL);
	return 0;
}

static struct pav_hosted *pav_hosted_alloc(void)
{
	struct pav_hosted *h = kzalloc(sizeof(*h), GFP_KERNEL);

	if (h)
		pav_devs_init(h);
	return h;
}

int pav_hosted_import(const char *expect_name, const struct pav_as_host *as, const struct pav_drive_spec *drives, unsigned int n,
		      struct pav_hosted **out, struct pav_err *err)
{
	struct pav_drive_arg *args;
	struct pav_hosted *h;
	int code;

	lockdep_assert_held(&pav_registry_lock);
	h = pav_hosted_alloc();
	args = kcalloc(n, sizeof(*args), GFP_KERNEL);
	if (!h || !args) {
		code = pav_refuse(err, -ENOMEM, "out of memory");
		goto free;
	}
	code = pav_devs_open(h, drives, n, args, err);
	if (code)
		goto free;
	code = pav_hosted_identify(h, args, n, expect_name, err);
	if (!code)
		code = pav_hosted_open(h, args, n, expect_name, as, err);
	if (code)
		goto close;
	kfree(args);
	*out = h;
	return 0;

close:
	pav_devs_close(h);
free:
	kfree(args);
	kfree(h);
	return code;
}

int pav_hosted_create(const struct pav_create_params *params, const struct pav_as_host *as, const struct pav_drive_spec *drives, unsigned int n,
		      struct pav_err *err)
{
	struct pav_drive_arg *args;
	struct pav_hosted *h;
	int code;

	lockdep_assert_held(&pav_registry_lock);
	if (pav_hosted_find(params->name))
		return pav_refuse(err, -EEXIST, "group %s: a group of that name is open already; choose another name", params->name);
	h = pav_hosted_alloc();
	args = kcalloc(n, sizeof(*args), GFP_KERNEL);
	if (!h || !args) {
		code = pav_refuse(err, -ENOMEM, "group %s: out of memory", params->name);
		goto free;
	}
	strscpy(h->name, params->name, sizeof(h->name));
	code = pav_devs_open(h, drives, n, args, err);
	if (code)
		goto free;
	code = pav_engine_create(args, n, params, err);
	if (!code)
		code = pav_hosted_open(h, args, n, params->name, as, err);
	if (code)
		goto close;
	kfree(args);
	return 0;

close:
	pav_devs_close(h);
free:
	kfree(args);
	kfree(h);
	return code;
}

int pav_hosted_export(struct pav_hosted *h, bool destroy, struct pav_err *err)
{
	struct pav_drive_arg *args = NULL;
	struct pav_volume_info info;
	unsigned int i;
	int code;

	lockdep_assert_held(&pav_registry_lock);
	if (destroy) {
		for (i = 0; i < PAV_MAX_VOLUMES; i++) {
			struct pav_volume *vol = pav_volume_by_id(h->engine, i);

			if (!vol)
				continue;
			pav_volume_info(vol, &info);
			return pav_refuse(err, -EBUSY, "group %s: has volumes, %s among them; delete them first", h->name, info.ident.name);
		}
		args = kcalloc(ARRAY_SIZE(h->devs), sizeof(*args), GFP_KERNEL);
		if (!args)
			return pav_refuse(err, -ENOMEM, "group %s: out of memory", h->name);
	}
	code = pav_disks_retire(h, err);
	if (code) {
		kfree(args);
		return code;
	}

	cancel_delayed_work_sync(&h->watch);
	list_del(&h->link);
	pav_registry_changed();
	pav_disks_destroy(h, false);
	code = pav_engine_close(h->engine, err);
	if (destroy) {
		for (i = 0; i < h->n_devs; i++)
			args[i].dev = h->devs[i].dev;
		/* Whether the last checkpoint went well no longer matters, nor which drives have gone. */
		code = pav_engine_wipe(args, h->n_devs, err);
	}
	pav_event_post(PAV_EVENT_GROUP_CLOSED, h->name, NULL, -1, NULL, 0, destroy ? "group destroyed" : "group exported");
	pav_devs_close(h);
	kfree(args);
	kfree(h);
	module_put(THIS_MODULE);
	return code;
}

/* ---- drives of open groups ---- */

/* Reads go straight into users' memory, and the volumes have promised what will do. @mask: what they have promised. */
static int pav_devs_align(const struct pav_drive_arg *args, unsigned int n, unsigned int mask, struct pav_err *err)
{
	for (; n--; args++)
		if (pav_dev_dma_mask(args->dev) > mask)
			return pav_refuse(err, -EINVAL, "drive %s: wants memory aligned to %u bytes, the group's drives to %u; choose one of their kind",
					  pav_dev_name(args->dev), pav_dev_dma_mask(args->dev) + 1, mask + 1);
	return 0;
}

/* Nothing may be written any more, the superblock of a newcomer neither. */
static int pav_hosted_writable(struct pav_hosted *h, struct pav_err *err)
{
	struct pav_group_info info;

	pav_engine_info(h->engine, &info);
	if (info.state == PAV_GROUP_FAULTED)
		return pav_refuse(err, -EIO, "group %s: faulted, no drive can join; export it, and import it with the drives that are missing", h->name);
	return 0;
}

int pav_hosted_add(struct pav_hosted *h, const struct pav_drive_spec *drives, unsigned int n, struct pav_err *err)
{
	unsigned int mask = pav_devs_dma_mask(h);
	struct pav_drive_arg *args;
	int code;

	lockdep_assert_held(&pav_registry_lock);
	code = pav_hosted_writable(h, err);
	if (code)
		return code;
	args = kcalloc(n, sizeof(*args), GFP_KERNEL);
	if (!args)
		return pav_refuse(err, -ENOMEM, "group %s: out of memory", h->name);
	code = pav_devs_open(h, drives, n, args, err);
	if (code)
		goto free;
	code = pav_devs_align(args, n, mask, err);
	if (!code)
		code = pav_engine_add(h->engine, args, n, err);
	if (code)
		pav_devs_forget(h, args, n);
	else
		pav_devs_learn(h);
free:
	kfree(args);
	return code;
}

/* The slot that has the device with this number, -1: none. */
static int pav_hosted_slot(struct pav_hosted *h, dev_t number, enum pav_drive_state *state)
{
	struct pav_drive_info info;
	int slot, found = -1;

	mutex_lock(&h->devs_lock);
	for (slot = 0; slot < PAV_MAX_DRIVES && found < 0; slot++) {
		if (pav_engine_drive_info(h->engine, slot, &info) || !info.dev || pav_dev_number(info.dev) != number)
			continue;
		found = slot;
		*state = info.state;
	}
	mutex_unlock(&h->devs_lock);
	return found;
}

int pav_hosted_replace(struct pav_hosted *h, unsigned int slot, const char *path, struct pav_err *err)
{
	const struct pav_drive_spec drive = { .path = path, .spare = true };
	enum pav_drive_state state = PAV_DRIVE_EMPTY;
	struct pav_drive_info info;
	struct pav_err ignored;
	bool joined = false;
	dev_t number;
	int spare = -1, code;

	lockdep_assert_held(&pav_registry_lock);
	mutex_lock(&h->devs_lock);
	code = pav_engine_drive_info(h->engine, slot, &info);
	mutex_unlock(&h->devs_lock);
	if (code)
		return pav_refuse(err, -ENOENT, "group %s: has no drive in slot %u; see the list of drives", h->name, slot);
	if (info.state == PAV_DRIVE_SPARE)
		return pav_refuse(err, -EINVAL, "group %s: drive %u (%s) is a spare and holds nothing; remove it", h->name, slot, info.path);
	if (path) {
		code = lookup_bdev(path, &number);
		if (code)
			return pav_refuse(err, code, "drive %s: no such drive (error %d); see the list of drives", path, -code);
		spare = pav_hosted_slot(h, number, &state);
		if (spare >= 0 && state != PAV_DRIVE_SPARE)
			return pav_refuse(err, -EBUSY, "drive %s: in use in slot %d of the same group; choose another", path, spare);
		if (spare < 0) {
			code = pav_hosted_add(h, &drive, 1, err);
			if (code)
				return code;
			joined = true;
			spare = pav_hosted_slot(h, number, &state);
			/* A failed drive's place it may have taken by itself meanwhile. */
			if (spare == (int)slot)
				return 0;
			if (state != PAV_DRIVE_SPARE)
				return pav_refuse(err, -EBUSY, "drive %s: joined group %s, but took the place of the failed drive in slot %d; add another",
						  path, h->name, spare);
		}
	}
	code = pav_engine_replace(h->engine, slot, info.dev, spare, err);
	if (code && path && pav_hosted_slot(h, number, &state) == (int)slot)
		code = 0;
	if (code && joined)
		pav_engine_remove(h->engine, spare, &ignored);
	pav_devs_learn(h);
	return code;
}

int pav_hosted_return(const char *path, struct pav_hosted **out, struct pav_err *err)
{
	const struct pav_drive_spec drive = { .path = path };
	struct pav_drive_arg arg = { };
	struct pav_group_info *info;
	struct pav_probe *probe;
	struct pav_hosted *h;
	unsigned int mask;
	bool opened;
	u64 blocks;
	dev_t number;
	int code;

	lockdep_assert_held(&pav_registry_lock);
	info = kzalloc(sizeof(*info), GFP_KERNEL);
	probe = kzalloc(sizeof(*probe), GFP_KERNEL);
	if (!info || !probe) {
		code = pav_refuse(err, -ENOMEM, "drive %s: out of memory", path);
		goto free;
	}
	/* It may have been there all the time, and be of a group that would not have it. */
	h = lookup_bdev(path, &number) ? NULL : pav_hosted_by_drive(number);
	if (h) {
		*out = h;
		arg.dev = pav_devs_hold(h, number);
		code = arg.dev ? pav_engine_return(h->engine, arg.dev, err) :
				 pav_refuse(err, -EBUSY, "drive %s: still busy with what group %s wanted of it; try again in a minute", path, h->name);
		pav_devs_learn(h);
		goto free;
	}
	code = pav_drive_probe(path, probe, &blocks, &opened, err);
	if (code)
		goto free;
	h = pav_hosted_find(probe->group);
	if (h)
		pav_engine_info(h->engine, info);
	if (!h || memcmp(info->uuid, probe->group_uuid, sizeof(info->uuid))) {
		code = pav_refuse(err, -ENOENT, "drive %s: of group %s, which is not open; import it", path, probe->group);
		goto free;
	}
	*out = h;
	code = pav_hosted_writable(h, err);
	if (code)
		goto free;
	mask = pav_devs_dma_mask(h);
	code = pav_devs_open(h, &drive, 1, &arg, err);
	if (code)
		goto free;
	code = pav_devs_align(&arg, 1, mask, err);
	if (!code)
		code = pav_engine_return(h->engine, arg.dev, err);
	if (code)
		pav_devs_forget(h, &arg, 1);
	else
		pav_devs_learn(h);
free:
	kfree(probe);
	kfree(info);
	return code;
}

/* ---- volumes ---- */

struct pav_volume *pav_hosted_volume(struct pav_hosted *h, const char *name, struct pav_volume_info *info)
{
	unsigned int id;

	for (id = 0; id < PAV_MAX_VOLUMES; id++) {
		struct pav_volume *vol = pav_volume_by_id(h->engine, id);

		if (!vol)
			continue;
		pav_volume_info(vol, info);
		if (!strcmp(info->ident.name, name))
			return vol;
	}
	return NULL;
}

/* Initiators tell volumes apart by these, whichever group they are in. */
static int pav_ident_check(const struct pav_volume_ident *ident, struct pav_err *err)
{
	struct pav_volume_info info;
	struct pav_hosted *h;
	unsigned int id;

	list_for_each_entry(h, &pav_hosted_list, link) {
		for (id = 0; id < PAV_MAX_VOLUMES; id++) {
			struct pav_volume *vol = pav_volume_by_id(h->engine, id);
			const char *what;

			if (!vol)
				continue;
			pav_volume_info(vol, &info);
			if (!strcmp(info.ident.serial, ident->serial))
				what = "serial";
			else if (!memcmp(info.ident.uuid, ident->uuid, sizeof(ident->uuid)))
				what = "UUID";
			else if (!memcmp(info.ident.nguid, ident->nguid, sizeof(ident->nguid)))
				what = "NGUID";
			else
				continue;
			return pav_refuse(err, -EEXIST, "volume %s: its %s is that of volume %s/%s; give another, or none to have one made",
					  ident->name, what, h->name, info.ident.name);
		}
	}
	return 0;
}

/* What the caller left empty is made up. */
static void pav_ident_complete(struct pav_volume_ident *ident)
{
	u64 number;

	if (!ident->serial[0]) {
		get_random_bytes(&number, sizeof(number));
		snprintf(ident->serial, sizeof(ident->serial), "GB%014llx", number >> 8);
	}
	if (!memchr_inv(ident->uuid, 0, sizeof(ident->uuid)))
		generate_random_uuid(ident->uuid);
	if (!memchr_inv(ident->nguid, 0, sizeof(ident->nguid)))
		get_random_bytes(ident->nguid, sizeof(ident->nguid));
}

int pav_hosted_volume_create(struct pav_hosted *h, struct pav_volume_ident *ident, u64 cells, struct pav_volume **out, struct pav_err *err)
{
	struct pav_err ignored;
	int code;

	lockdep_assert_held(&pav_registry_lock);
	pav_ident_complete(ident);
	code = pav_ident_check(ident, err);
	if (code)
		return code;
	code = pav_volume_create(h->engine, ident, cells, out, err);
	if (code)
		return code;
	code = pav_disk_attach(h, *out, err);
	if (code) {
		/* Should that fail too, the volume is there without a disk, until the group is opened again. */
		pav_volume_delete(h->engine, *out, &ignored);
		return code;
	}
	pav_registry_changed();
	pav_event_post(PAV_EVENT_VOLUME_CREATED, h->name, ident->name, -1, NULL, 0, "volume created");
	return 0;
}

int pav_hosted_volume_delete(struct pav_hosted *h, struct pav_volume *vol, struct pav_err *err)
{
	struct pav_disk *disk = pav_volume_host(vol);
	struct pav_volume_info info;
	int code;

	lockdep_assert_held(&pav_registry_lock);
	pav_volume_info(vol, &info);
	code = disk ? pav_disk_retire(disk) : 0;
	if (code)
		return pav_refuse(err, code, "volume %s/%s (%s): open by %u; unassign, unmount or close it first", h->name, info.ident.name,
				  pav_disk_name(disk), pav_disk_openers(disk));
	code = pav_volume_delete(h->engine, vol, err);
	if (code) {
		if (disk)
			pav_disk_revive(disk);
		return code;
	}
	if (disk)
		pav_disk_destroy(disk);
	pav_registry_changed();
	pav_event_post(PAV_EVENT_VOLUME_DELETED, h->name, info.ident.name, -1, NULL, 0, "volume deleted");
	return 0;
}

int pav_hosted_volume_grow(struct pav_hosted *h, struct pav_volume *vol, u64 cells, struct pav_err *err)
{
	struct pav_volume_info info;
	int code;

	lockdep_assert_held(&pav_registry_lock);
	pav_volume_info(vol, &info);
	if (cells < info.cells)
		return pav_refuse(err, -EINVAL, "volume %s/%s: has %llu MiB and cannot be made smaller; copy it into a smaller one", h->name,
				  info.ident.name, info.cells >> (20 - PAV_CELL_SHIFT));
	code = pav_volume_grow(h->engine, vol, cells, err);
	if (code)
		return code;
	if (pav_volume_host(vol))
		pav_disk_resize(pav_volume_host(vol), cells);
	pav_event_post(PAV_EVENT_VOLUME_CHANGED, h->name, info.ident.name, -1, NULL, cells << PAV_CELL_SHIFT, "volume grown");
	return 0;
}

int pav_hosted_volume_rename(struct pav_hosted *h, struct pav_volume *vol, const char *name, struct pav_err *err)
{
	struct pav_volume_info info;
	int code;

	lockdep_assert_held(&pav_registry_lock);
	if (pav_hosted_volume(h, name, &info))
		return pav_refuse(err, -EEXIST, "volume %s/%s: exists already; choose another name", h->name, name);
	code = pav_volume_rename(h->engine, vol, name, err);
	if (code)
		return code;
	if (pav_volume_host(vol))
		pav_disk_rename(pav_volume_host(vol), name);
	pav_registry_changed();
	pav_event_post(PAV_EVENT_VOLUME_CHANGED, h->name, name, -1, NULL, 0, "volume renamed");
	return 0;
}
