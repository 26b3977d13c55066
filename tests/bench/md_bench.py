#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Raw drive, md RAID-6 and our volume, one after the other, each in a guest of the same kind that counts instructions.

Under icount one instruction is one virtual nanosecond, so 10^9 / IOPS is instructions per request, fio's own included,
and the figures repeat on any machine, busy or not. Prints one table with the goals, and writes build/bench/md.json: a list
of {work, target, iops, insn_per_io, kib_per_s, dev_reads, dev_writes}; dev_* are 4 KiB blocks that the drives read and wrote
for each 4 KiB of the user's.

What was measured is kept. If a run ends early, the next one measures only the targets that are missing, unless
something that they are made of has changed. A goal that fails does not fail the run: it is a figure like the others.
"""
import argparse
import hashlib
import json
import sys
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO))
from vm import GuestError, image, job  # noqa: E402

GUEST, TARGET_SETUP = (Path(__file__).with_name(n) for n in ("guest.sh", "targets.sh"))
OURS = [REPO / "build/kmod/pavraid.ko", REPO / "build/cmake/userland/pavcfg"]
OUT = REPO / "build/bench"
PARTS = OUT / "md-parts.json"       # what an unfinished run has measured: {target: {"key": …, "entries": […]}}
TARGETS = ["raw", "md", "pav"]
# Real seconds for one target. An idle machine needs a tenth of it.
TIMEOUT = 5400

# The table's rows; each with its goals: (what, limit). insn and per_kib are instructions a request and a KiB, at most;
# against_md is throughput, at least; reads and writes are the drives', for each of the user's blocks, at most.
ROWS = {
    "randread-qd32": [("insn", 13000), ("against_md", 0.85)],
    "randwrite-qd32": [("insn", 20000), ("against_md", 3), ("reads", 0), ("writes", 1.4)],
    "randread-qd1": [],
    "randwrite-qd1": [("insn", 40000)],
    "seqread-128k": [("per_kib", 650)],
    "seqwrite-1m": [("per_kib", 1500), ("against_md", 1.5), ("writes", 1.15)],
    "randread-qd32-lost1": [("insn", 22000)],
    "randread-qd32-lost2": [("insn", 30000)],
    "randwrite-qd32-lost1": [("as_healthy", 1.1)],
    "randwrite-qd32-lost2": [("as_healthy", 1.1)],
    "seqread-128k-lost2": [],
    "seqwrite-1m-lost2": [],
}


def figures(target, work, terse, before, after):
    """One entry of md.json from fio's terse line (version 3) and the drives' sector counters."""
    f = terse.split(";")
    if len(f) < 49 or f[4] != "0":
        raise GuestError(f"fio failed at {work} on {target}: {terse[:60] or 'it printed nothing'}")
    total_kib, kib_per_s, iops = (sum(float(f[i + k]) for i in (5, 46)) for k in range(3))
    if not iops:
        raise GuestError(f"fio did no I/O at {work} on {target}")
    blocks = total_kib / 4
    reads, writes = ((a - b) / 8 / blocks for a, b in zip(after, before))
    return {"work": work, "target": target, "iops": round(iops), "insn_per_io": round(1e9 / iops),
            "kib_per_s": round(kib_per_s), "dev_reads": round(reads, 2), "dev_writes": round(writes, 2)}


class Listener:
    """Makes entries of what a guest prints, as it comes, and tells how far it is."""

    def __init__(self, verbose):
        self.verbose = verbose
        self.began = time.monotonic()
        self.lines, self.entries, self.counters = [], [], []

    def say(self, text):
        print(f"bench: {time.monotonic() - self.began:5.0f} s  {text}", flush=True)

    def line(self, text):
        """One line of a guest's console."""
        self.lines.append(text)
        word, _, rest = text.partition(" ")
        if self.verbose:
            print(text, flush=True)
        if word == "DRIVES":
            self.counters.append(tuple(int(n) for n in rest.split()))
        elif word == "FIO":
            target, work, terse = rest.split(" ", 2)
            e = figures(target, work, terse, *self.counters[-2:])
            self.entries.append(e)
            self.say(f"{target:<4} {work:<21} {e['insn_per_io']:>9,} instructions a request")
        elif word in ("STEP", "FAILED"):
            self.say(rest)


def key_of(target, img):
    """Changes with whatever the figures of a target depend on."""
    h = hashlib.sha256(img.key.encode())
    for f in [GUEST, TARGET_SETUP, Path(job.__file__), *(OURS if target == "pav" else [])]:
        h.update(f.read_bytes())
    return h.hexdigest()[:16]


