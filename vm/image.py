# SPDX-License-Identifier: GPL-2.0
"""Prepares what a guest boots: a kernel (kernels.py) and an initramfs that is the guest's whole root file system.

The root holds every file of the packages in PACKAGES (documentation left out) and, of the packages those
depend on, only the shared libraries that some program in the root really asks for. apt resolves the packages
against an empty system, so the result does not depend on what the host has installed.

Nothing is compressed: unpacking costs an emulated CPU far more than reading does.
Results are cached under a hash of the package list and of the files in this folder.
"""
import fcntl
import hashlib
import json
import lzma
import os
import re
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from . import kernels
from .packages import CACHE, HERE, REPO, VM_DIR, Apt, ImageError, make, package_name, run, unpack  # noqa: F401

PACKAGES = """
base-files base-passwd bash btrfs-progs coreutils dash diffutils e2fsprogs findutils fio grep hostname iproute2
iputils-ping kmod libc-bin libc6 libconfig++9v5 libfmt9 libgcc-s1 libkmod2 libmnl0 libstdc++6 mawk mdadm mount
nvme-cli pciutils procps qemu-guest-agent sed strace tar udev util-linux xfsprogs
""".split()

# Libraries that programs load by name at run time.
DLOPENED = ["libgcc_s.so.1", "libnss_files.so.2"]

MODULES = """
virtio_pci virtio_net virtio_console virtio_blk virtio_rng 9p 9pnet_virtio
nvme nvme_fabrics nvme_tcp nvme_rdma nvmet nvmet_rdma nvmet_tcp
rdma_rxe rdma_cm ib_uverbs rdma_ucm crc32_generic crc32c_generic crc32c_intel crc32_pclmul crct10dif_generic
crct10dif_pclmul libcrc32c raid6_pq xor raid456 raid1 md_mod dm_mod dm_multipath dm_round_robin dm_queue_length
dm_service_time dm_flakey dm_delay null_blk brd loop ext4 xfs btrfs configfs sch_netem
""".split()

# Left out of the root: nobody reads a manual in a test guest, and md must not grab drives by itself.
DROPPED = ["usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/lintian",
           "usr/share/bash-completion", "usr/share/bug", "usr/share/initramfs-tools", "usr/share/zsh",
           "usr/share/glusterfs", "usr/share/mime", "usr/share/X11", "usr/lib/x86_64-linux-gnu/tc", "etc/cron.d", "etc/cron.daily", "etc/init.d",
           "usr/lib/systemd/system", "usr/lib/udev/hwdb.d", "usr/share/misc/pci.ids", "usr/lib/locale",
           "usr/lib/udev/rules.d/64-md-raid-assembly.rules", "usr/lib/udev/rules.d/69-md-clustered-confirm-device.rules",
           "usr/lib/x86_64-linux-gnu/gconv", "usr/share/i18n"]


@dataclass(frozen=True)
class Image:
    """What QEMU needs to boot a guest."""
    release: str        # of the kernel, e.g. 6.1.0-56-amd64
    kernel: Path
    initrd: Path
    key: str            # hash of everything that went in
    heavy: bool         # it is several times slower than Debian's, and wants more memory


def resolve_all(kernel):
    """The archives of the root and of the kernel; refreshes apt's lists once when they are missing.

    The answer is kept until apt's lists change: asking takes seconds.
    """
    lists = sorted((p.name, p.stat().st_mtime_ns) for d in {Apt.lists, kernel.apt.lists} for p in d.glob("*Packages*"))
    question = hashlib.sha256(repr((lists, PACKAGES, kernel.key)).encode()).hexdigest()
    kept = CACHE / f"resolved-{kernel.release}.json"
    if kept.exists():
        answer = json.loads(kept.read_text())
        if answer["question"] == question:
            return answer["root"], answer["kernel"]

    def ask():
        return Apt().resolve(PACKAGES, True), kernel.archives()
    try:
        root, archives = ask()
    except ImageError:
        Apt().update()
        kernel.apt.update()
        root, archives = ask()
    kept.write_text(json.dumps({"question": question, "root": root, "kernel": archives}))
    return root, archives


def merged_usr(root):
    root.mkdir(parents=True)
    for d in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / d).mkdir(parents=True)
        (root / d).symlink_to(f"usr/{d}")


