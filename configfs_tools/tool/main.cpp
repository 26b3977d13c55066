// SPDX-License-Identifier: GPL-2.0
//
// pav-nvmet: the library by hand. Everything it can do is a call of pav/nvmet.hpp; here are only arguments, the file that
// remembers what is ours, questions and exit codes.
#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "modules.hpp"
#include "pav/nvmet.hpp"
#include "pav/signals.hpp"

namespace pav::nvmet::tool {
namespace {

// Part of the interface: pav-nvmet(8) lists them.
enum Exit {
    done = 0,
    usage = 1,
    refused = 2,         // the input, or the plan; nothing was touched
    no_nvmet = 3,        // nvmet or the record cannot be read or written
    rolled_back = 4,     // the kernel refused a step; everything is as it was
    half_done = 5,       // … and not everything could be undone
    not_confirmed = 6,
};

struct Options {
    std::string file;
    std::string root = default_root;
    std::string owned = "/run/pav/pav-nvmet-owned.json";  // pavcfg has its own: neither removes what is the other's
    std::string claim_ports;
    std::vector<std::string> claim_nqns;
    std::vector<std::string> ana;
    std::string nqn;
    std::uint32_t nsid = 1;
    bool adopt = false, dry_run = false, yes = false, json = false;
};

int report(const Options &o, const Error &e, Exit code)
{
    if (o.json)
        fmt::print("{}\n", nlohmann::ordered_json{{"ok", false},
                                                  {"error",
                                                   {{"tried", e.tried},
                                                    {"object", e.object},
                                                    {"errno", e.err},
                                                    {"reason", e.reason},
                                                    {"remedy", e.remedy},
                                                    {"text", e.to_text()}}}}
                               .dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
    else
        fmt::print(stderr, "pav-nvmet: {}\n", e.to_text());
    return code;
}

Result<std::string> slurp(const std::string &file)
{
    if (file == "-")
        return std::string(std::istreambuf_iterator<char>(std::cin), {});
    if (std::error_code ec; std::filesystem::is_directory(file, ec))  // its stream would throw
        return Error{"read", file, EISDIR, "", "name a file of JSON"};
    std::ifstream in(file, std::ios::binary);
    std::string text(std::istreambuf_iterator<char>(in), {});
    if (!in)
        return Error{"read", file, errno != 0 ? errno : EIO, "", ""};
    return text;
}

Result<std::pair<std::uint16_t, std::uint16_t>> port_range(const std::string &text)
{
    unsigned first = 0, last = 0;
    char rest = 0;
    int n = std::sscanf(text.c_str(), "%u-%u%c", &first, &last, &rest);
    if (n == 1 && text.find_first_not_of("0123456789") == std::string::npos)
        last = first, n = 2;
    if (n != 2 || first > last || last > UINT16_MAX)
        return Error{"use --claim-ports", text, 0, "not a range such as 1-99", ""};
    return std::pair{static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(last)};
}

Result<AnaChange> ana_change(const std::string &text)  // PORT:GROUP=STATE
{
    unsigned port = 0, group = 0;
    int used = 0;
    auto state = std::sscanf(text.c_str(), "%u:%u=%n", &port, &group, &used) == 2 && used > 0
                     ? ana_state_from(text.substr(static_cast<std::size_t>(used)))
                     : std::nullopt;
    if (!state || port > UINT16_MAX || group < 1 || group > max_ana_group)
        return Error{"use", text, 0, "not PORT:GROUP=STATE",
                     "for example 1:2=optimized; states: optimized, non-optimized, inaccessible, persistent-loss, change"};
    return AnaChange{static_cast<std::uint16_t>(port), group, *state};
}

bool takes_something_away(const Plan &plan)
{
    return std::any_of(plan.steps.begin(), plan.steps.end(), [](const Step &s) { return !s.warning.empty(); });
}

// True: go on.
bool confirmed(const Options &o, const Plan &plan)
{
    if (o.yes || !takes_something_away(plan))
        return true;
    if (o.json || !::isatty(STDIN_FILENO) || o.file == "-") {
        fmt::print(stderr, "pav-nvmet: this plan takes something away from hosts (lines with \"!\"): say --yes\n");
        return false;
    }
    fmt::print("Lines with \"!\" take something away from hosts. Go on? [y/N] ");
    std::fflush(stdout);
    std::string answer;
    return std::getline(std::cin, answer) && (answer == "y" || answer == "yes");
}

int run(const Options &o, Tree &tree, const Plan &plan)
{
    if (!o.json)
        fmt::print("{}", plan.to_text());
    if (o.dry_run) {
        if (o.json)
            fmt::print("{}\n", plan.to_json());
        return done;
    }
    if (!plan.empty() && !confirmed(o, plan))
        return not_confirmed;
    std::fflush(stdout);

    ApplyOptions options;
    if (o.root == default_root)
        options.load_module = load_module;
    const SignalsBlocked whole;
    ApplyReport r = apply(tree, plan, options);
    if (o.json) {
        auto j = nlohmann::ordered_json::parse(r.to_json());
        j["plan"] = nlohmann::ordered_json::parse(plan.to_json());
        fmt::print("{}\n", j.dump(2));
    } else if (!r.ok()) {
        fmt::print(stderr, "pav-nvmet: {}", r.to_text());
    } else if (!plan.empty()) {
        fmt::print("{}", r.to_text());
    }
    return r.ok() ? done : r.rolled_back() ? rolled_back : half_done;
}

Result<Owned> owned_with_claims(const Options &o)
{
    auto owned = load_owned(o.owned);
    if (!owned)
        return owned;
    if (!o.claim_ports.empty()) {
        auto range = port_range(o.claim_ports);
        if (!range)
            return range.error();
        owned->port_range = *range;
    }
    owned->nqn_prefixes = o.claim_nqns;
    return owned;
}

int show(const Options &o)
{
    auto tree = real_tree(o.root);
    auto state = read_state(*tree);
    if (!state)
        return report(o, state.error(), no_nvmet);
    fmt::print("{}", o.json ? to_json(*state) + "\n" : to_text(*state));
    return done;
}

int change(const Options &o, bool clear)
{
    State desired;
    if (!clear) {
        auto text = slurp(o.file);
        if (!text)
            return report(o, text.error(), refused);
        auto state = parse_state(*text);
        if (!state) {
            Error e = state.error();
            e.object = fmt::format("{} ({})", e.object, o.file == "-" ? "standard input" : o.file);
            return report(o, e, refused);
        }
        desired = std::move(*state);
    }

    std::optional<OwnedLock> lock;
    if (!o.dry_run) {
        auto taken = OwnedLock::take(o.owned);
        if (!taken)
            return report(o, taken.error(), no_nvmet);
        lock.emplace(std::move(taken).value());
        if (o.root == default_root)
            if (auto r = load_module("nvmet"); !r)
                return report(o, r.error(), no_nvmet);
    }
    auto owned = owned_with_claims(o);
    if (!owned)
        return report(o, owned.error(), refused);
    auto tree = real_tree(o.root);
    auto now = read_state(*tree);
    if (!now)
        return report(o, now.error(), no_nvmet);
    PlanOptions options;
    options.adopt = o.adopt;
    auto todo = plan(*now, desired, *owned, options);
    if (!todo)
        return report(o, todo.error(), refused);

    if (!o.dry_run)
        if (auto r = save_owned(o.owned, todo->owned_during); !r)
            return report(o, r.error(), no_nvmet);
    int code = run(o, *tree, *todo);
    if (o.dry_run || code == half_done)
        return code;
    if (auto r = save_owned(o.owned, code == done ? todo->owned_after : *owned); !r)
        return report(o, r.error(), no_nvmet);
    return code;
}

int ana(const Options &o)
{
    std::vector<AnaChange> changes;
    for (const auto &text : o.ana) {
        auto c = ana_change(text);
        if (!c)
            return report(o, c.error(), refused);
        changes.push_back(*c);
    }
    auto tree = real_tree(o.root);
    auto todo = plan_ana(*tree, changes);
    if (!todo)
        return report(o, todo.error(), todo.error().err == ENOENT ? refused : no_nvmet);
    return run(o, *tree, *todo);
}

int resize(const Options &o)
{
    auto tree = real_tree(o.root);
    if (auto r = revalidate_size(*tree, o.nqn, o.nsid); !r)
        return report(o, r.error(), rolled_back);
    if (o.json)
        fmt::print("{{\"ok\": true}}\n");
    return done;
}

int main(int argc, char **argv)
{
    Options o;
    CLI::App app{"Desired nvmet state -> plan -> apply. See pav-nvmet(8) and configfs_tools/README.md."};
    app.require_subcommand(1);
    auto common = [&](CLI::App *c) {
        c->add_option("--root", o.root, "nvmet's directory")->capture_default_str();
        c->add_flag("--json", o.json, "machine-readable output");
        return c;
    };
    auto ownership = [&](CLI::App *c) {
        c->add_option("--owned", o.owned, "the file that records what is ours")->capture_default_str();
        c->add_option("--claim-ports", o.claim_ports, "port numbers that are ours in any case: FIRST-LAST");
        c->add_option("--claim-nqn", o.claim_nqns, "NQN prefix that is ours in any case; may be repeated");
        return c;
    };
    auto doing = [&](CLI::App *c) {
        c->add_flag("--dry-run", o.dry_run, "show the plan, change nothing");
        c->add_flag("-y,--yes", o.yes, "do not ask before something is taken away from hosts");
        return c;
    };

    auto *c_show = common(app.add_subcommand("show", "what the kernel has"));
    auto *c_plan = ownership(common(app.add_subcommand("plan", "what apply would do; the same as apply --dry-run")));
    auto *c_apply = doing(ownership(common(app.add_subcommand("apply", "make the kernel's state the desired one"))));
    for (auto *c : {c_plan, c_apply}) {
        c->add_option("FILE", o.file, "desired state, JSON; - for standard input")->required();
        c->add_flag("--adopt", o.adopt, "take over objects of these names that somebody else made");
    }
    auto *c_clear = doing(ownership(common(app.add_subcommand("clear", "remove everything that is ours"))));
    auto *c_ana = common(app.add_subcommand("ana", "change ANA states, nothing else: failover and failback"));
    c_ana->add_flag("--dry-run", o.dry_run, "show the plan, change nothing");
    c_ana->add_option("CHANGE", o.ana, "PORT:GROUP=STATE, for example 1:2=optimized")->required();
    auto *c_resize = common(app.add_subcommand("resize", "tell hosts a namespace's new size"));
    c_resize->add_option("NQN", o.nqn, "subsystem")->required();
    c_resize->add_option("NSID", o.nsid, "namespace")->capture_default_str();

    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError &e) {
        return app.exit(e) == 0 ? done : usage;
    }
    if (*c_show)
        return show(o);
    if (*c_plan) {
        o.dry_run = true;
        return change(o, false);
    }
    if (*c_apply)
        return change(o, false);
    if (*c_clear)
        return change(o, true);
    if (*c_ana)
        return ana(o);
    return resize(o);
}

}  // namespace
}  // namespace pav::nvmet::tool

int main(int argc, char **argv)
{
    return pav::nvmet::tool::main(argc, argv);
}
