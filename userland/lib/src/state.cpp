// SPDX-License-Identifier: GPL-2.0
#include "pav/state.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace pav {

using nlohmann::json;

Result<HostState> load_state(const std::string &file) {
    std::error_code ec;
    if (!std::filesystem::exists(file, ec) && !ec) return HostState{};
    std::ifstream stream(file);
    std::stringstream text;
    text << stream.rdbuf();
    if (!stream) {
        const int err = errno;
        return Error{"read the state of this host", file, err, "", "check the file's permissions"};
    }
    const char *remedy = "mend it or remove it: protocols are then those of the configuration file";
    try {
        const json parsed = json::parse(text.str());
        HostState state;
        const json controllers = parsed.value("controllers", json::object()), groups = parsed.value("groups", json::object());
        for (const auto &[id, value] : controllers.items()) {
            const auto protocol = protocol_from(value.at("protocol").get<std::string>());
            if (!protocol)
                return Error{"read the state of this host", file, 0,
                             fmt::format("/controllers/{}/protocol is not known", id), remedy};
            state.protocols[static_cast<unsigned>(std::stoul(id))] = *protocol;
        }
        for (const auto &[uuid, value] : groups.items()) {
            state.groups[uuid] = {value.value("name", ""), value.value("zone", 0U), value.value("exported", false)};
        }
        return state;
    } catch (const std::exception &e) {  // json's and stoul's: both mean a damaged file
        return Error{"read the state of this host", file, 0, e.what(), remedy};
    }
}

Result<void> save_state(const std::string &file, const HostState &state) {
    json out{{"controllers", json::object()}, {"groups", json::object()}};
    for (const auto &[id, protocol] : state.protocols)
        out["controllers"][std::to_string(id)]["protocol"] = to_string(protocol);
    for (const auto &[uuid, group] : state.groups) {
        json &entry = out["groups"][uuid] = {{"name", group.name}};
        if (group.zone) entry["zone"] = group.zone;
        if (group.exported) entry["exported"] = true;
    }
    const std::string text = out.dump(2) + "\n";

    const auto failed = [&](int err) {
        return Error{"write the state of this host", file, err, "", "check that the directory can be written"};
    };
    std::error_code ec;
    std::filesystem::create_directories(std::filesystem::path(file).parent_path(), ec);
    if (ec) return failed(ec.value());
    const std::string fresh = file + ".new";
    const int fd = open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) return failed(errno);
    const ssize_t written = write(fd, text.data(), text.size());
    const int err = written == static_cast<ssize_t>(text.size()) ? (fsync(fd) == 0 ? 0 : errno) : (written < 0 ? errno : ENOSPC);
    close(fd);
    if (err) {
        unlink(fresh.c_str());
        return failed(err);
    }
    if (rename(fresh.c_str(), file.c_str()) != 0) return failed(errno);
    // The new name has to outlive a power cut too.
    const int dir = open(std::filesystem::path(file).parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) return failed(errno);
    const int lost = fsync(dir) == 0 ? 0 : errno;
    close(dir);
    if (lost) return failed(lost);
    return {};
}

void overlay(Config &config, const HostState &state) {
    for (const auto &[id, protocol] : state.protocols) {
        const auto it = config.controllers.find(id);
        if (it == config.controllers.end() || it->second.protocol == protocol) continue;
        it->second.protocol_in_file = it->second.protocol;
        it->second.protocol = protocol;
    }
}

}  // namespace pav
