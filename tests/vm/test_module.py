# SPDX-License-Identifier: GPL-2.0
"""The module on a stock kernel: coming and going, block devices, the netlink interface and what it refuses.

One guest with 18 drives, and one that is in no group; the tests run in the order they stand here, on the state that the ones before have left.
"""
import errno
import os
import random
import re
import struct
import time

import pytest

import pavnl
from checkers import assert_no_leaks, assert_nothing_left, forget_leaks, lock_checker_is_silent
from conftest import MODULE, build_module, failed
from pavnl import Refused, encode, message
from vm.guest import Spec
from vm.pace import wait_until
from vm.world import World

DRIVES = 18
MIB = 1 << 20
CYCLES = int(os.environ.get("PAV_CYCLES", "100"))           # of insert, remove
USE_CYCLES = int(os.environ.get("PAV_USE_CYCLES", "10"))    # of insert, use, remove: 6 s each under emulation
FUZZ = int(os.environ.get("PAV_FUZZ", "2000"))              # mutated messages, at least
FUZZ_SECONDS = int(os.environ.get("PAV_FUZZ_SECONDS", "0")) # … for so long, at least


@pytest.fixture(scope="module")
def guest(alone, say):
    build_module()
    spec = Spec("target", addr=1, links=0, drives=DRIVES + 1, drive_mib=256, mem_mib=2048, cpus=2)
    with World((spec,), say=say) as world:
        world.target.broken = False
        forget_leaks(world.target)
        yield world.target


@pytest.fixture(scope="module")
def nl(guest):
    return pavnl.Netlink(guest)


@pytest.fixture(autouse=True)
def clean_console(guest, nl, request):
    """
    After a test that failed the guest is power-cycled, and a group that was on its drives is open again for the next one. So it is where the lock checker
    has reported what is not ours: for the next test it is to be at work.
    """
    if guest.broken or not guest.responds():
        guest.broken = True
        guest.power_cycle()
        insert(guest)
        there = [{"drive-path": f"/dev/{name}"} for _, name in sorted(guest.drive_names().items())]
        if any("group" in nl.do("drive-probe", **d)["drive"] for d in there):
            nl.do("group-import", drives=there)
        guest.broken = False
    mark = guest.console_mark()
    yield
    guest.broken = request.node.stash.get(failed, False)
    try:
        guest.assert_clean(mark)
    except AssertionError:
        guest.broken = True
        raise
    guest.broken = guest.broken or not guest.responds() or lock_checker_is_silent(guest)


def insert(guest):
    guest.sh(f"insmod {MODULE}")


def drives(guest, n=DRIVES):
    names = guest.drive_names()
    return [{"drive-path": f"/dev/{names[i]}"} for i in range(n)]


def settle(guest):
    """udev opens new and changed disks to look at them; commands that need a disk closed wait for it."""
    guest.sh("udevadm settle -t 30")


POLICY = (errno.EINVAL, errno.ERANGE)       # which of the two it is, is the core's choice


def refused(nl, code, text, command, **values):
    with pytest.raises(Refused) as e:
        nl.do(command, **values)
    assert e.value.code in (code if isinstance(code, tuple) else (code,)), e.value
    assert re.search(text, e.value.text), e.value


def fio(guest, name, timeout=300, **options):
    words = " ".join(f"--{k}={v}" for k, v in {"ioengine": "io_uring", "direct": 1, "name": name, **options}.items())
    return guest.sh(f"fio --output-format=normal {words}", timeout=timeout)


def checksum(guest, device):
    return guest.sh(f"dd if={device} bs=1M iflag=direct status=none | sha256sum", timeout=300).split()[0]


# ---- coming and going ----

@pytest.mark.smoke
def test_insert_and_remove_many_times(guest):
    guest.sh(f"for i in $(seq {CYCLES}); do insmod {MODULE} && rmmod pavraid || exit 1; done", timeout=600)
    assert_nothing_left(guest)


@pytest.mark.smoke
def test_create_group_and_volume(guest, nl):
    insert(guest)
    nl.do("group-create", group="g1", drives=drives(guest))
    group, = nl.dump("group-get")
    assert (group["group"], group["group-state"], group["data-drives"]) == ("g1", "online", DRIVES - 2)
    assert group["capacity"] > DRIVES * 256 * MIB // 3
    assert [d["drive-state"] for d in nl.dump("drive-get", group="g1")] == ["active"] * DRIVES
    volume = nl.do("volume-create", group="g1", volume="v1", size=512 * MIB, serial="GB00051104bbf912", uuid=bytes(range(16)),
                   nguid=bytes(range(16, 32)))
    assert (volume["size"], volume["serial"], volume["uuid"]) == (512 * MIB, "GB00051104bbf912", bytes(range(16)))
    assert nl.do("volume-get", group="g1", volume="v1")["block-device"] == volume["block-device"] == "pav0"


