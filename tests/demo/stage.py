# SPDX-License-Identifier: GPL-2.0
"""What the demo's steps are made of: saying, pavcfg on the target, and the initiator's side of a volume."""
import dataclasses
import json
import re
import sys
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO))
from vm import GuestError, INITIATOR, TARGET, World  # noqa: E402,F401

# QEMU 7.2's NVMe drives now and then miss a doorbell, and do nothing more until the guest's driver resets them, two timeouts later.
# The requests in flight are none the worse for it; so let it not take a minute.
SPECS = (dataclasses.replace(TARGET, cmdline="nvme_core.io_timeout=6"), INITIATOR)

PAVCFG = "/mnt/repo/build/cmake/userland/pavcfg"
MODULE = "/mnt/repo/build/kmod/pavraid.ko"
LEDGER = "/mnt/repo/build/cmake/tests/demo/ledger"

CONFIG = f"""zones: ( {{ id = 1; name = "zone1"; }} );
controllers: ( {{ id = 1; zone = 1; protocol = "roce"; }}, {{ id = 2; zone = 1; protocol = "roce"; }} );
ports: ( {{ name = "100g-1/1"; controller = 1; interface = "eth0"; ip = "10.70.0.1"; }},
         {{ name = "100g-1/2"; controller = 2; interface = "eth1"; ip = "10.70.1.1"; }} );
options: {{ wait = 60; module = "{MODULE}"; }};
"""


class Failed(Exception):
    """A step did not happen as it should."""


def require(condition, what):
    if not condition:
        raise Failed(what)


def wait_until(condition, what, seconds, pause=0.3):
    """Waits for condition() to be true and returns what it gave; what is in the error if it is not within seconds."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        require(time.monotonic() < deadline, f"not within {seconds} s: {what}")
        time.sleep(pause)
    return value


began = time.monotonic()


def step(title):
    print(f"\n[{time.monotonic() - began:4.0f} s] {title}", flush=True)


def say(text):
    print("\n".join(f"    {line}" for line in str(text).splitlines()), flush=True)


class Array:
    """The target, seen by its administrator."""

    def __init__(self, guest):
        self.guest = guest

    def configure(self):
        self.guest.exec("cat >/etc/pav/pavcfg.conf", stdin=CONFIG)

    def run(self, words, timeout=180, quiet=False):
        """Runs a command and shows it and its output."""
        say(f"target# pavcfg {words}")
        r = self.guest.exec(f"{PAVCFG} --yes {words}", timeout=timeout)
        if not quiet:
            say("\n".join(f"  {line}" for line in (r.out + r.err).splitlines()))
        return r.out

    def refuses(self, words, reason):
        """Runs a command that must be refused, for this reason (a regular expression)."""
        say(f"target# pavcfg {words}")
        r = self.guest.exec(f"{PAVCFG} --yes {words}", check=False, timeout=60)
        say("\n".join(f"  {line}" for line in (r.out + r.err).splitlines()))
        require(r.code == 1 and re.search(reason, r.err), f"this should have been refused because of {reason}; exit code {r.code}")

    def show(self, what, key):
        return json.loads(self.guest.sh(f"{PAVCFG} --json show {what}"))[key]

    def volume(self, name):
        return json.loads(self.guest.sh(f"{PAVCFG} --json show volume name {name}"))

    def group(self):
        return self.show("groups", "groups")[0]

    def drive_states(self):
        states = [d["state"] for d in self.show("drives", "drives")]
        return {s: states.count(s) for s in states}


class Volume:
    """A volume as the host that uses it sees it."""

    def __init__(self, initiator, nqn):
        self.guest = initiator
        self.nqn = nqn
        self.device = None          # e.g. /dev/nvme0n1

    def connect(self, addresses, transport):
        for a in addresses:
            self.guest.exec(f"nvme connect -t {transport} -a {a} -s 4420 -n {self.nqn} --nr-io-queues=1 --keep-alive-tmo=5 "
                            "--reconnect-delay=1 --ctrl-loss-tmo=900")
        name = self.guest.sh(f"""for s in /sys/class/nvme-subsystem/*; do
  [ "$(cat $s/subsysnqn)" = {self.nqn} ] || continue
  for i in $(seq 200); do for n in $s/nvme*n*; do n=${{n##*/}}; [ -b /dev/$n ] && echo $n && exit; done; sleep 0.1; done
done; echo no block device of {self.nqn} >&2; exit 1""")
        self.device = f"/dev/{name}"

    def disconnect(self):
        self.guest.exec(f"nvme disconnect -n {self.nqn}")
        self.device = None

    def paths(self):
        """{address: (controller state, ANA state, requests so far)}"""
        out = self.guest.sh(f"""for c in /sys/class/nvme/nvme*; do
  [ "$(cat $c/subsysnqn 2>/dev/null)" = {self.nqn} ] || continue
  a=$(sed 's/.*traddr=\\([^,]*\\).*/\\1/' $c/address)
  set -- $(cat $c/nvme*c*n*/stat 2>/dev/null)
  echo "$a $(cat $c/state) $(cat $c/nvme*c*n*/ana_state 2>/dev/null || echo -) $((${{1:-0}} + ${{5:-0}}))"
