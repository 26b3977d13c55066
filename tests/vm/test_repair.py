# SPDX-License-Identifier: GPL-2.0
"""Drives that fail, go, come and come back, as an administrator sees it: pavcfg on a guest with small drives. R6.

The tests run in the order they stand here, on one group: 4+2 and two spares at first. A volume holds a pattern all the time; after each
change it is read and compared, past the page cache.
"""
import json
import random
import subprocess
import time

import pytest

import pavnl
from conftest import failed
from pavnl import REPO
from vm.guest import Spec
from vm.pace import wait_until
from vm.world import World

DRIVES, SPARES, MORE = 6, 2, 4          # in the group, beside it, blank ones for later

pytestmark = pytest.mark.long            # three minutes
MIB = 1 << 20
DRIVE_MIB = 256
DATA_MIB = 160
SEGMENTS_CELL = 256                     # where segments begin on a drive (kmod/format/format.h)
MODULE = "/mnt/repo/build/kmod/pavraid.ko"
PAVCFG = "/mnt/repo/build/cmake/userland/pavcfg"
PATIENCE = 240
CONFIG = f"""
zones: ( {{ id = 1; }} );
controllers: ( {{ id = 1; zone = 1; protocol = "tcp"; }} );
ports: ( {{ name = "100g-1/1"; controller = 1; interface = "eth0"; ip = "10.70.0.1"; }} );
options: {{ module = "{MODULE}"; }};
"""


class Array:
    def __init__(self, guest, say):
        self.guest = guest
        self.say = say
        self.nl = pavnl.Netlink(guest)
        self.where = {}                     # drive number: its path when it was last in its slot

    def run(self, line, check=True):
        return self.guest.exec(f"{PAVCFG} {line}", timeout=PATIENCE, check=check)

    def __call__(self, line):
        return self.run(line).out

    def json(self, line):
        return json.loads(self.run(f"--json {line}", check=False).out)

    def refused(self, line, *parts):
        r = self.run(line, check=False)
        assert r.code == 1, (line, r)
        for part in parts:
            assert part in r.err, (line, r.err)

    def path(self, n):
        names = self.guest.drive_names()
        if n in names:
            self.where[n] = f"/dev/{names[n]}"
        return self.where[n]

    def drives(self):
        return {d["slot"]: d for d in self.json("show drives grpname G")["drives"]}

    def slot_of(self, path):
        slot, = [s for s, d in self.drives().items() if d["path"] == path]
        return slot

    def states(self):
        states = [d["state"] for d in self.drives().values()]
        return {s: states.count(s) for s in sorted(set(states))}

    def group(self):
        return self.json("show groups")["groups"][0]

    def task(self, kind):
        task, = [t for t in self.json("show tasks")["tasks"] if t["task"] == kind]
        return task

    def write(self):
        """New data: every place of the volume in turn, and an overwritten part, so that stripes of all ages are there."""
        self.guest.sh(f"dd if=/dev/urandom of=/dev/shm/data bs=1M count={DATA_MIB} status=none && "
                      f"dd if=/dev/shm/data of=/dev/pav/G/v bs=1M oflag=direct status=none && "
                      "dd if=/dev/urandom of=/dev/shm/data bs=4k seek=1000 count=3000 conv=notrunc status=none && "
                      "dd if=/dev/shm/data of=/dev/pav/G/v bs=4k skip=1000 seek=1000 count=3000 oflag=direct status=none", timeout=PATIENCE)

    def verify(self, what):
        assert self.guest.sh(f"dd if=/dev/pav/G/v bs=1M count={DATA_MIB} iflag=direct status=none | cmp - /dev/shm/data && echo same",
                             timeout=PATIENCE) == "same", what
        assert self.counter("cells_lost") == 0, what

    def counter(self, name):
        return self.group()["counters"][name]

    def wait_states(self, what, seconds=120, **wanted):
        wait_until(lambda: self.states() == wanted, lambda: f"{what}: {self.states()}, wanted {wanted}; {self.json('show tasks')}", seconds, pause=1)

    def wait_whole(self, what, seconds=180, **wanted):
        """Every drive that is there is active, and nothing is rebuilt any more."""
        r = self.run(f"show tasks --watch --wait {round(seconds)}", check=False)
        self.say(r.err.strip() + "\n" + r.out)
        self.wait_states(what, **wanted)
        assert self.group()["status"] != "Rebuilding"

    def pull(self, n):
        path = self.path(n)
        self.guest.pull_drive(n)
        return path