def elf_files(root):
    for top, _, names in os.walk(root):
        for n in names:
            p = Path(top, n)
            if p.is_symlink() or not p.is_file():
                continue
            with open(p, "rb") as f:
                if f.read(4) == b"\x7fELF":
                    yield p


def needed_libraries(files):
    """The sonames that ELF files ask for."""
    files = [str(f) for f in files]
    if not files:
        return set()
    out = run("readelf", "-d", *files)
    return set(re.findall(r"\(NEEDED\)\s+Shared library: \[(.+?)\]", out))


def add_libraries(root, pool):
    """Copies from pool, where all packages are unpacked, the libraries that root lacks, until none is missing."""
    have = {p.name for p in root.rglob("*.so*")}
    offered = {}
    for p in pool.rglob("*.so*"):
        offered.setdefault(p.name, p)
    wanted = needed_libraries(elf_files(root)) | set(DLOPENED)
    while True:
        missing = sorted(wanted - have)
        if not missing:
            return
        new = []
        for name in missing:
            if name not in offered:
                raise ImageError(f"no package offers the library {name}")
            link = offered[name]
            real = link.resolve()
            to = root / real.relative_to(pool.resolve())
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(real, to)
            if link.name != real.name:
                (to.parent / link.name).symlink_to(real.name)
            have.add(name)
            new.append(to)
        wanted = needed_libraries(new)


def add_modules(root, tree, kernel):
    """Copies MODULES and what they need from the unpacked kernel package, and makes modules.dep."""
    release = kernel.release
    run("depmod", "-b", tree, release)
    src = tree / "lib" / "modules" / release
    dst = root / "usr" / "lib" / "modules" / release
    dst.mkdir(parents=True)
    dep = {}
    for line in (src / "modules.dep").read_text().splitlines():
        path, needs = line.split(":")
        dep[path] = needs.split()
    by_name = {Path(p).name.split(".")[0].replace("-", "_"): p for p in dep}
    built_in = {Path(p).name.split(".")[0].replace("-", "_") for p in (src / "modules.builtin").read_text().split()}
    for m in MODULES:
        if m in built_in:
            continue
        if m not in by_name:
            if isinstance(kernel, kernels.Debug):
                continue
            raise ImageError(f"kernel {release} has no module {m}")
        for path in [by_name[m], *dep[by_name[m]]]:
            to = dst / path.removesuffix(".xz")
            if not to.exists():
                to.parent.mkdir(parents=True, exist_ok=True)
                data = (src / path).read_bytes()
                to.write_bytes(lzma.decompress(data) if path.endswith(".xz") else data)
    for f in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        shutil.copy2(src / f, dst / f)
    strip_signatures(dst)
    build_own_module(dst, kernel)
    run("depmod", "-b", root / "usr", release)


def build_own_module(modules, kernel):
    """Builds vm/guest/nvme_mmio_doorbells.c into the tree of modules; its head says what it is for."""
    work = modules / "build-own"
    work.mkdir()
    name = "nvme_mmio_doorbells"
    shutil.copy2(HERE / "guest" / f"{name}.c", work)
    (work / "Kbuild").write_text(f"obj-m := {name}.o\n")
    make("-s", "-C", kernel.headers, f"M={work}", "modules")
    (modules / "extra").mkdir()
    run("strip", "--strip-debug", "-o", modules / "extra" / f"{name}.ko", work / f"{name}.ko")
    shutil.rmtree(work)


def strip_signatures(modules):
    """Takes the signatures off the modules: checking them is a third of what loading costs an emulated CPU."""
    mark = b"~Module signature appended~\n"
    for ko in modules.rglob("*.ko"):
        data = ko.read_bytes()
        if data.endswith(mark):
            end = len(data) - len(mark)
            size = int.from_bytes(data[end - 4:end], "big")      # the last field of the descriptor, 12 bytes
            ko.write_bytes(data[:end - 12 - size])


