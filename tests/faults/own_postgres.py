"""A PostgreSQL of a test's own, that it may stop, kill, freeze and start again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

import psycopg
from psycopg import sql

from cartridge_warp import embedded
from cartridge_warp.errors import PreconditionError
from kit import MakeScene, Scene

_PATIENCE = 60.0

#: Whom the syncs are there: no superuser, owner of what it makes.
ROLE = "worker"

_DATABASE = "stage"

#: What a sync's backends are called.
_OURS = "application_name LIKE 'cartridge-warp%'"


class OwnPostgres:
    """Runs within the block, on one port and one directory for all its lives.

    uri: of a fresh database that ROLE may create schemas in, for its superuser.
    """

    def __init__(self, *extra_args: str) -> None:
        self._extra_args = extra_args
        self._directory = Path(tempfile.mkdtemp(prefix="cwarp-"))
        # It runs as another user where we are root, who has to pass through.
        self._directory.chmod(0o711)
        self._life = ExitStack()
        self._server: embedded.PostgresServer | None = None
        self._port: int | None = None
        self.uri = ""

    def __enter__(self) -> Self:
        try:
            self.start()
            self.uri = embedded.with_database(self.server.uri, _DATABASE)
            self._administer(f"CREATE ROLE {ROLE} LOGIN")
            self.reset()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.thaw()
        self._life.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def server(self) -> embedded.PostgresServer:
        assert self._server is not None
        return self._server

    @property
    def pid(self) -> int:
        assert self.server.pid is not None
        return self.server.pid

    def reset(self) -> None:
        """A fresh database; the role has no settings of its own any more."""
        self._administer(
            f"DROP DATABASE IF EXISTS {_DATABASE} WITH (FORCE)",
            "DROP TABLESPACE IF EXISTS elsewhere",
            f"ALTER ROLE {ROLE} RESET ALL",
            f"CREATE DATABASE {_DATABASE}",
            f"GRANT CREATE ON DATABASE {_DATABASE} TO {ROLE}",
        )

    @contextmanager
    def stored_in(self, place: Path) -> Iterator[None]:
        """The database lies in this directory within the block, and ends with it.

        Its write-ahead log stays where it was.
        """
        self._administer(
            f"CREATE TABLESPACE elsewhere LOCATION '{place}'",
            f"ALTER DATABASE {_DATABASE} SET TABLESPACE elsewhere",
        )
        try:
            yield
        finally:
            self.reset()

    def start(self) -> None:
        """The first time, or again after ``crash`` or ``kill``."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self._server = self._life.enter_context(
                    embedded.postgres(
                        self._directory,
                        port=self._port,
                        fsync=False,
                        extra_args=self._extra_args,
                    )
                )
            except PreconditionError:
                # Backends of a postmaster that was killed take a moment to notice, and
                # as long as one lives the data is not given to another.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                self._port = self._server.port
                return

    def crash(self) -> None:
        """As ``pg_ctl stop -m immediate``."""
        self._end(signal.SIGQUIT)

    def kill(self) -> None:
        """``kill -9`` of the postmaster."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Every process of the server stands still; the kernel still takes bytes."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def run(self, statement: str) -> list[tuple[object, ...]]:
        """As superuser, in a transaction of its own."""
        with psycopg.connect(self.uri, autocommit=True) as connection:
            cur = connection.execute(statement.encode())
            return cur.fetchall() if cur.description else []

    def terminate(self) -> int:
        """``pg_terminate_backend`` of every backend of a sync; how many there were."""
        return len(
            self.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE " + _OURS
            )
        )

    @contextmanager
    def locked(self, schema: str, table: str) -> Iterator[None]:
        """ACCESS EXCLUSIVE on a table within the block."""
        with psycopg.connect(self.uri) as connection:
            name = sql.Identifier(schema, table)
            connection.execute(
                sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(name)
            )
            yield
            connection.rollback()

    def _administer(self, *statements: str) -> None:
        with psycopg.connect(self.server.uri, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def _end(self, number: signal.Signals) -> None:
        pid = self.pid
        os.kill(pid, number)
        # The guard ends with the server; leaving the context waits for it.
        self._life.close()
        self._server = None
        deadline = time.monotonic() + _PATIENCE
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
            time.sleep(0.02)

    def _signal(self, number: signal.Signals) -> None:
        if self._server is None:
            return
        # The postmaster first: one that stands still makes no more backends.
        os.kill(self.pid, number)
        for pid in children(self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def children(pid: int) -> list[int]:
    """The processes whose parent this one is."""
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)],
        capture_output=True,
        text=True,
        check=False,
    )
    return [int(number) for number in found.stdout.split()]


def on_own(make_scene: MakeScene, server: OwnPostgres) -> Scene:
    """A scene on that server, whose syncs are a role that is no superuser."""
    scene = make_scene(server.uri)
    scene.as_role(ROLE)
    return scene
