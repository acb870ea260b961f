"""Processes that end when this one does, whatever happens: each behind a guard."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import PreconditionError

_GUARD = str(Path(__file__).with_name("guard.py"))
_READY_SECONDS = 60.0
_POLL_SECONDS = 0.03
_GRACE_SECONDS = 10.0
_PORT_ATTEMPTS = 4


class User(NamedTuple):
    uid: int
    gid: int

    def options(self) -> dict[str, Any]:
        """Arguments for ``subprocess``."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def unprivileged() -> User | None:
    """Whom to run PostgreSQL as; None: as we are."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam("nobody")
    return User(entry.pw_uid, entry.pw_gid)


class Guarded:
    """A running process behind its guard. ``pid`` is the process's own, 0 for none."""

    def __init__(self, guard: subprocess.Popen[bytes], pid: int) -> None:
        self.pid = pid
        self._guard = guard

    def exit_code(self) -> int | None:
        """None while it runs; 128 + the signal's number when a signal ended it."""
        return self._guard.poll()

    def wait(self, seconds: float | None = None) -> int:
        """Its exit code. Raises subprocess.TimeoutExpired."""
        return self._guard.wait(seconds)


@contextmanager
def guarded(
    command: Sequence[str],
    *,
    log: Path,
    stop: signal.Signals,
    user: User | None = None,
    remove: Sequence[Path] = (),
    environ: Mapping[str, str] | None = None,
) -> Iterator[Guarded]:
    """Run a command until the block ends, or until this process does.

    log: where its stdout and stderr go.  stop: the signal that ends it; SIGKILL follows
    ten seconds later.  remove: directories to delete after a stop.  environ: instead of
    this process's environment.
    """
    spec = {
        "command": list(command),
        "log": str(log),
        "stop": int(stop),
        "grace": _GRACE_SECONDS,
        "user": user.uid if user else None,
        "group": user.gid if user else None,
        "remove": [str(path) for path in remove],
    }
    guard = subprocess.Popen(
        [sys.executable, "-I", "-S", _GUARD, json.dumps(spec)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        cwd="/",
        env=environ,
    )
    assert guard.stdin
    assert guard.stdout
    try:
        yield Guarded(guard, int(guard.stdout.readline() or 0))
    finally:
        guard.stdin.close()
        guard.wait()
        guard.stdout.close()


@contextmanager
def server(
    name: str,
    command: Callable[[int], list[str]],
    *,
    ready: Callable[[int], bool],
    port: int | None,
    log: Path,
    stop: signal.Signals,
    remove: Sequence[Path],
    user: User | None = None,
) -> Iterator[tuple[int, int]]:
    """Run a server; yield its pid and port once ``ready(port)`` says so.

    Raises PreconditionError with its last words when it does not start.
    """
    for _ in range(1 if port else _PORT_ATTEMPTS):
        number = port or free_port()
        with guarded(
            command(number), log=log, stop=stop, user=user, remove=remove
        ) as process:
            if _wait(process, ready, number):
                yield process.pid, number
                return
            port_was_lost = process.exit_code() is not None and listens(number)
        # Between free_port and the server another process may have taken the port.
        if not port_was_lost:
            break
    raise PreconditionError(f"{name} did not start: {last_lines(log)}")


def _wait(process: Guarded, ready: Callable[[int], bool], port: int) -> bool:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and process.exit_code() is None:
        if listens(port) and ready(port) and process.exit_code() is None:
            return True
        time.sleep(_POLL_SECONDS)
    return False


@contextmanager
def home_of(directory: Path | None) -> Iterator[tuple[Path, tuple[Path, ...]]]:
    """A server's directory, and what to delete after it."""
    if directory is not None:
        directory = directory.absolute()
        directory.mkdir(parents=True, exist_ok=True)
        yield directory, ()
        return
    temporary = Path(tempfile.mkdtemp(prefix="cwarp-"))
    try:
        # PostgreSQL as nobody must pass through; its own directory stays 0700.
        temporary.chmod(0o711)
        yield temporary, (temporary,)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Whether anybody does."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def last_lines(log: Path, count: int = 3) -> str:
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return "no log"
    return " | ".join(line[:400] for line in lines[-count:]) or "its log is empty"
