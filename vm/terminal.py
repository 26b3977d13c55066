# SPDX-License-Identifier: GPL-2.0
"""Joins a person's terminal to the guests' shells: one shell is shown, Ctrl-] goes to the next guest."""
import contextlib
import os
import select
import sys
import termios
import tty

from .sockets import GuestError, GuestGone, connect

NEXT = b"\x1d"      # Ctrl-]


@contextlib.contextmanager
def raw_terminal():
    before = termios.tcgetattr(sys.stdin)
    tty.setraw(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def attach(guest, watch=None):
    """Shows one guest's shell until Ctrl-]: returns True; False at end of input or when the guest is gone.

    watch, if given, is called about twice a second.
    """
    with contextlib.closing(connect(guest.folder / "shell", 5)) as shell:
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
                    return False
                os.write(sys.stdout.fileno(), said)
            if sys.stdin in ready:
                typed = os.read(sys.stdin.fileno(), 4096)
                if not typed:
                    return False
                before, found, _ = typed.partition(NEXT)
                shell.sendall(before)
                if found:
                    return True


def shell_on(guest):
    """One guest's shell; Ctrl-] leaves it."""
    if not sys.stdin.isatty():
        raise GuestError("a shell needs a terminal; remedy: vm/pavvm exec GUEST -- COMMAND")
    print(f"vm: shell on {guest.spec.name}; Ctrl-] leaves it", flush=True)
    with raw_terminal():
        attach(guest)
    print()


def shells_on(guests, watch):
    """The guests' shells in turn; Ctrl-] twice within one guest's greeting ends."""
    guests = list(guests)
    turn = 0
    while True:
        g = guests[turn % len(guests)]
        print(f"vm: shell on {g.spec.name}; Ctrl-] for the menu", flush=True)
        with raw_terminal():
            try:
                alive = attach(g, watch)
            except GuestGone:
                alive = True
        names = ", ".join(f"{i + 1} {x.spec.name}" for i, x in enumerate(guests))
        if not alive and not g.running():
            print(f"\nvm: {g.spec.name} is down; vm/pavvm boot {g.spec.name} brings it back")
        try:
            answer = input(f"\nvm: {names}, q ends everything: ").strip()
        except EOFError:
            return
        if answer == "q":
            return
        if answer.isdigit() and 0 < int(answer) <= len(guests):
            turn = int(answer) - 1
