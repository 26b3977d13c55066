// SPDX-License-Identifier: GPL-2.0
//
// nlpipe: sends generic netlink requests that were built elsewhere, and prints what comes back.
//
//   nlpipe FAMILY FLAGS HEX…    HEX: a generic netlink header and attributes, as hexadecimal digits; FLAGS: of nlmsghdr, in decimal.
//                               Sends each in turn and waits for its end; prints, a line each, HEX of replies, then "end ERRNO HEX" with the
//                               attributes of the acknowledgement.
//   nlpipe FAMILY listen GROUP  Joins a multicast group, prints "listening", then each message.
//
// Knows nothing about attributes, so that a test can send whatever it likes. Linked statically: it runs in a guest.
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace {

using Bytes = std::vector<std::uint8_t>;

[[noreturn]] void die(const char *what) {
    std::fprintf(stderr, "nlpipe: %s: %s\n", what, std::strerror(errno));
    std::exit(1);
}

Bytes from_hex(std::string_view text) {
    Bytes bytes;
    for (std::size_t i = 0; i + 1 < text.size(); i += 2)
        bytes.push_back(static_cast<std::uint8_t>(std::stoul(std::string(text.substr(i, 2)), nullptr, 16)));
    return bytes;
}

void print_hex(const std::uint8_t *data, std::size_t size) {
    for (std::size_t i = 0; i < size; i++) std::printf("%02x", data[i]);
    std::printf("\n");
}

class Socket {
  public:
    Socket() : fd_(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC)) {
        if (fd_ < 0) die("socket");
        const int one = 1;
        if (setsockopt(fd_, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof one)) die("NETLINK_EXT_ACK");
        sockaddr_nl any{};
        any.nl_family = AF_NETLINK;
        if (bind(fd_, reinterpret_cast<sockaddr *>(&any), sizeof any)) die("bind");
    }
    Socket(const Socket &) = delete;
    Socket &operator=(const Socket &) = delete;
    ~Socket() { close(fd_); }

    void send(std::uint16_t type, std::uint16_t flags, const Bytes &payload) {
        Bytes message(NLMSG_HDRLEN + payload.size());
        nlmsghdr header{};
        header.nlmsg_len = static_cast<std::uint32_t>(message.size());
        header.nlmsg_type = type;
        header.nlmsg_flags = flags;
        header.nlmsg_seq = ++sequence_;
        std::memcpy(message.data(), &header, sizeof header);
        std::copy(payload.begin(), payload.end(), message.begin() + NLMSG_HDRLEN);
        message.resize(NLMSG_ALIGN(message.size()));
        sockaddr_nl kernel{};
        kernel.nl_family = AF_NETLINK;
        if (sendto(fd_, message.data(), message.size(), 0, reinterpret_cast<sockaddr *>(&kernel), sizeof kernel) < 0) die("send");
    }

    // Calls each(header) for every message of the next datagram.
    template <typename Each>
    void receive(Each each) {
        const ssize_t got = recv(fd_, buffer_.data(), buffer_.size(), 0);
        if (got < 0) die("receive");
        auto left = static_cast<int>(got);
        for (auto *h = reinterpret_cast<nlmsghdr *>(buffer_.data()); NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) each(*h);
    }

    void join(int group) {
        if (setsockopt(fd_, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group)) die("join");
    }

  private:
    int fd_;
    std::uint32_t sequence_ = 0;
    std::vector<std::uint8_t> buffer_ = std::vector<std::uint8_t>(1 << 16);
};

const std::uint8_t *payload_of(const nlmsghdr &h) { return reinterpret_cast<const std::uint8_t *>(&h) + NLMSG_HDRLEN; }
std::size_t payload_size(const nlmsghdr &h) { return h.nlmsg_len - NLMSG_HDRLEN; }