@pytest.fixture(scope="module")
def guest(alone, say):
    subprocess.run(["make", "-s", "-C", REPO, "module"], check=True, stdout=subprocess.DEVNULL)
    assert (REPO / "build/cmake/userland/pavcfg").exists(), "build it first: make userland"
    spec = Spec("target", addr=1, links=0, drives=DRIVES + SPARES + MORE, drive_mib=DRIVE_MIB, mem_mib=1536, cpus=2)
    with World((spec,), say=say) as world:
        world.target.broken = False
        yield world.target


@pytest.fixture(scope="module")
def _array(guest, say):
    a = Array(guest, say)
    guest.exec("cat > /etc/pav/pavcfg.conf", stdin=CONFIG)
    # What udev runs when a drive appears.
    guest.sh(f"ln -sf {PAVCFG} /usr/sbin/pavcfg; insmod {MODULE}")
    d = [a.path(n) for n in range(DRIVES + SPARES + MORE)]
    a(f"create group name G drives {' '.join(d[:DRIVES])} spares {' '.join(d[DRIVES:DRIVES + SPARES])}")
    a("create volume name v size 200 MB grpname G")
    guest.sh("udevadm settle -t 60", timeout=PATIENCE)
    a.write()
    return a


@pytest.fixture
def array(_array, guest, request):
    if guest.broken:
        pytest.skip("a test before this one failed: what the drives hold is not known")
    mark = guest.console_mark()
    yield _array
    guest.broken = request.node.stash.get(failed, False)
    guest.assert_clean(mark)


def test_a_spare_takes_over_by_itself(array):
    """Two pulls, a spare for each; after the second rebuild the group bears two more losses, which it could not without."""
    for n in (1, 4):
        slot = array.slot_of(array.path(n))
        array.pull(n)
        wait_until(lambda s=slot, p=array.where[n]: array.drives()[s]["path"] != p, "a spare has the slot", 60, pause=0.5)
        array.wait_whole(f"drive {n} pulled", active=DRIVES, **({"spare": 1} if n == 1 else {}))
        task = array.task("rebuild")
        array.say(f"drive {n} pulled: {task['rebuilt_bytes'] / MIB:.1f} MiB rebuilt in {task['seconds']} s, {task['total_segments']} segments")
        assert task["state"] == "done" and task["rebuilt_bytes"] > DATA_MIB * MIB // 4 // 2 and task["stripes_beyond_repair"] == 0
        array.verify(f"after drive {n}")
    assert array.group()["status"] == "Online"


def test_two_more_pulls_lose_nothing(array):
    """The third and fourth drive of the group's life, without spares; both are put back, and get what they missed."""
    for n in (0, 2):
        array.pull(n)
    array.wait_states("two pulled", active=DRIVES - 2, failed=2)
    assert array.group()["status"] == "Degraded"
    array.verify("two drives away")
    array.guest.sh("dd if=/dev/urandom of=/dev/shm/data bs=1M seek=3 count=20 conv=notrunc status=none; "
                   "dd if=/dev/shm/data of=/dev/pav/G/v bs=1M skip=3 seek=3 count=20 oflag=direct status=none", timeout=PATIENCE)
    since = int(array.guest.sh("date +%s"))
    for n in (0, 2):
        array.guest.insert_drive(n)         # udev's rule does the rest
    wait_until(lambda: "failed" not in array.states(), lambda: f"drives come home: {array.states()}; {array('show drives')}", 90, pause=1)
    array.wait_whole("two are back", active=DRIVES)
    # Where nothing was being written when they went they missed nothing: what came later went to segments without them. Then no rebuild begins at all.
    task = array.task("rebuild")
    rebuilt = task["rebuilt_bytes"] if task["started"] >= since else 0
    array.say(f"two drives back: {rebuilt / MIB:.1f} MiB rebuilt")
    assert rebuilt < DATA_MIB * MIB // 4, "only what they missed, not what they hold"
    array.verify("two are back")
    # And what came home is whole: two others may go.
    for n in (3, 5):
        array.pull(n)
    array.wait_states("two others pulled", active=DRIVES - 2, failed=2)
    array.verify("two others away")
    for n in (3, 5):
        array.guest.insert_drive(n)
    wait_until(lambda: "failed" not in array.states(), lambda: f"drives come home: {array.states()}", 90, pause=1)
    array.wait_whole("all are back", active=DRIVES)
    array.verify("all are back")


