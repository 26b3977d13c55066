#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""How random reads and writes scale with 1, 2 and 4 processors: a raw drive, md RAID-6, our volume.

Real time, in a guest with four processors of which some are offline: under icount a guest has one. So the figures are as
noisy as the machine, and a guest of more processors than the machine has shows what contention costs, not what they would
gain. And an emulator takes many times as long for some instructions as a processor: the checksum of a block, which our volume
takes of all that is read and written, costs it more than the rest of a request. So targets cannot be compared here; what is
worth looking at is a target's own factor beside md's. Writes build/bench/scale.json: a list of {work, target, processors, iops}.
"""
import argparse
import json
import os
import sys
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO))
from vm import GuestError, job  # noqa: E402

HERE = Path(__file__).parent
OURS = [REPO / "build/kmod/pavraid.ko", REPO / "build/cmake/userland/pavcfg"]
OUT = REPO / "build/bench"
TARGETS = ["raw", "md", "pav"]
WORKS = ["randread-qd32", "randwrite-qd32"]
PROCESSORS = [1, 2, 4]


def entry(line):
    """{work, target, processors, iops} of a FIO line."""
    _, target, work, processors, terse = line.split(" ", 4)
    f = terse.split(";")
    if len(f) < 49 or f[4] != "0":
        raise GuestError(f"fio failed at {work} on {target} with {processors} processors: {terse[:60] or 'it printed nothing'}")
    return {"work": work, "target": target, "processors": int(processors), "iops": round(float(f[7]) + float(f[48]))}


def table(entries):
    """A line for each work and target: IOPS, and how many times those of one processor."""
    by = {(e["work"], e["target"], e["processors"]): e["iops"] for e in entries}
    lines = [f"{'IOPS, real time':<24}" + "".join(f"{f'{n} CPU' + 's' * (n > 1):>18}" for n in PROCESSORS)]
    for work in WORKS:
        for target in TARGETS:
            alone = by.get((work, target, 1))
            if alone:
                cells = [f"{by[work, target, n]:>10,} {by[work, target, n] / alone:5.2f} x" for n in PROCESSORS if (work, target, n) in by]
                lines.append(f"{work:<15} {target:<8}" + "".join(f"{c:>18}" for c in cells))
    return "\n".join(lines)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--timeout", type=float, default=3600, help="real seconds for each target (3600)")
    p.add_argument("--targets", nargs="+", choices=TARGETS, default=TARGETS)
    args = p.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    entries, errors = [], []
    began = time.monotonic()

    def progress(line):
        if line.startswith("FIO "):
            e = entry(line)
            entries.append(e)
            print(f"bench: {time.monotonic() - began:5.0f} s  {e['target']:<4} {e['work']:<15} {e['processors']} processors: {e['iops']:>9,} IOPS", flush=True)
        elif line.startswith(("STEP ", "FAILED ")):
            print(f"bench: {time.monotonic() - began:5.0f} s  {line.split(' ', 1)[1]}", flush=True)
    print(f"bench: guests of four processors on a machine of {os.cpu_count()}", flush=True)
    for target in args.targets:
        word = OUT / "target"
        word.write_text(target + "\n")
        try:
            result = job.run(HERE / "scale_guest.sh", files=[word, HERE / "targets.sh", *(OURS if target == "pav" else [])],
                             timeout=args.timeout, on_line=progress, processors=max(PROCESSORS))
            if result.code:
                errors.append(f"{target}: the guest's script failed; its last lines:\n" + "\n".join(result.console.splitlines()[-20:]))
        except (GuestError, OSError) as e:
            errors.append(f"{target}: {e}")
    (OUT / "scale.json").write_text(json.dumps(entries, indent=1) + "\n")
    print(table(entries))
    print("bench: build/bench/scale.json written")
    if errors:
        sys.exit("\n".join(f"bench: {e}" for e in errors))


if __name__ == "__main__":
    main()