// Sends, and prints the answer up to its end.
void ask(Socket &socket, std::uint16_t family, std::uint16_t flags, const Bytes &payload, std::vector<Bytes> *replies = nullptr) {
    socket.send(family, flags, payload);
    for (bool done = false; !done;) {
        socket.receive([&](const nlmsghdr &h) {
            if (h.nlmsg_type != NLMSG_ERROR && h.nlmsg_type != NLMSG_DONE) {
                if (replies)
                    replies->emplace_back(payload_of(h), payload_of(h) + payload_size(h));
                else
                    print_hex(payload_of(h), payload_size(h));
                return;
            }
            done = true;
            if (replies) return;
            int error = 0;
            if (payload_size(h) >= sizeof error) std::memcpy(&error, payload_of(h), sizeof error);
            // An error quotes the request's header, or with a refusal all of it, before its attributes.
            std::size_t skip = sizeof error;
            if (h.nlmsg_type == NLMSG_ERROR) {
                nlmsghdr quoted{};
                std::memcpy(&quoted, payload_of(h) + sizeof error, sizeof quoted);
                skip += h.nlmsg_flags & NLM_F_CAPPED ? sizeof quoted : NLMSG_ALIGN(quoted.nlmsg_len);
            }
            std::printf("end %d ", -error);
            if (!(h.nlmsg_flags & NLM_F_ACK_TLVS) || skip > payload_size(h)) skip = payload_size(h);
            print_hex(payload_of(h) + skip, payload_size(h) - skip);
        });
    }
}

template <typename Each>
void for_each_attribute(const std::uint8_t *data, std::size_t size, Each each) {
    while (size >= NLA_HDRLEN) {
        nlattr a{};
        std::memcpy(&a, data, sizeof a);
        if (a.nla_len < NLA_HDRLEN || a.nla_len > size) return;
        each(a.nla_type & NLA_TYPE_MASK, data + NLA_HDRLEN, a.nla_len - NLA_HDRLEN);
        const std::size_t step = std::min<std::size_t>(NLA_ALIGN(a.nla_len), size);
        data += step;
        size -= step;
    }
}

struct Family {
    std::uint16_t id = 0;
    int group = 0;  // of the multicast group asked for
};

Family resolve(Socket &socket, const std::string &name, const std::string &group) {
    Bytes payload{CTRL_CMD_GETFAMILY, 1, 0, 0};
    nlattr a{};
    a.nla_type = CTRL_ATTR_FAMILY_NAME;
    a.nla_len = static_cast<std::uint16_t>(NLA_HDRLEN + name.size() + 1);
    const auto *raw = reinterpret_cast<const std::uint8_t *>(&a);
    payload.insert(payload.end(), raw, raw + sizeof a);
    payload.insert(payload.end(), name.begin(), name.end());
    payload.resize(NLMSG_ALIGN(payload.size() + 1));
    std::vector<Bytes> replies;
    ask(socket, GENL_ID_CTRL, NLM_F_REQUEST | NLM_F_ACK, payload, &replies);
    Family family;
    for (const auto &r : replies)
        for_each_attribute(r.data() + GENL_HDRLEN, r.size() - GENL_HDRLEN, [&](int type, const std::uint8_t *d, std::size_t n) {
            if (type == CTRL_ATTR_FAMILY_ID) std::memcpy(&family.id, d, sizeof family.id);
            if (type != CTRL_ATTR_MCAST_GROUPS) return;
            for_each_attribute(d, n, [&](int, const std::uint8_t *d, std::size_t n) {
                std::string this_name;
                int id = 0;
                for_each_attribute(d, n, [&](int type, const std::uint8_t *d, std::size_t) {
                    if (type == CTRL_ATTR_MCAST_GRP_NAME) this_name = reinterpret_cast<const char *>(d);
                    if (type == CTRL_ATTR_MCAST_GRP_ID) std::memcpy(&id, d, sizeof id);
                });
                if (this_name == group) family.group = id;
            });
        });
    return family;
}

}  // namespace

int main(int argc, char **argv) {
    if (argc < 4) {
        std::fprintf(stderr, "usage: nlpipe FAMILY FLAGS HEX… | nlpipe FAMILY listen GROUP\n");
        return 2;
    }
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    Socket socket;
    const bool listen = std::string_view(argv[2]) == "listen";
    const Family family = resolve(socket, argv[1], listen ? argv[3] : "");
    if (!family.id || (listen && !family.group)) {
        std::fprintf(stderr, "nlpipe: no such family or group\n");
        return 3;
    }
    if (listen) {
        socket.join(family.group);
        std::printf("listening\n");
        for (;;) socket.receive([](const nlmsghdr &h) { print_hex(payload_of(h), payload_size(h)); });
    }
    for (int i = 3; i < argc; i++) ask(socket, family.id, static_cast<std::uint16_t>(std::stoul(argv[2])), from_hex(argv[i]));
    return 0;
}