@pytest.mark.smoke
def test_block_device_limits(guest):
    def queue(name):
        return guest.sh(f"cat /sys/block/pav0/queue/{name}")
    assert queue("logical_block_size") == queue("physical_block_size") == queue("minimum_io_size") == "4096"
    assert queue("optimal_io_size") == str((DRIVES - 2) * 4096)
    assert queue("write_cache") == "write through" and queue("rotational") == "0"
    assert queue("discard_granularity") == "4096" and int(queue("write_zeroes_max_bytes")) > 1 << 30
    assert guest.sh("blockdev --getsize64 /dev/pav0") == str(512 * MIB)
    pav = guest.sh("cd /sys/block/pav0/pav && grep . group volume serial uuid")
    assert pav.splitlines() == ["group:g1", "volume:v1", "serial:GB00051104bbf912", "uuid:00010203-0405-0607-0809-0a0b0c0d0e0f"]


# ---- data ----

@pytest.mark.smoke
def test_new_volume_reads_zero(guest):
    assert guest.sh("dd if=/dev/pav0 bs=1M count=64 iflag=direct status=none | tr -d '\\0' | wc -c") == "0"


@pytest.mark.smoke
@pytest.mark.parametrize("options", [
    dict(rw="randwrite", bs="4k", iodepth=32),
    dict(rw="randwrite", bsrange="4k-4m", blockalign="4k", iodepth=16),         # crosses 1 MiB boundaries
    dict(rw="randwrite", bs="12k", blockalign="4k", iodepth=8, iomem_align=512),   # cells that lie across pages
    dict(rw="write", bs="1m", iodepth=8, ioengine="libaio"),
    dict(rw="randrw", bs="8k", iodepth=16, numjobs=2, offset_increment="64m", direct=0),
], ids=lambda o: f"{o['rw']}-{o.get('bs') or o['bsrange']}" + ("-unaligned-memory" if "iomem_align" in o else ""))
def test_fio_verify(guest, options):
    fio(guest, "verify", filename="/dev/pav0", size="32m", verify="crc32c", verify_fatal=1, do_verify=1, randrepeat=1, **options)


@pytest.mark.parametrize("fs", ["ext4", "xfs"])
def test_file_system(guest, fs):
    force = {"ext4": "-F", "xfs": "-f"}[fs]
    guest.sh(f"mkfs.{fs} -q {force} /dev/pav0 && mkdir -p /tmp/fs && mount /dev/pav0 /tmp/fs && cp -r /usr/lib/udev /tmp/fs/ && sync",
             timeout=180)
    before = guest.sh("cd /tmp/fs/udev && find . -type f | sort | xargs sha256sum | sha256sum")
    guest.sh("rm -rf /tmp/fs/none; fstrim /tmp/fs; umount /tmp/fs; mount /dev/pav0 /tmp/fs", timeout=120)
    assert guest.sh("cd /tmp/fs/udev && find . -type f | sort | xargs sha256sum | sha256sum") == before
    guest.sh("umount /tmp/fs")


@pytest.mark.smoke
@pytest.mark.parametrize("how", ["blkdiscard -f", "blkdiscard -f -z"])
def test_unmapped_reads_zero(guest, nl, how):
    guest.sh("dd if=/dev/urandom of=/dev/pav0 bs=1M count=40 oflag=direct status=none", timeout=120)
    # From the middle of one 1 MiB to the middle of another far away; both ends are not aligned to it.
    edges = "dd if=/dev/pav0 bs=4k iflag=direct status=none count=1 skip={} | sha256sum"
    left, right = guest.sh(edges.format(299)), guest.sh(edges.format(300 + 8000))
    mapped = nl.do("volume-get", group="g1", volume="v1")["mapped"]
    guest.sh(f"{how} -o {300 * 4096} -l {8000 * 4096} /dev/pav0", timeout=120)
    zero = "dd if=/dev/pav0 bs=4k iflag=direct status=none skip=300 count=8000 | tr -d '\\0' | wc -c"
    assert guest.sh(zero) == "0"
    assert (guest.sh(edges.format(299)), guest.sh(edges.format(300 + 8000))) == (left, right)
    assert nl.do("volume-get", group="g1", volume="v1")["mapped"] == mapped - 8000 * 4096


@pytest.mark.smoke
def test_whole_device_discard(guest, nl):
    guest.sh("blkdiscard -f /dev/pav0", timeout=120)
    assert nl.do("volume-get", group="g1", volume="v1")["mapped"] == 0


def test_statistics(guest, nl):
    before, stat = nl.do("volume-get", group="g1", volume="v1")["counters"], guest.sh("cat /sys/block/pav0/stat").split()
    guest.sh("dd if=/dev/zero of=/dev/pav0 bs=64k count=16 oflag=direct status=none; "
             "dd if=/dev/pav0 of=/dev/null bs=64k count=8 iflag=direct status=none")
    after, stat2 = nl.do("volume-get", group="g1", volume="v1")["counters"], guest.sh("cat /sys/block/pav0/stat").split()
    assert after["writes"] - before["writes"] == 16 and after["write_bytes"] - before["write_bytes"] == MIB
    assert after["reads"] - before["reads"] >= 8 and after["read_bytes"] - before["read_bytes"] >= MIB // 2
    assert int(stat2[4]) - int(stat[4]) == 16 and int(stat2[8]) == 0     # writes; in flight


