#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The module on other kernels than the one `make test` uses; vm/kernels.py tells of them. Closes with a table and a line.

    kernels.py matrix   each kernel it is written for: a build from nothing, and the tests marked `smoke` of tests/vm/test_module.py
    kernels.py debug    the kernel with every checker: all of tests/vm/test_module.py, and tests/vm/test_faults.py

A build that says a warning has failed. Logs are in build/test/.
"""
import re
import shutil
import sys
import time

from run import LOGS, REPO, Count, begin, close, execute, guests, tail

PLANS = {
    "matrix": (["6.1", "6.12"], dict(tests=["tests/vm/test_module.py"], marker="smoke", timeout=1800,
                                     env={"PAV_CYCLES": "10", "PAV_USE_CYCLES": "5"})),
    "debug": (["debug"], dict(tests=["tests/vm/test_module.py", "tests/vm/test_faults.py"], marker="not long", timeout=3 * 3600,
                              env={"PAV_CYCLES": "10", "PAV_USE_CYCLES": "5", "PAV_FUZZ": "1000"})),
}
# What a build may say: headers come without the kernel's own type information.
HARMLESS = "Skipping BTF generation"


def build(kernel):
    """Builds the module from nothing. Returns the kernel's release and the number of warnings, or None and why it did not build."""
    part = f"module-{kernel}"
    shutil.rmtree(REPO / f"build/kmod-{kernel}-src", ignore_errors=True)
    # The debug kernel is built first, if it is not there.
    if execute(part, ["make", "--no-print-directory", "module", f"KERNEL={kernel}"], 3 * 3600, show=False) != 0:
        return None, f"the module does not build\n{tail(part)}"
    said = [line for line in (LOGS / f"{part}.log").read_text().splitlines() if re.search("warning", line, re.I) and HARMLESS not in line]
    for line in said:
        print(f"  {line}")
    magic = re.search(rb"vermagic=(\S+)", (REPO / f"build/kmod-{kernel}/pavraid.ko").read_bytes())
    return magic[1].decode(), len(said)


def main():
    kernels, options = begin(PLANS)
    total, rows, why = Count(), [], []
    for kernel in kernels:
        began = time.monotonic()
        print(f"[{kernel}] build, then tests in a guest …", flush=True)
        release, warnings = build(kernel)
        if release:
            count = guests(part=f"guests-{kernel}", **{**options, "env": {**options["env"], "PAV_VM_KERNEL": kernel}})
            if warnings:
                count.failed += 1
                count.why += f"\n    {warnings} warnings: build/test/module-{kernel}.log"
        else:
            count, warnings = Count(failed=1, why=warnings), "failed"
        if not count.passed and not count.failed:
            count = Count(failed=1, why="no test ran")
        rows.append((release or kernel, warnings, count, f"{time.monotonic() - began:.0f}"))
        why += [f"{kernel}: {line.strip()[:400]}" for line in count.why.splitlines() if line.strip()]
        total.add(count)
    print(f"\n{'kernel':<24}{'warnings':<10}{'tests in a guest':<24}seconds")
    for release, warnings, count, seconds in rows:
        print(f"{release:<24}{warnings!s:<10}{count!s:<24}{seconds}")
    return close(total, why)


if __name__ == "__main__":
    sys.exit(main())
