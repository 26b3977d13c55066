# SPDX-License-Identifier: GPL-2.0
"""The ledger on a plain file: it passes what is right, and sees each kind of wrong."""
import json
import os
import subprocess
import time

import pytest

LEDGER = os.environ["LEDGER"]
BLOCKS, THREADS, FIRST = 64, 4, 8


@pytest.fixture(params=[1, 16], ids=["one block", "up to 16 blocks"])
def written(tmp_path, request):
    """A device and a ledger after two runs of the writer, and a copy of the device from between them."""
    device, ledger = tmp_path / "device", tmp_path / "ledger"
    device.write_bytes(bytes(4096 * (FIRST + BLOCKS + 8)))
    states = []
    for _ in range(2):
        lines = ledger.read_text().count("\n") if ledger.exists() else 0
        p = subprocess.Popen([LEDGER, "write", device, ledger, str(FIRST), str(BLOCKS), str(THREADS), str(request.param)])
        deadline = time.monotonic() + 60
        while not ledger.exists() or ledger.read_text().count("\n") < lines + 1000:
            assert p.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        p.terminate()
        assert p.wait(30) == 0
        states.append(device.read_bytes())
    return device, ledger, states[0]


def check(device, ledger, verb="check"):
    p = subprocess.run([LEDGER, verb, device, ledger, str(FIRST), str(BLOCKS), str(THREADS)], stdout=subprocess.PIPE, check=False)
    return p.returncode, json.loads(p.stdout)


def replace(device, block, data):
    with open(device, "r+b") as f:
        f.seek(4096 * (FIRST + block))
        f.write(data)


def test_what_is_right(written):
    device, ledger, _ = written
    code, found = check(device, ledger)
    assert code == 0 and found == dict(acknowledged=ledger.read_text().count("\n") - 1, blocks=BLOCKS, in_flight=0, lost=0, miscompares=0)
    assert found["acknowledged"] >= 2000


def test_only_the_next_write_of_a_thread_may_be_in_flight(written):
    device, ledger, _ = written
    lines = ledger.read_text().splitlines(keepends=True)
    of_thread = [i for i, line in enumerate(lines) if i and line.split()[0] == "1"]
    ledger.write_text("".join(line for i, line in enumerate(lines) if i != of_thread[-1]))
    code, found = check(device, ledger)
    assert code == 0 and found["in_flight"] == int(lines[of_thread[-1]].split()[4])
    ledger.write_text("".join(line for i, line in enumerate(lines) if i not in of_thread[-8:]))
    code, found = check(device, ledger)
    assert code == 1 and found["miscompares"] > 0


def test_what_was_read_once_must_stay(written):
    device, ledger, before = written
    lines = ledger.read_text().splitlines(keepends=True)
    last = max(i for i, line in enumerate(lines) if i and line.split()[0] == "1")
    _, block, _, _, count = map(int, lines[last].split())
    ledger.write_text("".join(line for i, line in enumerate(lines) if i != last))
    code, found = check(device, ledger, "settle")
    assert code == 0 and (found["in_flight"], found["acknowledged"]) == (count, len(lines) - 2)
    code, found = check(device, ledger)
    assert code == 0 and (found["in_flight"], found["acknowledged"]) == (0, len(lines) - 2)
    replace(device, block, before[4096 * (FIRST + block):][:4096])
    code, found = check(device, ledger)
    assert code == 1 and found["lost"] == 1


def test_an_older_write_is_a_lost_one(written):
    device, ledger, before = written
    replace(device, 5, before[4096 * (FIRST + 5):][:4096])
    replace(device, 6, bytes(4096))
    code, found = check(device, ledger)
    assert code == 1 and (found["lost"], found["miscompares"]) == (2, 0)


@pytest.mark.parametrize("how", ["a byte", "half a block", "the block beside it"])
def test_other_bytes_are_a_miscompare(written, how):
    device, ledger, before = written
    block = bytearray(device.read_bytes()[4096 * (FIRST + 9):][:4096])
    if how == "a byte":
        block[4000] ^= 1
    elif how == "half a block":
        block[2048:] = before[4096 * (FIRST + 9) + 2048:][:2048]
    else:
        block = device.read_bytes()[4096 * (FIRST + 10):][:4096]
    replace(device, 9, bytes(block))
    code, found = check(device, ledger)
    assert code == 1 and (found["lost"], found["miscompares"]) == (0, 1)


def test_another_run_does_not_pass(written):
    device, ledger, _ = written
    text = ledger.read_text()
    run = text.split("\n", 1)[0]
    ledger.write_text(text.replace(run, str(int(run) ^ 4), 1))
    code, found = check(device, ledger)
    assert code == 1 and found["miscompares"] == BLOCKS
