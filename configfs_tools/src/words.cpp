// SPDX-License-Identifier: GPL-2.0
//
// The words for things: enumerations as text, errors as one line.
#include <fmt/core.h>

#include <array>
#include <cstring>

#include "pav/nvmet.hpp"

namespace pav::nvmet {

namespace {

constexpr std::array<std::string_view, 5> ana_words = {"optimized", "non-optimized", "inaccessible", "persistent-loss",
                                                       "change"};

}  // namespace

std::string Error::to_text() const
{
    std::string text = fmt::format("cannot {}", tried);
    if (!object.empty())
        text += fmt::format(" {}", object);
    if (!reason.empty())
        text += fmt::format(": {}", reason);
    if (err != 0)
        text += fmt::format("{}{}{}", reason.empty() ? ": " : " (", std::strerror(err), reason.empty() ? "" : ")");
    if (!remedy.empty())
        text += fmt::format(" - {}", remedy);
    return text;
}

std::string_view to_string(AnaState state)
{
    return ana_words.at(static_cast<std::size_t>(state));
}

std::optional<AnaState> ana_state_from(std::string_view word)
{
    for (std::size_t i = 0; i < ana_words.size(); i++)
        if (ana_words[i] == word)
            return static_cast<AnaState>(i);
    return std::nullopt;
}

std::string_view to_string(StepKind kind)
{
    switch (kind) {
    case StepKind::load_module: return "load-module";
    case StepKind::make_host: return "make-host";
    case StepKind::remove_host: return "remove-host";
    case StepKind::make_subsystem: return "make-subsystem";
    case StepKind::remove_subsystem: return "remove-subsystem";
    case StepKind::set_subsystem_attr: return "set-subsystem-attr";
    case StepKind::allow_host: return "allow-host";
    case StepKind::disallow_host: return "disallow-host";
    case StepKind::make_namespace: return "make-namespace";
    case StepKind::remove_namespace: return "remove-namespace";
    case StepKind::set_namespace_attr: return "set-namespace-attr";
    case StepKind::enable_namespace: return "enable-namespace";
    case StepKind::disable_namespace: return "disable-namespace";
    case StepKind::revalidate_size: return "revalidate-size";
    case StepKind::make_port: return "make-port";
    case StepKind::remove_port: return "remove-port";
    case StepKind::set_port_attr: return "set-port-attr";
    case StepKind::make_ana_group: return "make-ana-group";
    case StepKind::remove_ana_group: return "remove-ana-group";
    case StepKind::set_ana_state: return "set-ana-state";
    case StepKind::link_subsystem: return "link-subsystem";
    case StepKind::unlink_subsystem: return "unlink-subsystem";
    }
    return "unknown";
}

}  // namespace pav::nvmet
