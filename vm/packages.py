# SPDX-License-Identifier: GPL-2.0
"""Debian's packages, fetched by apt and unpacked; nothing is installed on this machine."""
import os
import re
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPO = HERE.parent
VM_DIR = REPO / "build" / "vm"
# Several work trees may share the downloads and images.
CACHE = Path(os.environ.get("PAV_VM_CACHE", VM_DIR / "cache"))


class ImageError(RuntimeError):
    pass


def run(*argv, **kw):
    """Runs a program and returns its standard output; an error names the command and shows what it said."""
    p = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kw)
    if p.returncode:
        raise ImageError(f"{' '.join(map(str, argv))}: exit {p.returncode}\n{p.stderr.strip()[-2000:]}")
    return p.stdout


def make(*argv):
    """make on its own, also when a make has started this program."""
    return run("make", *argv, env={k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")})


class Apt:
    """apt with the machine's own sources."""
    options = ()
    lists = Path("/var/lib/apt/lists")

    def update(self):
        run("apt-get", "-qq", "update", *self.options)

    def release_of(self, meta):
        """The kernel release that a package which only points to another, such as linux-headers-amd64, points to."""
        found = re.search(r"^Depends: linux-[a-z]+-(\d\S+)", run("apt-cache", *self.options, "--no-all-versions", "show", meta), re.M)
        if not found:
            raise ImageError(f"{meta} names no kernel; remedy: apt-get update")
        return found[1]

    def resolve(self, packages, with_dependencies):
        """The archives of packages: a list of [URI, file name, hash]."""
        CACHE.mkdir(parents=True, exist_ok=True)
        empty = CACHE / "no-packages"
        empty.touch()
        nothing = CACHE / "no-archives"     # apt does not print what it has downloaded already
        (nothing / "partial").mkdir(parents=True, exist_ok=True)
        argv = ["apt-get", "-qq", "-y", "--no-install-recommends", "--print-uris", *self.options, "-o", f"Dir::Cache::archives={nothing}"]
        if with_dependencies:
            argv += ["-o", f"Dir::State::status={empty}", "install"]
        else:
            argv += ["download"]
        out = run(*argv, *packages, cwd=nothing)
        found = re.findall(r"^'([^']+)' (\S+) \d+ (\S*)", out, re.M)
        if not found:
            raise ImageError(f"apt knows no archive for {' '.join(packages)}; remedy: apt-get update")
        return [list(f) for f in found]

    def download(self, archives):
        """Brings archives into the cache; apt checks their hashes. Returns their paths."""
        debs = CACHE / "debs"
        debs.mkdir(parents=True, exist_ok=True)

        def path(file_name):  # `apt-get download` and --print-uris spell an epoch alike
            return debs / file_name
        missing = [f for _, f, _ in archives if not path(f).exists()]
        if missing:
            work = debs / "partial"
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            specs = []
            for f in missing:
                name, version, _ = f.split("_", 2)
                specs.append(f"{name}={version.replace('%3a', ':')}")
            run("apt-get", "-qq", *self.options, "-o", "APT::Sandbox::User=root", "download", *specs, cwd=work)
            for f in work.iterdir():
                f.rename(debs / f.name)
        gone = [f for _, f, _ in archives if not path(f).exists()]
        if gone:
            raise ImageError(f"apt did not deliver {', '.join(gone)}; remedy: apt-get update, then again")
        return [path(f) for _, f, _ in archives]


class Backports(Apt):
    """apt that knows Debian 12's backports and nothing else. Its sources and lists are its own; the machine's stay as they are."""

    def __init__(self):
        home = CACHE / "backports"
        self.lists = home / "lists"
        for d in (self.lists / "partial", home / "cache" / "archives" / "partial"):
            d.mkdir(parents=True, exist_ok=True)
        mirror = re.search(r"^bookworm (\S+)$", run("apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)"), re.M)
        uri = mirror[1] if mirror else "http://deb.debian.org/debian/"
        (home / "sources.list").write_text(
            f"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {uri} bookworm-backports main\n")
        self.options = ("-o", f"Dir::Etc::SourceList={home}/sources.list", "-o", "Dir::Etc::SourceParts=-",
                        "-o", f"Dir::State::Lists={self.lists}", "-o", f"Dir::Cache={home}/cache", "-o", "APT::Sandbox::User=root")


def package_name(file_name):
    return file_name.split("_")[0]


def unpack(deb, where):
    """Unpacks an archive, following the links of a merged /usr instead of replacing them."""
    fsys = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE)
    tar = subprocess.run(["tar", "-x", "--keep-directory-symlink", "--no-same-owner", "-C", where],
                         stdin=fsys.stdout, stderr=subprocess.PIPE, text=True)
    fsys.stdout.close()
    if fsys.wait() or tar.returncode:
        raise ImageError(f"cannot unpack {deb}: {tar.stderr[-500:]}")
