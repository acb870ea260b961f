"""Which chunk holds a key, and in which state the map has it."""

from __future__ import annotations

import bson
import pytest

from cartridge_warp.engine.chunks import ChunkMap, ChunkState
from cartridge_warp.model import Chunk, ChunkRange, Committed


def key(value: object) -> bytes:
    """The ``_id`` element of a value."""
    document = bson.encode({"_id": value})
    return document[4:5] + document[9:-1]


def chunk(number: int, lower: object, upper: object, state: str = "pending") -> Chunk:
    bounds = [None if each is None else key(each) for each in (lower, upper)]
    return Chunk(number, ChunkRange(*bounds), state)


@pytest.fixture
def chunks() -> ChunkMap:
    # As the destination stores them: a split's rest comes last, whatever it holds.
    return ChunkMap(
        [
            chunk(1, None, 10, "done"),
            chunk(2, 10, 20),
            chunk(4, "m", None),
            chunk(3, 20, "m"),
        ]
    )


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (None, 1),
        (9.99, 1),
        (10, 2),
        (10.0, 2),
        (19, 2),
        (10**12, 3),
        ("a", 3),
        ("m", 4),
        ({"a": 1}, 4),
        (bson.MaxKey(), 4),
    ],
)
def test_every_key_has_its_chunk(chunks: ChunkMap, value: object, number: int) -> None:
    assert chunks.at(key(value)).chunk_id == number


def test_a_chunk_goes_from_claim_to_done(chunks: ChunkMap) -> None:
    chunks.claimed(chunk(2, 10, 20))
    assert chunks.at(key(15)).state == ChunkState.COPYING
    chunks.done(chunk(2, 10, 20), 7, 9, Committed())
    done = chunks.at(key(15))
    assert (done.state, done.read_time, done.read_until) == (ChunkState.DONE, 7, 9)
    assert chunks.read_until == 9
    assert not chunks.complete
    chunks.done(chunk(3, 20, "m"), 3, 4, Committed())
    chunks.done(chunk(4, "m", None), 11, 12, Committed())
    assert chunks.complete
    assert chunks.read_until == 12


def test_what_a_split_leaves_is_pending(chunks: ChunkMap) -> None:
    chunks.claimed(chunk(3, 20, "m"))
    chunks.done(chunk(3, 20, "m"), 7, 9, Committed(chunk(5, 30, "m")))
    assert chunks.at(key(25)).state == ChunkState.DONE
    assert chunks.at(key(30)).state == ChunkState.PENDING
    assert chunks.at(key(30)).chunk_id == 5


def test_the_rest_may_be_claimed_before_the_split_is_told(chunks: ChunkMap) -> None:
    """Another worker sees the stored rest sooner than the map does."""
    chunks.claimed(chunk(3, 20, "m"))
    chunks.claimed(chunk(5, 30, "m"))
    assert chunks.at(key(25)).chunk_id == 3
    chunks.done(chunk(3, 20, "m"), 7, 9, Committed(chunk(5, 30, "m")))
    assert chunks.at(key(30)).state == ChunkState.COPYING


def test_a_chunk_handed_back_is_pending_unless_it_is_done(chunks: ChunkMap) -> None:
    chunks.claimed(chunk(2, 10, 20))
    chunks.handed_back(chunk(2, 10, 20))
    assert chunks.at(key(15)).state == ChunkState.PENDING
    chunks.handed_back(chunk(1, None, 10))
    assert chunks.at(key(5)).state == ChunkState.DONE
    chunks.claimed(chunk(2, 10, 20))
    chunks.lost(chunk(2, 10, 20))
    chunks.handed_back(chunk(2, 10, 20))
    assert chunks.at(key(15)).state == ChunkState.LOST


def test_a_table_without_chunks_is_complete() -> None:
    assert ChunkMap([]).complete
    assert ChunkMap([]).read_until == 0
