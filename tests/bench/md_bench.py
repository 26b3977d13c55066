#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Raw drive, md RAID-6 and our volume, one after the other in one guest that counts instructions.

Under icount one instruction is one virtual nanosecond, so 10^9 / IOPS is instructions per request, fio's own included,
and the figures repeat on any machine. Prints a table and writes build/bench/md.json: a list of
{work, target, iops, insn_per_io, kib_per_s, dev_reads, dev_writes}; dev_* are 4 KiB blocks that the drives read and
wrote for each 4 KiB of the user's.
"""
import argparse
import json
import sys
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO))
from vm import GuestError, job  # noqa: E402

OURS = [REPO / "build/kmod/pavraid.ko", REPO / "build/cmake/userland/pavcfg"]
OUT = REPO / "build/bench"
WORKS = ["randread-qd32", "randwrite-qd32", "randwrite-qd1", "randread-qd1", "seqwrite-1m", "seqread-128k"]
TARGETS = ["raw", "md", "pav"]


def figures(target, work, terse, before, after):
    """One entry of md.json from fio's terse line (version 3) and the drives' sector counters."""
    f = terse.split(";")
    if f[4] != "0":
        raise GuestError(f"fio failed with error {f[4]} at {work} on {target}")
    total_kib, kib_per_s, iops = (sum(float(f[i + k]) for i in (5, 46)) for k in range(3))
    if not iops:
        raise GuestError(f"fio did no I/O at {work} on {target}")
    blocks = total_kib / 4
    reads, writes = ((a - b) / 8 / blocks for a, b in zip(after, before))
    return {"work": work, "target": target, "iops": round(iops), "insn_per_io": round(1e9 / iops),
            "kib_per_s": round(kib_per_s), "dev_reads": round(reads, 2), "dev_writes": round(writes, 2)}


def parse(console):
    """All entries of a run, from what the guest printed."""
    entries, counters = [], []
    for line in console.splitlines():
        word, _, rest = line.partition(" ")
        if word == "DRIVES":
            counters.append(tuple(int(n) for n in rest.split()))
        elif word == "FIO":
            target, work, terse = rest.split(" ", 2)
            entries.append(figures(target, work, terse, *counters[-2:]))
    return entries


def table(entries):
    by = {(e["work"], e["target"]): e for e in entries}
    lines = [f"{'work':<15} {'target':<6} {'iops':>8} {'insn/io':>9} {'KiB/s':>9} {'reads':>6} {'writes':>6}  against md"]
    for w in WORKS:
        for t in TARGETS:
            e = by.get((w, t))
            if e:
                md = by.get((w, "md"))
                ratio = f"{e['kib_per_s'] / md['kib_per_s']:.2f} x" if md and t != "md" else ""
                lines.append(f"{w:<15} {t:<6} {e['iops']:>8} {e['insn_per_io']:>9} {e['kib_per_s']:>9} "
                             f"{e['dev_reads']:>6.2f} {e['dev_writes']:>6.2f}  {ratio}")
    return "\n".join(lines)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--timeout", type=float, default=1200, help="seconds of real time (1200)")
    p.add_argument("--targets", nargs="+", choices=TARGETS, default=TARGETS, help="only these; the result is not kept then")
    p.add_argument("--verbose", action="store_true", help="print the guest's console as it comes")
    args = p.parse_args()

    def progress(line):
        if args.verbose:
            print(line, flush=True)
        elif line.startswith("FIO "):
            print(f"bench: {' '.join(line.split(' ')[1:3])} done, {time.monotonic() - began:.0f} s", flush=True)
        elif line.startswith("SKIPPED"):
            print(f"bench: {line}", flush=True)
    began = time.monotonic()
    print("bench: one guest under icount; this takes minutes", flush=True)
    OUT.mkdir(parents=True, exist_ok=True)
    targets = OUT / "targets"
    targets.write_text(" ".join(args.targets) + "\n")
    try:
        result = job.run(Path(__file__).with_name("guest.sh"), files=[targets, *(f for f in OURS if f.exists())],
                         timeout=args.timeout, on_line=progress)
        entries = parse(result.console)
    except GuestError as e:
        sys.exit(f"bench: {e}")
    (OUT / "md-console.txt").write_text(result.console + "\n")
    print(table(entries))
    if args.targets == TARGETS:
        (OUT / "md.json").write_text(json.dumps(entries, indent=1) + "\n")
        print("bench: build/bench/md.json written")
    print(f"bench: {time.monotonic() - began:.0f} s")
    if result.code:
        sys.exit("bench: the guest's script failed; its console is in build/bench/md-console.txt:\n"
                 + "\n".join(result.console.splitlines()[-25:]))


if __name__ == "__main__":
    main()
