# SPDX-License-Identifier: GPL-2.0
"""pav-nvmet against the real nvmet: build, change, refuse and roll back, fail over, resize, clear."""
import copy
import json

import pytest
from vm.pace import wait_until

pytestmark = pytest.mark.smoke

TOOL = "/mnt/repo/build/cmake/configfs_tools/pav-nvmet"
TREE = "/sys/kernel/config/nvmet"
A, B = "GB0000000000000001", "GB0000000000000002"
HOST = "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-4333-8444-555555555555"
FOREIGN = "nqn.2024-01.org.example:foreign"


class Tool:
    def __init__(self, guest):
        self.guest = guest

    def run(self, *args, state=None, code=0):
        """Runs pav-nvmet and checks its exit code; `state` goes to its standard input."""
        r = self.guest.exec([TOOL, *args], stdin=json.dumps(state) if state is not None else "", check=False, timeout=120)
        assert r.code == code, f"exit {r.code}, not {code}: {args}\n{r.out}\n{r.err}"
        return r

    def apply(self, state, *args, code=0):
        return self.run("apply", "-", "--yes", *args, state=state, code=code)

    def snapshot(self):
        """Every directory, link and readable attribute of nvmet, byte for byte, without the library's help."""
        return self.guest.sh(f"cd {TREE} && find . -type d | sort && find . -type l | sort | xargs -r ls -l --time-style=+ "
                             "&& find . -type f ! -name revalidate_size | sort | xargs grep -H ''")

    def cat(self, path):
        return self.guest.sh(f"cat {TREE}/{path}").strip()


def desired(target):
    return {
        "subsystems": {
            A: {
                "serial": A, "model": "PVL-test", "allowed_hosts": [HOST], "cntlid_min": 1, "cntlid_max": 32767,
                "namespaces": {"1": {"device": "/dev/nullb0", "uuid": "6a1f3c2e-0001-4000-8000-000000000001",
                                     "nguid": "6a1f3c2e000140008000000000000001", "ana_group": 2}},
            },
            B: {
                "serial": B, "model": "PVL-test", "allow_any_host": True,
                "namespaces": {"1": {"device": "/dev/nullb1", "ana_group": 3},
                               "7": {"device": "/dev/loop0", "ana_group": 2}},
            },
        },
        "ports": {
            "11": {"trtype": "rdma", "traddr": target.address(0), "inline_data_size": 16384,
                   "ana_groups": {"2": "optimized", "3": "inaccessible"}, "subsystems": [A, B]},
            "12": {"trtype": "tcp", "traddr": target.address(1),
                   "ana_groups": {"2": "inaccessible", "3": "optimized"}, "subsystems": [A, B]},
        },
    }


@pytest.fixture
def tool(target):
    """The tool in a target with four memory-backed devices, and with a port and a subsystem that are somebody else's."""
    target.exec("modprobe nvmet && modprobe nvmet_tcp && modprobe null_blk nr_devices=4 gb=1 bs=4096")
    target.exec("modprobe loop max_loop=1 && truncate -s 64M /tmp/loop && losetup -b 4096 /dev/loop0 /tmp/loop")
    target.exec(f"""set -e; cd {TREE}
        mkdir hosts/foreign subsystems/{FOREIGN} subsystems/{FOREIGN}/namespaces/1 ports/99
        echo -n /dev/nullb3 > subsystems/{FOREIGN}/namespaces/1/device_path
        echo 1 > subsystems/{FOREIGN}/namespaces/1/enable
        ln -s {TREE}/hosts/foreign subsystems/{FOREIGN}/allowed_hosts/foreign
        cd ports/99; echo tcp > addr_trtype; echo ipv4 > addr_adrfam; echo {target.address(1)} > addr_traddr
        echo 4499 > addr_trsvcid; ln -s {TREE}/subsystems/{FOREIGN} subsystems/{FOREIGN}""")
    t = Tool(target)
    t.foreign = t.snapshot()
    yield t
    target.exec([TOOL, "clear", "--yes"], check=False)
    target.exec(f"""cd {TREE}; rm ports/99/subsystems/* subsystems/{FOREIGN}/allowed_hosts/*
        rmdir ports/99 subsystems/{FOREIGN}/namespaces/1 subsystems/{FOREIGN} hosts/foreign
        losetup -d /dev/loop0; rm -f /tmp/loop; modprobe -r nvmet_rdma nvmet_tcp nvmet null_blk loop""")


