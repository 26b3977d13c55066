// SPDX-License-Identifier: GPL-2.0
#pragma once

#include <signal.h>

namespace pav::nvmet {

// While one of these lives, the signals by which a terminal, a lost connection or a shutdown end a program wait: a change that has
// several steps is not left half done. They may be nested; one thread's.
class SignalsBlocked {
  public:
    SignalsBlocked() {
        sigset_t set;
        ::sigemptyset(&set);
        for (const int s : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) ::sigaddset(&set, s);
        ::sigprocmask(SIG_BLOCK, &set, &old_);
    }
    SignalsBlocked(const SignalsBlocked &) = delete;
    SignalsBlocked &operator=(const SignalsBlocked &) = delete;
    ~SignalsBlocked() { ::sigprocmask(SIG_SETMASK, &old_, nullptr); }

  private:
    sigset_t old_{};
};

}  // namespace pav::nvmet
