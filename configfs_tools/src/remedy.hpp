// SPDX-License-Identifier: GPL-2.0
#pragma once

#include <string>

#include "pav/nvmet.hpp"

namespace pav::nvmet {

// What nvmet means by refusing this step with this errno, and what to do. Reads the port's address for its text.
std::string remedy_for(Tree &tree, const Step &step, int err);

}  // namespace pav::nvmet
