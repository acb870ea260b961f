"""Lanes: each has its marker, and a batch moves those it names, by one each."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec.structs import replace

from cartridge_warp.errors import DestinationError, DestinationUnavailable, Fenced
from cartridge_warp.model import Batch, ChunkRange, Position
from cartridge_warp.postgresql.destination import PostgresDestination
from postgresql_kit import (
    IDENTITY,
    META,
    READ,
    TABLE,
    CommitCutter,
    apply,
    encoded,
    fetch,
    make,
    opened,
    order,
    orders,
    position,
    upserts,
)

ONE, TWO = (upserts(order("a", 1)),), (upserts(order("b", 2)),)


def markers(uri: str) -> list[tuple[int, int, int, bytes, str]]:
    """lane, epoch, seq, token, kind of stream."""
    return fetch(
        uri,
        "SELECT lane, epoch, seq, resume_token, stream"
        f" FROM {META}.sync_markers ORDER BY lane",
    )  # type: ignore[return-value]


@pytest.fixture
def three(postgres_uri: str) -> Iterator[PostgresDestination]:
    with opened(postgres_uri, TABLE, lanes=3) as owner:
        yield owner


def test_each_lane_starts_at_the_position(
    postgres_uri: str, three: PostgresDestination
) -> None:
    assert markers(postgres_uri) == [(n, 1, 1, b"token-1", "") for n in range(3)]


def test_lanes_move_by_themselves_and_go_on_where_they_were(
    postgres_uri: str, three: PostgresDestination
) -> None:
    one, two = three.applier(), three.applier()
    one.commit(Batch(position(5), ONE, lanes=(0,)))
    two.commit(Batch(Position(b"other", 3 << 32, "kind"), TWO, lanes=(2,)))
    one.commit(Batch(position(6), lanes=(0,)))
    one.close()
    two.close()
    assert markers(postgres_uri) == [
        (0, 1, 3, b"token-6", ""),
        (1, 1, 1, b"token-1", ""),
        (2, 1, 2, b"other", "kind"),
    ]
    three.close()
    heir = make(postgres_uri)
    assert heir.open(IDENTITY) == [
        position(6),
        position(1),
        Position(b"other", 3 << 32, "kind"),
    ]
    apply(heir, Batch(position(7), lanes=(0, 1, 2)))
    heir.close()
    assert [each[:4] for each in markers(postgres_uri)] == [
        (0, 2, 4, b"token-7"),
        (1, 2, 2, b"token-7"),
        (2, 2, 3, b"token-7"),
    ]


def test_one_lane_in_the_way_keeps_all_of_the_batch_away(
    postgres_uri: str, three: PostgresDestination
) -> None:
    apply(three, Batch(position(4), lanes=(1,)))
    with pytest.raises(DestinationError, match="back in time"):
        apply(three, Batch(position(3), ONE, lanes=(0, 1, 2)))
    fetch(postgres_uri, f"UPDATE {META}.sync_markers SET seq = 9 WHERE lane = 2")
    with pytest.raises(Fenced):
        apply(three, Batch(position(5), ONE, lanes=(0, 1, 2)))
    assert orders(postgres_uri) == []
    assert [each[2] for each in markers(postgres_uri)] == [1, 2, 9]
    apply(three, Batch(position(5), ONE, lanes=(0, 1)))
    assert orders(postgres_uri) == [("a", 1, None)]


def test_the_parts_of_a_large_batch_leave_the_position(
    postgres_uri: str, three: PostgresDestination
) -> None:
    apply(three, Batch(None, ONE, lanes=(1,)))
    apply(three, Batch(None, TWO, lanes=(1,)))
    assert markers(postgres_uri)[1] == (1, 1, 3, b"token-1", "")
    [(updated, wall)] = fetch(
        postgres_uri,
        f"SELECT cluster_time, wall_time FROM {META}.sync_markers WHERE lane = 1",
    )
    assert updated == position(1).cluster_time
    assert wall.timestamp() == 1
    apply(three, Batch(position(8), (), lanes=(1,)))
    assert markers(postgres_uri)[1] == (1, 1, 4, b"token-8", "")


def test_a_lane_that_is_not_there_is_refused(three: PostgresDestination) -> None:
    with pytest.raises(DestinationError, match="no lane 3"):
        apply(three, Batch(position(2), ONE, lanes=(3,)))


@pytest.mark.parametrize("lanes", [1, 2, 5])
def test_their_number_changes_while_they_stand_together(
    postgres_uri: str, three: PostgresDestination, lanes: int
) -> None:
    apply(three, Batch(position(4), lanes=(0, 1, 2)))
    three.begin(position(4), lanes)
    assert [(n, at) for n, _, _, at, _ in markers(postgres_uri)] == [
        (n, b"token-4") for n in range(lanes)
    ]
    apply(three, Batch(position(5), ONE, lanes=tuple(range(lanes))))
    assert {each[1:4:2] for each in markers(postgres_uri)} == {(1, b"token-5")}


def test_their_number_stays_while_they_stand_apart(
    postgres_uri: str, three: PostgresDestination
) -> None:
    apply(three, Batch(position(4), lanes=(1,)))
    before = markers(postgres_uri)
    with pytest.raises(DestinationError, match="different places"):
        three.begin(position(4), 1)
    assert markers(postgres_uri) == before


def test_a_new_owner_fences_every_lane(
    postgres_uri: str, three: PostgresDestination
) -> None:
    with opened(postgres_uri):
        for lane in range(3):
            with pytest.raises(Fenced):
                apply(three, Batch(position(2), ONE, lanes=(lane,)))
        with pytest.raises(Fenced):
            three.begin(position(2), 2)
    assert orders(postgres_uri) == []
    assert [each[:3] for each in markers(postgres_uri)] == [(n, 2, 1) for n in range(3)]


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_doubt_is_settled_for_all_of_its_lanes(postgres_uri: str, cut: str) -> None:
    """By another applier too: the one that had it may be gone."""
    proxy = CommitCutter(postgres_uri)
    batch = Batch(position(2), ONE, lanes=(2, 0))
    try:
        with opened(proxy.uri, TABLE, lanes=3) as owner:
            proxy.cut, proxy.down_after = cut, True
            with pytest.raises(DestinationUnavailable):
                apply(owner, batch)
            proxy.down = False
            apply(owner, Batch(position(3), TWO, lanes=(1,)))
            apply(owner, batch)
            apply(owner, Batch(position(4), lanes=(0, 1, 2)))
    finally:
        proxy.close()
    assert [each[2] for each in markers(postgres_uri)] == [3, 3, 3]
    assert orders(postgres_uri) == [("a", 1, None), ("b", 2, None)]
    assert fetch(postgres_uri, f"SELECT applied FROM {META}.table_state") == [(2,)]


def test_a_doubt_is_settled_before_another_batch_of_its_lanes(
    postgres_uri: str,
) -> None:
    proxy = CommitCutter(postgres_uri)
    try:
        with opened(proxy.uri, TABLE, lanes=2) as owner:
            proxy.cut, proxy.down_after = "after", True
            with pytest.raises(DestinationUnavailable):
                apply(owner, Batch(position(2), ONE, lanes=(0, 1)))
            proxy.down = False
            apply(owner, Batch(position(3), TWO, lanes=(1,)))
    finally:
        proxy.close()
    assert [each[2] for each in markers(postgres_uri)] == [2, 3]


def test_lanes_run_beside_each_other_and_beside_a_copy(
    postgres_uri: str, three: PostgresDestination
) -> None:
    """Each batch has two tables, in another order in each lane."""
    other = replace(TABLE, name="other", collection="other")
    three.ensure(other)
    three.plan(other, [ChunkRange(None, None)])
    rounds = 25

    def lane(number: int) -> None:
        applier = three.applier()
        for n in range(rounds):
            row = order(f"{number}-{n % 7}", n)
            changes = [upserts(row), upserts(row, table=other)]
            if number % 2:
                changes.reverse()
            batch = Batch(position(2 + n), tuple(changes), lanes=(number,))
            applier.commit(batch)
        applier.close()

    def copy() -> None:
        copier = three.copier()
        for n in range(rounds):
            chunk = copier.claim(other)
            assert chunk is not None
            copier.begin(chunk, other, READ)
            copier.write(encoded([order(f"copied-{n:02}", n)]))
            copier.commit(split_at=b"%02d" % n)
        copier.close()

    with ThreadPoolExecutor(4) as pool:
        for work in [*(pool.submit(lane, n) for n in range(3)), pool.submit(copy)]:
            work.result(60)
    assert [each[:4] for each in markers(postgres_uri)] == [
        (n, 1, 1 + rounds, b"token-26") for n in range(3)
    ]
    assert len(orders(postgres_uri)) == 3 * 7
    counters = fetch(
        postgres_uri,
        f"SELECT table_name, applied, copied FROM {META}.table_state ORDER BY 1",
    )
    assert counters == [("orders", 75, 0), ("other", 75, 25)]
