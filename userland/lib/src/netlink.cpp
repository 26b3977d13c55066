// SPDX-License-Identifier: GPL-2.0
//
// Requests, answers and events over libmnl. What the attributes mean is in netlink_parse.cpp.
#include "pav/netlink.hpp"

#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <poll.h>

#include <cerrno>
#include <cstring>
#include <functional>

#include <fmt/format.h>
#include <libmnl/libmnl.h>

#include "attributes.hpp"
#include "pav/host.hpp"
#include "pav_netlink.h"

namespace pav {

namespace {

constexpr std::size_t buffer_bytes = 64 * 1024;  // a request with 40 paths, a reply with 3 KiB of properties: far below

struct Closer {
    void operator()(mnl_socket *socket) const { mnl_socket_close(socket); }
};
using SocketPtr = std::unique_ptr<mnl_socket, Closer>;

const char *load_remedy = "load the module: modprobe pavraid (or insmod pavraid.ko, or pavcfg restore)";

Error socket_error(const char *what) { return {"talk to the kernel", what, errno, "", "is this run as root?"}; }

Result<SocketPtr> open_socket() {
    SocketPtr socket(mnl_socket_open2(NETLINK_GENERIC, SOCK_CLOEXEC));
    if (!socket) return socket_error("netlink socket");
    if (mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) < 0) return socket_error("netlink socket");
    int on = 1;
    // Both are comforts: without them an error is a bare errno.
    mnl_socket_setsockopt(socket.get(), NETLINK_EXT_ACK, &on, sizeof(on));
    mnl_socket_setsockopt(socket.get(), NETLINK_CAP_ACK, &on, sizeof(on));
    return socket;
}

// The kernel's text in an error message, if it gave one.
std::string ack_text(const nlmsghdr *header) {
    if (!(header->nlmsg_flags & NLM_F_ACK_TLVS)) return {};
    const auto *error = static_cast<const nlmsgerr *>(mnl_nlmsg_get_payload(header));
    std::size_t skip = sizeof(nlmsgerr);
    if (header->nlmsg_type == NLMSG_DONE)
        skip = sizeof(int);
    else if (error->error && !(header->nlmsg_flags & NLM_F_CAPPED))
        skip += mnl_nlmsg_get_payload_len(header) > error->msg.nlmsg_len ? error->msg.nlmsg_len - sizeof(nlmsghdr) : 0;
    std::string text;
    const std::size_t length = mnl_nlmsg_get_payload_len(header);
    skip = NLMSG_ALIGN(skip);
    if (skip >= length) return text;
    for_each({static_cast<const std::byte *>(mnl_nlmsg_get_payload(header)) + skip, length - skip}, [&](const Attribute &a) {
        if (a.type == NLMSGERR_ATTR_MSG) text = a.text();
    });
    return text;
}

using OnReply = std::function<void(Bytes attributes)>;

// The kernel says "object: reason; remedy" in one text; it is kept whole.
Error refusal(const std::string &tried, const std::string &object, int err, const std::string &text) {
    Error error{tried, object, err, text, ""};
    if (text.empty() && err == EPERM) error.remedy = "run it as root";
    return error;
}

class Channel {
  public:
    explicit Channel(SocketPtr socket) : socket_(std::move(socket)), buffer_(buffer_bytes), reply_(buffer_bytes) {}

    // Starts a request; attributes are then put into the header returned.
    nlmsghdr *begin(std::uint16_t type, std::uint8_t cmd, std::uint8_t version, bool dump = false) {
        nlmsghdr *header = mnl_nlmsg_put_header(buffer_.data());
        header->nlmsg_type = type;
        header->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | (dump ? NLM_F_DUMP : NLM_F_ACK));
        header->nlmsg_seq = ++sequence_;
        auto *genl = static_cast<genlmsghdr *>(mnl_nlmsg_put_extra_header(header, sizeof(genlmsghdr)));
        genl->cmd = cmd;
        genl->version = version;
        return header;
    }
    nlmsghdr *begin(int cmd, bool dump = false) {
        return begin(family_, static_cast<std::uint8_t>(cmd), PAV_GENL_VERSION, dump);
    }

