// SPDX-License-Identifier: GPL-2.0
/*
 * netlink: the generic netlink family of uapi/pav_netlink.h.
 *
 * A request passes, in this order: the core's strict check against the command's policy (unknown attributes, lengths, ranges, characters of names);
 * pre_doit (rights; the registry's lock; the group and volume it names); the command, which leaves the work to registry.c or the engine.
 * Commands run in parallel as far as the core is concerned: its mutex is shared by all families, and an import takes seconds. Its cb_lock is held for
 * reading all the same: a module that wants to add a family meanwhile waits for the command, and all other families for that module.
 */
#include <linux/capability.h>
#include <linux/ctype.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <net/genetlink.h>
#include <net/sock.h>

#include "answers.h"
#include "control.h"
#include "events.h"
#include "registry.h"
#include "volume/volume.h"
#include "env/compat.h"
#include "env/host.h"

/* A message that holds any one object: a volume with as many properties as it may have is the largest. */
#define PAV_MSG_BYTES	(31 << 10)
#define PAV_CELLS_PER_MIB (1u << (20 - PAV_CELL_SHIFT))

/* What pre_doit does for a command: genl_ops.internal_flags */
enum {
	PAV_NEEDS_ADMIN = BIT(0),
	PAV_NEEDS_GROUP = BIT(1),	/* user_ptr[0]: struct pav_hosted */
	PAV_NEEDS_VOLUME = BIT(2),	/* user_ptr[1]: struct pav_volume */
};

static struct genl_family pav_family;

/* ---- refusals ---- */

/*
 * The text of a refusal is read when the acknowledgement is built, after the command has returned and let go of every lock; the kernel keeps no
 * copy. So texts live in a ring, long enough that nobody comes round to a text within the instant it takes. Nobody by chance, that is: for who is not
 * root, and might try, words are constant.
 */
static const char *pav_lasting_text(const char *text)
{
	static struct pav_err texts[64];
	static atomic_t next;
	char *slot = texts[(unsigned int)atomic_inc_return(&next) % ARRAY_SIZE(texts)].text;

	strscpy(slot, text, sizeof(texts[0].text));
	return slot;
}

/* Gives @code back, and @err's text to whoever asked if it is an error. */
static int pav_answer(struct netlink_ext_ack *extack, int code, const struct pav_err *err)
{
	if (code && extack)
		extack->_msg = pav_lasting_text(err->text[0] ? err->text : "refused, and nobody said why: see the kernel's log");
	return code;
}

__printf(3, 4) static int pav_refuse_ext(struct netlink_ext_ack *extack, int code, const char *fmt, ...)
{
	struct pav_err err;
	va_list args;

	va_start(args, fmt);
	vscnprintf(err.text, sizeof(err.text), fmt, args);
	va_end(args);
	return pav_answer(extack, code, &err);
}

#define pav_missing(extack, what) ({ NL_SET_ERR_MSG(extack, "the request does not say " what); -EINVAL; })

/* Who is not root gets a constant text: the ring of texts is not for him. */
static int pav_not_open(struct netlink_ext_ack *extack, struct sk_buff *request, const char *name)
{
	if (netlink_capable(request, CAP_SYS_ADMIN))
		return pav_refuse_ext(extack, -ENOENT, "group %s: not open; import it first", name);
	NL_SET_ERR_MSG(extack, "group: not open; import it first");
	return -ENOENT;
}

static int pav_no_such_volume(struct netlink_ext_ack *extack, struct sk_buff *request, const char *group, const char *name)
{
	if (netlink_capable(request, CAP_SYS_ADMIN))
		return pav_refuse_ext(extack, -ENOENT, "volume %s/%s: does not exist; see the list of volumes", group, name);
	NL_SET_ERR_MSG(extack, "volume: does not exist; see the list of volumes");
	return -ENOENT;
}

/* ---- policies ---- */

static bool pav_chars_ok(const struct nlattr *attr, const char *others)
{
	const char *s = nla_data(attr);

	if (!isascii(*s) || !isalnum(*s))
		return false;
	while (*++s)
		if (!isascii(*s) || (!isalnum(*s) && !strchr(others, *s)))
			return false;
	return true;
}

static int pav_check_name(const struct nlattr *attr, struct netlink_ext_ack *extack)
{
	if (pav_chars_ok(attr, "._-"))
		return 0;
	NL_SET_ERR_MSG_ATTR(extack, attr, "a name begins with a letter or a digit, and goes on with these and . _ -");
	return -EINVAL;
}

static int pav_check_serial(const struct nlattr *attr, struct netlink_ext_ack *extack)
{
	if (pav_chars_ok(attr, "._:-"))
		return 0;
	NL_SET_ERR_MSG_ATTR(extack, attr, "a serial begins with a letter or a digit, and goes on with these and . _ : -");
	return -EINVAL;
}

/* Printable, since it will be quoted in messages and in the log. */
static int pav_check_path(const struct nlattr *attr, struct netlink_ext_ack *extack)
{
	const char *s = nla_data(attr);

	if (*s == '/') {
		while (isascii(*s) && isprint(*s))
			s++;
		if (!*s)
			return 0;
	}
	NL_SET_ERR_MSG_ATTR(extack, attr, "a drive is named by its whole path, as /dev/nvme0n1, in printable ASCII");
	return -EINVAL;
}

