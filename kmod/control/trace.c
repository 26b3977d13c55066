// SPDX-License-Identifier: GPL-2.0
#include "env/host.h"
#define CREATE_TRACE_POINTS
#include "trace.h"
