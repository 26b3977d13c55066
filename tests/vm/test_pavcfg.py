# SPDX-License-Identifier: GPL-2.0
"""The array as a user runs it: pavcfg on the target, nvme-cli on the initiator. Rows R1 to R13, R16, R24, R25.

The tests run in the order they stand here, on what the ones before have left: from empty drives to an array that came back
after a sudden stop.
"""
import json
import re
from pathlib import Path

import pytest
from conftest import MODULE, build_module
from vm.pace import wait_until

REPO = Path(__file__).resolve().parents[2]
PAVCFG = "/mnt/repo/build/cmake/userland/pavcfg"
DRIVES, SPARES = 18, 2
CONFIG = f"""
zones: ( {{ id = 1; }} );
controllers: ( {{ id = 1; zone = 1; protocol = "roce"; }}, {{ id = 2; zone = 1; protocol = "roce"; }} );
ports: (
    {{ name = "100g-1/1"; controller = 1; interface = "eth0"; ip = "10.70.0.1"; }},
    {{ name = "100g-2/1"; controller = 1; interface = "eth0"; ip = "10.70.0.1"; trsvcid = 4421; }},
    {{ name = "100g-1/2"; controller = 2; interface = "eth1"; ip = "10.70.1.1"; }}
);
options: {{ module = "{MODULE}"; wait = 60; }};
"""
PATIENCE = 240      # seconds for one command: emulated CPUs, and other work beside them


class Array:
    """Words as a user types them, on the target; and what the initiator sees."""

    def __init__(self, world):
        self.world = world

    @property
    def target(self):
        return self.world.target

    @property
    def host(self):
        return self.world.initiator

    def run(self, line, check=True):
        return self.target.exec(f"{PAVCFG} {line}", timeout=PATIENCE, check=check)

    def __call__(self, line):
        return self.run(line).out

    def json(self, line):
        return json.loads(self(f"--json {line}"))

    def refused(self, line, *parts, code=1):
        r = self.run(line, check=False)
        assert r.code == code, (line, r)
        for part in parts:
            assert part in r.err, (line, r.err)
        return r.err

    def volume(self, name):
        return self.json(f"show volume name {name}")

    def hostnqn(self):
        return self.host.sh("cat /etc/nvme/hostnqn").strip()

    # The initiator.
    def nvme(self, line, check=True):
        return self.host.exec(f"nvme {line}", timeout=PATIENCE, check=check)

    def discovered(self, ip, transport="rdma", port=4420):
        log = self.nvme(f"discover -t {transport} -a {ip} -s {port} -o json", check=False)
        if log.code:
            return []
        return sorted(r["subnqn"] for r in json.loads(log.out)["records"] if not r["subnqn"].endswith(".discovery"))

    def paths(self, nqn):
        """{address of the target: ANA state} of the initiator's paths to nqn, and the disk's name."""
        script = f"""
for s in /sys/class/nvme-subsystem/nvme-subsys*; do
    [ "$(cat $s/subsysnqn 2>/dev/null)" = {nqn} ] || continue
    for c in $s/nvme[0-9]*; do
        [ -e $c/address ] || continue
        a=$(sed 's/.*traddr=\\([^,]*\\).*/\\1/' $c/address)
        for n in $c/nvme*c*n* $c/nvme*n*; do [ -e $n/ana_state ] && echo "path $a $(cat $n/ana_state) $(cat $c/state)" && break; done
    done
    for n in $s/nvme*n*; do case ${{n##*/}} in *c*) ;; *) echo "disk ${{n##*/}}" ;; esac; done
done; true"""
        paths, disk = {}, None
        for line in self.host.sh(script, timeout=PATIENCE).splitlines():
            words = line.split()
            if words[0] == "path":
                paths[words[1]] = words[2] if words[3] == "live" else words[3]
            else:
                disk = words[1]
        return paths, disk

    def wait_paths(self, nqn, wanted, seconds=90):
        wait_until(lambda: self.paths(nqn)[0] == wanted, lambda: f"{nqn}: {self.paths(nqn)[0]}, wanted {wanted}", seconds, pause=0.5)

    def connect(self, nqn, transport="rdma", ips=("10.70.0.1", "10.70.1.1")):
        for ip in ips:
            self.nvme(f"connect -t {transport} -a {ip} -n {nqn} -i 2 --ctrl-loss-tmo=-1 --reconnect-delay=2 --keep-alive-tmo=15")
        self.host.sh("udevadm settle -t 60", timeout=PATIENCE)