/* Printable, for the same reason. */
static int pav_check_host(const struct nlattr *attr, struct netlink_ext_ack *extack)
{
	const char *s = nla_data(attr);

	while (isascii(*s) && isprint(*s))
		s++;
	if (!*s)
		return 0;
	NL_SET_ERR_MSG_ATTR(extack, attr, "a host is named in printable ASCII");
	return -EINVAL;
}

#define PAV_PATH_MAX	255
#define PAV_HOST	NLA_POLICY_VALIDATE_FN(NLA_NUL_STRING, pav_check_host, PAV_NAME_MAX)
#define PAV_NAME	NLA_POLICY_VALIDATE_FN(NLA_NUL_STRING, pav_check_name, PAV_NAME_MAX)
#define PAV_PATH	NLA_POLICY_VALIDATE_FN(NLA_NUL_STRING, pav_check_path, PAV_PATH_MAX)

static const struct nla_policy pav_drive_policy[] = {
	[PAV_A_DRIVE_PATH] = PAV_PATH,
	[PAV_A_DRIVE_SPARE] = { .type = NLA_FLAG },
};

/* An import has no use for DRIVE_SPARE: the superblocks know. */
static const struct nla_policy pav_drive_path_policy[] = {
	[PAV_A_DRIVE_PATH] = PAV_PATH,
};

static const struct nla_policy pav_drives_policy[] = {
	[PAV_A_DRIVE] = NLA_POLICY_NESTED(pav_drive_policy),
};

static const struct nla_policy pav_drive_paths_policy[] = {
	[PAV_A_DRIVE] = NLA_POLICY_NESTED(pav_drive_path_policy),
};

static const struct nla_policy pav_prop_policy[] = {
	[PAV_A_PROP_KEY] = NLA_POLICY_VALIDATE_FN(NLA_NUL_STRING, pav_check_name, PAV_PROP_KEY_MAX),
	[PAV_A_PROP_VALUE] = { .type = NLA_NUL_STRING, .len = PAV_PROP_VALUE_MAX },
};

static const struct nla_policy pav_probe_policy[] = {
	[PAV_A_DRIVE_PATH] = PAV_PATH,
};

static const struct nla_policy pav_group_create_policy[] = {
	[PAV_A_GROUP] = PAV_NAME,
	[PAV_A_DRIVES] = NLA_POLICY_NESTED(pav_drives_policy),
	[PAV_A_DATA_DRIVES] = NLA_POLICY_RANGE(NLA_U32, 2, 30),
	[PAV_A_SEGMENT_BYTES] = { .type = NLA_U64 },
	[PAV_A_RESERVE_PERCENT] = NLA_POLICY_RANGE(NLA_U32, 1, 50),
	[PAV_A_HOST_ID] = NLA_POLICY_EXACT_LEN(16),
	[PAV_A_HOST_NAME] = PAV_HOST,
};

static const struct nla_policy pav_group_import_policy[] = {
	[PAV_A_GROUP] = PAV_NAME,
	[PAV_A_DRIVES] = NLA_POLICY_NESTED(pav_drive_paths_policy),
	[PAV_A_HOST_ID] = NLA_POLICY_EXACT_LEN(16),
	[PAV_A_HOST_NAME] = PAV_HOST,
	[PAV_A_TAKEOVER] = { .type = NLA_FLAG },
};

static const struct nla_policy pav_group_policy[] = {
	[PAV_A_GROUP] = PAV_NAME,
};

static const struct nla_policy pav_drive_slot_policy[] = {
	[PAV_A_GROUP] = PAV_NAME,
	[PAV_A_DRIVE_SLOT] = NLA_POLICY_MAX(NLA_U32, PAV_MAX_DRIVES - 1),
};

static const struct nla_policy pav_drive_add_policy[] = {
	[PAV_A_GROUP] = PAV_NAME,
	[PAV_A_DRIVES] = NLA_POLICY_NESTED(pav_drives_policy),
};

static const struct nla_policy pav_drive_replace_policy[] = {
	[PAV_A_GROUP] = PAV_NAME,
	[PAV_A_DRIVE_PATH] = PAV_PATH,
	[PAV_A_DRIVE_SLOT] = NLA_POLICY_MAX(NLA_U32, PAV_MAX_DRIVES - 1),
};

static const struct nla_policy pav_scrub_policy[] = {
	[PAV_A_GROUP] = PAV_NAME,
	[PAV_A_SCRUB_STOP] = { .type = NLA_FLAG },
};

static const struct nla_policy pav_volume_policy[] = {
	[PAV_A_GROUP] = PAV_NAME,
	[PAV_A_VOLUME] = PAV_NAME,
};

static const struct nla_policy pav_volume_create_policy[] = {
	[PAV_A_GROUP] = PAV_NAME,
	[PAV_A_VOLUME] = PAV_NAME,
	[PAV_A_SIZE] = { .type = NLA_U64 },	/* its range is checked by pav_size(), which can say what is wrong */
	[PAV_A_SERIAL] = NLA_POLICY_VALIDATE_FN(NLA_NUL_STRING, pav_check_serial, PAV_SERIAL_MAX),
	[PAV_A_UUID] = NLA_POLICY_EXACT_LEN(16),
	[PAV_A_NGUID] = NLA_POLICY_EXACT_LEN(16),
};

static const struct nla_policy pav_volume_grow_policy[] = {
	[PAV_A_GROUP] = PAV_NAME,
	[PAV_A_VOLUME] = PAV_NAME,
	[PAV_A_SIZE] = { .type = NLA_U64 },
};

