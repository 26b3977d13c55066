# SPDX-License-Identifier: GPL-2.0
"""The kernels that guests can run, by name, and what modules for them are built against.

    (none)  the newest whose headers are installed
    6.1     Debian 12's; its headers are installed
    6.12    from Debian 12's backports; its headers are unpacked in the cache, and nothing is installed
    debug   Debian 12's source, built here with vm/debug.config: every checker the kernel has for what a module may do wrong

PAV_VM_KERNEL chooses. The last two are made when they are first asked for and kept in the cache: 6.12 takes seconds, debug 10 to 20
minutes of a processor. A build that was interrupted goes on where it was. `vm/pavvm headers NAME` prints the folder to build modules against.
"""
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .packages import CACHE, HERE, Apt, Backports, ImageError, make, run, unpack

CONFIG = HERE / "debug.config"
# What 6.1 lacks for this, and later versions have.
CHANGES = [
    # It keeps fault injection by call chain from x86-64 for want of a reliable unwinder; with frame pointers it is there.
    ["sed", "-i", "/^config FAULT_INJECTION_STACKTRACE_FILTER/,/help/{/depends on !X86_64/d}", "lib/Kconfig.debug"],
    # As an uncompressed image it is entered in C, and compares strings, before KASAN has its memory.
    ["sed", "-i", "1a KASAN_SANITIZE := n", "arch/x86/platform/pvh/Makefile"],
    ["sed", "-i", "s/^ifdef CONFIG_AMD_MEM_ENCRYPT/ifdef CONFIG_PVH/", "lib/Makefile"],
]


def tell(text):
    print(text, file=sys.stderr, flush=True)


@contextmanager
def locked(folder):
    """The folder, made if need be, for this process alone."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(f"{folder}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


@dataclass(frozen=True)
class Debian:
    """A kernel that Debian builds."""
    release: str        # as uname -r says it
    headers: Path       # what modules are built against
    apt: Apt
    heavy = False

    @property
    def key(self):
        return self.release

    def archives(self):
        return self.apt.resolve([f"linux-image-{self.release}"], False)

    def unpack(self, archives, tree):
        """Makes tree/boot/vmlinuz-RELEASE and tree/lib/modules/RELEASE."""
        run("dpkg-deb", "-x", *self.apt.download(archives), tree)


@dataclass(frozen=True)
class Debug:
    """A kernel built here. It has drivers for what tests/vm/test_module.py needs, and no others."""
    release: str
    headers: Path       # its source, built
    key: str
    apt = Apt()
    heavy = True        # several times slower, and wants more memory

    def archives(self):
        return [["", self.key, ""]]

    def unpack(self, _, tree):
        make("-s", "-C", self.headers, f"INSTALL_MOD_PATH={tree}", "INSTALL_MOD_STRIP=1", "modules_install")
        (tree / "boot").mkdir()
        shutil.copy(self.headers / "vmlinux", tree / "boot" / f"vmlinuz-{self.release}")


def installed(version=""):
    """Debian's kernel, the newest of a version or of all, whose headers are installed."""
    found = sorted((p.parent.parent.name for p in Path("/lib/modules").glob(f"{version}*-amd64/build/Makefile")),
                   key=lambda r: [int(n) for n in re.findall(r"\d+", r)])
    if not found:
        raise ImageError(f"no headers of a kernel {version} in /lib/modules/*/build; remedy: scripts/install-deps.sh")
    return Debian(found[-1], Path("/lib/modules") / found[-1] / "build", Apt())


def backported():
    """The kernel of Debian 12's backports, with its headers unpacked."""
    apt = Backports()

    def found():
        release = apt.release_of("linux-headers-amd64")
        return release, CACHE / f"headers-{release}"
    release, home = found() if any(apt.lists.glob("*Packages*")) else (None, None)
    if not release or not (home / "done").exists():
        apt.update()
        release, home = found()
    headers = home / "usr/src" / f"linux-headers-{release}"
    with locked(home):
        if not (home / "done").exists():
            version = release.removesuffix("-amd64")
            names = [f"linux-headers-{release}", f"linux-headers-{version}-common", f"linux-kbuild-{version}"]
            for deb in apt.download(apt.resolve(names, False)):
                unpack(deb, home)
            makefile = headers / "Makefile"     # it includes the common one by its path
            makefile.write_text(makefile.read_text().replace(" /usr/src/", f" {headers.parent}/"))
            (headers / "vmlinux").unlink(missing_ok=True)       # type information, for which pahole would be wanted
            (home / "done").touch()
    return Debian(release, headers, apt)


def debug():
    """The debug kernel; built first if there is none of this source and this configuration."""
    apt = Apt()
    archives = apt.resolve(["linux-source-6.1"], False)
    key = hashlib.sha256(repr((archives, CONFIG.read_text(), CHANGES)).encode()).hexdigest()[:16]
    with locked(CACHE / f"debug-{key}") as source:
        if not (source / "unpacked").exists():
            tell(f"vm: unpacking {archives[0][1]}")
            deb, = apt.download(archives)
            run("bash", "-c", 'set -o pipefail; dpkg-deb --fsys-tarfile "$0" | tar -xO --wildcards "./usr/src/linux-source-*.tar.xz" | '
                              'tar -xJ -C "$1" --strip-components=1', deb, source)
            for change in CHANGES:
                run(*change, cwd=source)
            configure(source)
            (source / "unpacked").touch()
        if not (source / "done").exists():
            jobs = len(os.sched_getaffinity(0))
            tell(f"vm: building the debug kernel in {source}, -j{jobs}")
            make("-s", "-C", source, f"-j{jobs}", "vmlinux", "modules")
            (source / "done").touch()
        return Debug(make("-s", "-C", source, "kernelrelease").strip(), source, key)


def configure(source):
    """Takes vm/debug.config for all that is not off; every line of it must have come to be."""
    make("-s", "-C", source, f"KCONFIG_ALLCONFIG={CONFIG}", "allnoconfig")
    have = set((source / ".config").read_text().splitlines())
    lost = [line for line in CONFIG.read_text().splitlines() if line.startswith("CONFIG_") and line not in have]
    if lost:
        raise ImageError(f"{CONFIG.name}: this kernel does not take {', '.join(lost)}; remedy: what these depend on, in the same file")


KERNELS = {"": installed, "6.1": lambda: installed("6.1."), "6.12": backported, "debug": debug}


def choose(name=None):
    """The kernel of this name, or the one that PAV_VM_KERNEL names."""
    name = os.environ.get("PAV_VM_KERNEL", "") if name is None else name
    if name not in KERNELS:
        raise ImageError(f"no kernel is called {name}; there are {', '.join(filter(None, KERNELS))}")
    return KERNELS[name]()

