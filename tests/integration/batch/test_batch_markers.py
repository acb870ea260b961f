"""The markers of batch mode in PostgreSQL: with the rows, fenced, never back."""

from __future__ import annotations

from collections.abc import Iterator

import bson
import pytest
from msgspec.structs import replace

from cartridge_warp.errors import (
    DestinationError,
    DestinationUnavailable,
    Fenced,
    PreconditionError,
)
from cartridge_warp.model import (
    Absent,
    Batch,
    BatchMarker,
    BatchStep,
    ChunkRange,
    Keys,
    PassEnd,
    TableChanges,
)
from cartridge_warp.postgresql.destination import PostgresDestination
from cwarp_core import Reject
from postgresql_kit import (
    IDENTITY,
    META,
    TABLE,
    CommitCutter,
    apply,
    encoded,
    end_backends,
    fetch,
    make,
    order,
    orders,
    silence,
    upserts,
)


def marker(time: int) -> BatchMarker:
    return BatchMarker(bson.encode({"v": time}), b"\x10" + time.to_bytes(4), time)


def step(time: int | None = None, end: PassEnd | None = None) -> BatchStep:
    return BatchStep("orders", None if time is None else marker(time), end)


def batch(step: BatchStep, *changes: TableChanges) -> Batch:
    return Batch(None, changes, (), guarded=True, step=step)


def stored(uri: str) -> tuple[int, int | None]:
    """``seq`` and the marker's time."""
    return fetch(uri, f"SELECT seq, value_time FROM {META}.batch_markers")[0]  # type: ignore[return-value]


@pytest.fixture
def proxy(postgres_uri: str) -> Iterator[CommitCutter]:
    cutter = CommitCutter(postgres_uri)
    yield cutter
    cutter.close()


def begun(uri: str) -> PostgresDestination:
    """An owner without a stream, whose one table is of batch mode."""
    destination = make(uri)
    silence(uri)
    assert destination.open(IDENTITY) == []
    destination.ensure(TABLE)
    destination.enroll(TABLE, "updated_at", marker(1))
    return destination


@pytest.fixture
def owner(postgres_uri: str) -> Iterator[PostgresDestination]:
    destination = begun(postgres_uri)
    yield destination
    destination.close()


def test_rows_and_the_marker_move_together(
    postgres_uri: str, owner: PostgresDestination
) -> None:
    apply(owner, batch(step(2), upserts(order("a", 1), order("b", 1))))
    assert orders(postgres_uri) == [("a", 1, None), ("b", 1, None)]
    assert stored(postgres_uri) == (1, 2)
    changes = TableChanges(TABLE, deletes=("a",), events=1)
    apply(owner, batch(step(), changes))
    assert orders(postgres_uri) == [("b", 1, None)]
    assert stored(postgres_uri) == (2, 2)


def test_no_lane_moves_with_it(postgres_uri: str, owner: PostgresDestination) -> None:
    apply(owner, batch(step(2), upserts(order("a", 1))))
    query = f"SELECT lane, seq, resume_token FROM {META}.sync_markers"
    assert fetch(postgres_uri, query) == [(0, 0, None)]


def test_rows_that_are_equal_are_counted_and_left_alone(
    postgres_uri: str, owner: PostgresDestination
) -> None:
    for rows in (3, 300):
        same = [order(f"{n:03}", n) for n in range(rows)]
        applier = owner.applier()
        applier.commit(batch(step(2), upserts(*same)))
        query = "SELECT _id, xmin::text FROM shop.orders ORDER BY _id"
        before = fetch(postgres_uri, query)
        applier.commit(batch(step(2), upserts(*same[1:], order("000", -1))))
        assert applier.untouched() == rows - 1
        assert fetch(postgres_uri, query)[1:] == before[1:]
        applier.commit(batch(step(2)))
        assert applier.untouched() == 0
        applier.close()
    query = f"SELECT events, applied, superseded FROM {META}.table_state"
    # Three and one, then 299 (the three are there) and one more; the rest was equal.
    assert fetch(postgres_uri, query) == [(606, 303, 303)]