static const struct nla_policy pav_volume_rename_policy[] = {
	[PAV_A_GROUP] = PAV_NAME,
	[PAV_A_VOLUME] = PAV_NAME,
	[PAV_A_NEW_NAME] = PAV_NAME,
};

static const struct nla_policy pav_volume_prop_policy[] = {
	[PAV_A_GROUP] = PAV_NAME,
	[PAV_A_VOLUME] = PAV_NAME,
	[PAV_A_PROP] = NLA_POLICY_NESTED(pav_prop_policy),
};

/* ---- reading requests ---- */

static const char *pav_string(struct nlattr **attrs, enum pav_attr type)
{
	return attrs[type] ? nla_data(attrs[type]) : NULL;
}

/* Who we are to the group's other hosts. The name stays in the message. */
static struct pav_as_host pav_as_host(struct genl_info *info)
{
	struct pav_as_host as = { .name = pav_string(info->attrs, PAV_A_HOST_NAME) };

	if (info->attrs[PAV_A_HOST_ID])
		memcpy(as.id, nla_data(info->attrs[PAV_A_HOST_ID]), sizeof(as.id));
	return as;
}

/* Puts PAV_A_SIZE into *@cells. */
static int pav_size(struct genl_info *info, const char *volume, u64 *cells)
{
	u64 bytes;

	if (!info->attrs[PAV_A_SIZE])
		return pav_missing(info->extack, "which SIZE");
	bytes = nla_get_u64(info->attrs[PAV_A_SIZE]);
	if (bytes < PAV_VOLUME_MIN_BYTES || bytes > PAV_VOLUME_MAX_BYTES || bytes % PAV_VOLUME_MIN_BYTES)
		return pav_refuse_ext(info->extack, -EINVAL, "volume %s: %llu bytes is no size for it; give a multiple of 1 MiB up to 64 TiB",
				      volume, bytes);
	*cells = bytes >> PAV_CELL_SHIFT;
	return 0;
}

/* PAV_A_DRIVES as a list of *@n, to be freed by the caller. The strings stay in the message. */
static int pav_drive_specs(struct genl_info *info, const struct nla_policy *policy, unsigned int maxtype, struct pav_drive_spec **out,
			   unsigned int *n)
{
	struct nlattr *attrs[PAV_A_DRIVE_SPARE + 1], *drive;
	struct pav_drive_spec *specs;
	int left, code;

	if (!info->attrs[PAV_A_DRIVES])
		return pav_missing(info->extack, "which DRIVES");
	specs = kcalloc(PAV_MAX_DRIVES, sizeof(*specs), GFP_KERNEL);
	if (!specs)
		return -ENOMEM;
	*n = 0;
	nla_for_each_nested(drive, info->attrs[PAV_A_DRIVES], left) {
		memset(attrs, 0, sizeof(attrs));
		code = nla_parse_nested(attrs, maxtype, drive, policy, info->extack);
		if (code)
			goto free;
		if (!attrs[PAV_A_DRIVE_PATH]) {
			code = pav_missing(info->extack, "the DRIVE_PATH of each of its drives");
			goto free;
		}
		if (*n == PAV_MAX_DRIVES) {
			code = pav_refuse_ext(info->extack, -EINVAL, "more than %u drives are more than a group can have", PAV_MAX_DRIVES);
			goto free;
		}
		specs[*n].path = nla_data(attrs[PAV_A_DRIVE_PATH]);
		specs[*n].spare = attrs[PAV_A_DRIVE_SPARE];
		++*n;
	}
	if (!*n) {
		code = pav_missing(info->extack, "which DRIVES");
		goto free;
	}
	*out = specs;
	return 0;
free:
	kfree(specs);
	return code;
}

/* ---- writing answers ---- */

static struct sk_buff *pav_reply_start(struct genl_info *info, void **header)
{
	struct sk_buff *skb = genlmsg_new(PAV_MSG_BYTES, GFP_KERNEL);

	if (!skb)
		return NULL;
	*header = genlmsg_put_reply(skb, info, &pav_family, 0, info->genlhdr->cmd);
	if (*header)
		return skb;
	nlmsg_free(skb);
	return NULL;
}

/* Sends @skb, or, if @code says that filling it went wrong, drops it. */
static int pav_reply_end(struct genl_info *info, struct sk_buff *skb, void *header, int code)
{
	if (code) {
		nlmsg_free(skb);
		NL_SET_ERR_MSG(info->extack, "the answer cannot be built");
		return code;
	}
	genlmsg_end(skb, header);
	return genlmsg_reply(skb, info);
}

static int pav_reply_volume(struct genl_info *info, struct pav_hosted *h, struct pav_volume *vol)
{
	struct sk_buff *skb;
	void *header;

	skb = pav_reply_start(info, &header);
	if (!skb)
		return -ENOMEM;
	return pav_reply_end(info, skb, header, pav_fill_volume(skb, h, vol));
}

/* ---- commands on drives and groups ---- */

static int pav_cmd_drive_probe(struct sk_buff *request, struct genl_info *info)
{
	const char *path = pav_string(info->attrs, PAV_A_DRIVE_PATH);
	struct pav_err err = { };
	struct pav_probe probe;
	struct sk_buff *skb;
	void *header;
	bool opened;
	u64 blocks;
	int code;

	if (!path)
		return pav_missing(info->extack, "which DRIVE_PATH");
	memset(&probe, 0, sizeof(probe));
	code = pav_drive_probe(path, &probe, &blocks, &opened, &err);
	if (code && !opened)
		return pav_answer(info->extack, code, &err);
	skb = pav_reply_start(info, &header);
	if (!skb)
		return -ENOMEM;
	if (code)
		code = nla_put_string(skb, PAV_A_ERROR_TEXT, err.text) ?: pav_fill_probe(skb, path, blocks, NULL);
	else
		code = pav_fill_probe(skb, path, blocks, &probe);
	return pav_reply_end(info, skb, header, code);
}