def measure(target, args):
    """The entries of one target; GuestError says why there are fewer than there should be."""
    listen = Listener(args.verbose)
    word = OUT / "target"
    word.write_text(target + "\n")
    error = None
    try:
        result = job.run(GUEST, files=[word, TARGET_SETUP, *(OURS if target == "pav" else [])], timeout=args.timeout, on_line=listen.line)
        if result.code:
            error = f"{target}: the guest's script failed; its last lines:\n" + "\n".join(listen.lines[-25:])
    except GuestError as e:
        error = f"{target}: {e}"
    (OUT / f"console-{target}.txt").write_text("\n".join(listen.lines) + "\n")
    return listen.entries, error


def judge(goal, limit, entry, md, healthy):
    """A goal in words: what it is, and whether it holds or by how much it fails."""
    at_most, text = True, f"{goal} ≤ {limit:g}"
    if goal == "insn":
        value, text = entry["insn_per_io"], f"≤ {limit:,}"
    elif goal == "per_kib":
        value, text = 1e9 / entry["kib_per_s"], f"≤ {limit:,}"
    elif goal == "against_md":
        value, at_most, text = md and entry["kib_per_s"] / md["kib_per_s"], False, f"≥ {limit:g} x md"
    elif goal == "as_healthy":
        value, text = healthy and entry["insn_per_io"] / healthy["insn_per_io"], f"≤ {limit:g} x healthy"
    else:
        value = entry["dev_" + goal]
    if value is None:
        return f"{text}: not measured"
    if value <= limit if at_most else value >= limit:
        return f"{text}: holds"
    return f"{text}: fails by " + (f"{abs(value - limit) / limit:.0%}" if limit else f"{value:g}")


def table(entries):
    """One line for each work: the three targets, how we compare with md, and the goals."""
    by = {(e["work"], e["target"]): e for e in entries}

    def cost(work, target):
        e = by.get((work, target))
        if not e:
            return "-"
        return f"{1e9 / e['kib_per_s']:,.0f}" if work.startswith("seq") else f"{e['insn_per_io']:,}"

    def blocks(work, target):
        e = by.get((work, target))
        return f"{e['dev_reads']:.2f}+{e['dev_writes']:.2f}" if e else "-"
    lines = ["instructions a request (seq…: a KiB), fio's included; drive reads+writes for each block of the user's",
             f"{'work':<21} {'raw':>7} {'md':>8} {'reads+wr.':>10} {'pav':>8} {'reads+wr.':>10} {'pav/md':>7}  goals"]
    for work, goals in ROWS.items():
        md, pav = by.get((work, "md")), by.get((work, "pav"))
        healthy = by.get((work.rsplit("-lost", 1)[0], "pav"))
        ratio = f"{pav['kib_per_s'] / md['kib_per_s']:.2f} x" if md and pav else "-"
        said = "; ".join(judge(g, limit, pav, md, healthy) for g, limit in goals) if pav else ""
        lines.append(f"{work:<21} {cost(work, 'raw'):>7} {cost(work, 'md'):>8} {blocks(work, 'md'):>10} "
                     f"{cost(work, 'pav'):>8} {blocks(work, 'pav'):>10} {ratio:>7}  {said}".rstrip())
    return "\n".join(lines)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--timeout", type=float, default=TIMEOUT, help=f"real seconds for each target ({TIMEOUT})")
    p.add_argument("--targets", nargs="+", choices=TARGETS, default=TARGETS, help="only these; the result is printed, not kept")
    p.add_argument("--verbose", action="store_true", help="print the guests' consoles as they come")
    args = p.parse_args()
    missing = [str(f) for f in OURS if not f.exists()]
    if missing and "pav" in args.targets:
        sys.exit(f"bench: {', '.join(missing)}: not built; remedy: make")
    OUT.mkdir(parents=True, exist_ok=True)
    whole = args.targets == TARGETS
    parts = json.loads(PARTS.read_text()) if whole and PARTS.exists() else {}
    try:
        img = image.prepare()
    except (image.ImageError, OSError) as e:
        sys.exit(f"bench: no guest image: {e}")
    entries, errors = [], []
    began = time.monotonic()
    for target in args.targets:
        key = key_of(target, img)
        if parts.get(target, {}).get("key") == key:
            print(f"bench: {target}: measured already, by a run that did not finish", flush=True)
            entries += parts[target]["entries"]
            continue
        print(f"bench: {target}: a guest under icount; this takes minutes", flush=True)
        got, error = measure(target, args)
        entries += got
        if error:
            errors.append(error)
            print(f"bench: {error}", flush=True)
        elif whole:
            parts[target] = {"key": key, "entries": got}
            PARTS.write_text(json.dumps(parts) + "\n")
        if whole:
            (OUT / "md.json").write_text(json.dumps(entries, indent=1) + "\n")
    print(table(entries))
    print(f"bench: {time.monotonic() - began:.0f} s" + ("; build/bench/md.json written" if whole else ""))
    if errors:
        sys.exit("bench: not all was measured; make bench-vm goes on from here")
    if whole:
        PARTS.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
