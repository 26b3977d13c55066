// SPDX-License-Identifier: GPL-2.0
#include "pav/model.hpp"

#include <algorithm>
#include <cmath>
#include <charconv>
#include <limits>
#include <sstream>

#include <fmt/format.h>

#include "pav_netlink.h"

namespace pav {

std::string_view to_string(Protocol protocol) { return protocol == Protocol::roce ? "roce" : "tcp"; }
std::string_view display_name(Protocol protocol) {
    return protocol == Protocol::roce ? "NVMe over RoCE" : "NVMe over TCP";
}
std::string_view nvmet_transport(Protocol protocol) { return protocol == Protocol::roce ? "rdma" : "tcp"; }

std::optional<Protocol> protocol_from(std::string_view word) {
    if (word == "roce") return Protocol::roce;
    if (word == "tcp") return Protocol::tcp;
    return std::nullopt;
}

namespace {

std::optional<unsigned> to_unsigned(std::string_view text) {
    unsigned value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || text.empty()) return std::nullopt;
    return value;
}

std::vector<std::string> words_of(const std::string &text) {
    std::istringstream stream(text);
    std::vector<std::string> words;
    for (std::string word; stream >> word;) words.push_back(word);
    return words;
}

}  // namespace

Result<PortName> parse_port_name(std::string_view text) {
    const auto refuse = [&](std::string reason) {
        return Error{"use the port name", std::string(text), 0, std::move(reason),
                     "write SPEEDg-PORT/NUMBER, for example 100g-1/3: port 1 of 100 Gbit/s of controller or zone 3"};
    };
    const auto g = text.find("g-");
    const auto slash = text.find('/');
    if (g == std::string_view::npos || slash == std::string_view::npos || slash < g + 2)
        return refuse("it is not of the form SPEEDg-PORT/NUMBER");
    const auto speed = to_unsigned(text.substr(0, g));
    const auto ordinal = to_unsigned(text.substr(g + 2, slash - g - 2));
    const auto number = to_unsigned(text.substr(slash + 1));
    if (!speed || !ordinal || !number) return refuse("SPEED, PORT and NUMBER are decimal numbers");
    static constexpr std::array speeds{1U, 10U, 25U, 40U, 50U, 100U, 200U, 400U};
    if (std::find(speeds.begin(), speeds.end(), *speed) == speeds.end())
        return refuse(fmt::format("{} Gbit/s is no Ethernet speed known here (1, 10, 25, 40, 50, 100, 200, 400)", *speed));
    if (*ordinal < 1 || *ordinal > max_port_ordinal) return refuse(fmt::format("PORT is 1 to {}", max_port_ordinal));
    if (*number < 1 || *number > max_controllers) return refuse(fmt::format("NUMBER is 1 to {}", max_controllers));
    // "0100g-1/3" and "100g-1/3" would be two names for one port.
    if (fmt::format("{}g-{}/{}", *speed, *ordinal, *number) != text) return refuse("numbers have no leading zeros");
    return PortName{*speed, *ordinal, *number};
}

std::uint16_t nvmet_port_id(const Port &port) {
    return static_cast<std::uint16_t>(10000 + port.controller * 100 + port.parsed.ordinal);
}

const Port *Config::port(std::string_view name) const {
    const auto it = ports.find(std::string(name));
    return it == ports.end() ? nullptr : &it->second;
}

std::string to_string(const Uuid &uuid) {
    std::string text;
    for (std::size_t i = 0; i < uuid.size(); i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
        text += fmt::format("{:02x}", uuid[i]);
    }
    return text;
}

bool is_nil(const Uuid &uuid) {
    return std::all_of(uuid.begin(), uuid.end(), [](std::uint8_t byte) { return byte == 0; });
}

std::string_view to_string(GroupState state) {
    switch (state) {
    case GroupState::online: return "online";
    case GroupState::degraded: return "degraded";
    case GroupState::full: return "full";
    case GroupState::faulted: return "faulted";
    }
    return "unknown";
}

std::string_view to_string(DriveState state) {
    switch (state) {
    case DriveState::empty: return "empty";
    case DriveState::active: return "active";
    case DriveState::spare: return "spare";
    case DriveState::failed: return "failed";
    case DriveState::leaving: return "leaving";
    case DriveState::rebuilding: return "rebuilding";
    }
    return "unknown";
}

