# SPDX-License-Identifier: GPL-2.0
"""The world of a test: a target guest with drives and an initiator guest, joined by two links.

    with World() as w:
        w.target.exec("modprobe nvmet")
        w.initiator.sh("nvme list")

A run has a folder build/vm/runs/ID with a folder for each guest. The run's process holds a lock on it; a
run whose lock is free has ended, and the next run removes its drives (logs stay for the last few runs).
"""
import fcntl
import os
import shutil
import time
from pathlib import Path

from . import accel, image
from .guest import Guest, GuestError, Spec
from .image import VM_DIR
from .pace import at_least, machine

RUNS = VM_DIR / "runs"
KEEP_RUNS = 10
DRIVES, SPARES = 18, 2
HEAVY = 6       # times slower: a kernel with every checker

TARGET = Spec("target", addr=1, peer="initiator", drives=DRIVES + SPARES, mem_mib=3072, cpus=2)
INITIATOR = Spec("initiator", addr=2, peer="target", mem_mib=2048, cpus=2, parallel=True)


def prune():
    """Removes what dead runs left: their drives at once, their logs when they are old."""
    runs = sorted((p for p in RUNS.glob("*") if p.is_dir() and not p.is_symlink()), key=lambda p: p.name)
    for i, run in enumerate(runs):
        if alive(run):
            continue
        if i < len(runs) - KEEP_RUNS:
            shutil.rmtree(run, ignore_errors=True)
        else:
            remove_drives(run)


def alive(run):
    """Whether the process that started a run still holds its lock."""
    try:
        with open(run / "lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True


def remove_drives(run):
    for drives in run.glob("*/drives"):
        shutil.rmtree(drives, ignore_errors=True)


class World:
    """Guests that live and die together. Not booted until start() or the with statement."""
    live = []       # those of this process that have begun and are not closed

    def __init__(self, specs=(TARGET, INITIATOR), say=print):
        self.specs = specs
        self.say = say
        self.guests = {}
        self.folder = None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def target(self):
        return self.guests["target"]

    @property
    def initiator(self):
        return self.guests["initiator"]

    def start(self):
        """Prepares the image, makes the guests with empty drives, and boots them side by side."""
        img = image.prepare(self.say)
        if img.heavy:
            at_least(HEAVY)
        how = accel.choose(img, self.say)
        self.say(f"vm: {machine()}; guests run under {how}")
        RUNS.mkdir(parents=True, exist_ok=True)
        prune()
        self.folder = RUNS / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
        self.folder.mkdir()
        self.lock = open(self.folder / "lock", "w")
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        current = RUNS / "current"
        current.unlink(missing_ok=True)
        current.symlink_to(self.folder.name)
        for s in self.specs:
            self.guests[s.name] = Guest.create(self.folder / s.name, s, img, how)
            self.guests[s.name].say = self.say
        World.live.append(self)
        self.boot()

    def boot(self):
        """Boots every guest that is not running; one that runs but does not answer is killed first, and that is told."""
        for g in self.guests.values():
            if g.running() and not g.responds():
                self.say(f"vm: {g.spec.name} runs but does not answer; it is killed and booted again")
                g.kill()
                g.distrust_kvm()
        down = [g for g in self.guests.values() if not g.running()]
        for g in down:
            g.start()
        for g in down:
            g.come_up()

    def stop(self):
        """Ends the guests, suddenly; their drives stay, and boot() goes on from there."""
        for g in self.guests.values():
            g.kill()

    def close(self):
        """Ends the guests; keeps consoles and dmesg, removes the drives."""
        if self in World.live:
            World.live.remove(self)
        for g in self.guests.values():
            if g.running():
                g.save_dmesg()
            g.kill()
        if self.folder:
            remove_drives(self.folder)
            self.lock.close()


def current(name, wait=0):
    """The guest called name of the run that was started last; waits (seconds) for it to be up."""
    folder = RUNS / "current" / name
    deadline = time.monotonic() + wait
    while not ((folder / "spec.json").exists() and alive(folder.parent)):
        if time.monotonic() >= deadline:
            raise GuestError(f"no guest {name} runs; remedy: make vm")
        time.sleep(0.2)
    guest = Guest.open(folder.resolve())
    if wait:
        guest.wait_ready(deadline - time.monotonic())
    return guest
