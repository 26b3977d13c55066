# SPDX-License-Identifier: GPL-2.0
"""A guest: one QEMU process, its drives, links, consoles, and the commands run inside it.

Everything about a guest is in its folder (spec.json, drives/, share/, console.log, sockets), so that another
process can take hold of a guest that runs: Guest.open(folder).

The QEMU process dies with the process that started it (a parent-death signal), whatever ends that one.
The drives' files outlive their QEMU: killing a guest and booting it again is a sudden stop of a machine that
keeps its drives. What the guest's kernel had handed to a drive is kept; a power cut that also loses a drive's
cache is the simulator's business, not this one's.
"""
import base64
import concurrent.futures
import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

from . import accel
from .image import REPO
from .pace import booted, patience
from .sockets import Agent, GuestError, GuestGone, Qmp, decode

# The parent-death signal follows the thread that forks, so one thread that never ends starts every QEMU.
_spawner = concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="pav-spawner")

AGENTS = 4
BOOT_SECONDS = 120      # on a quiet machine it is 10 to 15
FIRST_ROOT_PORT_SLOT = 0x10
# Bits of a PCI Express slot's control register.
HOT_PLUG_INTERRUPT, LIGHT_OFF, POWER_OFF = 0x0020, 0x0300, 0x0400
# A kernel message that no test may leave behind.
TROUBLE = re.compile(r"WARNING:|BUG:|BUG at|Oops|Call Trace|KASAN|UBSAN|general protection fault|Kernel panic|"
                     r"INFO: task .* blocked|soft lockup|INFO: rcu_\w+ (self-)?detected|refcount_t:|"
                     r"list_(add|del) corruption|INFO: trying to register non-static key|kmemleak: \d+ new|ODEBUG:")
# Lockdep on Linux 6.1's own nvme driver, where a drive is torn out with I/O under way: nvme_timeout() takes shutdown_lock and namespaces_rwsem,
# nvme_reset_work() waits for the timeouts' work with namespaces_rwsem held. Lockdep is off after that, until the next boot.
CIRCULAR = re.compile(r"^[^\n]*WARNING: possible circular locking.*?</TASK>\r?\n", re.M | re.S)
NVME_CIRCLE = ("q->timeout_work", "dev->shutdown_lock", "ctrl->namespaces_rwsem")


def without_nvme_circle(text):
    """A kernel's messages without that report; one in which anything else has a part stays."""
    return CIRCULAR.sub(lambda m: "" if all(lock in m[0] for lock in NVME_CIRCLE) and "[pavraid]" not in m[0] else m[0], text)


def is_unfinished(text):
    """Is a report of lockdep's still being printed?"""
    return text.rfind("possible circular locking") > text.rfind("</TASK>")


@dataclasses.dataclass(frozen=True)
class Spec:
    """What a guest consists of."""
    name: str
    addr: int                   # last byte of its addresses: 10.70.LINK.addr
    links: int = 2
    peer: str = ""              # the guest at the other end of every link
    drives: int = 0
    drive_mib: int = 256
    drives_of: str = ""         # sees the drives of this other guest, as a second host at drives with two ports
    mem_mib: int = 2048
    cpus: int = 2
    parallel: bool = False      # emulated CPUs on a host thread each; faster, but drives cannot be pulled then
    cmdline: str = ""           # more words for the kernel's command line


@dataclasses.dataclass(frozen=True)
class Result:
    """How a command in a guest ended."""
    command: str
    code: int
    out: str
    err: str

    def check(self):
        if self.code:
            raise CommandFailed(self)
        return self


class CommandFailed(GuestError):
    def __init__(self, result):
        super().__init__(f"exit {result.code}: {result.command}\n{result.out[-3000:]}\n{result.err[-3000:]}")
        self.result = result


class CommandTimeout(GuestError):
    pass