std::string_view to_string(TaskKind kind) { return kind == TaskKind::scrub ? "scrub" : "rebuild"; }

std::optional<double> percent_of(const Task &task) {
    if (!task.total) return std::nullopt;
    return 100.0 * static_cast<double>(std::min(task.done, task.total)) / static_cast<double>(task.total);
}

std::optional<std::uint64_t> seconds_left(const Task &task) {
    if (!task.running || !task.done || task.done > task.total) return std::nullopt;
    return task.seconds * (task.total - task.done) / task.done;
}

const Task *Group::running(TaskKind kind) const {
    for (const auto &task : tasks)
        if (task.kind == kind && task.running) return &task;
    return nullptr;
}

std::string_view status_of(const Group &group) {
    switch (group.state) {
    case GroupState::faulted: return "Faulted";
    case GroupState::full: return "Full";
    case GroupState::degraded:
    case GroupState::online: break;
    }
    if (group.running(TaskKind::rebuild)) return "Rebuilding";
    if (group.state == GroupState::degraded) return "Degraded";
    return group.provisioned_bytes > group.capacity_bytes ? "Overprovisioned" : "Online";
}

std::optional<Growth> growth_of(const Group &group) {
    constexpr std::uint64_t too_short = 60;
    if (group.used_seconds < too_short) return std::nullopt;
    const double grown = static_cast<double>(group.used_bytes) - static_cast<double>(group.used_before_bytes);
    return Growth{grown / static_cast<double>(group.used_seconds), group.used_seconds};
}

std::optional<std::uint64_t> seconds_to_full(const Group &group) {
    if (group.free_bytes == 0) return 0;
    const auto growth = growth_of(group);
    if (!growth || growth->bytes_per_second <= 0) return std::nullopt;
    return static_cast<std::uint64_t>(std::llround(static_cast<double>(group.free_bytes) / growth->bytes_per_second));
}

std::string time_to_full_text(const Group &group) {
    constexpr std::uint64_t long_time = std::uint64_t{10} * 365 * 86400;
    const auto seconds = seconds_to_full(group);
    if (!seconds) return growth_of(group) ? "no growth" : "not known yet";
    if (*seconds == 0) return "full";
    return *seconds > long_time ? "> 10 years" : duration_text(*seconds);
}

std::string overcommit_text(const Group &group) {
    if (!group.capacity_bytes) return "-";
    return fmt::format("{:.2f} : 1", static_cast<double>(group.provisioned_bytes) / static_cast<double>(group.capacity_bytes));
}

// ---- export settings ------------------------------------------------------------------------------------------------

bool Export::has_port(std::string_view name) const { return std::find(ports.begin(), ports.end(), name) != ports.end(); }

std::string Export::standby() const {
    for (const auto &port : ports)
        if (port != active) return port;
    return {};
}

Export export_of(const Props &props) {
    Export e;
    const auto value = [&](std::string_view key) {
        const auto it = props.find(std::string(key));
        return it == props.end() ? std::string() : it->second;
    };
    for (auto &name : words_of(value(prop_ports)))
        if (e.ports.size() < 2 && !e.has_port(name)) e.ports.push_back(std::move(name));
    e.active = value(prop_active);
    if (!e.has_port(e.active)) e.active = e.ports.empty() ? std::string() : e.ports.front();
    e.allow_any = value(prop_any) == "1";
    for (const auto &[key, nqn] : props)
        if (key.starts_with(prop_host) && !nqn.empty()) e.hosts.insert(nqn);
    if (e.allow_any) e.hosts.clear();
    e.nqn = value(prop_nqn);
    return e;
}

Props props_of(const Export &exported) {
    Props props;
    if (!exported.ports.empty()) {
        std::string names = exported.ports.front();
        if (exported.ports.size() > 1) names += " " + exported.ports[1];
        props.emplace(prop_ports, names);
        if (exported.active != exported.ports.front()) props.emplace(prop_active, exported.active);
    }
    if (exported.allow_any) props.emplace(prop_any, "1");
    std::size_t number = 0;
    for (const auto &host : exported.hosts) props.emplace(fmt::format("{}{}", prop_host, number++), host);
    if (!exported.nqn.empty()) props.emplace(prop_nqn, exported.nqn);
    return props;
}

