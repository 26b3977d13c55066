# SPDX-License-Identifier: GPL-2.0
"""What a kernel can say about a module that is gone. The leak detector and the lock checker are in the debug kernel only."""
import time

KMEMLEAK = "/sys/kernel/debug/kmemleak"
YOUNG = 6       # seconds before kmemleak reports what nobody points to


def forget_leaks(guest):
    """What leaked until now is not the module's."""
    guest.sh(f"[ ! -e {KMEMLEAK} ] || {{ echo scan >{KMEMLEAK} && echo clear >{KMEMLEAK}; }}", timeout=120)


def lock_checker_is_silent(guest):
    """It is there, and has made its first report: from then on it says nothing, until the next boot."""
    lockdep = guest.sh("cat /proc/lockdep_stats 2>/dev/null || true")
    return bool(lockdep) and "debug_locks:                             1" not in lockdep


def assert_nothing_left(guest):
    """After the module's removal: no thread, no slab cache. And the lock checker is at work."""
    assert guest.sh("grep -c pav_request /proc/slabinfo || true") == "0"
    assert guest.sh("ps -eo comm | grep -c '^pav_' || true") == "0"
    assert not lock_checker_is_silent(guest)


def assert_no_leaks(guest):
    """After the module's removal, where there is a leak detector. It looks through all memory, twice, which takes minutes under emulation."""
    if guest.exec(["test", "-e", KMEMLEAK], check=False).code == 0:
        guest.sh(f"echo scan >{KMEMLEAK}", timeout=120)
        time.sleep(YOUNG)
        leaks = guest.sh(f"echo scan >{KMEMLEAK}; cat {KMEMLEAK}", timeout=120)
        assert not leaks, f"never freed:\n{leaks[:8000]}"
