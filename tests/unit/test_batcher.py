"""Which events commit together."""

from __future__ import annotations

from typing import Any

import pytest
from bson import Decimal128, Int64, ObjectId
from hypothesis import given
from hypothesis import strategies as st

from cartridge_warp.engine.batcher import Batcher, Pending
from change_events import event, parsed, token
from cwarp_core import ChangeEvent, key_text

BIG = 1 << 30


def insert(number: int, key: object, **more: Any) -> dict[str, Any]:
    return event("insert", number, key, document={"_id": key, "n": number}, **more)


def pending_of(batcher: Batcher) -> Pending:
    pending = batcher.take()
    assert pending is not None
    return pending


def test_nothing_in_nothing_out() -> None:
    batcher = Batcher(10, BIG)
    assert batcher.empty
    assert batcher.take() is None


def test_the_last_event_of_a_key_wins_and_all_are_counted() -> None:
    batcher = Batcher(10, BIG)
    events = parsed(
        insert(1, "a"),
        event("update", 2, "a"),
        insert(3, "b"),
        event("delete", 4, "a"),
    )
    assert batcher.extend(events) == 4
    pending = pending_of(batcher)
    orders = pending.collections["orders"]
    assert orders.events == 4
    last = [(each.operation, each.cluster_time >> 32) for each in orders.last.values()]
    assert last == [("delete", 4), ("insert", 3)]
    assert pending.token == token(4)
    assert pending.cluster_time >> 32 == 4
    assert not pending.cuts


@pytest.mark.parametrize(
    "same",
    [
        (1, Int64(1), 1.0, Decimal128("1.0")),
        (0, -0.0, Decimal128("-0.00")),
        (3.5, Decimal128("3.50")),
        (float("nan"), Decimal128("NaN")),
        ({"a": 1}, {"a": 1.0}),
        (ObjectId("0" * 24), ObjectId("0" * 24)),
    ],
)
def test_ids_that_mongodb_holds_equal_are_one_key(same: tuple[object, ...]) -> None:
    batcher = Batcher(10, BIG)
    batcher.extend(parsed(*[insert(n, key) for n, key in enumerate(same, 1)]))
    assert len(pending_of(batcher).collections["orders"].last) == 1


@pytest.mark.parametrize(
    "different",
    [
        (1, "1", True, "true"),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (ObjectId("0" * 24), "0" * 24, b"0" * 12),
        (0, False),
    ],
)
def test_ids_that_differ_are_several_keys(different: tuple[object, ...]) -> None:
    batcher = Batcher(10, BIG)
    batcher.extend(parsed(*[insert(n, key) for n, key in enumerate(different, 1)]))
    assert len(pending_of(batcher).collections["orders"].last) == len(different)


def test_one_key_in_two_collections_is_two() -> None:
    batcher = Batcher(10, BIG)
    batcher.extend(parsed(insert(1, "a"), insert(2, "a", collection="items")))
    pending = pending_of(batcher)
    assert {name: len(each.last) for name, each in pending.collections.items()} == {
        "orders": 1,
        "items": 1,
    }


def test_a_full_batch_stops_before_the_next_event() -> None:
    batcher = Batcher(2, BIG)
    events = parsed(*[insert(n, n) for n in range(1, 6)])
    assert batcher.extend(events) == 2
    assert batcher.full
    assert pending_of(batcher).token == token(2)
    assert batcher.extend(events, 2) == 4
    assert pending_of(batcher).token == token(4)
    assert batcher.extend(events, 4) == 5
    assert not batcher.full


def test_events_of_known_keys_fill_nothing() -> None:
    batcher = Batcher(2, BIG)
    events = parsed(*[insert(n, "same") for n in range(1, 100)])
    assert batcher.extend(events) == 99
    assert not batcher.full


def test_a_transaction_is_taken_whole() -> None:
    batcher = Batcher(2, BIG)
    events = parsed(
        insert(1, 1),
        *[insert(2, 10 + n, transaction=7) for n in range(5)],
        insert(3, 3),
    )
    assert batcher.extend(events) == 6
    pending = pending_of(batcher)
    assert pending.collections["orders"].events == 6
    assert not pending.cuts


