# SPDX-License-Identifier: GPL-2.0
"""Proves the world that the other tests live in: guests, drives, links, and plain nvmet over RDMA and TCP."""
import re
import time

import nvmet
import pytest
from vm import CommandFailed, CommandTimeout, DRIVES, GuestError, SPARES
from vm.pace import patience, wait_until

pytestmark = pytest.mark.smoke


def test_commands_tell_code_and_output(target):
    r = target.exec("echo out; echo err >&2; exit 7", check=False)
    assert (r.code, r.out, r.err) == (7, "out\n", "err\n")
    assert target.exec(["printf", "%s|", "a b", "$HOME"]).out == "a b|$HOME|"
    assert target.exec("cat", stdin="given\n").out == "given\n"
    with pytest.raises(CommandFailed, match="exit 3"):
        target.exec("exit 3")
    assert target.exec("kill -9 $$", check=False).code == 128 + 9
    assert len(target.exec("head -c 3000000 /dev/zero | tr '\\0' x").out) == 3000000


def test_a_command_that_does_not_end_is_killed(target):
    with pytest.raises(CommandTimeout, match="no end within"):
        target.exec("echo before; sleep 4321 & sleep 4321", timeout=1)
    assert target.exec("pgrep -fx 'sleep 4321'", check=False).code == 1


def test_commands_run_side_by_side(world):
    began = time.monotonic()
    jobs = [g.spawn("sleep 2; hostname") for g in world.guests.values() for _ in range(2)]
    assert [j.wait().out for j in jobs] == ["target\n"] * 2 + ["initiator\n"] * 2
    assert time.monotonic() - began < patience(7)


