# SPDX-License-Identifier: GPL-2.0
"""What vm/guest.py takes for trouble on a guest's console, and the one report that it knows not to be ours."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from vm.guest import TROUBLE, is_unfinished, without_nvme_circle  # noqa: E402

REPORT = """[  305.1] nvme nvme9: I/O 3 QID 1 timeout, aborting
[  305.5] WARNING: possible circular locking dependency detected
[  305.5] 6.1.192-pav-debug #1 Tainted: G           O
[  305.6] -> #2 (&ctrl->namespaces_rwsem){++++}-{3:3}:
[  305.6] -> #1 (&dev->{LOCK}){+.+.}-{3:3}:
[  305.6] -> #0 ((work_completion)(&q->timeout_work)){+.+.}-{0:0}:
[  305.7] Call Trace:
[  305.7]  <TASK>
[  305.7]  nvme_reset_work+0x121/0x3da0 [{MODULE}]
[  305.8]  </TASK>
[  306.1] nvme nvme9: Device not ready
"""


def trouble(lock="shutdown_lock", module="nvme", more=""):
    text = REPORT.replace("{LOCK}", lock).replace("{MODULE}", module) + more
    return [line for line in without_nvme_circle(text).splitlines() if TROUBLE.search(line)]


def test_the_nvme_drivers_own_circle_is_none_of_ours():
    assert trouble() == []
    # As a serial port has it.
    assert not TROUBLE.search(without_nvme_circle(REPORT.replace("{LOCK}", "shutdown_lock").replace("\n", "\r\n")))
    assert "nvme9: Device not ready" in without_nvme_circle(REPORT.replace("{LOCK}", "shutdown_lock"))


def test_any_other_is():
    assert len(trouble(lock="some_lock")) == 2
    assert len(trouble(module="pavraid")) == 2


def test_what_comes_after_it_is_still_seen():
    assert trouble(more="[  307.0] BUG: KASAN: use-after-free in pav_x+0x1/0x2 [pavraid]\n") == [
        "[  307.0] BUG: KASAN: use-after-free in pav_x+0x1/0x2 [pavraid]"]
    other = REPORT.replace("{LOCK}", "log->lock").replace("{MODULE}", "pavraid")
    assert len(trouble(more=other)) == 2


def test_a_report_is_judged_when_it_is_whole():
    cut = REPORT.index("  <TASK>")
    assert is_unfinished(REPORT[:cut]) and not is_unfinished(REPORT) and not is_unfinished("")
    assert is_unfinished(REPORT + REPORT[:cut])
