#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Puts bugs into the engine, each by itself, and runs seeds on it until one fails. A mutant that survives is a hole in the simulator.

Each mutant is one edit or a few: exact old text, new text. Only its own file is compiled anew (of a header: what includes it) and linked with the rest.
As many are tried side by side as there are processors, each in a folder of its own.
What caught it the last time, by the table in README.md, is tried first: mostly it still does. Else, and with --afresh, the hunt is on:
it meets a few seeds, the stories told one by one (scenario_test), seeds that linger around the bug, or where LINGER says that its race is; of the owner
stamp seeds of two hosts; then all seeds, the exhaustive mode, and what `make test` has besides: simulations of a full group, and the unit tests of raid6/; at last the stories with other chance.
Seeds that fail without any bug are left out, so that they catch nothing by accident. Results are kept in build/mutants.json, for these very sources:
--resume goes on where an earlier run stopped, --part 2/5 runs a fifth of the list. Ends with 1 if a mutant survived or an old text is not there any more.
"""
import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
CMAKE = ROOT / "build/cmake"
WORK = ROOT / "build/mutants"
RESULTS = ROOT / "build/mutants.json"
README = ROOT / "tests/sim/README.md"
OWNER = "kmod/group/owner.c"
OTHER_CHANCES = (2, 3, 4)  # of the stories; as in CMakeLists.txt

from mutant_list import LINGER, MUTANTS


def run(cmd, **kw):
    return subprocess.run(cmd, text=True, errors="replace", capture_output=True, **kw)


def build_base():
    print("building the engine and the simulator", flush=True)
    r = run(["make", "-C", str(CMAKE), "--no-print-directory", f"-j{os.cpu_count()}", "pav_sim", "scenario_test", "test_raid6"])
    if r.returncode:
        sys.exit(r.stdout + r.stderr)
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)


def compile_command(source):
    """How CMake compiles @source, from compile_commands.json, as a list."""
    import shlex
    for entry in json.loads((CMAKE / "compile_commands.json").read_text()):
        if entry["file"] == str(source):
            return shlex.split(entry["command"]), entry["directory"]
    sys.exit(f"{source}: not in compile_commands.json")


def compiled(file):
    """The object that CMake made of the engine's @file."""
    if file.startswith("raid6/"):
        return CMAKE / "raid6/CMakeFiles/pav_raid6.dir" / (file.removeprefix("raid6/") + ".o")
    return CMAKE / "tests/sim/CMakeFiles/pav_engine.dir/__/__" / (file + ".o")


def link(file, folder):
    """The mutant, FOLDER/sim, of the sources in FOLDER/src: its own objects of what @file is part of, all others as they are; FOLDER/sim.stories; of raid6/ also
    FOLDER/sim.unit, its unit tests. None, or an error."""
    binary = folder / "sim"
    engine_files = (str(c.relative_to(ROOT)) for c in sorted((ROOT / "kmod").rglob("*.c")))
    changed = [file] if file.endswith(".c") else [c for c in engine_files if compiled(c).exists()]
    mine = []
    for source in changed:
        command, directory = compile_command(ROOT / source)
        mine.append(str(folder / (source.replace("/", "_") + ".o")))
        command[command.index("-o") + 1] = mine[-1]
        command.insert(1, "-w")  # what a bug leaves unused is no matter
        command.remove("-Werror")
        command = [str(folder / "src" / source) if c == str(ROOT / source) else c.replace(f"-I{ROOT}/kmod", f"-I{folder}/src/kmod") for c in command]
        r = run(command, cwd=directory)
        if r.returncode:
            return r.stderr
    left_out = {str(compiled(c)) for c in changed}
    sim, raid6 = CMAKE / "tests/sim", CMAKE / "raid6"
    parity = [str(o) for o in (raid6 / "CMakeFiles/pav_raid6.dir").rglob("*.o") if str(o) not in left_out]
    engine = [str(o) for o in (sim / "CMakeFiles/pav_engine.dir").rglob("*.o") if str(o) not in left_out]
    world = [str(sim / "libpav_sim_world.a"), *mine, *engine, *parity, "-lfmt"]
    gtest = ["-lgtest", "-lgtest_main"]
    wanted = [(binary, [str(sim / "CMakeFiles/pav_sim_main.dir/main.cc.o"), *world]),
              (f"{binary}.stories", [*map(str, (sim / "CMakeFiles/scenario_test.dir").rglob("*.o")), *world, *gtest])]
    if file.startswith("raid6/"):
        wanted.append((f"{binary}.unit", [*map(str, (raid6 / "test/CMakeFiles/test_raid6.dir").rglob("*.o")), *mine, *parity, "-lisal", *gtest]))
    for name, of in wanted:
        r = run(["g++", "-Wl,--strip-debug", "-o", str(name), *of])
        if r.returncode:
            return r.stderr
    return None