@pytest.fixture(scope="module")
def _array(_pair):
    build_module()
    assert (REPO / "build/cmake/userland/pavcfg").exists(), "build it first: make userland"
    _pair.boot()
    a = Array(_pair)
    a.target.sh("rm -f /var/lib/pav/state.json")
    a.target.exec("cat > /etc/pav/pavcfg.conf", stdin=CONFIG)
    names = a.target.drive_names()
    a.target.sh("for d in " + " ".join(f"/dev/{n}" for n in names.values()) + "; do blkdiscard -f $d || exit; done", timeout=PATIENCE)
    return a


@pytest.fixture
def array(world, _array):
    """After a test that failed the guests were power-cycled: what was there is brought back."""
    if getattr(_array, "began", False) and not _array.target.sh("ls -d /sys/module/pavraid 2>/dev/null || true"):
        _array.run("restore", check=False)
    _array.began = True
    return _array


def drive_paths(array, away=()):
    """By number; those that are out of their slots as they are named after a boot."""
    names = {n: f"nvme{n}n1" for n in away} | array.target.drive_names()
    return [f"/dev/{names[i]}" for i in range(DRIVES + SPARES)]


UP, STANDBY = "optimized", "non-optimized"
BOTH = {"10.70.0.1": UP, "10.70.1.1": STANDBY}
OTHER = {"10.70.0.1": STANDBY, "10.70.1.1": UP}


@pytest.mark.smoke
def test_drives_that_hold_anything_are_refused_and_named(array):
    d = drive_paths(array)
    array.target.sh(f"mkfs.ext4 -q -L keep {d[3]} && mkswap {d[5]} && "
                    f"mdadm --create /dev/md9 -q --run --force --level=1 --raid-devices=1 {d[7]} && mdadm --stop -q /dev/md9", timeout=PATIENCE)
    array.target.sh(f"mkdir -p /tmp/m && mount {d[3]} /tmp/m", timeout=PATIENCE)
    try:
        array.refused("create group name MG1 drives " + " ".join(d[:DRIVES]), f"{d[3]} holds mounted on /tmp/m", f"{d[5]} holds swap space",
                      f"{d[7]} holds a member of an md array", f"wipefs -a {d[3]} {d[5]} {d[7]}")
    finally:
        array.target.sh("umount /tmp/m")
    array.refused("create group name MG1 drives " + " ".join(d[:DRIVES]), f"{d[3]} holds a file system (ext4) with the label \"keep\"")
    array.refused(f"create group name MG1 drives {d[0]} {d[1]} {d[2]} {d[0]}", f"{d[0]} is named twice")
    array.refused("create group name MG1 drives /dev/null /dev/nvme99n1 /etc/passwd /dev/zero", "/dev/nvme99n1", "not a block device")
    assert "keep" in array.target.sh(f"blkid {d[3]}"), "nothing was lost"
    array.target.sh(f"wipefs -q -a {d[3]} {d[5]} {d[7]}", timeout=PATIENCE)


@pytest.mark.smoke
def test_r5_group_of_16_plus_2_and_spares(array):
    d = drive_paths(array)
    out = array(f"create group name MG1 zone 1 drives {' '.join(d[:DRIVES])} spares {' '.join(d[DRIVES:])}")
    assert "16+2" in out
    group, = array.json("show groups")["groups"]
    assert (group["data_drives"], group["state"], group["zone"]) == (16, "online", 1)
    states = [x["state"] for x in array.json("show drives")["drives"]]
    assert states.count("active") == DRIVES and states.count("spare") == SPARES
    array.refused(f"create group name MG2 drives {' '.join(d[:4])}", f"{d[0]} ")


