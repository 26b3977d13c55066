// SPDX-License-Identifier: GPL-2.0
/*
 * Loaded in a guest before the NVMe driver: makes every drive refuse the Doorbell Buffer Config command, so that the driver rings each
 * doorbell where it cannot be missed, in the drive's registers.
 *
 * With that command a driver leaves its doorbells in memory and rings only when the drive has asked for it there. In QEMU 7.2 requests get
 * lost that way, twice over:
 *
 *  - Each side writes its word and then reads the other's, which is right only with a full memory barrier in between. The barriers of emulated
 *    CPUs that share a host thread are emulated as nothing, although the drives run in another thread. Now and then both sides read the
 *    old word; the request lies in its queue, and so does every later one, until the driver's second timeout resets the drive.
 *  - After that reset the driver sends the requests that wait before it sends this command, and QEMU does not put its side's words where they
 *    would be by then. So the queue hangs again at its second request, is reset after two more timeouts, and so on for as long as
 *    there are requests.
 */
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/nvme.h>

#define NO_SUCH_COMMAND 0xff	/* vendor's own; QEMU's drives have none. The driver says "unable to set dbbuf" and does without */

/* At the entry of nvme_submit_sync_cmd(queue, command, buffer, length) */
static int replace(struct kprobe *probe, struct pt_regs *regs)
{
	struct nvme_command *cmd = (struct nvme_command *)regs->si;

	if (cmd->common.opcode == nvme_admin_dbbuf)
		cmd->common.opcode = NO_SUCH_COMMAND;
	return 0;
}

static struct kprobe probe = {
	.symbol_name = "nvme_submit_sync_cmd",
	.pre_handler = replace,
};

static int __init begin(void)
{
	return register_kprobe(&probe);
}

static void __exit end(void)
{
	unregister_kprobe(&probe);
}

module_init(begin);
module_exit(end);
MODULE_SOFTDEP("pre: nvme-core");
MODULE_DESCRIPTION("NVMe doorbells in registers, not in memory");
MODULE_LICENSE("GPL");
