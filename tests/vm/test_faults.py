# SPDX-License-Identifier: GPL-2.0
"""Memory that cannot be had and drives that err, at random, by the kernel's own fault injection. Under the debug kernel only (make test-debug).

What must hold: an acknowledged write is there afterwards; a command that is refused has changed nothing; and the kernel's checkers have nothing
to say. The tests run in the order they stand here, on one group of eight drives.
"""
import errno
import random

import pytest

import pavnl
from checkers import assert_no_leaks, assert_nothing_left, forget_leaks
from conftest import MODULE, build_module
from pavnl import Refused
from vm.guest import Spec
from vm.world import World
from writer import Writer

DRIVES = 8
MIB = 1 << 20
DEBUGFS = "/sys/kernel/debug"
MANY = 1_000_000        # faults that an injector may cause; it counts them down


class Faults:
    """The kernel's fault injectors of these names, at work in the with statement; happened() says how often."""

    def __init__(self, guest, *names, probability, **settings):
        self.guest, self.names, self.probability = guest, names, probability
        self.settings = {"interval": 1, "verbose": 0, "times": MANY, **settings}

    def _write(self, **settings):
        # One that lacks a setting is not meant by it.
        self.guest.sh("".join(f"[ ! -e {DEBUGFS}/{n}/{k.replace('_', '-')} ] || echo {v} >{DEBUGFS}/{n}/{k.replace('_', '-')} || exit 1; "
                              for n in self.names for k, v in settings.items()))

    def __enter__(self):
        self._write(**self.settings)
        self._write(probability=self.probability)       # last, when it is settled who is to be hit
        return self

    def __exit__(self, *_):
        self._write(probability=0)

    def happened(self):
        return sum(MANY - int(left) for left in self.guest.sh(f"cd {DEBUGFS} && cat " + " ".join(f"{n}/times" for n in self.names)).split())


def no_memory(guest, per_myriad):
    """Of what the module asks for, or anybody on its behalf, so many in ten thousand are refused."""
    base, size = guest.sh("awk '$1 == \"pavraid\" { print $6, $2 }' /proc/modules").split()
    return Faults(guest, "failslab", "fail_page_alloc", probability=per_myriad, interval=100, ignore_gfp_wait="N", min_order=0,
                  require_start=base, require_end=hex(int(base, 16) + int(size)))


@pytest.fixture(scope="module")
def guest(alone, say):
    build_module()
    with World((Spec("target", addr=1, links=0, drives=DRIVES, drive_mib=512, mem_mib=2048, cpus=2),), say=say) as world:
        forget_leaks(world.target)
        world.target.sh(f"insmod {MODULE}")
        yield world.target


@pytest.fixture(scope="module")
def nl(guest):
    return pavnl.Netlink(guest)


@pytest.fixture(autouse=True)
def clean_console(guest):
    mark = guest.console_mark()
    yield
    guest.assert_clean(mark)


def drives(guest):
    return [{"drive-path": f"/dev/{name}"} for _, name in sorted(guest.drive_names().items())]


def export(guest, nl):
    guest.sh("udevadm settle -t 60", timeout=90)
    nl.do("group-export", group="f")


def test_commands_without_memory(guest, nl, say):
    """Creates, renames, deletes, exports and imports, one request for memory in ten thousand refused; a model knows what must be there."""
    rng = random.Random(1)
    nl.do("group-create", group="f", drives=drives(guest))
    model, refused, tried, opened, count = {}, 0, 0, True, 0

    def attempt(command, **values):
        nonlocal refused, tried
        tried += 1
        try:
            nl.do(command, **values)
        except Refused as e:
            assert e.code == errno.ENOMEM, f"{command} {values}: {e}"
            refused += 1
            return False
        return True
    for _ in range(5):
        with no_memory(guest, 1) as faults:
            for i in range(20):
                name = rng.choice(list(model) or [""])
                what = rng.choice(("create", "create", "rename", "grow", "delete", "export")) if opened else "import"
                new = f"v{tried}"
                if what == "create" and attempt("volume-create", group="f", volume=new, size=MIB):
                    model[new] = MIB
                elif what == "rename" and name and attempt("volume-rename", group="f", volume=name, new_name=new):
                    model[new] = model.pop(name)
                elif what == "grow" and name and attempt("volume-grow", group="f", volume=name, size=model[name] + MIB):
                    model[name] += MIB
                elif what in ("delete", "export"):
                    guest.sh("udevadm settle -t 60", timeout=90)
                    if what == "export":
                        opened = not attempt("group-export", group="f")
                    elif name and attempt("volume-delete", group="f", volume=name):
                        del model[name]
                elif what == "import":
                    opened = attempt("group-import", group="f", drives=drives(guest))
            count += faults.happened()
        if not opened:
            nl.do("group-import", group="f", drives=drives(guest))
            opened = True
        assert {v["volume"]: v["size"] for v in nl.dump("volume-get", group="f")} == model
        say(f"vm: {count} requests for memory and {refused} of {tried} commands refused so far; {len(model)} volumes")
    assert 0 < refused < tried and count
    guest.sh("udevadm settle -t 60", timeout=90)
    for name in model:
        nl.do("volume-delete", group="f", volume=name)


@pytest.fixture(scope="module")
def writer(guest, nl):
    """A writer, and the ledger of what it wrote, which the tests go on with."""
    device = nl.do("volume-create", group="f", volume="data", size=64 * MIB)["block-device"]
    return Writer(guest, "faults", blocks=16384), f"/dev/{device}"


def test_writes_without_memory(guest, writer, say):
    """A writer meets no error where the module gets no memory now and then: there is a reserve for what must go on."""
    w, device = writer
    w.start(device)
    with no_memory(guest, 100) as faults:
        w.go_on(400, seconds=300)
        count = faults.happened()
    w.stop()
    say(f"vm: {count} requests for memory refused; {w.judge(device)}")


@pytest.mark.limit(600)
def test_drives_that_err(guest, nl, writer, say):
    """Two drives err in two of a hundred requests, reads and writes, until they are failed; then a sudden stop."""
    w, device = writer
    bad = [drives(guest)[i]["drive-path"] for i in (2, 5)]
    sick = " ".join(f"/sys/block/{path.removeprefix('/dev/')}/make-it-fail" for path in bad)
    guest.sh(f"for f in {sick}; do echo 1 >$f || exit 1; done")
    w.start(device)
    with Faults(guest, "fail_make_request", probability=2) as faults:
        w.go_on(400, seconds=300)
        guest.sh(f"echo 3 >/proc/sys/vm/drop_caches; dd if={device} of=/dev/null bs=1M iflag=direct status=none", timeout=120)
        count = faults.happened()
    say(f"vm: {count} requests to drives failed")
    assert count
    w.go_on(100)
    w.stop()
    found = w.judge(device)
    states = {d["drive-path"]: d["drive-state"] for d in nl.dump("drive-get", group="f")}
    say(f"vm: {found}; {', '.join(f'{p} {states[p]}' for p in bad)}")
    assert {p for p, s in states.items() if s == "failed"} <= set(bad)
    assert nl.do("group-get", group="f")["group-state"] in ("online", "degraded")

    w.start(device)
    guest.power_cycle()
    guest.sh(f"insmod {MODULE}")
    nl.do("group-import", group="f", drives=drives(guest))
    device = "/dev/" + nl.do("volume-get", group="f", volume="data")["block-device"]
    w.job = None
    w.judge(device, settle=True)


def test_nothing_is_left(guest, nl):
    export(guest, nl)
    guest.sh("rmmod pavraid")
    assert_nothing_left(guest)
    assert_no_leaks(guest)