@pytest.mark.smoke
def test_r7_r9_volumes(array):
    out = array("create volume name v1 size 100 GB grpname MG1")
    serial = re.search(r"^Device Serial: (\S+)$", out, re.M)[1]
    assert re.fullmatch(r"GB0[0-9a-f]{13}", serial)
    v = array.volume("v1")
    assert v["size_bytes"] == 107374182400 and v["nqn"] == serial
    assert array.target.sh(f"blockdev --getsize64 /dev/{v['block_device']}").strip() == "107374182400"
    array.target.sh("udevadm settle -t 30", timeout=PATIENCE)
    assert array.target.sh("readlink -f /dev/pav/MG1/v1").strip() == f"/dev/{v['block_device']}"
    array("create volume name v2 size 1 GB grpname MG1")
    array.refused("create volume name v1 size 1 GB grpname MG1", "v1")
    array.refused("create volume name v9 size 1 GB grpname MG9", "did you mean MG1?")


@pytest.mark.smoke
def test_r8_assign_prints_serial_and_is_idempotent(array):
    v = array.volume("v1")
    wanted = f"Block Device: {v['block_device']}\nDevice Serial: {v['serial']}\n"
    assert wanted in array("assign volume name v1 port-name 100g-1/1 preferred")
    again = array("assign volume name v1 port-name 100g-1/1 preferred")
    assert wanted in again and "Nothing to do" in again
    array("assign volume name v2 port-name 100g-2/1")


@pytest.mark.smoke
def test_r12_pair_rules(array):
    array.refused("assign volume name v1 port-name 100g-2/1", "one controller (1)")
    array("assign volume name v1 port-name 100g-1/2")
    array.refused("assign volume name v1 port-name 100g-2/1", "exactly two ports")
    array.refused("assign volume name v1 port-name 100g-9/1", "is not in /etc/pav/pavcfg.conf")


@pytest.mark.smoke
def test_r24_discovery_shows_only_the_interface_asked(array):
    v1, v2, host = array.volume("v1")["nqn"], array.volume("v2")["nqn"], array.hostnqn()
    assert array.discovered("10.70.0.1") == [], "no host is allowed yet"
    array.nvme(f"connect -t rdma -a 10.70.0.1 -n {v1}", check=False)
    assert array.paths(v1) == ({}, None), "and none can connect"
    array(f"allow host {host} to volume v1")
    array("allow host any to volume v2")
    assert array.discovered("10.70.0.1") == [v1]
    assert array.discovered("10.70.0.1", port=4421) == [v2]
    assert array.discovered("10.70.1.1") == [v1]


@pytest.mark.smoke
def test_r25_connect_list_disconnect(array):
    v1 = array.volume("v1")
    array.connect(v1["nqn"])
    array.wait_paths(v1["nqn"], BOTH)
    listed = json.loads(array.nvme("list -o json").out)["Devices"]
    mine, = [d for d in listed if d["SerialNumber"].strip() == v1["serial"]]
    assert mine["ModelNumber"].startswith("PVL-")                                           # R10
    assert mine["PhysicalSize"] == 107374182400 and mine["SectorSize"] == 4096              # R7, R11
    assert "107.37" in array.nvme("list").out
    assert "disconnected 2 controller" in array.nvme(f"disconnect -n {v1['nqn']}").out
    array.nvme("connect-all -t rdma -a 10.70.0.1")
    assert list(array.paths(v1["nqn"])[0]) == ["10.70.0.1"]
    array.nvme("disconnect-all")
    assert array.paths(v1["nqn"]) == ({}, None)


@pytest.mark.smoke
def test_r16_volume_mapped_network(array):
    table = array("show volume-mapped-network name nvmeroce")
    for column in ("Mac Address", "IP Address", "Slot", "Controller"):
        assert f"| {column} " in table
    rows = array.json("show volume-mapped-network name nvmeroce")["volume_mapped_network"]
    v1 = {r["slot"]: r for r in rows if r["volume"] == "v1"}
    assert set(v1) == {"100g-1/1", "100g-1/2"}
    assert v1["100g-1/1"]["mac_address"] == array.target.sh("cat /sys/class/net/eth0/address").strip()
    assert v1["100g-1/1"]["ip_address"] == "10.70.0.1" and v1["100g-1/1"]["controller"] == 1
    assert v1["100g-1/1"]["preferred"] and v1["100g-1/1"]["active"] and not v1["100g-1/2"]["active"]
    assert array.json("show volume-mapped-network name nvmetcp")["volume_mapped_network"] == []


