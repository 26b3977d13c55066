#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""tidy.py CMAKE_BUILD STAMPS JOBS FILE…: clang-tidy on each file, with the flags the build has for it; ends with 1 if there was any finding.

A file found clean leaves STAMPS/FILE.clean, which holds the hash of everything the verdict depends on: the file as the preprocessor sees it (all
headers included, comments kept, since NOLINT is one), the flags, .clang-tidy and clang-tidy's version. While that is the same, it is not looked
at again. A file the build does not compile is a finding: nobody would look at it.
"""
import hashlib
import json
import os
import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TIDY = "clang-tidy-14"


def flags_of(commands, source):
    """The compiler and its flags without what is written, read, or made of it."""
    words = iter(commands[source])
    return [w for w in words if w not in ("-c", source) and not (w == "-o" and next(words))]


def check(build, stamps, source, flags, common):
    """Returns the verdict, and what clang-tidy printed."""
    text = subprocess.run([*flags, "-E", "-C", source], cwd=build, check=True, capture_output=True).stdout
    state = hashlib.sha256(b"\0".join([text, shlex.join(flags).encode(), common])).hexdigest()
    stamp = (stamps / os.path.relpath(source)).with_suffix(Path(source).suffix + ".clean")
    if stamp.exists() and stamp.read_text() == state:
        return "clean before", ""
    tidy = subprocess.run([TIDY, "--quiet", "--extra-arg=-Wno-unknown-warning-option", "-p", build, source], capture_output=True, text=True)
    if tidy.returncode:
        return "FINDINGS", tidy.stdout or tidy.stderr
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(state)
    return "clean", ""


def main():
    build, stamps, jobs, *sources = sys.argv[1:]
    with open(f"{build}/compile_commands.json") as f:
        commands = {c["file"]: shlex.split(c["command"]) for c in json.load(f)}
    common = Path(".clang-tidy").read_bytes() + subprocess.run([TIDY, "--version"], check=True, capture_output=True).stdout
    failed, began = 0, time.monotonic()

    def one(source):
        source = os.path.abspath(source)
        if source not in commands:
            return "FINDINGS", f"{source}: the build does not compile it\n"
        return check(build, Path(stamps), source, flags_of(commands, source), common)
    with ThreadPoolExecutor(int(jobs)) as pool:
        for n, (source, (verdict, output)) in enumerate(zip(sources, pool.map(one, sources)), 1):
            print(f"  [{n}/{len(sources)}] {time.monotonic() - began:4.0f} s  {source}: {verdict}\n{output}", end="", flush=True)
            failed += verdict == "FINDINGS"
    print(f"  clang-tidy: {failed} of {len(sources)} files have findings")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