def test_tracepoints(guest):
    guest.sh("cd /sys/kernel/tracing && echo > trace && echo 1 > events/pavraid/enable && "
             "dd if=/dev/zero of=/dev/pav0 bs=4k count=1 oflag=direct status=none; echo 0 > events/pavraid/enable")
    trace = guest.sh("cat /sys/kernel/tracing/trace")
    for step in ("pav_request_submit", "pav_request_done", "pav_io_submit", "pav_io_done"):
        assert step in trace, trace[-2000:]


# ---- volumes online ----

def test_grow_and_rename(guest, nl):
    guest.sh("dd if=/dev/urandom of=/dev/pav0 bs=1M count=8 oflag=direct status=none")
    before = guest.sh("dd if=/dev/pav0 bs=1M count=8 iflag=direct status=none | sha256sum")
    keep = guest.spawn("exec 3</dev/pav0; sleep 600")      # both work on a volume in use
    nl.do("volume-grow", group="g1", volume="v1", size=1024 * MIB)
    nl.do("volume-rename", group="g1", volume="v1", new_name="renamed.1")
    settle(guest)
    assert guest.sh("blockdev --getsize64 /dev/pav0; cat /sys/block/pav0/pav/volume").split() == [str(1024 * MIB), "renamed.1"]
    assert guest.sh("dd if=/dev/pav0 bs=1M count=8 iflag=direct status=none | sha256sum") == before
    guest.sh("dd if=/dev/zero of=/dev/pav0 bs=1M count=1 seek=1023 oflag=direct status=none")
    refused(nl, errno.EINVAL, "renamed.1.*smaller", "volume-grow", group="g1", volume="renamed.1", size=512 * MIB)
    nl.do("volume-rename", group="g1", volume="renamed.1", new_name="v1")
    keep.kill()