def write_and_verify(array, disk, seconds, size="64M"):
    return array.host.spawn(f"fio --name=verify --filename=/dev/{disk} --ioengine=io_uring --direct=1 --rw=randrw --bs=4k --iodepth=8 "
                            f"--size={size} --verify=crc32c --verify_backlog=64 --time_based --runtime={seconds} --output-format=json")


@pytest.mark.smoke
def test_r13_failover_and_failback_under_load(array):
    nqn = array.volume("v1")["nqn"]
    array.connect(nqn)
    array.wait_paths(nqn, BOTH)
    fio = write_and_verify(array, array.paths(nqn)[1], 20)
    array("failover volume v1")
    array.wait_paths(nqn, OTHER)
    v = array.volume("v1")
    assert (v["preferred"], v["active"]) == ("100g-1/1", "100g-1/2")
    assert "Nothing to do" in array("failover volume v1")
    assert "failed over to 100g-1/2" in array.run("show status", check=False).out
    array("failback volume v1")
    array.wait_paths(nqn, BOTH)
    fio.wait(timeout=PATIENCE).check()
    assert array.volume("v1")["active"] == "100g-1/1"


@pytest.mark.smoke
def test_r12_io_goes_on_when_the_preferred_link_is_cut(array):
    nqn = array.volume("v1")["nqn"]
    fio = write_and_verify(array, array.paths(nqn)[1], 40)
    array.target.cut_link(0)
    try:
        array("failover port-name 100g-1/1")
        assert array.volume("v1")["active"] == "100g-1/2"
        fio.wait(timeout=PATIENCE).check()
    finally:
        array.target.restore_link(0)
    array("failback")
    array.wait_paths(nqn, BOTH, seconds=PATIENCE)


def test_grow_rename_online(array):
    nqn = array.volume("v1")["nqn"]
    array("grow volume name v1 size 110 GB")
    disk = array.paths(nqn)[1]
    wait_until(lambda: int(array.host.sh(f"blockdev --getsize64 /dev/{disk}")) == 110 << 30, "the host sees the new size", 60, pause=0.5)
    array("rename volume name v1 new-name data")
    array.target.sh("udevadm settle -t 30 && test -b /dev/pav/MG1/data && test ! -e /dev/pav/MG1/v1", timeout=PATIENCE)
    array("rename volume name data new-name v1")


@pytest.mark.smoke
def test_restore_after_a_sudden_stop(array):
    v1, v2 = array.volume("v1"), array.volume("v2")
    disk = array.paths(v1["nqn"])[1]
    array.host.sh(f"dd if=/dev/urandom of=/tmp/data bs=1M count=8 status=none && dd if=/tmp/data of=/dev/{disk} bs=1M oflag=direct status=none", timeout=PATIENCE)
    array("failover volume v1")
    array.target.power_cycle()
    # An address that comes late is waited for, by name.
    array.target.sh("ip addr del 10.70.1.1/24 dev eth1")
    restore = array.target.spawn(f"{PAVCFG} restore --wait {PATIENCE} 2>/tmp/progress")
    waiting = "port 100g-1/2: interface eth1 does not have the address 10.70.1.1"
    array.target.sh(f"until grep -q 'waiting.*{waiting}' /tmp/progress; do sleep 0.2; done", timeout=PATIENCE)
    assert restore.poll() is None
    array.target.sh("ip addr add 10.70.1.1/24 dev eth1")
    assert "group MG1 imported from 20 drives" in restore.wait(timeout=PATIENCE).check().out
    for before, after in ((v1, array.volume("v1")), (v2, array.volume("v2"))):
        for key in ("serial", "uuid", "nguid", "nqn", "size_bytes", "ports", "hosts", "allow_any_host"):
            assert before[key] == after[key], key
    assert array.volume("v1")["active"] == "100g-1/2", "failback is manual, over a restart too"
    assert "Nothing to do" in array("restore")
    array.wait_paths(v1["nqn"], OTHER, seconds=PATIENCE)
    disk = array.paths(v1["nqn"])[1]
    array.host.sh(f"dd if=/dev/{disk} bs=1M count=8 iflag=direct status=none | cmp - /tmp/data", timeout=PATIENCE)
    array("failback volume v1")
    assert array.run("show status", check=False).code == 0


