// SPDX-License-Identifier: GPL-2.0
//
// The common ground of all commands: opening what is needed, and bringing nvmet after what is recorded.
#include "pav/array.hpp"
#include "pav/signals.hpp"

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace pav {

Array::Array(Config config, Machine machine, ArrayOptions options)
    : config_(std::move(config)), machine_(std::move(machine)), options_(std::move(options)) {
    if (!options_.progress) options_.progress = [](const std::string &) {};
}

// Opens the engine, and for a change loads what is missing and locks others out. A dry run changes nothing: it gets the
// engine's objects as a copy.
Result<void> Array::begin(Access access) {
    if (engine_) return {};
    const bool change = access == Access::change && !options_.dry_run;
    if (change) {
        std::error_code ec;
        std::filesystem::create_directories(std::filesystem::path(machine_.owned_file).parent_path(), ec);
        auto lock = nvmet::OwnedLock::take(machine_.owned_file);
        if (!lock) return lock.error();
        lock_ = std::move(lock).value();
    }
    auto state = load_state(machine_.state_file);
    if (!state) return state.error();
    state_ = saved_state_ = std::move(state).value();
    overlay(config_, state_);

    auto engine = machine_.open_engine();
    if (!engine && engine.error().err == ENOENT && change) {
        const std::string module = config_.module.empty() ? "pavraid" : config_.module;
        options_.progress("loading the module " + module);
        if (auto loaded = machine_.modules.load(module); !loaded) return loaded;
        engine = machine_.open_engine();
    }
    if (engine) {
        real_engine_ = std::move(engine).value();
        engine_ = real_engine_.get();
    } else if (engine.error().err != ENOENT || change) {
        return engine.error();
    }
    if (engine_ && (!options_.dry_run || access == Access::look)) return {};

    if (engine_) {
        auto copy = MemoryEngine::copy_of(*engine_);
        if (!copy) return copy.error();
        dry_engine_ = std::move(copy).value();
    } else {
        dry_engine_ = std::make_unique<MemoryEngine>();  // as the module would be just after loading
    }
    engine_ = dry_engine_.get();
    // nvmet would let go of the volumes it holds; only other users count.
    const auto current = read_nvmet();
    const auto volumes = engine_->volumes();
    if (current && volumes)
        for (const auto &volume : *volumes)
            if (volume.openers && live_of(config_, volume, *current).served)
                dry_engine_->set_openers(volume.full_name(), volume.openers - 1);
    return {};
}

Result<nvmet::State> Array::read_nvmet(bool *loaded) {
    auto current = nvmet::read_state(machine_.tree);
    const auto absent = [&] { return !current && current.error().err == ENOENT; };
    // Without the lock, another command may take away what was listed a moment ago: that is not nvmet's absence.
    for (int again = 0; again < 10 && absent() && !lock_ && machine_.tree.list("hosts"); again++) current = nvmet::read_state(machine_.tree);
    if (absent() && lock_) {
        if (auto done = machine_.modules.load("nvmet"); !done) return done.error();
        if (auto done = machine_.modules.mount_configfs(); !done) return done.error();
        current = nvmet::read_state(machine_.tree);
    }
    if (loaded) *loaded = current.ok();
    if (absent() && !lock_ && !machine_.tree.list("hosts")) return nvmet::State{};
    return current;
}

Result<Group> Array::find_group(const std::string &name) {
    auto groups = engine_->groups();
    if (!groups) return groups.error();
    std::vector<std::string> names;
    for (const auto &group : *groups) {
        if (group.name == name) return group;
        names.push_back(group.name);
    }
    const auto near = nearest(name, names);
    return Error{"find the group", name, ENOENT, "there is no such group",
                 near           ? fmt::format("did you mean {}?", *near)
                 : names.empty() ? "there is none at all: pavcfg create group …, or pavcfg import group"
                                 : fmt::format("there are: {}", fmt::join(names, ", "))};
}

Result<Volume> Array::find_volume(const VolumeRef &ref) {
    auto volumes = engine_->volumes();
    if (!volumes) return volumes.error();
    std::vector<Volume> found;
    std::vector<std::string> names;
    for (const auto &volume : *volumes) {
        if (!ref.group.empty() && volume.group != ref.group) continue;
        if (volume.name == ref.name || volume.full_name() == ref.name) found.push_back(volume);
        names.push_back(volume.name);
    }
    if (found.size() == 1) return found.front();
    if (found.size() > 1) {
        std::vector<std::string> groups;
        for (const auto &volume : found) groups.push_back(volume.group);
        return Error{"find the volume", ref.name, 0, fmt::format("groups {} each have one of this name", fmt::join(groups, " and ")),
                     fmt::format("add: grpname {}", groups.front())};
    }
    if (!ref.group.empty())
        if (auto group = find_group(ref.group); !group) return group.error();
    const auto near = nearest(ref.name, names);
    return Error{"find the volume", ref.name, ENOENT, "there is no such volume",
                 near           ? fmt::format("did you mean {}?", *near)
                 : names.empty() ? "there is none at all: pavcfg create volume …"
                                 : "see pavcfg show volumes"};
}

// What this host recorded; or where its volumes' ports are; or the only zone there is; or 0.
unsigned Array::zone_of_group(const Group &group, const std::vector<Volume> &volumes) const {
    if (const auto it = state_.groups.find(to_string(group.uuid)); it != state_.groups.end() && it->second.zone) return it->second.zone;
    std::set<unsigned> zones;
    for (const auto &volume : volumes)
        if (volume.group == group.name)
            for (const auto &name : export_of(volume.props).ports)
                if (const Port *port = config_.port(name)) zones.insert(config_.zone_of(*port));
    if (zones.size() == 1) return *zones.begin();
    return config_.zones.size() == 1 ? config_.zones.begin()->first : 0;
}

std::optional<std::string> Array::not_ready(const Port &port) const {
    if (const auto it = refused_ports_.find(port.name); it != refused_ports_.end()) return it->second;
    return why_not_ready(port, config_.protocol_of(port), machine_.network.look(port.interface, port.ip));
}

Result<nvmet::Plan> Array::plan_for(const std::vector<Volume> &volumes, Desired &desired) {
    auto current = read_nvmet();
    if (!current) return current.error();
    auto derived = derive(config_, volumes, *current, [&](const Port &port) -> std::optional<std::string> {
        return not_ready(port);
    });
    if (!derived) return derived.error();
    desired = std::move(derived).value();
    auto owned = nvmet::load_owned(machine_.owned_file);
    if (!owned) return owned.error();
    claim(*owned, config_, volumes);
    nvmet::PlanOptions options;
    options.identity = machine_.device_identity;
    return nvmet::plan(*current, desired.state, *owned, options);
}

namespace {

// Whether the step that was refused means that nvmet cannot listen on this port: a link into it, as in "ports/10101/subsystems/GB0…",
// or the module of its transport.
bool concerns(const nvmet::ApplyReport &report, const Port &port, Protocol protocol) {
    if (!report.refused) return false;
    const nvmet::Step &step = *report.refused;
    if (step.kind == nvmet::StepKind::load_module) return step.path == fmt::format("nvmet-{}", nvmet_transport(protocol));
    return step.kind == nvmet::StepKind::link_subsystem && step.path.starts_with(fmt::format("ports/{}/", nvmet_port_id(port)));
}

}  // namespace

// Brings nvmet after what is recorded now. A port on which nvmet cannot listen is left out, and the rest is done without it.
// The volumes of `without_groups` are left out on purpose.
Result<void> Array::settle(Outcome &out, const std::set<std::string> &without_groups) {
    for (;;) {
        auto volumes = engine_->volumes();
        if (!volumes) return volumes.error();
        std::erase_if(*volumes, [&](const Volume &volume) { return without_groups.contains(volume.group); });
        Desired desired;
        auto plan = plan_for(*volumes, desired);
        if (!plan) return plan.error();
        out.left_out = std::move(desired.left_out);
        if (options_.dry_run) {
            out.plan = std::move(plan).value();
            return {};
        }
        if (plan->empty()) return {};
        if (auto saved = nvmet::save_owned(machine_.owned_file, plan->owned_during); !saved) return saved;
        nvmet::ApplyOptions options;
        options.load_module = [&](const std::string &module) { return machine_.modules.load(module); };
        const nvmet::SignalsBlocked whole;
        const auto report = nvmet::apply(machine_.tree, *plan, options);
        if (report.ok()) {
            for (const auto &warning : plan->warnings) out.warnings.push_back(warning);
            out.plan.steps.insert(out.plan.steps.end(), plan->steps.begin(), plan->steps.end());
            return nvmet::save_owned(machine_.owned_file, plan->owned_after);
        }
        if (!report.rolled_back()) {
            Error error = *report.error;
            error.reason += fmt::format("{}and {} steps could not be undone", error.reason.empty() ? "" : "; ", report.undo_errors.size());
            error.remedy = "mend what it names, then pavcfg restore";
            return error;
        }
        bool fresh = false;
        for (const auto &[name, port] : config_.ports)
            if (concerns(report, port, config_.protocol_of(port)))
                fresh |= refused_ports_.emplace(name, "nvmet refused to listen on it: " + report.error->to_text()).second;
        if (!fresh) return *report.error;
    }
}

// Records new export settings and brings nvmet after them; on a refusal everything is as it was before. `needed_ports` must be
// able to listen.
Result<void> Array::change_exports(Outcome &out, const std::vector<std::pair<Volume, Export>> &changes,
                                   const std::set<std::string> &needed_ports) {
    // Refuse early what can be seen early: nothing is recorded yet.
    auto volumes = engine_->volumes();
    if (!volumes) return volumes.error();
    for (auto &volume : *volumes)
        for (const auto &[changed, exported] : changes)
            if (volume.group == changed.group && volume.name == changed.name)
                for (const auto &[key, value] : prop_changes(volume.props, exported)) {
                    if (value)
                        volume.props[key] = *value;
                    else
                        volume.props.erase(key);
                }
    if (!needed_ports.empty())
        wait_for([&] {
            std::vector<std::string> missing;
            for (const auto &name : needed_ports)
                if (const auto why = not_ready(*config_.port(name))) missing.push_back(fmt::format("port {}: {}", name, *why));
            return missing;
        });
    const auto refuse_missing = [&](const std::vector<LeftOut> &left_out) -> Result<void> {
        for (const auto &left : left_out)
            if (needed_ports.contains(left.port))
                return Error{"use the port", left.port, 0, left.reason, "set it up (ip addr, rdma link), or add --wait SECONDS"};
        return {};
    };
    Desired desired;
    auto plan = plan_for(*volumes, desired);
    if (!plan) return plan.error();
    if (auto good = refuse_missing(desired.left_out); !good) return good;

    const nvmet::SignalsBlocked whole;
    const auto record = [&](const Volume &volume, const Export &wanted) -> Result<void> {
        const auto now = find_volume({volume.name, volume.group});
        if (!now) return now.error();
        return engine_->set_props(volume.group, volume.name, prop_changes(now->props, wanted));
    };
    Result<void> done;
    for (const auto &[volume, exported] : changes)
        if (done) done = record(volume, exported);
    if (done) done = settle(out);
    if (done) done = refuse_missing(out.left_out);
    if (!done) {
        Result<void> undone;  // as far as it goes: one that cannot go back keeps none of the others from it
        for (const auto &[volume, exported] : changes)
            if (auto back = record(volume, export_of(volume.props)); !back && undone) undone = back;
        Outcome back;
        if (auto settled = settle(back); !settled || !undone)
            return Error{done.error().tried, done.error().object, done.error().err,
                         done.error().reason + (done.error().reason.empty() ? "" : "; ") + "and going back failed too: " + (undone ? settled : undone).error().to_text(),
                         "mend what it names, then pavcfg restore"};
        return done;
    }
    // Only what concerns the volumes at hand is this command's partial success.
    std::erase_if(out.left_out, [&](const LeftOut &left) {
        return std::none_of(changes.begin(), changes.end(), [&](const auto &change) {
            return left.volume == change.first.full_name() || (left.volume.empty() && change.second.has_port(left.port));
        });
    });
    return {};
}

Result<void> Array::save() {
    if (options_.dry_run || state_ == saved_state_) return {};
    if (auto saved = save_state(machine_.state_file, state_); !saved) return saved;
    saved_state_ = state_;
    return {};
}

// For what has happened already, whether it can be noted here or not.
void Array::note(Outcome &out) {
    if (auto saved = save(); !saved) out.left_out.push_back({"", "", "what was done could not be noted on this host: " + saved.error().to_text()});
}

// Waits until nothing is missing, as long as the command has patience. One deadline for the whole command.
void Array::wait_for(const std::function<std::vector<std::string>()> &missing) {
    using namespace std::chrono_literals;
    if (options_.dry_run) return;
    if (!deadline_) deadline_ = machine_.clock.now() + std::chrono::seconds(options_.wait_seconds.value_or(0));
    std::vector<std::string> said;
    for (auto now_missing = missing(); !now_missing.empty(); now_missing = missing()) {
        const auto now = machine_.clock.now();
        if (now >= *deadline_) return;
        if (now_missing != said) {
            const auto left = std::chrono::duration_cast<std::chrono::seconds>(*deadline_ - now).count();
            for (const auto &what : now_missing) options_.progress(fmt::format("waiting (at most {} s) for {}", left, what));
            said = now_missing;
        }
        machine_.clock.sleep(std::min<std::chrono::milliseconds>(500ms, *deadline_ - now));
    }
}

}  // namespace pav