std::map<std::string, std::optional<std::string>> prop_changes(const Props &now, const Export &wanted) {
    std::map<std::string, std::optional<std::string>> changes;
    Props want = props_of(wanted);
    // Each property becomes durable by itself. A host keeps the one it has, so that whatever a power cut leaves of the changes, no
    // host is shut out that should not be.
    std::erase_if(want, [](const auto &prop) { return prop.first.starts_with(prop_host); });
    std::set<std::string> hosts = wanted.hosts;
    for (const auto &[key, value] : now)
        if (key.starts_with(prop_host) && hosts.erase(value)) want.emplace(key, value);
    std::size_t number = 0;
    for (const auto &host : hosts) {
        while (now.contains(fmt::format("{}{}", prop_host, number))) number++;
        want.emplace(fmt::format("{}{}", prop_host, number++), host);
    }
    for (const auto &[key, value] : now)
        if (key.starts_with("export.") && !want.contains(key)) changes[key] = std::nullopt;
    for (const auto &[key, value] : want) {
        const auto it = now.find(key);
        if (it == now.end() || it->second != value) changes[key] = value;
    }
    return changes;
}

std::string nqn_of(const Volume &volume) {
    const auto it = volume.props.find(std::string(prop_nqn));
    return it == volume.props.end() || it->second.empty() ? volume.serial : it->second;
}

// ---- names and sizes ------------------------------------------------------------------------------------------------

Result<void> check_name(std::string_view kind, std::string_view name) {
    const auto good = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
    };
    std::string reason;
    if (name.empty())
        reason = "it is empty";
    else if (name.size() > PAV_NAME_MAX)
        reason = fmt::format("it has {} characters, at most {} are possible", name.size(), PAV_NAME_MAX);
    else if (!std::all_of(name.begin(), name.end(), good))
        reason = "only letters, digits, '.', '_' and '-' are possible";
    else if (!good(name[0]) || name[0] == '.' || name[0] == '_' || name[0] == '-')
        reason = "it must begin with a letter or a digit";
    if (reason.empty()) return {};
    return Error{fmt::format("use the {} name", kind), std::string(name), 0, reason, "choose another name"};
}

Result<void> check_nqn(std::string_view nqn) {
    std::string reason;
    if (nqn.empty())
        reason = "it is empty";
    else if (nqn.size() > 223)
        reason = fmt::format("it has {} characters, at most 223 are possible", nqn.size());
    else if (!nqn.starts_with("nqn."))
        reason = "a host's NQN begins with \"nqn.\"";
    else if (std::any_of(nqn.begin(), nqn.end(), [](char c) { return c <= ' ' || c == '/' || c > '~'; }))
        reason = "blanks, '/' and non-ASCII characters are not possible";
    if (reason.empty()) return {};
    return Error{"use the host NQN", std::string(nqn), 0, reason, "take it from /etc/nvme/hostnqn on the host"};
}

Result<void> check_serial(std::string_view serial) {
    std::string reason;
    const auto alphanumeric = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); };
    if (serial.empty() || serial.size() > PAV_SERIAL_MAX)
        reason = fmt::format("a serial has 1 to {} characters", PAV_SERIAL_MAX);
    else if (!alphanumeric(serial[0]))
        reason = "it must begin with a letter or a digit";
    else if (!std::all_of(serial.begin(), serial.end(), [&](char c) { return alphanumeric(c) || std::string_view("._:-").find(c) != std::string_view::npos; }))
        reason = "only letters, digits, '.', '_', ':' and '-' are possible";
    if (reason.empty()) return {};
    return Error{"use the serial", std::string(serial), 0, reason, "choose another one"};
}

Result<void> check_model(std::string_view model) {
    std::string reason;
    if (!model.starts_with("PVL-"))
        reason = "it must begin with \"PVL-\", which multipath configurations look for";
    else if (model.size() > 40)
        reason = fmt::format("it has {} characters, at most 40 are possible", model.size());
    else if (std::any_of(model.begin(), model.end(), [](char c) { return c < ' ' || c > '~'; }) || model.back() == ' ')
        reason = "only printable ASCII is possible, and no blank at the end";
    if (reason.empty()) return {};
    return Error{"use the model", std::string(model), 0, reason, "for example \"PVL-PAVRAID\""};
}

