// SPDX-License-Identifier: GPL-2.0
//
// The planner. It first sorts every object into what happens to it (fates), then emits the steps phase by phase, each
// phase a function, in the order told in the public header. Whatever blocks the building up is taken away early, all
// else last, so that a refused step is met while hosts still have everything.
#include <fmt/core.h>

#include <algorithm>
#include <cerrno>

#include "attrs.hpp"
#include "pav/nvmet.hpp"

namespace pav::nvmet {

namespace {

using NsKey = std::pair<std::string, std::uint32_t>;  // NQN, NSID

struct NsFate {
    bool in_kernel = false;  // as of the steps emitted so far
    bool wanted = false;
    bool recreate = false;  // half-built: it has no path yet, and an empty path cannot be written back in a rollback
    bool reset = false;     // attributes change that an enabled namespace refuses
    bool early = false;     // must be out of the way before anything is built
    bool enabled = false;   // as of the steps emitted so far
    std::string grpid;      // the same

    bool goes() const { return in_kernel && (!wanted || recreate); }
};

struct PortFate {
    bool in_kernel = false;  // as of the steps emitted so far
    bool wanted = false;
    bool recreate = false;  // half-built, as above
    bool rewire = false;    // attributes change that a port with links refuses
    bool early = false;
    std::set<std::string> links;            // as of the steps emitted so far
    std::map<unsigned, AnaState> groups;    // the same
};

int distance(AnaState state)  // 0: the best path; more: less access
{
    switch (state) {
    case AnaState::optimized: return 0;
    case AnaState::non_optimized: return 1;
    default: return 2;
    }
}

bool wildcard(const std::string &traddr)
{
    return traddr == "0.0.0.0" || traddr == "::";
}

bool same_address(const Port &a, const Port &b)
{
    return a.trtype == b.trtype && a.trsvcid == b.trsvcid &&
           (a.traddr == b.traddr || wildcard(a.traddr) || wildcard(b.traddr));
}

// Attributes of `want` whose present value differs. Attributes that are not in `want` stay as they are.
std::vector<std::string> changed(const Attrs &now, const Attrs &want)
{
    std::vector<std::string> files;
    for (const auto &[file, value] : want) {
        auto it = now.find(file);
        if (it == now.end() || it->second != value)
            files.push_back(file);
    }
    return files;
}

// A value that is wanted and has never been set: writing it could not be undone.
bool half_built(const Attrs &now, const Attrs &want)
{
    return std::any_of(want.begin(), want.end(), [&](const auto &w) {
        auto it = now.find(w.first);
        return it != now.end() && it->second.empty() && !w.second.empty();
    });
}

// The order in which a fresh object takes its attributes: those named here first, the rest after them.
std::vector<std::pair<std::string, std::string>> in_order(const Attrs &attrs, std::initializer_list<const char *> first)
{
    std::vector<std::pair<std::string, std::string>> list;
    auto add = [&](const std::string &file, const std::string &value) {
        if (!value.empty())
            list.emplace_back(file, value);
    };
    for (const char *file : first)
        if (auto it = attrs.find(file); it != attrs.end())
            add(it->first, it->second);
    for (const auto &[file, value] : attrs)
        if (std::find(first.begin(), first.end(), file) == first.end())
            add(file, value);
    return list;
}

const auto port_order = {"addr_trtype", "addr_adrfam", "addr_traddr", "addr_trsvcid", "addr_treq"};
const auto subsystem_order = {"attr_serial", "attr_model", "attr_version", "attr_cntlid_max", "attr_cntlid_min"};
const auto namespace_order = {"device_path", "device_uuid", "device_nguid", "buffered_io"};

class Planner {
  public:
    Planner(const State &now, const State &want, const Owned &owned, const PlanOptions &options)
        : now_(now), want_(want), owned_(owned), options_(options)
    {
    }