class Job:
    """A command that runs in a guest. Its standard output and error are kept by the agent until it ends."""

    def __init__(self, guest, command, pid):
        self.guest = guest
        self.command = command
        self.pid = pid
        self.result = None

    def poll(self):
        """The Result, or None while it runs."""
        if self.result is None:
            s = self.guest.agent.request("guest-exec-status", pid=self.pid)
            if s["exited"]:
                code = s["exitcode"] if "exitcode" in s else 128 + s["signal"]
                self.result = Result(self.command, code, decode(s, "out-data"), decode(s, "err-data"))
        return self.result

    def wait(self, timeout=60):
        """Waits for the end; at the timeout (seconds of a quiet machine) kills the command and what it started, and raises."""
        timeout = patience(timeout)
        deadline = time.monotonic() + timeout
        pause = 0.02
        while not self.poll():
            if time.monotonic() > deadline:
                self.kill()
                said = self.result.out[-2000:] + self.result.err[-2000:] if self.result else ""
                raise CommandTimeout(f"no end within {timeout:.0f} s in {self.guest.spec.name}: {self.command}\n{said}")
            time.sleep(pause)
            pause = min(pause * 1.5, 0.25)
        return self.result

    def kill(self):
        """Kills the command's whole session. One that hangs in the kernel stays."""
        self.guest.exec(f"kill -KILL -- -{self.pid}", check=False, timeout=20)
        end = time.monotonic() + 2
        while not self.poll() and time.monotonic() < end:
            time.sleep(0.1)


def root_port_slot(n):
    """The slot on the PCI root bus of drive n's root port; eight ports share a slot, a function each."""
    return FIRST_ROOT_PORT_SLOT + n // 8


class SlotControl:
    """The slot control register of drive n's root port, reached through the machine's I/O ports by the monitor."""

    def __init__(self, q, n):
        self.q = q
        self.function = root_port_slot(n) << 11 | n % 8 << 8
        cap = self._config(0x34) & 0xff
        while (header := self._config(cap)) & 0xff != 0x10:     # the PCI Express capability
            cap = header >> 8 & 0xff
        self.register = cap + 0x18

    def _monitor(self, line):
        return self.q.command("human-monitor-command", **{"command-line": line})

    def _port(self, port):
        return int(self._monitor(f"i /w {port:#x}").split("=")[1], 16)

    def _config(self, register, value=None):
        """Reads 4 bytes of the root port's configuration space, or writes 2; leaves the address port as it was."""
        before = self._port(0xcf8)
        self._monitor(f"o /w 0xcf8 {0x80000000 | self.function | register & ~3:#x}")
        if value is None:
            value = self._port(0xcfc)
        else:
            self._monitor(f"o /h {0xcfc + (register & 3):#x} {value:#x}")
        self._monitor(f"o /w 0xcf8 {before:#x}")
        return value

    def read(self):
        return self._config(self.register) >> 8 * (self.register & 3) & 0xffff

    def write(self, value):
        self._config(self.register, value)


