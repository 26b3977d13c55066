// SPDX-License-Identifier: GPL-2.0
//
// Steps and plans by themselves: how one is undone, how they read.
#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "pav/nvmet.hpp"

namespace pav::nvmet {

namespace {

Step simple(StepKind kind, std::string path, std::string old_value = {}, std::string new_value = {})
{
    return Step{kind, std::move(path), std::move(old_value), std::move(new_value), {}, {}};
}

// The directory comes back with the kernel's defaults; what it held is written again.
std::vector<Step> recreate(const Step &step, StepKind make, StepKind set)
{
    std::vector<Step> steps{simple(make, step.path)};
    for (const auto &[file, value] : step.saved)
        steps.push_back(simple(set, step.path + "/" + file, "", value));
    return steps;
}

}  // namespace

std::vector<Step> Step::inverse() const
{
    switch (kind) {
    case StepKind::load_module:
    case StepKind::revalidate_size: return {};

    case StepKind::set_subsystem_attr:
    case StepKind::set_namespace_attr:
    case StepKind::set_port_attr:
    case StepKind::set_ana_state:
        if (old_value.empty())
            return {};  // the object was made by this plan and leaves with it
        // A group number 128 is stored, and read, as 0; only 128 brings that 0 back.
        return {simple(kind, path, new_value, path.ends_with("/ana_grpid") && old_value == "0" ? "128" : old_value)};

    case StepKind::enable_namespace: return {simple(StepKind::disable_namespace, path, new_value, old_value)};
    case StepKind::disable_namespace: return {simple(StepKind::enable_namespace, path, new_value, old_value)};

    case StepKind::make_host: return {simple(StepKind::remove_host, path)};
    case StepKind::remove_host: return {simple(StepKind::make_host, path)};
    case StepKind::make_subsystem: return {simple(StepKind::remove_subsystem, path)};
    case StepKind::remove_subsystem: return recreate(*this, StepKind::make_subsystem, StepKind::set_subsystem_attr);
    case StepKind::allow_host: return {simple(StepKind::disallow_host, path)};
    case StepKind::disallow_host: return {simple(StepKind::allow_host, path)};
    case StepKind::make_namespace: return {simple(StepKind::remove_namespace, path)};
    case StepKind::remove_namespace: return recreate(*this, StepKind::make_namespace, StepKind::set_namespace_attr);
    case StepKind::make_port: return {simple(StepKind::remove_port, path)};
    case StepKind::remove_port: return recreate(*this, StepKind::make_port, StepKind::set_port_attr);
    case StepKind::make_ana_group: return {simple(StepKind::remove_ana_group, path)};
    case StepKind::remove_ana_group: return recreate(*this, StepKind::make_ana_group, StepKind::set_ana_state);
    case StepKind::link_subsystem: return {simple(StepKind::unlink_subsystem, path)};
    case StepKind::unlink_subsystem: return {simple(StepKind::link_subsystem, path)};
    }
    return {};
}

std::string Step::to_text() const
{
    std::string text;
    switch (kind) {
    case StepKind::load_module: text = fmt::format("+ module {}", path); break;
    case StepKind::revalidate_size: text = fmt::format("~ {}", path); break;
    case StepKind::set_subsystem_attr:
    case StepKind::set_namespace_attr:
    case StepKind::set_port_attr:
    case StepKind::set_ana_state:
    case StepKind::enable_namespace:
    case StepKind::disable_namespace:
        text = old_value.empty() ? fmt::format("+ {}: {}", path, new_value)
                                 : fmt::format("~ {}: {} -> {}", path, old_value, new_value);
        break;
    case StepKind::make_host:
    case StepKind::make_subsystem:
    case StepKind::allow_host:
    case StepKind::make_namespace:
    case StepKind::make_port:
    case StepKind::make_ana_group:
    case StepKind::link_subsystem: text = fmt::format("+ {}", path); break;
    case StepKind::remove_host:
    case StepKind::remove_subsystem:
    case StepKind::disallow_host:
    case StepKind::remove_namespace:
    case StepKind::remove_port:
    case StepKind::remove_ana_group:
    case StepKind::unlink_subsystem: text = fmt::format("- {}", path); break;
    }
    if (!warning.empty())
        text += fmt::format("   ! {}", warning);
    return text;
}

bool Plan::only_ana_states() const
{
    return std::all_of(steps.begin(), steps.end(), [](const Step &s) { return s.kind == StepKind::set_ana_state; });
}

std::string Plan::to_text() const
{
    if (steps.empty() && warnings.empty())
        return "Nothing to do.\n";
    std::string text;
    for (const auto &step : steps)
        text += step.to_text() + "\n";
    if (steps.empty())
        text += "Nothing to do.\n";
    for (const auto &warning : warnings)
        text += fmt::format("! {}\n", warning);
    return text;
}

std::string Plan::to_json(int indent) const
{
    using Json = nlohmann::ordered_json;
    Json list = Json::array();
    for (const auto &step : steps) {
        Json j{{"kind", to_string(step.kind)}, {"path", step.path}};
        if (!step.old_value.empty())
            j["old"] = step.old_value;
        if (!step.new_value.empty())
            j["new"] = step.new_value;
        if (!step.warning.empty())
            j["warning"] = step.warning;
        list.push_back(std::move(j));
    }
    // Values come from the kernel, which does not promise UTF-8.
    return Json{{"steps", list}, {"warnings", warnings}}.dump(indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace pav::nvmet
