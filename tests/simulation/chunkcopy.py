"""``protocols.Copier`` over the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from cartridge_warp.errors import Fenced, OutcomeUnknown, RowsRefused
from cartridge_warp.model import Chunk, ChunkRange, ClusterTime, Committed, Table
from cwarp_core import EncodedBatch, Reject, compare_keys, key_text

from .store import StoredChunk, StoredTable
from .tablerows import Broken, Row, sifted
from .world import document_key

if TYPE_CHECKING:
    from .destination import SimulatedDestination


class SimulatedCopier:
    """One connection. A claim whose answer was lost is handed out by the next call,
    and a chunk that could not be handed back is, before the next claim."""

    def __init__(self, destination: SimulatedDestination) -> None:
        self.cut = False
        self.process = self._destination = destination
        self._claimed: StoredChunk | None = None
        self._claim: tuple[int, int] | None = None
        self._unanswered = False
        self._stored: StoredTable | None = None
        self._clear()

    def _clear(self) -> None:
        self._rows: list[tuple[str, Row]] = []
        self._rejects: list[Reject] = []
        self._refused: list[Reject] = []
        self._table: Table | None = None
        self._careful = False
        self._documents = 0
        self._read_time: ClusterTime = 0

    def claim(self, table: Table) -> Chunk | None:
        there = self._destination
        there.transaction("claim")
        there.check_owner()
        stored = there.stored(table)
        if not self._unanswered or stored is not self._stored:
            self._hand_back()
        if self._claimed is None:
            pending = [each for each in stored.chunks.values() if _is_pending(each)]
            if not pending:
                return None
            self._claims(stored, pending[0])
        assert self._claimed is not None
        self._unanswered = True
        there.gate.after(f"claim of chunk {self._claimed.chunk_id}")
        self._unanswered = False
        return public(self._claimed)

    def _claims(self, stored: StoredTable, chunk: StoredChunk) -> None:
        there = self._destination
        there.store.claims += 1
        chunk.state, chunk.worker = "copying", 0
        chunk.claim = self._claim = there.epoch, there.store.claims
        self._claimed, self._stored = chunk, stored

    def begin(
        self,
        chunk: Chunk,
        table: Table,
        read_time: ClusterTime,
        *,
        careful: bool = False,
    ) -> None:
        there = self._destination
        there.gate.before("copier.begin")
        if self._claimed is None or self._claimed.chunk_id != chunk.chunk_id:
            raise Broken("a chunk is begun that was not claimed")
        there.hold(self, table)
        self._table, self._read_time, self._careful = table, read_time, careful
        there.gate.after("copier.begin")

    def write(self, batch: EncodedBatch) -> Sequence[Reject]:
        there = self._destination
        there.gate.before(f"copier.write {batch.rows}")
        if self._table is None:
            raise Broken("rows are written outside a transaction")
        self._check_cut()
        rows, refused = sifted(batch, self._table)
        if refused and not self._careful:
            raise RowsRefused("a row is refused")
        self._rows += rows
        self._rejects += batch.rejects
        self._documents += batch.documents
        there.gate.after("copier.write")
        if self._claimed is not None and self._claimed.resync:
            self._refused += refused
            return ()
        self._rejects += refused
        return refused

    def commit(
        self,
        *,
        read_until: ClusterTime,
        split_at: bytes | None = None,
        gone: bool = False,
    ) -> Committed:
        there, chunk = self._destination, self._claimed
        there.gate.before("copier.commit")
        if chunk is None or self._table is None:
            raise Broken("a chunk is committed that was not begun")
        self._check_cut()
        there.check_history()
        self._check_owner()
        self._check_claim(chunk)
        lost = there.lost("the chunk's COMMIT")
        if lost and there.gate.chance(0.5):
            self._release()
            if there.gate.chance(0.3):
                raise OutcomeUnknown("the chunk cannot be read")
            raise there.unreachable("copier.commit")
        committed = self._committed(chunk, read_until, split_at, gone=gone)
        if lost and there.gate.chance(0.3):
            raise OutcomeUnknown("the chunk cannot be read")
        there.gate.touch("copier.commit ends")
        return committed

    def _committed(
        self,
        chunk: StoredChunk,
        read_until: ClusterTime,
        split_at: bytes | None,
        *,
        gone: bool,
    ) -> Committed:
        there, stored = self._destination, self._stored
        assert stored is not None
        rest: StoredChunk | None = None
        if split_at is not None:
            number = next(there.store.numbers())
            rest = StoredChunk(
                number,
                ChunkRange(split_at, chunk.range.upper),
                resync=chunk.resync,
                ordinal=chunk.ordinal,
            )
            stored.chunks[number] = rest
            chunk.range = ChunkRange(chunk.range.lower, split_at)
        removed = written = 0
        if chunk.resync and not gone:
            removed = self._remove(stored, chunk.range)
        for text, row in self._rows:
            _check_within(row.key, chunk.range)
            written += stored.rows.get(text) != row
            how = "resync" if chunk.resync else "copy"
            there.store.upsert(stored, text, row, how)
        stored.reject([*self._rejects, *self._refused])
        for reject in self._rejects:
            _check_within(document_key(reject.document), chunk.range)
        chunk.state, chunk.claim = "done", None
        chunk.documents = self._documents
        chunk.read_time, chunk.read_until = self._read_time, read_until
        stored.counters.copied += self._documents
        there.store.commits += 1
        if chunk.resync and all(
            each.state == "done" for each in stored.chunks.values()
        ):
            for canonical in list(stored.unseen):
                stored.resolve(canonical)
        there.gate.scheduler.note(
            f"COMMIT chunk {chunk.chunk_id} of {stored.table.name}: {len(self._rows)},"
            f" -{removed}"
        )
        left = None if rest is None else public(rest)
        outcome = Committed(left, tuple(self._refused), written, removed)
        self._claimed = self._claim = None
        self._release()
        return outcome

    def _remove(self, stored: StoredTable, within: ChunkRange) -> int:
        """The rows of the range, as PostgreSQL sorts them, that were not written."""
        there, key = self._destination, stored.table.key
        if there.store.world.gone_since(stored.table.collection, self._read_time):
            raise Broken("the rows of a collection that is gone are removed")
        written = {text for text, _ in self._rows}
        inside = _inside(within, key)
        surplus = [text for text in stored.rows if text not in written and inside(text)]
        for text in surplus:
            there.store.delete(stored, text, there.strategy(stored.table))
        return len(surplus)

    def _check_owner(self) -> None:
        self._destination.check_owner()

    def _check_claim(self, chunk: StoredChunk) -> None:
        known = self._stored is not None and self._stored.chunks.get(chunk.chunk_id)
        if known is not chunk or chunk.claim != self._claim or chunk.state != "copying":
            raise Fenced("the chunk has another owner")

    def _check_cut(self) -> None:
        if self.cut:
            raise self._destination.unreachable("the chunk's transaction")

    def abort(self) -> None:
        self._release()
        there = self._destination
        if self._claimed is None:
            there.gate.touch("abort")
            return
        there.gate.before("abort")
        self._hand_back()
        there.gate.after("abort")

    def close(self) -> None:
        self._release()
        self._destination.gate.touch("copier.close")
        self._hand_back()

    def _release(self) -> None:
        self._clear()
        self.cut = False
        self._destination.release(self)

    def _hand_back(self) -> None:
        chunk, claim = self._claimed, self._claim
        self._claimed = self._claim = None
        self._unanswered = False
        there = self._destination
        if chunk is None or there.history != there.store.history:
            return
        if chunk.claim == claim and chunk.state == "copying":
            self._give_back(chunk)

    def _give_back(self, chunk: StoredChunk) -> None:
        chunk.state, chunk.claim = "pending", None


def _is_pending(chunk: StoredChunk) -> bool:
    return chunk.state == "pending"


def public(chunk: StoredChunk) -> Chunk:
    """As the engine sees it."""
    return Chunk(
        chunk.chunk_id,
        chunk.range,
        chunk.state,
        chunk.documents,
        chunk.read_time,
        chunk.read_until,
        chunk.resync,
    )


def _inside(within: ChunkRange, encoding: str) -> Callable[[str], bool]:
    """Is a key's text in a range, in the order that a column of this key has?"""
    lower, upper = (
        None if each is None else _sortable(key_text(each, encoding), encoding)
        for each in (within.lower, within.upper)
    )

    def inside(text: str) -> bool:
        value = _sortable(text, encoding)
        if encoding == "numeric" and text == "NaN":
            return within.lower is None
        return (lower is None or value >= lower) and (upper is None or value < upper)

    return inside


def _sortable(text: str, encoding: str) -> Any:
    if encoding in ("bigint", "numeric") and text != "NaN":
        return Decimal(text)
    return text.encode()


def _check_within(key: bytes, within: ChunkRange) -> None:
    if within.lower is not None and compare_keys(key, within.lower) < 0:
        raise Broken("a row of a chunk lies below its range")
    if within.upper is not None and compare_keys(key, within.upper) >= 0:
        raise Broken("a row of a chunk lies above its range")
