# SPDX-License-Identifier: GPL-2.0
"""Two hosts at the same drives, as at drives with two ports: two guests whose emulated NVMe drives are the same files.

One story, in the order of the tests: alpha has the group and beta is refused; beta takes it by force while alpha writes; beta dies and alpha waits until
it may be sure; alpha is reset and need not wait; alpha exports and beta opens at once.
"""
import errno
import re
import time

import pytest

import pavnl
from conftest import MODULE, build_module
from pavnl import Refused
from vm.guest import Spec
from vm.world import World

DRIVES = 6
MIB = 1 << 20
IDS = {"alpha": bytes([1] * 16), "beta": bytes([2] * 16)}


class Host:
    """A guest with the module, and who it says it is."""

    def __init__(self, guest):
        self.guest, self.name = guest, guest.spec.name
        self.nl = pavnl.Netlink(guest)
        self.guest.sh(f"insmod {MODULE}")

    def me(self):
        return {"host-id": IDS[self.name], "host-name": self.name}

    def drives(self):
        return [{"drive-path": f"/dev/{name}"} for _, name in sorted(self.guest.drive_names().items())]

    def open(self, **how):
        """Imports the group; returns what the kernel said meanwhile."""
        mark = self.guest.console_mark()
        self.nl.do("group-import", drives=self.drives(), **self.me(), **how)
        return self.guest.console_tail(1000, mark)

    def checksum(self, mib=8):
        return self.guest.sh(f"dd if=/dev/pav0 bs=1M count={mib} iflag=direct status=none | sha256sum", timeout=120).split()[0]


@pytest.fixture(scope="module")
def hosts(alone, say):
    build_module()
    common = dict(links=0, drives=DRIVES, drive_mib=128, mem_mib=1024, cpus=1)
    with World((Spec("alpha", addr=1, **common), Spec("beta", addr=2, drives_of="alpha", **common)), say=say) as world:
        yield {name: Host(guest) for name, guest in world.guests.items()}


@pytest.fixture
def alpha(hosts):
    return hosts["alpha"]


@pytest.fixture
def beta(hosts):
    return hosts["beta"]


def watched(said):
    """For how many ms the stamp was watched before the group was opened, as the kernel said; None: it was not."""
    times = [int(m.group(1)) for line in said if (m := re.search(r"watching whether that changes, for (\d+) ms", line))]
    return times[-1] if times else None


def drive_io(guest):
    """Reads and writes that the guest's drives have completed, and their sectors of 512 bytes: [reads, sectors read, writes, sectors written]."""
    lines = guest.sh("cat " + " ".join(f"/sys/block/{name}/stat" for name in guest.drive_names().values())).splitlines()
    return [sum(int(line.split()[i]) for line in lines) for i in (0, 2, 4, 6)]


def test_the_second_host_is_refused(alpha, beta):
    alpha.nl.do("group-create", group="g1", drives=alpha.drives(), **alpha.me())
    alpha.nl.do("volume-create", group="g1", volume="v1", size=64 * MIB)
    alpha.guest.sh("dd if=/dev/urandom of=/dev/pav0 bs=1M count=8 oflag=direct status=none")
    probe = beta.nl.do("drive-probe", **beta.drives()[0])["drive"]
    assert (probe["group"], probe["owner-name"], probe["owner-id"]) == ("g1", "alpha", IDS["alpha"])
    with pytest.raises(Refused) as e:
        beta.open()
    assert e.value.code == errno.EBUSY
    assert re.search("group g1: host alpha has it open.*takeover", e.value.text), e.value.text
    assert not beta.nl.dump("group-get")
    assert alpha.nl.dump("group-get")[0]["group-state"] == "online"


def test_what_a_beat_costs(alpha):
    """A group of 4+2 is sure of itself by three drives: a beat reads and writes 4 KiB on each of three. Nothing else touches the drives of an idle group."""
    def beats():
        return alpha.nl.dump("group-get")[0]["counters"]["owner_beats"]
    time.sleep(1)
    before, io = beats(), drive_io(alpha.guest)
    first = beats()
    time.sleep(6)
    last, io = beats(), [b - a for a, b in zip(io, drive_io(alpha.guest))]
    after = beats()
    reads, read, writes, written = io
    assert last - first >= 4, "a beat a second"
    # One beat may be half done at either end.
    assert 3 * (last - first) - 3 <= writes <= 3 * (after - before) + 3 and abs(reads - writes) <= 3, (io, before, first, last, after)
    assert read == 8 * reads and written == 8 * writes, "4 KiB each"


@pytest.mark.limit(600)
def test_takeover_stops_the_first_host(alpha, beta):
    before = alpha.checksum()
    writer = alpha.guest.spawn("while dd if=/dev/zero of=/dev/pav0 bs=4k count=64 seek=8192 oflag=direct status=none; do :; done; echo stopped")
    events = alpha.nl.listen()
    said = beta.open(takeover=True)
    assert any("taking it over from host alpha" in line for line in said), said
    heard = alpha.nl.events(events, lambda e: e["event-type"] == "group-faulted")
    assert [e["event-type"] for e in heard if e["event-type"].startswith(("owner-lost", "group-"))][:2] == ["owner-lost", "group-faulted"]
    assert any("host beta has taken the group over" in e["event-text"] for e in heard), heard
    assert "stopped" in writer.wait(timeout=60).out, "its writes end with an error"
    assert alpha.nl.dump("group-get")[0]["group-state"] == "faulted"
    assert beta.nl.dump("group-get")[0]["group-state"] == "online"
    assert beta.checksum() == before
    beta.guest.sh("dd if=/dev/urandom of=/dev/pav0 bs=1M count=8 oflag=direct status=none")
    probe = beta.nl.dump("drive-get", group="g1")
    assert all(d["drive-state"] == "active" for d in probe)


@pytest.mark.limit(600)
def test_after_a_death_the_other_waits(alpha, beta):
    before = beta.checksum()
    beta.guest.kill()
    alpha.guest.sh("udevadm settle -t 30")
    with pytest.raises(Refused):        # it is closed all the same: what could not be done is to end it in good order
        alpha.nl.do("group-export", group="g1")
    assert not alpha.nl.dump("group-get")
    began = time.monotonic()
    said = alpha.open()
    assert watched(said) == 12000 and time.monotonic() - began > 12, said
    assert alpha.checksum() == before


@pytest.mark.limit(600)
def test_after_its_own_reset_a_host_need_not_wait(alpha):
    before = alpha.checksum()
    alpha.guest.power_cycle()
    alpha.guest.sh(f"insmod {MODULE}")
    said = alpha.open()
    assert watched(said) == 2500, said
    assert alpha.checksum() == before


@pytest.mark.limit(600)
def test_after_an_export_the_other_opens_at_once(alpha, beta):
    before = alpha.checksum()
    alpha.guest.sh("udevadm settle -t 30")
    alpha.nl.do("group-export", group="g1")
    beta.guest.start()
    beta.guest.come_up()
    beta.guest.sh(f"insmod {MODULE}")
    assert "owner-name" not in beta.nl.do("drive-probe", **beta.drives()[0])["drive"]
    said = beta.open()
    assert watched(said) is None, said
    assert beta.checksum() == before