def test_return_by_hand_and_refusals(array):
    stranger = array.path(DRIVES + SPARES)
    array.refused(f"return drive {stranger}", stranger)
    assert "Nothing to do" in array("return")
    array.refused("return drive /dev/nvme99n1", "/dev/nvme99n1")


def test_replace(array):
    """With a new drive by name; the old one still works. Then the new one holds what it should: two others may go."""
    old, new = array.path(0), array.path(DRIVES + SPARES)
    slot = array.slot_of(old)
    array.guest.sh(f"mkfs.ext4 -q {new}", timeout=PATIENCE)
    array.refused(f"replace drive {old} in group G with {new} --yes", f"{new} holds a file system (ext4)", f"wipefs -a {new}")
    array.guest.sh(f"wipefs -q -a {new}")
    array.refused(f"replace drive {old} in group G --yes", "no spare")
    array.refused(f"replace drive {old} in group G with {new}", "--yes")
    r = array.run(f"replace drive {old} in group G with {new} --yes --watch")
    array.say(r.out + r.err)
    assert array.drives()[slot]["path"] == new
    array.wait_whole("replaced", active=DRIVES)
    array.verify("replaced")
    # The old drive is let go of, and can be taken anew once its records are wiped.
    wait_until(lambda: array.run(f"wipe drives {old} --yes", check=False).code == 0, f"{old} is free", 60, pause=2)
    array(f"add spares {old} to group G")
    array.wait_states("a spare again", active=DRIVES, spare=1)


def test_a_drive_that_stalls_is_failed(array):
    """It takes commands and never answers, and no I/O fails: the owner's rounds find it. The spare takes over; the group works on meanwhile and after."""
    n = DRIVES + SPARES         # that took over in the test before; later ones want the others
    slot, path = array.slot_of(array.path(n)), array.path(n)
    limit = int(array.guest.sh("cat /sys/module/pavraid/parameters/stall_limit"))
    array.guest.stall_drive(n)
    began = time.monotonic()
    wait_until(lambda: array.drives()[slot]["path"] != path, lambda: f"the spare has the slot of the drive that stalls: {array('show drives')}",
               limit + 30, pause=0.5)
    took = time.monotonic() - began
    array.say(f"a drive that stalls was replaced after {took:.1f} s; stall_limit is {limit} s")
    assert took > limit / 2, "not at the first late answer"
    assert "it stalls: " in array.guest.sh("dmesg | tail -50")
    array.wait_whole("a spare for the one that stalls", active=DRIVES)
    array.verify("one stalls")
    array.write()
    array.verify("written while it stalls")
    array.guest.stall_drive(n, stalled=False)
    wait_until(lambda: array.run(f"wipe drives {path} --yes", check=False).code == 0, f"{path} answers, and is free", 180, pause=2)
    array(f"add spares {path} to group G")
    array.wait_states("a spare again", active=DRIVES, spare=1)


def test_spares_come_and_go(array):
    spare, = [d["path"] for d in array.drives().values() if d["state"] == "spare"]
    array(f"remove drive {spare} from group G --yes")
    wait_until(lambda: "spare" not in array.states(), lambda: f"the spare has left: {array.states()}", 60, pause=1)
    wait_until(lambda: array.run(f"--dry-run add spares {spare} to group G", check=False).code == 0, f"{spare} is free", 60, pause=2)
    array.verify("a spare has left")