    Result<Plan> run()
    {
        adopt_and_prune();
        for (auto check : {&Planner::check_names, &Planner::check_devices, &Planner::check_ranges})
            if (auto r = (this->*check)(); !r)
                return r.error();
        judge_namespaces();
        judge_ports();
        if (auto r = check_ports(); !r)
            return r.error();

        load_modules();
        make_hosts();
        clear_the_way();
        build_subsystems();
        build_namespaces();
        build_ports();
        ana_states(true);
        move_live_namespaces();
        ana_states(false);
        enable_namespaces();
        link();
        take_down();
        advise();
        settle_ownership();
        return std::move(plan_);
    }

  private:
    // ---- what belongs to whom ----

    void adopt_and_prune()
    {
        std::erase_if(owned_.ports, [&](auto id) { return !now_.ports.contains(id); });
        std::erase_if(owned_.subsystems, [&](const auto &nqn) { return !now_.subsystems.contains(nqn); });
        std::erase_if(owned_.hosts, [&](const auto &nqn) { return !now_.hosts.contains(nqn); });
        if (!options_.adopt)
            return;
        for (const auto &[id, port] : want_.ports)
            if (now_.ports.contains(id))
                owned_.ports.insert(id);
        for (const auto &[nqn, subsystem] : want_.subsystems)
            if (now_.subsystems.contains(nqn))
                owned_.subsystems.insert(nqn);
    }

    static Error conflict(std::string object, std::string reason, std::string remedy)
    {
        return {"plan the change of", std::move(object), 0, std::move(reason), std::move(remedy)};
    }

    Result<void> check_names() const
    {
        for (const auto &[id, port] : want_.ports)
            if (now_.ports.contains(id) && !owned_.owns_port(id))
                return conflict(port_path(id), "it exists and was not made by us",
                                "choose another port number, or adopt it (--adopt)");
        for (const auto &[nqn, subsystem] : want_.subsystems)
            if (now_.subsystems.contains(nqn) && !owned_.owns_subsystem(nqn))
                return conflict(subsystem_path(nqn), "it exists and was not made by us",
                                "choose another NQN, or adopt it (--adopt)");
        for (const auto &[nqn, subsystem] : now_.subsystems) {
            if (want_.subsystems.contains(nqn) || !owned_.owns_subsystem(nqn))
                continue;
            for (const auto &[id, port] : now_.ports)
                if (port.subsystems.contains(nqn) && !owned_.owns_port(id))
                    return conflict(subsystem_path(nqn), fmt::format("port {}, which is not ours, serves it", id),
                                    fmt::format("unlink it there first: rm {}", port_link_path(id, nqn)));
        }
        return {};
    }

    Result<void> check_devices() const
    {
        std::map<std::string, std::string> user;  // identity → namespace
        for (const auto &[nqn, subsystem] : now_.subsystems) {
            if (owned_.owns_subsystem(nqn))
                continue;
            for (const auto &[nsid, ns] : subsystem.namespaces)
                if (!ns.device_path.empty())
                    user.emplace(identity(ns.device_path), namespace_path(nqn, nsid) + " (not ours)");
        }
        for (const auto &[nqn, subsystem] : want_.subsystems)
            for (const auto &[nsid, ns] : subsystem.namespaces) {
                auto id = identity(ns.device_path);
                auto [it, fresh] = user.emplace(id, namespace_path(nqn, nsid));
                if (!fresh)
                    return conflict(namespace_path(nqn, nsid),
                                    fmt::format("its device {} ({}) is already in {}", ns.device_path, id, it->second),
                                    "two namespaces on one device corrupt data: give each its own");
            }
        return {};
    }

    Result<void> check_ranges() const
    {
        for (const auto &[nqn, want] : want_.subsystems) {
            auto it = now_.subsystems.find(nqn);
            if (it == now_.subsystems.end())
                continue;
            auto min = want.cntlid_min ? want.cntlid_min : it->second.cntlid_min;
            auto max = want.cntlid_max ? want.cntlid_max : it->second.cntlid_max;
            if (min && max && *min > *max)
                return conflict(subsystem_path(nqn), fmt::format("cntlid_min {} would be above cntlid_max {}", *min, *max),
                                "give both");
        }
        return {};
    }

    // ---- fates ----

