"""Which process this is, and whether another one is dead for certain.

The names come from Linux's /proc. Elsewhere nobody is known to be dead.
"""

from __future__ import annotations

import os
import socket
import uuid
from pathlib import Path

import msgspec
from msgspec import Struct

_UNKNOWN = "-"


class Instance(Struct, frozen=True):
    """One owner: an object of a process.

    label: "host:pid", for people.  boot, namespace: the running kernel, and the part
    of it in which ``pid`` has its meaning.  started: the process's start, in clock
    ticks since that boot; a number is used again, the pair is not.  serial: tells
    owners of one process apart.
    """

    label: str
    boot: str
    namespace: str
    pid: int
    started: str
    serial: str

    @classmethod
    def of_this_process(cls) -> Instance:
        pid = os.getpid()
        host = "".join(socket.gethostname().split()) or _UNKNOWN
        return cls(
            label=f"{host}:{pid}",
            boot=_text(Path("/proc/sys/kernel/random/boot_id")),
            namespace=_namespace(),
            pid=pid,
            started=_started(pid) or _UNKNOWN,
            serial=uuid.uuid4().hex,
        )

    @property
    def text(self) -> str:
        """As it is stored."""
        return " ".join(map(str, msgspec.structs.astuple(self)))

    @classmethod
    def parse(cls, text: str) -> Instance | None:
        """None for a text of another form."""
        try:
            label, boot, namespace, pid, started, serial = text.split(" ")
            return cls(label, boot, namespace, int(pid), started, serial)
        except ValueError:
            return None

    def knows_dead(self, other: Instance) -> bool:
        """Is the process of ``other`` one that this one would see, and does not?"""
        here = self.boot, self.namespace
        if _UNKNOWN in (*here, other.started) or here != (other.boot, other.namespace):
            return False
        try:
            os.kill(other.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            # Another user's process: it is there, and may be hidden in /proc.
            pass
        started = _started(other.pid)
        return started is not None and started != other.started


def _started(pid: int) -> str | None:
    """The process's start, "" for one that has ended, None when it cannot be read."""
    stat = _text(Path(f"/proc/{pid}/stat"))
    if stat == _UNKNOWN:
        return None
    # proc_pid_stat(5): the name in parentheses may hold anything, even parentheses.
    fields = stat.rpartition(")")[2].split()
    state, started = fields[0], fields[19]
    return "" if state in "ZX" else started


def _text(file: Path) -> str:
    try:
        return file.read_text("ascii", errors="replace").strip() or _UNKNOWN
    except OSError:
        return _UNKNOWN


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return _UNKNOWN
