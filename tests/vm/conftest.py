# SPDX-License-Identifier: GPL-2.0
"""Fixtures for tests in guests.

`world` is one pair of guests for the whole run. A test that fails leaves guests that nobody can vouch for, so they
are power-cycled before the next one. After each test the kernels' messages must be clean, unless the test is marked
`dirty_dmesg`. Markers: `smoke` for what fits into `make test`, `long` for the rest.
"""
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from vm import World  # noqa: E402

failed = pytest.StashKey()


def pytest_configure(config):
    config.addinivalue_line("markers", "smoke: quick enough for `make test`")
    config.addinivalue_line("markers", "long: only in `make test-long`")
    config.addinivalue_line("markers", "dirty_dmesg: the test provokes kernel warnings on purpose")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed:
        item.stash[failed] = True


@pytest.fixture(scope="session")
def _pair(request):
    """The two guests, booted once."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def say(text):
        with capture.global_and_fixture_disabled():
            print(f"\n{text}", end="", flush=True)
    with World(say=say) as w:
        w.broken = False
        say(f"vm: logs in {w.folder}")
        yield w


@pytest.fixture
def world(_pair, request):
    """Both guests up, and at the end of the test still up with nothing bad in their kernels' logs."""
    w = _pair
    if w.broken:
        for g in w.guests.values():
            g.kill()
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
