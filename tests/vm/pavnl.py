# SPDX-License-Identifier: GPL-2.0
"""The module's netlink interface for tests: builds messages from kmod/uapi/pavraid.yaml, sends them through nlpipe in a guest.

    nl = Netlink(guest)
    nl.do("group-create", group="g", drives=[{"drive-path": "/dev/nvme0n1"}, …])
    nl.dump("volume-get", group="g")            # a list of dicts; attributes that repeat are lists

A refusal raises Refused, with its errno and text. do_raw() sends any bytes.
"""
import errno
import itertools
import struct
import time
from pathlib import Path

import yaml
from vm.pace import patience

REPO = Path(__file__).resolve().parents[2]
SPEC = yaml.safe_load((REPO / "kmod" / "uapi" / "pavraid.yaml").read_text())
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 1, 4, 0x300
NLA_F_NESTED = 0x8000
NLMSGERR_ATTR_MSG = 1
INTEGERS = {"u32": "<I", "u64": "<Q"}


def _numbered(items):
    number = 0
    for item in items:
        number = item.get("value", number + 1)
        yield number, item


ATTRIBUTES = {a["name"]: (n, a) for n, a in _numbered(SPEC["attribute-sets"][0]["attributes"])}
BY_NUMBER = {n: a for n, a in ATTRIBUTES.values()}
COMMANDS = {op["name"]: n for n, op in _numbered(SPEC["operations"]["list"])}
ENUMS = {d["name"]: [e["name"] for e in d["entries"]] for d in SPEC["definitions"] if d["type"] == "enum"}


class Refused(Exception):
    def __init__(self, code, text):
        super().__init__(f"{errno.errorcode.get(code, code)}: {text}")
        self.code = code
        self.text = text


def attribute(number, payload, nested=False):
    raw = struct.pack("<HH", len(payload) + 4, number | (NLA_F_NESTED if nested else 0)) + payload
    return raw + bytes(-len(raw) % 4)


def encode(**values):
    """Attributes by name, with _ for -: int, str, bytes, True for a flag, dict for a nest, list for one that repeats.

    In `drives` a list stands for its one nest of `drive`s. bytes are sent as they are, whatever the attribute's type.
    """
    out = b""
    for name, value in values.items():
        number, a = ATTRIBUTES[name.replace("_", "-")]
        if a["name"] == "drives" and isinstance(value, list):
            value = {"drive": value}
        for v in value if isinstance(value, list) else [value]:
            if isinstance(v, bytes):
                out += attribute(number, v)
            elif isinstance(v, dict):
                out += attribute(number, encode(**v), nested=True)
            elif v is True:
                out += attribute(number, b"")
            elif isinstance(v, str):
                out += attribute(number, v.encode() + b"\0")
            else:
                out += attribute(number, struct.pack(INTEGERS[a["type"]], v))
    return out


def attributes(raw):
    """(number, payload) of each attribute in raw."""
    while len(raw) >= 4:
        length, number = struct.unpack_from("<HH", raw)
        if length < 4:
            return
        yield number & 0x3FFF, raw[4:length]
        raw = raw[(length + 3) & ~3:]


def decode(raw):
    out = {}
    for number, payload in attributes(raw):
        a = BY_NUMBER[number]
        if a["type"] == "pad":
            continue
        if a["type"] in INTEGERS:
            value, = struct.unpack(INTEGERS[a["type"]], payload)
            if "enum" in a:
                value = ENUMS[a["enum"]][value]
        elif a["type"] == "string":
            value = payload.rstrip(b"\0").decode()
        elif a["type"] == "nest":
            value = decode(payload)
        else:
            value = payload
        if a["name"] == "counter":
            out.setdefault("counters", {})[value["counter-name"]] = value["counter-value"]
        elif a["name"] == "prop":
            out.setdefault("props", {})[value["prop-key"]] = value["prop-value"]
        elif a["name"] == "task":
            out.setdefault("tasks", {})[value["task-kind"]] = value
        else:
            out[a["name"]] = value
    return out


def message(command, **values):
    """A generic netlink header and attributes."""
    return struct.pack("<BBH", COMMANDS[command], 1, 0) + encode(**values)


class Netlink:
    listeners = itertools.count()

    def __init__(self, guest):
        self.guest = guest
        self.nlpipe = "/mnt/repo/build/cmake/tests/vm/nlpipe"

    def do_raw(self, payloads, flags=NLM_F_REQUEST | NLM_F_ACK, prefix=(), timeout=120):
        """Sends each of the payloads. Returns (replies, [(errno, text), …]), an end for each payload."""
        words = [*prefix, self.nlpipe, SPEC["name"], str(flags), *(p.hex() for p in payloads)]
        replies, ends = [], []
        for line in self.guest.exec(words, timeout=timeout).out.splitlines():
            if line.startswith("end "):
                _, code, *tail = line.split()
                said = dict(attributes(bytes.fromhex(tail[0]))) if tail else {}
                ends.append((int(code), said.get(NLMSGERR_ATTR_MSG, b"").rstrip(b"\0").decode()))
            else:
                replies.append(bytes.fromhex(line))
        return replies, ends

    def _run(self, command, values, flags, **kw):
        replies, [(code, text)] = self.do_raw([message(command, **values)], flags, **kw)
        if code:
            raise Refused(code, text)
        return [decode(r[4:]) for r in replies]

    def do(self, command, **values):
        """Runs a command; returns its reply, or None if it has none."""
        replies = self._run(command, values, NLM_F_REQUEST | NLM_F_ACK)
        return replies[0] if replies else None

    def dump(self, command, **values):
        return self._run(command, values, NLM_F_REQUEST | NLM_F_ACK | NLM_F_DUMP)

    def listen(self):
        """Starts to listen to events, and returns when it does. events() ends it."""
        # A file of its own: a listener that a failed test left behind still writes to its.
        file = f"/tmp/events.{next(self.listeners)}"
        job = self.guest.spawn(f"exec {self.nlpipe} {SPEC['name']} listen events >{file}")
        self.guest.sh(f"until grep -q listening {file} 2>/dev/null; do sleep 0.1; done")
        return job, file

    def events(self, listener, wait_for=None, seconds=20):
        """What the listener heard. With wait_for(event): waits for such an event first, as long as seconds."""
        job, file = listener
        deadline = time.monotonic() + patience(seconds)
        while True:
            # What follows the last newline is not whole yet.
            lines = self.guest.exec(["cat", file]).out.split("\n")[1:-1]
            heard = [decode(bytes.fromhex(line)[4:]) for line in lines]
            if wait_for is None or any(map(wait_for, heard)) or time.monotonic() > deadline:
                break
            time.sleep(0.3)
        job.kill()
        self.guest.sh(f"rm -f {file}")
        return heard