    // Sends the request and reads until the kernel's last word on it.
    Result<void> run(nlmsghdr *header, const std::string &tried, const std::string &object, const OnReply &on_reply = {}) {
        if (mnl_socket_sendto(socket_.get(), header, header->nlmsg_len) < 0) return Error{tried, object, errno, "", ""};
        for (;;) {
            const ssize_t got = mnl_socket_recvfrom(socket_.get(), reply_.data(), reply_.size());
            if (got < 0) {
                if (errno == EINTR) continue;
                return Error{tried, object, errno, "no answer from the kernel", ""};
            }
            int left = static_cast<int>(got);
            for (auto *h = reinterpret_cast<const nlmsghdr *>(reply_.data()); mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
                if (h->nlmsg_seq != sequence_) continue;  // the rest of a request that was given up
                if (h->nlmsg_type == NLMSG_ERROR) {
                    const int err = -static_cast<const nlmsgerr *>(mnl_nlmsg_get_payload(h))->error;
                    if (err == 0) return {};
                    return refusal(tried, object, err, ack_text(h));
                }
                if (h->nlmsg_type == NLMSG_DONE) {
                    const int err = mnl_nlmsg_get_payload_len(h) >= sizeof(int)
                                        ? -*static_cast<const int *>(mnl_nlmsg_get_payload(h)) : 0;
                    if (err > 0) return refusal(tried, object, err, ack_text(h));
                    return {};
                }
                if (h->nlmsg_flags & NLM_F_DUMP_INTR)
                    return Error{tried, object, EAGAIN, "it changed while it was read", "try again"};
                if (on_reply && mnl_nlmsg_get_payload_len(h) >= sizeof(genlmsghdr))
                    on_reply({static_cast<const std::byte *>(mnl_nlmsg_get_payload_offset(h, sizeof(genlmsghdr))),
                              mnl_nlmsg_get_payload_len(h) - sizeof(genlmsghdr)});
            }
        }
    }

    struct Family {
        std::uint16_t id = 0;
        std::optional<std::uint32_t> events;
    };
    Result<Family> resolve() {
        Family family;
        nlmsghdr *header = begin(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1);
        mnl_attr_put_strz(header, CTRL_ATTR_FAMILY_NAME, PAV_GENL_NAME);
        const auto done = run(header, "find the array's engine", PAV_GENL_NAME, [&](Bytes attributes) {
            for_each(attributes, [&](const Attribute &a) {
                if (a.type == CTRL_ATTR_FAMILY_ID) a.take(family.id);
                if (a.type == CTRL_ATTR_MCAST_GROUPS)
                    for_each(a.payload, [&](const Attribute &group) {
                        std::string name;
                        std::uint32_t id = 0;
                        for_each(group.payload, [&](const Attribute &field) {
                            if (field.type == CTRL_ATTR_MCAST_GRP_NAME) name = field.text();
                            if (field.type == CTRL_ATTR_MCAST_GRP_ID) field.take(id);
                        });
                        if (name == PAV_GENL_MCGRP_EVENTS) family.events = id;
                    });
            });
        });
        if (!done) {
            Error error = done.error();
            if (error.err == ENOENT) {
                error.reason = "the module pavraid is not loaded";
                error.remedy = load_remedy;
            }
            return error;
        }
        family_ = family.id;
        return family;
    }

    mnl_socket *get() { return socket_.get(); }
    std::vector<char> &buffer() { return reply_; }

  private:
    SocketPtr socket_;
    std::vector<char> buffer_, reply_;
    std::uint16_t family_ = 0;
    std::uint32_t sequence_ = 0;
};

class NetlinkEngine : public Engine {
  public:
    explicit NetlinkEngine(Channel channel) : channel_(std::move(channel)) {}

    Result<DriveLabel> probe_drive(const std::string &path) override {
        nlmsghdr *header = channel_.begin(PAV_CMD_DRIVE_PROBE);
        mnl_attr_put_strz(header, PAV_A_DRIVE_PATH, path.c_str());
        DriveLabel label;
        const auto done = channel_.run(header, "read the superblock of", path, [&](Bytes a) { label = parse_drive_label(a); });
        if (!done) return done.error();
        label.path = path;
        return label;
    }

    Result<void> create_group(const GroupSpec &spec) override {
        nlmsghdr *header = channel_.begin(PAV_CMD_GROUP_CREATE);
        mnl_attr_put_strz(header, PAV_A_GROUP, spec.name.c_str());
        put_drives(header, spec.drives);
        if (spec.data_drives) mnl_attr_put_u32(header, PAV_A_DATA_DRIVES, *spec.data_drives);
        if (spec.reserve_percent) mnl_attr_put_u32(header, PAV_A_RESERVE_PERCENT, *spec.reserve_percent);
        sign(header);
        return channel_.run(header, "create the group", spec.name);
    }

