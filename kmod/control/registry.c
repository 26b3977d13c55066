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
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/once.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/utsname.h>
#include <linux/uuid.h>

#include "control.h"
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

/* ---- drives ---- */

/* Who among us has the device open that @path leads to? NULL: none of our groups. */
static struct pav_hosted *pav_drive_user(const char *path)
{
	struct pav_hosted *h;
	unsigned int i;
	dev_t number;

	if (lookup_bdev(path, &number))
		return NULL;
	list_for_each_entry(h, &pav_hosted_list, link)
		for (i = 0; i < h->n_devs; i++)
			if (pav_dev_number(h->devs[i]) == number)
				return h;
	return NULL;
}

static struct pav_dev *pav_drive_open(const char *path, struct pav_err *err)
{
	const struct pav_hosted *user;
	struct pav_dev *dev;
	const char *why;

	dev = pav_dev_open(path, &why);
	if (!IS_ERR(dev))
		return dev;
	user = PTR_ERR(dev) == -EBUSY ? pav_drive_user(path) : NULL;
	if (user)
		pav_refuse(err, 0, "drive %s: in use by the open group %s; choose another, or export that group first", path, user->name);
	else
		pav_refuse(err, 0, "drive %s: %s (error %ld); free it or choose another", path, why, -PTR_ERR(dev));
	return dev;
}

static void pav_drives_close(struct pav_dev **devs, unsigned int n)
{
	while (n--)
		pav_dev_close(devs[n]);
}

static int pav_drives_open(const struct pav_drive_spec *drives, unsigned int n, struct pav_hosted *h, struct pav_err *err)
{
	dev_t number;
	unsigned int i, j;

	for (i = 0; i < n; i++) {
		h->devs[i] = NULL;
		if (!lookup_bdev(drives[i].path, &number)) {
			for (j = 0; j < i; j++) {
				if (pav_dev_number(h->devs[j]) != number)
					continue;
				pav_refuse(err, 0, "drive %s: named twice (it is %s too); name each drive once", drives[i].path, drives[j].path);
				pav_drives_close(h->devs, i);
				return -EINVAL;
			}
		}
		h->devs[i] = pav_drive_open(drives[i].path, err);
		if (IS_ERR(h->devs[i])) {
			int code = PTR_ERR(h->devs[i]);

			pav_drives_close(h->devs, i);
			return code;
		}
	}
	h->n_devs = n;
	return 0;
}

int pav_drive_probe(const char *path, struct pav_probe *out, u64 *blocks, bool *opened, struct pav_err *err)
{
	struct pav_dev *dev = pav_drive_open(path, err);
	int code;

	*opened = !IS_ERR(dev);
	if (IS_ERR(dev))
		return PTR_ERR(dev);
	*blocks = pav_dev_blocks(dev);
	code = pav_probe(dev, out, err);
	pav_dev_close(dev);
	return code;
}

int pav_drive_wipe(const char *path, struct pav_err *err)
{
	struct pav_drive_arg arg = { .dev = pav_drive_open(path, err) };
	struct pav_probe *probe;
	int code;

	if (IS_ERR(arg.dev))
		return PTR_ERR(arg.dev);
	probe = kzalloc(sizeof(*probe), GFP_KERNEL);
	code = probe ? pav_probe(arg.dev, probe, err) : pav_refuse(err, -ENOMEM, "drive %s: out of memory", path);
	/* What cannot be read as a superblock may be one that was damaged; what is none at all is somebody else's. */
	if (!code || code == -EUCLEAN || code == -EOPNOTSUPP)
		code = pav_engine_wipe(&arg, 1, err);
	kfree(probe);
	pav_dev_close(arg.dev);
	return code;
}

/* Linux 6.1 tells nobody that a disk was unplugged, and an idle group would not notice. So it is looked for. */
static void pav_watch(struct work_struct *work)
{
	struct pav_hosted *h = container_of(to_delayed_work(work), struct pav_hosted, watch);
	unsigned int i;

	for (i = 0; i < h->n_devs; i++) {
		if (pav_dev_alive(h->devs[i]) || (h->gone & BIT_ULL(i)))
			continue;
		h->gone |= BIT_ULL(i);
		pav_engine_drive_gone(h->engine, h->devs[i]);
	}
	/* Whoever closes the group holds the lock while he waits for us; it can wait. */
	if (mutex_trylock(&pav_registry_lock)) {
		pav_space_watch(&h->space, h->engine);
		mutex_unlock(&pav_registry_lock);
	}
	schedule_delayed_work(&h->watch, PAV_WATCH_INTERVAL);
}