    void judge_namespaces()
    {
        std::set<std::string> needed;  // devices that somebody is about to open
        for (const auto &[nqn, subsystem] : now_.subsystems) {
            if (!owned_.owns_subsystem(nqn))
                continue;
            for (const auto &[nsid, ns] : subsystem.namespaces) {
                NsFate &fate = ns_[{nqn, nsid}];
                fate.in_kernel = true;
                fate.enabled = ns.enable;
                fate.grpid = std::to_string(ns.ana_grpid);
            }
        }
        for (const auto &[nqn, subsystem] : want_.subsystems)
            for (const auto &[nsid, ns] : subsystem.namespaces) {
                NsFate &fate = ns_[{nqn, nsid}];
                fate.wanted = true;
                if (fate.in_kernel) {
                    Attrs now = attrs_of(now_ns(nqn, nsid)), want = attrs_of(ns);
                    fate.recreate = half_built(now, want);
                    fate.reset = !fate.recreate && !changed(now, want).empty();
                }
                fate.early = fate.recreate || fate.reset;
                if (!fate.in_kernel || fate.early || (ns.enable && !fate.enabled))
                    needed.insert(identity(ns.device_path));
            }
        for (auto &[key, fate] : ns_)
            if (fate.goes() && !fate.early) {
                const auto &path = now_ns(key.first, key.second).device_path;
                fate.early = !path.empty() && needed.contains(identity(path));
            }
    }

    void judge_ports()
    {
        for (const auto &[id, port] : now_.ports) {
            if (!owned_.owns_port(id))
                continue;
            PortFate &fate = ports_[id];
            fate.in_kernel = true;
            fate.links = port.subsystems;
            fate.groups = port.ana_groups;
        }
        for (const auto &[id, port] : want_.ports) {
            PortFate &fate = ports_[id];
            fate.wanted = true;
            if (!fate.in_kernel)
                continue;
            Attrs now = attrs_of(now_.ports.at(id)), want = attrs_of(port);
            fate.recreate = half_built(now, want);
            fate.rewire = !fate.recreate && !changed(now, want).empty();
            fate.early = fate.recreate || fate.rewire;
        }
        for (auto &[id, fate] : ports_) {
            if (!fate.in_kernel || fate.wanted)
                continue;
            fate.early = std::any_of(want_.ports.begin(), want_.ports.end(), [&, id = id](const auto &w) {
                return same_address(w.second, now_.ports.at(id));
            });
        }
    }

    Result<void> check_ports() const
    {
        for (const auto &[id, fate] : ports_) {
            if (!fate.in_kernel || (fate.wanted && !fate.early))
                continue;
            auto foreign = std::find_if(fate.links.begin(), fate.links.end(),
                                        [&](const auto &nqn) { return !owned_.owns_subsystem(nqn); });
            if (foreign != fate.links.end())
                return conflict(port_path(id),
                                fmt::format("it must {} and serves {}, which is not ours",
                                            fate.wanted ? "be reconfigured" : "go", *foreign),
                                fmt::format("unlink that first: rm {}", port_link_path(id, *foreign)));
        }
        for (const auto &[id, port] : want_.ports) {
            if (port.subsystems.empty())
                continue;
            for (const auto &[other, p] : now_.ports)
                if (!owned_.owns_port(other) && !p.subsystems.empty() && same_address(port, p))
                    return conflict(port_path(id),
                                    fmt::format("port {}, which is not ours, already listens on {} {}:{}", other, p.trtype,
                                                p.traddr, p.trsvcid),
                                    "choose another address or service");
        }
        return {};
    }

    // ---- phases, in the order of the plan ----

    void load_modules()
    {
        std::set<std::string> running, needed;
        for (const auto &[id, port] : now_.ports)
            if (!port.subsystems.empty())
                running.insert(port.trtype);
        for (const auto &[id, port] : want_.ports)
            if (!port.subsystems.empty() && !running.contains(port.trtype))
                needed.insert(port.trtype);
        for (const auto &trtype : needed)
            emit(StepKind::load_module, "nvmet-" + trtype);
    }