def test_two_transactions_that_follow_each_other_are_two() -> None:
    batcher = Batcher(1, BIG)
    events = parsed(
        insert(1, 1, transaction=1),
        insert(1, 2, transaction=1),
        insert(2, 3, transaction=2),
    )
    assert batcher.extend(events) == 2
    assert not pending_of(batcher).cuts


def test_a_transaction_at_the_end_of_a_reply_stays_open() -> None:
    batcher = Batcher(10, BIG)
    batcher.extend(parsed(insert(1, 1, transaction=1)))
    batcher.reply_used_up(token(1), settled=False)
    assert batcher.inside_transaction
    batcher.extend(parsed(insert(1, 2, transaction=1), insert(2, 3)))
    batcher.reply_used_up(token(2), settled=False)
    assert not batcher.inside_transaction
    assert pending_of(batcher).collections["orders"].events == 3


@pytest.mark.parametrize("place", [1, 9])
def test_a_settled_place_ends_a_transaction(place: int) -> None:
    batcher = Batcher(10, BIG)
    batcher.extend(parsed(insert(1, 1, transaction=1)))
    batcher.reply_used_up(token(place), settled=True)
    assert not batcher.inside_transaction
    assert pending_of(batcher).settled


def test_only_the_byte_bound_cuts_a_transaction() -> None:
    batcher = Batcher(1, 3000)
    text = "x" * 1000
    events = parsed(
        *[
            event("insert", 1, n, document={"_id": n, "text": text}, transaction=1)
            for n in range(9)
        ]
    )
    taken = batcher.extend(events)
    assert 0 < taken < 9
    assert pending_of(batcher).cuts


def test_a_key_that_is_overwritten_keeps_its_bytes() -> None:
    """Its event may be the last of its reply, which stays as long as any of them."""
    batcher = Batcher(100, 5000)
    big = event("insert", 1, "a", document={"_id": "a", "text": "x" * 4000})
    rest = [event("delete", number, "a") for number in range(2, 40)]
    assert batcher.extend(parsed(big, *rest)) < 39
    assert batcher.full


def test_a_transaction_over_two_lanes_is_joint() -> None:
    """One over a single lane is not, and neither are two that lie side by side."""
    lanes = {"a": 0, "b": 1}

    def lane_of(event: ChangeEvent) -> int:
        return lanes[key_text(event.key or b"", "string")]

    batcher = Batcher(100, BIG, lane_of)
    batcher.extend(parsed(insert(1, "a", transaction=1), insert(1, "a", transaction=1)))
    batcher.extend(parsed(insert(2, "b", transaction=2)))
    pending = pending_of(batcher)
    assert (pending.transactions, pending.joint) == (True, False)
    batcher.extend(parsed(insert(3, "a", transaction=3), insert(3, "b", transaction=3)))
    assert pending_of(batcher).joint
    batcher.extend(parsed(insert(4, "a"), insert(5, "b")))
    pending = pending_of(batcher)
    assert (pending.transactions, pending.joint) == (False, False)


@pytest.mark.parametrize("operation", ["drop", "rename", "createIndexes", "invalidate"])
def test_structure_ends_a_batch(operation: str) -> None:
    batcher = Batcher(10, BIG)
    events = parsed(insert(1, 1), event(operation, 2, to="new"), insert(3, 3))
    assert batcher.extend(events) == 1
    assert batcher.extend(events, 1) == 1
    assert pending_of(batcher).token == token(1)
    batcher.passed(events[1].token)
    assert batcher.empty
    assert batcher.extend(events, 2) == 3
    assert pending_of(batcher).token == token(3)


def test_a_collection_made_in_a_transaction_does_not_cut_it() -> None:
    batcher = Batcher(10, BIG)
    events = parsed(
        insert(1, 1, transaction=1),
        event("create", 1, transaction=1, collection="new"),
        insert(1, 2, transaction=1, collection="new"),
        event("drop", 2),
    )
    assert batcher.extend(events) == 1
    assert batcher.inside_transaction
    batcher.passed(events[1].token)
    assert batcher.extend(events, 2) == 3
    # What is no part of it ends it.
    assert batcher.extend(events, 3) == 3
    assert not batcher.inside_transaction
    pending = pending_of(batcher)
    assert sorted(pending.collections) == ["new", "orders"]
    assert not pending.cuts