def reason(said, otherwise="crash"):
    """Of what a failed run SAID why it failed; files are named as in the tree."""
    found = re.findall(r"^FAILED: (.*)$", said, re.M)
    return re.sub(rf"{re.escape(str(WORK))}/\d+/src/|{re.escape(str(ROOT))}/", "", found[0]) if found else otherwise


def first_failure(binary, seeds, known, jobs, watchdog, more=None):
    """The first seed that fails, but for those in @known; and why. With @more options they are other histories, and none is known."""
    r = run([str(binary), "--seeds", str(seeds), "--jobs", str(jobs), "--tail", "0", "--watchdog", str(watchdog)] +
            (more or (["--skip", ",".join(map(str, sorted(known)))] if known else [])))
    failed = sorted(int(s) for s in re.findall(r"^seed (\d+) failed", r.stderr, re.M))
    said = " ".join([str(failed[0]), *more]) if failed and more else failed[0] if failed else None
    return (said, reason(r.stderr)) if failed else (None, None)


def first_story(binary, which="*", chance=1):
    """The first of the stories that ends otherwise, of all or of those named, and how."""
    try:
        r = run(["env", f"PAV_CHANCE={chance}", f"{binary}.stories", f"--gtest_filter={which}"], timeout=300)  # alone they take half a minute; others run beside them, and who is slow is not killed
        if not r.returncode:
            return None, None
        said, why = r.stdout, reason(r.stderr, "it ends otherwise")
    except subprocess.TimeoutExpired as e:
        said, why = (e.stdout or b"").decode(errors="replace"), "it does not end"
    # Of one that ends the program, or never ends, nothing is said but that it began.
    named = re.findall(r"^\[  FAILED  \] ([^\s,]+)", said, re.M) or re.findall(r"^\[ RUN      \] (\S+)", said, re.M)[-1:]
    return f"story {named[0] if named else 'crash'}" + (f" with chance {chance}" if chance != 1 else ""), why


def first_state(binary, minutes, jobs):
    """The first state of the exhaustive mode that fails, and why."""
    r = run([str(binary), "--exhaustive", "--minutes", str(minutes), "--jobs", str(jobs)])
    failed = re.findall(r"^state (\S+) failed", r.stderr, re.M)
    return ("state " + failed[0], reason(r.stderr)) if failed else (None, None)


def first_test(binary):
    """The first of the other tests that fails, and why."""
    if pathlib.Path(f"{binary}.unit").exists():
        r = run([f"{binary}.unit", "--gtest_brief=1"])
        failed = re.findall(r"^\[  FAILED  \] (\S+)", r.stdout, re.M)
        return ("test raid6." + failed[0].rstrip(","), "parity") if failed else (None, None)
    listed = json.loads(run(["ctest", "--test-dir", str(CMAKE), "--show-only=json-v1", "-R", "^sim-(rotten|capacity)"]).stdout)["tests"]
    for test in listed:
        want = {p["name"]: p["value"] for p in test["properties"]}
        r = run([str(binary), *test["command"][1:]])
        said = r.stdout + r.stderr
        wrong = [p for p in want.get("FAIL_REGULAR_EXPRESSION", []) if re.search(p, said, re.S)] or \
            ("PASS_REGULAR_EXPRESSION" in want and not any(re.search(p, said, re.S) for p in want["PASS_REGULAR_EXPRESSION"]))
        if wrong or ("PASS_REGULAR_EXPRESSION" not in want and r.returncode):
            return "test " + test["name"], reason(said, "failed")
    return None, None


def last_time():
    """What caught each the last time, {name: as told in the table}: README.md has it."""
    rows = (line.split(" | ") for line in README.read_text().splitlines() if line.startswith("| ") and line.count(" | ") >= 3)
    return {name.removeprefix("| "): by for name, _, by, *_ in rows}