done""")
        return {a: (state, ana, int(n)) for a, state, ana, n in (line.split() for line in out.splitlines())}

    def wait_paths(self, wanted, seconds=60):
        """Waits until the paths are exactly these: {address: "live optimized"}."""
        def there():
            return {a: f"{p[0]} {p[1]}" for a, p in self.paths().items()} == wanted
        try:
            wait_until(there, f"paths {wanted}", seconds)
        except Failed as e:
            raise Failed(f"{e}; they are {self.paths()}") from None

    def requests(self):
        """{address: requests so far}; a path that has gone has none."""
        return {a: p[2] for a, p in self.paths().items()}


class Fio:
    """fio with verification of what it wrote. Errors are counted by fio; the demo fails on the first."""

    verified_blocks = 0

    def __init__(self, guest, name, directory, mib, blocks="4k-128k", mode="randwrite"):
        self.guest = guest
        self.mib = mib
        self.words = (f"--name={name} --directory={directory} --size={mib}m --bsrange={blocks} --blockalign=4k --rw={mode} --direct=1 "
                      "--ioengine=io_uring --iodepth=16 --verify=crc32c --verify_fatal=1 --randrepeat=1 --output-format=json")

    def spawn(self):
        return self.guest.spawn(f"fio {self.words} --do_verify=1")

    def result(self, job, timeout=400):
        """Waits for the end of a job; returns its figures."""
        r = job.wait(timeout)
        text = r.out[r.out.find("{"):]
        require(r.code == 0, f"fio failed with exit code {r.code}: {r.err[-1500:]}{r.out[-1500:]}")
        f = json.loads(text)["jobs"][0]
        require(f["error"] == 0, f"fio met error {f['error']}: {r.err[-1500:]}")
        blocks = f["read"]["io_bytes"] // 4096
        require(blocks > 0, "fio verified nothing")
        Fio.verified_blocks += blocks
        w = f["write"]
        return {"written_mib": w["io_bytes"] / 2**20, "verified_mib": f["read"]["io_bytes"] / 2**20, "iops": w["iops"],
                "max_ms": w["lat_ns"]["max"] / 1e6 if w["io_bytes"] else 0}

    def run(self, timeout=400):
        return self.result(self.spawn(), timeout)

    def verify(self, timeout=400):
        """Reads again what was written, and verifies it; no write."""
        f = self.result(self.guest.spawn(f"fio {self.words} --verify_only"), timeout)
        require(f["verified_mib"] == self.mib, f"fio verified {f['verified_mib']} MiB of {self.mib}")


class Ledger:
    """A writer of stamped blocks in the initiator; its ledger of acknowledged writes lies in a folder of the host."""

    BLOCKS, THREADS = 4096, 8

    def __init__(self, guest):
        self.guest = guest
        self.job = None
        self.file = guest.folder / "share" / "ledger"       # the guest's /mnt/share/ledger
        self.miscompares = self.lost = self.acknowledged = self.checked_blocks = 0

    def words(self, verb, device):
        return [LEDGER, verb, device, "/mnt/share/ledger", "0", str(self.BLOCKS), str(self.THREADS)]

    def count(self):
        """How many writes have been acknowledged so far, as the host's copy says."""
        try:
            return max(0, self.file.read_bytes().count(b"\n") - 1)
        except FileNotFoundError:
            return 0

    def start(self, device):
        before = self.count()
        self.job = self.guest.spawn(self.words("write", device))
        wait_until(lambda: self.alive() and self.count() > before + 100, "100 acknowledged writes", 90)

    def alive(self):
        require(self.job.poll() is None, f"the writer ended: {self.job.result}")
        return True

    def stop(self, timeout=120):
        """Tells the writer to end after its requests in flight, and waits for that."""
        self.ask_to_stop()
        self.ended(timeout)

    def ask_to_stop(self):
        self.guest.exec(f"kill -TERM {self.job.pid}")

    def ended(self, timeout=120):
        r = self.job.wait(timeout)
        require(r.code == 0, f"the writer met an error: {r.err}")
        self.job = None

    def longest_gap(self, since):
        """The longest time, in seconds, without an acknowledgement after the first `since` ones."""
        times = sorted(int(line.split()[3]) for line in self.file.read_text().splitlines()[1 + since:])
        return max(b - a for a, b in zip(times, times[1:])) / 1e9

    def check(self, device, timeout=300):
        """Reads all blocks, and judges each."""
        r = self.guest.exec(self.words("check", device), timeout=timeout, check=False)
        require(r.out.startswith("{"), f"the check did not run: exit code {r.code}, {r.err}")
        found = json.loads(r.out)
        require(found["acknowledged"] == self.count(), f"the ledger has {self.count()} lines, the checker saw {found['acknowledged']}")
        require(found["blocks"] > 0, "the ledger is empty")
        self.acknowledged = found["acknowledged"]
        self.miscompares += found["miscompares"]
        self.lost += found["lost"]
        self.checked_blocks += self.BLOCKS
        say(f"read back: {found['acknowledged']} acknowledged writes to {found['blocks']} blocks: {found['lost']} lost, "
            f"{found['miscompares']} miscompares ({found['in_flight']} blocks hold a write that was in flight)")
        require(r.code == 0 and not found["lost"] and not found["miscompares"], "acknowledged writes are not there")
