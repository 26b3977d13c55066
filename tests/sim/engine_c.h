// SPDX-License-Identifier: GPL-2.0
// The engine's borders as C++ sees them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>

extern "C" {
#include "engine.h"

#include "counts.h"
}
