# SPDX-License-Identifier: GPL-2.0
"""How patient to be: every timeout is written for a quiet machine, and stretched by how long guests have just taken to boot.

A boot is the measure because it is made of what tests are made of: emulated CPUs, emulated drives, and the other work beside them.
"""
import collections
import os
import time

QUIET_BOOT = 15     # seconds: the pair of guests, side by side, emulated, on 2 quiet cores
_boots = collections.deque(maxlen=4)
_least = [1.0]      # what is known beforehand


def booted(seconds):
    """A guest has booted in so many seconds."""
    _boots.append(seconds)


def at_least(times):
    """The guests' kernel is known to be so many times slower than Debian's."""
    _least.append(times)


def factor():
    """How many times slower than a quiet machine with Debian's kernel this one is just now; never below 1."""
    return max([*_least, *(b / QUIET_BOOT for b in _boots)])


def patience(seconds):
    """The timeout, in seconds, that stands for so many on a quiet machine."""
    return seconds * factor()


def wait_until(condition, what, seconds, pause=0.1):
    """Waits for condition() to be true, for patience(seconds), and returns what it gave."""
    seconds = patience(seconds)
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what() if callable(what) else what}"
        time.sleep(pause)
    return value


def machine():
    """This machine in a line: cores, load, memory."""
    with open("/proc/meminfo", encoding="ascii") as f:
        mem = {name: int(rest.split()[0]) for name, rest in (line.split(":") for line in f)}
    load = " ".join(f"{x:.1f}" for x in os.getloadavg())
    return f"{os.cpu_count()} cores, load {load}, {mem['MemAvailable'] / 2**20:.1f} of {mem['MemTotal'] / 2**20:.1f} GiB free"
