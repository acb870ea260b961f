"""Sources that are broken on purpose, each in one way: the suite has to notice."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec.structs import replace

import cwarp_jsonl
import test_jsonl_source
from cartridge_warp import documents
from cartridge_warp.documents import WholeCollections
from cartridge_warp.model import ChunkRange, SourceIdentity
from cwarp_core import Reply, compare_keys
from cwarp_jsonl import JsonlChanges, JsonlSource
from mutation import Mutations, mutants, noticed_by

Patch = pytest.MonkeyPatch

MUTATIONS: Mutations = {}

HOLDS = documents.holds


@noticed_by(MUTATIONS, "test_it_is_the_same_source_every_time")
def another_identity_each_time(patch: Patch) -> None:
    new = lambda *_, **__: SourceIdentity(uuid.uuid4().hex, "1")  # noqa: E731
    patch.setattr(JsonlSource, "validate", new)


@noticed_by(MUTATIONS, "test_nothing_to_copy_is_refused_at_the_very_start_alone")
def nothing_is_ever_refused(patch: Patch) -> None:
    same = lambda *_, **__: SourceIdentity("same", "1")  # noqa: E731
    patch.setattr(JsonlSource, "validate", same)


@noticed_by(MUTATIONS, "test_a_collection_that_comes_later_is_listed_then")
def collections_in_any_order(patch: Patch) -> None:
    former = JsonlSource.discover
    patch.setattr(JsonlSource, "discover", lambda self: former(self)[::-1])


@noticed_by(MUTATIONS, "test_a_new_collection_is_part_of_the_stream")
def the_newest_time_is_the_one_before(patch: Patch) -> None:
    def newest_time(self: JsonlSource) -> int:
        return max([0, *(each.time for each in self.history()[:-1])])

    patch.setattr(JsonlSource, "newest_time", newest_time)


@noticed_by(MUTATIONS, "test_the_time_now_is_behind_what_is_written")
def the_time_now_stands_still(patch: Patch) -> None:
    patch.setattr(JsonlSource, "time_now", lambda _: 1)


@noticed_by(MUTATIONS, "test_a_position_that_is_gone_is_said_to_be_gone")
def the_position_now_is_the_beginning(patch: Patch) -> None:
    start = cwarp_jsonl.position_of(cwarp_jsonl.token_of(0))
    patch.setattr(JsonlSource, "position_now", lambda _: start)


@noticed_by(MUTATIONS, "test_any_range_holds_its_ids_and_no_other")
def a_range_holds_its_upper_bound(patch: Patch) -> None:
    def holds(chunk: ChunkRange, key: bytes) -> bool:
        return HOLDS(replace(chunk, upper=None), key) and (
            chunk.upper is None or compare_keys(key, chunk.upper) <= 0
        )

    patch.setattr(documents, "holds", holds)


@noticed_by(MUTATIONS, "test_any_range_holds_its_ids_and_no_other")
def a_range_lacks_its_lower_bound(patch: Patch) -> None:
    patch.setattr(documents, "holds", lambda c, k: k != c.lower and HOLDS(c, k))


@noticed_by(MUTATIONS, "test_any_range_holds_its_ids_and_no_other")
def numbers_of_another_type_are_in_another_range(patch: Patch) -> None:
    def holds(chunk: ChunkRange, key: bytes) -> bool:
        bound = chunk.lower or chunk.upper
        return HOLDS(chunk, key) and (bound is None or bound[:1] == key[:1])

    patch.setattr(documents, "holds", holds)


@noticed_by(MUTATIONS, "test_many_documents_come_in_order_and_whole")
def documents_as_they_were_written(patch: Patch) -> None:
    patch.setattr(documents, "in_order", list)


@noticed_by(MUTATIONS, "test_the_chunks_hold_every_id_exactly_once")
def chunks_with_a_gap(patch: Patch) -> None:
    def plan_chunks(self: JsonlSource, collection: str) -> list[ChunkRange]:
        bounds = self.key_bounds(collection)
        assert bounds is not None
        return [ChunkRange(None, bounds[0]), ChunkRange(bounds[1], None)]

    patch.setattr(WholeCollections, "plan_chunks", plan_chunks)


@noticed_by(MUTATIONS, "test_a_sample_is_of_the_collection")
def a_sample_of_all(patch: Patch) -> None:
    def sample(self: JsonlSource, collection: str, size: int) -> Iterator[Reply]:
        every = [e.document for e in self.history() if e.document is not None]
        return self._replies(every[:size])

    patch.setattr(WholeCollections, "sample", sample)


@noticed_by(MUTATIONS, "test_the_bounds_are_the_first_and_the_last_key")
def keys_by_their_text(patch: Patch) -> None:
    def key_bounds(self: JsonlSource, name: str) -> tuple[bytes, bytes] | None:
        keys = sorted(documents.key_of(each) for each in self.documents(name))
        return (keys[0], keys[-1]) if keys else None

    patch.setattr(WholeCollections, "key_bounds", key_bounds)


@noticed_by(MUTATIONS, "test_each_id_finds_its_own_document")
def a_look_up_finds_its_neighbours(patch: Patch) -> None:
    patch.setattr(documents, "_identity", lambda key: key[:1])


@noticed_by(MUTATIONS, "test_a_reply_is_not_older_than_its_documents")
def replies_that_tell_no_time(patch: Patch) -> None:
    def replies(self: JsonlSource, found: list[bytes]) -> Iterator[Reply]:
        yield Reply.of_documents(list(found))

    patch.setattr(WholeCollections, "_replies", replies)


@noticed_by(MUTATIONS, "test_a_later_change_is_newer_than_the_newest_time_before")
def a_change_is_left_out(patch: Patch) -> None:
    former = JsonlChanges.read

    def read(self: JsonlChanges, patience: float = 1.0) -> Reply:
        reply = former(self, patience)
        kept = [reply.document(at) for at in range(len(reply)) if at != 2]
        token = reply.post_batch_resume_token
        return Reply.of_documents(kept, reply.operation_time, token)

    patch.setattr(JsonlChanges, "read", read)


@noticed_by(MUTATIONS, "test_a_reply_ends_at_or_behind_its_last_event")
def a_reply_ends_at_its_first_event(patch: Patch) -> None:
    former = JsonlChanges.read

    def read(self: JsonlChanges, patience: float = 1.0) -> Reply:
        before = self._time
        reply = former(self, patience)
        kept = [reply.document(at) for at in range(len(reply))]
        token = cwarp_jsonl.token_of(before)
        return Reply.of_documents(kept, reply.operation_time, token)

    patch.setattr(JsonlChanges, "read", read)


@noticed_by(MUTATIONS, "test_a_read_has_everything_up_to_its_time")
def tokens_do_not_sort(patch: Patch) -> None:
    former = JsonlSource.order

    def order(self: JsonlSource, token: bytes) -> bytes:
        return bytes(255 - each for each in former(self, token))

    patch.setattr(JsonlSource, "order", order)


@noticed_by(MUTATIONS, "test_a_token_becomes_its_position")
def a_position_is_one_behind(patch: Patch) -> None:
    def position_of(self: JsonlChanges, token: bytes) -> Any:
        place = cwarp_jsonl.position_of(token)
        return replace(place, cluster_time=place.cluster_time + 1)

    patch.setattr(JsonlChanges, "position_of", position_of)


@noticed_by(MUTATIONS, "test_everything_after_the_position_comes_in_order")
def a_delete_is_a_change_like_any_other(patch: Patch) -> None:
    mutate_event(patch, lambda event: {**event, "operation": "replace"})


@noticed_by(MUTATIONS, "test_a_copy_and_the_stream_beside_it_meet")
def a_document_comes_without_its_note(patch: Patch) -> None:
    def without(event: dict[str, Any]) -> dict[str, Any]:
        raw = event["document"]
        short = None if raw is None else documents._document([(b"\x0anothing", b"")])
        return {**event, "document": short}

    mutate_event(patch, without)


@noticed_by(MUTATIONS, "test_a_copy_and_the_stream_beside_it_meet")
def all_ids_are_told_as_texts(patch: Patch) -> None:
    def told(event: dict[str, Any]) -> dict[str, Any]:
        text = documents._identity(event["key"])
        return {**event, "key": b"\x02" + documents._text(text)}

    mutate_event(patch, told)


@noticed_by(MUTATIONS, "test_a_position_that_is_gone_is_said_to_be_gone")
def what_is_gone_is_passed_over(patch: Patch) -> None:
    def begin(self: JsonlChanges, source: JsonlSource, position: Any) -> None:
        self._source, self._time = source, position.cluster_time

    patch.setattr(JsonlChanges, "__init__", begin)


@noticed_by(MUTATIONS, "test_every_stream_has_one_history")
def a_stream_that_begins_now(patch: Patch) -> None:
    def begin(self: JsonlChanges, source: JsonlSource, position: Any) -> None:
        self._source, self._time = source, source.newest_time()

    patch.setattr(JsonlChanges, "__init__", begin)


def mutate_event(
    patch: Patch, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    former = documents.change_event

    def made(*given: Any) -> bytes:
        names = "token", "time", "operation", "collection", "key", "document"
        return former(**change(dict(zip(names, given, strict=True))))

    patch.setattr(cwarp_jsonl, "change_event", made)


globals().update(mutants(test_jsonl_source.TestJsonlSource, MUTATIONS))