static int pav_cmd_drive_wipe(struct sk_buff *request, struct genl_info *info)
{
	const char *path = pav_string(info->attrs, PAV_A_DRIVE_PATH);
	struct pav_err err = { };

	if (!path)
		return pav_missing(info->extack, "which DRIVE_PATH");
	return pav_answer(info->extack, pav_drive_wipe(path, &err), &err);
}

static int pav_cmd_group_create(struct sk_buff *request, struct genl_info *info)
{
	const char *name = pav_string(info->attrs, PAV_A_GROUP);
	struct pav_create_params params = { };
	struct pav_as_host as = pav_as_host(info);
	struct pav_drive_spec *specs;
	struct pav_err err = { };
	unsigned int n;
	int code;

	if (!name)
		return pav_missing(info->extack, "the GROUP's name");
	strscpy(params.name, name, sizeof(params.name));
	if (info->attrs[PAV_A_DATA_DRIVES])
		params.data_drives = nla_get_u32(info->attrs[PAV_A_DATA_DRIVES]);
	if (info->attrs[PAV_A_RESERVE_PERCENT])
		params.reserve_percent = nla_get_u32(info->attrs[PAV_A_RESERVE_PERCENT]);
	if (info->attrs[PAV_A_SEGMENT_BYTES]) {
		u64 bytes = nla_get_u64(info->attrs[PAV_A_SEGMENT_BYTES]);

		if (!bytes || bytes % PAV_CELL_BYTES)
			return pav_refuse_ext(info->extack, -EINVAL, "group %s: segments of %llu bytes; give a multiple of 4096, or nothing", name,
					      bytes);
		params.segment_blocks = bytes >> PAV_CELL_SHIFT;
	}
	code = pav_drive_specs(info, pav_drive_policy, PAV_A_DRIVE_SPARE, &specs, &n);
	if (code)
		return code;
	code = pav_hosted_create(&params, &as, specs, n, &err);
	kfree(specs);
	return pav_answer(info->extack, code, &err);
}

static int pav_cmd_group_import(struct sk_buff *request, struct genl_info *info)
{
	struct pav_as_host as = pav_as_host(info);
	struct pav_drive_spec *specs;
	struct pav_err err = { };
	struct pav_hosted *h;
	struct sk_buff *skb;
	unsigned int n;
	void *header;
	int code;

	code = pav_drive_specs(info, pav_drive_path_policy, PAV_A_DRIVE_PATH, &specs, &n);
	if (code)
		return code;
	/* Not in pav_as_host(): a command has no attributes beyond those of its own policy. */
	as.takeover = nla_get_flag(info->attrs[PAV_A_TAKEOVER]);
	code = pav_hosted_import(pav_string(info->attrs, PAV_A_GROUP), &as, specs, n, &h, &err);
	kfree(specs);
	if (code)
		return pav_answer(info->extack, code, &err);
	skb = pav_reply_start(info, &header);
	if (!skb)
		return 0;	/* the group is open, which is what was asked for */
	return pav_reply_end(info, skb, header, nla_put_string(skb, PAV_A_GROUP, h->name));
}

static int pav_cmd_group_export(struct sk_buff *request, struct genl_info *info)
{
	struct pav_err err = { };

	return pav_answer(info->extack, pav_hosted_export(info->user_ptr[0], info->genlhdr->cmd == PAV_CMD_GROUP_DESTROY, &err), &err);
}

static int pav_cmd_group_get(struct sk_buff *request, struct genl_info *info)
{
	struct sk_buff *skb;
	void *header;

	skb = pav_reply_start(info, &header);
	if (!skb)
		return -ENOMEM;
	return pav_reply_end(info, skb, header, pav_fill_group(skb, info->user_ptr[0]));
}

static int pav_cmd_group_checkpoint(struct sk_buff *request, struct genl_info *info)
{
	struct pav_hosted *h = info->user_ptr[0];
	int code = pav_engine_checkpoint(h->engine);

	if (code)
		return pav_refuse_ext(info->extack, code, "group %s: the checkpoint could not be written (error %d); see the kernel's log", h->name,
				      -code);
	return 0;
}

/* Those that name a drive of the group by its slot. */
static int pav_cmd_drive(struct sk_buff *request, struct genl_info *info)
{
	struct pav_hosted *h = info->user_ptr[0];
	struct pav_err err = { };
	unsigned int slot;
	int code;

	if (!info->attrs[PAV_A_DRIVE_SLOT])
		return pav_missing(info->extack, "which DRIVE_SLOT");
	slot = nla_get_u32(info->attrs[PAV_A_DRIVE_SLOT]);
	switch (info->genlhdr->cmd) {
	case PAV_CMD_DRIVE_FAIL:
		code = pav_engine_fail_drive(h->engine, slot, &err);
		break;
	case PAV_CMD_DRIVE_REPLACE:
		code = pav_hosted_replace(h, slot, pav_string(info->attrs, PAV_A_DRIVE_PATH), &err);
		break;
	default:
		code = pav_engine_remove(h->engine, slot, &err);
		break;
	}
	return pav_answer(info->extack, code, &err);
}

