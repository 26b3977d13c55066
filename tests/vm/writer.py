# SPDX-License-Identifier: GPL-2.0
"""A writer of stamped blocks in a guest, and the judge of what is on the volume; tests/demo/ledger.cpp says what may be there."""
import json
from pathlib import Path

from vm.pace import wait_until

LEDGER = "/mnt/repo/build/cmake/tests/demo/ledger"


class Writer:
    """Writes 4 KiB to 256 KiB at random places of a volume; every acknowledgement is in the ledger before that thread's next write.

    The ledger is a file of the host, in the guest's shared folder: a line has left the guest when the append returns.
    """
    MOST = 64       # blocks of a write

    def __init__(self, guest, name, blocks=4096, threads=8):
        self.guest, self.blocks, self.threads = guest, blocks, threads
        self.file = Path(guest.folder) / "share" / name
        self.ledger = f"/mnt/share/{name}"
        self.device = None
        self.job = None

    def _words(self, verb):
        return [LEDGER, verb, self.device, self.ledger, "0", str(self.blocks), str(self.threads)]

    def count(self):
        """Acknowledged writes so far, as the host sees them."""
        try:
            return max(0, self.file.read_bytes().count(b"\n") - 1)
        except FileNotFoundError:
            return 0

    def start(self, device):
        self.device = device
        self.job = self.guest.spawn(self._words("write") + [str(self.MOST)])
        self.go_on(20)

    def go_on(self, writes, seconds=90):
        """Waits for so many more acknowledged writes."""
        before = self.count()

        def there():
            assert self.job.poll() is None, f"{self.ledger}: the writer ended: {self.job.result}"
            return self.count() >= before + writes
        wait_until(there, f"{self.ledger}: {writes} more writes", seconds)

    def stop(self):
        """Ends the writer, which must have met no error."""
        self.guest.exec(f"kill -TERM {self.job.pid}")
        self.job.wait(120).check()
        self.job = None

    def judge(self, device, settle=False):
        """Reads everything and compares. Returns what the ledger's checker counted; anything lost or wrong is an error."""
        self.device = device
        lines = self.file.read_text().splitlines()[1:]
        r = self.guest.exec(self._words("settle" if settle else "check"), timeout=300, check=False)
        assert r.out.startswith("{"), f"{self.ledger}: the check did not run: {r}"
        found = json.loads(r.out)
        assert found["acknowledged"] == sum(line.split()[3] != "0" for line in lines) > 0, f"the checker saw another ledger: {found}"
        assert r.code == 0 and (found["lost"], found["miscompares"]) == (0, 0), f"{self.ledger}: {found}"
        assert settle or not found["in_flight"], f"{self.ledger}: {found}"
        return found
