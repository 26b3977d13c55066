#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Runs the tests, part after part, and closes with one line: N passed, N failed.

    run.py check    build, unit tests, 100 simulator seeds; no guest; under 3 minutes
    run.py test     build, unit tests, 2,000 seeds, tests in guests; under 25 minutes
    run.py long     all of it: 20,000 seeds, every test in guests

A part counts what it ran: a test, or a seed of the simulator. A part that ends in a way that cannot be counted (it does
not build, hangs, or dies) counts as one failure; one that ran nothing does so too. Output of a part goes to build/test/PART.log
and, for those where it tells something, to the terminal as well. What failed is told where it happens and again, in a line each, at
the end.
"""
import json
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
CMAKE = REPO / "build/cmake"
LOGS = REPO / "build/test"
JOBS = str(os.cpu_count())


@dataclass
class Count:
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    why: str = ""           # of a failure that no test's name tells

    def __str__(self):
        return f"{self.passed} passed, {self.failed} failed" + (f", {self.skipped} skipped" if self.skipped else "")

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped


def execute(part, argv, timeout, show=True, env=None):
    """Runs a program to its end with its output in build/test/PART.log; returns its exit code, or None at the timeout (seconds).

    At the timeout the program's whole process group is killed. Guests die with the process that started them.
    """
    with open(LOGS / f"{part}.log", "w") as log:
        p = subprocess.Popen([str(a) for a in argv], cwd=REPO, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True, errors="replace", start_new_session=True, env={**os.environ, **(env or {})})
        late = []

        def end(*_):
            late.append(True)
            os.killpg(p.pid, signal.SIGKILL)
        signal.signal(signal.SIGALRM, end)
        signal.alarm(timeout)
        try:
            for line in p.stdout:
                log.write(line)
                log.flush()
                if show:
                    print("  " + line, end="", flush=True)
            code = p.wait()
        finally:
            signal.alarm(0)
            if p.poll() is None:
                os.killpg(p.pid, signal.SIGKILL)
    return None if late else code


def tail(part, lines=40):
    return "\n".join("    " + line for line in (LOGS / f"{part}.log").read_text(errors="replace").splitlines()[-lines:])


def junit(part, report, argv, timeout, **kw):
    """Runs a program that writes a JUnit report, and counts what the report says."""
    report.unlink(missing_ok=True)
    code = execute(part, argv, timeout, **kw)
    count = Count()
    try:
        for suite in ET.parse(report).getroot().iter("testsuite"):
            a = {k: int(suite.get(k) or 0) for k in ("tests", "failures", "errors", "skipped", "disabled")}
            bad, skipped = a["failures"] + a["errors"], a["skipped"] + a["disabled"]
            count.failed += bad
            count.skipped += skipped
            count.passed += a["tests"] - bad - skipped
            for case in suite.iter("testcase"):
                if case.find("failure") is not None or case.find("error") is not None or case.get("status") == "fail":
                    count.why += f"\n    {case.get('classname', '')} {case.get('name')}"
    except (OSError, ET.ParseError) as e:
        return Count(failed=1, why=f"no report ({e}): it {'hung' if code is None else f'ended with {code}'}\n{tail(part)}")
    if code is None:
        count.failed += 1
        count.why += f"\n    no end within {timeout} s"
    elif code and not count.failed:
        count.failed = 1
        count.why = f"exit {code}\n{tail(part)}"
    return count


def build(**_):
    code = execute("build", ["make", "--no-print-directory", "all"], 1500, show=False)
    return Count() if code == 0 else Count(failed=1, why=f"it does not build\n{tail('build')}")


def unit(**_):
    report = LOGS / "unit.xml"
    return junit("unit", report, ["ctest", "--test-dir", CMAKE, "-L", "unit", "-j", JOBS, "--timeout", "300", "--no-tests=error",
                                  "--output-on-failure", "--output-junit", report], 900, show=False)


def sim(seeds, **_):
    timeout = 300 + seeds
    code = execute("sim", [CMAKE / "tests/sim/pav_sim", "--seeds", seeds, "--keep-going", "--watchdog", "300"], timeout, show=False)
    text = (LOGS / "sim.log").read_text()
    last = re.search(r"^(\d+) seeds in .*, (\d+) failed", text, re.M)
    if code is None or not last:
        return Count(failed=1, why=(f"no end within {timeout} s" if code is None else f"exit {code}") + f"\n{tail('sim')}")
    ran, failed = int(last[1]), int(last[2])
    count = Count(passed=ran - failed, failed=failed, why="".join(f"\n    {m}" for m in re.findall(r"^seed \d+ failed.*", text, re.M)))
    if ran != seeds or (code == 0) != (failed == 0):
        count.failed = max(count.failed, 1)
        count.why += f"\n    {ran} of {seeds} seeds ran, exit {code}"
    print("\n".join(f"  {line}" for line in text.splitlines()[-60:] if "failed" not in line or line == last[0]), flush=True)
    return count


def sim_itself(**_):
    """The simulator's own tests: a toy engine with and without bugs, the same trace twice."""
    report = LOGS / "sim-itself.xml"
    return junit("sim-itself", report, ["ctest", "--test-dir", CMAKE, "-L", "sim", "-E", "sim-2000", "-j", JOBS, "--timeout", "600",
                                        "--no-tests=error", "--output-on-failure", "--output-junit", report], 900, show=False)


