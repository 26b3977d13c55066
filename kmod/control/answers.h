/* SPDX-License-Identifier: GPL-2.0 */
/* answers.c: puts one object into @skb; -EMSGSIZE: it did not fit, -ENOMEM. pav_registry_lock is held. */
#ifndef PAV_ANSWERS_H
#define PAV_ANSWERS_H

#include "registry.h"

struct sk_buff;

int pav_fill_group(struct sk_buff *skb, struct pav_hosted *h);
int pav_fill_drive(struct sk_buff *skb, struct pav_hosted *h, unsigned int slot, const struct pav_drive_info *info);
int pav_fill_volume(struct sk_buff *skb, struct pav_hosted *h, struct pav_volume *vol);
/* What a drive's superblock says; @probe NULL: it has none. */
int pav_fill_probe(struct sk_buff *skb, const char *path, u64 blocks, const struct pav_probe *probe);

#endif
