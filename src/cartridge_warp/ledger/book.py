"""The ledger: ownership, positions, tables, chunks and dead letters as one value. Pure.

Whoever keeps it loads it, calls one method and stores it again, all in the transaction
of the rows that belong to it. It grows with the chunks and the dead letters, and is
stored whole each time: it is for destinations of some thousand chunks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from cwarp_core import KeyKindError, Reject, key_encoding, key_text

from ..documents import key_of
from ..errors import (
    DestinationError,
    Fenced,
    Owned,
    PreconditionError,
    StructureChanged,
)
from ..model import (
    Chunk,
    ChunkRange,
    Position,
    SchemaChange,
    SourceIdentity,
    Table,
    TableState,
)
from ..schema import evolve

#: An owner that is silent for longer is taken for dead.
SILENT_SECONDS: Final = 6.0

#: So many of the last errors are kept.
_ERRORS: Final = 100


class Letter(Struct, frozen=True):
    """A pending dead letter. key: the canonical text of its ``_id``, if it has one."""

    document: bytes
    code: str
    key: str | None

    @classmethod
    def of(cls, reject: Reject) -> Letter:
        return cls(reject.document, reject.code, reject.key)

    @property
    def element(self) -> bytes | None:
        """Its ``_id`` element."""
        return key_of(self.document) if self.key else None

    def text(self, encoding: str) -> str | None:
        """The text of its key in an encoding; None where that does not hold it."""
        element = self.element
        try:
            return None if element is None else key_text(element, encoding)
        except KeyKindError:
            return None


class Held(Struct):
    """A chunk, and the copier that has it while it is ``copying``.

    kept: a process that helped gave it up, and the owner copies it.
    """

    chunk: Chunk
    copier: str = ""
    kept: bool = False


class Helper(Struct):
    """A process that helps the owner. alive: its last sign of life."""

    alive: float
    admitted: bool = False


class Entry(Struct):
    """One table. chunks: in the order of their bounds."""

    table: Table
    planned: bool = False
    left: bool = False
    chunks: list[Held] = []
    letters: list[Letter] = []

    @property
    def state(self) -> TableState:
        chunks = tuple(each.chunk for each in self.chunks)
        return TableState(
            self.table, self.planned, chunks, len(self.letters), self.left
        )

    def reject(self, rejects: Sequence[Reject]) -> None:
        """Keep dead letters, each in place of an older one of the same ``_id``."""
        if keys := {each.key for each in rejects if each.key is not None}:
            self.letters = [each for each in self.letters if each.key not in keys]
        self.letters += map(Letter.of, rejects)

    def resolve(self, texts: Collection[str], canonical: Collection[str] = ()) -> None:
        """Forget the letters that something stands for now.

        texts: of keys in the table's encoding.  canonical: of ids it does not hold.
        """
        if self.letters:
            self.letters = [
                each
                for each in self.letters
                if each.key not in canonical and each.text(self.table.key) not in texts
            ]

    @property
    def waiting(self) -> list[Letter]:
        """The letters of ids that the key did not hold."""
        return [each for each in self.letters if each.code == "key_kind"]


class Ledger(Struct):
    """One schema. Its methods raise what ``protocols.Destination`` says they do.

    epoch: counts the owners; every method of an owner names its own.  terms: what
    ``workers``, which help it, have to have too.
    """

    epoch: int = 0
    source: str = ""
    owner: str = ""
    alive: float = 0.0
    positions: list[Position] = []
    tables: dict[str, Entry] = {}
    chunk_ids: int = 0
    errors: list[str] = []
    terms: str = ""
    workers: dict[str, Helper] = {}

    @classmethod
    def of(cls, stored: bytes | None) -> Ledger:
        """From what ``stored`` gave; a new one from None."""
        return cls() if stored is None else msgspec.json.decode(stored, type=cls)

    @property
    def stored(self) -> bytes:
        """As one value."""
        return msgspec.json.encode(self)

    # --- ownership --------------------------------------------------------------

    def take(self, identity: SourceIdentity, owner: str, now: float) -> int:
        """Make ``owner`` the owner, if no other is alive. Returns its epoch.

        now: seconds of a clock that all owners share.
        """
        if self.positions and self.source != identity.replica_set_id:
            raise PreconditionError(
                f"the position belongs to the source {self.source}, this one is "
                f"{identity.replica_set_id}",
                hint="connect the source that was copied, or copy into a new schema",
            )
        silent = now - self.alive
        if self.owner not in ("", owner) and silent < SILENT_SECONDS:
            raise Owned(
                f"{self.owner} owns the schema, and gave a sign of life {silent:.1f} s "
                "ago",
                hint="wait, or stop the other process",
            )
        self.source, self.owner, self.alive = identity.replica_set_id, owner, now
        self.epoch += 1
        self.workers = {}
        for held in self._held():
            _set_pending(held)
        return self.epoch

    def check(self, epoch: int) -> None:
        """Raises Fenced when this owner is none any more."""
        if epoch != self.epoch:
            raise Fenced(
                "another process owns the schema now; nothing of this commit was kept",
                hint="start it again, and it stands by until the other one ends",
            )

    def beat(self, epoch: int, now: float) -> None:
        self.check(epoch)
        self.alive = now

    def release(self, epoch: int) -> None:
        """Give the ownership up, if it is still there."""
        if epoch == self.epoch:
            self.owner = ""

    # --- positions --------------------------------------------------------------

    def begin(self, epoch: int, position: Position, lanes: int) -> None:
        self.check(epoch)
        if any(each != self.positions[0] for each in self.positions):
            raise DestinationError("the lanes stand at different places")
        self.positions = [position] * lanes

    def move(self, lanes: Sequence[int], position: Position | None) -> None:
        """Move these lanes; without a position they stay."""
        for lane in lanes:
            if lane >= len(self.positions):
                raise DestinationError(f"there is no lane {lane}: begin comes first")
            if position is None:
                continue
            if position.cluster_time < self.positions[lane].cluster_time:
                raise DestinationError("the position would go back in time")
            self.positions[lane] = position

    # --- structure --------------------------------------------------------------

    def states(self) -> list[TableState]:
        return [each.state for each in self.tables.values()]

    def entry(self, table: Table) -> Entry:
        """Raises DestinationError for a table that was never made."""
        if table.name not in self.tables:
            raise DestinationError(f"{table.name} has not been created")
        return self.tables[table.name]

    def hold(self, epoch: int, table: Table) -> Entry:
        """The table, for rows that were encoded for ``table``."""
        self.check(epoch)
        _check_strategy(table)
        entry = self.entry(table)
        if entry.table.key != table.key:
            raise StructureChanged(f"the key of {table.name} is another now")
        return entry

    def ensure(self, epoch: int, table: Table) -> bool:
        """Is the table to be created?"""
        self.check(epoch)
        _check_strategy(table)
        known = self.tables.setdefault(table.name, Entry(table)).table
        if known.collection != table.collection:
            raise PreconditionError(
                f"{table.name} holds collection {known.collection}",
                hint="give one of the two collections another table name",
            )
        return known is table

    def evolve(
        self, epoch: int, table: Table, changes: Sequence[SchemaChange]
    ) -> tuple[Table, bool]:
        """The next version, and whether it is to be made, which it may be already."""
        self.check(epoch)
        _check_strategy(table)
        entry, after = self.entry(table), evolve.apply(table, changes)
        if evolve.same_structure(entry.table, after):
            return after, False
        if not evolve.same_structure(entry.table, table):
            raise DestinationError(
                f"{table.name} is not at version {table.version} of its structure",
                hint="start again: the stored structure is read then",
            )
        entry.table = after
        return after, True

    def leave(self, epoch: int, tables: Sequence[Table]) -> None:
        self.check(epoch)
        for table in tables:
            self.entry(table).left = True

    # --- chunks -----------------------------------------------------------------

    def plan(
        self, epoch: int, table: Table, ranges: Sequence[ChunkRange]
    ) -> list[Chunk]:
        self.check(epoch)
        entry = self.entry(table)
        if not entry.planned:
            entry.planned = True
            entry.chunks = [self._new_chunk(each) for each in ranges]
        return [each.chunk for each in entry.chunks]

    def claim(self, epoch: int, table: Table, copier: str) -> Chunk | None:
        """A chunk that this copier has already comes first."""
        self.check(epoch)
        chunks = self.entry(table).chunks
        mine = [each for each in chunks if each.copier == copier]
        pending = [each for each in chunks if each.chunk.state == "pending"]
        for held in [*mine, *pending][:1]:
            held.chunk, held.copier = replace(held.chunk, state="copying"), copier
            return held.chunk
        return None

    def finish(
        self,
        epoch: int,
        table: Table,
        copier: str,
        done: Chunk,
        split_at: bytes | None,
    ) -> Chunk | None:
        """Make a claimed chunk what ``done`` says; the rest where it is split."""
        self.check(epoch)
        chunks = self.entry(table).chunks
        for at, held in enumerate(chunks):
            if (held.chunk.chunk_id, held.copier) != (done.chunk_id, copier):
                continue
            held.chunk, held.copier = replace(done, state="done"), ""
            if split_at is None:
                return None
            lower, upper = done.range.lower, done.range.upper
            held.chunk = replace(held.chunk, range=ChunkRange(lower, split_at))
            rest = self._new_chunk(ChunkRange(split_at, upper))
            chunks.insert(at + 1, rest)
            return rest.chunk
        raise Fenced("the chunk has another owner now; nothing of it was kept")

    def hand_back(self, copier: str, *, kept: bool = False) -> None:
        """Everything that this copier has is pending again."""
        for held in self._held():
            if held.copier == copier:
                _set_pending(held)
                held.kept |= kept

    # --- processes that help ----------------------------------------------------

    def owned(self, now: float) -> bool:
        """Is there an owner that is alive?"""
        return self.owner != "" and now - self.alive < SILENT_SECONDS

    def join(self, name: str, now: float) -> None:
        self.workers[name] = Helper(now)

    def asking(self) -> list[str]:
        return [name for name, each in self.workers.items() if not each.admitted]

    def admit(self, epoch: int) -> None:
        self.check(epoch)
        for each in self.workers.values():
            each.admitted = True

    def silent(self, now: float) -> list[str]:
        """Those without a sign of life for too long."""
        return [
            name
            for name, each in self.workers.items()
            if now - each.alive >= SILENT_SECONDS
        ]

    def dismiss(self, name: str) -> None:
        """It helps no more. Its copiers' names begin with its own."""
        self.workers.pop(name, None)
        for held in self._held():
            if held.copier.startswith(name):
                _set_pending(held)
                held.kept = True

    def take_chunk(self, epoch: int, copier: str) -> tuple[Table, Chunk] | None:
        """As ``claim``, of any table, and none that another helper gave up."""
        self.check(epoch)
        for entry in self.tables.values():
            if entry.left or not entry.planned:
                continue
            mine = [each for each in entry.chunks if each.copier == copier]
            pending = [
                each
                for each in entry.chunks
                if each.chunk.state == "pending"
                and not (each.kept or each.chunk.range.whole)
            ]
            for held in [*mine, *pending][:1]:
                held.chunk, held.copier = replace(held.chunk, state="copying"), copier
                return entry.table, held.chunk
        return None

    def _held(self) -> Iterator[Held]:
        """The chunks that a copier has."""
        for entry in self.tables.values():
            yield from (each for each in entry.chunks if each.copier)

    def _new_chunk(self, where: ChunkRange) -> Held:
        self.chunk_ids += 1
        return Held(Chunk(self.chunk_ids, where))

    # --- for people -------------------------------------------------------------

    def fail(self, epoch: int, message: str) -> None:
        self.check(epoch)
        self.errors = [*self.errors, message][-_ERRORS:]

    def letters(self) -> dict[str, int]:
        """Pending dead letters by the table's name."""
        return {name: len(each.letters) for name, each in self.tables.items()}

    def waiting_keys(self, table: Table) -> set[str]:
        elements = (each.element for each in self.entry(table).waiting)
        return {key_encoding(each) for each in elements if each is not None}


def _check_strategy(table: Table) -> None:
    """A ledger's rows are removed, not marked: marks would be columns of the store."""
    strategy = table.options.deletion_strategy
    if strategy != "hard":
        raise PreconditionError(
            f"{table.name}: this destination has no deletion_strategy {strategy}",
            hint="set deletion_strategy: hard",
        )


def _set_pending(held: Held) -> None:
    held.chunk, held.copier = replace(held.chunk, state="pending"), ""