def test_the_end_of_a_pass_is_kept(
    postgres_uri: str, owner: PostgresDestination
) -> None:
    end = PassEnd(1000.5, 2000.25, 3000.0, 7, news=True)
    apply(owner, batch(step(end=end)))
    query = (
        "SELECT passes, extract(epoch FROM began_at)::float8,"
        " extract(epoch FROM ended_at)::float8, extract(epoch FROM due_at)::float8,"
        f" unread FROM {META}.batch_markers"
    )
    assert fetch(postgres_uri, query) == [(1, 1000.5, 2000.25, 3000.0, 7)]
    query = f"SELECT table_name, kind, count FROM {META}.error_log"
    assert fetch(postgres_uri, query) == [("orders", "unread", 7)]
    (state,) = owner.tables()
    assert state.batch is not None
    assert (state.batch.passes, state.batch.began, state.batch.unread) == (1, 1000.5, 7)
    apply(owner, batch(step(end=replace(end, unread=9, news=False))))
    assert len(fetch(postgres_uri, query)) == 1


def test_a_marker_never_goes_back(
    postgres_uri: str, owner: PostgresDestination
) -> None:
    apply(owner, batch(step(5)))
    with pytest.raises(DestinationError, match="go back in time"):
        apply(owner, batch(step(4), upserts(order("a", 1))))
    assert stored(postgres_uri) == (1, 5)
    assert orders(postgres_uri) == []
    apply(owner, batch(step(5)))


def test_a_former_owner_is_fenced(
    postgres_uri: str, owner: PostgresDestination
) -> None:
    apply(owner, batch(step(2)))
    begun(postgres_uri).close()
    with pytest.raises(Fenced):
        apply(owner, batch(step(3), upserts(order("a", 1))))
    assert orders(postgres_uri) == []
    assert stored(postgres_uri) == (1, 2)


def test_a_new_owner_goes_on_at_the_marker(
    postgres_uri: str, owner: PostgresDestination
) -> None:
    apply(owner, batch(step(2)))
    newer = begun(postgres_uri)
    (state,) = newer.tables()
    assert state.batch is not None
    # It was enrolled again, and kept what it had.
    assert state.batch.marker == marker(2)
    apply(newer, batch(step(3)))
    newer.close()
    assert stored(postgres_uri) == (2, 3)


def test_another_column_forgets_the_marker(
    postgres_uri: str, owner: PostgresDestination
) -> None:
    apply(owner, batch(step(5)))
    assert owner.enroll(TABLE, "changed", None).marker is None
    apply(owner, batch(step(2)))
    assert stored(postgres_uri) == (3, 2)


def test_a_table_that_is_not_enrolled_has_no_marker(postgres_uri: str) -> None:
    destination = make(postgres_uri)
    destination.open(IDENTITY)
    destination.ensure(TABLE)
    with pytest.raises(DestinationError, match="no table of batch mode orders"):
        apply(destination, batch(step(2)))
    destination.close()


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_commit_whose_answer_is_lost_counts_once(
    postgres_uri: str, proxy: CommitCutter, cut: str
) -> None:
    destination = begun(proxy.uri)
    work = batch(step(2), upserts(order("a", 1)))
    proxy.cut = cut
    if cut == "before":
        with pytest.raises(DestinationUnavailable):
            apply(destination, work)
        assert stored(postgres_uri) == (0, 1)
    apply(destination, work)
    assert stored(postgres_uri) == (1, 2)
    apply(destination, batch(step(3), upserts(order("a", 2))))
    assert orders(postgres_uri) == [("a", 2, None)]
    assert stored(postgres_uri) == (2, 3)
    destination.close()