def again(binary, by, known, args):
    """Does what caught it the last time do so again? It may not be there any more, or be something else by now."""
    kind, _, rest = by.partition(" ")
    if kind == "test":
        return first_test(binary)
    if kind.isdigit() and (rest or int(kind) not in known):
        seed, why = first_failure(binary, 1, known, args.jobs, args.watchdog, ["--start", kind, *rest.split()])
        return (by, why) if seed else (None, None)
    if kind == "state":
        r = run([str(binary), "--exhaustive", "--state", rest])
        gone = "is it of these sources?" in r.stderr
        return (by, reason(r.stderr)) if not gone and (r.returncode < 0 or "FAILED:" in r.stderr) else (None, None)
    if kind == "story":
        which, _, chance = rest.partition(" with chance ")
        return first_story(binary, which, int(chance or 1))
    return None, None


def is_story(file):
    return file.name.endswith("_test.cc") or file.name == "scenario.h"


def is_simulated(file):
    """Not what ties the engine to Linux: but for env.h it is in these."""
    parts = file.relative_to(ROOT).parts
    return parts[0] != "kmod" or parts[1] not in ("main.c", "control", "volume", "env", "uapi") or file.name == "env.h"


def sources_hash(stories):
    """Of all that decides what a seed does; or of the stories, which no seed comes to."""
    h = hashlib.sha256()
    for part in ("kmod", "raid6", "tests/sim"):
        for file in sorted((ROOT / part).rglob("*")):
            if file.suffix in (".c", ".h", ".cc") and file.is_file() and is_simulated(file) and is_story(file) == stories:
                h.update(file.read_bytes())
    return h.hexdigest()


class Results:
    """What is known of each mutant: {name: {edits, seed, why, stories}}; of other sources than these nothing is. What has survived meets other stories anew."""

    def __init__(self):
        self.sources = sources_hash(False)
        self.stories = sources_hash(True)
        kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        self.known = kept.get("known")
        self.of = kept.get("mutants", {})
        if kept.get("sources") != self.sources:
            self.known, self.of = None, {}

    def get(self, name, edits):
        r = self.of.get(name)
        return r if r and r["edits"] == list(edits) and (r["seed"] is not None or r["stories"] == self.stories) else None

    def save(self):
        RESULTS.write_text(json.dumps({"sources": self.sources, "known": self.known, "mutants": self.of}, indent="\t"))


def mutated(name, file, *edits):
    """The file's text with the bug in it; None, and a word on it, if what is to be changed is not there, or not just once."""
    text = (ROOT / file).read_text()
    for old, new in zip(edits[::2], edits[1::2]):
        if text.count(old) != 1:
            print(f"{name}: {file}: the old text is there {text.count(old)} times, not once: {old.strip()}", flush=True)
            return None
        text = text.replace(old, new)
    return text


def table(results, mutants):
    killed = 0
    print("| Bug | In | Caught by seed | As |\n|---|---|---|---|")
    for name, file, *edits in mutants:
        r = results.get(name, edits)
        killed += bool(r and r["seed"])
        print(f"| {name} | {file} | {r['seed'] or '–'} | {(r['why'] or 'not caught by %d seeds' % r['seeds'])[:110]} |" if r else f"| {name} | {file} | ? | not run |")
    print(f"\nkilled {killed} of {len(mutants)} mutants")
    return 0 if killed == len(mutants) else 1


def around(name, file, edits):
    """Where to linger: LINGER's, or around the first edit."""
    line = (ROOT / file).read_text().split(edits[0])[0].count("\n") + 1
    return LINGER.get(name, f"{file}:{max(1, line - 15)}-{line + edits[0].count(chr(10)) + 15}")


