# SPDX-License-Identifier: GPL-2.0
"""What a person uses: vm/pavvm, jobs that count instructions, and that nothing is left behind."""
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from vm import job
from vm.image import REPO

PAVVM = str(REPO / "vm" / "pavvm")


def pavvm(*words, timeout=120):
    return subprocess.run([PAVVM, *words], capture_output=True, text=True, timeout=timeout, check=False)


@pytest.mark.smoke
def test_another_process_can_use_the_guests(world):
    r = pavvm("exec", "target", "--", "echo out; echo err >&2; exit 5")
    assert (r.returncode, r.stdout, r.stderr) == (5, "out\n", "err\n")
    assert pavvm("exec", "initiator", "--", "hostname").stdout == "initiator\n"
    assert pavvm("pull", "target", "19").returncode == 0
    r = pavvm("pull", "target", "19")
    assert r.returncode == 1 and "drive 19" in r.stderr
    assert 19 not in world.target.drive_names()
    assert pavvm("insert", "target", "19").returncode == 0
    assert 19 in world.target.drive_names()
    assert pavvm("pull", "elsewhere", "1").returncode == 2


@pytest.mark.smoke
def test_nothing_survives_a_killed_run(tmp_path):
    """A run that dies by SIGKILL takes its QEMU along."""
    script = f"""
import sys, time
sys.path.insert(0, {str(REPO)!r})
from vm import accel, image
from vm.guest import Guest, Spec
img = image.prepare()
g = Guest.create({str(tmp_path)!r} + "/alone", Spec("alone", addr=9, links=0, mem_mib=512), img, accel.choose(img))
g.start()
print(g.process.pid, flush=True)
time.sleep(600)
"""
    run = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        qemu = int(run.stdout.readline())
        time.sleep(1)
        assert b"pav-alone" in Path(f"/proc/{qemu}/cmdline").read_bytes()
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    deadline = time.monotonic() + 10
    while os.path.exists(f"/proc/{qemu}/cmdline") and b"pav-alone" in Path(f"/proc/{qemu}/cmdline").read_bytes():
        assert time.monotonic() < deadline, f"QEMU {qemu} outlived the process that started it"
        time.sleep(0.1)


@pytest.mark.long
def test_a_job_counts_instructions(tmp_path):
    """The same loop takes the same virtual time, whatever the host is doing."""
    given = tmp_path / "given.txt"
    given.write_text("for the job\n")
    script = tmp_path / "job.sh"
    script.write_text("cat /files/given.txt\n"
                      "a=$(date +%s%N); for ((i = 0; i < 200000; i++)); do :; done; b=$(date +%s%N)\n"
                      "echo took $((b - a))\nexit 3\n")
    took = []
    for _ in range(2):
        r = job.run(script, files=[given], mem_mib=1024, timeout=300)
        assert r.code == 3
        lines = r.console.splitlines()
        assert "for the job" in lines
        took += [int(line.split()[1]) for line in lines if line.startswith("took ")]
    assert len(took) == 2 and abs(took[0] - took[1]) < 0.01 * took[0]
