// SPDX-License-Identifier: GPL-2.0
/*
 * events: from wherever something happened to whoever listens.
 *
 * The engine tells of events in any context, where no message can be built. They wait in a ring until a work item sends them. When nobody gets to
 * send them, as in a storm of them, the newest are dropped and counted: the first ones tell what began it.
 */
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/workqueue.h>

#include "events.h"

#define PAV_EVENTS	128	/* in the ring; a power of two */

static struct pav_event_record ring[PAV_EVENTS];
static unsigned int head, tail;		/* written at head, sent from tail; both only grow */
static u64 dropped;
static bool stopped;
static DEFINE_SPINLOCK(lock);		/* all of the above */

static void pav_events_send(struct work_struct *work)
{
	static struct pav_event_record event;	/* a work item runs once at a time */

	for (;;) {
		bool any;

		spin_lock_irq(&lock);
		any = head != tail;
		if (any)
			event = ring[tail++ % PAV_EVENTS];
		spin_unlock_irq(&lock);
		if (!any)
			return;
		pav_event_send(&event);
	}
}
static DECLARE_WORK(send_work, pav_events_send);

void pav_event_post(enum pav_event type, const char *group, const char *volume, int slot, const char *path, u64 value, const char *text)
{
	struct pav_event_record *event;
	unsigned long flags;

	spin_lock_irqsave(&lock, flags);
	if (stopped) {	/* a command that is refused while the module goes: nobody could be told any more */
		spin_unlock_irqrestore(&lock, flags);
		return;
	}
	if (head - tail == PAV_EVENTS) {
		dropped++;
	} else {
		event = &ring[head++ % PAV_EVENTS];
		event->type = type;
		event->slot = slot;
		event->value = value;
		strscpy(event->group, group, sizeof(event->group));
		strscpy(event->volume, volume ?: "", sizeof(event->volume));
		strscpy(event->path, path ?: "", sizeof(event->path));
		strscpy(event->text, text ?: "", sizeof(event->text));
	}
	schedule_work(&send_work);	/* under the lock: after pav_events_stop() there is none */
	spin_unlock_irqrestore(&lock, flags);
}

u64 pav_events_dropped(void)
{
	unsigned long flags;
	u64 n;

	spin_lock_irqsave(&lock, flags);
	n = dropped;
	spin_unlock_irqrestore(&lock, flags);
	return n;
}

void pav_events_stop(void)
{
	spin_lock_irq(&lock);
	stopped = true;
	spin_unlock_irq(&lock);
	flush_work(&send_work);
}
