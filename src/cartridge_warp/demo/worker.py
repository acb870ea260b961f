"""The sync that the demo shows: the same command a person would type, as a process."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, Self

import psycopg
from bson import Timestamp
from psycopg import sql

from ..embedded.process import Guarded, guarded, last_lines
from ..errors import WarpError

METADATA = "cartridge_warp_metadata"
_POLL_SECONDS = 0.1


class Worker:
    """``cwarp sync SRC DST``, started, killed and started again. A context manager."""

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        self._command = [sys.executable, "-m", "cartridge_warp", "sync", *arguments]
        self._log = log
        self._stack = ExitStack()
        self._process: Guarded | None = None

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    def start(self) -> None:
        self._process = self._stack.enter_context(
            guarded(self._command, log=self._log, stop=signal.SIGTERM)
        )

    def kill(self) -> None:
        """SIGKILL: no handler, no drain, no farewell."""
        if self._process:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def stop(self) -> None:
        """SIGTERM, and wait until it has drained."""
        self._stack.close()
        self._process = None

    def check(self) -> None:
        """Raise WarpError with its last words when it has ended by itself."""
        if self._process and (code := self._process.exit_code()) is not None:
            raise WarpError(
                f"the sync ended by itself with {code}: {last_lines(self._log)}"
            )

    def pause(self) -> None:
        """Let a moment pass. Raises as ``check``."""
        self.check()
        time.sleep(_POLL_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


class Progress(NamedTuple):
    """What the destination's own tables say. passed: the marker is past the time."""

    tables: int
    complete: bool
    copied: int
    applied: int
    passed: bool


def progress(
    connection: psycopg.Connection, schema: str, until: Timestamp | None = None
) -> Progress:
    """As any other session sees it, committed."""
    time_ = 0 if until is None else (until.time << 32) | until.inc
    names = [
        sql.Identifier(METADATA, table)
        for table in ("table_state", "snapshot_chunks", "sync_markers")
    ]
    query = sql.SQL(
        "SELECT count(*), coalesce(bool_and(planned), false) AND NOT EXISTS"
        " (SELECT 1 FROM {1} WHERE schema_name = %(schema)s AND state <> 'done'),"
        " coalesce(sum(copied), 0)::bigint, coalesce(sum(applied), 0)::bigint,"
        " coalesce((SELECT cluster_time >= %(time)s FROM {2}"
        " WHERE schema_name = %(schema)s LIMIT 1), false)"
        " FROM {0} WHERE schema_name = %(schema)s"
    ).format(*names)
    try:
        row = connection.execute(query, {"schema": schema, "time": time_}).fetchone()
    except psycopg.errors.UndefinedTable:
        # The sync has not made its tables yet.
        return Progress(0, False, 0, 0, False)
    return Progress(*row) if row else Progress(0, False, 0, 0, False)
