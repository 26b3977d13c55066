# SPDX-License-Identifier: GPL-2.0
"""What tests/vm/conftest.py tells of tests, and how tests/run.py counts it: failures, limits, and runs that are cut off."""
import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("run", REPO / "tests" / "run.py")
run = importlib.util.module_from_spec(spec)
spec.loader.exec_module(run)

TESTS = """
import os, time, pytest

@pytest.fixture
def good():
    yield
@pytest.fixture
def bad_end():
    yield
    raise RuntimeError("no good end")
@pytest.mark.limit(1)
def test_hangs():
    time.sleep(60)
def test_good(good): pass
def test_wrong():
    assert 1 == 2, "because\\nof this"
def test_bad_end(bad_end): pass
def test_skipped():
    pytest.skip("not here")
"""


def report(tmp_path, more=""):
    """Runs TESTS with the guests' conftest; gives the terminal's text, pytest's code, and the steps told."""
    shutil.copy2(REPO / "tests" / "vm" / "conftest.py", tmp_path)
    (tmp_path / "test_some.py").write_text(TESTS + more)
    steps = tmp_path / "steps"
    r = subprocess.run(["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path], cwd=tmp_path, timeout=60, check=False,
                       stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(REPO), "PAV_RESULTS": str(steps)})
    return r.stdout, r.returncode, steps.read_text().splitlines()


def test_reasons_and_counts(tmp_path):
    text, code, steps = report(tmp_path)
    for line in ("vm: FAILED test_hangs (call, ", "test_hangs: call has taken 1 s; it may take 1", "because | of this | assert 1 == 2",
                 "vm: FAILED test_bad_end (teardown, ", "RuntimeError: no good end"):
        assert line in text, text
    count = run.count_steps(steps, code, 100)
    assert (count.passed, count.failed, count.skipped) == (1, 3, 1)
    assert "test_wrong: call: AssertionError: because | of this" in count.why


def test_a_run_that_is_cut_off(tmp_path):
    """What had ended counts; what was running has failed; what did not begin is told of."""
    _, code, steps = report(tmp_path, "def test_ends_it_all():\n    os._exit(7)\ndef test_never(): pass\n")
    count = run.count_steps(steps, code, 100)
    assert (count.passed, count.failed, count.skipped) == (1, 4, 1)
    assert "test_ends_it_all: it was running when pytest ended with 7" in count.why
    assert "1 of 7 tests did not run" in count.why
    assert "ended after 100 s" in run.count_steps(steps, None, 100).why
    steps[-1] = steps[-1][:20]      # cut off in the middle of a line
    assert run.count_steps(steps, None, 100).failed == 4


def test_nothing_told_is_a_failure():
    assert run.count_steps([], 4, 100).failed == 1
    assert run.count_steps(['{"collected": 3}'], 0, 100).failed == 1
