"""COPY ... FROM STDIN that sends what it is given.

psycopg's own writer, in releases before 3.3.9, never flushes inside COPY: libpq's
buffer grows to the whole copy and a core burns while the socket has room. Here every
piece is flushed before the next, waiting for the socket where the server is slower.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress

import psycopg
from psycopg import Cursor, sql
from psycopg.abc import Buffer, PQGen
from psycopg.copy import LibpqWriter
from psycopg.pq.abc import PGconn
from psycopg.rows import TupleRow
from psycopg.waiting import Wait

from cwarp_core import COPY_HEADER, COPY_TRAILER

#: Bytes handed to libpq at a time; its buffer never holds more than this for long.
PIECE_BYTES = 256 * 1024


class CopyIn:
    """A binary COPY into a table, open until ``finish`` or ``cancel``."""

    def __init__(
        self, cur: Cursor[TupleRow], statement: sql.SQL | sql.Composed
    ) -> None:
        self._stack = ExitStack()
        writer = _FlushingWriter(cur)
        self._copy = self._stack.enter_context(cur.copy(statement, writer=writer))
        self._copy.write(COPY_HEADER)

    def send(self, payload: bytes) -> None:
        """Send rows in COPY BINARY form; returns when the system has taken them."""
        self._copy.write(payload)

    def finish(self) -> None:
        """End the COPY. An error of its rows is raised here."""
        try:
            self._copy.write(COPY_TRAILER)
        except psycopg.Error as error:
            self._stack.__exit__(type(error), error, error.__traceback__)
            raise
        self._stack.close()

    def cancel(self) -> None:
        """Give the COPY up; its transaction is aborted by that."""
        reason = _Cancelled("cancelled")
        with suppress(_Cancelled, psycopg.Error):
            self._stack.__exit__(_Cancelled, reason, None)


def copy_in(
    cur: Cursor[TupleRow], statement: sql.SQL | sql.Composed, payload: bytes
) -> None:
    """All of a COPY at once; its error leaves none open."""
    copy = CopyIn(cur, statement)
    try:
        copy.send(payload)
        copy.finish()
    except BaseException:
        copy.cancel()
        raise


class _Cancelled(Exception):
    """Tells the driver to end a COPY with an error."""


class _FlushingWriter(LibpqWriter):
    def write(self, data: Buffer) -> None:
        view = memoryview(data)
        for start in range(0, len(view), PIECE_BYTES):
            piece = view[start : start + PIECE_BYTES]
            self.connection.wait(_send(self.connection.pgconn, piece))


def _send(pgconn: PGconn, piece: Buffer) -> PQGen[None]:
    """Hand libpq one piece, then wait until the socket has taken all of it."""
    queued = False
    while True:
        if not queued:
            queued = pgconn.put_copy_data(piece) == 1
        if pgconn.flush() == 0 and queued:
            return
        while not (yield Wait.W):
            continue