static int pav_cmd_drive_add(struct sk_buff *request, struct genl_info *info)
{
	struct pav_drive_spec *specs;
	struct pav_err err = { };
	unsigned int n;
	int code;

	code = pav_drive_specs(info, pav_drive_policy, PAV_A_DRIVE_SPARE, &specs, &n);
	if (code)
		return code;
	code = pav_hosted_add(info->user_ptr[0], specs, n, &err);
	kfree(specs);
	return pav_answer(info->extack, code, &err);
}

static int pav_cmd_drive_return(struct sk_buff *request, struct genl_info *info)
{
	const char *path = pav_string(info->attrs, PAV_A_DRIVE_PATH);
	struct pav_err err = { };
	struct pav_hosted *h;
	struct sk_buff *skb;
	void *header;
	int code;

	if (!path)
		return pav_missing(info->extack, "which DRIVE_PATH");
	code = pav_hosted_return(path, &h, &err);
	if (code)
		return pav_answer(info->extack, code, &err);
	skb = pav_reply_start(info, &header);
	if (!skb)
		return 0;	/* it is back, which is what was asked for */
	return pav_reply_end(info, skb, header, nla_put_string(skb, PAV_A_GROUP, h->name));
}

static int pav_cmd_scrub(struct sk_buff *request, struct genl_info *info)
{
	struct pav_hosted *h = info->user_ptr[0];
	struct pav_err err = { };

	return pav_answer(info->extack, pav_engine_scrub(h->engine, !info->attrs[PAV_A_SCRUB_STOP], &err), &err);
}

/* ---- commands on volumes ---- */

static int pav_cmd_volume_create(struct sk_buff *request, struct genl_info *info)
{
	const char *name = pav_string(info->attrs, PAV_A_VOLUME);
	struct pav_volume_ident ident = { };
	struct pav_err err = { };
	struct pav_volume *vol;
	u64 cells;
	int code;

	if (!name)
		return pav_missing(info->extack, "the VOLUME's name");
	code = pav_size(info, name, &cells);
	if (code)
		return code;
	strscpy(ident.name, name, sizeof(ident.name));
	if (info->attrs[PAV_A_SERIAL])
		strscpy(ident.serial, nla_data(info->attrs[PAV_A_SERIAL]), sizeof(ident.serial));
	if (info->attrs[PAV_A_UUID])
		memcpy(ident.uuid, nla_data(info->attrs[PAV_A_UUID]), sizeof(ident.uuid));
	if (info->attrs[PAV_A_NGUID])
		memcpy(ident.nguid, nla_data(info->attrs[PAV_A_NGUID]), sizeof(ident.nguid));
	code = pav_hosted_volume_create(info->user_ptr[0], &ident, cells, &vol, &err);
	if (code)
		return pav_answer(info->extack, code, &err);
	return pav_reply_volume(info, info->user_ptr[0], vol);
}

static int pav_cmd_volume_delete(struct sk_buff *request, struct genl_info *info)
{
	struct pav_err err = { };

	return pav_answer(info->extack, pav_hosted_volume_delete(info->user_ptr[0], info->user_ptr[1], &err), &err);
}

static int pav_cmd_volume_grow(struct sk_buff *request, struct genl_info *info)
{
	struct pav_err err = { };
	u64 cells;
	int code;

	code = pav_size(info, pav_string(info->attrs, PAV_A_VOLUME), &cells);
	if (code)
		return code;
	return pav_answer(info->extack, pav_hosted_volume_grow(info->user_ptr[0], info->user_ptr[1], cells, &err), &err);
}

static int pav_cmd_volume_rename(struct sk_buff *request, struct genl_info *info)
{
	const char *name = pav_string(info->attrs, PAV_A_NEW_NAME);
	struct pav_err err = { };

	if (!name)
		return pav_missing(info->extack, "the NEW_NAME");
	return pav_answer(info->extack, pav_hosted_volume_rename(info->user_ptr[0], info->user_ptr[1], name, &err), &err);
}

/* PAV_A_PROP may be there many times, and info->attrs holds but the last: the message itself is gone through. */
static int pav_cmd_volume_set_prop(struct sk_buff *request, struct genl_info *info)
{
	struct nlattr *attrs[PAV_A_PROP_VALUE + 1], *prop;
	struct pav_hosted *h = info->user_ptr[0];
	struct pav_err err = { };
	bool any = false;
	int left, code;

	nlmsg_for_each_attr(prop, info->nlhdr, GENL_HDRLEN, left) {
		if (nla_type(prop) != PAV_A_PROP)
			continue;
		code = nla_parse_nested(attrs, PAV_A_PROP_VALUE, prop, pav_prop_policy, info->extack);
		if (code)
			return code;
		if (!attrs[PAV_A_PROP_KEY])
			return pav_missing(info->extack, "the PROP_KEY of each PROP");
		any = true;
		code = pav_volume_set_prop(h->engine, info->user_ptr[1], nla_data(attrs[PAV_A_PROP_KEY]), pav_string(attrs, PAV_A_PROP_VALUE),
					   &err);
		if (code)
			return pav_answer(info->extack, code, &err);
	}
	if (!any)
		return pav_missing(info->extack, "which PROP to set");
	pav_event_post(PAV_EVENT_VOLUME_CHANGED, h->name, pav_string(info->attrs, PAV_A_VOLUME), -1, NULL, 0, "properties changed");
	return 0;
}