    Result<std::string> import_group(const std::vector<std::string> &drives, const std::optional<std::string> &name, bool takeover) override {
        nlmsghdr *header = channel_.begin(PAV_CMD_GROUP_IMPORT);
        nlattr *all = mnl_attr_nest_start(header, PAV_A_DRIVES);
        for (const auto &path : drives) {
            nlattr *nest = mnl_attr_nest_start(header, PAV_A_DRIVE);
            mnl_attr_put_strz(header, PAV_A_DRIVE_PATH, path.c_str());
            mnl_attr_nest_end(header, nest);
        }
        mnl_attr_nest_end(header, all);
        if (name) mnl_attr_put_strz(header, PAV_A_GROUP, name->c_str());
        if (takeover) mnl_attr_put(header, PAV_A_TAKEOVER, 0, nullptr);
        sign(header);
        std::string imported = name.value_or("");
        const auto done = channel_.run(header, "import the group", name.value_or(fmt::format("on {}", fmt::join(drives, " "))),
                                       [&](Bytes a) { imported = parse_group(a).name; });
        if (!done) return done.error();
        return imported;
    }

    Result<void> export_group(const std::string &group) override {
        return command(PAV_CMD_GROUP_EXPORT, "export the group", group);
    }
    Result<void> destroy_group(const std::string &group) override {
        return command(PAV_CMD_GROUP_DESTROY, "delete the group", group);
    }
    Result<void> checkpoint_group(const std::string &group) override {
        return command(PAV_CMD_GROUP_CHECKPOINT, "checkpoint the group", group);
    }

    Result<std::vector<Group>> groups() override {
        std::vector<Group> groups;
        const auto done = channel_.run(channel_.begin(PAV_CMD_GROUP_GET, true), "list", "groups",
                                       [&](Bytes a) { groups.push_back(parse_group(a)); });
        if (!done) return done.error();
        return groups;
    }

    Result<std::vector<Drive>> drives(const std::string &group) override {
        std::vector<Drive> drives;
        nlmsghdr *header = channel_.begin(PAV_CMD_DRIVE_GET, true);
        mnl_attr_put_strz(header, PAV_A_GROUP, group.c_str());
        const auto done = channel_.run(header, "list the drives of", group, [&](Bytes a) {
            drives.push_back(parse_drive(a));
            drives.back().group = group;
        });
        if (!done) return done.error();
        return drives;
    }

    Result<void> wipe_drive(const std::string &path) override {
        nlmsghdr *header = channel_.begin(PAV_CMD_DRIVE_WIPE);
        mnl_attr_put_strz(header, PAV_A_DRIVE_PATH, path.c_str());
        return channel_.run(header, "wipe", path);
    }

    Result<void> fail_drive(const std::string &group, unsigned slot) override {
        nlmsghdr *header = channel_.begin(PAV_CMD_DRIVE_FAIL);
        mnl_attr_put_strz(header, PAV_A_GROUP, group.c_str());
        mnl_attr_put_u32(header, PAV_A_DRIVE_SLOT, slot);
        return channel_.run(header, "take out of use", fmt::format("drive {} of {}", slot, group));
    }

    Result<void> add_drives(const std::string &group, const std::vector<DriveSpec> &drives) override {
        nlmsghdr *header = channel_.begin(PAV_CMD_DRIVE_ADD);
        mnl_attr_put_strz(header, PAV_A_GROUP, group.c_str());
        put_drives(header, drives);
        return channel_.run(header, "add drives to", group);
    }

    Result<void> replace_drive(const std::string &group, unsigned slot, const std::optional<std::string> &with) override {
        nlmsghdr *header = channel_.begin(PAV_CMD_DRIVE_REPLACE);
        mnl_attr_put_strz(header, PAV_A_GROUP, group.c_str());
        mnl_attr_put_u32(header, PAV_A_DRIVE_SLOT, slot);
        if (with) mnl_attr_put_strz(header, PAV_A_DRIVE_PATH, with->c_str());
        return channel_.run(header, "replace", fmt::format("drive {} of {}", slot, group));
    }

    Result<void> remove_drive(const std::string &group, unsigned slot) override {
        nlmsghdr *header = channel_.begin(PAV_CMD_DRIVE_REMOVE);
        mnl_attr_put_strz(header, PAV_A_GROUP, group.c_str());
        mnl_attr_put_u32(header, PAV_A_DRIVE_SLOT, slot);
        return channel_.run(header, "remove", fmt::format("drive {} of {}", slot, group));
    }

