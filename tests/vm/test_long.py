# SPDX-License-Identifier: GPL-2.0
"""What takes long: twenty power cuts, thirty pairs of drives, and the third loss. I/O is the target's own, on /dev/pavN.

A power cut here is SIGKILL to QEMU: the guest's CPUs and memory are gone between two instructions. What its kernel had handed to
a drive lies in the host's page cache, which outlives QEMU, so these drives forget nothing; drives that lose, tear and reorder
what was not flushed are the simulator's job (tests/sim). What is seen here and not there is the real kernel's part: bios,
threads, the order in which real interrupts come.

PAV_SEED chooses another sample; the seed is printed.
"""
import errno
import hashlib
import itertools
import os
import random
import time

import pytest

import pavnl
from conftest import MODULE, SEED
from group import MIB, Array, fill, judge, one_guest, overwrite
from pavnl import Refused
from vm.pace import wait_until
from writer import Writer

CUTS = int(os.environ.get("PAV_CUTS", "20"))
PAIRS = int(os.environ.get("PAV_PAIRS", "30"))
DRIVES, SPARES = 18, 2
OWNER_CELL = 24         # kmod/format/format.h
ALL = range(DRIVES + SPARES)

pytestmark = [pytest.mark.long, pytest.mark.limit(2 * 3600)]


# ---- power cuts ----

