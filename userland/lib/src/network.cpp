// SPDX-License-Identifier: GPL-2.0
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "pav/host.hpp"

namespace pav {

namespace {

namespace fs = std::filesystem;

std::string line_of(const fs::path &file) {
    std::ifstream stream(file);
    std::string line;
    std::getline(stream, line);  // empty on any error: sysfs refuses some reads while a link is down
    return line;
}

bool same_address(const sockaddr *address, const std::string &ip) {
    in6_addr wanted{};
    if (address->sa_family == AF_INET && inet_pton(AF_INET, ip.c_str(), &wanted) == 1)
        return std::memcmp(&wanted, &reinterpret_cast<const sockaddr_in *>(address)->sin_addr, sizeof(in_addr)) == 0;
    if (address->sa_family == AF_INET6 && inet_pton(AF_INET6, ip.c_str(), &wanted) == 1)
        return std::memcmp(&wanted, &reinterpret_cast<const sockaddr_in6 *>(address)->sin6_addr, sizeof(in6_addr)) == 0;
    return false;
}

class RealNetwork : public Network {
  public:
    explicit RealNetwork(std::string sysfs) : sys_(std::move(sysfs)) {}

    InterfaceState look(const std::string &interface, const std::string &ip) override {
        InterfaceState state;
        const fs::path dir = sys_ / "class/net" / interface;
        std::error_code ec;
        state.exists = fs::exists(dir, ec);
        if (state.exists) {
            state.mac = line_of(dir / "address");
            state.mtu = static_cast<unsigned>(std::strtoul(line_of(dir / "mtu").c_str(), nullptr, 10));
            state.admin_up = std::strtoul(line_of(dir / "flags").c_str(), nullptr, 16) & IFF_UP;
            state.link_up = line_of(dir / "carrier") == "1";
            const std::string speed = line_of(dir / "speed");
            if (!speed.empty()) state.speed_mbps = std::atoi(speed.c_str());
            state.has_rdma = rdma_on(interface);
        }
        ifaddrs *all = nullptr;
        if (getifaddrs(&all) != 0) return state;
        for (const ifaddrs *one = all; one; one = one->ifa_next) {
            if (!one->ifa_addr || !same_address(one->ifa_addr, ip)) continue;
            if (interface == one->ifa_name)
                state.has_ip = true;
            else
                state.ip_elsewhere = one->ifa_name;
        }
        freeifaddrs(all);
        return state;
    }

  private:
    // Each GID of an RDMA device names the interface that it came from.
    bool rdma_on(const std::string &interface) const {
        std::error_code ec;
        for (const auto &device : fs::directory_iterator(sys_ / "class/infiniband", ec))
            for (const auto &port : fs::directory_iterator(device.path() / "ports", ec))
                for (const auto &gid : fs::directory_iterator(port.path() / "gid_attrs/ndevs", ec))
                    if (line_of(gid.path()) == interface) return true;
        return false;
    }
    fs::path sys_;
};

}  // namespace

std::unique_ptr<Network> real_network(std::string sysfs) { return std::make_unique<RealNetwork>(std::move(sysfs)); }

std::optional<std::string> why_not_ready(const Port &port, Protocol protocol, const InterfaceState &state) {
    if (!state.exists) return fmt::format("there is no interface {}", port.interface);
    if (!state.ip_elsewhere.empty() && !state.has_ip)
        return fmt::format("the address {} is on {}, not on {}", port.ip, state.ip_elsewhere, port.interface);
    if (!state.has_ip) return fmt::format("interface {} does not have the address {}", port.interface, port.ip);
    if (!state.admin_up) return fmt::format("interface {} is down", port.interface);
    if (protocol == Protocol::roce && !state.has_rdma)
        return fmt::format("there is no RDMA device on interface {} (soft-RoCE: rdma link add NAME type rxe netdev {})",
                           port.interface, port.interface);
    return std::nullopt;
}

}  // namespace pav
