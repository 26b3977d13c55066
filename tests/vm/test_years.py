# SPDX-License-Identifier: GPL-2.0
"""Years of an array, in an hour: a full group of 16+2 is overwritten five times at random, while the power is cut ten times, two drives are
lost and rebuilt onto spares. What writes cost once the garbage collector has found its rhythm. And what a rebuild takes when little is alive, and when all
is, beside md's.

Every 4 KiB has a header of fio's own, so that the whole volume can be judged at any time, whoever wrote it last, and whatever was in flight when
the power went. Figures are printed.
"""
import json
import random
import time

import pytest

from conftest import MODULE, SEED
from group import MIB, Array, fill, judge, one_guest, overwrite, plain
from vm.pace import wait_until

DRIVES, SPARES = 18, 2
OVERWRITES = 5
CUTS = 10
REBUILD_MIB = 512       # a drive's size where rebuilds are timed

pytestmark = [pytest.mark.long, pytest.mark.limit(2 * 3600)]


class Years(Array):
    """A group "g" in the guest, and what is counted over several lives of it."""

    def __init__(self, guest, say):
        super().__init__(guest)
        self.say = say
        self.sum = {}

    def counters(self):
        return self.nl.do("group-get", group="g")["counters"]

    def written(self):
        """Cells written to all drives."""
        return sum(d["counters"]["write_bytes"] for d in self.nl.dump("drive-get", group="g")) // 4096

    def measured(self, command, timeout):
        """Runs fio; adds to the sums what was written meanwhile, and returns how long 99.9 % of the writes took at most, in us."""
        before, drives = self.counters(), self.written()
        result = json.loads(self.guest.sh(f"{command} --output-format=json", timeout=timeout))
        after = self.counters()
        for name in ("data_cells", "moved_cells", "node_cells", "header_cells", "parity_cells", "pad_cells"):
            self.sum[name] = self.sum.get(name, 0) + after[name] - before[name]
        self.sum["drives"] = self.sum.get("drives", 0) + self.written() - drives
        return result["jobs"][0]["write"]["clat_ns"]["percentile"]["99.900000"] / 1000

    def cost(self):
        """Cells written to all drives for each of the user's, where it was measured."""
        return self.sum["drives"] / self.sum["data_cells"]

    def parts(self):
        """What they were."""
        return ", ".join(f"{name} {self.sum[name] / self.sum['data_cells']:.2f}" for name in sorted(self.sum) if name != "drives")

    def scrubbed(self):
        """What the last scrub has to say, once it has come to its end."""
        def task():
            return self.nl.do("group-get", group="g")["tasks"]["scrub"]
        wait_until(lambda: not task().get("task-running") and task()["task-finished"] >= task()["task-started"] > 0, lambda: f"a scrub ends: {task()}", 900, pause=1)
        return task()

    def wait_rebuilt(self, drives, seconds=900):
        """Until so many drives are active and hold all they should."""
        wait_until(lambda: self.drive_states("g").get("active") == drives and "rebuilding" not in self.drive_states("g"),
                   lambda: f"{drives} drives whole: {self.drive_states('g')}", seconds, pause=0.2)