/* ---- disks ---- */

static void pav_hosted_traits(const struct pav_hosted *h, struct pav_disk_traits *traits)
{
	unsigned int i;

	traits->group = h->name;
	traits->row_bytes = h->data_drives * PAV_CELL_BYTES;
	traits->dma_mask = 0;
	for (i = 0; i < h->n_devs; i++)
		traits->dma_mask = max(traits->dma_mask, pav_dev_dma_mask(h->devs[i]));
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

/* The disks are retired. They must go before the engine does: their volumes are its. */
static void pav_disks_destroy(struct pav_hosted *h)
{
	struct pav_volume *vol;
	struct pav_disk *disk;
	unsigned int id;

	for (id = 0; id < PAV_MAX_VOLUMES; id++) {
		vol = pav_volume_by_id(h->engine, id);
		disk = vol ? pav_volume_host(vol) : NULL;
		if (!disk)
			continue;
		pav_volume_set_host(vol, NULL);
		pav_disk_destroy(disk);
	}
}

/* ---- groups ---- */

static void pav_hosted_event(void *host, enum pav_event type, const char *volume, int slot, u64 value, const char *text)
{
	struct pav_hosted *h = host;
	const char *path = slot >= 0 && slot < PAV_MAX_DRIVES ? READ_ONCE(h->slot_path[slot]) : NULL;

	pav_event_post(type, h->name, volume, slot, path, value, text);
}

static const struct pav_host_ops pav_hosted_ops = {
	.event = pav_hosted_event,
};

/* Which group do these drives say they are? The first readable superblock will do: the engine checks them all. */
static int pav_hosted_identify(struct pav_hosted *h, const char *expect_name, struct pav_err *err)
{
	struct pav_probe *probe;
	unsigned int i;
	int code = -ENOENT;

	probe = kzalloc(sizeof(*probe), GFP_KERNEL);
	if (!probe)
		return pav_refuse(err, -ENOMEM, "out of memory");
	for (i = 0; i < h->n_devs && code; i++)
		code = pav_probe(h->devs[i], probe, err);
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

/* Opens the group on @h's drives. On failure the drives are still open, and @h the caller's. */
static int pav_hosted_open(struct pav_hosted *h, const char *expect_name, const struct pav_as_host *as, struct pav_err *err)
{
	struct pav_open_params params = {
		.streams = pav_param_streams(),
		.cache_nodes = pav_param_cache_nodes(),
		.no_discard = !pav_param_discard(),
		.expect_name = expect_name,
		.ops = &pav_hosted_ops,
		.host = h,
	};
	struct pav_drive_arg *args;
	struct pav_group_info *info;
	struct pav_drive_info drive;
	struct pav_volume *vol;
	struct pav_err ignored;
	unsigned int i;
	int code;

	args = kcalloc(h->n_devs, sizeof(*args), GFP_KERNEL);
	info = kzalloc(sizeof(*info), GFP_KERNEL);
	if (!args || !info) {
		code = pav_refuse(err, -ENOMEM, "group %s: out of memory", h->name);
		goto free;
	}
	for (i = 0; i < h->n_devs; i++)
		args[i].dev = h->devs[i];
	pav_sign(&params, as);

	code = pav_engine_open(args, h->n_devs, &params, &h->engine, err);
	if (code)
		goto free;
	pav_engine_info(h->engine, info);
	h->data_drives = info->data_drives;
	for (i = 0; i < PAV_MAX_DRIVES; i++)
		if (!pav_engine_drive_info(h->engine, i, &drive) && drive.dev)
			WRITE_ONCE(h->slot_path[i], pav_dev_name(drive.dev));

	for (i = 0; i < PAV_MAX_VOLUMES && !code; i++) {
		vol = pav_volume_by_id(h->engine, i);
		if (vol)
			code = pav_disk_attach(h, vol, err);
	}
	if (code) {
		/* Somebody (udev) may have one open already. It will let go: wait for it rather than leave a half-open group behind. */
		while (pav_disks_retire(h, &ignored))
			msleep(20);
		pav_disks_destroy(h);
		pav_engine_close(h->engine, &ignored);
		goto free;
	}

	h->order = pav_next_order++;
	list_add_tail(&h->link, &pav_hosted_list);
	pav_registry_changed();
	__module_get(THIS_MODULE);	/* a command is running in it */
	pav_space_watch(&h->space, h->engine);
	INIT_DELAYED_WORK(&h->watch, pav_watch);
	schedule_delayed_work(&h->watch, PAV_WATCH_INTERVAL);
	pav_event_post(PAV_EVENT_GROUP_OPENED, h->name, NULL, -1, NULL, 0, "group opened");
free:
	kfree(info);
	kfree(args);
	return code;
}

int pav_hosted_import(const char *expect_name, const struct pav_as_host *as, const struct pav_drive_spec *drives, unsigned int n,
		      struct pav_hosted **out, struct pav_err *err)
{
	struct pav_hosted *h;
	int code;

	lockdep_assert_held(&pav_registry_lock);
	h = kzalloc(sizeof(*h), GFP_KERNEL);
	if (!h)
		return pav_refuse(err, -ENOMEM, "out of memory");
	code = pav_drives_open(drives, n, h, err);
	if (code)
		goto free;
	code = pav_hosted_identify(h, expect_name, err);
	if (!code)
		code = pav_hosted_open(h, expect_name, as, err);
	if (code)
		goto close;
	*out = h;
	return 0;

close:
	pav_drives_close(h->devs, h->n_devs);
free:
	kfree(h);
	return code;
}

int pav_hosted_create(const struct pav_create_params *params, const struct pav_as_host *as, const struct pav_drive_spec *drives, unsigned int n,
		      struct pav_err *err)
{
	struct pav_drive_arg *args;
	struct pav_hosted *h;
	unsigned int i;
	int code;

	lockdep_assert_held(&pav_registry_lock);
	if (pav_hosted_find(params->name))
		return pav_refuse(err, -EEXIST, "group %s: a group of that name is open already; choose another name", params->name);
	h = kzalloc(sizeof(*h), GFP_KERNEL);
	args = kcalloc(n, sizeof(*args), GFP_KERNEL);
	if (!h || !args) {
		code = pav_refuse(err, -ENOMEM, "group %s: out of memory", params->name);
		goto free;
	}
	strscpy(h->name, params->name, sizeof(h->name));
	code = pav_drives_open(drives, n, h, err);
	if (code)
		goto free;
	for (i = 0; i < n; i++) {
		args[i].dev = h->devs[i];
		args[i].spare = drives[i].spare;
	}
	code = pav_engine_create(args, n, params, err);
	if (!code)
		code = pav_hosted_open(h, params->name, as, err);
	if (code)
		goto close;
	kfree(args);
	return 0;

close:
	pav_drives_close(h->devs, h->n_devs);
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
		args = kcalloc(h->n_devs, sizeof(*args), GFP_KERNEL);
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
	pav_disks_destroy(h);
	code = pav_engine_close(h->engine, err);
	if (destroy) {
		for (i = 0; i < h->n_devs; i++)
			args[i].dev = h->devs[i];
		/* Whether the last checkpoint went well no longer matters, nor which drives have gone. */
		code = pav_engine_wipe(args, h->n_devs, err);
	}
	pav_event_post(PAV_EVENT_GROUP_CLOSED, h->name, NULL, -1, NULL, 0, destroy ? "group destroyed" : "group exported");
	pav_drives_close(h->devs, h->n_devs);
	kfree(args);
	kfree(h);
	module_put(THIS_MODULE);
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
	code = pav_disk_retire(disk);
	if (code)
		return pav_refuse(err, code, "volume %s/%s (%s): open by %u; unassign, unmount or close it first", h->name, info.ident.name,
				  pav_disk_name(disk), pav_disk_openers(disk));
	code = pav_volume_delete(h->engine, vol, err);
	if (code) {
		pav_disk_revive(disk);
		return code;
	}
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
	pav_disk_rename(pav_volume_host(vol), name);
	pav_registry_changed();
	pav_event_post(PAV_EVENT_VOLUME_CHANGED, h->name, name, -1, NULL, 0, "volume renamed");
	return 0;
}
