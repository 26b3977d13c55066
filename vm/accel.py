# SPDX-License-Identifier: GPL-2.0
"""Chooses how guests run: under KVM only where a trial boot has just shown that it works, else emulated (TCG).

/dev/kvm being there proves little: on some virtual machines guests under it hang. So a kernel is booted once
for each boot of the host, with an init that prints a word; the answer is kept.
"""
import os
import subprocess
import time
from pathlib import Path

from .image import CACHE, pack

WORD = "pav-kvm-works"
TRIAL_SECONDS = 20


def arguments(kind, parallel=False):
    """QEMU's arguments for the accelerator ("kvm" or "tcg") and the CPU."""
    if kind == "kvm":
        return ["-accel", "kvm", "-cpu", "host"]
    # TCG copies a `rep movsb` byte by byte; without these flags the kernel copies in wider steps.
    return ["-accel", f"tcg,thread={'multi' if parallel else 'single'}", "-cpu", "max,-erms,-fsrm"]


def trial(image):
    """Boots a kernel under KVM; True when its init printed WORD in time."""
    work = CACHE / f"kvm-trial-{os.getpid()}"
    root = work / "root"
    (root / "bin").mkdir(parents=True)
    (root / "dev").mkdir()
    try:
        (root / "bin/busybox").write_bytes(Path("/bin/busybox").read_bytes())
        (root / "bin/busybox").chmod(0o755)
        init = root / "init"
        init.write_text("#!/bin/busybox sh\n/bin/busybox mount -t devtmpfs dev /dev\n"
                        f"echo {WORD} >/dev/ttyS0\n/bin/busybox poweroff -f\n")
        init.chmod(0o755)
        pack(root, work / "initrd")
        argv = ["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-machine", "q35", *arguments("kvm"), "-smp", "2",
                "-m", "256", "-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot",
                "-kernel", image.kernel, "-initrd", work / "initrd", "-append", "console=ttyS0 quiet panic=-1"]
        with open(work / "log", "wb") as log:
            qemu = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.DEVNULL)
            try:
                qemu.wait(TRIAL_SECONDS)
            except subprocess.TimeoutExpired:
                pass
            finally:
                qemu.kill()
                qemu.wait()
        return WORD in (work / "log").read_text(errors="replace")
    finally:
        subprocess.run(["rm", "-rf", work], check=False)


def choose(image, say=print):
    """"kvm" or "tcg". PAV_VM_ACCEL=kvm or tcg overrides the trial."""
    forced = os.environ.get("PAV_VM_ACCEL")
    if forced in ("kvm", "tcg"):
        return forced
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    answer = CACHE / f"kvm-{boot}"
    if not answer.exists():
        t = time.monotonic()
        kind = "kvm" if trial(image) else "tcg"
        answer.write_text(kind)
        say(f"vm: /dev/kvm {'works' if kind == 'kvm' else 'does not boot a guest; emulating'} "
            f"({time.monotonic() - t:.0f} s trial)")
    return answer.read_text()
