# SPDX-License-Identifier: GPL-2.0
"""Thin space: what discard, fstrim and write-zeroes give back, what `pavcfg show` says of it, and a group that is full and comes back.

One guest, one group of 4+2 small drives; each test makes and deletes its volumes. Figures are printed.
"""
import json
import re
import subprocess
import time

import pytest

import pavnl
from conftest import MODULE, build_module
from pavnl import REPO
from vm.guest import Spec
from vm.pace import wait_until
from vm.world import World

pytestmark = pytest.mark.long  # ten minutes where others work too

DRIVES, DRIVE_MIB = 6, 192
MIB = 1 << 20
PAVCFG = "/mnt/repo/build/cmake/userland/pavcfg"
CONFIG = """
zones: ( { id = 1; } );
controllers: ( { id = 1; zone = 1; protocol = "tcp"; } );
ports: ( { name = "100g-1/1"; controller = 1; interface = "eth0"; ip = "10.70.0.1"; } );
"""
MKFS = {"ext4": "mkfs.ext4 -q -F", "xfs": "mkfs.xfs -q -f"}
CHECK = {"ext4": "e2fsck -f -n", "xfs": "xfs_repair -n"}


@pytest.fixture(scope="module")
def guest(alone, say):
    build_module()
    assert (REPO / "build/cmake/userland/pavcfg").exists(), "build it first: make userland"
    spec = Spec("target", addr=1, links=0, drives=DRIVES + 1, drive_mib=DRIVE_MIB, mem_mib=1536, cpus=2)
    with World((spec,), say=say) as world:
        g = world.target
        g.exec("cat > /etc/pav/pavcfg.conf", stdin=CONFIG)
        g.sh(f"insmod {MODULE}")
        names = g.drive_names()
        g.sh(f"{PAVCFG} create group name G drives " + " ".join(f"/dev/{names[i]}" for i in range(DRIVES)))
        yield g


@pytest.fixture
def nl(guest):
    mark = guest.console_mark()
    yield pavnl.Netlink(guest)
    guest.assert_clean(mark)
    guest.sh("cd /; umount /tmp/* 2>/dev/null; udevadm settle -t 60; "
             f"for v in /dev/pav/G/*; do [ -e $v ] && {PAVCFG} --yes delete volume name ${{v##*/}}; done; true", timeout=120)


def show(guest, what):
    return json.loads(guest.exec(f"{PAVCFG} --json show {what}", timeout=60, check=False).out)


def group(guest):
    return show(guest, "groups")["groups"][0]


def used(nl):
    return nl.do("group-get", group="G")["used"]


def volume(guest, name, mib):
    guest.sh(f"{PAVCFG} create volume name {name} size {mib} MB grpname G && udevadm settle -t 60", timeout=120)
    return f"/dev/pav/G/{name}"


def mounted(guest, fs, path, options=""):
    guest.sh(f"{MKFS[fs]} {path} && mkdir -p /tmp/{fs} && mount {options} {path} /tmp/{fs}", timeout=180)
    return f"/tmp/{fs}"


def fill(guest, nl, path):
    """Writes to the volume until the group takes no more. A group this small wins room while it fills up, when metadata that is spread out is put together."""
    before = -1
    while (now := used(nl)) - before > MIB:
        before = now
        at = nl.do("volume-get", group="G", volume=path.rsplit("/", 1)[1])["mapped"]
        wrote = guest.exec(f"dd if=/dev/zero of={path} bs=1M seek={at // MIB} oflag=direct status=none", check=False, timeout=300)
        assert wrote.code, "it is larger than the group"


def mib(n):
    return f"{n / MIB:.1f} MiB"


@pytest.mark.parametrize("fs", ["ext4", "xfs"])
def test_fstrim_gives_back(guest, nl, say, fs):
    path = volume(guest, "v", 1024)
    at = mounted(guest, fs, path)
    guest.sh(f"echo keep > {at}/keep; sync")
    empty = used(nl)
    guest.sh(f"dd if=/dev/urandom of={at}/big bs=1M count=100 conv=fsync status=none", timeout=120)
    full = used(nl)
    guest.sh(f"rm {at}/big; sync")
    removed = used(nl)
    said = guest.sh(f"fstrim -v {at}", timeout=120)
    trimmed = used(nl)
    say(f"{fs}: used {mib(empty)} with an empty file system, {mib(full)} with a file of 100 MiB, {mib(removed)} after rm, {mib(trimmed)} after fstrim ({said})")
    assert full - empty > 99 * MIB and full - removed < 8 * MIB, "rm alone tells the disk nothing"
    assert trimmed - empty < 8 * MIB
    guest.sh(f"umount {at}; mount {path} {at}; grep -q keep {at}/keep", timeout=60)
    guest.sh(f"umount {at}; {CHECK[fs]} {path}", timeout=120)


