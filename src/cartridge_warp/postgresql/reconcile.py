"""A chunk of a resync: what was read meets what is there, and no more is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from psycopg import Cursor, sql
from psycopg.rows import TupleRow

from cwarp_core import EncodedBatch, KeyKindError, Reject, Reply, key_text

from ..killpoint import reached
from ..metadata import letters
from ..metadata.letters import Letter
from ..model import ChunkRange, Table
from . import deletes, merge
from .careful import Part, attempt, bring_in, check_at_once, documents_of
from .staging import Staging
from .straight import Outcome
from .upsert import Upserter

#: Rows of no document are deleted so many at a time.
_SURPLUS = 5_000

#: Staging has no statistics, and a plan that rests on a guess may take minutes. Rows
#: of no document are found by a hash or in order; a staged row finds its own by the
#: key's index, in the order in which they were read, without memory or a lock.
_TO_FIND_SURPLUS = "SET LOCAL jit = off; SET LOCAL enable_nestloop = off"
_TO_FIND_BY_KEY = """
SET LOCAL enable_nestloop = on;
SET LOCAL enable_hashjoin = off;
SET LOCAL enable_mergejoin = off
"""
_AS_EVER = "SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on"


class Reconciled:
    """The rows of a chunk in staging, and then the difference. See ``straight.Way``.

    meta: the metadata schema's name.  pending: the table may have dead letters.
    """

    refuses = True

    def __init__(
        self,
        cur: Cursor[TupleRow],
        meta: str,
        table: Table,
        staging: Staging,
        *,
        pending: bool,
    ) -> None:
        self._cur = cur
        self._meta = meta
        self._table = table
        self._pending = pending
        self._stale: set[str] = set()
        self._copy = staging.open(cur, table)

    def write(self, batch: EncodedBatch) -> list[Letter]:
        self._copy.send(batch.payload)
        self._stale |= _keys_of(batch.rejects, self._table)
        return []

    def finish(self, within: ChunkRange | None) -> Outcome:
        """Rows of no document go first: a row may take what one of them has."""
        cur, table = self._cur, self._table
        self._copy.finish()
        cur.execute(_TO_FIND_SURPLUS)
        removed = 0
        for keys in _surplus(cur, table, within, merge.staging_name(table)):
            gone = [key for key in keys if key not in self._stale]
            deletes.delete(cur, self._meta, table, gone, ())
            deletes.outdate(cur, table, sorted(self._stale.intersection(keys)))
            removed += len(keys)
        reached("resync_sweep")
        cur.execute(_TO_FIND_BY_KEY)
        written = cur.execute(merge.reconcile(table)).rowcount
        cur.execute(_AS_EVER)
        if self._pending:
            letters.resolve(cur, self._meta, table, merge.staged_keys(table))
        return Outcome(written, removed)

    def cancel(self) -> None:
        self._copy.cancel()


class CarefullyReconciled:
    """Around the rows that PostgreSQL refuses. See ``straight.Way``.

    Rows come in as they are written. Those that were refused are tried once more when
    the rows of no document, which may stand in their way, are gone.
    """

    refuses = False

    def __init__(
        self,
        cur: Cursor[TupleRow],
        meta: str,
        table: Table,
        upserter: Upserter,
        *,
        pending: bool,
    ) -> None:
        self._cur = cur
        self._meta = meta
        self._table = table
        self._upserter = upserter
        self._pending = pending
        self._stale: set[str] = set()
        self._parts: list[Part] = []
        self._written = 0
        check_at_once(cur)
        cur.execute(merge.create_brought(table))

    def write(self, batch: EncodedBatch) -> list[Letter]:
        self._stale |= _keys_of(batch.rejects, self._table)
        documents = Reply.of_documents(documents_of(batch))
        elements = map(documents.key, range(len(documents)))
        texts = [key_text(each, self._table.key) for each in elements if each]
        self._cur.execute(merge.note_brought(self._table), (texts,))
        part = Part(self._cur, self._table, batch, self._bring)
        part.bring_in()
        if part.refused_keys:
            self._parts.append(part)
        return []

    def _bring(self, rows: EncodedBatch) -> None:
        self._written += self._upserter.bring(
            self._cur,
            self._table,
            [rows],
            guarded=True,
            pending=self._pending,
            last=False,
        )

    def finish(self, within: ChunkRange | None) -> Outcome:
        cur, table = self._cur, self._table
        cur.execute(_TO_FIND_SURPLUS)
        portions = list(_surplus(cur, table, within, merge.brought_name(table)))
        gone = []
        for keys in portions:
            here = [key for key in keys if key not in self._stale]
            work = partial(deletes.delete, cur, self._meta, table, here, ())
            gone.append((table, work))
            for key in self._stale.intersection(keys):
                # One that others refer to has to stay.
                attempt(cur, partial(deletes.outdate, cur, table, [key]))
        refused = bring_in(cur, self._parts, gone, partial(deletes.outdate, cur))
        reached("resync_sweep")
        return Outcome(
            self._written,
            sum(map(len, portions)),
            tuple(letter for made in refused for letter in made),
        )

    def cancel(self) -> None:
        """Nothing is open."""


def _surplus(
    cur: Cursor[TupleRow],
    table: Table,
    within: ChunkRange | None,
    brought: sql.Composable,
) -> Iterator[list[str]]:
    """The key texts of the range's rows that were not brought in, in portions."""
    if within is None:
        return
    query, parameters = merge.surplus(table, within, brought)
    declare = sql.SQL("DECLARE cwarp_surplus NO SCROLL CURSOR FOR ")
    cur.execute(declare + query, parameters)
    fetch = sql.SQL("FETCH FORWARD {} FROM cwarp_surplus").format(sql.Literal(_SURPLUS))
    while rows := cur.execute(fetch).fetchall():
        yield [key for (key,) in rows]
    cur.execute("CLOSE cwarp_surplus")


def _keys_of(rejects: Sequence[Reject], table: Table) -> set[str]:
    """The key texts of rejected documents, which may have had a row."""
    keys: set[str] = set()
    sound = [each.document for each in rejects if each.key is not None]
    documents = Reply.of_documents(sound)
    for element in map(documents.key, range(len(documents))):
        if element is not None:
            try:
                keys.add(key_text(element, table.key))
            except KeyKindError:
                continue
    return keys
