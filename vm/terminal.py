# SPDX-License-Identifier: GPL-2.0
"""Joins a person's terminal to the guests' shells: one shell is shown, Ctrl-] goes to the next guest."""
import contextlib
import fcntl
import os
import select
import sys
import termios
import tty

from .sockets import GuestError, connect

NEXT = b"\x1d"      # Ctrl-]


@contextlib.contextmanager
def raw_terminal():
    before = termios.tcgetattr(sys.stdin)
    tty.setraw(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


@contextlib.contextmanager
def exclusive(guest):
    """A guest has one shell; a second terminal is told so."""
    with open(guest.folder / "shell.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise GuestError(f"the shell on {guest.spec.name} is open in another terminal; "
                             f"remedy: vm/pavvm exec {guest.spec.name} -- COMMAND") from None
        yield


def attach(guest, watch=None):
    """Shows one guest's shell until Ctrl-], the end of input, or the guest's end.

    watch, if given, is called about twice a second.
    """
    with exclusive(guest), contextlib.closing(connect(guest.folder / "shell", 5)) as shell:
        shell.setblocking(True)
        size = os.get_terminal_size()
        shell.sendall(f" stty rows {size.lines} cols {size.columns}\r".encode())
        while True:
            ready, _, _ = select.select([sys.stdin, shell], [], [], 0.5)
            if watch:
                watch()
            if shell in ready:
                said = shell.recv(65536)
                if not said:
                    return
                os.write(sys.stdout.fileno(), said)
            if sys.stdin in ready:
                typed = os.read(sys.stdin.fileno(), 4096)
                if not typed:
                    return
                before, found, _ = typed.partition(NEXT)
                shell.sendall(before)
                if found:
                    return


def shell_on(guest):
    """One guest's shell; Ctrl-] leaves it."""
    if not sys.stdin.isatty():
        raise GuestError("a shell needs a terminal; remedy: vm/pavvm exec GUEST -- COMMAND")
    print(f"vm: shell on {guest.spec.name}; Ctrl-] leaves it", flush=True)
    with raw_terminal():
        attach(guest)
    print()


def shells_on(guests, watch):
    """The guests' shells, one at a time; Ctrl-] asks which one is next, or ends."""
    guests = list(guests)
    g = guests[0]
    while True:
        print(f"vm: shell on {g.spec.name}; Ctrl-] for the menu", flush=True)
        try:
            with raw_terminal():
                attach(g, watch)
        except GuestError as e:
            print(f"\nvm: {e}")
        watch()
        if not g.running():
            print(f"\nvm: {g.spec.name} is down; vm/pavvm boot {g.spec.name} brings it back")
        menu = ", ".join(f"{i} {x.spec.name}" for i, x in enumerate(guests, 1))
        try:
            answer = input(f"\nvm: {menu}, q ends everything: ").strip()
        except EOFError:
            return
        if answer == "q":
            return
        if answer.isdigit() and 0 < int(answer) <= len(guests):
            g = guests[int(answer) - 1]
