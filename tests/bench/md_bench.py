#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Raw drive, md RAID-6 and our volume, one after the other, each in a guest of the same kind that counts instructions.

Under icount one instruction is one virtual nanosecond, so 10^9 / IOPS is instructions per request, fio's own included,
and the figures repeat on any machine, busy or not. Prints one table with the goals, and writes build/bench/md.json: a list
of {work, target, iops, insn_per_io, kib_per_s, dev_reads, dev_writes}; dev_* are 4 KiB blocks that the drives read and wrote
for each 4 KiB of the user's. Works in a full group have moved, cells that the garbage collector moved for each 4 KiB, and
alive_percent and reserve_percent of the group too; rebuilds have seconds in place of the first three, and of dev_* as much as is for
each 4 KiB alive.

There are parts, a guest each. What was measured is kept: if a run ends early, the next one measures only the parts that are missing,
unless something that they are made of has changed. A goal that fails does not fail the run: it is a figure like the others.
"""
import argparse
import hashlib
import json
import sys
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPO), str(REPO / "tests/vm")]
from pavnl import message  # noqa: E402
from vm import GuestError, image, job  # noqa: E402

TARGET_SETUP = Path(__file__).with_name("targets.sh")
OURS = [REPO / "build/kmod/pavraid.ko", REPO / "build/cmake/userland/pavcfg"]
NLPIPE = REPO / "build/cmake/tests/vm/nlpipe"
OUT = REPO / "build/bench"
KEPT = OUT / "md-parts.json"        # what an unfinished run has measured: {part: {"key": …, "entries": […]}}
# Part → target and script of its guest.
PARTS = {
    "raw": ("raw", "guest.sh"),
    "md": ("md", "guest.sh"),
    "pav": ("pav", "guest.sh"),
    "pav-full": ("pav", "full_guest.sh"),
    "md-rebuild": ("md", "rebuild_guest.sh"),
    "pav-rebuild": ("pav", "rebuild_guest.sh"),
}
# Real seconds for one part. An idle machine needs a tenth of it.
TIMEOUT = 5400
# The full group: 1,023 segments on a drive of 256 MiB. With segments as large as they are by default there would be 63, which is so few that what
# has to stay free, for checkpoints and streams, is twice the reserve.
DRIVES, DRIVE_MIB, SMALL_SEGMENT = 18, 256, 256 << 10

# The table's rows; each with its goals: (what, limit). insn and per_kib are instructions a request and a KiB, at most;
# against_md is throughput, at least; reads and writes are the drives', for each of the user's blocks, at most. of_full is the time of the
# same in a full group. md's figures are those of the plain work: it is as full as ever, and knows no garbage.
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
    "randwrite-qd32-full": [("insn", 20000), ("against_md", 3)],
    "randwrite-qd1-full": [("insn", 40000)],
    "seqwrite-1m-full": [("per_kib", 1500), ("against_md", 1.5)],
    "rebuild-full": [],
    "rebuild-tenth": [("of_full", 0.15)],
}


def plain(work):
    """The work of the same kind that md does."""
    return work.removesuffix("-full").removesuffix("-tenth")


def figures(target, work, terse, before, after):
    """One entry of md.json from fio's terse line (version 3) and the sector counters: the drives', and the user's if they are there.

    They are if fio has counted less than it wrote."""
    f = terse.split(";")
    if len(f) < 49 or f[4] != "0":
        raise GuestError(f"fio failed at {work} on {target}: {terse[:60] or 'it printed nothing'}")
    total_kib, kib_per_s, iops = (sum(float(f[i + k]) for i in (5, 46)) for k in range(3))
    if not iops:
        raise GuestError(f"fio did no I/O at {work} on {target}")
    reads, writes, *user = ((a - b) / 8 for a, b in zip(after, before))
    blocks = user[0] if user else total_kib / 4
    reads, writes = reads / blocks, writes / blocks
    return {"work": work, "target": target, "iops": round(iops), "insn_per_io": round(1e9 / iops),
            "kib_per_s": round(kib_per_s), "dev_reads": round(reads, 2), "dev_writes": round(writes, 2)}


def rebuilt(target, work, seconds, alive_mib, before, after):
    """One entry of md.json of a rebuild."""
    e = {"work": work, "target": target, "seconds": round(float(seconds), 4)}
    if int(alive_mib):
        e["dev_reads"], e["dev_writes"] = (round((a - b) / 8 / (int(alive_mib) * 256), 2) for a, b in zip(after, before))
    return e


def of_full_group(engine, counters):
    """What an entry of a full group has more than others: from the engine's numbers and the sector counters, before and after."""
    (was, now), blocks = engine, (counters[1][2] - counters[0][2]) / 8
    return {"moved": round((now["moved_cells"] - was["moved_cells"]) / blocks, 2), "reserve_percent": now["reserve_percent"],
            "alive_percent": round(100 * now["used_bytes"] / ((DRIVES - 2) * DRIVE_MIB << 20), 1)}


