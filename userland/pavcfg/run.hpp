// SPDX-License-Identifier: GPL-2.0
//
// One command from words to exit code. Everything outside comes in through Session, so that the tests run whole commands.
#pragma once

#include <functional>
#include <iosfwd>
#include <string>
#include <vector>

#include "pav/array.hpp"
#include "pavcfg/commands.hpp"

namespace pav::cli {

enum Exit { exit_ok = 0, exit_refused = 1, exit_usage = 2, exit_partial = 3, exit_config = 4 };

struct Options {
    bool json = false, dry_run = false, yes = false, quiet = false, watch = false;
    std::string config_file = "/etc/pav/pavcfg.conf";
    std::string module;
    std::optional<unsigned> wait_seconds;
};

struct Session {
    std::ostream &out, &err;
    std::istream &in;
    bool interactive = false;                       // questions can be asked
    std::function<Result<Config>(const std::string &file)> load;
    std::function<Machine()> machine;               // for one command
    std::function<int(const Call &, const Options &, Session &)> events;  // show events
};

// The whole command line without the program's name.
int run(const std::vector<std::string> &arguments, Session &session);

}  // namespace pav::cli
