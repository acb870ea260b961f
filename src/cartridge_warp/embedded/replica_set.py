"""A replica set of several mongods, whose members can be stopped and killed."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymongo
from pymongo.errors import PyMongoError

from ..errors import PreconditionError
from .binaries import find_mongod
from .process import Guarded, free_port, guarded, home_of, last_lines, listens

_READY_SECONDS = 60.0
_POLL_SECONDS = 0.05

#: How long the others wait for a primary that says nothing, in milliseconds.
_ELECTION_MS = 1000

Client = pymongo.MongoClient[dict[str, Any]]


class Member:
    """One mongod of a set. Its data outlives its process."""

    def __init__(self, number: int, home: Path, binary: Path) -> None:
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self._log = home / f"mongod-{number}.log"
        data = home / f"data-{number}"
        data.mkdir(parents=True)
        self._command = [
            *(str(binary), "--dbpath", str(data), "--port", str(self.port)),
            *("--replSet", "rs0", "--bind_ip", "127.0.0.1", "--nounixsocket"),
            *("--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "64", "--quiet"),
            *("--setParameter", "diagnosticDataCollectionEnabled=false"),
            *("--setParameter", "enableTestCommands=1"),
            *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100"),
        ]
        self.paused = False
        self._process: Guarded | None = None
        self._running = contextlib.ExitStack()

    def start(self) -> None:
        """Raises PreconditionError when it does not come up."""
        self._process = self._running.enter_context(
            guarded(self._command, log=self._log, stop=signal.SIGTERM)
        )
        deadline = time.monotonic() + _READY_SECONDS
        while not listens(self.port):
            if time.monotonic() > deadline or self._process.exit_code() is not None:
                raise PreconditionError(f"mongod: {last_lines(self._log)}")
            time.sleep(_POLL_SECONDS)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
        self.stop()

    def pause(self) -> None:
        """SIGSTOP: its connections stay, and it says nothing."""
        self.paused = True
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT, after ``pause``."""
        self._signal(signal.SIGCONT)
        self.paused = False

    def stop(self) -> None:
        """Let it end by itself; nothing when it does not run."""
        self.resume()
        self._process = None
        self._running.close()

    def client(self) -> Client:
        """A connection to this member alone."""
        return Client(
            "127.0.0.1",
            self.port,
            directConnection=True,
            serverSelectionTimeoutMS=2000,
            connectTimeoutMS=2000,
        )

    def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        """Its reply to a command on ``admin``. Raises the driver's errors."""
        with self.client() as client:
            return client.admin.command(command)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.exit_code() is None:
            os.kill(self._process.pid, number)


class ReplicaSet:
    """Its members, and who of them leads. ``uri`` names all of them."""

    def __init__(self, members: list[Member]) -> None:
        self.members = members
        hosts = ",".join(each.host for each in members)
        self.uri = f"mongodb://{hosts}/?replicaSet=rs0"

    def primary(self) -> Member:
        """The member that leads, waiting for an election if there has to be one.

        A set that is cut in two can have two for some seconds: the one of the newest
        election is meant. Raises PreconditionError after a minute without one.
        """
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            leading = [
                (hello["electionId"], number)
                for number, hello in enumerate(map(_hello, self.members))
                if hello.get("isWritablePrimary")
            ]
            if leading:
                return self.members[max(leading)[1]]
            time.sleep(_POLL_SECONDS)
        raise PreconditionError("the replica set has no primary")

    def secondaries(self) -> list[Member]:
        """Every member but the primary, whatever its state."""
        leader = self.primary()
        return [each for each in self.members if each is not leader]


@contextmanager
def replica_set(
    directory: Path | None = None,
    *,
    members: int = 3,
    hide_installed: bool | None = None,
) -> Iterator[ReplicaSet]:
    """A set with a primary, test commands allowed, until the block ends.

    As ``mongod``, and never the server of CWARP_TEST_MONGODB_URI, whose members are
    not ours to kill. Elections take about a second.
    """
    binary = find_mongod(hide_installed)
    with home_of(directory) as (home, _), contextlib.ExitStack() as ended:
        made = [Member(number, home, binary) for number in range(members)]
        for member in made:
            ended.callback(member.stop)
            member.start()
        config = {
            "_id": "rs0",
            "members": [{"_id": n, "host": each.host} for n, each in enumerate(made)],
            "settings": {"electionTimeoutMillis": _ELECTION_MS},
        }
        made[0].ask({"replSetInitiate": config})
        found = ReplicaSet(made)
        _wait_until_whole(found)
        yield found


def _wait_until_whole(found: ReplicaSet) -> None:
    """Every member follows; before that a first fault is an outage of the whole."""
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        states = [_hello(each) for each in found.members]
        if sorted(map(_role, states)) == [
            "primary",
            *["secondary"] * (len(states) - 1),
        ]:
            return
        time.sleep(_POLL_SECONDS)
    raise PreconditionError("a member of the replica set does not come up")


def _role(hello: dict[str, Any]) -> str:
    if hello.get("isWritablePrimary"):
        return "primary"
    return "secondary" if hello.get("secondary") else ""


def _hello(member: Member) -> dict[str, Any]:
    """What it says of itself; nothing when it cannot be asked."""
    if member.paused:
        return {}
    try:
        return member.ask({"hello": 1})
    except PyMongoError:
        return {}
