// SPDX-License-Identifier: GPL-2.0
//
// /etc/pav/pavcfg.conf, in libconfig's syntax. The example beside pavcfg's sources says what may stand in it. Everything is
// checked when it is read; a refusal names file and line. Unknown settings are refused, with the nearest known one.
#pragma once

#include <string>

#include "pav/model.hpp"

namespace pav {

inline constexpr const char *default_config_file = "/etc/pav/pavcfg.conf";

Result<Config> load_config(const std::string &file);
Result<Config> parse_config(const std::string &text, const std::string &file);  // `file` for the messages

}  // namespace pav