    void make_hosts()
    {
        for (const auto &host : want_.hosts)
            if (!now_.hosts.contains(host))
                emit(StepKind::make_host, host_path(host));
    }

    void clear_the_way()
    {
        for (auto &[key, fate] : ns_)
            if (fate.in_kernel && fate.early) {
                disable(key, fate);
                if (fate.goes())
                    remove_namespace(key, fate);
            }
        for (auto &[id, fate] : ports_) {
            if (!fate.in_kernel || !fate.early)
                continue;
            const char *why = fate.wanted ? "the port's address changes: hosts lose this path until it is linked again"
                                          : "hosts lose this path";
            for (const auto &nqn : std::set<std::string>(fate.links))
                unlink(id, fate, nqn, why);
            if (fate.recreate)
                remove_port(id, fate);
        }
    }

    void build_subsystems()
    {
        for (const auto &[nqn, want] : want_.subsystems) {
            std::string dir = subsystem_path(nqn);
            auto it = now_.subsystems.find(nqn);
            bool fresh = it == now_.subsystems.end();
            const Subsystem now = fresh ? Subsystem{} : it->second;
            if (fresh)
                emit(StepKind::make_subsystem, dir);
            set_attrs(StepKind::set_subsystem_attr, dir, fresh, attrs_of(now), in_cntlid_order(now, want));

            if (!want.allow_any_host && now.allow_any_host)
                emit(StepKind::set_subsystem_attr, dir + "/attr_allow_any_host", "1", "0",
                     "hosts that are connected stay connected");
            for (const auto &host : now.allowed_hosts)
                if (!want.allowed_hosts.contains(host))
                    emit(StepKind::disallow_host, allowed_host_path(nqn, host), "", "",
                         "if it is connected it stays connected");
            for (const auto &host : want.allowed_hosts)
                if (!now.allowed_hosts.contains(host))
                    emit(StepKind::allow_host, allowed_host_path(nqn, host));
            if (want.allow_any_host && !now.allow_any_host)
                emit(StepKind::set_subsystem_attr, dir + "/attr_allow_any_host", "0", "1");
        }
    }

    void build_namespaces()
    {
        for (const auto &[nqn, subsystem] : want_.subsystems)
            for (const auto &[nsid, ns] : subsystem.namespaces) {
                NsFate &fate = ns_.at({nqn, nsid});
                std::string dir = namespace_path(nqn, nsid);
                bool fresh = !fate.in_kernel;
                if (fresh) {
                    emit(StepKind::make_namespace, dir);
                    fate.grpid = "1";  // the kernel's default
                    fate.enabled = false;
                }
                set_attrs(StepKind::set_namespace_attr, dir, fresh, fresh ? Attrs{} : attrs_of(now_ns(nqn, nsid)),
                          in_order(attrs_of(ns), namespace_order));
                if (!fate.enabled)
                    set_group({nqn, nsid}, fate, std::to_string(ns.ana_grpid));
            }
    }

    void build_ports()
    {
        for (const auto &[id, want] : want_.ports) {
            PortFate &fate = ports_.at(id);
            bool fresh = !fate.in_kernel;
            if (fresh) {
                emit(StepKind::make_port, port_path(id));
                fate.groups = {{1u, AnaState::optimized}};
            }
            set_attrs(StepKind::set_port_attr, port_path(id), fresh, fresh ? Attrs{} : attrs_of(now_.ports.at(id)),
                      in_order(attrs_of(want), port_order));
        }
    }

    // First the states that give a path more access, later (after namespaces have moved) those that take some away.
    void ana_states(bool giving)
    {
        for (const auto &[id, want] : want_.ports) {
            PortFate &fate = ports_.at(id);
            for (const auto &[group, state] : want.ana_groups) {
                if (giving && !fate.groups.contains(group)) {
                    emit(StepKind::make_ana_group, group_path(id, group));
                    fate.groups[group] = AnaState::inaccessible;  // the kernel's default
                }
                AnaState &now = fate.groups.at(group);
                if (now == state || (distance(state) < distance(now)) != giving)
                    continue;
                emit(StepKind::set_ana_state, group_path(id, group) + "/ana_state", std::string(to_string(now)),
                     std::string(to_string(state)));
                now = state;
            }
        }
    }

