"""Which chunk holds a key, and what is known of it: the map a stream asks."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from functools import cmp_to_key

from msgspec.structs import replace

from cwarp_core import KeyRanges, compare_keys

from ..model import Chunk, ClusterTime, Committed


class ChunkState(StrEnum):
    """A chunk as the map knows it. ``LOST``: the outcome of its COMMIT is not known."""

    PENDING = "pending"
    COPYING = "copying"
    DONE = "done"
    LOST = "lost"


class ChunkMap:
    """The chunks of one table. Pure: the caller guards it.

    It is told of a claim before the chunk's read time is taken, and of ``done`` after
    its COMMIT. So whoever sees ``pending`` after an event came knows that the chunk's
    read, still to come, has what the event tells.

    written, removed: rows, by the commits it was told of.
    """

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self.written = self.removed = 0
        self._by_id = {each.chunk_id: each for each in chunks}
        #: Those that this process copies, by its own word.
        self._own: set[int] = set()
        self._sort()

    def _sort(self) -> None:
        self._order = sorted(self._by_id.values(), key=cmp_to_key(_by_lower))
        # Without a chunk there is nothing to ask for.
        self._ranges = KeyRanges([each.range.lower for each in self._order] or [None])

    @property
    def complete(self) -> bool:
        """Every chunk is done."""
        return all(each.state == ChunkState.DONE for each in self._order)

    @property
    def read_until(self) -> ClusterTime:
        """No row of the copy is newer than this, so far."""
        return max((each.read_until for each in self._order), default=0)

    def at(self, key: bytes) -> Chunk:
        """The chunk whose range holds this ``_id`` element."""
        return self._order[self._ranges.find(key)]

    def open(self, chunk: Chunk) -> bool:
        """Might another process copy it, or have copied it? Not if this one does, nor
        once it is known to be done."""
        return chunk.chunk_id not in self._own and chunk.state in (
            ChunkState.PENDING,
            ChunkState.COPYING,
        )

    @property
    def opened(self) -> list[Chunk]:
        """Those that are ``open``."""
        return [each for each in self._order if self.open(each)]

    def seen(self, found: Chunk) -> bool:
        """As the destination has it. True when another process has done it since."""
        known = self._by_id.get(found.chunk_id)
        if known is not None and not self.open(known):
            return False
        self._set(found)
        return found.state == ChunkState.DONE

    def claimed(self, chunk: Chunk) -> None:
        """Being copied from now on; it may be the rest of a chunk not yet told of."""
        self._own.add(chunk.chunk_id)
        self._set(replace(chunk, state=ChunkState.COPYING))

    def handed_back(self, chunk: Chunk) -> None:
        """Pending again; one that is done by now stays so."""
        self._own.discard(chunk.chunk_id)
        if self._by_id[chunk.chunk_id].state == ChunkState.COPYING:
            self._set(replace(chunk, state=ChunkState.PENDING))

    def lost(self, chunk: Chunk) -> None:
        self._set(replace(chunk, state=ChunkState.LOST))

    def done(
        self,
        chunk: Chunk,
        read_time: ClusterTime,
        read_until: ClusterTime,
        committed: Committed,
    ) -> None:
        """It is committed."""
        self._own.discard(chunk.chunk_id)
        self.written += committed.written
        self.removed += committed.removed
        self._set(
            replace(
                chunk,
                state=ChunkState.DONE,
                read_time=read_time,
                read_until=read_until,
            )
        )
        # Another worker may have claimed the rest already.
        rest = committed.rest
        if rest is not None and rest.chunk_id not in self._by_id:
            self._set(rest)

    def _set(self, chunk: Chunk) -> None:
        former = self._by_id.get(chunk.chunk_id)
        self._by_id[chunk.chunk_id] = chunk
        if former is None:
            self._sort()
        else:
            self._order[self._order.index(former)] = chunk


def _by_lower(one: Chunk, other: Chunk) -> int:
    if one.range.lower is None or other.range.lower is None:
        return (one.range.lower is not None) - (other.range.lower is not None)
    return compare_keys(one.range.lower, other.range.lower)