static int pav_cmd_volume_get(struct sk_buff *request, struct genl_info *info)
{
	return pav_reply_volume(info, info->user_ptr[0], info->user_ptr[1]);
}

/* ---- dumps ---- */

/*
 * Where a dump goes on: at item @item (slot, volume) of group @order, or at the first group after that. Groups are listed by the order in which
 * they were opened and items by number, so a dump that is interrupted by a change skips nothing that stays; that there was a change the core tells
 * by NLM_F_DUMP_INTR.
 */
struct pav_dump {
	u64 order;
	unsigned int item;
};

static struct pav_dump *pav_dump_of(struct netlink_callback *cb)
{
	static_assert(sizeof(struct pav_dump) <= sizeof(cb->ctx));
	return (struct pav_dump *)cb->ctx;
}

static int pav_dump_start(struct netlink_callback *cb)
{
	cb->min_dump_alloc = PAV_MSG_BYTES;
	return 0;
}

static void *pav_dump_header(struct sk_buff *skb, struct netlink_callback *cb)
{
	void *header = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq, &pav_family, NLM_F_MULTI,
				   genl_dumpit_info(cb)->op.cmd);

	if (header)
		genl_dump_check_consistent(cb, header);
	return header;
}

/* The group the dump is at; those that do not match PAV_A_GROUP, if given, are passed over. NULL: no more. */
static struct pav_hosted *pav_dump_group(struct netlink_callback *cb)
{
	const char *only = pav_string(pav_dump_attrs(cb), PAV_A_GROUP);
	struct pav_dump *at = pav_dump_of(cb);
	struct pav_hosted *h = pav_hosted_from(at->order);

	while (h && only && strcmp(h->name, only))
		h = pav_hosted_from(h->order + 1);
	if (h && h->order != at->order) {
		at->order = h->order;
		at->item = 0;
	}
	return h;
}

/*
 * Puts as many objects into @skb as fit. @one puts in the object at at->item of @h, if there is one, and returns -EMSGSIZE if it does not fit;
 * there are @items in a group.
 */
static int pav_dump(struct sk_buff *skb, struct netlink_callback *cb, unsigned int items,
		    int (*one)(struct sk_buff *skb, struct netlink_callback *cb, struct pav_hosted *h, unsigned int item))
{
	struct pav_dump *at = pav_dump_of(cb);
	struct pav_hosted *h;
	int code = 0;

	mutex_lock(&pav_registry_lock);
	cb->seq = pav_registry_seq;
	while (!code) {
		h = pav_dump_group(cb);
		if (!h)
			break;
		while (at->item < items) {
			code = one(skb, cb, h, at->item);
			if (code)
				break;
			at->item++;
		}
		if (!code)
			at->order++;
	}
	mutex_unlock(&pav_registry_lock);
	/* Full is what a message gets to be; but not by the first object. */
	return code == -EMSGSIZE && skb->len ? skb->len : code ?: skb->len;
}

static int pav_dump_one_group(struct sk_buff *skb, struct netlink_callback *cb, struct pav_hosted *h, unsigned int item)
{
	void *header = pav_dump_header(skb, cb);
	int code = header ? pav_fill_group(skb, h) : -EMSGSIZE;

	if (code && header)
		genlmsg_cancel(skb, header);
	else if (!code)
		genlmsg_end(skb, header);
	return code;
}

static int pav_dump_one_drive(struct sk_buff *skb, struct netlink_callback *cb, struct pav_hosted *h, unsigned int item)
{
	struct pav_drive_info info;
	void *header;
	int code;

	/* Its device is not closed meanwhile. */
	mutex_lock(&h->devs_lock);
	if (pav_engine_drive_info(h->engine, item, &info)) {
		mutex_unlock(&h->devs_lock);
		return 0;
	}
	header = pav_dump_header(skb, cb);
	code = header ? pav_fill_drive(skb, h, item, &info) : -EMSGSIZE;
	mutex_unlock(&h->devs_lock);
	if (code && header)
		genlmsg_cancel(skb, header);
	else if (!code)
		genlmsg_end(skb, header);
	return code;
}

static int pav_dump_one_volume(struct sk_buff *skb, struct netlink_callback *cb, struct pav_hosted *h, unsigned int item)
{
	const char *only = pav_string(pav_dump_attrs(cb), PAV_A_VOLUME);
	struct pav_volume *vol = pav_volume_by_id(h->engine, item);
	struct pav_volume_info info;
	void *header;
	int code;

	if (!vol)
		return 0;
	pav_volume_info(vol, &info);
	if (only && strcmp(only, info.ident.name))
		return 0;
	header = pav_dump_header(skb, cb);
	code = header ? pav_fill_volume(skb, h, vol) : -EMSGSIZE;
	if (code && header)
		genlmsg_cancel(skb, header);
	else if (!code)
		genlmsg_end(skb, header);
	return code;
}

static int pav_dump_groups(struct sk_buff *skb, struct netlink_callback *cb)
{
	return pav_dump(skb, cb, 1, pav_dump_one_group);
}

static int pav_dump_drives(struct sk_buff *skb, struct netlink_callback *cb)
{
	const char *name = pav_string(pav_dump_attrs(cb), PAV_A_GROUP);
	bool found;

	if (!name)
		return pav_missing(cb->extack, "which GROUP");
	mutex_lock(&pav_registry_lock);
	found = pav_hosted_find(name);
	mutex_unlock(&pav_registry_lock);
	if (!found)
		return pav_not_open(cb->extack, cb->skb, name);
	return pav_dump(skb, cb, PAV_MAX_DRIVES, pav_dump_one_drive);
}