    void move_live_namespaces()
    {
        for (auto &[key, fate] : ns_)
            if (fate.wanted && fate.enabled && want_ns(key).enable)
                set_group(key, fate, std::to_string(want_ns(key).ana_grpid));
    }

    void enable_namespaces()
    {
        for (auto &[key, fate] : ns_)
            if (fate.wanted && want_ns(key).enable && !fate.enabled) {
                emit(StepKind::enable_namespace, namespace_path(key.first, key.second) + "/enable", "0", "1");
                fate.enabled = true;
            }
    }

    void link()
    {
        for (const auto &[id, want] : want_.ports) {
            PortFate &fate = ports_.at(id);
            for (const auto &nqn : want.subsystems)
                if (fate.links.insert(nqn).second)
                    emit(StepKind::link_subsystem, port_link_path(id, nqn));
        }
    }

    void take_down()
    {
        for (auto &[key, fate] : ns_)
            if (fate.in_kernel && fate.enabled && (fate.goes() || !want_ns(key).enable))
                disable(key, fate);
        for (auto &[key, fate] : ns_)  // a namespace that stays, disabled, was parked on the way
            if (fate.wanted && !fate.enabled)
                set_group(key, fate, std::to_string(want_ns(key).ana_grpid));

        for (auto &[id, fate] : ports_)
            for (const auto &nqn : std::set<std::string>(fate.links))
                if (owned_.owns_subsystem(nqn) && !(fate.wanted && want_.ports.at(id).subsystems.contains(nqn)))
                    unlink(id, fate, nqn, "hosts lose this path");

        for (auto &[key, fate] : ns_)
            if (fate.goes())
                remove_namespace(key, fate);
        for (const auto &[nqn, now] : now_.subsystems) {
            if (want_.subsystems.contains(nqn) || !owned_.owns_subsystem(nqn))
                continue;
            for (const auto &host : now.allowed_hosts)
                emit(StepKind::disallow_host, allowed_host_path(nqn, host));
            Attrs attrs = attrs_of(now);
            if (now.allow_any_host)
                attrs["attr_allow_any_host"] = "1";
            emit_removal(StepKind::remove_subsystem, subsystem_path(nqn), in_order(attrs, subsystem_order));
        }

        for (auto &[id, fate] : ports_) {
            if (!fate.in_kernel)
                continue;
            if (!fate.wanted) {
                remove_port(id, fate);
                continue;
            }
            for (const auto &[group, state] : std::map<unsigned, AnaState>(fate.groups))
                if (!want_.ports.at(id).ana_groups.contains(group))
                    remove_group(id, fate, group, state);
        }
        for (const auto &host : now_.hosts)
            if (owned_.owns_host(host) && !want_.hosts.contains(host) && !used_by_others(host))
                emit(StepKind::remove_host, host_path(host));
    }

    // What is not wrong and yet worth a look.
    void advise()
    {
        for (const auto &[id, port] : want_.ports)
            for (const auto &nqn : port.subsystems)
                for (const auto &[nsid, ns] : want_.subsystems.at(nqn).namespaces)
                    if (!port.ana_groups.contains(ns.ana_grpid))
                        plan_.warnings.push_back(fmt::format("{} is in ANA group {}, which port {} does not have: it is "
                                                             "inaccessible there",
                                                             namespace_path(nqn, nsid), ns.ana_grpid, id));
        for (const auto &[key, fate] : ns_)
            if (fate.wanted && want_ns(key).enable && !options_.identity(want_ns(key).device_path))
                plan_.warnings.push_back(fmt::format("{} does not exist now: enabling {} will fail",
                                                     want_ns(key).device_path, namespace_path(key.first, key.second)));
    }