@pytest.mark.smoke
def test_r2_protocol(array):
    v1 = array.volume("v1")
    array.refused("configure controller id 1 protocol tcp", "MG1/v1 (port 100g-1/1)", "MG1/v2 (port 100g-2/1)")
    array.nvme("disconnect-all")
    array.refused("unassign volume name v1", "--yes")
    for name in ("v1", "v2"):
        array(f"unassign volume name {name} --yes")
    for controller in (1, 2):
        array(f"configure controller id {controller} protocol tcp")
    array.refused("configure controller id 1 protocol iscsi", "roce, tcp", code=2)
    array("assign volume name v1 port-name 100g-1/1 preferred")
    array("assign volume name v1 port-name 100g-1/2")
    assert array.discovered("10.70.0.1", "tcp") == [v1["nqn"]]
    array.connect(v1["nqn"], "tcp")
    array.wait_paths(v1["nqn"], BOTH)
    disk = array.paths(v1["nqn"])[1]
    array.host.sh(f"dd if=/dev/{disk} bs=1M count=8 iflag=direct status=none | cmp - /tmp/data", timeout=PATIENCE)
    assert len(array.json("show volume-mapped-network name nvmetcp")["volume_mapped_network"]) == 2
    array.nvme("disconnect-all")


def test_export_and_import_as_if_on_another_host(array):
    v1 = array.volume("v1")
    array("export group name MG1 --yes")
    assert array.discovered("10.70.0.1", "tcp") == []
    assert "stays closed" in array.run("restore").err
    array("import group")
    after = array.volume("v1")
    assert {k: after[k] for k in ("serial", "ports", "hosts")} == {k: v1[k] for k in ("serial", "ports", "hosts")}
    assert array.discovered("10.70.0.1", "tcp") == [v1["nqn"]]


def test_dry_run_and_errors_lose_nothing(array):
    before = array("show volumes --json"), array.target.sh("find /sys/kernel/config/nvmet | sort | sha256sum")
    for line in ("delete volume name v1", "unassign volume name v1", "create volume name v3 size 1 GB grpname MG1", "failover volume v1"):
        assert "Dry run" in array(f"--dry-run {line}")
    array.refused("delete volume name v1", "--yes")
    array.refused("create volme name v", "did you mean \"create volume\"", code=2)
    array.target.exec("echo 'zones: ( { id = 7; } );' > /tmp/bad.conf")
    array.refused("--config /tmp/bad.conf show ports", "/tmp/bad.conf:1", code=4)
    assert (array("show volumes --json"), array.target.sh("find /sys/kernel/config/nvmet | sort | sha256sum")) == before


@pytest.mark.smoke
def test_delete_leaves_nothing(array):
    array.refused("delete group name MG1 --yes", "v1", "v2")
    for name in ("v1", "v2"):
        array(f"delete volume name {name} --yes")
    assert array.target.sh("cd /sys/kernel/config/nvmet && ls subsystems hosts ports | grep -c '^[^ ]*[^:]$' || true").strip() == "0"
    array("delete group name MG1 --yes")
    array.target.sh("rmmod pavraid")
    d = drive_paths(array)
    assert array.run(f"--dry-run create group name MG1 drives {' '.join(d[:6])}").code == 0, "the drives are free again"


@pytest.fixture
def events(array):
    """pavcfg show events, from before the test on: ends it and gives what it printed."""
    array("restore")        # the module is loaded
    job = array.target.spawn(f"exec {PAVCFG} --json show events seconds 600 >/tmp/events")
    # It has its socket when it sleeps in poll().
    array.target.sh(f"until grep -q poll /proc/{job.pid}/wchan; do sleep 0.1; done")

    def heard():
        return [json.loads(line) for line in array.target.sh("cat /tmp/events").splitlines()]
    yield heard
    job.kill()