class TestYears:
    @pytest.fixture(scope="class")
    def guest(self, alone, say):
        yield from one_guest(say, drives=DRIVES + SPARES, drive_mib=256, parallel=True)

    def test_full_overwritten_cut_lost_rebuilt(self, guest, report):
        rng = random.Random(SEED)
        array = Years(guest, report)
        every = range(DRIVES + SPARES)
        mark = guest.console_mark()
        guest.sh(f"insmod {MODULE}")
        array.nl.do("group-create", group="g", drives=array.paths(range(DRIVES)) + [{**d, "drive-spare": True} for d in array.paths(range(DRIVES, DRIVES + SPARES))])
        size = array.nl.do("group-get", group="g")["free"] // MIB - 1
        device = "/dev/" + array.nl.do("volume-create", group="g", volume="v", size=(size + 64) * MIB)["block-device"]
        guest.sh(fill(device, size), timeout=1800)
        refused = guest.exec(f"dd if=/dev/zero of={device} bs=1M seek={size} count=64 oflag=direct", timeout=300, check=False)
        assert refused.code and "No space left" in refused.err, refused
        report(f"{size} MiB written: the group is full")
        slowest, lost = 0, []
        for cut in range(1, CUTS + 1):
            if cut in (CUTS // 3, CUTS * 2 // 3):
                lost.append(rng.choice([n for n in range(DRIVES) if n not in lost]))
                guest.pull_drive(lost[-1])
            slow = array.measured(f"{overwrite(device, size)} --io_size={size * OVERWRITES // CUTS}m", 3600)
            slowest = max(slowest, slow)
            report(f"turn {cut}: {size * OVERWRITES // CUTS} MiB overwritten; 99.9 % of the writes took at most {slow / 1000:.1f} ms; "
                   f"drives {array.drive_states('g')}")
            if cut in (2, 5, 8):        # while everything goes on, cuts included
                array.nl.do("scrub", group="g")
            writer = guest.spawn(f"{overwrite(device, size)} --time_based --runtime=600")
            time.sleep(1 + 4 * rng.random())
            guest.kill()
            guest.assert_clean(mark)
            del writer
            guest.boot()
            mark = guest.console_mark()
            guest.sh(f"insmod {MODULE}")
            device = array.bring_in("g", every)
            if cut % 3 == 0 or cut == CUTS:
                array.wait_rebuilt(DRIVES)
                guest.sh(judge(device, size), timeout=1800)
                report(f"cut {cut}, imported: all {size} MiB verified; drives {array.drive_states('g')}")
        report(f"written for each of the user's {array.sum['data_cells']} blocks: {array.cost():.2f} in all; {array.parts()}")
        report(f"the slowest turn: 99.9 % of the writes took at most {slowest / 1000:.1f} ms")
        array.scrubbed()        # the one that was asked for lives ago: it went on, and came to its end
        array.nl.do("scrub", group="g")
        scrub = array.scrubbed()
        report(f"the last scrub: {scrub['task-done']} segments, {scrub['task-healed'] // 4096} cells healed, {scrub['task-lost']} stripes beyond repair")
        assert scrub["task-done"] > 0 and scrub["task-lost"] == 0 and array.counters()["cells_lost"] == 0
        array.destroy("g")
        guest.assert_clean(mark)

    @pytest.mark.parametrize("percent", [50, 80, 95])
    def test_how_long_writes_take(self, guest, report, percent):
        """4 KiB at random, 16 at a time, into a group that holds so much: 99.9 % of them."""
        array = Years(guest, report)
        mark = guest.console_mark()
        guest.sh(f"grep -q ^pavraid /proc/modules || insmod {MODULE}")
        array.nl.do("group-create", group="g", drives=array.paths(range(8)))
        size = array.nl.do("group-get", group="g")["free"] // MIB * percent // 100
        device = "/dev/" + array.nl.do("volume-create", group="g", volume="v", size=size * MIB)["block-device"]
        guest.sh(fill(device, size), timeout=1800)
        guest.sh(f"{overwrite(device, size)} --io_size={size}m", timeout=1800)       # to where it stays as it is
        slow = array.measured(f"{overwrite(device, size, bs='4k')} --io_size={size // 4}m", 1800)
        moved = array.sum["moved_cells"] / array.sum["data_cells"]
        report(f"{percent} % full: 99.9 % of the writes took at most {slow / 1000:.1f} ms; {moved:.2f} cells moved for each one written")
        guest.sh(judge(device, size), timeout=1800)
        array.destroy("g")
        guest.assert_clean(mark)


class TestAmplification:
    """What all drives are sent for each of the user's blocks, in a group of 16+2 of which a quarter stays empty: after five times its content."""
    # On a drive, in MiB and bytes: 1,500 segments. As large as they are by default such a drive would hold 47, and what is set apart would be most of the reserve;
    # larger drives take an emulated machine longer. In 1,000 segments of this size (128 MiB a drive) it was 3.33 uniform and 2.48 with 90/10, which missed.
    DRIVE_MIB, SEGMENT = 192, 128 << 10

    @pytest.fixture(scope="class")
    def guest(self, alone, say):
        yield from one_guest(say, drives=DRIVES, drive_mib=self.DRIVE_MIB, parallel=True)

    # The goals are those of the simulator (kmod/DESIGN.md, "What it costs"); they may be missed by a tenth.
    @pytest.mark.parametrize("work, zones, goal", [("uniform", "", 2.7), ("90/10", "--random_distribution=zoned:90/10:10/90", 2.0)])
    def test_steady_state(self, guest, report, work, zones, goal):
        array = Years(guest, report)
        mark = guest.console_mark()
        guest.sh(f"grep -q ^pavraid /proc/modules || insmod {MODULE}")
        array.nl.do("group-create", group="g", drives=array.paths(range(DRIVES)), segment_bytes=self.SEGMENT, reserve_percent=25)
        size = array.nl.do("group-get", group="g")["free"] // MIB - 1
        device = "/dev/" + array.nl.do("volume-create", group="g", volume="v", size=size * MIB)["block-device"]

        guest.sh(plain(device, size, "--rw=write --bs=1m --iodepth=4"), timeout=1800)
        churn = plain(device, size, f"--rw=randwrite --bs=4k --iodepth=64 --norandommap --randrepeat=0 {zones}")
        guest.sh(f"{churn} --io_size={OVERWRITES * size}m", timeout=3600)
        slow = array.measured(f"{churn} --io_size={size}m", 3600)
        cost = array.cost()
        goal *= DRIVES / (DRIVES - 2)
        report(f"{work}: {size} MiB in {(DRIVES - 2) * self.DRIVE_MIB} MiB of room for data, overwritten {OVERWRITES} times; then {cost:.2f} cells written for each of the user's (goal {goal:.2f}): "
               f"{array.parts()}; 99.9 % of the writes took at most {slow / 1000:.1f} ms")
        array.destroy("g")
        guest.assert_clean(mark)
        assert cost <= 1.1 * goal


class TestRebuildTime:
    @pytest.fixture(scope="class")
    def guest(self, alone, say):
        yield from one_guest(say, drives=14, drive_mib=REBUILD_MIB, parallel=True)

    def rebuilt_in(self, array, percent):
        """Seconds from the loss of a drive until a spare has taken its place, in a group of 4+2 that is so full."""
        guest = array.guest
        array.nl.do("group-create", group="g", drives=array.paths(range(6)) + [{**array.paths([6])[0], "drive-spare": True}])
        size = array.nl.do("group-get", group="g")["free"] // MIB * percent // 100
        device = "/dev/" + array.nl.do("volume-create", group="g", volume="v", size=size * MIB)["block-device"]
        guest.sh(fill(device, size), timeout=1800)
        array.nl.do("group-checkpoint", group="g")
        began = time.monotonic()
        array.lose("g", "fail", 2)
        array.wait_rebuilt(6, 1800)
        took = time.monotonic() - began
        guest.sh(judge(device, size), timeout=1800)
        array.destroy("g")
        return took, size

    def test_a_rebuild_goes_by_what_is_alive(self, guest, report):
        array = Years(guest, report)
        mark = guest.console_mark()
        guest.sh(f"insmod {MODULE}; echo 0 > /sys/module/pavraid/parameters/rebuild_rate_max; /sbin/modprobe raid456")
        took = {}
        for percent in (10, 100):
            took[percent], size = self.rebuilt_in(array, percent)
            report(f"{percent} % full, {size} MiB: rebuilt in {took[percent]:.1f} s")
        md = [d["drive-path"] for d in array.paths(range(7, 14))]
        guest.sh(f"mdadm --create /dev/md0 --run --assume-clean --bitmap=none --level=6 --raid-devices=6 --spare-devices=1 {' '.join(md)}; "
                 "echo 4000000 > /proc/sys/dev/raid/speed_limit_max", timeout=120)
        began = time.monotonic()
        guest.sh(f"mdadm /dev/md0 --fail {md[2]}; sleep 0.2; mdadm --wait /dev/md0; true", timeout=1800)
        beside = time.monotonic() - began
        guest.sh("mdadm --stop /dev/md0", timeout=120)
        report(f"md, whatever it holds: {beside:.1f} s; ours 10 % full {took[10] / beside:.2f} and full {took[100] / beside:.2f} of that; "
               f"10 % full takes {100 * took[10] / took[100]:.0f} % of the time of a full one")
        guest.assert_clean(mark)
        assert took[10] <= 0.15 * took[100]
