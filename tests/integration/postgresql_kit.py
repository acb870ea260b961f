"""What the tests of the PostgreSQL destination share: rows by hand, and a proxy.

Rows are packed here with ``struct`` and not by the core, so that these tests speak of
the destination alone.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import psycopg

from cartridge_warp.config import DestinationSettings, SchemaSettings
from cartridge_warp.model import (
    Batch,
    Column,
    Position,
    SourceIdentity,
    Table,
    TableChanges,
)
from cartridge_warp.postgresql.destination import PostgresDestination
from cwarp_core import Drift, EncodedBatch, Reject

#: When a chunk was read.
READ = 1 << 32 | 5

META = "cartridge_warp_metadata"
IDENTITY = SourceIdentity("rs-a", "6.0.5")

TABLE = Table(
    schema="shop",
    name="orders",
    collection="orders",
    key="string",
    columns=(
        Column("n", ("n",), "bigint", "long"),
        Column("note", ("note",), "text", "string"),
    ),
)


def make(
    uri: str, schema: str = "shop", database: str = "shop", meta: str = META
) -> PostgresDestination:
    """A destination that is not open yet."""
    return PostgresDestination(
        DestinationSettings(connection_string=uri, metadata_schema=meta),
        SchemaSettings(name=schema, database=database),
    )


@contextmanager
def opened(uri: str, *tables: Table, lanes: int = 1) -> Iterator[PostgresDestination]:
    """An owner of ``shop`` with these tables, at position 1 if it was new.

    A former owner is fenced at once, as if it had been silent for long.
    """
    destination = make(uri)
    try:
        silence(uri)
        if not destination.open(IDENTITY):
            destination.begin(position(1), lanes)
        for table in tables:
            destination.ensure(table)
        yield destination
    finally:
        destination.close()


def silence(uri: str) -> None:
    """Make the sign of life of every owner an old one."""
    if fetch(uri, "SELECT to_regclass(%s)", f"{META}.schema_leases") != [(None,)]:
        fetch(
            uri,
            f"UPDATE {META}.schema_leases SET heartbeat_at = now() - '6s'::interval",
        )


def apply(owner: PostgresDestination, batch: Batch) -> Mapping[str, Sequence[Reject]]:
    """Commit a batch on a connection of its own."""
    applier = owner.applier()
    try:
        return applier.commit(batch)
    finally:
        applier.close()


def position(second: int) -> Position:
    return Position(b"token-%d" % second, second << 32 | 1)


def row(*cells: bytes | None) -> bytes:
    """One row in COPY BINARY form."""
    packed = struct.pack("!h", len(cells))
    for cell in cells:
        packed += struct.pack("!i", -1 if cell is None else len(cell)) + (cell or b"")
    return packed


def order(key: str, n: int, note: str | None = None) -> bytes:
    """A row of ``TABLE``: key, n, note, source time, extra."""
    text = None if note is None else note.encode()
    return row(key.encode(), struct.pack("!q", n), text, None, None)


def encoded(
    rows: Sequence[bytes] = (),
    rejects: Sequence[Reject] = (),
    drift: Sequence[Drift] = (),
) -> EncodedBatch:
    """What an encoder would give."""
    return EncodedBatch(
        payload=b"".join(rows),
        rows=len(rows),
        documents=len(rows) + len(rejects),
        rejects=tuple(rejects),
        drift=tuple(drift),
        rescued=sum(each.count for each in drift),
        duplicate_keys=0,
    )


def upserts(*rows: bytes, table: Table = TABLE) -> TableChanges:
    return TableChanges(table, upserts=(encoded(rows),), events=len(rows))


def fetch(uri: str, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    """What another session sees."""
    with psycopg.connect(uri, autocommit=True) as connection:
        cursor = connection.execute(query.encode(), parameters)
        return cursor.fetchall() if cursor.description else []


def orders(uri: str) -> list[tuple[Any, ...]]:
    return fetch(uri, "SELECT _id, n, note FROM shop.orders ORDER BY _id")


def marker(uri: str) -> tuple[Any, ...]:
    """epoch, seq, token of ``shop``."""
    query = f"SELECT epoch, seq, resume_token FROM {META}.sync_markers"
    return fetch(uri, query)[0]


def end_backends(uri: str, role: str) -> int:
    """Terminate the destination's backends of a role, "stream" or "copy"."""
    return len(
        fetch(
            uri,
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name LIKE %s AND datname = current_database()",
            f"cartridge-warp {role} %",
        )
    )


class CommitCutter:
    """A TCP proxy that cuts one connection when its client sends COMMIT.

    cut: "before" the server gets it, or "after" the server has answered it; the client
    hears nothing either way. down: new connections are closed at once; so they are
    after a cut with ``down_after``.
    """

    def __init__(self, uri: str) -> None:
        parts = urlsplit(uri)
        self._server = (parts.hostname or "", parts.port or 5432)
        self._listener = socket.create_server(("127.0.0.1", 0))
        login, at, _ = parts.netloc.rpartition("@")
        port = self._listener.getsockname()[1]
        self.uri = parts._replace(netloc=f"{login}{at}127.0.0.1:{port}").geturl()
        self.cut: str | None = None
        self.down = False
        self.down_after = False
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def close(self) -> None:
        _shut(self._listener, *self._sockets)
        for thread in self._threads:
            thread.join(10)

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.down:
                    client.close()
                    continue
                server = socket.create_connection(self._server)
                self._sockets += [client, server]
                muted, answered = threading.Event(), threading.Event()
                self._start(self._up, client, server, muted, answered)
                self._start(self._down, client, server, muted, answered)

    def _up(
        self,
        client: socket.socket,
        server: socket.socket,
        muted: threading.Event,
        answered: threading.Event,
    ) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                if self.cut and data.startswith(b"Q") and data.endswith(b"COMMIT\0"):
                    where, self.cut, self.down = self.cut, None, self.down_after
                    muted.set()
                    if where == "after":
                        server.sendall(data)
                        answered.wait(10)
                    break
                server.sendall(data)
        _shut(client, server)

    def _down(
        self,
        client: socket.socket,
        server: socket.socket,
        muted: threading.Event,
        answered: threading.Event,
    ) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                if muted.is_set():
                    answered.set()
                else:
                    client.sendall(data)
        _shut(client, server)


def _shut(*sockets: socket.socket) -> None:
    for each in sockets:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()