    void settle_ownership()
    {
        plan_.owned_during = owned_;
        plan_.owned_after = owned_;
        auto &after = plan_.owned_after;
        after.ports.clear();
        after.subsystems.clear();
        after.hosts.clear();
        for (const auto &[id, port] : want_.ports)
            after.ports.insert(id);
        for (const auto &[nqn, subsystem] : want_.subsystems)
            after.subsystems.insert(nqn);
        for (const auto &host : want_.hosts)
            if (!now_.hosts.contains(host) || owned_.owns_host(host))
                after.hosts.insert(host);
        for (const auto &host : owned_.hosts)
            if (!want_.hosts.contains(host) && used_by_others(host))
                after.hosts.insert(host);  // ours still: a later plan removes it
        auto &during = plan_.owned_during;
        during.ports.insert(after.ports.begin(), after.ports.end());
        during.subsystems.insert(after.subsystems.begin(), after.subsystems.end());
        during.hosts.insert(after.hosts.begin(), after.hosts.end());
    }

    // ---- single actions ----

    void emit(StepKind kind, std::string path, std::string old_value = {}, std::string new_value = {},
              std::string warning = {})
    {
        plan_.steps.push_back(
            {kind, std::move(path), std::move(old_value), std::move(new_value), {}, std::move(warning)});
    }

    void emit_removal(StepKind kind, std::string path, std::vector<std::pair<std::string, std::string>> saved)
    {
        plan_.steps.push_back({kind, std::move(path), "", "", std::move(saved), ""});
    }

    void set_attrs(StepKind kind, const std::string &dir, bool fresh, const Attrs &now,
                   const std::vector<std::pair<std::string, std::string>> &want)
    {
        for (const auto &[file, value] : want) {
            auto it = now.find(file);
            if (fresh || it == now.end())
                emit(kind, dir + "/" + file, "", value);
            else if (it->second != value)
                emit(kind, dir + "/" + file, it->second, value,
                     file == "attr_qid_max" ? "later kernels disconnect every host of this subsystem here" : "");
        }
    }

    // min may never be above max, not even between two writes: going up max moves first, going down min does.
    static std::vector<std::pair<std::string, std::string>> in_cntlid_order(const Subsystem &now, const Subsystem &want)
    {
        bool down = want.cntlid_max && now.cntlid_min && *want.cntlid_max < *now.cntlid_min;
        return in_order(attrs_of(want), {"attr_serial", "attr_model", "attr_version",
                                         down ? "attr_cntlid_min" : "attr_cntlid_max",
                                         down ? "attr_cntlid_max" : "attr_cntlid_min"});
    }

    void set_group(const NsKey &key, NsFate &fate, const std::string &group, const char *warning = "")
    {
        if (fate.grpid == group)
            return;
        emit(StepKind::set_namespace_attr, namespace_path(key.first, key.second) + "/ana_grpid", fate.grpid, group, warning);
        fate.grpid = group;
    }

    // Some port serves it, before or after this plan, in a state that lets I/O in.
    bool reachable(const std::string &nqn, const std::string &grpid) const
    {
        std::set<std::uint16_t> serving, open;
        for (const State *state : {&now_, &want_})
            for (const auto &[id, port] : state->ports) {
                if (port.subsystems.contains(nqn))
                    serving.insert(id);
                for (const auto &[group, ana] : port.ana_groups)
                    if (std::to_string(group) == grpid && distance(ana) < 2)
                        open.insert(id);
            }
        return std::any_of(serving.begin(), serving.end(), [&](auto id) { return open.contains(id); });
    }

    // A group that no port has and none will have: inaccessible everywhere, and nobody else's.
    std::optional<unsigned> parking() const
    {
        auto has = [](const State &state, unsigned group) {
            return std::any_of(state.ports.begin(), state.ports.end(),
                               [&](const auto &p) { return p.second.ana_groups.contains(group); });
        };
        for (unsigned group = max_ana_group; group > 1; group--)
            if (!has(now_, group) && !has(want_, group))
                return group;
        return std::nullopt;
    }