    Result<std::string> return_drive(const std::string &path) override {
        nlmsghdr *header = channel_.begin(PAV_CMD_DRIVE_RETURN);
        mnl_attr_put_strz(header, PAV_A_DRIVE_PATH, path.c_str());
        std::string group;
        const auto done = channel_.run(header, "take back", path, [&](Bytes a) { group = parse_group(a).name; });
        if (!done) return done.error();
        return group;
    }

    Result<void> scrub(const std::string &group, bool on) override {
        nlmsghdr *header = channel_.begin(PAV_CMD_SCRUB);
        mnl_attr_put_strz(header, PAV_A_GROUP, group.c_str());
        if (!on) mnl_attr_put(header, PAV_A_SCRUB_STOP, 0, nullptr);
        return channel_.run(header, on ? "scrub" : "stop the scrub of", group);
    }

    Result<void> create_volume(const VolumeSpec &spec) override {
        nlmsghdr *header = channel_.begin(PAV_CMD_VOLUME_CREATE);
        mnl_attr_put_strz(header, PAV_A_GROUP, spec.group.c_str());
        mnl_attr_put_strz(header, PAV_A_VOLUME, spec.name.c_str());
        mnl_attr_put_u64(header, PAV_A_SIZE, spec.size_bytes);
        mnl_attr_put_strz(header, PAV_A_SERIAL, spec.serial.c_str());
        mnl_attr_put(header, PAV_A_UUID, spec.uuid.size(), spec.uuid.data());
        mnl_attr_put(header, PAV_A_NGUID, spec.nguid.size(), spec.nguid.data());
        return channel_.run(header, "create the volume", spec.group + "/" + spec.name);
    }

    Result<void> delete_volume(const std::string &group, const std::string &name) override {
        return command(PAV_CMD_VOLUME_DELETE, "delete the volume", group, name);
    }

    Result<void> grow_volume(const std::string &group, const std::string &name, std::uint64_t size_bytes) override {
        nlmsghdr *header = channel_.begin(PAV_CMD_VOLUME_GROW);
        mnl_attr_put_strz(header, PAV_A_GROUP, group.c_str());
        mnl_attr_put_strz(header, PAV_A_VOLUME, name.c_str());
        mnl_attr_put_u64(header, PAV_A_SIZE, size_bytes);
        return channel_.run(header, "grow the volume", group + "/" + name);
    }

    Result<void> rename_volume(const std::string &group, const std::string &name, const std::string &to) override {
        nlmsghdr *header = channel_.begin(PAV_CMD_VOLUME_RENAME);
        mnl_attr_put_strz(header, PAV_A_GROUP, group.c_str());
        mnl_attr_put_strz(header, PAV_A_VOLUME, name.c_str());
        mnl_attr_put_strz(header, PAV_A_NEW_NAME, to.c_str());
        return channel_.run(header, "rename the volume", group + "/" + name);
    }

    Result<void> set_props(const std::string &group, const std::string &name,
                           const std::map<std::string, std::optional<std::string>> &changes) override {
        if (changes.empty()) return {};
        nlmsghdr *header = channel_.begin(PAV_CMD_VOLUME_SET_PROP);
        mnl_attr_put_strz(header, PAV_A_GROUP, group.c_str());
        mnl_attr_put_strz(header, PAV_A_VOLUME, name.c_str());
        for (const auto &[key, value] : changes) {
            nlattr *nest = mnl_attr_nest_start(header, PAV_A_PROP);
            mnl_attr_put_strz(header, PAV_A_PROP_KEY, key.c_str());
            if (value) mnl_attr_put_strz(header, PAV_A_PROP_VALUE, value->c_str());
            mnl_attr_nest_end(header, nest);
        }
        return channel_.run(header, "set the export settings of", group + "/" + name);
    }

    Result<std::vector<Volume>> volumes() override {
        std::vector<Volume> volumes;
        const auto done = channel_.run(channel_.begin(PAV_CMD_VOLUME_GET, true), "list", "volumes",
                                       [&](Bytes a) { volumes.push_back(parse_volume(a)); });
        if (!done) return done.error();
        return volumes;
    }

