# SPDX-License-Identifier: GPL-2.0
"""Fixtures for tests in guests, a time limit for each test, and reasons told at once.

`world` is one pair of guests for the whole run. A test that fails leaves guests that nobody can vouch for, so they
are power-cycled before the next one; guests that hang are found before the next test and booted again. After each test the kernels'
messages must be clean, unless the test is marked `dirty_dmesg`. Markers: `long` keeps a test out of `make test`, `smoke` puts it
into `make matrix`, `limit(seconds)` for a test that may take longer than LIMITS says.

How a test ended is told when it ends: on the terminal if it failed, with its reason and the guests' last words; and in the file
PAV_RESULTS, a line of JSON for each step, so that a run that is cut off has told what it knew.
"""
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from vm import World  # noqa: E402
from vm.pace import factor, machine, patience  # noqa: E402

# The kernel that guests run (vm/kernels.py), and the module built for it, as guests see it.
KERNEL = os.environ.get("PAV_VM_KERNEL", "")
MODULE = f"/mnt/repo/build/kmod{KERNEL and '-' + KERNEL}/pavraid.ko"
# Another one makes long tests choose other samples.
SEED = int(os.environ.get("PAV_SEED", "1"))
# Failing memory and I/O at will is for a kernel made for that.
collect_ignore = [] if KERNEL == "debug" else ["test_faults.py"]

failed = pytest.StashKey()
marks = pytest.StashKey()

# Seconds on a quiet machine. A setup may build the module and the guests' image, and boot.
LIMITS = {"setup": 600, "call": 300, "teardown": 180}
CONSOLE_LINES = 12


class TimeLimit(Exception):
    """A test, or its setup or teardown, took too long."""


def pytest_configure(config):
    config.addinivalue_line("markers", "smoke: of those in test_module.py, what `make matrix` runs on each kernel")
    config.addinivalue_line("markers", "long: only in `make test-long`")
    config.addinivalue_line("markers", "dirty_dmesg: the test provokes kernel warnings on purpose")
    config.addinivalue_line("markers", "limit(seconds): how long the test may take on a quiet machine")


# ---- what happened, as it happens ----

def tell(config, text):
    """Prints on the terminal, whatever is captured."""
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(f"\n{text}", end="", flush=True)


def record(**what):
    if path := os.environ.get("PAV_RESULTS"):
        with open(path, "a", encoding="utf-8") as f:
            f.write(json.dumps(what) + "\n")


def pytest_collection_finish(session):
    record(collected=len(session.items))


def pytest_runtest_logstart(nodeid):
    record(test=nodeid, when="start")


def reason(report):
    """One line."""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash else str(report.longrepr)
    where = f" ({Path(crash.path).name}:{crash.lineno})" if crash else ""
    return " | ".join(line.strip() for line in text.splitlines() if line.strip())[:400] + where


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    why = ""
    if report.failed:
        item.stash[failed] = True
        why = reason(report)
        lines = [f"vm: FAILED {item.name} ({report.when}, after {call.duration:.0f} s; {machine()}; pace {factor():.1f}): {why}"]
        for world in World.live:
            for g in world.guests.values():
                said = g.console_tail(CONSOLE_LINES, item.stash.get(marks, {}).get(g.folder, 0))
                lines += [f"vm:   {g.spec.name}{'' if g.running() else ' (down)'}| {line[:200]}" for line in said]
        tell(item.config, "\n".join(lines) + "\n")
    record(test=item.nodeid, when=report.when, outcome=report.outcome, seconds=round(call.duration, 1), why=why)


# ---- time limits ----

def limited(item, when):
    """Runs a phase of a test; it gets an exception when it has taken too long, and another each minute until it ends."""
    seconds = LIMITS[when]
    if when == "call" and (marker := item.get_closest_marker("limit")):
        seconds = marker.args[0]
    began = time.monotonic()

    def late(*_):
        took = time.monotonic() - began
        if took < patience(seconds):        # the pace has been measured meanwhile
            signal.setitimer(signal.ITIMER_REAL, patience(seconds) - took + 0.1, 60)
            return
        raise TimeLimit(f"{item.name}: {when} has taken {took:.0f} s; it may take {patience(seconds):.0f}")
    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, patience(seconds), 60)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_setup(item):
    item.stash[marks] = {g.folder: g.console_mark() for w in World.live for g in w.guests.values()}
    yield from limited(item, "setup")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    yield from limited(item, "call")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_teardown(item):
    yield from limited(item, "teardown")


# ---- guests ----

def build_module():
    subprocess.run(["make", "-s", "-C", Path(__file__).resolve().parents[2], "module", f"KERNEL={KERNEL}"], check=True,
                   stdout=subprocess.DEVNULL)


@pytest.fixture(scope="session")
def say(request):
    return lambda text: tell(request.config, text)


@pytest.fixture
def report(say):
    """Prints what a long test has seen, with the time."""
    began = time.monotonic()

    def out(text):
        say(f"[{time.monotonic() - began:4.0f} s] {text}")
    out(f"seed {SEED}")
    return out


@pytest.fixture(scope="session")
def _pair(say):
    """The two guests, booted once."""
    with World(say=say) as w:
        w.broken = False
        say(f"vm: logs in {w.folder}")
        yield w


@pytest.fixture(scope="module")
def alone():
    """For a module with guests of its own: the pair, if there is one, is shut down and comes back when it is asked for."""
    for w in World.live:
        w.stop()


@pytest.fixture
def world(_pair, request):
    """Both guests up, and at the end of the test still up with nothing bad in their kernels' logs."""
    w = _pair
    if w.broken:
        w.stop()
        w.broken = False
    w.boot()
    marks = {g: g.console_mark() for g in w.guests.values()}
    began = time.monotonic()
    yield w
    w.say(f"vm: {request.node.name} took {time.monotonic() - began:.1f} s")
    w.broken = request.node.stash.get(failed, False) or not all(g.running() for g in w.guests.values())
    if not request.node.get_closest_marker("dirty_dmesg"):
        try:
            for g, since in marks.items():
                g.assert_clean(since)
        except AssertionError:
            w.broken = True
            raise


@pytest.fixture
def target(world):
    return world.target


@pytest.fixture
def initiator(world):
    return world.initiator


@pytest.fixture
def blank_drives(target):
    """The target's drives, read as zeroes: {drive number: "nvme3n1"}. Nothing may be using them."""
    for n in range(target.spec.drives):
        target.blank_drive(n)
    return target.drive_names()
