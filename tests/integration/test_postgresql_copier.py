"""A first copy: chunks are claimed, copied, split, handed back; never doubled."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cartridge_warp.errors import DestinationError, DestinationUnavailable, Fenced
from cartridge_warp.metadata import chunks, store
from cartridge_warp.model import Batch, Chunk, ChunkRange, TableChanges
from cartridge_warp.postgresql.copier import PostgresCopier
from cartridge_warp.postgresql.destination import PostgresDestination
from cwarp_core import Reject
from postgresql_kit import (
    META,
    READ,
    TABLE,
    CommitCutter,
    apply,
    encoded,
    end_backends,
    fetch,
    marker,
    opened,
    order,
    orders,
    position,
    upserts,
)

HALVES = [ChunkRange(None, b"m"), ChunkRange(b"m", None)]
CHUNKS = (
    "SELECT lower, upper, state, documents, rows"
    f" FROM {META}.snapshot_chunks ORDER BY ordinal, chunk_id"
)


@pytest.fixture
def destination(postgres_uri: str) -> Iterator[PostgresDestination]:
    with opened(postgres_uri, TABLE) as owner:
        owner.plan(TABLE, HALVES)
        yield owner


def claimed(copier: PostgresCopier) -> Chunk:
    chunk = copier.claim(TABLE)
    assert chunk is not None
    assert chunk.state == "copying"
    return chunk


def test_a_table_is_copied_chunk_by_chunk(
    postgres_uri: str, destination: PostgresDestination
) -> None:
    copier = destination.copier()
    for key in ("a", "z"):
        chunk = claimed(copier)
        copier.begin(chunk, TABLE, READ)
        copier.write(encoded([order(key, 1)]))
        copier.write(encoded([order(key * 2, 2, "second")]))
        copier.commit()
    assert copier.claim(TABLE) is None
    copier.close()
    assert orders(postgres_uri) == [
        ("a", 1, None),
        ("aa", 2, "second"),
        ("z", 1, None),
        ("zz", 2, "second"),
    ]
    assert fetch(postgres_uri, CHUNKS) == [
        (None, b"m", "done", 2, 2),
        (b"m", None, "done", 2, 2),
    ]
    [state] = destination.tables()
    assert (state.complete, state.documents) == (True, 4)
    assert fetch(postgres_uri, f"SELECT copied FROM {META}.table_state") == [(4,)]
    assert marker(postgres_uri) == (1, 1, b"token-1")


def test_nothing_is_seen_before_commit_but_the_claim(
    postgres_uri: str, destination: PostgresDestination
) -> None:
    copier = destination.copier()
    copier.begin(claimed(copier), TABLE, READ)
    copier.write(encoded([order("a", 1)]))
    assert orders(postgres_uri) == []
    assert fetch(postgres_uri, CHUNKS)[0][2] == "copying"
    copier.close()


def test_a_chunk_without_rows_is_done_too(
    postgres_uri: str, destination: PostgresDestination
) -> None:
    copier = destination.copier()
    copier.begin(claimed(copier), TABLE, READ)
    copier.commit()
    copier.close()
    assert fetch(postgres_uri, CHUNKS)[0] == (None, b"m", "done", 0, 0)


def test_parallel_copiers_and_the_stream_pass_each_other(
    postgres_uri: str, destination: PostgresDestination
) -> None:
    one, two = destination.copier(), destination.copier()
    first, second = claimed(one), claimed(two)
    assert first.range == HALVES[0]
    assert second.range == HALVES[1]
    one.begin(first, TABLE, READ)
    two.begin(second, TABLE, READ)
    one.write(encoded([order("a", 1)]))
    two.write(encoded([order("z", 1)]))
    apply(destination, Batch(position(2)))
    two.commit()
    apply(destination, Batch(position(3)))
    one.commit()
    one.close()
    two.close()
    assert [key for key, *_ in orders(postgres_uri)] == ["a", "z"]
    assert marker(postgres_uri) == (1, 3, b"token-3")


def test_a_chunk_can_end_early_and_the_rest_follows_it(
    postgres_uri: str, destination: PostgresDestination
) -> None:
    copier = destination.copier()
    first = claimed(copier)
    copier.begin(first, TABLE, READ)
    copier.write(encoded([order("a", 1)]))
    rest = copier.commit(split_at=b"f").rest
    assert rest is not None
    assert (rest.range, rest.state) == (ChunkRange(b"f", b"m"), "pending")
    assert claimed(copier).chunk_id == rest.chunk_id
    copier.begin(rest, TABLE, READ + 1)
    last = copier.commit(split_at=b"h").rest
    assert last is not None
    [state] = destination.tables()
    assert [(each.range, each.state, each.read_time) for each in state.chunks] == [
        (ChunkRange(None, b"f"), "done", READ),
        (ChunkRange(b"f", b"h"), "done", READ + 1),
        (ChunkRange(b"h", b"m"), "pending", 0),
        (HALVES[1], "pending", 0),
    ]
    assert not state.complete
    copier.begin(claimed(copier), TABLE, READ)
    assert copier.commit().rest is None
    assert claimed(copier).range == HALVES[1]
    copier.close()


def test_rejects_are_dead_letters_of_the_chunk(
    postgres_uri: str, destination: PostgresDestination
) -> None:
    rejects = [
        Reject(b"raw", "misfit", -1, '"b"', 1),
        Reject(b"\0", "corrupt", 3, None, -1),
    ]
    copier = destination.copier()
    chunk = claimed(copier)
    copier.begin(chunk, TABLE, READ)
    copier.write(encoded([order("a", 1)], rejects))
    copier.abort()
    assert fetch(postgres_uri, f"SELECT 1 FROM {META}.dead_letter_queue") == []
    copier.begin(claimed(copier), TABLE, READ)
    copier.write(encoded([order("a", 1)], rejects))
    copier.commit()
    copier.close()
    letters = fetch(
        postgres_uri,
        "SELECT key, reason, column_name, byte_offset, raw"
        f" FROM {META}.dead_letter_queue",
    )
    assert set(letters) == {
        ('"b"', "misfit", "note", None, b"raw"),
        (None, "corrupt", None, 3, b"\0"),
    }
    assert fetch(postgres_uri, CHUNKS)[0][3:] == (3, 1)
    assert fetch(postgres_uri, f"SELECT rejected FROM {META}.table_state") == [(2,)]
    good = TableChanges(TABLE, upserts(order("b", 1)).upserts, (), 1)
    apply(destination, Batch(position(2), (good,)))
    states = fetch(postgres_uri, f"SELECT key, state FROM {META}.dead_letter_queue")
    assert ('"b"', "resolved") in states


def test_abort_hands_the_chunk_back(
    postgres_uri: str, destination: PostgresDestination
) -> None:
    copier = destination.copier()
    chunk = claimed(copier)
    copier.begin(chunk, TABLE, READ)
    copier.write(encoded([order("a", 1)]))
    copier.abort()
    copier.abort()
    assert orders(postgres_uri) == []
    assert fetch(postgres_uri, CHUNKS)[0][2] == "pending"
    assert claimed(copier).chunk_id == chunk.chunk_id
    with pytest.raises(DestinationError, match="begin comes first"):
        copier.commit()
    copier.close()


def test_a_refused_row_aborts_its_chunk_alone(
    postgres_uri: str, destination: PostgresDestination
) -> None:
    copier = destination.copier()
    copier.begin(claimed(copier), TABLE, READ)
    copier.write(encoded([order("a", 1), order("a", 2)]))
    with pytest.raises(DestinationError, match="23505"):
        copier.commit()
    copier.abort()
    assert orders(postgres_uri) == []
    assert fetch(postgres_uri, CHUNKS)[0][2] == "pending"
    copier.close()


def test_a_backend_that_dies_costs_one_chunk(
    postgres_uri: str, destination: PostgresDestination
) -> None:
    copier = destination.copier()
    chunk = claimed(copier)
    copier.begin(chunk, TABLE, READ)
    copier.write(encoded([order("a", 1)]))
    assert end_backends(postgres_uri, "copy") == 1
    with pytest.raises(DestinationUnavailable):
        copier.commit()
    assert orders(postgres_uri) == []
    copier.abort()
    chunk = claimed(copier)
    assert chunk.range == HALVES[0]
    copier.begin(chunk, TABLE, READ)
    copier.write(encoded([order("a", 1)]))
    copier.commit()
    copier.close()
    assert orders(postgres_uri) == [("a", 1, None)]


def test_a_backend_that_dies_in_a_large_copy_is_noticed(
    postgres_uri: str, destination: PostgresDestination
) -> None:
    copier = destination.copier()
    copier.begin(claimed(copier), TABLE, READ)
    large = encoded([order(f"{n:05}", n, "x" * 1000) for n in range(5000)])
    copier.write(large)
    assert end_backends(postgres_uri, "copy") == 1

    def go_on() -> None:
        for _ in range(20):
            copier.write(large)
        copier.commit()

    with pytest.raises(DestinationUnavailable):
        go_on()
    copier.close()
    assert orders(postgres_uri) == []
    assert fetch(postgres_uri, CHUNKS)[0][2] == "pending"


def test_pieces_larger_than_libpqs_buffer_arrive_whole(
    postgres_uri: str, destination: PostgresDestination
) -> None:
    copier = destination.copier()
    copier.begin(claimed(copier), TABLE, READ)
    copier.write(encoded([order("a", 1, "x" * 5_000_000), order("b", 2, "yz")]))
    copier.commit()
    copier.close()
    found = fetch(
        postgres_uri,
        "SELECT length(note), right(note, 2) FROM shop.orders ORDER BY _id",
    )
    assert found == [(5_000_000, "xx"), (2, "yz")]


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_cut_commit_is_settled_by_the_chunks_row(postgres_uri: str, cut: str) -> None:
    proxy = CommitCutter(postgres_uri)
    try:
        with opened(proxy.uri, TABLE) as owner:
            owner.plan(TABLE, HALVES)
            copier = owner.copier()
            copier.begin(claimed(copier), TABLE, READ)
            copier.write(encoded([order("a", 1)]))
            proxy.cut = cut
            if cut == "after":
                copier.commit()
            else:
                with pytest.raises(DestinationUnavailable):
                    copier.commit()
                copier.abort()
            assert proxy.cut is None
            expected = {"after": ("done", 1), "before": ("pending", 0)}[cut]
            assert fetch(postgres_uri, CHUNKS)[0][2:4] == expected
            assert len(orders(postgres_uri)) == expected[1]
            copier.close()
    finally:
        proxy.close()


def test_a_chunk_left_behind_goes_to_the_copier_that_takes_the_place(
    postgres_uri: str,
) -> None:
    proxy = CommitCutter(postgres_uri)
    try:
        with opened(proxy.uri, TABLE) as owner:
            owner.plan(TABLE, HALVES)
            copier, other = owner.copier(), owner.copier()
            chunk = claimed(copier)
            copier.begin(chunk, TABLE, READ)
            proxy.down = True
            assert end_backends(postgres_uri, "copy") >= 1
            copier.close()
            proxy.down = False
            assert fetch(postgres_uri, CHUNKS)[0][2] == "copying"
            assert claimed(other).range == HALVES[1]
            heir = owner.copier()
            assert claimed(heir).chunk_id == chunk.chunk_id
            heir.close()
            other.close()
    finally:
        proxy.close()


def test_a_new_owner_finds_claimed_chunks_pending(postgres_uri: str) -> None:
    with opened(postgres_uri, TABLE) as first:
        first.plan(TABLE, HALVES)
        copier = first.copier()
        claimed(copier)
        assert fetch(postgres_uri, CHUNKS)[0][2] == "copying"
    with opened(postgres_uri):
        assert [chunk[2] for chunk in fetch(postgres_uri, CHUNKS)] == ["pending"] * 2
        copier.close()


def test_a_chunk_that_another_has_by_now_is_not_committed(
    postgres_uri: str, destination: PostgresDestination
) -> None:
    """In the same epoch: the claim alone says so."""
    copier = destination.copier()
    copier.begin(claimed(copier), TABLE, READ)
    copier.write(encoded([order("a", 1)]))
    fetch(postgres_uri, f"UPDATE {META}.snapshot_chunks SET worker = 7")
    with pytest.raises(Fenced):
        copier.commit()
    copier.close()
    assert orders(postgres_uri) == []
    assert fetch(postgres_uri, CHUNKS)[0][2] == "copying"


@pytest.mark.parametrize(
    "left_out",
    [(), ("owner",), ("claim",), ("owner", "claim")],
    ids=lambda left: f"without {' and '.join(left)}" if left else "with both",
)
def test_either_lock_keeps_a_former_owners_chunk_out(
    postgres_uri: str, monkeypatch: pytest.MonkeyPatch, left_out: tuple[str, ...]
) -> None:
    with opened(postgres_uri, TABLE) as former:
        former.plan(TABLE, HALVES)
        copier = former.copier()
        chunk = claimed(copier)
        with opened(postgres_uri):
            if "owner" in left_out:
                monkeypatch.setattr(store, "check_owner", lambda *_: None)
            if "claim" in left_out:
                monkeypatch.setattr(chunks, "finish", lambda *_, **__: True)
            copier.begin(chunk, TABLE, READ)
            copier.write(encoded([order("a", 1)]))
            if len(left_out) == 2:
                copier.commit()
            else:
                with pytest.raises(Fenced):
                    copier.commit()
            copier.close()
            # What the two are there to prevent: a row of a chunk that is not done.
            assert len(orders(postgres_uri)) == (len(left_out) == 2)
            assert fetch(postgres_uri, CHUNKS)[0][2] == "pending"


def test_a_claim_that_nothing_came_of_is_handed_back(
    postgres_uri: str, destination: PostgresDestination
) -> None:
    copier = destination.copier()
    claimed(copier)
    copier.abort()
    assert [chunk[2] for chunk in fetch(postgres_uri, CHUNKS)] == ["pending"] * 2
    claimed(copier)
    copier.close()
    assert [chunk[2] for chunk in fetch(postgres_uri, CHUNKS)] == ["pending"] * 2