def hunt(name, file, binary, where, known, args):
    """What catches the mutant first, and as what; None: nothing."""
    seed, why = again(binary, args.before.get(name, ""), known, args)
    if seed is None:
        seed, why = first_failure(binary, min(args.seeds, 100), known, args.jobs, args.watchdog)
    if seed is None:
        seed, why = first_story(binary)
    if seed is None and where:
        seed, why = first_failure(binary, args.seeds if name in LINGER else args.seeds // 3, known, args.jobs, args.watchdog, ["--linger", where])
    if seed is None and file == OWNER:
        seed, why = first_failure(binary, args.seeds, known, args.jobs, args.watchdog, ["--two-hosts"])
    if seed is None:
        seed, why = first_failure(binary, args.seeds, known, args.jobs, args.watchdog)
    if seed is None and args.minutes:
        seed, why = first_state(binary, args.minutes, args.jobs)
    if seed is None and args.minutes:
        seed, why = first_test(binary)
    for chance in OTHER_CHANCES:
        if seed is None:
            seed, why = first_story(binary, chance=chance)
    return seed, why


def attempt(n, mutant, known, args):
    """Builds the @n-th mutant, and lets it meet all there is. (name, file, edits, error or None, what caught it, seconds)."""
    name, file, *edits = mutant
    began = time.monotonic()
    folder = WORK / str(n)
    text = mutated(*mutant)
    if text is None:
        return name, file, edits, "it cannot be put in", None, 0
    for part in ("kmod", "raid6"):
        shutil.copytree(ROOT / part, folder / "src" / part)
    (folder / "src" / file).write_text(text)
    try:
        if error := link(file, folder):
            return name, file, edits, f"does not build:\n{error}", None, 0
        where = around(name, file, edits)
        listed = run([str(folder / "sim"), "--linger", where, "--seeds", "0"])
        seed, why = hunt(name, file, folder / "sim", where if not listed.returncode else None, known, args)
        return name, file, edits, None, {"seed": seed, "why": why}, time.monotonic() - began
    finally:
        shutil.rmtree(folder)


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--seeds", type=int, default=3000, help="how many seeds a mutant must survive to be called alive")
    ap.add_argument("--workers", type=int, default=os.cpu_count(), help="mutants tried side by side")
    ap.add_argument("--jobs", type=int, default=1, help="processes for each")
    ap.add_argument("--watchdog", type=int, default=60, help="seconds a seed may take")
    ap.add_argument("--minutes", type=float, default=4, help="of the exhaustive mode, for those that survive the seeds; in --jobs processes")
    ap.add_argument("--only", help="mutants whose name contains this")
    ap.add_argument("--part", default="1/1", help="K/N: every N-th mutant from the K-th on")
    ap.add_argument("--resume", action="store_true", help="leave out those with a result of these sources")
    ap.add_argument("--afresh", action="store_true", help="hunt, whatever caught it the last time")
    ap.add_argument("--known", help="seeds that fail without a bug, separated by commas; default: found by running them all first")
    ap.add_argument("--check", action="store_true", help="only look whether each bug can still be put in")
    ap.add_argument("--table", action="store_true", help="only print the results there are, as the table for README.md")
    args = ap.parse_args()
    args.before = {} if args.afresh else last_time()
    results = Results()
    part, parts = map(int, args.part.split("/"))
    mutants = [m for m in MUTANTS[part - 1::parts] if not args.only or args.only in m[0]]

    if args.check:
        return sum(mutated(*m) is None for m in mutants)
    if args.table:
        return table(results, mutants)
    build_base()
    if args.known is not None:
        results.known = [int(s) for s in args.known.split(",") if s]
    elif results.known is None:
        print(f"running {args.seeds} seeds without a bug", flush=True)
        r = run([str(CMAKE / "tests/sim/pav_sim"), "--seeds", str(args.seeds), "-k", "--tail", "0"])
        results.known = sorted(int(s) for s in re.findall(r"^seed (\d+) failed", r.stderr, re.M))
    # Without a bug nothing may fail, as far as it can be seen quickly.
    failed, why = first_test(CMAKE / "tests/sim/pav_sim") if args.minutes else (None, None)
    if failed:
        sys.exit(f"{failed} fails without a bug: {why}")
    if results.known:
        print("left out, they fail without a bug:", *results.known, flush=True)

    broken = 0
    with concurrent.futures.ThreadPoolExecutor(args.workers) as pool:
        todo = [m for m in mutants if not (args.resume and results.get(m[0], m[2:]))]
        for future in concurrent.futures.as_completed(pool.submit(attempt, n, m, results.known, args) for n, m in enumerate(todo, 1)):
            name, file, edits, error, caught, took = future.result()
            broken += bool(error)
            if error:
                print(f"{name}: {error}", flush=True)
                continue
            results.of[name] = {**caught, "edits": edits, "seeds": args.seeds, "stories": results.stories}
            results.save()
            by = f"{caught['seed']}, {took:.0f} s: {caught['why']}" if caught["seed"] else f"{args.seeds} seeds, {args.minutes} minutes"
            print(f"{'killed' if caught['seed'] else 'ALIVE '} {name} ({file}): {by}", flush=True)
    done = [r for r in (results.get(name, edits) for name, _, *edits in mutants) if r]
    killed = sum(r["seed"] is not None for r in done)
    print(f"killed {killed} of {len(mutants)} mutants")
    return 0 if killed == len(mutants) and not broken else 1


if __name__ == "__main__":
    sys.exit(main())