def test_properties(nl):
    nl.do("volume-set-prop", group="g1", volume="v1", prop=[{"prop-key": "ports", "prop-value": "100g-1/3 100g-2/4"},
                                                            {"prop-key": "hosts", "prop-value": "x" * 1023}])
    assert nl.do("volume-get", group="g1", volume="v1")["props"] == {"ports": "100g-1/3 100g-2/4", "hosts": "x" * 1023}
    nl.do("volume-set-prop", group="g1", volume="v1", prop=[{"prop-key": "hosts"}])
    assert nl.do("volume-get", group="g1", volume="v1")["props"] == {"ports": "100g-1/3 100g-2/4"}
    # All the room there is, in the smallest pieces: the largest message the module can have to send.
    keys = [f"{i:03x}" for i in range((3072 - 30) // 6 - 1)]
    for some in range(0, len(keys), 100):
        nl.do("volume-set-prop", group="g1", volume="v1", prop=[{"prop-key": k, "prop-value": "v"} for k in keys[some:some + 100]])
    assert set(nl.dump("volume-get")[0]["props"]) == {"ports", *keys}
    refused(nl, errno.ENOSPC, "v1", "volume-set-prop", group="g1", volume="v1", prop=[{"prop-key": "more", "prop-value": "x" * 1000}])
    for some in range(0, len(keys), 100):
        nl.do("volume-set-prop", group="g1", volume="v1", prop=[{"prop-key": k} for k in keys[some:some + 100]])


def test_many_volumes(guest, nl):
    for i in range(60):
        nl.do("volume-create", group="g1", volume=f"many-{i}", size=MIB)
    listed = nl.dump("volume-get", group="g1")
    assert {v["volume"] for v in listed} == {"v1", *(f"many-{i}" for i in range(60))}
    for key in ("volume-id", "serial", "uuid", "nguid", "block-device"):
        assert len({v[key] for v in listed}) == 61, key
    settle(guest)
    for i in range(60):
        nl.do("volume-delete", group="g1", volume=f"many-{i}")
    assert [v["volume"] for v in nl.dump("volume-get")] == ["v1"]
    assert guest.sh("ls -d /sys/block/pav*") == "/sys/block/pav0"


# ---- refusals ----

@pytest.mark.smoke
def test_in_use(guest, nl):
    settle(guest)
    keep = guest.spawn("exec 3</dev/pav0; sleep 600")
    guest.sh("until ls -l /proc/*/fd 2>/dev/null | grep -q /dev/pav0; do sleep 0.1; done")
    refused(nl, errno.EBUSY, r"g1/v1 \(pav0\): open by 1", "volume-delete", group="g1", volume="v1")
    refused(nl, errno.EBUSY, "v1 .*is open by 1", "group-export", group="g1")
    refused(nl, errno.EBUSY, "has volumes, v1", "group-destroy", group="g1")
    removal = guest.exec("rmmod pavraid", check=False)
    assert removal.code and "in use" in removal.err
    keep.kill()
    guest.sh("dd if=/dev/pav0 of=/dev/null bs=1M count=1 iflag=direct status=none")   # it still works
    removal = guest.exec("rmmod pavraid", check=False)      # nobody has the volume open, but the group is
    assert removal.code and "in use" in removal.err


def test_bad_input(guest, nl):
    d0 = drives(guest)[0]["drive-path"]
    one = [{"drive-path": d0}]
    V = dict(group="g1", volume="v1")
    NEW = dict(group="g1", volume="new")
    for code, text, command, values in [
        (errno.EINVAL, "which GROUP", "group-export", {}),
        (errno.ENOENT, "group nope: not open", "group-export", dict(group="nope")),
        (errno.ENOENT, "group nope", "group-checkpoint", dict(group="nope")),
        (errno.ENOENT, "g1/nope: does not exist", "volume-get", dict(group="g1", volume="nope")),
        (errno.EINVAL, "which VOLUME", "volume-get", dict(group="g1")),
        (errno.EINVAL, "a name begins", "volume-create", dict(group="g1", volume="-x", size=MIB)),
        (errno.EINVAL, "a name begins", "volume-create", dict(group="g1", volume="a/b", size=MIB)),
        (errno.EINVAL, "a name begins", "volume-create", dict(group="g1", volume="a\u00e9", size=MIB)),
        (errno.EINVAL, "a name begins", "volume-create", dict(group="g1", volume="", size=MIB)),
        (POLICY, "", "volume-create", dict(group="g1", volume="x" * 64, size=MIB)),
        (POLICY, "", "volume-create", dict(group="g1", volume=b"unterminated", size=MIB)),
        (errno.EINVAL, "which SIZE", "volume-create", NEW),
        (errno.EINVAL, "volume new: 0 bytes", "volume-create", dict(NEW, size=0)),
        (errno.EINVAL, "multiple of 1 MiB", "volume-create", dict(NEW, size=MIB + 4096)),
        (errno.EINVAL, "up to 64 TiB", "volume-create", dict(NEW, size=1 << 47)),
        (errno.EINVAL, "up to 64 TiB", "volume-create", dict(NEW, size=(1 << 64) - MIB)),
        (POLICY, "", "volume-create", dict(NEW, size=b"\0\0\0\1")),
        (errno.EEXIST, "v1", "volume-create", dict(V, size=MIB)),
        (errno.EEXIST, "serial.*g1/v1", "volume-create", dict(NEW, size=MIB, serial="GB00051104bbf912")),
        (errno.EEXIST, "UUID.*g1/v1", "volume-create", dict(NEW, size=MIB, uuid=bytes(range(16)))),
        (errno.EINVAL, "a serial begins", "volume-create", dict(NEW, size=MIB, serial="a b")),
        (POLICY, "", "volume-create", dict(NEW, size=MIB, serial="x" * 21)),
        (POLICY, "", "volume-create", dict(NEW, size=MIB, uuid=bytes(15))),
        (POLICY, "", "volume-create", dict(NEW, size=MIB, data_drives=4)),      # an attribute of another command
        (errno.EINVAL, "NEW_NAME", "volume-rename", V),
        (errno.EEXIST, "v1: exists", "volume-rename", dict(V, new_name="v1")),
        (errno.EINVAL, "which PROP", "volume-set-prop", V),
        (errno.EINVAL, "PROP_KEY", "volume-set-prop", dict(V, prop={"prop-value": "x"})),
        (errno.EINVAL, "a name begins", "volume-set-prop", dict(V, prop={"prop-key": "a b", "prop-value": "x"})),
        (POLICY, "", "volume-set-prop", dict(V, prop={"prop-key": "k", "prop-value": "x" * 1024})),
        (errno.EINVAL, "DRIVE_SLOT", "drive-fail", dict(group="g1")),
        (POLICY, "", "drive-fail", dict(group="g1", drive_slot=40)),
        (errno.ENOENT, "g1", "drive-fail", dict(group="g1", drive_slot=39)),
        (errno.EINVAL, "which DRIVE_PATH", "drive-probe", {}),
        (errno.EINVAL, "whole path", "drive-probe", dict(drive_path="nvme0n1")),
        (errno.EINVAL, "printable", "drive-probe", dict(drive_path="/dev/\u00e9")),
        (errno.EINVAL, "printable", "drive-probe", dict(drive_path="/dev/a\nb")),
        (errno.ENOENT, "/dev/nope: no such file", "drive-probe", dict(drive_path="/dev/nope")),
        (errno.ENOTBLK, "/dev/null: not a block device", "drive-probe", dict(drive_path="/dev/null")),
        (errno.EBUSY, f"{d0}: in use by the open group g1", "drive-probe", dict(drive_path=d0)),
        (errno.ELOOP, "/dev/pav0: a volume of pavraid", "drive-probe", dict(drive_path="/dev/pav0")),
        (errno.EINVAL, "which DRIVE_PATH", "drive-wipe", {}),
        (errno.ENOENT, "/dev/nope: no such file", "drive-wipe", dict(drive_path="/dev/nope")),
        (errno.EBUSY, f"{d0}: in use by the open group g1", "drive-wipe", dict(drive_path=d0)),
        (errno.EINVAL, "which DRIVES", "drive-add", dict(group="g1")),
        (errno.EBUSY, f"{d0}: in use by the open group g1", "drive-add", dict(group="g1", drives=one)),
        (errno.ENOENT, "/dev/nope: no such file", "drive-add", dict(group="g1", drives=[{"drive-path": "/dev/nope"}])),
        (errno.EINVAL, "DRIVE_SLOT", "drive-replace", dict(group="g1")),
        (errno.ENOENT, "no drive in slot 39", "drive-replace", dict(group="g1", drive_slot=39)),
        (errno.ENOENT, "no spare", "drive-replace", dict(group="g1", drive_slot=0)),
        (errno.ENOENT, "/dev/nope: no such drive", "drive-replace", dict(group="g1", drive_slot=0, drive_path="/dev/nope")),
        (errno.EBUSY, "in slot 0 of the same group", "drive-replace", dict(group="g1", drive_slot=1, drive_path=d0)),
        (errno.EINVAL, "DRIVE_SLOT", "drive-remove", dict(group="g1")),
        (errno.ENOENT, "g1", "drive-remove", dict(group="g1", drive_slot=39)),
        (errno.EINVAL, "which DRIVE_PATH", "drive-return", {}),
        (errno.ENOENT, "/dev/nope", "drive-return", dict(drive_path="/dev/nope")),
        (errno.EINVAL, "which GROUP", "scrub", {}),
        (POLICY, "", "scrub", dict(group="g1", scrub_stop=b"x")),
        (errno.EINVAL, "which DRIVES", "group-import", {}),
        (errno.EINVAL, "which DRIVES", "group-import", dict(drives={})),
        (errno.EINVAL, "DRIVE_PATH of each", "group-import", dict(drives=[{}])),
        (POLICY, "", "group-import", dict(drives=[{"drive-path": d0, "drive-spare": True}])),
        (errno.EBUSY, "open group g1", "group-import", dict(drives=one)),
        (errno.EINVAL, "GROUP's name", "group-create", dict(drives=one)),
        (errno.EEXIST, "group g1", "group-create", dict(group="g1", drives=one)),
        (errno.EBUSY, "open group g1", "group-create", dict(group="g2", drives=one)),
        (POLICY, "", "group-create", dict(group="g2", drives=one, data_drives=31)),
        (POLICY, "", "group-create", dict(group="g2", drives=one, reserve_percent=90)),
        (errno.EINVAL, "multiple of 4096", "group-create", dict(group="g2", drives=one, segment_bytes=5000)),
        (errno.EINVAL, "more than 40", "group-create", dict(group="g2", drives=[{"drive-path": f"/dev/x{i}"} for i in range(41)])),
        (errno.ENOENT, "/dev/x0", "group-create", dict(group="g2", drives=[{"drive-path": "/dev/x0"}])),
    ]:
        try:
            refused(nl, code, text, command, **values)
        except BaseException as e:
            raise AssertionError(f"{command} {values}") from e
    with pytest.raises(Refused, match="group nope: not open"):
        nl.dump("drive-get", group="nope")
    with pytest.raises(Refused, match="which GROUP"):
        nl.dump("drive-get")
    assert [v["volume"] for v in nl.dump("volume-get")] == ["v1"]


def test_malformed_messages(nl):
    group = encode(group="g1")
    header = struct.pack("<BBH", pavnl.COMMANDS["group-get"], 1, 0)
    cases = {
        "no attributes": header,
        "attribute longer than the message": header + struct.pack("<HH", 200, 2) + b"g1\0\0",
        "attribute of length 3": header + struct.pack("<HH", 3, 2),
        "unknown attribute": header + group + encode(error_text="x"),
        "attribute 999": header + group + pavnl.attribute(999, b"x"),
        "reserved field": struct.pack("<BBH", pavnl.COMMANDS["group-get"], 1, 7) + group,
        "flag with a payload": message("group-create", group="g9", drives=[{"drive-path": "/dev/x", "drive-spare": b"x"}]),
        "nest without the flag": struct.pack("<BBH", pavnl.COMMANDS["group-import"], 1, 0) + pavnl.attribute(15, encode(drive={})),
        "drive outside of drives": message("group-import", drive={"drive-path": "/dev/x"}),
        "unknown command": struct.pack("<BBH", 99, 1, 0),
        "the event": struct.pack("<BBH", pavnl.COMMANDS["event"], 1, 0),
        "a command that only dumps": message("drive-get", group="g1"),
    }
    _, ends = nl.do_raw(list(cases.values()))
    assert not [name for name, (code, _) in zip(cases, ends) if code == 0]
    assert nl.do("group-get", group="g1")["group"] == "g1"


def test_rights(guest, nl):
    user = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]
    changes = [op["name"] for op in pavnl.SPEC["operations"]["list"] if "admin-perm" in op.get("flags", [])]
    assert len(changes) == 18
    _, ends = nl.do_raw([message(c) for c in changes], prefix=user)
    assert {code for code, _ in ends} == {errno.EPERM}
    assert all("CAP_SYS_ADMIN" in text for _, text in ends)
    replies, [(code, _)] = nl.do_raw([message("group-get", group="g1")], prefix=user)
    assert code == 0 and pavnl.decode(replies[0][4:])["group"] == "g1"


# ---- events, failures ----

def expect_event(nl, job, **want):
    """Ends the listener; an event with these attributes must have come."""
    def like(event):
        return all(event.get(k.replace("_", "-")) == v for k, v in want.items())
    heard = nl.events(job, wait_for=like)
    assert any(map(like, heard)), f"no event like {want} among {heard}"


@pytest.mark.smoke
def test_events(guest, nl):
    job = nl.listen()
    nl.do("volume-create", group="g1", volume="e1", size=MIB)
    settle(guest)
    nl.do("volume-delete", group="g1", volume="e1")
    heard = nl.events(job, wait_for=lambda e: e["event-type"] == "volume-deleted")
    events = [(e["event-type"], e["group"], e.get("volume")) for e in heard]
    assert events == [("volume-created", "g1", "e1"), ("volume-deleted", "g1", "e1")]


@pytest.mark.smoke
def test_data_outlives_a_sudden_stop(guest, nl):
    guest.sh("dd if=/dev/urandom of=/dev/pav0 bs=1M count=64 oflag=direct status=none", timeout=120)
    before = guest.sh("dd if=/dev/pav0 bs=1M count=64 iflag=direct status=none | sha256sum")
    nl.do("volume-set-prop", group="g1", volume="v1", prop=[{"prop-key": "ports", "prop-value": "100g-1/3"}])
    size = nl.do("volume-get", group="g1", volume="v1")["size"]
    writer = guest.spawn("fio --name=w --filename=/dev/pav0 --offset=64m --size=64m --rw=randwrite --bs=4k --iodepth=8 "
                         "--ioengine=io_uring --direct=1 --time_based --runtime=60")
    time.sleep(3)
    guest.power_cycle()
    del writer
    insert(guest)
    assert nl.do("drive-probe", drive_path=drives(guest)[3]["drive-path"])["drive"]["group"] == "g1"
    refused(nl, errno.EINVAL, "are of group g1, not other", "group-import", group="other", drives=drives(guest))
    assert nl.do("group-import", drives=drives(guest), group="g1")["group"] == "g1"
    volume = nl.do("volume-get", group="g1", volume="v1")
    assert (volume["size"], volume["serial"], volume["uuid"]) == (size, "GB00051104bbf912", bytes(range(16)))
    assert volume["props"] == {"ports": "100g-1/3"}
    assert guest.sh("dd if=/dev/pav0 bs=1M count=64 iflag=direct status=none | sha256sum") == before
    fio(guest, "after", filename="/dev/pav0", offset="64m", size="32m", rw="randwrite", bs="4k", iodepth=32, verify="crc32c", verify_fatal=1)


@pytest.mark.smoke
@pytest.mark.limit(max(300, 15 * USE_CYCLES))
def test_insert_use_remove_many_times(guest, nl):
    """The whole life in one shell loop in the guest, so that the emulated time goes into the module."""
    settle(guest)
    nl.do("group-export", group="g1")
    guest.sh("rmmod pavraid")
    importing = message("group-import", drives=drives(guest)).hex()
    exporting = message("group-export", group="g1").hex()
    # An export waits for udev, which has a look at each new disk. Each import begins new segments and writes a new place: without garbage
    # collection some 50 rounds would fill this small group.
    guest.sh(f"""
        before=$(dd if=/dev/zero bs=64k count=1 status=none | sha256sum)
        for i in $(seq {USE_CYCLES}); do
            insmod {MODULE} || exit 1
            {nl.nlpipe} pavraid 5 {importing} | grep -q '^end 0' || exit 2
            head -c 65536 /dev/urandom >/tmp/data
            dd if=/tmp/data of=/dev/pav0 bs=64k seek=$i oflag=direct status=none || exit 3
            [ "$(dd if=/dev/pav0 bs=64k skip=$i count=1 iflag=direct status=none | sha256sum)" = "$(sha256sum </tmp/data)" ] || exit 4
            udevadm settle -t 30
            {nl.nlpipe} pavraid 5 {exporting} | grep -q '^end 0' || exit 5
            rmmod pavraid || exit 6
        done""", timeout=30 * USE_CYCLES)
    assert_nothing_left(guest)
    insert(guest)
    nl.do("group-import", drives=drives(guest))


@pytest.mark.smoke
def test_removal_while_a_group_is_opened(guest, nl):
    """An import takes seconds, and until it ends no group holds the module. Whoever wants to remove it meanwhile is told that it is in use."""
    settle(guest)
    nl.do("group-export", group="g1")
    guest.sh("rmmod pavraid")
    importing = message("group-import", drives=drives(guest)).hex()
    exporting = message("group-export", group="g1").hex()
    tries = guest.sh(f"""
        for i in $(seq 4); do
            insmod {MODULE} || exit 1
            {nl.nlpipe} pavraid 5 {importing} >/tmp/answer & import=$!
            while [ -d /proc/$import ] && ! grep -q '^end' /tmp/answer; do
                [ -n "$(cat /sys/module/pavraid/refcnt)" ] || exit 2
                if [ $(cat /sys/module/pavraid/refcnt) != 0 ]; then
                    rmmod pavraid 2>/tmp/why && exit 3
                    grep -q "in use" /tmp/why || exit 4
                    echo tried
                fi
            done
            wait $import
            grep -q '^end 0' /tmp/answer || exit 5
            udevadm settle -t 30
            {nl.nlpipe} pavraid 5 {exporting} | grep -q '^end 0' || exit 6
            rmmod pavraid || exit 7
        done""", timeout=240).split()
    assert len(tries) >= 4, "it was tried while a group was being opened"
    assert_nothing_left(guest)
    insert(guest)
    nl.do("group-import", drives=drives(guest))


def test_corrupt_superblocks(guest, nl):
    """Refused by drive and reason. One good slot of the two is enough, and what is put right is taken again."""
    settle(guest)
    nl.do("group-export", group="g1")
    path = drives(guest)[2]["drive-path"]
    save, restore = "dd if={} of={} bs=4k skip=8 count=9 status=none", "dd if={} of={} bs=4k seek=8 count=9 status=none"
    guest.sh(save.format(path, "/tmp/sb"))
    for code, text, source, byte, cells in [
        (errno.EUCLEAN, "superblock checksum mismatch", "urandom", 100, "8 16"),
        (errno.EUCLEAN, "superblock checksum mismatch", "urandom", 4000, "8 16"),
        (errno.ENOENT, "holds no superblock", "zero", 0, "8 16"),
        (0, "", "urandom", 100, "8"),
        (0, "", "urandom", 100, "16"),
    ]:
        guest.sh(f"for c in {cells}; do dd if=/dev/{source} of={path} bs=1 count=16 seek=$((c * 4096 + {byte})) conv=notrunc status=none; done")
        probe = nl.do("drive-probe", drive_path=path)
        if code:
            assert probe["error-text"] == f"drive {path}: {text}"
            refused(nl, code, f"{path}: {text}", "group-import", drives=[{"drive-path": path}])
        else:
            assert "error-text" not in probe and probe["drive"]["group"] == "g1"
        guest.sh(restore.format("/tmp/sb", path))
    nl.do("group-import", drives=drives(guest))
    assert nl.do("group-get", group="g1")["group-state"] == "online"
    assert {d["drive-state"] for d in nl.dump("drive-get", group="g1")} == {"active"}


@pytest.mark.smoke
def test_drive_fail_and_pull(guest, nl):
    guest.sh("dd if=/dev/urandom of=/dev/pav0 bs=1M count=32 oflag=direct status=none", timeout=120)
    before = guest.sh("dd if=/dev/pav0 bs=1M count=32 iflag=direct status=none | sha256sum")
    path = drives(guest)[4]["drive-path"]
    slot = next(d["drive-slot"] for d in nl.dump("drive-get", group="g1") if d["drive-path"] == path)
    job = nl.listen()
    nl.do("drive-fail", group="g1", drive_slot=slot)
    expect_event(nl, job, event_type="drive-failed", group="g1", drive_slot=slot, drive_path=path)
    assert nl.do("group-get", group="g1")["group-state"] == "degraded"

    # Torn out while nothing is going on: it is noticed all the same.
    victim = 9
    path = drives(guest)[victim]["drive-path"]
    job = nl.listen()
    guest.pull_drive(victim)
    expect_event(nl, job, event_type="drive-failed", group="g1", drive_path=path)
    guest.sh("echo 3 > /proc/sys/vm/drop_caches")
    assert guest.sh("dd if=/dev/pav0 bs=1M count=32 iflag=direct status=none | sha256sum", timeout=120) == before
    fio(guest, "degraded", filename="/dev/pav0", offset="64m", size="16m", rw="randwrite", bs="4k", iodepth=16, verify="crc32c", verify_fatal=1)
    spare = next(d["drive-slot"] for d in nl.dump("drive-get", group="g1") if d["drive-state"] == "active")
    with pytest.raises(Refused) as third:
        nl.do("drive-fail", group="g1", drive_slot=spare)
    assert "lose" in third.value.text or "lost" in third.value.text, third.value


@pytest.mark.smoke
def test_a_faulted_group_takes_no_drive(guest, nl):
    """After a third loss newcomers are refused, and so is one that is to come back; nothing is written on them, and the newcomer is not held."""
    guest.pull_drive(12)
    wait_until(lambda: nl.do("group-get", group="g1")["group-state"] == "faulted", "the group is faulted", 120)
    settle(guest)
    names = guest.drive_names()
    new, old = f"/dev/{names[DRIVES]}", f"/dev/{names[4]}"
    look = f"for d in {new} {old}; do dd if=$d bs=1M count=4 iflag=direct status=none | sha256sum; done"
    before = guest.sh(look)
    slot = next(d["drive-slot"] for d in nl.dump("drive-get", group="g1") if d["drive-state"] == "failed")
    for _ in range(3):
        for command, values in (("drive-add", dict(drives=[{"drive-path": new}])), ("drive-add", dict(drives=[{"drive-path": new, "drive-spare": True}])),
                                ("drive-replace", dict(drive_slot=slot, drive_path=new))):
            refused(nl, errno.EIO, "group g1: faulted, no drive can join", command, group="g1", **values)
        with pytest.raises(Refused):
            nl.do("drive-return", drive_path=old)
    time.sleep(3)       # the watch looks at each drive that the group has, each second
    nl.dump("drive-get", group="g1")
    assert "holds no superblock" in nl.do("drive-probe", drive_path=new)["error-text"]
    assert guest.sh(look) == before
    try:
        nl.do("group-export", group="g1")
    except Refused as e:        # it says so if it could not write a checkpoint, and is closed all the same
        assert "checkpoint failed" in e.text, e
    assert nl.dump("group-get") == []
    # With two drives gone for good and one that failed it is lost; what follows gets another.
    there = [{"drive-path": f"/dev/{name}"} for n, name in sorted(names.items()) if n < DRIVES]
    for drive in there:
        nl.do("drive-wipe", **drive)
    nl.do("group-create", group="g1", drives=there)
    nl.do("volume-create", group="g1", volume="v1", size=64 * MIB)


# ---- last: what comes after this is undefined, but for the module's health ----

def mutated(rng, base):
    raw = bytearray(base)
    for _ in range(rng.choice((1, 1, 2, 4))):
        how = rng.random()
        if how < 0.5 and raw:
            raw[rng.randrange(len(raw))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif how < 0.7 and len(raw) > 4:
            del raw[rng.randrange(4, len(raw)):]
        elif how < 0.85:
            raw += pavnl.attribute(rng.randrange(50), rng.randbytes(rng.choice((0, 1, 4, 8, 16, 64))), nested=rng.random() < 0.5)
        else:
            raw[0] = rng.randrange(len(pavnl.COMMANDS) + 2)
    return bytes(raw)


@pytest.mark.limit(300 + 2 * FUZZ_SECONDS)
def test_mutated_messages(guest, nl, say):
    rng = random.Random(20)
    began = time.monotonic()
    names = dict(group="g1", volume="v1")
    d = drives(guest, 1)
    bases = [message("group-get", group="g1"), message("volume-get", **names), message("volume-create", group="g1", volume="f", size=MIB),
             message("volume-rename", **names, new_name="v1"), message("volume-grow", **names, size=1024 * MIB),
             message("volume-set-prop", **names, prop=[{"prop-key": "k", "prop-value": "v"}, {"prop-key": "k"}]),
             message("group-create", group="f", drives=d, data_drives=2), message("group-import", drives=d),
             message("drive-probe", drive_path=d[0]["drive-path"]), message("drive-get", group="g1"), message("drive-fail", group="g1", drive_slot=1),
             message("drive-add", group="g1", drives=[{"drive-path": "/dev/x", "drive-spare": True}]), message("drive-return", drive_path="/dev/x"),
             message("drive-replace", group="g1", drive_slot=1, drive_path="/dev/x"), message("drive-remove", group="g1", drive_slot=30),
             message("scrub", group="g1"), message("scrub", group="g1", scrub_stop=True)]
    sent = answered = 0
    while sent < FUZZ or time.monotonic() - began < FUZZ_SECONDS:
        sent += 100
        batch = [mutated(rng, rng.choice(bases)) for _ in range(100)]
        flags = rng.choice((5, 5, 0x305))
        _, ends = nl.do_raw(batch, flags)
        answered += len(ends)
    say(f"{sent} mutated messages in {time.monotonic() - began:.0f} s, {answered} answered")
    assert answered == sent
    nl.dump("group-get")


@pytest.mark.smoke
def test_removal(guest, nl):
    """Whatever there was, the module goes, and leaves nothing behind."""
    settle(guest)
    for group in nl.dump("group-get"):
        nl.do("group-export", group=group["group"])
    guest.sh("rmmod pavraid")
    assert_nothing_left(guest)
    assert_no_leaks(guest)
