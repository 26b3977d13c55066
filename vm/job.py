# SPDX-License-Identifier: GPL-2.0
"""One guest, one job; as a rule with instructions for a clock.

Under `-icount shift=0` an emulated instruction takes one virtual nanosecond, so what fio calls a second is 10^9
instructions, the same on any machine. The guest has one CPU and runs nothing but the script, which reads its files
in /files and prints its results on the console. A job that wants more than one CPU gets real time instead.
"""
import selectors
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from . import accel, image
from .sockets import GuestError

ICOUNT = ["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off", "-cpu", "max,-erms,-fsrm", "-smp", "1"]
END = "pav: job ended with exit code "


@dataclass(frozen=True)
class JobResult:
    code: int       # of the script
    console: str    # all that was printed, the kernel's messages included


def run(script, files=(), mem_mib=6144, timeout=900, on_line=None, say=print, processors=None):
    """Boots a guest that runs the script and powers off. on_line(text) gets every console line as it comes.

    processors: so many, in real time; left out, one under icount.
    Raises GuestError when the guest does not end within timeout seconds, or ends without the script's end.
    """
    img = image.prepare(say)
    with tempfile.TemporaryDirectory(prefix="pav-job-", dir=image.CACHE) as work:
        work = Path(work)
        (work / "root" / "files").mkdir(parents=True)
        shutil.copy2(script, work / "root" / "job")
        for f in files:
            shutil.copy2(f, work / "root" / "files" / Path(f).name)
        image.pack(work / "root", work / "extra")
        # The kernel unpacks archives that stand one after the other into one root.
        with open(work / "initrd", "wb") as out:
            for part in (img.initrd, work / "extra"):
                with open(part, "rb") as f:
                    shutil.copyfileobj(f, out, 1 << 20)
        if processors:
            kind = accel.choose(img, say)
            cpu, words = [*accel.arguments(kind, parallel=True), "-smp", str(processors)], accel.clock_words(kind)
        else:
            cpu, words = ICOUNT, ""
        argv = ["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-machine", "q35", *cpu, "-m", str(mem_mib),
                "-bios", accel.FIRMWARE, "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot",
                "-kernel", img.kernel, "-initrd", work / "initrd",
                "-append", "console=ttyS0 quiet panic=-1 oops=panic mitigations=off nokaslr pav.name=job pav.job " + words]
        qemu = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            return _follow(qemu, time.monotonic() + timeout, timeout, on_line)
        finally:
            qemu.kill()
            qemu.wait()


def _follow(qemu, deadline, timeout, on_line):

    lines, partial, code = [], b"", None
    with selectors.DefaultSelector() as sel:
        sel.register(qemu.stdout, selectors.EVENT_READ)
        while True:
            if time.monotonic() > deadline:
                raise GuestError(f"the job did not end within {timeout} s; its last lines:\n" + "\n".join(lines[-20:]))
            if not sel.select(1):
                continue
            got = qemu.stdout.read1(65536)
            if not got:
                break
            *whole, partial = (partial + got).split(b"\n")
            for raw in whole:
                line = raw.decode(errors="replace").rstrip("\r")
                lines.append(line)
                if on_line:
                    on_line(line)
                if line.startswith(END):
                    code = int(line[len(END):])
    if code is None:
        raise GuestError("the guest ended before its job did; its last lines:\n" + "\n".join(lines[-30:]))
    return JobResult(code, "\n".join(lines))