def uncompressed(vmlinuz, out):
    """Writes the kernel proper, which QEMU starts directly; unpacking it costs an emulated CPU seconds."""
    data = vmlinuz.read_bytes()
    elf = b""
    for magic, tool in (b"\xfd7zXZ\0", "xz"), (b"\x28\xb5\x2f\xfd", "zstd"):
        at = data.find(magic)
        if at > 0 and not data.startswith(b"\x7fELF") and not elf.startswith(b"\x7fELF"):
            # What follows the kernel in the file is not for the tool, which says so; the kernel is whole all the same.
            elf = subprocess.run([tool, "-dc"], input=data[at:], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout
    out.write_bytes(elf if elf.startswith(b"\x7fELF") else data)


def prune(root):
    for d in DROPPED:
        p = root / d
        if p.is_dir() and not p.is_symlink():
            shutil.rmtree(p)
        elif p.exists():
            p.unlink()


def pack(root, out):
    """Writes root as an initramfs that belongs to user 0, the same bytes for the same files."""
    tmp = out.with_suffix(".tmp")
    with open(tmp, "wb") as f:
        find = subprocess.Popen(["find", ".", "-print0"], cwd=root, stdout=subprocess.PIPE)
        names = b"\0".join(sorted(find.communicate()[0].split(b"\0")[:-1])) + b"\0"
        subprocess.run(["cpio", "--quiet", "-0", "-o", "-H", "newc", "-R", "0:0", "--reproducible"],
                       cwd=root, input=names, stdout=f, check=True)
    tmp.rename(out)


def build_root(out, archives, kernel, kernel_archives):
    work = out / "work"
    shutil.rmtree(work, ignore_errors=True)
    root, pool, tree = work / "root", work / "pool", work / "kernel"
    for d in (root, pool):
        merged_usr(d)
    tree.mkdir(parents=True)
    with ThreadPoolExecutor(1) as beside:
        unpacked = beside.submit(kernel.unpack, kernel_archives, tree)
        for deb in archives:
            unpack(deb, pool)
            if package_name(deb.name) in PACKAGES:
                unpack(deb, root)
        prune(root)
        add_libraries(root, pool)
        unpacked.result()
    add_modules(root, tree, kernel)
    for name in ("passwd", "group"):
        shutil.copy(pool / "usr/share/base-passwd" / f"{name}.master", root / "etc" / name)
    for d in ("proc", "sys", "dev", "run", "tmp", "mnt", "root", "etc/pav", "etc/nvme"):
        (root / d).mkdir(parents=True, exist_ok=True)
    for name in ("sh", "awk"):      # made by maintainer scripts, which nobody runs here
        link = root / "usr" / "bin" / name
        if not link.is_symlink() and not link.exists():
            link.symlink_to({"sh": "dash", "awk": "mawk"}[name])
    mtab = root / "etc" / "mtab"
    if not mtab.is_symlink():
        mtab.symlink_to("/proc/self/mounts")
    shutil.copy2(HERE / "guest" / "init", root / "init")
    shutil.copy2(HERE / "guest" / "profile", root / "etc" / "profile")
    uncompressed(tree / "boot" / f"vmlinuz-{kernel.release}", out / "kernel")
    pack(root, out / "initrd")
    shutil.rmtree(work)


def prepare(say=print):
    """Returns the Image to boot, building it first when anything it is made of has changed."""
    CACHE.mkdir(parents=True, exist_ok=True)
    kernel = kernels.choose()
    with open(CACHE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        archives, kernel_archives = resolve_all(kernel)
        h = hashlib.sha256(repr((archives, kernel_archives)).encode())
        for f in [Path(__file__), Path(kernels.__file__), *sorted((HERE / "guest").iterdir())]:
            h.update(f.read_bytes())
        key = h.hexdigest()[:16]
        out = CACHE / f"image-{key}"
        if not (out / "initrd").exists():
            t = time.monotonic()
            say(f"vm: preparing guests: kernel {kernel.release}, {len(archives)} packages")
            files = Apt().download(archives)
            for old in CACHE.glob("image-*"):
                if time.time() - old.stat().st_mtime > 86400:
                    shutil.rmtree(old, ignore_errors=True)
            out.mkdir(exist_ok=True)
            build_root(out, files, kernel, kernel_archives)
            size = (out / "initrd").stat().st_size >> 20
            say(f"vm: guest image ready, {size} MiB, {time.monotonic() - t:.0f} s")
        return Image(kernel.release, out / "kernel", out / "initrd", key, kernel.heavy)