def test_files_travel(target, tmp_path):
    source = tmp_path / "blob"
    source.write_bytes(bytes(range(256)) * 5000)
    source.chmod(0o750)
    target.put(source, "/root/blob")
    assert target.sh("stat -c %a /root/blob") == "750"
    target.get("/root/blob", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == source.read_bytes()
    assert target.sh("test -e /mnt/repo/vm/guest/init && ! touch /mnt/repo/x 2>/dev/null && echo read-only") == "read-only"


def test_drives_have_4k_sectors(target):
    names = target.drive_names()
    assert sorted(names) == list(range(DRIVES + SPARES))
    sizes = target.sh("cd /sys/block; for d in nvme*; do echo $(cat $d/size $d/queue/{logical,physical}_block_size); done")
    assert set(sizes.splitlines()) == {f"{target.spec.drive_mib << 11} 4096 4096"}
    assert names == {n: f"nvme{n}n1" for n in range(DRIVES + SPARES)}


def test_no_driver_switches_a_device_on_while_others_are_at_work(target):
    """Init has done so before the first of them came (vm/guest/init)."""
    boot = target.console().rpartition("Linux version")[2].partition("is up after")[0]
    by = re.findall(r"\] (\S+) \S+: enabling device", boot)
    assert by.count("pci") > target.spec.drives and "nvme" not in by and "virtio-pci" not in by, by


def test_both_links_carry_packets_and_rdma(world):
    for link in range(world.target.spec.links):
        world.initiator.exec(f"ping -c 3 -i 0.2 -W 2 {world.target.address(link)}")
        world.initiator.exec(f"ping -c 2 -i 0.2 -W 2 -s 8972 -M do {world.target.address(link)}")
        for g in world.guests.values():
            assert "state ACTIVE" in g.sh(f"rdma link show rxe{link}/1")


def test_link_cut_and_mended(world):
    def reaches(link):
        return world.initiator.exec(f"ping -c 1 -W 1 {world.target.address(link)}", check=False).code == 0
    assert reaches(0) and reaches(1)
    world.target.cut_link(0)
    assert not reaches(0) and reaches(1)
    assert "state DOWN" in world.target.sh("rdma link show rxe0/1")
    world.target.restore_link(0)
    wait_until(lambda: reaches(0), "a ping over link 0", 10)
    assert "state ACTIVE" in world.target.sh("rdma link show rxe0/1")


def test_blanked_drive_reads_zeroes(target):
    name = target.drive_names()[4]
    target.exec(f"yes pattern | head -c 1000000 | dd of=/dev/{name} bs=4k iflag=fullblock conv=sync,fsync 2>/dev/null")
    assert target.sh(f"head -c 7 /dev/{name}") == "pattern"
    target.blank_drive(4)
    target.exec(f"cmp -n 1000000 /dev/{name} /dev/zero")


def test_drive_torn_out_under_load(target, blank_drives):
    """I/O fails at once, the drive is gone, and it comes back with what had been written."""
    name = blank_drives[5]
    target.exec(f"printf kept | dd of=/dev/{name} bs=4k conv=sync,fsync oflag=direct 2>/dev/null")
    fio = target.spawn(f"fio --name=x --filename=/dev/{name} --direct=1 --rw=randrw --offset=1m --bs=4k --iodepth=16 "
                       "--ioengine=io_uring --runtime=30 --time_based")
    target.exec(f"for i in $(seq 200); do set -- $(cat /sys/block/{name}/stat); [ $5 -gt 50 ] && exit; sleep 0.1; done; exit 1")
    began = time.monotonic()
    target.pull_drive(5)
    r = fio.wait(20)
    assert r.code != 0 and "error" in r.out + r.err
    assert time.monotonic() - began < patience(15)
    assert 5 not in target.drive_names()
    target.insert_drive(5)
    again = target.drive_names()[5]
    assert target.sh(f"head -c 4 /dev/{again}") == "kept"
    with pytest.raises(GuestError):     # a slot holds one drive
        target.insert_drive(5)


def test_drive_ejected_and_replaced_by_a_blank_one(target, blank_drives):
    target.exec(f"printf old | dd of=/dev/{blank_drives[6]} bs=4k conv=sync,fsync oflag=direct 2>/dev/null")
    target.eject_drive(6)
    assert 6 not in target.drive_names()
    target.insert_drive(6, blank=True)
    assert target.sh(f"head -c 3 /dev/{target.drive_names()[6]} | od -An -tx1").split() == ["00"] * 3


def test_guest_killed_and_booted_keeps_its_drives(target, blank_drives):
    target.exec(f"printf before | dd of=/dev/{blank_drives[7]} bs=4k conv=sync oflag=direct 2>/dev/null; echo x > /root/x; "
                "echo y > /etc/pav/y")
    target.power_cycle()
    assert target.sh(f"head -c 6 /dev/{target.drive_names()[7]}") == "before"
    assert target.exec("cat /root/x", check=False).code != 0      # the root file system is new
    assert target.sh("cat /etc/pav/y; rm /etc/pav/y") == "y"      # its configuration is not
    assert float(target.sh("cut -d' ' -f1 /proc/uptime")) < patience(60)


@pytest.fixture(params=["rdma", "tcp"])
def served(request, world, blank_drives):
    """A drive of the target, reached by the initiator over both links: (transport, NQN, device)."""
    trtype, nqn = request.param, "nqn.2026-01.test.pav:plain"
    nvmet.serve(world.target, nqn, f"/dev/{blank_drives[0]}", trtype)
    device = nvmet.connect(world.initiator, world.target, nqn, trtype)
    yield trtype, nqn, device
    nvmet.disconnect(world.initiator, nqn)
    nvmet.stop(world.target, nqn)


def test_plain_nvmet_with_multipath(world, served):
    """Data verified over two ANA paths; I/O goes on when the preferred one is cut, and the path comes back."""
    trtype, nqn, device = served
    t, i = world.target, world.initiator
    optimized, other = t.address(0), t.address(1)
    assert nvmet.paths(i, nqn) == {optimized: ("live", "optimized"), other: ("live", "non-optimized")}
    assert i.sh(f"cat /sys/block/{device[5:]}/queue/logical_block_size") == "4096"
    i.exec(f"fio --name=v --filename={device} --direct=1 --rw=randwrite --bs=4k --size=8m --iodepth=8 --ioengine=io_uring "
           "--verify=crc32c --do_verify=1", timeout=120)

    fio = i.spawn(f"fio --name=cut --filename={device} --direct=1 --rw=randwrite --bs=4k --size=16m --iodepth=4 "
                  "--ioengine=io_uring --runtime=20 --time_based --output-format=terse")
    time.sleep(4)
    t.cut_link(0)
    try:
        r = fio.wait(120)
    finally:
        t.restore_link(0)
    assert r.code == 0, r.out + r.err
    wait_until(lambda: nvmet.paths(i, nqn).get(optimized) == ("live", "optimized"), lambda: nvmet.paths(i, nqn), 60, pause=0.5)