static int pav_dump_volumes(struct sk_buff *skb, struct netlink_callback *cb)
{
	return pav_dump(skb, cb, PAV_MAX_VOLUMES, pav_dump_one_volume);
}

/* ---- the family ---- */

static unsigned int pav_noio;	/* the flag as whoever has pav_registry_lock had it before */

static int pav_resolve(const PAV_GENL_OPS *ops, struct sk_buff *skb, struct genl_info *info)
{
	struct pav_volume_info volume;
	const char *name;
	struct pav_hosted *h;

	if (!(ops->internal_flags & PAV_NEEDS_GROUP))
		return 0;
	name = pav_string(info->attrs, PAV_A_GROUP);
	if (!name)
		return pav_missing(info->extack, "which GROUP");
	h = pav_hosted_find(name);
	if (!h)
		return pav_not_open(info->extack, skb, name);
	info->user_ptr[0] = h;

	if (!(ops->internal_flags & PAV_NEEDS_VOLUME))
		return 0;
	name = pav_string(info->attrs, PAV_A_VOLUME);
	if (!name)
		return pav_missing(info->extack, "which VOLUME");
	info->user_ptr[1] = pav_hosted_volume(h, name, &volume);
	return info->user_ptr[1] ? 0 : pav_no_such_volume(info->extack, skb, h->name, name);
}

static void pav_post_doit(const PAV_GENL_OPS *ops, struct sk_buff *skb, struct genl_info *info)
{
	memalloc_noio_restore(pav_noio);
	mutex_unlock(&pav_registry_lock);
	module_put(THIS_MODULE);	/* not the last moment: the core's cb_lock still keeps the exit function waiting */
}

static int pav_pre_doit(const PAV_GENL_OPS *ops, struct sk_buff *skb, struct genl_info *info)
{
	int code;

	if ((ops->internal_flags & PAV_NEEDS_ADMIN) && !netlink_capable(skb, CAP_SYS_ADMIN)) {
		NL_SET_ERR_MSG(info->extack, "this command needs CAP_SYS_ADMIN; run it as root");
		return -EPERM;
	}
	/* The core has none for a command, and only waits for its end in genl_unregister_family(): too late, if the command has opened a group. */
	if (!try_module_get(THIS_MODULE)) {
		NL_SET_ERR_MSG(info->extack, "the module is being removed");
		return -ENODEV;
	}
	mutex_lock(&pav_registry_lock);
	pav_noio = memalloc_noio_save();	/* users' writes may wait for the superblocks or the checkpoint that a command writes */
	code = pav_resolve(ops, skb, info);
	if (code)
		pav_post_doit(ops, skb, info);
	return code;
}

#define PAV_POLICY(p) .policy = (p), .maxattr = ARRAY_SIZE(p) - 1