class Guest:
    def __init__(self, folder, spec, image=None, accel=None):
        self.folder = Path(folder)
        self.spec = spec
        self.image = image
        self.accel = accel
        self.process = None
        self.say = print
        self.agent = Agent(self.folder, AGENTS)
        self.started = time.monotonic()
        self.boot_seconds = None

    @classmethod
    def create(cls, folder, spec, image, accel):
        """A new guest with empty drives; boot() starts it."""
        g = cls(folder, spec, image, accel)
        for d in ("drives", "share"):
            (g.folder / d).mkdir(parents=True)
        (g.folder / "spec.json").write_text(json.dumps(dataclasses.asdict(spec)))
        for n in range(0 if spec.drives_of else spec.drives):
            with open(g.drive_file(n), "wb") as f:
                f.truncate(spec.drive_mib << 20)
        return g

    @classmethod
    def open(cls, folder):
        """Takes hold of a guest that another process started."""
        return cls(folder, Spec(**json.loads((Path(folder) / "spec.json").read_text())))

    # --- the process ---------------------------------------------------------------------------------------

    def _argv(self):
        s = self.spec
        heavy = self.image.heavy
        append = (f"console=ttyS0 panic=-1 oops=panic net.ifnames=0 mitigations=off "
                  f"{accel.clock_words(self.accel)} rcupdate.rcu_cpu_stall_timeout={300 if heavy else 60} pav.name={s.name} pav.addr={s.addr} {s.cmdline}")
        argv = ["setpriv", "--pdeathsig", "KILL",
                "qemu-system-x86_64", "-name", f"pav-{s.name}", "-nodefaults", "-no-user-config", "-display", "none",
                "-no-reboot", "-machine", "q35", "-bios", accel.FIRMWARE, *accel.arguments(self.accel, s.parallel),
                "-smp", str(s.cpus), "-m", str(s.mem_mib * (2 if heavy else 1)),
                # Native PCIe hot plug: only there can a device vanish without the guest's consent.
                "-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off",
                "-kernel", str(self.image.kernel), "-initrd", str(self.image.initrd), "-append", append,
                "-device", "virtio-rng-pci",
                "-chardev", f"file,id=log,path={s.name}/console.log,append=on", "-serial", "chardev:log",
                "-chardev", f"socket,id=qmp,path={s.name}/qmp,server=on,wait=off", "-mon", "chardev=qmp,mode=control",
                "-device", "virtio-serial-pci",
                "-chardev", f"socket,id=shell,path={s.name}/shell,server=on,wait=off",
                "-device", "virtconsole,chardev=shell"]
        for i in range(AGENTS):
            argv += ["-chardev", f"socket,id=agent{i},path={s.name}/agent.{i},server=on,wait=off",
                     "-device", f"virtserialport,chardev=agent{i},name=pav.agent.{i}"]
        for tag, path, ro in (("repo", REPO, ",readonly=on"), ("share", self.folder / "share", "")):
            argv += ["-fsdev", f"local,id={tag},path={path},security_model=none{ro}",
                     "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
        for i in range(s.links):
            argv += ["-netdev", f"dgram,id=link{i},local.type=unix,local.path={s.name}/link.{i},"
                                f"remote.type=unix,remote.path={s.peer}/link.{i}",
                     "-device", f"virtio-net-pci,id=nic{i},netdev=link{i},mac=52:54:00:70:{i:02x}:{s.addr:02x}"]
        for n in range(s.drives):
            argv += ["-device", f"pcie-root-port,id=port{n},bus=pcie.0,chassis={n + 1},slot={n + 1},io-reserve=0,"
                                f"multifunction=on,addr={root_port_slot(n):02x}.{n % 8}",
                     "-blockdev", json.dumps(self._backend(n))]
            if not self._out_mark(n).exists():
                argv += ["-device", ",".join(f"{k}={v}" for k, v in self._drive(n).items())]
        return argv

    def _out_mark(self, n):
        """Exists while drive n is out of its slot, so that it stays out over a boot."""
        return self.folder / "drives" / f"{n:02d}.out"

    def _backend(self, n):
        # Flushes end in the host's page cache, which outlives QEMU; the disk below it would only cost time.
        return {"driver": "raw", "node-name": f"disk{n}", "discard": "unmap",
                "file": {"driver": "file", "filename": str(self.drive_file(n)), "discard": "unmap",
                         "cache": {"no-flush": True}}}

    def _drive(self, n):
        return {"driver": "nvme", "id": f"nvme{n}", "bus": f"port{n}", "drive": f"disk{n}",
                "serial": self.serial(n), "logical_block_size": "4096", "physical_block_size": "4096",
                "share-rw": "on"}       # a guest with drives_of may have it too; both go through the host's page cache

    def start(self):
        """Starts QEMU and returns at once; wait_ready() waits for the guest."""
        if self.running():
            raise GuestError(f"{self.spec.name} runs already")
        self.agent.close()
        for s in ["qmp", "shell", *(f"agent.{i}" for i in range(AGENTS)), *(f"link.{i}" for i in range(self.spec.links))]:
            (self.folder / s).unlink(missing_ok=True)
        argv = self._argv()
        (self.folder / "qemu.argv").write_text("\n".join(argv) + "\n")
        with open(self.folder / "qemu.log", "ab") as log:
            self.process = _spawner.submit(subprocess.Popen, argv, cwd=self.folder.parent, stdin=subprocess.DEVNULL,
                                           stdout=log, stderr=log, start_new_session=True).result()
        self.started = time.monotonic()
        (self.folder / "pid").write_text(str(self.process.pid))

    def wait_ready(self, timeout=BOOT_SECONDS):
        """Waits until commands can be run in the guest."""
        deadline = time.monotonic() + patience(timeout)
        while not (self.folder / "agent.0").exists() or not (self.folder / "qmp").exists():
            self._check_alive()
            if time.monotonic() > deadline:
                raise GuestError(f"QEMU of {self.spec.name} made no sockets in {timeout} s")
            time.sleep(0.05)
        while True:
            self._check_alive()
            try:
                self.agent.wait(max(1, deadline - time.monotonic()))
                break
            except GuestGone:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def come_up(self):
        """Waits for a guest that was started. One that does not come up is killed and started again, twice: CPUs emulated in parallel were
        seen to lose a timer on a busy host, and KVM to work in its trial only; after a failure under KVM the guest is emulated."""
        for left in (2, 1, 0):
            try:
                self.wait_ready()
                break
            except GuestError as e:
                if not left:
                    raise
                self.say(f"vm: {self.spec.name} did not come up under {self.accel}, once more: {' '.join(str(e).split())[:300]}")
                self.say("\n".join(f"vm:   {self.spec.name}| {line}" for line in self.console_tail(8)))
                self.kill()
                self.distrust_kvm()
                self.start()
        self.boot_seconds = time.monotonic() - self.started
        booted(self.boot_seconds)
        self.say(f"vm: {self.spec.name} up in {self.boot_seconds:.1f} s")

    def boot(self):
        self.start()
        self.come_up()

    def responds(self):
        """Whether it runs and its agent answers."""
        try:
            self.agent.request("guest-ping", timeout=patience(20))
            return True
        except GuestError:
            return False

    def distrust_kvm(self):
        """From now on this guest, and those of later runs, are emulated."""
        if self.accel == "kvm":
            self.accel = accel.give_up_kvm()

    def running(self):
        return self.process is not None and self.process.poll() is None

    def _check_alive(self):
        if self.process is not None and self.process.poll() is not None:
            said = (self.folder / "qemu.log").read_text(errors="replace")[-1000:]
            raise GuestGone(f"QEMU of {self.spec.name} ended with {self.process.returncode}: {said}\n"
                            f"last words on its console:\n{self.console()[-3000:]}")

    def kill(self):
        """Stops the guest suddenly: SIGKILL to its QEMU. What its drives hold is kept."""
        self.agent.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait(60)
            self.process = None
        elif (pid := self._foreign_pid()):
            os.kill(pid, signal.SIGKILL)

    def _foreign_pid(self):
        """The pid of a QEMU that another process started, if it is really this guest's."""
        try:
            pid = int((self.folder / "pid").read_text())
            cwd = os.readlink(f"/proc/{pid}/cwd")
            argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        return pid if Path(cwd) == self.folder.parent.resolve() and f"pav-{self.spec.name}".encode() in argv else None

    def power_cycle(self):
        """Sudden stop, then boot on the same drives."""
        self.kill()
        self.boot()

    # --- commands ------------------------------------------------------------------------------------------

    def spawn(self, command, stdin=None):
        """Starts a command: a string for bash, or a list of words. It runs in a session of its own.

        A job ends when the command has ended and nothing holds its output any more.
        """
        argv = ["bash", "-c", command] if isinstance(command, str) else list(command)
        request = {"path": "/usr/bin/setsid", "arg": argv, "capture-output": True,
                   "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"]}
        if stdin is not None:
            request["input-data"] = base64.b64encode(stdin.encode() if isinstance(stdin, str) else stdin).decode()
        pid = self.agent.request("guest-exec", **request)["pid"]
        return Job(self, command if isinstance(command, str) else " ".join(argv), pid)

    def exec(self, command, timeout=60, check=True, stdin=None):
        """Runs a command to its end. Returns its Result; with check, a code other than 0 raises CommandFailed."""
        try:
            result = self.spawn(command, stdin).wait(timeout)
        except GuestGone:
            self._check_alive()
            raise
        return result.check() if check else result

    def sh(self, command, timeout=60):
        """Runs a command that must succeed and returns what it printed, without the last line's end."""
        return self.exec(command, timeout).out.rstrip("\n")

    def put(self, source, target):
        """Copies a file of the host into the guest, mode included."""
        name = f".put-{time.monotonic_ns()}"
        shutil.copy2(source, self.folder / "share" / name)
        self.exec(["mv", f"/mnt/share/{name}", str(target)])

    def get(self, source, target):
        """Copies a file of the guest to the host."""
        name = f".get-{time.monotonic_ns()}"
        self.exec(["cp", str(source), f"/mnt/share/{name}"])
        shutil.move(self.folder / "share" / name, target)

    # --- drives --------------------------------------------------------------------------------------------

    @staticmethod
    def serial(n):
        return f"pav-drive-{n:02d}"

    def drive_file(self, n):
        """The file on the host that holds drive n's bytes."""
        folder = self.folder.resolve()
        return (folder.parent / self.spec.drives_of if self.spec.drives_of else folder) / "drives" / f"{n:02d}.raw"

    def drive_names(self):
        """The guest's names of its drives: {drive number: "nvme3n1"}. Those that it does not see are missing."""
        out = self.sh("for d in /sys/class/nvme/nvme*; do [ -e $d/serial ] || continue; read -r s < $d/serial; "
                      "for n in $d/nvme*n*; do [ -e $n/size ] && echo $s ${n##*/}; done; done; true")
        names = {}
        for line in out.splitlines():
            serial, name = line.split()
            if serial.startswith("pav-drive-"):
                names[int(serial[10:])] = re.sub(r"c\d+n", "n", name)
        return names

    def qmp(self):
        return Qmp(self.folder / "qmp")

    def pull_drive(self, n, timeout=20):
        """Tears drive n out of its slot: the guest is not asked, and I/O in flight is lost.

        QEMU empties at once a slot whose power is switched off. That is written into the root port's slot control
        behind the back of the guest's hot-plug driver, while all of the guest stands still: QEMU crashes when a
        CPU rings the doorbell of a drive it is taking apart, or a request ends after that. The second write turns
        power and the interrupt on again, so that the driver finds a powered slot that has lost its card.
        """
        self._check_drive(n, out=False)
        with self.qmp() as q, self._standstill(q):
            control = SlotControl(q, n)
            before = control.read()
            control.write(before & ~HOT_PLUG_INTERRUPT | POWER_OFF | LIGHT_OFF)
            control.write(before)
            if not q.wait_event("DEVICE_DELETED", patience(timeout), device=f"nvme{n}"):
                raise GuestError(f"drive {n} of {self.spec.name} did not leave its slot in {timeout} s")
        self._out_mark(n).touch()

    @staticmethod
    @contextlib.contextmanager
    def _standstill(q):
        """Stops the guest's CPUs and waits for its disk I/O to end; lets it go on at the end."""
        q.command("stop")
        try:
            yield
        finally:
            q.command("cont")

    def _check_drive(self, n, out):
        if not 0 <= n < self.spec.drives:
            raise GuestError(f"{self.spec.name} has no drive {n}; it has {self.spec.drives}, the first is 0")
        if self._out_mark(n).exists() != out:
            raise GuestError(f"drive {n} of {self.spec.name} is {'in' if out else 'out of'} its slot already")

    def _check_hotplug(self):
        """The guest itself rearranges QEMU's memory map when a drive comes or goes in good order."""
        if self.spec.parallel and self.accel != "kvm":
            raise GuestError(f"{self.spec.name} has parallel emulated CPUs, under whose feet QEMU 7.2 cannot change its "
                             "memory map; remedy: a Spec with parallel=False")

    def eject_drive(self, n, timeout=40):
        """Takes drive n out as an administrator does, who presses the slot's button and waits for its light."""
        self._check_hotplug()
        self._check_drive(n, out=False)
        with self.qmp() as q:
            q.command("device_del", id=f"nvme{n}")
            if not q.wait_event("DEVICE_DELETED", patience(timeout), device=f"nvme{n}"):
                raise GuestError(f"{self.spec.name} did not let go of drive {n} in {timeout} s")
        self._out_mark(n).touch()

    def insert_drive(self, n, timeout=60, blank=False):
        """Puts drive n back into its slot (blank: a new, empty one) and waits until the guest sees it.

        The guest keeps an emptied slot powered for a second; a drive put in while it then switches power and light
        off would be unplugged again, so that is waited for first.
        """
        self._check_hotplug()
        self._check_drive(n, out=True)
        timeout = round(patience(timeout))
        deadline = time.monotonic() + timeout
        if blank:
            self.blank_drive(n)
        with self.qmp() as q:
            while SlotControl(q, n).read() & (POWER_OFF | LIGHT_OFF) != POWER_OFF | LIGHT_OFF:
                if time.monotonic() > deadline:
                    raise GuestError(f"{self.spec.name} has not switched off the slot of drive {n} in {timeout} s")
                time.sleep(0.2)
            with self._standstill(q):
                q.command("device_add", **self._drive(n))
        self._out_mark(n).unlink()
        while n not in self.drive_names():
            if time.monotonic() > deadline:
                raise GuestError(f"{self.spec.name} does not see drive {n} {timeout} s after it was put in")
            time.sleep(0.3)

    def stall_drive(self, n, stalled=True):
        """From now on drive n takes commands and does not answer (but for one more, perhaps); stalled=False: it answers again, first to what waits."""
        self._check_drive(n, out=False)
        rates = dict.fromkeys(("bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"), 0)
        with self.qmp() as q:
            q.command("block_set_io_throttle", id=f"nvme{n}", **{**rates, "bps": int(stalled)})

    def blank_drive(self, n):
        """Makes drive n read as zeroes, from outside. It must not be in use; the guest need not run."""
        subprocess.run(["fallocate", "--punch-hole", "--offset", "0", "--length", str(self.spec.drive_mib << 20),
                        self.drive_file(n)], check=True)

    # --- links ---------------------------------------------------------------------------------------------

    def address(self, link):
        return f"10.70.{link}.{self.spec.addr}"

    def set_link(self, link, up):
        with self.qmp() as q:
            q.command("set_link", name=f"nic{link}", up=up)

    def cut_link(self, link):
        """Pulls the cable at this guest's end: it sees the carrier go, the other end only silence."""
        self.set_link(link, False)

    def restore_link(self, link):
        self.set_link(link, True)

    # --- what it said --------------------------------------------------------------------------------------

    def console(self):
        """Everything the guest's kernel and init have printed since the first boot."""
        try:
            return (self.folder / "console.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def console_mark(self):
        """A position in the console, for trouble(since)."""
        try:
            return (self.folder / "console.log").stat().st_size
        except FileNotFoundError:
            return 0

    def console_tail(self, lines, since=0):
        """The console's last lines after a mark."""
        try:
            with open(self.folder / "console.log", "rb") as f:
                f.seek(max(since, self.console_mark() - 64 * 1024))
                return f.read().decode(errors="replace").splitlines()[-lines:]
        except FileNotFoundError:
            return []

    def trouble(self, since=0):
        """Lines of the console that tell of a kernel in trouble."""
        for _ in range(50):
            try:
                with open(self.folder / "console.log", "rb") as f:
                    f.seek(since)
                    text = f.read().decode(errors="replace")
            except FileNotFoundError:
                return []
            if not is_unfinished(text):
                break
            time.sleep(0.2)
        return [line for line in without_nvme_circle(text).splitlines() if TROUBLE.search(line)]

    def assert_clean(self, since=0):
        found = self.trouble(since)
        assert not found, f"{self.spec.name}: kernel messages in {self.folder / 'console.log'}:\n" + "\n".join(found[:20])

    def save_dmesg(self):
        """Keeps the kernel's own log beside the console; not an error when the guest is gone."""
        try:
            (self.folder / "dmesg.txt").write_text(self.sh("dmesg", timeout=20) + "\n")
        except GuestError:
            pass
