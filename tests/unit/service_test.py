# SPDX-License-Identifier: GPL-2.0
"""systemd has nothing to say against the service that brings volumes back after a boot."""
import shutil
import subprocess
from pathlib import Path

import pytest

SERVICE = Path(__file__).resolve().parents[2] / "userland" / "systemd" / "pav-restore.service"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_service(tmp_path):
    """The program need not be installed here: another one stands in for it. Findings are printed; the exit code tells only of some."""
    copy = tmp_path / SERVICE.name
    text = SERVICE.read_text()
    assert "ExecStart=/usr/sbin/pavcfg restore\n" in text     # what scripts/install.sh puts the prefix into
    copy.write_text(text.replace("/usr/sbin/pavcfg", "/bin/true"))
    r = subprocess.run(["systemd-analyze", "verify", "--man=no", copy], capture_output=True, text=True, timeout=60, check=False)
    assert (r.returncode, r.stdout, r.stderr) == (0, "", "")