static const struct genl_ops pav_ops[] = {
	{
		.cmd = PAV_CMD_DRIVE_PROBE, .doit = pav_cmd_drive_probe, PAV_POLICY(pav_probe_policy),
		.internal_flags = PAV_NEEDS_ADMIN,
	}, {
		.cmd = PAV_CMD_GROUP_CREATE, .doit = pav_cmd_group_create, PAV_POLICY(pav_group_create_policy),
		.internal_flags = PAV_NEEDS_ADMIN,
	}, {
		.cmd = PAV_CMD_GROUP_IMPORT, .doit = pav_cmd_group_import, PAV_POLICY(pav_group_import_policy),
		.internal_flags = PAV_NEEDS_ADMIN,
	}, {
		.cmd = PAV_CMD_GROUP_EXPORT, .doit = pav_cmd_group_export, PAV_POLICY(pav_group_policy),
		.internal_flags = PAV_NEEDS_ADMIN | PAV_NEEDS_GROUP,
	}, {
		.cmd = PAV_CMD_GROUP_DESTROY, .doit = pav_cmd_group_export, PAV_POLICY(pav_group_policy),
		.internal_flags = PAV_NEEDS_ADMIN | PAV_NEEDS_GROUP,
	}, {
		.cmd = PAV_CMD_GROUP_GET, .doit = pav_cmd_group_get, .start = pav_dump_start, .dumpit = pav_dump_groups,
		PAV_POLICY(pav_group_policy), .internal_flags = PAV_NEEDS_GROUP,
	}, {
		.cmd = PAV_CMD_GROUP_CHECKPOINT, .doit = pav_cmd_group_checkpoint, PAV_POLICY(pav_group_policy),
		.internal_flags = PAV_NEEDS_ADMIN | PAV_NEEDS_GROUP,
	}, {
		.cmd = PAV_CMD_DRIVE_GET, .start = pav_dump_start, .dumpit = pav_dump_drives, PAV_POLICY(pav_group_policy),
	}, {
		.cmd = PAV_CMD_DRIVE_FAIL, .doit = pav_cmd_drive, PAV_POLICY(pav_drive_slot_policy),
		.internal_flags = PAV_NEEDS_ADMIN | PAV_NEEDS_GROUP,
	}, {
		.cmd = PAV_CMD_VOLUME_CREATE, .doit = pav_cmd_volume_create, PAV_POLICY(pav_volume_create_policy),
		.internal_flags = PAV_NEEDS_ADMIN | PAV_NEEDS_GROUP,
	}, {
		.cmd = PAV_CMD_VOLUME_DELETE, .doit = pav_cmd_volume_delete, PAV_POLICY(pav_volume_policy),
		.internal_flags = PAV_NEEDS_ADMIN | PAV_NEEDS_GROUP | PAV_NEEDS_VOLUME,
	}, {
		.cmd = PAV_CMD_VOLUME_GROW, .doit = pav_cmd_volume_grow, PAV_POLICY(pav_volume_grow_policy),
		.internal_flags = PAV_NEEDS_ADMIN | PAV_NEEDS_GROUP | PAV_NEEDS_VOLUME,
	}, {
		.cmd = PAV_CMD_VOLUME_RENAME, .doit = pav_cmd_volume_rename, PAV_POLICY(pav_volume_rename_policy),
		.internal_flags = PAV_NEEDS_ADMIN | PAV_NEEDS_GROUP | PAV_NEEDS_VOLUME,
	}, {
		.cmd = PAV_CMD_VOLUME_SET_PROP, .doit = pav_cmd_volume_set_prop, PAV_POLICY(pav_volume_prop_policy),
		.internal_flags = PAV_NEEDS_ADMIN | PAV_NEEDS_GROUP | PAV_NEEDS_VOLUME,
	}, {
		.cmd = PAV_CMD_VOLUME_GET, .doit = pav_cmd_volume_get, .start = pav_dump_start, .dumpit = pav_dump_volumes,
		PAV_POLICY(pav_volume_policy), .internal_flags = PAV_NEEDS_GROUP | PAV_NEEDS_VOLUME,
	}, {
		.cmd = PAV_CMD_DRIVE_WIPE, .doit = pav_cmd_drive_wipe, PAV_POLICY(pav_probe_policy),
		.internal_flags = PAV_NEEDS_ADMIN,
	}, {
		.cmd = PAV_CMD_DRIVE_ADD, .doit = pav_cmd_drive_add, PAV_POLICY(pav_drive_add_policy),
		.internal_flags = PAV_NEEDS_ADMIN | PAV_NEEDS_GROUP,
	}, {
		.cmd = PAV_CMD_DRIVE_REPLACE, .doit = pav_cmd_drive, PAV_POLICY(pav_drive_replace_policy),
		.internal_flags = PAV_NEEDS_ADMIN | PAV_NEEDS_GROUP,
	}, {
		.cmd = PAV_CMD_DRIVE_REMOVE, .doit = pav_cmd_drive, PAV_POLICY(pav_drive_slot_policy),
		.internal_flags = PAV_NEEDS_ADMIN | PAV_NEEDS_GROUP,
	}, {
		.cmd = PAV_CMD_DRIVE_RETURN, .doit = pav_cmd_drive_return, PAV_POLICY(pav_probe_policy),
		.internal_flags = PAV_NEEDS_ADMIN,
	}, {
		.cmd = PAV_CMD_SCRUB, .doit = pav_cmd_scrub, PAV_POLICY(pav_scrub_policy),
		.internal_flags = PAV_NEEDS_ADMIN | PAV_NEEDS_GROUP,
	},
};

static const struct genl_multicast_group pav_mcgrps[] = {
	{ .name = PAV_GENL_MCGRP_EVENTS },
};

static struct genl_family pav_family __ro_after_init = {
	.name = PAV_GENL_NAME,
	.version = PAV_GENL_VERSION,
	.maxattr = PAV_A_MAX,
	.module = THIS_MODULE,
	.parallel_ops = true,
	.pre_doit = pav_pre_doit,
	.post_doit = pav_post_doit,
	.ops = pav_ops,
	.n_ops = ARRAY_SIZE(pav_ops),
	.mcgrps = pav_mcgrps,
	.n_mcgrps = ARRAY_SIZE(pav_mcgrps),
};

void pav_event_send(const struct pav_event_record *event)
{
	struct sk_buff *skb;
	void *header;

	if (!genl_has_listeners(&pav_family, &init_net, 0))
		return;
	skb = genlmsg_new(NLMSG_GOODSIZE, GFP_KERNEL);
	if (!skb)
		return;
	header = genlmsg_put(skb, 0, 0, &pav_family, 0, PAV_CMD_EVENT);
	if (!header ||
	    nla_put_u32(skb, PAV_A_EVENT_TYPE, event->type) ||
	    nla_put_string(skb, PAV_A_GROUP, event->group) ||
	    (event->volume[0] && nla_put_string(skb, PAV_A_VOLUME, event->volume)) ||
	    (event->slot >= 0 && nla_put_u32(skb, PAV_A_DRIVE_SLOT, event->slot)) ||
	    (event->path[0] && nla_put_string(skb, PAV_A_DRIVE_PATH, event->path)) ||
	    nla_put_u64_64bit(skb, PAV_A_VALUE, event->value, PAV_A_PAD) ||
	    nla_put_string(skb, PAV_A_EVENT_TEXT, event->text)) {
		nlmsg_free(skb);
		return;
	}
	genlmsg_end(skb, header);
	genlmsg_multicast(&pav_family, skb, 0, 0, GFP_KERNEL);	/* nobody may be listening any more, which is no error */
}

int pav_control_init(void)
{
	return genl_register_family(&pav_family);
}

void pav_control_exit(void)
{
	pav_events_stop();
	genl_unregister_family(&pav_family);
}
