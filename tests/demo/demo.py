#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The main job from end to end, in two virtual machines: `make demo`.

Every step checks that what it tells of has happened, and the first that has not ends the demo with exit code 1. The ledger of
acknowledged writes, which says whether any was lost, lies in a folder of the host, out of reach of what is broken here.
"""
import sys
import time

import stage
from stage import Array, Failed, Fio, Ledger, Volume, require, say, step, wait_until

DRIVES, SPARES = 18, 2
PULLED = (3, 11)
LINK = {0: "10.70.0.1", 1: "10.70.1.1"}
ONE, TWO = "100g-1/1", "100g-1/2"           # the ports at the ends of link 0 and link 1
FIO_MIB = {"first": 12, "pull": 24, "tcp": 8}
GOOD, SPARE = "live optimized", "live non-optimized"


class Demo:
    def __init__(self, world):
        self.target, self.initiator = world.target, world.initiator
        self.array = Array(self.target)
        self.ledger = Ledger(self.initiator)
        self.marks = {g: g.console_mark() for g in (self.target, self.initiator)}
        self.volumes = {}           # name -> Volume
        self.sums = {}              # mount point -> sha256 of its files

    # ---- the array ----

    def create(self):
        step(f"Create a media group of {DRIVES} drives and {SPARES} spares, and three volumes")
        names = self.target.drive_names()
        paths = [f"/dev/{names[n]}" for n in range(DRIVES + SPARES)]
        self.array.configure()
        self.array.run(f"create group name MG1 zone 1 drives {' '.join(paths[:DRIVES])} spares {' '.join(paths[DRIVES:])}")
        for name in ("db1", "web1", "log1"):
            self.array.run(f"create volume name {name} size 1 GB grpname MG1", quiet=True)
        self.array.run("show groups")
        require(self.array.drive_states() == {"active": DRIVES, "spare": SPARES}, f"drives are {self.array.drive_states()}")
        require(self.array.group()["data_drives"] == DRIVES - 2, "the group is not 16+2")

    def assign(self):
        for name in ("db1", "web1", "log1"):
            self.array.run(f"assign volume name {name} port-name {ONE} preferred", quiet=True)
            self.array.run(f"assign volume name {name} port-name {TWO}", quiet=True)

    def serve(self):
        step("Serve them on two ports of two controllers, to one host")
        self.assign()
        self.array.refuses(f"assign volume name db1 port-name {ONE.replace('1/1', '9/9')}", "port")
        nqn = self.initiator.sh("cat /etc/nvme/hostnqn")
        for name in ("db1", "web1", "log1"):
            self.array.run(f"allow host {nqn} to volume {name}", quiet=True)
            self.volumes[name] = Volume(self.initiator, self.array.volume(name)["nqn"])
        self.array.run("show volumes")
        self.array.run("show volume-mapped-network name nvmeroce")

    # ---- the host ----

    def connect(self, transport):
        step(f"The host discovers and connects both paths of each volume over {transport.upper()}")
        self.initiator.exec(f"modprobe nvme-{transport}")
        for address in LINK.values():
            found = self.initiator.sh(f"nvme discover -t {transport} -a {address} -s 4420")
            missing = [v for v in self.volumes.values() if f"subnqn:  {v.nqn}\n" not in found + "\n"]
            require(not missing, f"discovery at {address} does not show {[v.nqn for v in missing]}:\n{found}")
            say(f"initiator# nvme discover -t {transport} -a {address}: {len(self.volumes)} volumes")
        for v in self.volumes.values():
            v.connect(LINK.values(), transport)
        for name, v in self.volumes.items():
            v.wait_paths({LINK[0]: GOOD, LINK[1]: SPARE})
            say(f"{name} is {v.device}: " + ", ".join(f"{a} {s} {ana}" for a, (s, ana, _) in sorted(v.paths().items())))
            require(self.initiator.sh(f"cat /sys/block/{v.device[5:]}/queue/logical_block_size") == "4096", "sectors are not 4 KiB")
        say(self.initiator.sh("nvme list"))
        transports = set(self.initiator.sh("cat /sys/class/nvme/nvme*/transport").split())
        require(transports == {transport}, f"transports are {transports}")

    def mount(self, make=False):
        for name, kind, flag in (("db1", "ext4", "-F"), ("web1", "xfs", "-f")):
            device = self.volumes[name].device
            if make:
                self.initiator.exec(f"mkfs.{kind} -q {flag} {device}", timeout=180)
            self.initiator.exec(f"mkdir -p /mnt/{kind} && mount {device} /mnt/{kind}", timeout=120)

    def unmount(self):
        self.initiator.exec("umount /mnt/ext4 /mnt/xfs", timeout=120)

    def file_systems(self):
        step("ext4 and XFS on them; files, and fio that verifies what it writes")
        self.mount(make=True)
        for kind in ("ext4", "xfs"):
            self.initiator.exec(f"mkdir /mnt/{kind}/files && cp -r /usr/lib/udev /usr/sbin /mnt/{kind}/files/ && sync", timeout=180)
            self.sums[kind] = self.file_sum(kind)
            f = self.fio(kind, "first").run()
            say(f"{kind}: fio wrote {f['written_mib']:.0f} MiB at random in {f['iops']:.0f} requests a second, and verified {f['verified_mib']:.0f} MiB")
        self.initiator.sh("df -h -t ext4 -t xfs --output=source,fstype,size,used,target | sed 1d")

    def fio(self, kind, name):
        """The job of that name; the same name verifies again what it wrote."""
        return Fio(self.initiator, name, f"/mnt/{kind}", FIO_MIB[name])

    def file_sum(self, kind):
        self.initiator.exec("echo 3 >/proc/sys/vm/drop_caches")
        return self.initiator.sh(f"cd /mnt/{kind}/files && find . -type f -print0 | sort -z | xargs -0 cat | sha256sum", timeout=180)

    def verify_everything(self):
        """All files, all that fio wrote before and while drives were pulled, and the ledger, read from the array and compared."""
        for kind in ("ext4", "xfs"):
            require(self.file_sum(kind) == self.sums[kind], f"files on {kind} are not what they were")
            for name in ("first", "pull"):
                self.fio(kind, name).verify()
        say("files on ext4 and XFS have the sums they had; all that fio wrote is right")
        self.ledger.check(self.volumes["log1"].device)

    # ---- what breaks ----

    def pull_drives(self):
        step(f"Pull two drives, {PULLED[0]} and {PULLED[1]}, out of their slots under load: spares take over")
        self.ledger.start(self.volumes["log1"].device)
        jobs = {kind: self.fio(kind, "pull").spawn() for kind in ("ext4", "xfs")}
        time.sleep(1)
        for i, n in enumerate(PULLED):
            busy = [k for k, j in jobs.items() if not j.poll()]
            require(busy, "the load ended before the drives were pulled")
            acks = self.ledger.count()
            self.target.pull_drive(n)
            wait_until(lambda i=i: self.array.drive_states().get("spare", 0) == SPARES - i - 1, f"a spare has taken the place of drive {n}", 60)
            wait_until(lambda acks=acks: self.ledger.alive() and self.ledger.count() > acks + 50, "writes go on", 60)
            say(f"drive {n} is gone while fio runs on {' and '.join(busy)}, and a spare has its slot: {self.array.drive_states()}; writes go on")
        for kind, job in jobs.items():
            f = self.fio(kind, "pull").result(job)
            say(f"{kind}: fio wrote {f['written_mib']:.0f} MiB and verified {f['verified_mib']:.0f} MiB meanwhile: no error; "
                f"the longest request took {f['max_ms']:.0f} ms")
        self.ledger.stop()
        wait_until(self.is_whole, "what the two drives held is rebuilt on the spares", 300)
        say(f"what the two drives held is rebuilt on the spares: {self.array.drive_states()}, {self.array.group()['state']}; "
            "any two drives may fail again")
        self.verify_everything()

    def is_whole(self):
        return self.array.drive_states() == {"active": DRIVES} and self.array.group()["state"] == "online"

    def cut_link(self):
        step(f"Cut the link of the preferred port, {ONE}, under load")
        v = self.volumes["log1"]
        acks = self.ledger.count()
        self.ledger.start(v.device)
        standby = v.requests()[LINK[1]]
        self.target.cut_link(0)
        cut = self.ledger.count()
        wait_until(lambda: self.ledger.alive() and v.paths().get(LINK[0], ("gone",))[0] != "live", "the host sees that the path is lost", 60)
        wait_until(lambda: self.ledger.alive() and v.requests()[LINK[1]] > standby + 200 and self.ledger.count() > cut + 200, "I/O goes on over the standby", 90)
        took = v.requests()[LINK[1]] - standby
        self.ledger.stop()
        stall = self.ledger.longest_gap(acks)
        say(f"I/O goes on over {LINK[1]} ({took} requests so far); the longest stall was {stall:.1f} s; no error")
        require(0 < stall < 60, f"a stall of {stall} s")
        self.array.run(f"failover port-name {ONE}")
        self.ledger.check(v.device)

    def fail_back(self):
        step("Mend the link, and fail back when it suits")
        v = self.volumes["log1"]
        self.target.restore_link(0)
        for each in self.volumes.values():
            each.wait_paths({LINK[0]: SPARE, LINK[1]: GOOD}, 90)
        self.flow(v, LINK[1], "the link is back; I/O stays on the standby until it is told otherwise")
        self.array.run("failback")
        for each in self.volumes.values():
            each.wait_paths({LINK[0]: GOOD, LINK[1]: SPARE}, 30)
        self.flow(v, LINK[0], f"I/O is on {ONE} again")
        self.array.run("show volumes")

    def flow(self, v, address, what):
        """Writes for a while, and requires that the requests went over this path, all of them."""
        before = v.requests()
        acks = self.ledger.count()
        self.ledger.start(v.device)
        self.ledger.stop()
        went = {a: n - before[a] for a, n in v.requests().items()}
        written = self.ledger.count() - acks
        require(went[address] >= written and all(n == 0 for a, n in went.items() if a != address), f"requests went over {went}")
        say(f"{what}: {written} writes, all over {address}")

    def kill_target(self):
        step("Kill the array in mid-write, boot it again, restore")
        v = self.volumes["log1"]
        self.ledger.start(v.device)
        self.target.kill()
        acks = self.ledger.count()
        time.sleep(1)
        require(self.ledger.count() - acks <= self.ledger.THREADS, "writes are acknowledged by an array that is dead")
        self.ledger.alive()
        self.ledger.ask_to_stop()
        say(f"killed after {acks} acknowledged writes; {self.ledger.THREADS} more were in flight, and wait in the host")
        since = time.monotonic()
        self.target.boot()
        say(f"booted in {time.monotonic() - since:.0f} s; drives {PULLED[0]} and {PULLED[1]} are still out")
        require("pavraid" not in self.target.sh("cat /proc/modules"), "the module is loaded already")
        self.array.run("restore", timeout=300)
        for each in self.volumes.values():
            each.wait_paths({LINK[0]: GOOD, LINK[1]: SPARE}, 120)
        self.ledger.ended(180)
        say(f"the host's writes that waited were answered {time.monotonic() - since:.0f} s after the kill; no error")
        self.verify_everything()
        self.array.run("show drives", quiet=True)
        require(self.is_whole(), f"drives are {self.array.drive_states()}")

    # ---- TCP ----

    def tcp(self):
        step("Once more over NVMe/TCP")
        self.array.refuses("configure controller id 1 protocol tcp", "db1|volume")
        self.unmount()
        for v in self.volumes.values():
            v.disconnect()
        for name in self.volumes:
            self.array.run(f"unassign volume name {name}", quiet=True)
        for controller in (1, 2):
            self.array.run(f"configure controller id {controller} protocol tcp")
        self.assign()
        self.connect("tcp")
        self.mount()
        self.verify_everything()
        self.fio("ext4", "tcp").run()
        self.ledger.start(self.volumes["log1"].device)
        self.ledger.stop()
        self.ledger.check(self.volumes["log1"].device)

    def end(self):
        step("Check the file systems, take all down, and look at what the kernels said")
        self.unmount()
        self.initiator.exec(f"e2fsck -fn {self.volumes['db1'].device}", timeout=180)
        self.initiator.exec(f"xfs_repair -n {self.volumes['web1'].device}", timeout=180)
        for v in self.volumes.values():
            v.disconnect()
        self.array.run("export group name MG1", quiet=True)
        self.target.exec("udevadm settle -t 60; rmmod pavraid")
        for g, mark in self.marks.items():
            found = g.trouble(mark)
            require(not found, f"the kernel of {g.spec.name} said:\n" + "\n".join(found[:20]))
        say("file systems are clean; the module is out; no warning in either kernel's log")

    def play(self):
        self.create()
        self.serve()
        self.connect("rdma")
        self.file_systems()
        self.pull_drives()
        self.cut_link()
        self.fail_back()
        self.kill_target()
        self.tcp()
        self.end()


def main():
    step("Boot the target with its drives, and the initiator")
    try:
        with stage.World(stage.SPECS, say=say) as world:
            demo = Demo(world)
            demo.play()
    except (Failed, stage.GuestError) as e:
        print(f"\nFAILED: {e}\nThe guests' logs are in build/vm/runs/current.")
        return 1
    ledger = demo.ledger
    print(f"\nThat took {(time.monotonic() - stage.began) / 60:.1f} minutes. "
          f"Blocks read back and compared: {Fio.verified_blocks + ledger.checked_blocks}, and all files.")
    print(f"miscompares: {ledger.miscompares}")
    print(f"acknowledged writes lost: {ledger.lost} of {ledger.acknowledged}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
