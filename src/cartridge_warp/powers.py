"""The contract's optional powers: what a connector may be able to do beside it.

The engine asks for each by ``isinstance``, and does without those that are not there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

from cwarp_core import Reply

from .model import (
    Absent,
    Batch,
    BatchMarker,
    BatchState,
    Chunk,
    ChunkRange,
    ClusterTime,
    Keys,
    Origin,
    Position,
    Table,
)


class Increments(Protocol):
    """A collection as batch mode reads it. One thread at a time.

    Every read that takes ``after`` has only what is committed, at that time or later.
    """

    def exists(self) -> bool:
        """There is a collection, or a view, of this name now."""

    def usable(self) -> bool:
        """Some document has a time in the column."""

    def newest(self) -> BatchMarker | None:
        """The place of the newest document that is not newer than the source's clock.

        So what is committed after this call, by writers whose clocks agree, lies behind
        the place, or not far before it. None when there is no such document.
        """

    def since(
        self, marker: BatchMarker | None, overlap: float, after: ClusterTime
    ) -> Iterator[tuple[Reply, BatchMarker | None]]:
        """Documents from ``overlap`` seconds before the marker on, in order of the
        column and ``_id``; without a marker, all that have a time there.

        With each reply the place of its last document that is not newer than the
        source's clock, if it has one.
        """

    def unseen(self, after: ClusterTime) -> Iterator[Reply]:
        """The documents that ``since`` never has."""

    def count_unseen(self) -> int:
        """How many these are."""

    def whole(self, after: ClusterTime) -> Iterator[Reply]:
        """Every document, in any order."""

    def keys(self, after: ClusterTime) -> Iterator[Reply]:
        """Every document without its fields but ``_id``, in any order."""

    def times(self, sample: int) -> Mapping[str, str]:
        """Fields that hold times in about so many documents, and of which kind."""


@runtime_checkable
class ReadsIncrements(Protocol):
    """A source whose collections can be read in batch mode. Any thread."""

    def increments(self, collection: str, column: str) -> Increments:
        """column: the one that has each document's time; "" where none is needed."""


@runtime_checkable
class EnrollsTables(Protocol):
    """A destination that keeps markers of batch mode."""

    def enroll(
        self, table: Table, column: str, marker: BatchMarker | None
    ) -> BatchState:
        """Make the table one of batch mode, before its chunks are planned.

        One that is keeps its marker, unless that is of another column. It is moved by
        ``Batch.step``. A call that changes structure.
        """


@runtime_checkable
class FindsAbsent(Protocol):
    """A destination that can compare a table's keys. Any thread."""

    def absent(self, table: Table, present: Iterable[Keys]) -> Absent:
        """What the table has, and is not among ``present``.

        Nobody else writes to the table meanwhile. Raises what ``present`` raises, and
        DestinationError.
        """


class Sharing(Protocol):
    """How an owner shares its first copies with other processes. Any thread.

    Its methods raise Fenced and DestinationError.
    """

    def asking(self) -> Sequence[str]:
        """The processes that wait to be admitted."""

    def admit(self) -> None:
        """Whoever waits may claim chunks from now on."""

    def release(self) -> Sequence[str]:
        """Processes that have fallen silent: what they had claimed is pending again.

        Those that did so since the last call. What they wake up to commit is refused.
        """

    def standing(self, table: Table, chunks: Sequence[int]) -> Sequence[Chunk]:
        """These chunks of a table, and what was split off them, as they are now.

        Read after the call was made, whatever was known before.
        """


@runtime_checkable
class SharesCopies(Protocol):
    """A destination whose first copies other processes can help with."""

    def sharing(self) -> Sharing:
        """For the owner, once it is one."""


@runtime_checkable
class ConfirmsTime(Protocol):
    """A source that may have a primary that was replaced, and does not know it."""

    def confirmed_time(self) -> ClusterTime:
        """As ``Source.newest_time``, whoever the stream has told."""


@runtime_checkable
class KnowsUntouched(Protocol):
    """An applier that knows how many rows its last commit left as they were."""

    def untouched(self) -> int:
        """Rows of a step of batch mode that were equal already; 0 where not known."""


@runtime_checkable
class KnowsPassing(Protocol):
    """A source that makes collections for its own use. Any thread."""

    def passing(self, collection: str) -> bool:
        """Is this one of those, soon to be renamed or dropped? By its name alone."""


@runtime_checkable
class Prepares(Protocol):
    """An applier that can begin with a batch while another one is committed."""

    def prepare(self, batch: Batch) -> None:
        """Do what of this batch does not depend on the one before it.

        From another thread than ``commit``, at the same time; one call at a time, and
        ``commit`` of this batch comes next. Keeps nothing and raises nothing: what
        could not be prepared is done by ``commit``.
        """


@runtime_checkable
class Resyncs(Protocol):
    """A destination whose tables can be made equal to their collections in place.

    The calls come one at a time with those that change structure, but for ``ordered``,
    ``divides`` and ``asked``, which any thread may make.
    """

    def ordered(self, table: Table) -> bool:
        """Do the table's rows sort as ids do? Else a resync of it is one chunk."""

    def divides(self, table: Table, key: bytes) -> bool:
        """May a chunk of a resync begin at this ``_id`` element?

        Where rows sort as ids do, and the key holds this one.
        """

    def asked(self) -> Sequence[str]:
        """The tables, by name, whose resync is asked for. Raises DestinationError."""

    def replan(
        self, table: Table, ranges: Sequence[ChunkRange], origin: Origin
    ) -> list[Chunk]:
        """Store the chunks of a resync in the place of all that the table has.

        With that it is neither ``asked`` for nor ``left`` nor ``gone``. No chunk of
        the table is being copied. Raises PreconditionError when the table was changed
        outside.
        """

    def retire(self, table: Table, policy: str, origin: Origin) -> None:
        """The table's collection is gone; nothing of it is copied any more.

        policy: "keep" its rows, which makes it ``gone``; "truncate" it; "drop" it and
        all that is known of it. Raises LockTimeout, StructureRefused.
        """

    def know(self, table: Table, origin: Origin) -> None:
        """Store which collection the table's rows are of."""

    def restart(self, position: Position, lanes: int) -> None:
        """As ``begin``, wherever the markers stand; every table is ``asked`` for.

        Both in one transaction: what lies between is in no stream.
        """
