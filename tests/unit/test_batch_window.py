"""What an overlap brings again is known; what is new, or changed, is not."""

from __future__ import annotations

from typing import Any

import bson
from bson import Int64

from cartridge_warp.engine.batch_window import Fresh, Window
from cwarp_core import Reply

Document = dict[str, Any]


def reply(*documents: Document) -> Reply:
    return Reply.of_documents([bson.encode(each) for each in documents], 7)


def new(fresh: Fresh) -> list[Document]:
    if fresh.reply is None:
        return []
    assert fresh.reply.operation_time == 7
    return [bson.decode(fresh.reply.document(n)) for n in range(len(fresh.reply))]


def read(window: Window, *documents: Document) -> list[Document]:
    fresh = window.sift(reply(*documents))
    assert fresh.read == len(documents)
    window.committed(fresh)
    return new(fresh)


def test_a_document_is_new_once() -> None:
    window = Window()
    both = [{"_id": 1, "n": 1}, {"_id": 2, "n": 1}]
    assert read(window, *both) == both
    assert read(window, *both) == []
    assert read(window, both[0], {"_id": 3}, both[1]) == [{"_id": 3}]


def test_a_document_that_changed_is_new_and_so_is_one_that_changed_back() -> None:
    window = Window()
    for n in (1, 2, 1):
        assert read(window, {"_id": "a", "n": n}) == [{"_id": "a", "n": n}]


def test_what_was_not_committed_is_new_again() -> None:
    window = Window()
    assert new(window.sift(reply({"_id": 1}))) == [{"_id": 1}]
    assert new(window.sift(reply({"_id": 1}))) == [{"_id": 1}]


def test_of_one_id_the_last_document_counts() -> None:
    window = Window()
    fresh = window.sift(reply({"_id": 1, "n": 1}, {"_id": 2}, {"_id": 1, "n": 2}))
    assert new(fresh) == [{"_id": 1, "n": 2}, {"_id": 2}]
    assert fresh.twice


def test_ids_that_mongodb_holds_equal_are_one() -> None:
    fresh = Window().sift(reply({"_id": 1, "n": 1}, {"_id": 1.0, "n": 2}))
    assert new(fresh) == [{"_id": 1.0, "n": 2}]
    assert fresh.twice
    assert not Window().sift(reply({"_id": 1}, {"_id": "1"})).twice


def test_the_same_document_twice_is_no_conflict() -> None:
    fresh = Window().sift(reply({"_id": Int64(5)}, {"_id": Int64(5)}))
    assert new(fresh) == [{"_id": 5}]
    assert not fresh.twice


def test_it_remembers_the_last_ones_alone() -> None:
    window = Window(2)
    read(window, *({"_id": n} for n in range(3)))
    assert read(window, {"_id": 1}, {"_id": 2}) == []
    assert read(window, {"_id": 0}) == [{"_id": 0}]
    # Reading it again made the second one the oldest.
    assert read(window, {"_id": 2}) == []
    assert read(window, {"_id": 1}) == [{"_id": 1}]


def test_without_room_everything_is_new() -> None:
    window = Window(0)
    for _ in range(2):
        assert read(window, {"_id": 1}) == [{"_id": 1}]


def test_cleared_it_knows_nothing() -> None:
    window = Window()
    read(window, {"_id": 1})
    window.clear()
    assert read(window, {"_id": 1}) == [{"_id": 1}]


def test_documents_without_an_id_are_known_by_their_bytes() -> None:
    window = Window()
    assert read(window, {"n": 1}, {"n": 2}) == [{"n": 1}, {"n": 2}]
    assert read(window, {"n": 1}, {"n": 3}) == [{"n": 3}]
