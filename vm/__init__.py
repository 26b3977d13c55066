# SPDX-License-Identifier: GPL-2.0
"""Guests for tests: see vm/README.md."""
from .guest import CommandFailed, CommandTimeout, Guest, Result, Spec  # noqa: F401
from .sockets import GuestError, GuestGone  # noqa: F401
from .world import DRIVES, INITIATOR, SPARES, TARGET, World  # noqa: F401