Result<std::uint64_t> parse_size(std::string_view number, std::string_view unit) {
    const auto refuse = [&](std::string reason) {
        return Error{"use the size", fmt::format("{} {}", number, unit), 0, std::move(reason),
                     "write for example \"100 GB\"; GB, MB and TB are powers of 1024 here"};
    };
    std::string letters(unit);
    std::transform(letters.begin(), letters.end(), letters.begin(),
                   [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
    unsigned shift = 0;
    if (letters == "MB" || letters == "MIB" || letters == "M")
        shift = 20;
    else if (letters == "GB" || letters == "GIB" || letters == "G")
        shift = 30;
    else if (letters == "TB" || letters == "TIB" || letters == "T")
        shift = 40;
    else
        return refuse(fmt::format("the unit \"{}\" is not known (MB, GB, TB)", unit));
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
    if (error == std::errc::result_out_of_range) return refuse("the number is too large");
    if (error != std::errc{} || end != number.data() + number.size()) return refuse("the size is a whole number");
    if (value == 0) return refuse("the size is zero");
    if (value > (PAV_VOLUME_MAX_BYTES >> shift))
        return refuse(fmt::format("a volume has at most {}", size_text(PAV_VOLUME_MAX_BYTES)));
    return value << shift;
}

std::string size_text(std::uint64_t bytes) {
    struct Unit {
        unsigned shift;
        const char *name;
    };
    for (const auto &[shift, name] : {Unit{40, "TB"}, Unit{30, "GB"}, Unit{20, "MB"}, Unit{10, "KB"}}) {
        if (bytes >> shift == 0) continue;
        if ((bytes & ((std::uint64_t{1} << shift) - 1)) == 0) return fmt::format("{} {}", bytes >> shift, name);
        const double value = static_cast<double>(bytes) / static_cast<double>(std::uint64_t{1} << shift);
        return fmt::format("{:.2f} {}", value, name);
    }
    return fmt::format("{} bytes", bytes);
}

std::string duration_text(std::uint64_t seconds) {
    const auto two = [](std::uint64_t large, const char *unit, std::uint64_t small, const char *rest) {
        return small ? fmt::format("{} {} {} {}", large, unit, small, rest) : fmt::format("{} {}", large, unit);
    };
    if (seconds < 60) return fmt::format("{} s", seconds);
    if (seconds < 3600) return two(seconds / 60, "min", seconds < 600 ? seconds % 60 : 0, "s");
    if (seconds < 2 * 86400) return two(seconds / 3600, "h", seconds % 3600 / 60, "min");
    return fmt::format("{} days", seconds / 86400);
}

std::optional<std::string> nearest(std::string_view word, const std::vector<std::string> &candidates) {
    std::optional<std::string> best;
    std::size_t best_distance = std::numeric_limits<std::size_t>::max();
    for (const auto &candidate : candidates) {
        // Edit distance with transpositions, three rows.
        const std::size_t n = candidate.size();
        std::vector<std::size_t> before(n + 1), last(n + 1), row(n + 1);
        for (std::size_t j = 0; j <= n; j++) last[j] = j;
        for (std::size_t i = 1; i <= word.size(); i++) {
            row[0] = i;
            for (std::size_t j = 1; j <= n; j++) {
                const std::size_t cost = word[i - 1] == candidate[j - 1] ? 0 : 1;
                row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + cost});
                if (i > 1 && j > 1 && word[i - 1] == candidate[j - 2] && word[i - 2] == candidate[j - 1])
                    row[j] = std::min(row[j], before[j - 2] + 1);
            }
            before = last;
            last = row;
        }
        std::size_t distance = last[n];
        if (!word.empty() && candidate.starts_with(word)) distance = std::min<std::size_t>(distance, 1);
        if (distance < best_distance) {
            best_distance = distance;
            best = candidate;
        }
    }
    const std::size_t tolerated = std::max<std::size_t>(1, std::max(word.size(), best ? best->size() : 0) / 3);
    if (best_distance > tolerated) return std::nullopt;
    return best;
}

}  // namespace pav
