# SPDX-License-Identifier: GPL-2.0
"""Chooses how guests run: under KVM only where a trial boot has just shown that it works, else emulated (TCG).

/dev/kvm being there proves little: on some virtual machines guests under it hang. So a kernel is booted once
for each boot of the host, with an init that prints a word; the answer is kept.
"""
import ctypes
import mmap
import os
import subprocess
import time
from pathlib import Path

from .image import CACHE, pack

WORD = "pav-kvm-works"
TRIAL_SECONDS = 20
# Boots a kernel and nothing else; the usual firmware first looks for something to boot on every drive.
FIRMWARE = "qboot.rom"


def arguments(kind, parallel=False):
    """QEMU's arguments for the accelerator ("kvm" or "tcg") and the CPU."""
    if kind == "kvm":
        return ["-accel", "kvm", "-cpu", "host"]
    # TCG copies a `rep movsb` byte by byte; without these flags the kernel copies in wider steps.
    return ["-accel", f"tcg,thread={'multi' if parallel else 'single'}", "-cpu", "max,-erms,-fsrm"]


def clock_words(kind):
    """Kernel command line words that make a guest's clock right.

    An emulated guest's time stamp counter is the host's. On a busy host the guest's own calibration of it has been
    seen to be wrong by a factor of eight, and time in it as well; so it is measured here, to about one in 10^6.
    """
    if kind == "kvm":
        return ""
    code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(bytes.fromhex("0f31 48c1e220 4809d0 c3"))        # rdtsc; shl $32, %rdx; or %rdx, %rax; ret
    counter = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(code)))

    def sample():       # the counter and the clock, from the least disturbed of some tries
        tries = ((counter(), time.monotonic_ns(), counter()) for _ in range(50))
        return min((after - before, before, now) for before, now, after in tries)[1:]
    count0, ns0 = sample()
    time.sleep(0.1)
    count1, ns1 = sample()
    return f"tsc=reliable tsc_early_khz={round((count1 - count0) * 1_000_000 / (ns1 - ns0))}"


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
                        # Timers and work on both CPUs: guests have been seen to begin well and then hang.
                        "for i in 1 2; do (for j in 1 2 3 4 5 6 7 8; do /bin/busybox sleep 0.1; done) & "
                        "/bin/busybox dd if=/dev/zero of=/dev/null bs=1M count=1000 2>/dev/null & done; wait\n"
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


def _answer():
    """The file that keeps the trial's answer until the host boots again."""
    return CACHE / f"kvm-{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}"


def give_up_kvm():
    """A guest hung under KVM although the trial went well: no more of it until the host boots again. Returns "tcg"."""
    _answer().write_text("tcg")
    return "tcg"


def choose(image, say=print):
    """"kvm" or "tcg". PAV_VM_ACCEL=kvm or tcg overrides the trial."""
    forced = os.environ.get("PAV_VM_ACCEL")
    if forced in ("kvm", "tcg"):
        return forced
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    answer = _answer()
    if not answer.exists():
        t = time.monotonic()
        kind = "kvm" if trial(image) else "tcg"
        answer.write_text(kind)
        say(f"vm: /dev/kvm {'works' if kind == 'kvm' else 'does not boot a guest; emulating'} "
            f"({time.monotonic() - t:.0f} s trial)")
    return answer.read_text()