def test_blkdiscard_and_write_zeroes_give_back(guest, nl, say):
    path = volume(guest, "v", 256)
    written = f"dd if=/dev/urandom of={path} bs=1M count=200 oflag=direct status=none"
    for how in ("blkdiscard -f", "blkdiscard -f -z", "fallocate -z -n"):
        guest.sh(written, timeout=120)
        before = used(nl)
        guest.sh(f"{how} -o {10 * MIB} -l {150 * MIB} {path}", timeout=60)
        after = used(nl)
        say(f"{how} of 150 MiB: used {mib(before)} -> {mib(after)}")
        assert (before, after) == (200 * MIB, 50 * MIB)
        assert guest.sh(f"dd if={path} bs=1M skip=10 count=150 iflag=direct status=none | tr -d '\\0' | wc -c", timeout=60) == "0"
    assert group(guest)["used_bytes"] == 50 * MIB


def test_show_tells_space_and_time(guest, nl, say):
    g = group(guest)
    assert (g["status"], g["provisioned_bytes"], g["overcommit"]) == ("Online", 0, 0)
    path = volume(guest, "v", 16 * 1024)
    g = group(guest)
    assert g["status"] == "Overprovisioned" and abs(g["overcommit"] - 16 * 1024 * MIB / g["capacity_bytes"]) < 1e-6
    assert g["full_in_seconds"] is None or g["growth_seconds"] >= 60
    guest.sh(f"dd if=/dev/urandom of={path} bs=1M count=100 oflag=direct status=none", timeout=120)
    # The rate counts from when the group was opened: that is a minute ago by now, or is waited for.
    wait_until(lambda: group(guest)["growth_seconds"], "a growth over a minute or more", 90, pause=3)
    g = group(guest)
    rate = g["used_bytes"] / g["growth_seconds"]       # nothing was used when the group was made
    assert abs(g["growth_bytes_per_second"] - rate) < rate / 50
    assert abs(g["full_in_seconds"] - g["free_bytes"] / rate) <= g["free_bytes"] / rate / 50 + 1
    table = guest.sh(f"{PAVCFG} show groups")
    say(table)
    status = guest.exec(f"{PAVCFG} show status", check=False).out
    say(status)
    assert "Overprovisioned" in table and re.search(r"full in .*, if it goes on as in the last", status)
    guest.sh(f"blkdiscard -f {path}")
    assert group(guest)["full_in_seconds"] is None and "no growth" in guest.sh(f"{PAVCFG} show groups")


def test_thresholds_are_set_and_told(guest, nl, say):
    capacity = nl.do("group-get", group="G")["capacity"]
    path = volume(guest, "v", 2048)
    guest.sh("echo 20,40 > /sys/module/pavraid/parameters/space_levels")
    assert guest.sh("cat /sys/module/pavraid/parameters/space_levels") == "20,40"
    job = nl.listen()
    done = 0
    for percent in (15, 25, 35, 45):
        upto = capacity * percent // 100 // MIB
        guest.sh(f"dd if=/dev/zero of={path} bs=1M seek={done} count={upto - done} oflag=direct status=none", timeout=120)
        done = upto
        time.sleep(3)       # it is looked at each second
    heard = nl.events(job, wait_for=lambda e: e["event-type"] == "group-space-low" and e["value"] >= 40)
    told = [e["value"] for e in heard if e["event-type"] == "group-space-low"]
    say(f"space_levels 20,40: told at {told} percent")
    assert len(told) == 2 and 20 <= told[0] < 30 and 40 <= told[1] < 50
    refused = guest.exec("echo 20,x > /sys/module/pavraid/parameters/space_levels", check=False)
    assert refused.code
    guest.sh("echo 80,90,95 > /sys/module/pavraid/parameters/space_levels")


