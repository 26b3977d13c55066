# SPDX-License-Identifier: GPL-2.0
"""The module in a guest, its groups and drives, by netlink: for tests that lose drives and cut the power."""
import pavnl
from conftest import build_module
from pavnl import REPO
from vm.guest import Spec
from vm.pace import wait_until
from vm.world import World

MIB = 1 << 20


def plain(device, size, more):
    """A line of fio on the first SIZE MiB."""
    return f"fio --name=f --filename={device} --ioengine=io_uring --direct=1 --size={size}m {more}"


def fio(device, size, more):
    """The same; every 4 KiB has a header of fio's own, so that all of it can be judged at any time, whoever wrote it last."""
    return plain(device, size, f"--verify=crc32c --verify_interval=4k --verify_fatal=1 {more}")


def fill(device, size):
    return fio(device, size, "--rw=write --bs=1m --iodepth=4 --do_verify=0")


def judge(device, size):
    return fio(device, size, "--rw=read --bs=256k --iodepth=4")


def overwrite(device, size, bs="16k", depth=16):
    return fio(device, size, f"--rw=randwrite --bs={bs} --iodepth={depth} --norandommap --randrepeat=0 --do_verify=0")


def one_guest(say, **spec):
    """A world of one target."""
    build_module()
    assert (REPO / "build/cmake/tests/demo/ledger").exists(), "build it first: make userland"
    with World((Spec("target", addr=1, links=0, mem_mib=2048, cpus=2, **spec),), say=say) as world:
        yield world.target


class Array:
    """The module in the guest, its groups and drives."""

    def __init__(self, guest):
        self.guest = guest
        self.nl = pavnl.Netlink(guest)

    def paths(self, numbers):
        """[{"drive-path": …}] of those of these drives that are in their slots."""
        names = self.guest.drive_names()
        return [{"drive-path": f"/dev/{names[n]}"} for n in numbers if n in names]

    def create(self, name, numbers, spares=()):
        """A group on these drives and a volume v of 256 MiB in it. Returns the volume's path."""
        drives = self.paths(numbers) + [{**d, "drive-spare": True} for d in self.paths(spares)]
        self.nl.do("group-create", group=name, drives=drives)
        return "/dev/" + self.nl.do("volume-create", group=name, volume="v", size=256 * MIB)["block-device"]

    def bring_in(self, name, numbers):
        """Imports the group from those of these drives that are there; returns its volume's path."""
        assert self.nl.do("group-import", group=name, drives=self.paths(numbers))["group"] == name
        return "/dev/" + self.nl.do("volume-get", group=name, volume="v")["block-device"]

    def export(self, name):
        self.guest.sh("udevadm settle -t 60")       # udev looks at each new disk, and has it open meanwhile
        self.nl.do("group-export", group=name)

    def destroy(self, name):
        self.guest.sh("udevadm settle -t 60")
        self.nl.do("volume-delete", group=name, volume="v")
        self.nl.do("group-destroy", group=name)

    def state(self, name):
        return self.nl.do("group-get", group=name)["group-state"]

    def drive_states(self, name):
        states = [d["drive-state"] for d in self.nl.dump("drive-get", group=name)]
        return {s: states.count(s) for s in states}

    def wait_failed(self, name, drives):
        wait_until(lambda: self.drive_states(name).get("failed") == drives, f"{name}: {drives} drives shown as failed", 60)

    # Ways to lose a drive: torn out of its slot, or given up by the administrator.

    def lose(self, name, how, n):
        if how == "pull":
            self.guest.pull_drive(n)
        else:
            path, = self.paths([n])
            slot, = [d["drive-slot"] for d in self.nl.dump("drive-get", group=name) if d.get("drive-path") == path["drive-path"]]
            self.nl.do("drive-fail", group=name, drive_slot=slot)

    def give_back(self, how, numbers):
        if how == "pull":
            for n in numbers:
                self.guest.insert_drive(n)
