# SPDX-License-Identifier: GPL-2.0
"""The two JSON conversations with a guest: QMP with its QEMU, and the QEMU guest agent inside it.

Both are a line of JSON each way over a unix socket in the guest's run folder. Such a socket serves one client at
a time, so a client holds a lock file beside it; several processes (a test run, a person's shell) can then work on
the same guest.
"""
import base64
import fcntl
import json
import os
import random
import socket
import threading
import time

from .pace import patience


class GuestError(RuntimeError):
    """A guest or its QEMU did not do what was asked."""


class GuestGone(GuestError):
    """The guest's QEMU is not there any more."""


def connect(path, timeout):
    """Connects to a unix socket whose path may be longer than the 107 bytes an address can hold."""
    folder = os.open(path.parent, os.O_PATH)
    try:
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        s.settimeout(timeout)
        s.connect(f"/proc/self/fd/{folder}/{path.name}")
        return s
    except OSError as e:
        s.close()
        raise GuestGone(f"cannot connect to {path}: {e.strerror or e}") from e
    finally:
        os.close(folder)


class Lines:
    """Lines of JSON over a socket, each receive bounded by a deadline (time.monotonic)."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = b""

    def send(self, message):
        try:
            self.sock.settimeout(10)
            self.sock.sendall(json.dumps(message).encode() + b"\n")
        except OSError as e:
            raise GuestGone(f"cannot send to the guest: {e}") from e

    def receive(self, deadline):
        """The next message, or None at the deadline. Noise before a message (the agent's 0xff mark) is dropped."""
        while True:
            line, found, rest = self.buffer.partition(b"\n")
            if found:
                self.buffer = rest
                line = line.rpartition(b"\xff")[2].strip()
                if not line:
                    continue
                return json.loads(line)
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self.sock.settimeout(left)
            try:
                got = self.sock.recv(1 << 20)
            except socket.timeout:
                return None
            except OSError as e:
                raise GuestGone(f"connection to the guest lost: {e}") from e
            if not got:
                raise GuestGone("connection to the guest closed")
            self.buffer += got

    def close(self):
        self.sock.close()


class Qmp:
    """One short conversation with QEMU: with Qmp(path) as q: q.command("device_del", id="nvme3")."""

    def __init__(self, path):
        self.path = path
        self.events = []

    def __enter__(self):
        self.lock = open(self.path.with_suffix(".lock"), "w")
        deadline = time.monotonic() + patience(60)
        while True:
            try:
                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    self.lock.close()
                    raise GuestError(f"another process keeps talking to QEMU's {self.path}") from None
                time.sleep(0.05)
        self.lines = Lines(connect(self.path, 10))
        self.lines.receive(time.monotonic() + 10)       # the greeting
        self.command("qmp_capabilities")
        return self

    def __exit__(self, *_):
        self.lines.close()
        self.lock.close()

    def command(self, what, /, timeout=30, **arguments):
        self.lines.send({"execute": what, "arguments": arguments})
        deadline = time.monotonic() + patience(timeout)
        while True:
            m = self.lines.receive(deadline)
            if m is None:
                raise GuestError(f"QEMU did not answer {what} within {timeout} s")
            if "event" in m:
                self.events.append(m)
            elif "error" in m:
                raise GuestError(f"QEMU refused {what} {arguments}: {m['error']['desc']}")
            else:
                return m["return"]

    def wait_event(self, name, timeout, **data):
        """Waits for an event whose data has these values; None when it did not come in time."""
        deadline = time.monotonic() + timeout
        while True:
            for e in self.events:
                if e["event"] == name and data.items() <= e.get("data", {}).items():
                    return e
            m = self.lines.receive(deadline)
            if m is None:
                return None
            self.events.append(m)


class Agent:
    """A connection to one of the guest's agents, kept for as long as this process works with the guest.

    Threads may share it: a request and its answer are one step under a lock.
    """

    def __init__(self, folder, count):
        self.folder = folder
        self.count = count
        self.mutex = threading.Lock()
        self.lines = None
        self.lock = None

    def close(self):
        if self.lines:
            self.lines.close()
            self.lines = None
        if self.lock:
            self.lock.close()
            self.lock = None

    def _claim(self, deadline):
        """Takes the first agent that no other process talks to."""
        while True:
            for i in range(self.count):
                lock = open(self.folder / f"agent.{i}.lock", "w")
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    self.lock = lock
                    return self.folder / f"agent.{i}"
                except BlockingIOError:
                    lock.close()
            if time.monotonic() > deadline:
                raise GuestError(f"all {self.count} agents of {self.folder.name} are in use by other processes")
            time.sleep(0.1)

    def _connect(self, deadline):
        """Connects and waits until the agent answers: from then on the guest is up."""
        try:
            self.lines = Lines(connect(self._claim(deadline), 10))
            while True:
                ident = random.randrange(1 << 31)
                self.lines.send({"execute": "guest-sync", "arguments": {"id": ident}})
                resend = min(deadline, time.monotonic() + 10)
                while (m := self.lines.receive(resend)) is not None:
                    if m.get("return") == ident:
                        return
                if time.monotonic() >= deadline:
                    raise GuestError(f"the agent in {self.folder.name} does not answer; its console is "
                                     f"{self.folder / 'console.log'}")
        except BaseException:
            self.close()
            raise

    def request(self, what, /, timeout=None, **arguments):
        """Without a timeout (seconds): 30, on a quiet machine."""
        timeout = round(timeout or patience(30))
        deadline = time.monotonic() + timeout
        with self.mutex:
            if not self.lines:
                self._connect(deadline)
            try:
                self.lines.send({"execute": what, "arguments": arguments})
                m = self.lines.receive(deadline)
                if m is None:
                    raise GuestError(f"the agent in {self.folder.name} did not answer {what} within {timeout} s")
            except GuestError:
                self.close()        # what comes late must not answer the next request
                raise
        if "error" in m:
            raise GuestError(f"agent in {self.folder.name} refused {what}: {m['error']['desc']}")
        return m["return"]

    def wait(self, timeout):
        self.request("guest-ping", timeout)


def decode(status, key):
    if status.get(key.replace("data", "truncated")):
        raise GuestError("a guest command printed more than the agent keeps (16 MiB); send it to a file")
    return base64.b64decode(status.get(key, "")).decode(errors="replace")
