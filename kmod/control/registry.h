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

#define PAV_PATH_BYTES	sizeof(((struct pav_drive_info *)NULL)->path)

struct pav_member {
	struct pav_dev *dev;
	bool gone;				/* the engine knows that it was unplugged */
	bool held;				/* a command is giving it to the engine */
	unsigned int idle;			/* seconds that no slot has had it */
};

struct pav_hosted {
	struct list_head link;
	u64 order;				/* groups are listed in the order they were opened */
	char name[PAV_NAME_MAX + 1];
	struct pav_engine *engine;
	struct delayed_work watch;		/* each second: looks for drives that were unplugged, and at how much is used */
	struct pav_space space;

	struct mutex devs_lock;			/* devs, n_devs; whoever holds it may use what pav_engine_drive_info() tells of a device */
	unsigned int n_devs;
	struct pav_member devs[2 * PAV_MAX_DRIVES];	/* with room for those whose place others have taken */
	spinlock_t paths_lock;			/* slot_path; innermost */
	char slot_path[PAV_MAX_DRIVES][PAV_PATH_BYTES];
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

struct pav_hosted *pav_hosted_by_drive(dev_t number);		/* who has it open; NULL: none of our groups */

/* Drives of an open group; each returns when the change is durable. What follows (rebuild, moving) goes on in the background. */
int pav_hosted_add(struct pav_hosted *h, const struct pav_drive_spec *drives, unsigned int n, struct pav_err *err);
/* @path: a spare of the group, or a drive that joins it; NULL: any spare. */
int pav_hosted_replace(struct pav_hosted *h, unsigned int slot, const char *path, struct pav_err *err);
int pav_hosted_return(const char *path, struct pav_hosted **out, struct pav_err *err);

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