def test_build_change_and_clear(tool, target):
    want = desired(target)
    dry = tool.apply(want, "--dry-run").out
    assert f"+ ports/11/subsystems/{A}" in dry
    assert tool.snapshot() == tool.foreign

    tool.apply(want)
    assert tool.cat(f"subsystems/{A}/attr_serial") == A
    assert tool.cat(f"subsystems/{A}/attr_cntlid_max") == "32767"
    assert tool.cat(f"subsystems/{A}/namespaces/1/device_uuid") == "6a1f3c2e-0001-4000-8000-000000000001"
    assert tool.cat(f"subsystems/{B}/namespaces/7/enable") == "1"
    assert tool.cat("ports/11/ana_groups/3/ana_state") == "inaccessible"
    assert tool.cat("ports/12/ana_groups/3/ana_state") == "optimized"
    built = tool.snapshot()

    # Again: nothing. And what `show` prints of it is a desired state like any other.
    assert tool.apply(want).out == "Nothing to do.\n"
    shown = json.loads(tool.run("show", "--json").out)
    ours = {"subsystems": {n: shown["subsystems"][n] for n in (A, B)}, "ports": {p: shown["ports"][p] for p in ("11", "12")}}
    assert tool.apply(ours).out == "Nothing to do.\n"
    assert tool.snapshot() == built

    # A change of everything that can change in place, and of what must be taken down for it.
    other = copy.deepcopy(want)
    other["subsystems"][A]["cntlid_min"], other["subsystems"][A]["cntlid_max"] = 32768, 65519
    other["subsystems"][A]["allowed_hosts"] = []
    other["subsystems"][A]["allow_any_host"] = True
    other["subsystems"][A]["namespaces"]["1"]["device"] = "/dev/nullb2"      # identity of a live namespace
    other["subsystems"][A]["namespaces"]["2"] = {"device": "/dev/nullb0", "ana_group": 3}
    other["ports"]["12"]["trsvcid"] = "4421"                                 # a linked port's attribute
    other["ports"]["12"]["ana_groups"] = {"2": "optimized", "4": "non-optimized"}
    other["subsystems"][B]["namespaces"]["1"]["ana_group"] = 4
    tool.apply(other)
    assert tool.cat(f"subsystems/{A}/attr_cntlid_min") == "32768"
    assert tool.cat(f"subsystems/{A}/namespaces/1/device_path") == "/dev/nullb2"
    assert tool.cat(f"subsystems/{A}/namespaces/2/device_path") == "/dev/nullb0"
    assert tool.cat("ports/12/addr_trsvcid") == "4421"
    assert tool.apply(other).out.startswith("Nothing to do.\n")      # and advice: groups that a port lacks
    tool.apply(want)
    back = tool.snapshot()
    assert back == built

    tool.run("clear", "--yes")
    assert tool.snapshot() == tool.foreign
    assert tool.run("clear", "--yes").out == "Nothing to do.\n"


def test_refusals_leave_everything_as_it_was(tool, target):
    want = desired(target)
    # From nothing: the last step is refused, all others are undone.
    lost = copy.deepcopy(want)
    lost["ports"]["12"]["traddr"] = "10.99.99.99"
    r = tool.apply(lost, code=4)
    assert "IP 10.99.99.99 is not on this machine" in r.err and "everything is as it was" in r.err
    assert tool.snapshot() == tool.foreign

    tool.apply(want)
    built = tool.snapshot()

    def refused(state, code, words):
        out = json.loads(tool.apply(state, "--json", code=code).out)
        assert words in json.dumps(out), out
        assert tool.snapshot() == built

    # In the middle of a change that also takes a live port and a namespace apart.
    bad = copy.deepcopy(want)
    bad["ports"]["11"]["traddr"] = "10.99.99.99"
    bad["subsystems"][A]["namespaces"]["1"]["device"] = "/dev/nullb2"
    bad["subsystems"][A]["allow_any_host"], bad["subsystems"][A]["allowed_hosts"] = True, []
    bad["subsystems"][B]["namespaces"]["1"]["ana_group"] = 5
    refused(bad, 4, "is not on this machine")

    bad = copy.deepcopy(want)
    bad["ports"]["13"] = {"trtype": "rdma", "traddr": "127.0.0.1", "subsystems": [A]}
    refused(bad, 4, "rdma")
    bad = copy.deepcopy(want)
    bad["subsystems"][A]["namespaces"]["9"] = {"device": "/dev/not-there"}
    refused(bad, 4, "does not exist")
    bad = copy.deepcopy(want)
    bad["subsystems"][A]["attributes"] = {"attr_of_the_future": "1"}
    refused(bad, 4, "no such attribute")

    # The plan itself refuses: foreign objects, foreign devices (by device number, whatever the path), foreign addresses.
    target.exec("rm -f /tmp/alias; mknod /tmp/alias b $(tr : ' ' </sys/block/nullb3/dev)")
    bad = copy.deepcopy(want)
    bad["subsystems"][A]["namespaces"]["2"] = {"device": "/tmp/alias"}
    refused(bad, 2, "already in subsystems/" + FOREIGN)
    bad = copy.deepcopy(want)
    bad["subsystems"][A]["namespaces"]["2"] = {"device": "/dev/block/" + target.sh("cat /sys/block/nullb1/dev").strip()}
    refused(bad, 2, "two namespaces on one device")
    bad = copy.deepcopy(want)
    bad["ports"]["99"] = {"trtype": "tcp", "traddr": "10.70.1.1", "trsvcid": "4498"}
    refused(bad, 2, "was not made by us")
    bad = copy.deepcopy(want)
    bad["ports"]["14"] = {"trtype": "tcp", "traddr": target.address(1), "trsvcid": "4499", "subsystems": [A]}
    refused(bad, 2, "already listens")
    bad = copy.deepcopy(want)
    bad["subsystems"][A]["serial"] = "x" * 21
    refused(bad, 2, f"/subsystems/{A}/serial")
    bad = copy.deepcopy(want)
    bad["ports"]["11"]["trybe"] = "rdma"
    refused(bad, 2, "/ports/11/trybe")


