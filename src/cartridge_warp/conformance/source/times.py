"""Cluster times: what a read has, what a stream has told of, and how both meet."""

from __future__ import annotations

import threading
import time

from cwarp_core import ChangeEvent, key_text

from ..documents import canonical, document, documents, element
from ..promise import Promise
from .hooks import EVERYTHING, SourceHooks


class Times(SourceHooks):
    def test_what_was_told_is_not_newer_than_the_newest_time(self) -> None:
        promise = Promise(
            "Source.newest_time",
            "No change that a stream has told of before this call is newer.",
        )
        self.insert("c", [document("before")])
        source, other = self.source(), self.source()
        reader = self.follow(source, source.position_now())
        for n in range(5):
            self.insert("c", [document(n)])
            told = reader.count(n + 1)[-1].cluster_time
            for newest in (source.newest_time(), other.newest_time()):
                promise.kept(told <= newest, f"{told} was told of, {newest} is newest")

    def test_the_time_now_is_behind_what_is_written(self) -> None:
        promise = Promise(
            "Source.time_now", "The source's newest cluster time, once it is committed."
        )
        self.insert("c", [document("before")])
        source = self.source()
        reader = self.follow(source, source.position_now())
        times = []
        for n in range(5):
            self.insert("c", [document(n)])
            times.append(source.time_now())
        promise.equal(times, sorted(times))
        for event, now in zip(reader.count(5), times, strict=True):
            promise.kept(
                event.cluster_time <= now, f"{event.cluster_time} is after {now}"
            )

    def test_a_later_change_is_newer_than_the_newest_time_before(self) -> None:
        """What a copy reads at the newest time lacks it, so it may not be dropped."""
        promise = Promise(
            "Source.newest_time", "The source's newest cluster time, committed or not."
        )
        self.insert("c", [document("before")])
        source = self.source()
        reader = self.follow(source, source.position_now())
        newest = []
        for n in range(5):
            newest.append(source.newest_time())
            self.insert("c", [document(n)])
        for event, before in zip(reader.count(5), newest, strict=True):
            promise.kept(
                event.cluster_time > before,
                f"a change made after {before} has the time {event.cluster_time}",
            )

    def test_a_change_is_newer_than_the_position_before_it(self) -> None:
        promise = Promise(
            "Source.position_now",
            "The place in history after which nothing is missed from now on.",
        )
        self.insert("c", [document("before")])
        source = self.source()
        places = []
        for n in range(3):
            places.append(source.position_now())
            self.insert("c", [document(n)])
        for n, place in enumerate(places):
            events = self.follow(source, place).count(3 - n)
            promise.equal(
                [each.key for each in events],
                [element(document(later)) for later in range(n, 3)],
            )

    def test_a_read_has_everything_up_to_its_time(self) -> None:
        promise = Promise(
            "Source.snapshot",
            "The committed documents of a chunk, in ``_id`` order, at ``after`` or"
            " later.",
        )
        self.insert("c", [document("before")])
        source = self.source()
        reader = self.follow(source, source.position_now())
        for n in range(5):
            self.insert("c", [document(n)])
            time = reader.count(n + 1)[-1].cluster_time
            for found in (
                self.copied(self.source(), "c", after=time),
                documents(source.lookup("c", [element(document(n))], time)),
            ):
                promise.kept(document(n) in found, f"a read at {time} lacks it")

    def test_a_reply_is_not_older_than_its_documents(self) -> None:
        promise = Promise(
            "Source.snapshot",
            "Each reply's ``operation_time`` bounds its documents' age.",
        )
        self.insert("c", [document("before")])
        source = self.source()
        reader = self.follow(source, source.position_now())
        self.insert("c", [document(n) for n in range(20)])
        replies = list(source.snapshot("c", EVERYTHING, source.newest_time()))
        looked_up = list(
            source.lookup("c", [element(document(n)) for n in range(20)], 0)
        )
        times = {
            canonical(document(n)): e.cluster_time
            for n, e in enumerate(reader.count(20))
        }
        for reply in (*replies, *looked_up):
            for raw in documents([reply]):
                age = times.get(canonical(raw), 0)
                promise.kept(
                    age <= reply.operation_time,
                    f"a document of {age} is in a reply of {reply.operation_time}",
                )

    def test_a_copy_and_the_stream_beside_it_meet(self) -> None:
        """The engine's rule: of an event that is not newer than the read's time, the
        read has what it tells; every other one is applied."""
        promise = Promise(
            "Source.snapshot",
            "The committed documents of a chunk, in ``_id`` order, at ``after`` or"
            " later.",
        )
        self.insert("c", [document(n) for n in range(20)])
        source = self.source()
        reader = self.follow(source, source.position_now())
        stop = threading.Event()

        def write() -> None:
            for n in range(1, 500):
                if stop.is_set():
                    return
                key = n % 20
                if n % 3:
                    self.replace("c", document(key, n))
                else:
                    self.delete("c", document(key))
                    self.insert("c", [document(key, n)])
                time.sleep(0.002)

        writer = threading.Thread(target=write)
        writer.start()
        copies = []
        for _ in range(5):
            time.sleep(0.05)
            read_time = source.newest_time()
            found = self.copied(source, "c", after=read_time)
            copies.append((read_time, {canonical(raw): raw for raw in found}))
        stop.set()
        writer.join()
        self.insert("c", [document("last")])
        end = canonical(document("last"))
        events = reader.until(lambda seen: any(_text(each) == end for each in seen))
        final = {canonical(raw): raw for raw in self.copied(source, "c")}
        for read_time, rows in copies:
            for event in events:
                if event.cluster_time > read_time:
                    _apply(event, rows, final)
            promise.kept(
                rows == final,
                f"read at {read_time}, with the stream behind it, "
                f"{_differ(rows, final)} are not what is stored",
            )


def _text(event: ChangeEvent) -> str:
    return "" if event.key is None else key_text(event.key, "canonical")


def _apply(event: ChangeEvent, rows: dict[str, bytes], final: dict[str, bytes]) -> None:
    """One event as the engine applies it; what it lacks is looked up."""
    key = _text(event)
    raw = event.document or final.get(key)
    if event.operation == "delete":
        rows.pop(key, None)
    elif raw is not None:
        rows[key] = raw


def _differ(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    return [key for key in {*one, *other} if one.get(key) != other.get(key)]