def test_r6_a_pulled_drive_is_shown_and_io_goes_on(array, events):
    d = drive_paths(array)
    array(f"create group name MG2 drives {' '.join(d[:6])}")
    array("create volume name v5 size 1 GB grpname MG2")
    array("assign volume name v5 port-name 100g-1/1")
    array("allow host any to volume v5")
    nqn = array.volume("v5")["nqn"]
    array.connect(nqn, "tcp", ["10.70.0.1"])
    array.target.pull_drive(4)
    write_and_verify(array, array.paths(nqn)[1], 5).wait(timeout=PATIENCE).check()
    failed, = [x for x in array.json("show drives")["drives"] if x["state"] == "failed"]
    assert failed["path"] == d[4]
    assert "has failed" in array.run("show status", check=False).out
    array.nvme("disconnect-all")

    def told(kind, **what):
        return any(e["type"] == kind and what.items() <= e.items() for e in events())
    wait_until(lambda: told("drive failed", group="MG2", drive=d[4], slot=4), lambda: f"drive failed of {d[4]}, not {events()}", 20)
    assert told("group opened", group="MG2") and told("volume created", group="MG2", volume="v5")


def test_delete_group_while_a_drive_is_away(array):
    """The drive keeps its superblock; back in its slot it is shown, refused, and taken once it is wiped."""
    d = drive_paths(array, away=[4])
    array("delete volume name v5 --yes")
    r = array.run("delete group name MG2 --yes")
    assert f"drive {d[4]} (slot 4) is not here and was not wiped" in r.err
    assert array.json("show groups")["groups"] == []
    array.target.insert_drive(4)
    array.target.sh("udevadm settle -t 30", timeout=PATIENCE)
    back = f"/dev/{array.target.drive_names()[4]}"
    mine, = array.json("show drives")["drives"]
    assert (mine["path"], mine["group"], mine["slot"], mine["state"]) == (back, "MG2", 4, "group open on target, or left so")
    create = f"create group name MG3 drives {' '.join(d[:4])} {back}"
    array.refused(create, f"{back} belongs to group MG2", f"pavcfg wipe drives {back}")
    array.refused(f"import group name MG2 drives {back}", "missing")
    array.refused(f"wipe drives {back}", "--yes")
    array.refused(f"wipe drives {d[0]} {back} --yes", f"{d[0]}", "holds no superblock")
    array(f"wipe drives {back} --yes")
    array(create)
    array.refused(f"wipe drives {back} --yes", back, "MG3")
    array("create volume name v6 size 1 GB grpname MG3")


def test_restore_waits_for_late_drives(array):
    """After a sudden stop two drives come late: they are waited for, by number, and the group then misses none."""
    array.target.sh("dd if=/dev/urandom of=/tmp/data bs=1M count=4 status=none && dd if=/tmp/data of=/dev/pav/MG3/v6 bs=1M oflag=direct status=none && "
                    "cp /tmp/data /mnt/share/late", timeout=PATIENCE)
    array.target.kill()
    array.target.boot()
    bdfs = [array.target.sh(f"basename $(readlink -f /sys/class/nvme/nvme{n}/device)") for n in (1, 2)]
    for bdf in bdfs:
        array.target.sh(f"echo {bdf} > /sys/bus/pci/drivers/nvme/unbind")
    restore = array.target.spawn(f"{PAVCFG} restore --wait {PATIENCE} 2>/tmp/progress")
    array.target.sh("until grep -q 'waiting.*drives of group MG3: 3 of 5 are here' /tmp/progress; do sleep 0.2; done", timeout=PATIENCE)
    array.target.sh(f"echo {bdfs[0]} > /sys/bus/pci/drivers/nvme/bind")
    array.target.sh("until grep -q 'drives of group MG3: 4 of 5 are here' /tmp/progress; do sleep 0.2; done", timeout=PATIENCE)
    assert restore.poll() is None
    array.target.sh(f"echo {bdfs[1]} > /sys/bus/pci/drivers/nvme/bind")
    assert "group MG3 imported from 5 drives" in restore.wait(timeout=PATIENCE).check().out
    assert {x["state"] for x in array.json("show drives")["drives"]} == {"active"}
    array.target.sh("udevadm settle -t 30; dd if=/dev/pav/MG3/v6 bs=1M count=4 iflag=direct status=none | cmp - /mnt/share/late", timeout=PATIENCE)
    array("delete volume name v6 --yes")
    array("delete group name MG3 --yes")
    assert array.json("show drives")["drives"] == []