def test_a_connected_host(tool, world):
    target, initiator = world.target, world.initiator
    want = desired(target)
    tool.apply(want)
    initiator.exec("modprobe -a nvme_tcp nvme_rdma")
    initiator.exec(f"nvme connect -t tcp -a {target.address(1)} -s 4420 -n {B} -q {HOST}", timeout=60)
    initiator.exec(f"nvme connect -t rdma -a {target.address(0)} -s 4420 -n {B} -q {HOST}", timeout=60)
    paths = "for n in /sys/class/nvme/nvme*/nvme*c*n*; do echo $(cat $n/../transport) $(cat $n/nsid) $(cat $n/ana_state); done"

    def until(command, expected, seconds=30):
        def got():
            return sorted(initiator.sh(command).splitlines())
        wait_until(lambda: got() == sorted(expected), lambda: f"{got()}, not {expected}", seconds, pause=0.2)

    try:
        until(paths, ["rdma 1 inaccessible", "tcp 1 optimized", "rdma 7 optimized", "tcp 7 inaccessible"])

        # Failover and back: only ANA states, and the host follows.
        r = tool.run("ana", "11:3=optimized", "12:3=inaccessible")
        assert [line.split(":")[0] for line in r.out.splitlines()[:2]] == ["~ ports/11/ana_groups/3/ana_state",
                                                                           "~ ports/12/ana_groups/3/ana_state"]
        until(paths, ["rdma 1 optimized", "tcp 1 inaccessible", "rdma 7 optimized", "tcp 7 inaccessible"])
        tool.apply(want)      # the desired state still says otherwise
        until(paths, ["rdma 1 inaccessible", "tcp 1 optimized", "rdma 7 optimized", "tcp 7 inaccessible"])
        assert "no ANA group 9" in tool.run("ana", "11:9=optimized", code=2).err

        # The device grows; so does the host's disk.
        sizes = "for d in /sys/block/nvme*n*; do case ${d##*/} in *c*n*) ;; *) cat $d/size;; esac; done"
        until(sizes, [str(1 << 21), str(64 << 11)])
        target.exec("truncate -s 96M /tmp/loop && losetup -c /dev/loop0")
        tool.run("resize", B, "7")
        until(sizes, [str(1 << 21), str(96 << 11)])

        # A connected host fixes the serial: refused, undone, said why.
        built = tool.snapshot()
        bad = copy.deepcopy(want)
        bad["subsystems"][B]["serial"] = "OTHER"
        bad["subsystems"][A]["namespaces"]["1"]["ana_group"] = 3
        assert "a host has connected" in tool.apply(bad, code=4).err
        assert tool.snapshot() == built

        # A namespace leaves: the host's disk goes, its neighbour and both paths stay.
        less = copy.deepcopy(want)
        del less["subsystems"][B]["namespaces"]["7"]
        tool.apply(less)
        until(paths, ["rdma 1 inaccessible", "tcp 1 optimized"])
        tool.run("clear", "--yes")
        assert tool.snapshot() == tool.foreign
    finally:
        initiator.exec(f"nvme disconnect -n {B}", check=False)