def test_an_outcome_that_is_not_known_yet_is_learnt_before_the_next(
    postgres_uri: str, proxy: CommitCutter
) -> None:
    destination = begun(proxy.uri)
    work = batch(step(2), upserts(order("a", 1)))
    proxy.cut, proxy.down_after = "after", True
    with pytest.raises(DestinationUnavailable):
        apply(destination, work)
    proxy.down = proxy.down_after = False
    apply(destination, work)
    assert stored(postgres_uri) == (1, 2)
    destination.close()


@pytest.mark.parametrize("moment", ["merge_done", "marker_updated", "commit_sent"])
def test_a_backend_that_dies_applies_nothing(
    postgres_uri: str,
    owner: PostgresDestination,
    moment: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    killed: list[int] = []

    def reached(point: str) -> None:
        if point == moment and not killed:
            killed.append(end_backends(postgres_uri, "stream"))

    monkeypatch.setattr("cartridge_warp.postgresql.applier.reached", reached)
    applier = owner.applier()
    work = batch(step(2), upserts(order("a", 1)))
    with pytest.raises(DestinationUnavailable):
        applier.commit(work)
    assert killed == [1]
    assert stored(postgres_uri) == (0, 1)
    assert orders(postgres_uri) == []
    applier.commit(work)
    applier.close()
    assert stored(postgres_uri) == (1, 2)


def test_tables_of_an_earlier_copy_need_a_position_and_those_of_passes_none(
    postgres_uri: str, owner: PostgresDestination
) -> None:
    owner.plan(TABLE, [ChunkRange(None, None)])
    other = replace(TABLE, name="streamed", collection="streamed")
    newer = begun(postgres_uri)
    newer.ensure(other)
    newer.close()
    # Nothing of it is copied yet: it may become either.
    begun(postgres_uri).close()
    newer = begun(postgres_uri)
    newer.plan(other, [])
    newer.close()
    newer = make(postgres_uri)
    with pytest.raises(PreconditionError, match="no position"):
        newer.open(IDENTITY)
    newer.close()


def test_keys_that_are_not_there_any_more(
    postgres_uri: str, owner: PostgresDestination
) -> None:
    rows = [order(each, 1) for each in ("a", "b", "c", 'quo"te', "n\u00fcl")]
    apply(owner, batch(step(), upserts(*rows)))
    present = [Keys(("a", "x")), Keys(), Keys(('quo"te',), ("7",))]
    found = owner.absent(TABLE, iter(present))
    assert (set(found.rows), found.letters) == ({"b", "c", "n\u00fcl"}, ())
    everyone = ("a", "b", "c", 'quo"te', "n\u00fcl")
    assert set(owner.absent(TABLE, iter([])).rows) == set(everyone)
    assert owner.absent(TABLE, [Keys(everyone)]) == Absent()


def test_dead_letters_whose_documents_are_gone(
    postgres_uri: str, owner: PostgresDestination
) -> None:
    rejects = [
        Reject(b"1", "misfit", -1, '"a"', 0),
        Reject(b"2", "misfit", -1, '"b"', 0),
        Reject(b"3", "key_kind", -1, "7", -1),
        Reject(b"4", "key_kind", -1, "8", -1),
        Reject(b"5", "corrupt", -1, None, -1),
    ]
    apply(owner, batch(step(), TableChanges(TABLE, (encoded((), rejects),), (), 5)))
    found = owner.absent(TABLE, [Keys(("a",), ("7",))])
    assert (found.rows, sorted(found.letters)) == ((), ['"b"', "8"])
    apply(owner, batch(step(), TableChanges(TABLE, unheld=found.letters)))
    query = f"SELECT key FROM {META}.dead_letter_queue WHERE state = 'pending'"
    assert sorted(fetch(postgres_uri, query), key=repr) == [('"a"',), ("7",), (None,)]


def test_what_the_source_raises_ends_the_comparison(
    postgres_uri: str, owner: PostgresDestination
) -> None:
    def keys() -> Iterator[Keys]:
        yield Keys(("a",))
        raise Fenced("in the middle")

    with pytest.raises(Fenced, match="in the middle"):
        owner.absent(TABLE, keys())
    assert owner.absent(TABLE, []) == Absent()