class Listener:
    """Makes entries of what a guest prints, as it comes, and tells how far it is."""

    def __init__(self, verbose):
        self.verbose = verbose
        self.began = time.monotonic()
        self.lines, self.entries, self.counters, self.engine = [], [], [], []

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
            if self.engine:
                e.update(of_full_group(self.engine[-2:], self.counters[-2:]))
            self.entries.append(e)
            self.say(f"{target:<4} {work:<21} {e['insn_per_io']:>9,} instructions a request")
        elif word == "ENGINE":
            words = rest.split()
            self.engine.append(dict(zip(words[::2], map(int, words[1::2]))))
        elif word == "REBUILD":
            e = rebuilt(*rest.split(), *self.counters[-2:])
            self.entries.append(e)
            self.say(f"{e['target']:<4} {e['work']:<21} {e['seconds']:>9.3f} s virtual")
        elif word in ("STEP", "FAILED"):
            self.say(rest)


def files_of(part):
    """What the guest of a part is given, but for its target's name."""
    files = [TARGET_SETUP]
    if PARTS[part][0] == "pav":
        files += OURS
    if part == "pav-full":
        request = OUT / "group-create"
        request.write_text(message("group-create", group="bench", drives=[{"drive-path": f"/dev/n{n:02d}"} for n in range(DRIVES)],
                                   segment_bytes=SMALL_SEGMENT).hex() + "\n")
        files += [request, NLPIPE]
    return files


def script_of(part):
    return Path(__file__).with_name(PARTS[part][1])


def key_of(part, img):
    """Changes with whatever the figures of a part depend on."""
    h = hashlib.sha256(img.key.encode())
    for f in [script_of(part), Path(job.__file__), *files_of(part)]:
        h.update(f.read_bytes())
    return h.hexdigest()[:16]


def measure(part, args):
    """The entries of one part; GuestError says why there are fewer than there should be."""
    listen = Listener(args.verbose)
    word = OUT / "target"
    word.write_text(PARTS[part][0] + "\n")
    error = None
    try:
        result = job.run(script_of(part), files=[word, *files_of(part)], timeout=args.timeout, on_line=listen.line)
        if result.code:
            error = f"{part}: the guest's script failed; its last lines:\n" + "\n".join(listen.lines[-25:])
    except GuestError as e:
        error = f"{part}: {e}"
    (OUT / f"console-{part}.txt").write_text("\n".join(listen.lines) + "\n")
    return listen.entries, error