    void disable(const NsKey &key, NsFate &fate)
    {
        if (!fate.enabled)
            return;
        if (reachable(key.first, fate.grpid)) {
            if (auto group = parking())
                set_group(key, fate, std::to_string(*group), "inaccessible on every path before it is disabled");
        }
        emit(StepKind::disable_namespace, namespace_path(key.first, key.second) + "/enable", "1", "0",
             "hosts lose this disk");
        fate.enabled = false;
    }

    void remove_namespace(const NsKey &key, NsFate &fate)
    {
        Attrs attrs = attrs_of(now_ns(key.first, key.second));
        attrs["ana_grpid"] = fate.grpid == "0" ? "128" : fate.grpid;
        emit_removal(StepKind::remove_namespace, namespace_path(key.first, key.second), in_order(attrs, namespace_order));
        fate.in_kernel = fate.recreate = false;
    }

    void unlink(std::uint16_t id, PortFate &fate, const std::string &nqn, const char *why)
    {
        emit(StepKind::unlink_subsystem, port_link_path(id, nqn), "", "", why);
        fate.links.erase(nqn);
    }

    void remove_group(std::uint16_t id, PortFate &fate, unsigned group, AnaState state)
    {
        emit_removal(StepKind::remove_ana_group, group_path(id, group), {{"ana_state", std::string(to_string(state))}});
        fate.groups.erase(group);
    }

    void remove_port(std::uint16_t id, PortFate &fate)
    {
        for (const auto &[group, state] : std::map<unsigned, AnaState>(fate.groups))
            if (group != 1)
                remove_group(id, fate, group, state);
        auto saved = in_order(attrs_of(now_.ports.at(id)), port_order);
        if (auto it = fate.groups.find(1); it != fate.groups.end() && it->second != AnaState::optimized)
            saved.emplace_back("ana_groups/1/ana_state", to_string(it->second));
        emit_removal(StepKind::remove_port, port_path(id), std::move(saved));
        fate.in_kernel = fate.recreate = false;
    }

    bool used_by_others(const std::string &host) const
    {
        return std::any_of(now_.subsystems.begin(), now_.subsystems.end(), [&](const auto &s) {
            return !owned_.owns_subsystem(s.first) && s.second.allowed_hosts.contains(host);
        });
    }

    const Namespace &now_ns(const std::string &nqn, std::uint32_t nsid) const
    {
        return now_.subsystems.at(nqn).namespaces.at(nsid);
    }
    const Namespace &want_ns(const NsKey &key) const
    {
        return want_.subsystems.at(key.first).namespaces.at(key.second);
    }
    std::string identity(const std::string &path) const { return options_.identity(path).value_or("path " + path); }

    const State &now_;
    const State &want_;
    Owned owned_;
    const PlanOptions &options_;
    std::map<NsKey, NsFate> ns_;
    std::map<std::uint16_t, PortFate> ports_;
    Plan plan_;
};

}  // namespace

Result<Plan> plan(const State &current, const State &desired, const Owned &owned, const PlanOptions &options)
{
    auto want = validate(desired);
    if (!want)
        return want.error();
    return Planner(current, *want, owned, options).run();
}

Result<Plan> plan_ana(Tree &tree, std::span<const AnaChange> changes)
{
    Plan fast;
    std::vector<Step> taking;
    for (const AnaChange &change : changes) {
        std::string file = group_path(change.port, change.group) + "/ana_state";
        auto raw = tree.read(file);
        if (!raw) {
            Error e = raw.error();
            if (e.err == ENOENT)
                e.remedy = fmt::format("port {} has no ANA group {}: see pav-nvmet show", change.port, change.group);
            return e;
        }
        std::string now = normalise("ana_state", *raw);
        auto state = ana_state_from(now);
        if (state == change.state)
            continue;
        Step step{StepKind::set_ana_state, file, now, std::string(to_string(change.state)), {}, {}};
        bool gives = state && distance(change.state) < distance(*state);
        (gives ? fast.steps : taking).push_back(std::move(step));
    }
    fast.steps.insert(fast.steps.end(), taking.begin(), taking.end());
    return fast;
}

}  // namespace pav::nvmet
