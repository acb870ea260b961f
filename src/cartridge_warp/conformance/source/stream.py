"""The change stream: what it tells, in which order, and from where it goes on."""

from __future__ import annotations

import threading
import time
from itertools import pairwise
from typing import NamedTuple

from msgspec.structs import replace

from cwarp_core import ChangeEvent

from ...model import Position
from ...protocols import Source
from ..documents import canonical, document, documents, element, in_order
from ..promise import Promise
from .hooks import SourceHooks

_EVERYTHING = Promise("Source.changes", "Everything after ``position``.")


class Change(NamedTuple):
    """What a test did to a document. deleted: it is gone, else it is ``raw`` now."""

    collection: str
    raw: bytes
    deleted: bool = False


_CHANGES = (
    Change("a", document(1, 1)),
    Change("a", document(2, 1)),
    Change("a", document(1, 2, "two")),
    Change("b", document("x")),
    Change("a", document(2, 1), deleted=True),
    Change("b", document("x", 5)),
)


class Stream(SourceHooks):
    def do(self, *changes: Change) -> None:
        """Make changes, one by one."""
        known: set[tuple[str, str]] = set()
        for name, raw, deleted in changes:
            key = name, canonical(raw)
            if deleted:
                self.delete(name, raw)
            elif key in known:
                self.replace(name, raw)
            else:
                self.insert(name, [raw])
            known.add(key)

    def written(self, source: Source) -> Position:
        """Make the six changes; returns the position before them."""
        self.insert("a", [document("before")])
        start = source.position_now()
        self.do(*_CHANGES)
        return start

    # --- what it tells ----------------------------------------------------------

    def test_everything_after_the_position_comes_in_order(self) -> None:
        source = self.source()
        events = self.follow(source, self.written(source)).count(len(_CHANGES))
        _EVERYTHING.equal(
            [(e.collection, e.key, e.operation == "delete") for e in events],
            [(c.collection, element(c.raw), c.deleted) for c in _CHANGES],
        )

    def test_a_change_that_has_its_document_has_all_of_it(self) -> None:
        source = self.source()
        events = self.follow(source, self.written(source)).count(len(_CHANGES))
        for event, change in zip(events, _CHANGES, strict=True):
            may_be = (None,) if change.deleted else (None, change.raw)
            _EVERYTHING.kept(
                event.document in may_be, f"{event.document!r}, not {change.raw!r}"
            )

    def test_every_kind_of_id_is_told_as_it_was_stored(self) -> None:
        self.insert("other", [document(1)])
        source = self.source()
        start = source.position_now()
        stored = [document(each, n) for n, each in enumerate(self.ids)]
        self.insert("zoo", stored)
        for each in stored:
            self.delete("zoo", each)
        events = self.follow(source, start).count(2 * len(stored))
        keys = [element(each) for each in stored]
        _EVERYTHING.equal([each.key for each in events], [*keys, *keys])
        identities = {each.identity for each in events}
        _EVERYTHING.equal(len(identities), len(stored))

    def test_a_new_collection_is_part_of_the_stream(self) -> None:
        self.insert("old", [document(1)])
        source = self.source()
        reader = self.follow(source, source.position_now())
        reader.read()
        self.insert("new", [document(1)])
        [event] = reader.count(1)
        _EVERYTHING.equal((event.collection, event.key), ("new", element(document(1))))

    def test_silence_is_a_reply_too(self) -> None:
        promise = Promise(
            "Changes.read",
            "The next reply: change events, or none after ``patience`` seconds of"
            " silence.",
        )
        self.insert("c", [document(1)])
        source = self.source()
        reader = self.follow(source, source.position_now())
        reader.silence()
        began = time.monotonic()
        for patience in (0.05, 1.0):
            found = len(reader.changes.read(patience))
            promise.equal(found, 0)
        promise.kept(time.monotonic() - began < 10, "it took more than ten seconds")
        began = time.monotonic()
        reader.read(patience=0.05)
        promise.kept(time.monotonic() - began < 5, "it took more than five seconds")

    # --- order and places -------------------------------------------------------

    def test_tokens_sort_as_the_stream_has_them(self) -> None:
        promise = Promise("Source.order", "What sorts tokens as the stream has them.")
        source, other = self.source(), self.source()
        start = self.written(source)
        events = self.follow(source, start).count(len(_CHANGES))
        tokens = [start.token, *(each.token for each in events)]
        for low, high in pairwise(tokens):
            promise.kept(
                source.order(low) < source.order(high),
                f"{low!r} is not before {high!r}",
            )
        promise.equal([*map(source.order, tokens)], [*map(other.order, tokens)])

    def test_a_reply_ends_at_or_behind_its_last_event(self) -> None:
        promise = Promise(
            "Changes.read",
            "Its ``post_batch_resume_token`` is the place after its last event.",
        )
        source = self.source()
        reader = self.follow(source, self.written(source))
        reader.count(len(_CHANGES))
        for reply, events in reader.replies:
            token = reply.post_batch_resume_token
            promise.kept(token is not None, "a reply has no token")
            for event in events:
                promise.kept(
                    source.order(token or b"") >= source.order(event.token),
                    "the token of a reply lies before one of its events",
                )

    def test_a_token_becomes_its_position(self) -> None:
        promise = Promise(
            "Changes.position_of",
            "The position a resume token of this stream stands for.",
        )
        source = self.source()
        reader = self.follow(source, self.written(source))
        for event in reader.count(len(_CHANGES)):
            position = reader.changes.position_of(event.token)
            promise.equal(position.token, event.token)
            promise.equal(position.cluster_time, event.cluster_time)

    def test_every_stream_has_one_history(self) -> None:
        source, other = self.source(), self.source()
        start = self.written(source)
        reader = self.follow(source, start)
        reader.read()
        self.do(Change("b", document("later")))
        number = len(_CHANGES) + 1
        told = [_told(each) for each in reader.count(number)]
        again = [_told(each) for each in self.follow(other, start).count(number)]
        _EVERYTHING.equal(again, told)

    # --- going on ---------------------------------------------------------------

    def test_it_goes_on_behind_every_event(self) -> None:
        source = self.source()
        reader = self.follow(source, self.written(source))
        events = reader.count(len(_CHANGES))
        for at, event in enumerate(events[:-1]):
            place = reader.changes.position_of(event.token)
            rest = self.follow(self.source(), place).count(len(events) - at - 1)
            _EVERYTHING.equal([*map(_told, rest)], [*map(_told, events[at + 1 :])])

    def test_it_goes_on_behind_a_silence(self) -> None:
        source = self.source()
        reader = self.follow(source, self.written(source))
        reader.count(len(_CHANGES))
        reader.silence()
        self.do(Change("a", document("later")))
        [event] = self.follow(self.source(), reader.after).count(1)
        _EVERYTHING.equal(event.key, element(document("later")))

    def test_a_token_of_another_kind_gives_its_time(self) -> None:
        promise = Promise(
            "Position",
            "A token of another kind is not used: the stream is opened at the time"
            " instead.",
        )
        source = self.source()
        start = replace(self.written(source), stream="of another kind")
        events = self.follow(source, start).count(len(_CHANGES))
        promise.equal([each.key for each in events], [element(c.raw) for c in _CHANGES])

    def test_nothing_is_missed_or_told_twice_while_it_is_opened_anew(self) -> None:
        self.insert("c", [document("before")])
        source = self.source()
        place = source.position_now()
        number = 60

        def write() -> None:
            for n in range(number):
                self.insert("c", [document(n)])
                time.sleep(0.01)

        writer = threading.Thread(target=write)
        writer.start()
        told: list[ChangeEvent] = []
        while len(told) < number:
            reader = self.follow(source, place)
            reader.count(1)
            told += reader.events
            place = reader.after
            reader.changes.close()
        writer.join()
        keys = [element(document(n)) for n in range(number)]
        _EVERYTHING.equal([each.key for each in told], keys)

    def test_the_end_of_the_stream_is_what_is_stored(self) -> None:
        """Every document that changed, by the last of its changes."""
        source = self.source()
        events = self.follow(source, self.written(source)).count(len(_CHANGES))
        now = source.time_now()
        last = {(e.collection, e.identity): e for e in events if e.key is not None}
        found = []
        for (name, _), event in last.items():
            if event.operation != "delete":
                found += documents(source.lookup(name, [event.key or b""], now))
        stored = [*self.copied(source, "a"), *self.copied(source, "b")]
        changed = [each for each in stored if each != document("before")]
        _EVERYTHING.equal(in_order(found), in_order(changed))


def _told(event: ChangeEvent) -> tuple[object, ...]:
    """What every reader of a history has to be told the same."""
    return (
        *(event.token, event.cluster_time, event.collection, event.key),
        event.operation,
    )