def judge(goal, limit, entry, md, healthy, full):
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
    elif goal == "of_full":
        value = full and entry["seconds"] / full["seconds"]
        text = f"≤ {limit:g} x full" + (f" ({value:.3f})" if value else "")
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

    def cost(e):
        if not e:
            return "-"
        if "seconds" in e:
            return f"{e['seconds']:.2f} s"
        return f"{1e9 / e['kib_per_s']:,.0f}" if e["work"].startswith("seq") else f"{e['insn_per_io']:,}"

    def blocks(e):
        return f"{e['dev_reads']:.2f}+{e['dev_writes']:.2f}" if e and "dev_reads" in e else "-"

    def speed(e):
        return 1 / e["seconds"] if "seconds" in e else e["kib_per_s"]
    lines = ["instructions a request (seq…: a KiB), fio's included; drive reads+writes for each block of the user's",
             "rebuild…: virtual seconds from the loss to the end; drive reads+writes for each block alive",
             f"{'work':<21} {'raw':>7} {'md':>8} {'reads+wr.':>10} {'pav':>8} {'reads+wr.':>10} {'pav/md':>7}  goals"]
    for work, goals in ROWS.items():
        raw, md, pav = by.get((work, "raw")), by.get((plain(work), "md")), by.get((work, "pav"))
        healthy, full = by.get((work.rsplit("-lost", 1)[0], "pav")), by.get((f"{plain(work)}-full", "pav"))
        ratio = f"{speed(pav) / speed(md):.2f} x" if md and pav else "-"
        said = "; ".join(judge(g, limit, pav, md, healthy, full) for g, limit in goals) if pav else ""
        lines.append(f"{work:<21} {cost(raw):>7} {cost(md):>8} {blocks(md):>10} "
                     f"{cost(pav):>8} {blocks(pav):>10} {ratio:>7}  {said}".rstrip())
    collected = [e for e in entries if "moved" in e]
    if collected:
        e = collected[0]
        lines += [f"…-full: {e['alive_percent']} % of the space for data (16 of 18 drives) is alive, {e['alive_percent'] * 16 / 18:.1f} % of raw; "
                  f"reserve {e['reserve_percent']} %; the collector moved, for each block of the user's: " +
                  ", ".join(f"{e['moved']:.2f} ({plain(e['work'])})" for e in collected)]
        lines += [f"{e['work']}: the collector moved nothing: this is no figure of a full group" for e in collected if not e["moved"]]
    return "\n".join(lines)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--timeout", type=float, default=TIMEOUT, help=f"real seconds for each part ({TIMEOUT})")
    p.add_argument("--targets", nargs="+", choices=PARTS, default=list(PARTS), help="only these parts; the result is printed, not kept")
    p.add_argument("--verbose", action="store_true", help="print the guests' consoles as they come")
    args = p.parse_args()
    missing = [str(f) for f in [*OURS, NLPIPE] if not f.exists()]
    if missing and any(PARTS[t][0] == "pav" for t in args.targets):
        sys.exit(f"bench: {', '.join(missing)}: not built; remedy: make")
    OUT.mkdir(parents=True, exist_ok=True)
    whole = args.targets == list(PARTS)
    kept = json.loads(KEPT.read_text()) if whole and KEPT.exists() else {}
    try:
        img = image.prepare()
    except (image.ImageError, OSError) as e:
        sys.exit(f"bench: no guest image: {e}")
    entries, errors = [], []
    began = time.monotonic()
    for part in args.targets:
        key = key_of(part, img)
        if kept.get(part, {}).get("key") == key:
            print(f"bench: {part}: measured already, by a run that did not finish", flush=True)
            entries += kept[part]["entries"]
            continue
        print(f"bench: {part}: a guest under icount; this takes minutes", flush=True)
        got, error = measure(part, args)
        entries += got
        if error:
            errors.append(error)
            print(f"bench: {error}", flush=True)
        elif whole:
            kept[part] = {"key": key, "entries": got}
            KEPT.write_text(json.dumps(kept) + "\n")
        if whole:
            (OUT / "md.json").write_text(json.dumps(entries, indent=1) + "\n")
    print(table(entries))
    print(f"bench: {time.monotonic() - began:.0f} s" + ("; build/bench/md.json written" if whole else ""))
    if errors:
        sys.exit("bench: not all was measured; make bench-vm goes on from here")
    if whole:
        KEPT.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
