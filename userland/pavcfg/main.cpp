// SPDX-License-Identifier: GPL-2.0
//
// pavcfg on the real machine: the kernel's engine, nvmet's configfs, this host's drives and interfaces.
#include <unistd.h>

#include <chrono>
#include <exception>
#include <iostream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "pav/config.hpp"
#include "pav/netlink.hpp"
#include "pavcfg/render.hpp"
#include "pavcfg/run.hpp"

namespace {

using namespace pav;

int show_events(const cli::Call &call, const cli::Options &options, cli::Session &session) {
    const auto say = [&](const Error &error) {
        if (options.json)
            session.out << cli::error_json(error).dump() << std::endl;
        else
            session.err << "pavcfg: " << error.to_text() << "\n";
    };
    auto stream = EventStream::open();
    if (!stream) {
        say(stream.error());
        return cli::exit_refused;
    }
    const unsigned seconds = call.number("seconds");
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    for (;;) {
        auto patience = std::chrono::milliseconds(60000);
        if (seconds) {
            const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
            if (left.count() <= 0) return cli::exit_ok;
            patience = std::min(patience, left);
        }
        const auto event = stream->next(patience);
        if (!event) {
            say(event.error());
            if (event.error().err != ENOBUFS) return cli::exit_refused;
            continue;
        }
        if (!*event) continue;
        const EngineEvent &e = **event;
        if (options.json) {
            nlohmann::json line{{"type", e.type}, {"group", e.group}, {"volume", e.volume}, {"drive", e.drive_path}, {"text", e.text}};
            if (e.slot) line["slot"] = *e.slot;
            if (e.value) line["value"] = *e.value;
            session.out << line.dump() << std::endl;
        } else {
            session.out << fmt::format("{}: {}{}{}{}", e.type, e.group, e.volume.empty() ? "" : "/" + e.volume,
                                       e.drive_path.empty() ? "" : " " + e.drive_path, e.text.empty() ? "" : ": " + e.text) << std::endl;
        }
    }
}

}  // namespace

int main(int argc, char **argv) {
    try {
        const auto tree = nvmet::real_tree();
        const auto network = real_network();
        const auto drives = real_drive_inspector();
        const auto modules = real_modules();
        const auto clock = real_clock();
        cli::Session session{
            std::cout, std::cerr, std::cin, isatty(STDIN_FILENO) == 1, load_config,
            [&] {
                return Machine{open_kernel_engine, *tree, *network, *drives, *modules, *clock, real_random()};
            },
            show_events};
        return cli::run({argv + 1, argv + argc}, session);
    } catch (const std::exception &e) {  // out of memory, a broken invariant: say it, do not abort
        std::cerr << "pavcfg: " << e.what() << "\n";
        return cli::exit_refused;
    }
}