def test_a_transaction_may_begin_with_a_collection_that_it_makes() -> None:
    batcher = Batcher(10, BIG)
    events = parsed(
        insert(1, 1),
        event("create", 2, transaction=1, collection="new"),
        insert(2, 2, transaction=1, collection="new"),
    )
    assert batcher.extend(events) == 1
    assert batcher.inside_transaction
    batcher.passed(events[1].token)
    assert batcher.extend(events, 2) == 3
    assert batcher.inside_transaction
    batcher.reply_used_up(None, settled=False)
    assert pending_of(batcher).cuts


def test_a_quiet_place_is_a_batch_without_events() -> None:
    batcher = Batcher(10, BIG)
    batcher.reply_used_up(token(5), settled=True)
    assert batcher.empty
    assert batcher.settled
    pending = pending_of(batcher)
    assert (pending.token, pending.collections, pending.settled) == (
        token(5),
        {},
        True,
    )


def test_a_full_reply_is_not_settled() -> None:
    batcher = Batcher(10, BIG)
    batcher.extend(parsed(insert(1, 1)))
    batcher.reply_used_up(token(1), settled=False)
    assert not batcher.settled
    batcher.reply_used_up(token(1), settled=True)
    assert batcher.settled


def test_an_event_without_a_key_is_counted() -> None:
    batcher = Batcher(10, BIG)
    batcher.extend(parsed(event("insert", 1, document={"n": 1}), insert(2, 2)))
    orders = pending_of(batcher).collections["orders"]
    assert (orders.events, orders.unkeyed, len(orders.last)) == (2, 1, 1)


operations = st.sampled_from(["insert", "update", "replace", "delete", "drop"])
histories = st.lists(
    st.tuples(
        operations,
        st.integers(0, 5),  # key
        st.sampled_from([None, None, 1, 2, 3]),  # transaction
    ),
    max_size=60,
)


@given(histories, st.integers(1, 5), st.lists(st.integers(1, 8), max_size=60))
def test_any_history_arrives_in_order_and_whole(
    history: list[tuple[str, int, int | None]], max_keys: int, sizes: list[int]
) -> None:
    """Cut into any replies, the batches together are the history, once."""
    made = []
    for number, (operation, key, transaction) in enumerate(history, 1):
        if operation == "drop":
            made.append(event("drop", number))
        else:
            made.append(event(operation, number, key, transaction=transaction))
    events = parsed(*made)
    batcher = Batcher(max_keys, BIG)
    batches: list[Pending] = []

    def flush() -> None:
        if (pending := batcher.take()) is not None and pending.collections:
            batches.append(pending)

    position = 0
    for size in [*sizes, len(events)]:
        reply = events[position : position + size]
        position += len(reply)
        index = 0
        while (index := batcher.extend(reply, index)) < len(reply):
            flush()
            if reply[index].operation == "drop":
                batcher.passed(reply[index].token)
                index += 1
        # The source says whether more can follow at once, by the token of the place.
        open_end = position < len(events)
        batcher.reply_used_up(
            token(position if open_end else position + 1000), settled=not open_end
        )
        if not batcher.empty and not batcher.inside_transaction:
            flush()
    flush()

    state: dict[int, int] = {}
    ends: list[int] = []
    for batch in batches:
        orders = batch.collections["orders"]
        for last in orders.last.values():
            key = int.from_bytes(last.key[1:], "little")  # type: ignore[index]
            assert last.cluster_time > state.get(key, -1)
            state[key] = last.cluster_time
        ends.append(max(each.cluster_time >> 32 for each in orders.last.values()))
    total = sum(batch.collections["orders"].events for batch in batches)
    assert total == sum(operation != "drop" for operation, _, _ in history)
    expected: dict[int, int] = {}
    for number, (operation, key, _) in enumerate(history, 1):
        if operation != "drop":
            expected[key] = number
    assert {key: time >> 32 for key, time in state.items()} == expected
    for end in ends:
        if end < len(history):
            this, following = history[end - 1], history[end]
            assert not (
                this[2] is not None
                and this[2] == following[2]
                and following[0] != "drop"
            )