class TestPowerCuts:
    @pytest.fixture(scope="class")
    def guest(self, alone, say):
        yield from one_guest(say, drives=DRIVES + SPARES, drive_mib=1024, parallel=True)

    @staticmethod
    def up(guest):
        """Boots and loads the module; returns a mark on the console."""
        guest.boot()
        mark = guest.console_mark()
        guest.sh(f"insmod {MODULE}")
        return mark

    @staticmethod
    def cut(guest, mark):
        guest.kill()
        guest.assert_clean(mark)

    def test_every_acknowledged_write_is_there_after_each_cut(self, guest, report):
        """One group of 16+2 and two spares, cut again and again: in mid-write, right after a checkpoint was asked for, in an import
        as well. A third of the way on a drive is given up under load, after two thirds another; a spare takes the place of each, and is rebuilt
        under the cuts that follow."""
        rng = random.Random(SEED)
        array = Array(guest)
        mark = guest.console_mark()
        guest.sh(f"insmod {MODULE}")
        device = array.create("g", ALL[:DRIVES], ALL[DRIVES:])
        writer = Writer(guest, "ledger", blocks=8192)
        lost_at, lost, imports_cut = {CUTS // 3: 5, CUTS * 2 // 3: 12}, 0, 0
        for cut in range(1, CUTS + 1):
            writer.start(device)
            if cut in lost_at:
                array.lose("g", "fail", lost_at[cut])
                lost += 1
            writer.go_on(rng.randrange(30, 250))
            if cut % 4 == 1:
                guest.spawn([array.nl.nlpipe, "pavraid", "5", pavnl.message("group-checkpoint", group="g").hex()])
            time.sleep(rng.random() * 0.5)
            self.cut(guest, mark)
            if cut % 5 == 0:    # and again, while what the cut has left is replayed
                mark = self.up(guest)
                importing = pavnl.message("group-import", drives=array.paths(ALL)).hex()
                guest.spawn([array.nl.nlpipe, "pavraid", "5", importing])
                time.sleep(rng.random() * 1.0)
                self.cut(guest, mark)
                imports_cut += 1
            mark = self.up(guest)
            device = array.bring_in("g", ALL)
            wait_until(lambda: (now := array.drive_states("g")).get("spare", 0) == SPARES - lost and "failed" not in now,
                       lambda: f"spares have the slots of the {lost} drives given up: {array.drive_states('g')}", 60)
            found = writer.judge(device, settle=True)
            report(f"cut {cut}: {found['acknowledged']} acknowledged writes, {found['blocks']} blocks written: 0 lost, 0 miscompares; "
                f"{found['in_flight']} blocks hold a write that was in flight; drives given up: {lost}")
        report(f"{CUTS} power cuts in mid-write, {imports_cut} more in an import; {found['acknowledged']} acknowledged writes, none lost")


# ---- a full group ----

class TestFullGroup:
    @pytest.fixture(scope="class")
    def guest(self, alone, say):
        yield from one_guest(say, drives=6, drive_mib=256, parallel=True)

    def test_it_is_overwritten_again_and_again(self, guest, report):
        """A group of 4+2, mapped to the last block its capacity allows, is written at random, cut, and written on. Every 4 KiB has a header of
        fio's own, so that the whole volume can be judged at any time, whoever wrote it last."""
        array = Array(guest)
        mark = guest.console_mark()
        guest.sh(f"insmod {MODULE}")
        array.nl.do("group-create", group="g", drives=array.paths(range(6)))
        size = array.nl.do("group-get", group="g")["free"] // MIB - 1
        device = "/dev/" + array.nl.do("volume-create", group="g", volume="v", size=(size + 64) * MIB)["block-device"]

        def counters():
            return array.nl.do("group-get", group="g")["counters"]

        guest.sh(fill(device, size), timeout=900)
        # It holds what it said, and not much more; what it refuses it refuses cleanly.
        refused = guest.exec(f"dd if=/dev/zero of={device} bs=1M seek={size} count=64 oflag=direct", timeout=300, check=False)
        assert refused.code and "No space left" in refused.err, refused
        assert array.state("g") == "full"
        for turn in range(2):
            before, written = counters(), size * MIB
            guest.sh(f"{overwrite(device, size)} --io_size={written}", timeout=1800)
            after = counters()
            user = after["data_cells"] - before["data_cells"]
            moved = after["moved_cells"] - before["moved_cells"]
            assert moved, "nothing was moved"
            report(f"{size} MiB of {size} MiB overwritten at random, group full: {(user + moved) / user:.2f} cells written for each of the user's, "
                   f"{after['segments_emptied'] - before['segments_emptied']} segments emptied")
            guest.sh(judge(device, size), timeout=900)
            job = guest.spawn(f"{overwrite(device, size)} --time_based --runtime=600")
            time.sleep(5 + 5 * turn)
            guest.kill()
            guest.assert_clean(mark)
            del job
            guest.boot()
            mark = guest.console_mark()
            guest.sh(f"insmod {MODULE}")
            device = array.bring_in("g", range(6))
            guest.sh(judge(device, size), timeout=900)
            report(f"cut in mid-write, imported: all {size} MiB verified")
        # What is given back can be used.
        guest.sh(f"blkdiscard -o 0 -l {size // 2 * MIB} {device}", timeout=300)
        array.nl.do("group-checkpoint", group="g")
        assert array.state("g") == "online"
        guest.sh(f"dd if=/dev/zero of={device} bs=1M seek={size} count=64 oflag=direct", timeout=300)
        array.destroy("g")
        guest.assert_clean(mark)


# ---- many volumes ----

class TestManyVolumes:
    @pytest.fixture(scope="class")
    def guest(self, alone, say):
        yield from one_guest(say, drives=6, drive_mib=256, parallel=True)

    def test_1024_of_them_and_one_of_64_tib(self, guest, report):
        """As many volumes as a group may have, the last as large as one may be; they come back with the group."""
        array = Array(guest)
        mark = guest.console_mark()
        guest.sh(f"insmod {MODULE}")
        array.nl.do("group-create", group="g", drives=array.paths(range(6)))

        def each(command, names, **more):
            for i in range(0, len(names), 32):
                _, ends = array.nl.do_raw([pavnl.message(command, group="g", volume=n, **more) for n in names[i:i + 32]], timeout=600)
                assert all(code == 0 for code, _ in ends), ends

        names = [f"v{i}" for i in range(1023)]
        each("volume-create", names, size=MIB)
        whale = "/dev/" + array.nl.do("volume-create", group="g", volume="whale", size=64 << 40)["block-device"]
        report("1,024 volumes")
        with pytest.raises(Refused, match="delete one first"):
            array.nl.do("volume-create", group="g", volume="one-more", size=MIB)
        guest.sh(f"head -c 65536 /dev/urandom >/tmp/data; dd if=/tmp/data of={whale} bs=64k seek={(64 << 40) // 65536 - 1} oflag=direct status=none")
        array.export("g")
        array.nl.do("group-import", group="g", drives=array.paths(range(6)))
        assert {v["volume"] for v in array.nl.dump("volume-get", group="g")} == {*names, "whale"}
        whale = "/dev/" + array.nl.do("volume-get", group="g", volume="whale")["block-device"]
        assert guest.sh(f"blockdev --getsize64 {whale}") == str(64 << 40)
        guest.sh(f"dd if={whale} bs=64k skip={(64 << 40) // 65536 - 1} iflag=direct status=none | cmp - /tmp/data")
        guest.sh("udevadm settle -t 120", timeout=130)
        each("volume-delete", [*names, "whale"])
        report("deleted again")
        array.nl.do("group-destroy", group="g")
        guest.assert_clean(mark)


# ---- drives ----

def rounds(rng):
    """The sample of pairs, put into rounds: [(how, [(pair, drives of its group)])]. The first rounds have one group of 18+2, its
    drives torn out; the others up to three groups of 4+2 side by side."""
    pairs = rng.sample(list(itertools.combinations(ALL, 2)), PAIRS)
    wide, left = pairs[:max(1, PAIRS // 5)], pairs[len(pairs[:max(1, PAIRS // 5)]):]
    plan = [("pull", [(p, [*p, *rng.sample([n for n in ALL if n not in p], DRIVES + SPARES - 2)])]) for p in wide]
    while left:
        some = []
        for p in left:
            if len(some) < 3 and not any(set(p) & set(q) for q in some):
                some.append(p)
        left = [p for p in left if p not in some]
        free = [n for n in ALL if not any(n in p for p in some)]
        rng.shuffle(free)
        plan.append((("pull", "pull", "fail")[len(plan) % 3], [(p, [*p, *(free.pop() for _ in range(4))]) for p in some]))
    for _, groups in plan:
        for _, drives in groups:
            if len(drives) == 6:
                rng.shuffle(drives)     # so that the two are not always slots 0 and 1
    return plan


class TestDrives:
    @pytest.fixture(scope="class")
    def guest(self, alone, say):
        yield from one_guest(say, drives=DRIVES + SPARES, drive_mib=256)

    @pytest.fixture(scope="class")
    def array(self, guest):
        # What is lost stays lost: neither spares take over, nor is anything moved away from what is lost.
        guest.sh(f"insmod {MODULE} repair=0 evacuate_delay=86400")
        return Array(guest)

    @pytest.fixture(autouse=True)
    def fresh(self, array):
        """After each test: no group is open, every drive is in its slot, no warning on the console."""
        mark = array.guest.console_mark()
        yield
        array.guest.assert_clean(mark)
        for g in array.nl.dump("group-get"):
            array.export(g["group"])
        assert set(array.guest.drive_names()) == set(ALL)

    def test_pairs(self, guest, array, report):
        """Two drives lost under load, for each pair of a sample: all data right, then more writes, then a life without the two."""
        rng = random.Random(SEED)
        pairs = checked = 0
        ways = {"pull": 0, "fail": 0}
        for r, (how, groups) in enumerate(rounds(rng)):
            names = [f"p{r}-{i}" for i in range(len(groups))]
            writers = [Writer(guest, name, threads=2 if len(groups) > 1 else 8) for name in names]
            devices = [array.create(name, drives[:DRIVES], drives[DRIVES:]) for name, (_, drives) in zip(names, groups)]
            for w, device in zip(writers, devices):
                w.start(device)
            for turn in range(2):
                for name, w, (pair, _) in zip(names, writers, groups):
                    array.lose(name, how, pair[turn])
                    if r % 2:       # else the second goes while the loss of the first is being put on record
                        array.wait_failed(name, turn + 1)
                        w.go_on(30)
            for w in writers:
                w.go_on(30)
            for name, w in zip(names, writers):
                w.stop()
                array.wait_failed(name, 2)
                assert array.state(name) == "degraded"
            for name, w, device, (_, drives) in zip(names, writers, devices, groups):
                w.judge(device)
                w.start(device)
                w.go_on(30)
                w.stop()
                w.judge(device)
                array.export(name)
                device = array.bring_in(name, drives)
                assert array.drive_states(name)["failed"] == 2
                found = w.judge(device)
                checked += found["acknowledged"]
                array.destroy(name)
            array.give_back(how, [n for pair, _ in groups for n in pair])
            pairs += len(groups)
            ways[how] += len(groups)
            report(f"{how}: " + ", ".join(f"drives {p} of {len(d)}" for p, d in groups) + f"; {pairs} pairs, {checked} writes: 0 lost")
        assert pairs == PAIRS
        report(f"{pairs} pairs ({ways['pull']} torn out, {ways['fail']} failed by command); "
            f"{checked} acknowledged writes, none lost, no error")

    # What a third loss must not change.

    def superblocks(self, guest, numbers):
        """Sums of cells 8 and 16, where the superblocks are, read from outside."""
        sums = {}
        for n in numbers:
            with open(guest.drive_file(n), "rb") as f:
                for cell in (8, 16):
                    f.seek(cell * 4096)
                    sums[n, cell] = hashlib.sha256(f.read(4096)).hexdigest()
        return sums

    def whole(self, guest, numbers, stamps):
        """Sums of all that is on these drives: of the parts of their files that are no holes, and where those are. With the owner's stamps, which a
        group that works renews each second, or without."""
        sums = {}
        for n in numbers:
            with open(guest.drive_file(n), "rb") as f:
                end, total = 0, hashlib.sha256()
                while True:
                    try:
                        begin = os.lseek(f.fileno(), end, os.SEEK_DATA)
                    except OSError as e:
                        if e.errno != errno.ENXIO:      # no data after this place
                            raise
                        break
                    end = os.lseek(f.fileno(), begin, os.SEEK_HOLE)
                    data = bytearray(os.pread(f.fileno(), end - begin, begin))
                    if not stamps and begin <= OWNER_CELL * 4096 < end:
                        at = OWNER_CELL * 4096 - begin
                        data[at:at + 4096] = bytes(4096)
                    total.update(b"%d %d" % (begin, end) + data)
                sums[n] = total.hexdigest()
        return sums

    def refuses_io(self, guest, device):
        for command in (f"dd if=/dev/zero of={device} bs=4k count=1 oflag=direct", f"dd if={device} of=/dev/null bs=4k count=1 iflag=direct"):
            r = guest.exec(command, check=False)
            assert r.code and "Input/output error" in r.err, r

    def comes_back(self, guest, array, name, drives, writer, third):
        """Without the third drive the group stays closed; with it, everything that was acknowledged is there."""
        with pytest.raises(Refused) as e:
            array.bring_in(name, drives)
        assert name in e.value.text and "missing" in e.value.text, e.value
        guest.insert_drive(third)
        device = array.bring_in(name, drives)
        assert array.drive_states(name)["failed"] == 2, "the third drive missed nothing"
        found = writer.judge(device, settle=True)
        writer.start(device)
        writer.go_on(20)
        writer.stop()
        writer.judge(device)
        array.destroy(name)
        return found

    @pytest.mark.parametrize("load", [False, True], ids=["quiet", "under load"])
    @pytest.mark.parametrize("drives", [list(range(6)), list(ALL[:DRIVES])], ids=["4+2", "16+2"])
    def test_third_loss(self, guest, array, report, drives, load):
        name = f"t{len(drives)}-{'load' if load else 'quiet'}"
        device = array.create(name, drives)
        writer = Writer(guest, name)
        writer.start(device)
        lost = random.Random(SEED).sample(drives, 3)
        rest = [n for n in drives if n not in lost]
        for i, n in enumerate(lost[:2]):
            array.lose(name, "pull", n)
            array.wait_failed(name, i + 1)
        writer.go_on(50)
        if not load:
            writer.stop()
            array.nl.do("group-checkpoint", group=name)
            before = self.whole(guest, rest, stamps=load), self.superblocks(guest, rest)
        events = array.nl.listen()
        array.lose(name, "pull", lost[2])
        wait_until(lambda: array.state(name) == "faulted", "the group is shown as faulted", 60)
        assert any(e["event-type"] == "group-faulted" for e in array.nl.events(events, lambda e: e["event-type"] == "group-faulted"))
        if load:
            r = writer.job.wait(60)
            assert r.code == 1 and "Input/output error" in r.err, r
            before = self.whole(guest, rest, stamps=load), self.superblocks(guest, rest)
        self.refuses_io(guest, device)
        guest.sh("udevadm settle -t 60")
        try:
            array.nl.do("group-export", group=name)
            said = "exported"
        except Refused as e:        # it says so if it could not write a checkpoint, and is closed all the same
            said = e.text
        assert array.nl.dump("group-get") == []
        assert (self.whole(guest, rest, stamps=load), self.superblocks(guest, rest)) == before, "a faulted group has written to its drives"
        found = self.comes_back(guest, array, name, drives, writer, lost[2])
        for n in lost[:2]:
            guest.insert_drive(n)
        report(f"third loss of {len(drives)} drives, {'under load' if load else 'quiet'}: EIO, faulted, {len(rest)} drives unchanged byte for "
            f"byte; closing: {said}; with the third drive back {found['acknowledged']} acknowledged writes: 0 lost")

    def test_a_corrupt_superblock_is_a_drive_lost_and_named(self, guest, array, report):
        drives = list(range(6))
        device = array.create("c", drives)
        writer = Writer(guest, "corrupt")
        writer.start(device)
        writer.go_on(50)
        writer.stop()
        array.export("c")
        path, = array.paths([2])
        guest.sh(f"for cell in 8 16; do head -c 64 /dev/urandom | dd of={path['drive-path']} bs=64 seek=$((cell * 64 + 10)) "
                 "conv=notrunc status=none; done")
        text = array.nl.do("drive-probe", drive_path=path["drive-path"])["error-text"]
        assert path["drive-path"] in text and "checksum mismatch" in text
        guest.sh("dmesg -C")
        device = array.bring_in("c", drives)
        assert text in guest.sh("dmesg")
        assert array.state("c") == "degraded"
        writer.judge(device)
        array.destroy("c")
        report(f"refused: {text}; the others: 0 lost")


