// SPDX-License-Identifier: GPL-2.0
#include "pavcfg/run.hpp"

#include <algorithm>
#include <chrono>
#include <iostream>
#include <sstream>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "pav/config.hpp"
#include "pavcfg/render.hpp"

namespace pav::cli {

namespace {

int fail(const Error &error, int code, const Options &options, Session &session) {
    if (options.json)
        session.out << error_json(error).dump(2) << "\n";
    else
        session.err << "pavcfg: " << error.to_text() << "\n";
    return code;
}

bool is_look(Id id) { return id >= Id::show_groups && id <= Id::show_mapped_network; }

int report(const Result<Outcome> &result, const Options &options, Session &session) {
    if (!result) return fail(result.error(), exit_refused, options, session);
    const int code = result->left_out.empty() ? exit_ok : exit_partial;
    if (options.json) {
        session.out << outcome_json(*result, options.dry_run).dump(2) << "\n";
        return code;
    }
    if (options.dry_run && !options.quiet) session.out << "Dry run, nothing is changed. It would be:\n";
    for (const auto &line : result->done) session.out << line << "\n";
    if (result->nothing() && !options.quiet) session.out << "Nothing to do: it is so already.\n";
    if (options.dry_run && !result->plan.empty()) session.out << "In nvmet:\n" << result->plan.to_text();
    for (const auto &volume : result->volumes) {
        session.out << "Block Device: " << volume.block_device << "\nDevice Serial: " << volume.serial << "\n";
        if (nqn_of(volume) != volume.serial) session.out << "Subsystem NQN: " << nqn_of(volume) << "\n";
    }
    if (!options.quiet)
        for (const auto &warning : result->warnings) session.err << "pavcfg: note: " << warning << "\n";
    for (const auto &left : result->left_out)
        session.err << "pavcfg: left out: "
                    << (left.volume.empty() ? "" : "volume " + left.volume + ": ")
                    << (left.volume.empty() && !left.port.empty() ? "port " + left.port + ": " : "") << left.reason << "\n";
    return code;
}

bool confirmed(const Call &call, const Options &options, Session &session, int &code) {
    const Command &command = *call.command;
    if (command.question.empty() || options.yes || options.dry_run) return true;
    code = exit_refused;
    if (!session.interactive) {
        fail({std::string(command.words), call.text("name"), 0, std::string(command.question.substr(0, command.question.size() - 1)), "add --yes if this is meant"},
             code, options, session);
        return false;
    }
    session.err << command.question << " Go on? (yes/no) " << std::flush;
    std::string answer;
    std::getline(session.in, answer);
    if (answer == "yes" || answer == "y") return true;
    session.err << "Nothing was done.\n";
    return false;
}

PathSelector selector_of(const Call &call) {
    PathSelector which;
    which.group = call.text("grpname");
    if (call.has("volume")) which.volume = VolumeRef{call.text("volume"), which.group};
    which.port = call.text("port-name");
    which.controller = call.number("controller");
    return which;
}

Result<Outcome> change(const Call &call, Array &array) {
    const VolumeRef volume{call.text(call.has("name") ? "name" : "volume"), call.text("grpname")};
    switch (call.command->id) {
    case Id::create_group: {
        std::optional<unsigned> data, reserve;
        if (call.has("data")) data = call.number("data");
        if (call.has("reserve")) reserve = call.number("reserve");
        return array.create_group(call.text("name"), call.number("zone"), call.list("drives"), call.list("spares"), data, reserve);
    }
    case Id::create_volume: {
        std::optional<NqnForm> form;
        if (call.has("nqn")) form = call.text("nqn") == "uuid" ? NqnForm::uuid : NqnForm::serial;
        return array.create_volume(call.text("name"), call.text("grpname"), call.size("size"), form);
    }
    case Id::assign_volume: return array.assign(volume, call.text("port-name"), call.has("preferred"));
    case Id::unassign_volume: return array.unassign(volume, call.text("port-name"));
    case Id::allow_host: return array.allow_host(volume, call.text("host"));
    case Id::disallow_host: return array.disallow_host(volume, call.text("host"));
    case Id::failover: return array.failover(selector_of(call));
    case Id::failback: return array.failback(selector_of(call));
    case Id::configure_controller: return array.configure_controller(call.number("id"), *protocol_from(call.text("protocol")));
    case Id::grow_volume: return array.grow_volume(volume, call.size("size"));
    case Id::rename_volume: return array.rename_volume(volume, call.text("new-name"));
    case Id::delete_volume: return array.delete_volume(volume);
    case Id::delete_group: return array.delete_group(call.text("name"));
    case Id::import_group: return array.import_group(call.text("name"), call.number("zone"), call.list("drives"), call.has("takeover"));
    case Id::export_group: return array.export_group(call.text("name"));
    case Id::checkpoint_group: return array.checkpoint_group(call.text("name"));
    case Id::wipe_drives: return array.wipe_drives(call.list("drives"), call.has("takeover"));
    case Id::fail_drive: return array.fail_drive(call.text("grpname"), call.number("slot"));
    case Id::replace_drive: return array.replace_drive(call.text("group"), call.text("drive"), call.text("with"));
    case Id::add_drives: return array.add_drives(call.text("group"), call.list("drives"), call.list("spares"));
    case Id::remove_drive: return array.remove_drive(call.text("group"), call.text("drive"));
    case Id::return_drive: return array.return_drives(call.text("drive"));
    case Id::scrub_group: return array.scrub(call.text("group"), !call.has("stop"));
    case Id::restore: return array.restore();
    default: return Error{"run", std::string(call.command->words), 0, "it changes nothing", ""};
    }
}

// What runs in the groups now, for one line; empty: nothing.
std::string progress_of(const std::vector<Group> &groups, const std::string &only) {
    std::vector<std::string> parts;
    for (const auto &group : groups)
        for (const auto &task : group.tasks)
            if (task.running && (only.empty() || group.name == only)) parts.push_back(fmt::format("{} of {}: {}", to_string(task.kind), group.name, progress_text(task)));
    return fmt::format("{}", fmt::join(parts, "; "));
}

// Waits until nothing runs in the background, telling how far it is: on a terminal in one line, elsewhere each ten seconds.
int watch(Array &array, const std::string &only, const Options &options, Session &session) {
    Clock &clock = session.machine().clock;
    const auto began = clock.now();
    std::optional<std::chrono::milliseconds> said;
    unsigned quiet = 0;  // looks at which nothing ran: what was asked for may not have begun yet
    for (;;) {
        const auto groups = array.groups();
        if (!groups) return fail(groups.error(), exit_refused, options, session);
        const std::string line = progress_of(*groups, only);
        quiet = line.empty() ? quiet + 1 : 0;
        const auto now = clock.now();
        const bool late = options.wait_seconds && now - began >= std::chrono::seconds(*options.wait_seconds);
        if (!options.quiet && !line.empty()) {
            if (session.interactive)
                session.err << "\r\033[K" << line << std::flush;
            else if (!said || now - *said >= std::chrono::seconds(10) || late)
                session.err << "pavcfg: " << line << "\n" << std::flush, said = now;
        }
        if (quiet >= 4 || late) {
            if (session.interactive && !options.quiet) session.err << "\r\033[K" << std::flush;
            bool lost = false;
            for (const auto &group : *groups)
                if (only.empty() || group.name == only) {
                    lost |= group.state == GroupState::faulted;
                    for (const auto &task : group.tasks) lost |= task.lost != 0;
                }
            return line.empty() && !lost ? exit_ok : exit_partial;
        }
        clock.sleep(std::chrono::milliseconds(line.empty() ? 300 : 1000));
    }
}

std::optional<Error> unknown_group(const Snapshot &snap, const std::string &name) {
    std::vector<std::string> names;
    for (const auto &view : snap.groups) names.push_back(view.group.name);
    if (name.empty() || std::find(names.begin(), names.end(), name) != names.end()) return std::nullopt;
    const auto near = nearest(name, names);
    return Error{"show the group", name, ENOENT, "there is no such group", near ? fmt::format("did you mean {}?", *near) : "see pavcfg show groups"};
}

int show(const Call &call, Array &array, const Options &options, Session &session) {
    const auto result = array.snapshot();
    if (!result) return fail(result.error(), exit_refused, options, session);
    const Snapshot &snap = *result;
    const Id id = call.command->id;
    const bool needs_engine = id == Id::show_groups || id == Id::show_drives || id == Id::show_tasks || id == Id::show_volumes || id == Id::show_volume ||
                              id == Id::show_hosts;
    if (needs_engine && !snap.engine_loaded)
        return fail({"look at", std::string(call.command->words.substr(5)), ENOENT, "the module pavraid is not loaded", "pavcfg restore, or modprobe pavraid"},
                    exit_refused, options, session);
    const std::string group = call.text(id == Id::show_groups ? "name" : id == Id::show_tasks ? "group" : "grpname");
    if (const auto unknown = unknown_group(snap, group)) return fail(*unknown, exit_refused, options, session);

    const auto print = [&](const std::string &text, const nlohmann::json &json) { session.out << (options.json ? json.dump(2) + "\n" : text); };
    switch (id) {
    case Id::show_groups: print(groups_text(snap, group), groups_json(snap, group)); break;
    case Id::show_drives: {
        const auto closed = group.empty() ? array.closed_drives() : std::vector<DriveLabel>{};
        print(drives_text(snap, closed, group), drives_json(snap, closed, group));
        break;
    }
    case Id::show_tasks: {
        if (!options.watch) {
            print(tasks_text(snap.groups, group), tasks_json(snap.groups, group));
            break;
        }
        const int code = watch(array, group, options, session);
        const auto after = array.snapshot();
        if (!after) return fail(after.error(), exit_refused, options, session);
        print(tasks_text(after->groups, group), tasks_json(after->groups, group));
        return code;
    }
    case Id::show_volumes: print(volumes_text(snap, group), volumes_json(snap, group)); break;
    case Id::show_volume: {
        const auto volume = array.find_volume({call.text("name"), group});
        if (!volume) return fail(volume.error(), exit_refused, options, session);
        for (const auto &view : snap.volumes)
            if (view.volume.full_name() == volume->full_name()) print(volume_text(view), volume_json(view));
        break;
    }
    case Id::show_controllers: print(controllers_text(snap), controllers_json(snap)); break;
    case Id::show_ports: print(ports_text(snap), ports_json(snap)); break;
    case Id::show_hosts: print(hosts_text(snap), hosts_json(snap)); break;
    case Id::show_mapped_network: {
        const Protocol protocol = call.text("name") == "nvmeroce" ? Protocol::roce : Protocol::tcp;
        print(mapped_network_text(snap, protocol), mapped_network_json(snap, protocol));
        break;
    }
    case Id::show_status:
        print(status_text(snap), status_json(snap));
        return snap.needs_attention() ? exit_partial : exit_ok;
    default: break;
    }
    return exit_ok;
}

int run_words(const std::vector<std::string> &words, const Options &options, Session &session) {
    const auto call = parse(words);
    if (!call) return fail(call.error(), exit_usage, options, session);
    const Id id = call->command->id;
    if (id == Id::help) {
        const std::string text = help_for(call->list("topic"));
        if (text.empty())
            return fail({"explain", fmt::format("\"{}\"", fmt::join(call->list("topic"), " ")), 0, "there is no such command", "see pavcfg help"}, exit_usage, options, session);
        session.out << text;
        return exit_ok;
    }
    if (id == Id::show_events) return session.events(*call, options, session);

    auto config = session.load(options.config_file);
    if (!config) return fail(config.error(), exit_config, options, session);
    if (!options.module.empty()) config->module = options.module;
    int code = exit_ok;
    if (!confirmed(*call, options, session, code)) return code;

    ArrayOptions array_options;
    array_options.dry_run = options.dry_run;
    array_options.wait_seconds = options.wait_seconds;
    if (!options.quiet) array_options.progress = [&session](const std::string &line) { session.err << "pavcfg: " << line << "\n" << std::flush; };
    Array array(std::move(config).value(), session.machine(), array_options);
    if (is_look(id)) return show(*call, array, options, session);
    code = report(change(*call, array), options, session);
    return options.watch && code == exit_ok && !options.dry_run ? watch(array, call->text("group"), options, session) : code;
}

// Values for the completion; whatever cannot be had is simply not offered.
std::vector<std::string> values_of(ArgType type, const Options &options, Session &session) {
    std::vector<std::string> values;
    if (type == ArgType::host) values.emplace_back("any");
    auto config = session.load(options.config_file);
    if (!config) return values;
    if (type == ArgType::port)
        for (const auto &[name, port] : config->ports) values.push_back(name);
    if (type == ArgType::drives || type == ArgType::drive) {
        const auto found = session.machine().drives.candidates(config->drive_patterns);
        if (found) values = *found;
    }
    if (type != ArgType::group && type != ArgType::volume) return values;
    const auto engine = session.machine().open_engine();
    if (!engine) return values;
    if (type == ArgType::group) {
        if (const auto groups = (*engine)->groups())
            for (const auto &group : *groups) values.push_back(group.name);
    } else if (const auto volumes = (*engine)->volumes()) {
        for (const auto &volume : *volumes) values.push_back(volume.name);
    }
    return values;
}

// `pavcfg complete PARTIAL WORDS…`: what the shell's completion asks.
int run_complete(const std::vector<std::string> &arguments, Session &session) {
    Options options;
    const std::string partial = arguments.size() > 1 ? arguments[1] : "";
    std::vector<std::string> words;
    for (std::size_t i = 2; i < arguments.size(); i++) {
        const std::string &word = arguments[i];
        const bool with_value = word == "--config" || word == "--module" || word == "--wait";
        if (word == "--config" && i + 1 < arguments.size()) options.config_file = arguments[i + 1];
        if (with_value)
            i++;
        else if (!word.starts_with("--"))
            words.push_back(word);
    }
    for (const auto &word : complete(words, partial, [&](ArgType type) { return values_of(type, options, session); })) session.out << word << "\n";
    return exit_ok;
}

std::vector<std::string> words_of_line(const std::string &line) {
    std::istringstream stream(line);
    std::vector<std::string> words;
    for (std::string word; stream >> word;) {
        if (word.starts_with('#')) break;
        words.push_back(word);
    }
    return words;
}

int run_line(const std::vector<std::string> &arguments, Options options, Session &session);

// The guide's shell: namespaces `config` and `show`, commands of the other one still understood. From a file or pipe it stops
// at the first failure.
int run_shell(const Options &options, Session &session) {
    std::string space;
    const auto prompt = [&] {
        if (session.interactive) session.out << (space.empty() ? "pavcfg> " : "(" + space + ") ") << std::flush;
    };
    int code = exit_ok;
    prompt();
    for (std::string line; std::getline(session.in, line); prompt()) {
        auto words = words_of_line(line);
        if (words.empty()) continue;
        if (words[0] == "exit" || words[0] == "quit") break;
        if (words[0] == "switch") {
            if (words.size() == 2 && (words[1] == "config" || words[1] == "show")) {
                space = words[1];
                session.out << "Switched to " << space << " namespace\n";
                code = exit_ok;
            } else {
                code = fail({"switch to", words.size() > 1 ? words[1] : "", 0, "there are two namespaces", "switch config, or switch show"}, exit_usage, options, session);
            }
        } else {
            // In the show namespace "ports" is "show ports"; a whole command of the other namespace stays what it is.
            const auto first_word = [&](const Command &command) { return command.words == words[0] || command.words.starts_with(words[0] + " "); };
            if (space == "show" && std::none_of(commands().begin(), commands().end(), first_word)) words.insert(words.begin(), "show");
            code = run_line(words, options, session);
        }
        if (code != exit_ok && !session.interactive) return code;
    }
    return session.interactive ? exit_ok : code;
}

int run_line(const std::vector<std::string> &arguments, Options options, Session &session) {
    std::vector<std::string> words;
    bool help = false, version = false, takeover = false;
    CLI::App app;
    app.set_help_flag();
    app.add_flag("--json", options.json);
    app.add_flag("--dry-run", options.dry_run);
    app.add_flag("--yes,-y", options.yes);
    app.add_flag("--quiet,-q", options.quiet);
    app.add_flag("--watch", options.watch);
    app.add_flag("--help,-h", help);
    app.add_flag("--version", version);
    app.add_flag("--takeover", takeover);  // a parameter of some commands, which deserves to be seen
    app.add_option("--config", options.config_file);
    app.add_option("--module", options.module);
    app.add_option("--wait", options.wait_seconds)->check(CLI::Range(0, 86400));
    app.add_option("words", words);
    if (!arguments.empty() && arguments.front() == "complete") return run_complete(arguments, session);
    try {
        app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
    } catch (const CLI::ParseError &e) {
        return fail({"understand", "the options", 0, e.what(), "see pavcfg help"}, exit_usage, options, session);
    }
    if (version) {
        session.out << "pavcfg 1\n";
        return exit_ok;
    }
    if (takeover) words.emplace_back("takeover");
    if (help) words.insert(words.begin(), "help");
    if (!words.empty() && words.front() == "manual") {
        session.out << manual_section();
        return exit_ok;
    }
    if (words.empty()) return run_shell(options, session);
    return run_words(words, options, session);
}

}  // namespace

int run(const std::vector<std::string> &arguments, Session &session) { return run_line(arguments, {}, session); }

}  // namespace pav::cli
