// SPDX-License-Identifier: GPL-2.0
#include <linux/blkdev.h>
#include <linux/delay.h>
#include <linux/slab.h>

#include "drives.h"
#include "env/host.h"

#define PAV_IDLE_SECONDS	10	/* somebody may still have found the device in its slot, and not have submitted yet */
#define PAV_DROP_TRIES		100
#define PAV_DROP_MSECS		10

/* ---- one drive ---- */

static struct pav_dev *pav_drive_open(const char *path, struct pav_err *err)
{
	const struct pav_hosted *user;
	struct pav_dev *dev;
	const char *why;
	dev_t number;

	dev = pav_dev_open(path, &why);
	if (!IS_ERR(dev))
		return dev;
	user = PTR_ERR(dev) == -EBUSY && !lookup_bdev(path, &number) ? pav_hosted_by_drive(number) : NULL;
	if (user)
		pav_refuse(err, 0, "drive %s: in use by the open group %s; choose another, or export that group first", path, user->name);
	else
		pav_refuse(err, 0, "drive %s: %s (error %ld); free it or choose another", path, why, -PTR_ERR(dev));
	return dev;
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

/* ---- those of a group ---- */

void pav_devs_init(struct pav_hosted *h)
{
	mutex_init(&h->devs_lock);
	spin_lock_init(&h->paths_lock);
}

static struct pav_member *pav_devs_member(struct pav_hosted *h, const struct pav_dev *dev)
{
	unsigned int i;

	lockdep_assert_held(&h->devs_lock);
	for (i = 0; i < h->n_devs; i++)
		if (h->devs[i].dev == dev)
			return &h->devs[i];
	return NULL;
}

/* @m is nobody's any more. Returns its device if nothing is under way there: the caller closes it, without the lock. NULL: the watch will. */
static struct pav_dev *pav_devs_take(struct pav_hosted *h, struct pav_member *m)
{
	struct pav_dev *dev = m->dev;

	lockdep_assert_held(&h->devs_lock);
	pav_dev_retire(dev);
	if (!pav_dev_idle(dev))
		return NULL;
	*m = h->devs[--h->n_devs];
	return dev;
}

/* With some patience: who takes a drive out wants to use it elsewhere. */
static void pav_devs_drop(struct pav_hosted *h, const struct pav_dev *dev)
{
	struct pav_dev *taken = NULL;
	struct pav_member *m;
	unsigned int tries;

	for (tries = 0; tries < PAV_DROP_TRIES && !taken; tries++) {
		if (tries)
			msleep(PAV_DROP_MSECS);
		mutex_lock(&h->devs_lock);
		m = pav_devs_member(h, dev);
		/* The watch may have closed it meanwhile, and another have its address. */
		if (m && tries && !pav_dev_retired(m->dev))
			m = NULL;
		if (m)
			taken = pav_devs_take(h, m);
		mutex_unlock(&h->devs_lock);
		if (!m)
			return;
	}
	pav_dev_close(taken);
}

static bool pav_devs_seated(struct pav_hosted *h, const struct pav_dev *dev)
{
	struct pav_drive_info info;
	unsigned int slot;

	lockdep_assert_held(&h->devs_lock);
	for (slot = 0; h->engine && slot < PAV_MAX_DRIVES; slot++)
		if (!pav_engine_drive_info(h->engine, slot, &info) && info.dev == dev)
			return true;
	return false;
}

void pav_devs_forget(struct pav_hosted *h, const struct pav_drive_arg *args, unsigned int n)
{
	struct pav_member *m;
	bool seated;

	while (n--) {
		mutex_lock(&h->devs_lock);
		seated = pav_devs_seated(h, args[n].dev);
		m = pav_devs_member(h, args[n].dev);
		if (m && seated)
			m->held = false;
		mutex_unlock(&h->devs_lock);
		if (!seated)
			pav_devs_drop(h, args[n].dev);
	}
}

int pav_devs_open(struct pav_hosted *h, const struct pav_drive_spec *drives, unsigned int n, struct pav_drive_arg *args, struct pav_err *err)
{
	struct pav_dev *dev;
	unsigned int i, j;
	dev_t number;

	lockdep_assert_held(&pav_registry_lock);
	for (i = 0; i < n; i++) {
		for (j = 0; j < i && !lookup_bdev(drives[i].path, &number); j++) {
			if (pav_dev_number(args[j].dev) != number)
				continue;
			pav_refuse(err, 0, "drive %s: named twice (it is %s too); name each drive once", drives[i].path, drives[j].path);
			pav_devs_forget(h, args, i);
			return -EINVAL;
		}
		dev = pav_drive_open(drives[i].path, err);
		if (IS_ERR(dev)) {
			pav_devs_forget(h, args, i);
			return PTR_ERR(dev);
		}
		args[i] = (struct pav_drive_arg){ .dev = dev, .spare = drives[i].spare };
		mutex_lock(&h->devs_lock);
		j = h->n_devs;
		if (j < ARRAY_SIZE(h->devs))
			h->devs[h->n_devs++] = (struct pav_member){ .dev = dev, .held = true };
		mutex_unlock(&h->devs_lock);
		if (j == ARRAY_SIZE(h->devs)) {
			pav_dev_close(dev);
			pav_devs_forget(h, args, i);
			return pav_refuse(err, -EBUSY, "drive %s: drives that were replaced are not closed yet; try again in a minute", drives[i].path);
		}
		pav_dev_serve(dev);
	}
	return 0;
}

void pav_devs_close(struct pav_hosted *h)
{
	unsigned int i;

	/* All at once, and then one by one: each has to wait for the CPUs' counts of it. */
	for (i = 0; i < h->n_devs; i++)
		pav_dev_retire(h->devs[i].dev);
	while (h->n_devs)
		pav_dev_close(h->devs[--h->n_devs].dev);
}

static struct pav_member *pav_devs_find(struct pav_hosted *h, dev_t number)
{
	unsigned int i;

