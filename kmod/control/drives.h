/* SPDX-License-Identifier: GPL-2.0 */
/*
 * drives.c: the drives that an open group has open, from when they are opened to when they are closed.
 *
 * A group starts with those it was imported with. Drives join, come back and leave while it is open. The engine says when it uses one no more
 * (release); of one that merely lost its slot to another it says nothing: it is retired when no slot has had it for some seconds, and closed when its
 * I/O has ended. A command holds those it is about to give to the engine, which may take as long as a drive that stalls: until it has learned, or
 * forgets, they are not looked at.
 */
#ifndef PAV_DRIVES_H
#define PAV_DRIVES_H

#include "registry.h"

void pav_devs_init(struct pav_hosted *h);
/* Opens @n more, holds them, and puts them into @args. On failure @h has those it had before. */
int pav_devs_open(struct pav_hosted *h, const struct pav_drive_spec *drives, unsigned int n, struct pav_drive_arg *args, struct pav_err *err);
/* The engine has refused these. Those that have no slot are closed: one that got as far as that is the engine's, whatever it answered. */
void pav_devs_forget(struct pav_hosted *h, const struct pav_drive_arg *args, unsigned int n);
/* Closes all. There is no engine any more, nor a watch. */
void pav_devs_close(struct pav_hosted *h);

bool pav_devs_have(struct pav_hosted *h, dev_t number);		/* false: it has it not, or it was unplugged */
struct pav_dev *pav_devs_hold(struct pav_hosted *h, dev_t number);	/* NULL: as above, or it is about to be closed */
unsigned int pav_devs_dma_mask(struct pav_hosted *h);

/* The engine's: it uses @dev no more. Process context. */
void pav_devs_release(void *host, struct pav_dev *dev);

/* To be called each second: tells the engine of drives that were unplugged, and closes those that no slot has any more. */
void pav_devs_watch(struct pav_hosted *h);
/* Learns which path belongs to which slot, for events; and lets go of those that a command held. */
void pav_devs_learn(struct pav_hosted *h);
/* The path of the drive in @slot as it was last known, into @path (PAV_PATH_BYTES); "": not known. Any context. */
void pav_devs_path(struct pav_hosted *h, unsigned int slot, char *path);

#endif