def test_the_group_grows_and_shrinks(array):
    """Two drives join, one that was there from the beginning leaves; at each stage any two may be lost, new ones and old ones."""
    new, old = [array.path(n) for n in (DRIVES + SPARES + 1, DRIVES + SPARES + 2)], array.path(3)
    capacity = array.group()["capacity_bytes"]
    array.say(array(f"add drives {' '.join(new)} to group G"))
    grown = array.group()["capacity_bytes"]
    assert array.states() == {"active": DRIVES + 2} and grown > 1.3 * capacity, "two data drives more than four"
    array.verify("two have joined")
    array.write()
    array.verify("written to all")

    def two_lost(numbers, members):
        for n in numbers:
            array.pull(n)
        array.wait_states("two pulled", active=members - 2, failed=2)
        array.verify(f"drives {numbers} away")
        for n in numbers:
            array.guest.insert_drive(n)
        wait_until(lambda: "failed" not in array.states(), lambda: f"drives come home: {array.states()}", 90, pause=1)
        array.wait_whole("they are back", active=members)

    two_lost((DRIVES + SPARES + 1, 5), DRIVES + 2)
    array.say(array(f"remove drive {old} from group G --yes"))
    assert array.states().get("leaving", 0) <= 1
    array.wait_states("one has left", active=DRIVES + 1)
    wait_until(lambda: array.run(f"--dry-run add spares {old} to group G", check=False).code == 0, f"{old} is free", 60, pause=2)
    assert capacity < array.group()["capacity_bytes"] < grown
    array.verify("one has left")
    two_lost((DRIVES + SPARES + 2, 5), DRIVES + 1)
    array.guest.sh("udevadm settle -t 60")
    array("export group name G --yes")
    array("import group name G")
    assert array.states() == {"active": DRIVES + 1}
    array.verify("after export and import")


def test_scrub_finds_and_heals(array, nl=None):
    """Garbage on a drive behind everybody's back, wherever there may be something; the scrub heals all of it."""
    victim = next(n for n in (2, 5) if array.path(n) in [d["path"] for d in array.drives().values()])
    rng = random.Random(7)
    r = array.run("scrub group G --watch --wait 200")
    array.say(r.out + r.err)
    clean = array.task("scrub")
    assert clean["state"] == "done" and clean["healed_bytes"] == 0 and clean["finished"] >= clean["started"] > 0
    blocks = rng.sample(range(SEGMENTS_CELL, DRIVE_MIB * 256), 2000)
    with open(array.guest.drive_file(victim), "r+b") as f:
        for block in blocks:
            f.seek(block * 4096)
            before = f.read(4096)
            f.seek(block * 4096)
            f.write(bytes(b ^ 0x5A for b in before[:64]) + before[64:])
    array.guest.sh("echo 3 > /proc/sys/vm/drop_caches")
    r = array.run("scrub group G --watch --wait 200")
    array.say(r.out + r.err)
    healed = array.task("scrub")
    array.say(f"scrub: {len(blocks)} blocks spoilt, {healed['healed_bytes'] // 4096} of them in use and healed, in {healed['seconds']} s")
    assert healed["state"] == "done" and 0 < healed["healed_bytes"] <= len(blocks) * 4096 and healed["stripes_beyond_repair"] == 0
    array.run("scrub group G --watch --wait 200")
    assert array.task("scrub")["healed_bytes"] == 0, "and they stay healed"
    array.verify("healed")


def test_scrub_goes_on_after_a_restart_and_stops(array):
    array.guest.sh("echo 1 > /sys/module/pavraid/parameters/rebuild_rate_min; echo 1 > /sys/module/pavraid/parameters/rebuild_rate_max")
    array("scrub group G")
    wait_until(lambda: array.task("scrub")["done_segments"] > 2, "a few segments are done", 120, pause=1)
    array.guest.sh("udevadm settle -t 60")
    done = array.task("scrub")["done_segments"]
    array("export group name G --yes")
    array("import group name G")
    task = array.task("scrub")
    array.say(f"scrub at segment {done} before, {task['done_segments']} after export and import, {task['state']}")
    assert task["state"] == "running" and task["done_segments"] >= done
    array("scrub group G stop")
    wait_until(lambda: array.task("scrub")["state"] != "running", "it stops", 60, pause=1)
    array.guest.sh("echo 64 > /sys/module/pavraid/parameters/rebuild_rate_min; echo 0 > /sys/module/pavraid/parameters/rebuild_rate_max; "
                   "udevadm settle -t 60")
    array.verify("after export and import")
