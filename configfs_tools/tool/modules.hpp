// SPDX-License-Identifier: GPL-2.0
#pragma once

#include <string>

#include "pav/result.hpp"

namespace pav::nvmet::tool {

// Loads a module and what it needs, as modprobe does (aliases, blacklist and options of modprobe.d hold). One that is
// loaded or built in is fine. Needs root.
Result<void> load_module(const std::string &name);

}  // namespace pav::nvmet::tool