  private:
    // Who this is to other hosts at the same drives.
    static void sign(nlmsghdr *header) {
        const HostIdentity self = host_identity();
        if (!is_nil(self.id)) mnl_attr_put(header, PAV_A_HOST_ID, self.id.size(), self.id.data());
        if (!self.name.empty()) mnl_attr_put_strz(header, PAV_A_HOST_NAME, self.name.c_str());
    }

    static void put_drives(nlmsghdr *header, const std::vector<DriveSpec> &drives) {
        nlattr *all = mnl_attr_nest_start(header, PAV_A_DRIVES);
        for (const auto &drive : drives) {
            nlattr *nest = mnl_attr_nest_start(header, PAV_A_DRIVE);
            mnl_attr_put_strz(header, PAV_A_DRIVE_PATH, drive.path.c_str());
            if (drive.spare) mnl_attr_put(header, PAV_A_DRIVE_SPARE, 0, nullptr);
            mnl_attr_nest_end(header, nest);
        }
        mnl_attr_nest_end(header, all);
    }

    Result<void> command(int cmd, const std::string &tried, const std::string &group, const std::string &volume = {}) {
        nlmsghdr *header = channel_.begin(cmd);
        mnl_attr_put_strz(header, PAV_A_GROUP, group.c_str());
        if (!volume.empty()) mnl_attr_put_strz(header, PAV_A_VOLUME, volume.c_str());
        return channel_.run(header, tried, volume.empty() ? group : group + "/" + volume);
    }

    Channel channel_;
};

}  // namespace

Result<std::unique_ptr<Engine>> open_kernel_engine() {
    auto socket = open_socket();
    if (!socket) return socket.error();
    Channel channel(std::move(socket).value());
    if (const auto family = channel.resolve(); !family) return family.error();
    return std::unique_ptr<Engine>(std::make_unique<NetlinkEngine>(std::move(channel)));
}

// ---- events -----------------------------------------------------------------------------------------------------------

struct EventStream::Impl {
    Channel channel;
    std::vector<EngineEvent> waiting;  // of one datagram, last first
};

Result<EventStream> EventStream::open() {
    auto socket = open_socket();
    if (!socket) return socket.error();
    auto impl = std::make_unique<Impl>(Impl{Channel(std::move(socket).value()), {}});
    const auto family = impl->channel.resolve();
    if (!family) return family.error();
    if (!family->events) return Error{"listen to", "the engine's events", ENOENT, "the module has no event group", "load a newer one"};
    auto group = static_cast<int>(*family->events);
    if (mnl_socket_setsockopt(impl->channel.get(), NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
        return Error{"listen to", "the engine's events", errno, "", ""};
    return EventStream(std::move(impl));
}

EventStream::EventStream(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
EventStream::EventStream(EventStream &&) noexcept = default;
EventStream &EventStream::operator=(EventStream &&) noexcept = default;
EventStream::~EventStream() = default;

Result<std::optional<EngineEvent>> EventStream::next(std::chrono::milliseconds timeout) {
    if (impl_->waiting.empty()) {
        pollfd waiting{mnl_socket_get_fd(impl_->channel.get()), POLLIN, 0};
        const int ready = poll(&waiting, 1, static_cast<int>(timeout.count()));
        if (ready == 0 || (ready < 0 && errno == EINTR)) return std::optional<EngineEvent>{};
        const ssize_t got = ready < 0 ? -1 : mnl_socket_recvfrom(impl_->channel.get(), impl_->channel.buffer().data(), impl_->channel.buffer().size());
        if (got < 0) return Error{"read", "the engine's events", errno, "", errno == ENOBUFS ? "some events are lost; go on" : ""};
        int left = static_cast<int>(got);
        for (auto *h = reinterpret_cast<const nlmsghdr *>(impl_->channel.buffer().data()); mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left))
            if (h->nlmsg_type >= NLMSG_MIN_TYPE && mnl_nlmsg_get_payload_len(h) >= sizeof(genlmsghdr))
                impl_->waiting.insert(impl_->waiting.begin(),
                                      parse_event({static_cast<const std::byte *>(mnl_nlmsg_get_payload_offset(h, sizeof(genlmsghdr))),
                                                   mnl_nlmsg_get_payload_len(h) - sizeof(genlmsghdr)}));
    }
    if (impl_->waiting.empty()) return std::optional<EngineEvent>{};
    EngineEvent event = std::move(impl_->waiting.back());
    impl_->waiting.pop_back();
    return std::optional<EngineEvent>(std::move(event));
}

}  // namespace pav