	lockdep_assert_held(&h->devs_lock);
	for (i = 0; i < h->n_devs; i++)
		if (pav_dev_number(h->devs[i].dev) == number && pav_dev_alive(h->devs[i].dev))
			return &h->devs[i];
	return NULL;
}

bool pav_devs_have(struct pav_hosted *h, dev_t number)
{
	bool found;

	mutex_lock(&h->devs_lock);
	found = pav_devs_find(h, number);
	mutex_unlock(&h->devs_lock);
	return found;
}

struct pav_dev *pav_devs_hold(struct pav_hosted *h, dev_t number)
{
	struct pav_dev *dev = NULL;
	struct pav_member *m;

	mutex_lock(&h->devs_lock);
	m = pav_devs_find(h, number);
	if (m && !pav_dev_retired(m->dev)) {
		m->held = true;
		dev = m->dev;
	}
	mutex_unlock(&h->devs_lock);
	return dev;
}

unsigned int pav_devs_dma_mask(struct pav_hosted *h)
{
	unsigned int i, mask = 0;

	mutex_lock(&h->devs_lock);
	for (i = 0; i < h->n_devs; i++)
		mask = max(mask, pav_dev_dma_mask(h->devs[i].dev));
	mutex_unlock(&h->devs_lock);
	return mask;
}

void pav_devs_release(void *host, struct pav_dev *dev)
{
	pav_devs_drop(host, dev);
}

/* ---- which slot has which ---- */

/* Notes the path of each slot, and which devices no slot has. */
static void pav_devs_look(struct pav_hosted *h)
{
	struct pav_drive_info info;
	unsigned int slot, i;

	lockdep_assert_held(&h->devs_lock);
	for (i = 0; i < h->n_devs; i++)
		h->devs[i].idle++;
	for (slot = 0; slot < PAV_MAX_DRIVES; slot++) {
		if (pav_engine_drive_info(h->engine, slot, &info))
			continue;
		spin_lock_irq(&h->paths_lock);
		strscpy(h->slot_path[slot], info.path, sizeof(h->slot_path[slot]));
		spin_unlock_irq(&h->paths_lock);
		for (i = 0; i < h->n_devs; i++)
			if (h->devs[i].dev == info.dev)
				h->devs[i].idle = 0;
	}
}

void pav_devs_learn(struct pav_hosted *h)
{
	unsigned int i;

	mutex_lock(&h->devs_lock);
	pav_devs_look(h);
	for (i = 0; i < h->n_devs; i++) {
		if (h->devs[i].held)
			h->devs[i].idle = 0;
		h->devs[i].held = false;
	}
	mutex_unlock(&h->devs_lock);
}

void pav_devs_path(struct pav_hosted *h, unsigned int slot, char *path)
{
	unsigned long flags;

	spin_lock_irqsave(&h->paths_lock, flags);
	strscpy(path, h->slot_path[slot], sizeof(h->slot_path[slot]));
	spin_unlock_irqrestore(&h->paths_lock, flags);
}

/* Linux 6.1 tells nobody that a disk was unplugged, and an idle group would not notice. So it is looked for. */
void pav_devs_watch(struct pav_hosted *h)
{
	struct pav_member *idle = NULL;
	struct pav_dev *dev = NULL;
	unsigned int i;

	mutex_lock(&h->devs_lock);
	pav_devs_look(h);
	for (i = 0; i < h->n_devs; i++) {
		struct pav_member *m = &h->devs[i];

		if (!pav_dev_alive(m->dev) && !m->gone) {
			m->gone = true;
			pav_engine_drive_gone(h->engine, m->dev);
		}
		/* One each second. None is waited for: a driver may keep a command for as long as it likes, and the others have to be watched. */
		if (pav_dev_retired(m->dev) ? pav_dev_idle(m->dev) : !m->held && m->idle > PAV_IDLE_SECONDS)
			idle = m;
	}
	if (idle)
		dev = pav_devs_take(h, idle);
	mutex_unlock(&h->devs_lock);
	pav_dev_close(dev);
}
