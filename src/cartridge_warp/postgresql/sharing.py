"""An owner's side of a copy that other processes help with."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from psycopg import Cursor
from psycopg.rows import TupleRow

from ..metadata import chunks, lease, store, workers
from ..model import Chunk, Table
from .connection import Link, application_name
from .instance import Instance
from .tenure import Tenure

#: How long it waits for a worker that is dying.
_LOCK_MS = 2_000


def role(worker: int) -> str:
    """What ``application_name`` calls a worker's connection."""
    return f"worker-{worker}"


class PostgresSharing:
    """See ``powers.Sharing``.

    link: used by a thread at a time, which has its lock.
    """

    def __init__(self, tenure: Tenure, link: Link, lock: threading.Lock) -> None:
        self._own = tenure
        self._link = link
        self._lock = lock

    def asking(self) -> Sequence[str]:
        own = self._own
        with self._transaction() as cur:
            found = workers.asking(cur, own.meta, own.schema, own.epoch)
        return [_label(each) for each in found]

    def admit(self) -> None:
        own = self._own
        with self._transaction() as cur:
            store.check_owner(cur, own.meta, own.schema, own.epoch)
            workers.admit(cur, own.meta, own.schema, own.epoch)

    def release(self) -> Sequence[str]:
        own = self._own
        with self._transaction() as cur:
            silent = workers.silent(cur, own.meta, own.schema, own.epoch)
            if silent:
                numbers = [number for number, _ in silent]
                # What they have inserted would keep whoever copies it again waiting.
                names = [application_name(role(each), own.schema) for each in numbers]
                lease.end_former(cur, names)
                store.check_owner(cur, own.meta, own.schema, own.epoch)
                workers.remove(cur, own.meta, own.schema, own.epoch, numbers)
        return sorted({_label(instance) for _, instance in silent})

    def standing(self, table: Table, numbers: Sequence[int]) -> Sequence[Chunk]:
        own = self._own
        with self._transaction() as cur:
            found = chunks.standing(cur, own.meta, own.schema, table.name, numbers)
        if any(letters for _, letters in found):
            # Before the stream applies an event of theirs.
            own.letters.add(table.name)
        return [chunk for chunk, _ in found]

    @contextmanager
    def _transaction(self) -> Iterator[Cursor[TupleRow]]:
        with self._lock, self._link.transaction(lock_ms=_LOCK_MS) as cur:
            yield cur


def _label(instance: str) -> str:
    found = Instance.parse(instance)
    return instance if found is None else found.label
