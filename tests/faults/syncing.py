"""One ``cwarp sync`` or ``worker`` process: started, watched, signalled, ended."""

from __future__ import annotations

import contextlib
import http.client
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import totals
from command import command, environment
from usage import MEBIBYTE, Usage, usage

#: How long an end may take that nothing hinders.
PATIENCE = 90.0


def free_port() -> int:
    """Below those that the system gives away, which a connection could have got before
    a server comes to it."""
    while True:
        port = 15_000 + secrets.randbelow(15_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Sync:
    """Runs from its construction on; ``end`` in any case.

    log: the file that takes its stderr and stdout.  program: instead of ``cwarp``.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        env: Mapping[str, str],
        log: Path,
        verb: str = "sync",
        program: Sequence[str] | None = None,
    ) -> None:
        self._log = log
        self._health, self._metrics = free_port(), free_port()
        ports = (
            f"--health-port={self._health}",
            f"--metrics-port={self._metrics}",
        )
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [*(program or command()), verb, *ports, *arguments],
                env=environment(env),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        #: Everything it answered, for whoever looks for secrets.
        self.answers: list[str] = []
        #: The most it was seen to have, and what it had before a fault.
        self.most = Usage()
        self.baseline: Usage | None = None
        self.frozen = False
        self._ended = False

    @property
    def pid(self) -> int:
        return self._process.pid

    def runs(self) -> bool:
        return self._process.poll() is None

    def look(self) -> Usage:
        """What it has now; nothing once it has ended."""
        now = usage(self.pid)
        self.most = self.most.most(now)
        return now

    def code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        self.look()
        code = self._process.poll()
        if code is not None and not self._ended:
            self._ended = True
            totals.count("exit codes", str(code))
            totals.most("most of a sync", "MiB", self.most.peak // MEBIBYTE)
            totals.most("most of a sync", "descriptors", self.most.descriptors)
            totals.most("most of a sync", "threads", self.most.threads)
            if code == -signal.SIGKILL:
                totals.count("kills", "kill -9")
        return code

    def wait(self, seconds: float = PATIENCE) -> int:
        """Its exit code. Fails when it does not come in time."""
        deadline = time.monotonic() + seconds
        while (code := self.code()) is None:
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"cwarp sync still runs after {seconds:.0f} s:\n{self.tail()}"
                )
            time.sleep(0.02)
        return code

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """``kill -9``, and see it gone."""
        self.signal(signal.SIGKILL)
        self.wait()

    def stop(self, seconds: float = PATIENCE) -> int:
        """SIGTERM, and its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def freeze(self) -> None:
        """SIGSTOP, and see every thread of it stand still, which takes a moment."""
        self.frozen = True
        self.signal(signal.SIGSTOP)
        deadline = time.monotonic() + PATIENCE
        while any(state not in "Tt" for state in self._states()):
            assert time.monotonic() < deadline, "it does not stand still"
            time.sleep(0.005)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)
        self.frozen = False

    def ask(self, path: str, *, seconds: float = 10.0) -> tuple[int, str]:
        """Status and body of a GET; (0, "") when nobody answers in time."""
        port = self._metrics if path == "/metrics" else self._health
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
        try:
            connection.request("GET", path)
            reply = connection.getresponse()
            body = reply.read().decode()
        except OSError:
            return 0, ""
        finally:
            connection.close()
        self.answers.append(body)
        return reply.status, body

    def ready(self, *, seconds: float = 10.0) -> bool:
        return self.ask("/ready", seconds=seconds)[0] == 200

    def log(self) -> str:
        return self._log.read_text("utf-8", errors="replace")

    def said(self) -> list[str]:
        """The ``error:`` and ``hint:`` lines it ended with."""
        return [
            line
            for line in self.log().splitlines()
            if line.startswith(("error: ", "hint: "))
        ]

    def tail(self, lines: int = 15) -> str:
        text = "\n".join(map(_shown, self.log().splitlines()[-lines:]))
        return f"[{self._log.name}, exit {self._process.poll()}]\n{text}"

    def _states(self) -> list[str]:
        """One letter a thread, as ``ps`` has them."""
        found = subprocess.run(
            ["ps", "-L", "-o", "state=", "-p", str(self.pid)],
            capture_output=True,
            text=True,
            check=True,
        )
        return found.stdout.split()

    def end(self) -> None:
        """Gone, whatever it is doing; a frozen one too."""
        if self._process.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            self._process.wait(PATIENCE)


def _shown(line: str) -> str:
    """A traceback in a log line says most at its end."""
    return line if len(line) < 2000 else f"{line[:300]} ... {line[-1500:]}"
