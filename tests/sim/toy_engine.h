/* SPDX-License-Identifier: GPL-2.0 */
/* The bugs that toy_engine.c has to order. */
#ifndef TOY_ENGINE_H
#define TOY_ENGINE_H

enum toy_bug {
	TOY_BUG_NONE,
	TOY_BUG_NO_FUA,			/* on all drives but the first */
	TOY_BUG_ACK_EARLY,		/* a write is acknowledged before it is on the drives */
	TOY_BUG_CRC_UNCHECKED,
	TOY_BUG_STALE_READMITTED,
	TOY_BUG_TORN_ACCEPTED,		/* the header goes before the data, and nobody checks whether that is there */
	TOY_BUG_DELETE_FORGOTTEN,
	TOY_BUG_WRITES_WHEN_FAULTED,
	TOY_BUG_LEAK,
};

#ifdef __cplusplus
extern "C"
#endif
void toy_set_bug(enum toy_bug which);

#endif