def count_steps(lines, code, timeout):
    """Counts what tests/vm/conftest.py has told, step by step, of a run that ended with this code, or was ended after `timeout` (None)."""
    collected, ends, count = None, {}, Count()
    for line in lines:
        try:
            step = json.loads(line)
        except ValueError:      # the last one, cut off
            continue
        collected = step.get("collected", collected)
        if "test" not in step:
            continue
        end = ends.setdefault(step["test"], {"over": False, "bad": [], "skipped": False})
        end["over"] |= step["when"] == "teardown"
        end["skipped"] |= step.get("outcome") == "skipped"
        if step.get("outcome") == "failed":
            end["bad"].append(f"{step['when']}: {step['why']}")
    for test, end in ends.items():
        if not end["over"]:
            end["bad"].append("it was running when " + (f"the part was ended after {timeout} s" if code is None else f"pytest ended with {code}"))
        count.failed += bool(end["bad"])
        count.skipped += end["skipped"] and not end["bad"]
        count.passed += not end["bad"] and not end["skipped"]
        count.why += "".join(f"\n    {test.partition('::')[2]}: {bad}" for bad in end["bad"])
    if len(ends) < (collected or 0):
        count.failed += not count.failed
        count.why += f"\n    {collected - len(ends)} of {collected} tests did not run"
    if code not in (0, 1, None) or (code == 1 and not count.failed) or collected is None:
        count.failed += not count.failed
        count.why += f"\n    pytest ended with {code}"
    return count


def guests(marker, timeout, env, part="guests", tests=("tests/vm",), **_):
    results = LOGS / f"{part}.jsonl"
    results.unlink(missing_ok=True)
    argv = ["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", *tests, "--durations=10", "--tb=short", "-q"]
    code = execute(part, argv + (["-m", marker] if marker else []), timeout, env={**env, "PAV_RESULTS": str(results)})
    return count_steps(results.read_text().splitlines() if results.exists() else [], code, timeout)


PARTS = {"build": ("build", build), "unit": ("unit tests", unit), "sim": ("the engine in the simulator", sim),
         "sim-itself": ("the simulator's own tests", sim_itself), "guests": ("tests in guests", guests)}
PLANS = {
    "check": (["build", "unit", "sim"], dict(seeds=100)),
    "test": (list(PARTS), dict(seeds=2000, marker="not long", timeout=3000, env={"PAV_CYCLES": "10", "PAV_FUZZ": "1000"})),
    "long": (list(PARTS), dict(seeds=20000, marker="", timeout=6 * 3600, env={})),
}


def begin(plans):
    """Of @plans the one that the command line names. From here on what is started is ended with this program, and no make around it matters to it."""
    if sys.argv[1:] not in [[p] for p in plans]:
        sys.exit(f"usage: {Path(sys.argv[0]).name} {'|'.join(plans)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
        os.environ.pop(name, None)
    LOGS.mkdir(parents=True, exist_ok=True)
    return plans[sys.argv[1]]


def close(total, failures):
    """The last lines of every run: what failed, and how many. Returns the exit code."""
    for line in failures:
        print(f"FAILED {line}")
    print(total, flush=True)
    return 1 if total.failed or not total.passed else 0


def main():
    parts, options = begin(PLANS)
    total, results, failures, began = Count(), {}, [], time.monotonic()
    for i, part in enumerate(parts, 1):
        what, run = PARTS[part]
        start = time.monotonic()
        print(f"[{i}/{len(parts)}] {what} …", flush=True)
        try:
            count = run(**options)
        except Exception as e:      # of this runner: the other parts go on
            count = Count(failed=1, why=f"{type(e).__name__}: {e}")
        seconds = time.monotonic() - start
        if part != "build" and not count.passed and not count.failed:
            count = Count(failed=1, skipped=count.skipped, why="no test ran")
        results[part] = {**vars(count), "seconds": round(seconds, 1)}
        if count.failed:
            print(f"  FAILED ({LOGS.relative_to(REPO)}/{part}.log): {count.why}")
            first = [line.strip() for line in count.why.splitlines() if line.strip()][:12]
            failures += [f"{what}: {line[:400]}" for line in first or ["see its log"]]
        print(f"  {what}: {count if part != 'build' or count.failed else 'done'} in {seconds:.0f} s", flush=True)
        total.add(count)
        if part == "build" and count.failed:
            break
    (LOGS / "result.json").write_text(json.dumps(results, indent=1) + "\n")
    print(f"all parts in {(time.monotonic() - began) / 60:.1f} minutes")
    return close(total, failures)


if __name__ == "__main__":
    sys.exit(main())
