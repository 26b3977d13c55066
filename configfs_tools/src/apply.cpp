// SPDX-License-Identifier: GPL-2.0
//
// Running a plan: step by step, and back again at the first refusal.
#include <fmt/core.h>

#include <cerrno>
#include <nlohmann/json.hpp>

#include "attrs.hpp"
#include "pav/nvmet.hpp"
#include "remedy.hpp"

namespace pav::nvmet {

namespace {

std::string last_component(const std::string &path)
{
    return path.substr(path.rfind('/') + 1);
}

std::string file_name(const Step &step)
{
    return last_component(step.path);
}

// A step of the plan tells which value it expects to find. ANA states and the rest are public files: somebody may have
// changed one since the plan was made, and a rollback would then restore a value that was never there.
Result<void> check_old_value(Tree &tree, const Step &step)
{
    if (step.old_value.empty())
        return {};
    auto raw = tree.read(step.path);
    if (!raw)
        return raw.error();
    std::string now = normalise(file_name(step), *raw);
    if (now == step.old_value)
        return {};
    return Error{"write", step.path, ESTALE,
                 fmt::format("it is \"{}\", the plan was made for \"{}\"", now, step.old_value), ""};
}

Result<void> execute(Tree &tree, const Step &step, const ApplyOptions &options)
{
    switch (step.kind) {
    case StepKind::load_module:
        return options.load_module ? options.load_module(step.path) : Result<void>{};

    case StepKind::set_subsystem_attr:
    case StepKind::set_namespace_attr:
    case StepKind::set_port_attr:
    case StepKind::set_ana_state:
    case StepKind::enable_namespace:
    case StepKind::disable_namespace: return tree.write(step.path, step.new_value);
    case StepKind::revalidate_size: return tree.write(step.path, "1");

    case StepKind::make_host:
    case StepKind::make_subsystem:
    case StepKind::make_namespace:
    case StepKind::make_port:
    case StepKind::make_ana_group: return tree.make_dir(step.path);
    case StepKind::remove_host:
    case StepKind::remove_subsystem:
    case StepKind::remove_namespace:
    case StepKind::remove_port:
    case StepKind::remove_ana_group: return tree.remove_dir(step.path);

    case StepKind::allow_host: return tree.make_link(host_path(last_component(step.path)), step.path);
    case StepKind::link_subsystem: return tree.make_link(subsystem_path(last_component(step.path)), step.path);
    case StepKind::disallow_host:
    case StepKind::unlink_subsystem: return tree.remove_link(step.path);
    }
    return Error{"run a step on", step.path, EINVAL, "unknown kind of step", ""};
}

// One inverse step. A value that is already there is not written: nvmet refuses some writes that change nothing.
Result<void> undo(Tree &tree, const Step &step, const ApplyOptions &options)
{
    bool writes = !step.new_value.empty() && step.kind != StepKind::load_module;
    if (writes) {
        auto raw = tree.read(step.path);
        if (raw && normalise(file_name(step), *raw) == step.new_value)
            return {};
    }
    auto r = execute(tree, step, options);
    if (r)
        return r;
    Error e = r.error();
    if (e.remedy.empty())
        e.remedy = remedy_for(tree, step, e.err);
    return e;
}

class Run {
  public:
    Run(Tree &tree, const Plan &plan, const ApplyOptions &options) : tree_(tree), plan_(plan), options_(options) {}

    ApplyReport forward()
    {
        for (std::size_t i = 0; i < plan_.steps.size(); i++) {
            const Step &step = plan_.steps[i];
            tell(Phase::start, i);
            Result<void> r = check_old_value(tree_, step);
            if (r)
                r = execute(tree_, step, options_);
            if (!r) {
                Error e = r.error();
                if (e.remedy.empty())
                    e.remedy = remedy_for(tree_, step, e.err);
                report_.refused = step;
                report_.error = e;
                tell(Phase::failed, i, &e);
                back();
                return std::move(report_);
            }
            report_.done++;
            tell(Phase::done, i);
        }
        return std::move(report_);
    }

  private:
    // Goes on after a refusal: the more comes back, the better; the report tells what did not.
    void back()
    {
        for (std::size_t i = report_.done; i-- > 0;) {
            tell(Phase::undo, i);
            std::size_t errors = report_.undo_errors.size();
            for (const Step &step : plan_.steps[i].inverse())
                if (auto r = undo(tree_, step, options_); !r) {
                    report_.undo_errors.push_back(r.error());
                    tell(Phase::undo_failed, i, &r.error());
                }
            if (errors == report_.undo_errors.size()) {
                report_.undone++;
                tell(Phase::undone, i);
            }
        }
    }

    void tell(Phase phase, std::size_t index, const Error *error = nullptr) const
    {
        if (options_.observer)
            options_.observer({phase, index, plan_.steps.size(), plan_.steps[index], error});
    }

    Tree &tree_;
    const Plan &plan_;
    const ApplyOptions &options_;
    ApplyReport report_;
};

}  // namespace

ApplyReport apply(Tree &tree, const Plan &plan, const ApplyOptions &options)
{
    return Run(tree, plan, options).forward();
}

std::string ApplyReport::to_text() const
{
    if (ok())
        return fmt::format("{} step{} done.\n", done, done == 1 ? "" : "s");
    std::string text = fmt::format("{}\n", error->to_text());
    if (refused)
        text += fmt::format("refused step: {}\n", refused->to_text());
    if (rolled_back())
        return text + fmt::format("{} step{} undone: everything is as it was.\n", undone, undone == 1 ? " was" : "s were");
    text += fmt::format("{} of {} steps undone; NOT undone:\n", undone, done);
    for (const auto &e : undo_errors)
        text += fmt::format("  {}\n", e.to_text());
    return text;
}

std::string ApplyReport::to_json(int indent) const
{
    using Json = nlohmann::ordered_json;
    auto of = [](const Error &e) {
        return Json{{"tried", e.tried}, {"object", e.object}, {"errno", e.err},
                    {"reason", e.reason}, {"remedy", e.remedy}, {"text", e.to_text()}};
    };
    Json j{{"ok", ok()}, {"done", done}};
    if (error) {
        j["refused"] = refused ? Json(refused->to_text()) : Json();
        j["error"] = of(*error);
        j["undone"] = undone;
        j["rolled_back"] = rolled_back();
        j["undo_errors"] = Json::array();
        for (const auto &e : undo_errors)
            j["undo_errors"].push_back(of(e));
    }
    return j.dump(indent, ' ', false, Json::error_handler_t::replace);
}

Result<void> set_ana_state(Tree &tree, std::uint16_t port, unsigned group, AnaState state)
{
    std::string file = group_path(port, group) + "/ana_state";
    auto r = tree.write(file, std::string(to_string(state)));
    if (r)
        return r;
    Error e = r.error();
    if (e.err == ENOENT)
        e.remedy = fmt::format("port {} has no ANA group {}: see pav-nvmet show", port, group);
    return e;
}

Result<void> revalidate_size(Tree &tree, const std::string &nqn, std::uint32_t nsid)
{
    Step step{StepKind::revalidate_size, namespace_path(nqn, nsid) + "/revalidate_size", "", "", {}, ""};
    auto r = tree.write(step.path, "1");
    if (r)
        return r;
    Error e = r.error();
    e.remedy = remedy_for(tree, step, e.err);
    return e;
}

std::set<std::string> modules_for(const State &state)
{
    std::set<std::string> modules{"nvmet"};
    for (const auto &[id, port] : state.ports)
        modules.insert("nvmet-" + port.trtype);
    return modules;
}

}  // namespace pav::nvmet
