/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The registry of open groups. All of it is under pav_registry_lock, a mutex, which also serialises the commands: an import may hold it for the
 * seconds a replay takes. Requests never need it.
 *
 * Every open group holds a reference on the module, so that it cannot be removed while one is open.
 */
#ifndef PAV_REGISTRY_H
#define PAV_REGISTRY_H

#include <linux/mutex.h>
#include <linux/workqueue.h>

#include "engine.h"
#include "space.h"

struct pav_hosted {
	struct list_head link;
	u64 order;				/* groups are listed in the order they were opened */
	char name[PAV_NAME_MAX + 1];
	struct pav_engine *engine;
	unsigned int data_drives;
	unsigned int n_devs;
	struct pav_dev *devs[PAV_MAX_DRIVES];
	const char *slot_path[PAV_MAX_DRIVES];	/* for events; as it was when the group was opened */
	struct delayed_work watch;		/* looks for drives that were unplugged, and at how much is used */
	u64 gone;				/* bit i: devs[i] was reported as unplugged; only the watch uses it */
	struct pav_space space;
};

/* What a user names a drive by. */
struct pav_drive_spec {
	const char *path;
	bool spare;
};

/* Who opens a group, for its owner stamp. */
struct pav_as_host {
	const char *name;			/* NULL: as the system is called */
	u8 id[16];				/* 0: not known */
	bool takeover;
};

extern struct mutex pav_registry_lock;
extern unsigned int pav_registry_seq;		/* changes with the list of groups or volumes; never 0 */

/* Puts the words into @err and returns @code. */
__printf(3, 4) int pav_refuse(struct pav_err *err, int code, const char *fmt, ...);

struct pav_hosted *pav_hosted_find(const char *name);		/* NULL: not open */
struct pav_hosted *pav_hosted_from(u64 order);			/* the first whose order is at least @order, NULL: none */

int pav_hosted_create(const struct pav_create_params *params, const struct pav_as_host *as, const struct pav_drive_spec *drives, unsigned int n,
		      struct pav_err *err);
/* -EBUSY: another host has the group open. Takes as long as pav_owner_take() says. */
int pav_hosted_import(const char *expect_name, const struct pav_as_host *as, const struct pav_drive_spec *drives, unsigned int n,
		      struct pav_hosted **out, struct pav_err *err);
int pav_hosted_export(struct pav_hosted *h, bool destroy, struct pav_err *err);		/* -EBUSY: in use. Otherwise @h is dead */

/* What the superblock on the drive at @path says. -ENOENT and others: @err says why there is nothing to say; *opened: it could at least be read. */
int pav_drive_probe(const char *path, struct pav_probe *out, u64 *blocks, bool *opened, struct pav_err *err);

/* Destroys the superblock on a drive that is in no open group. -ENOENT: there is none, and nothing was written. */
int pav_drive_wipe(const char *path, struct pav_err *err);

struct pav_volume *pav_hosted_volume(struct pav_hosted *h, const char *name, struct pav_volume_info *info);	/* NULL: none */
int pav_hosted_volume_create(struct pav_hosted *h, struct pav_volume_ident *ident, u64 cells, struct pav_volume **out, struct pav_err *err);
int pav_hosted_volume_delete(struct pav_hosted *h, struct pav_volume *vol, struct pav_err *err);
int pav_hosted_volume_grow(struct pav_hosted *h, struct pav_volume *vol, u64 cells, struct pav_err *err);
int pav_hosted_volume_rename(struct pav_hosted *h, struct pav_volume *vol, const char *name, struct pav_err *err);

#endif