@pytest.mark.parametrize("revive", ["delete", "trim", "add"])
@pytest.mark.parametrize("fs", ["ext4", "xfs"])
@pytest.mark.dirty_dmesg
def test_a_full_group_comes_back(guest, nl, say, fs, revive):
    """Writes fail, what was synced stays; when space is there again the file system goes on, and the module was never touched."""
    other = volume(guest, "other", 4096)
    path = volume(guest, "v", 2048)
    at = mounted(guest, fs, path)
    guest.sh(f"dd if=/dev/urandom of={at}/kept bs=1M count=20 conv=fsync status=none; sha256sum < {at}/kept > /tmp/sum", timeout=120)
    job = nl.listen()
    # Another volume takes what there is, and gives a little back; the file system takes that, and more.
    fill(guest, nl, other)
    guest.sh(f"blkdiscard -f -l {24 * MIB} {other}", timeout=60)
    write = guest.exec(f"dd if=/dev/urandom of={at}/more bs=1M count=80 oflag=direct status=none", check=False, timeout=300)
    assert write.code, "it does not fit"
    last = write.err.strip().splitlines()[-1]
    assert "group-full" in [e["event-type"] for e in nl.events(job, wait_for=lambda e: e["event-type"] == "group-full")]
    g = group(guest)
    assert g["status"] == "Full" and g["free_bytes"] < MIB, g
    assert "is full" in guest.exec(f"{PAVCFG} show status", check=False).out
    guest.sh("echo 3 > /proc/sys/vm/drop_caches; sha256sum --status -c <(sed 's,-$,'" + f"{at}/kept" + "',' /tmp/sum)", timeout=60)

    began = time.monotonic()
    if revive == "delete":
        guest.sh(f"{PAVCFG} --yes delete volume name other", timeout=120)
    elif revive == "trim":
        guest.sh(f"blkdiscard -f {other}", timeout=120)
    else:
        one_more = f"/dev/{guest.drive_names()[DRIVES]}"
        say(guest.sh(f"{PAVCFG} add drives {one_more} to group G", timeout=120))
    wait_until(lambda: group(guest)["status"] != "Full", "the group is no longer full", 60)
    how = "goes on"
    if guest.exec(f"echo x > {at}/probe && sync {at}/probe", check=False, timeout=60).code:
        how = "goes on after umount and mount"
        guest.sh(f"umount {at}; mount {path} {at}", timeout=120)
    guest.sh(f"rm -f {at}/more; dd if=/dev/urandom of={at}/more bs=1M count=80 conv=fsync status=none", timeout=120)
    say(f"{fs}, full ({last}), then {revive}: {how}; {time.monotonic() - began:.1f} s")
    guest.sh(f"sha256sum --status -c <(sed 's,-$,'{at}/kept',' /tmp/sum); umount {at}; {CHECK[fs]} {path}", timeout=180)
    if revive == "add":
        # The group holds more than it could without that drive; when that is gone, the drive can go again.
        refused = guest.exec(f"{PAVCFG} --yes remove drive {one_more} from group G", check=False, timeout=120)
        assert refused.code == 1 and "no room for what is written" in refused.err, refused
        guest.sh(f"{PAVCFG} --yes delete volume name other", timeout=120)
        began = time.monotonic()
        guest.sh(f"{PAVCFG} --yes remove drive {one_more} from group G", timeout=120)
        wait_until(lambda: len(nl.dump("drive-get", group="G")) == DRIVES, lambda: f"it leaves: {nl.dump('drive-get', group='G')}", 180, pause=1)
        say(f"{one_more} has left in {time.monotonic() - began:.1f} s")
        guest.sh(f"{CHECK[fs]} {path}", timeout=180)


def test_a_reserve_is_taken_off(guest, nl, say):
    """The last test: it makes the group anew."""
    drives = " ".join(d["drive-path"] for d in nl.dump("drive-get", group="G"))
    before = group(guest)
    assert before["reserve_percent"] == 15
    guest.sh(f"{PAVCFG} --yes delete group name G; udevadm settle -t 60; {PAVCFG} create group name G drives {drives} reserve 50", timeout=120)
    after = group(guest)
    raw = DRIVE_MIB * MIB * (DRIVES - 2)
    say(f"capacity with a reserve of 15 %: {mib(before['capacity_bytes'])}, with 50 %: {mib(after['capacity_bytes'])}, of {mib(raw)}")
    assert after["reserve_percent"] == 50 and 0.4 * raw < after["capacity_bytes"] <= raw / 2 and after["capacity_bytes"] < before["capacity_bytes"]
