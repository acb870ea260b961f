"""A source of files: one file of JSON lines a database, each line a change.

    {"at": 1764000000, "collection": "orders", "document": {"_id": 1, "total": 5}}
    {"at": 1764000007, "collection": "orders", "delete": 1}

Lines are appended, by anybody, and never changed. A document takes the place of the
one with its ``_id``; values are Extended JSON; ``at``, in seconds, may be left out. So
the file is a history, and up to each line a state. All of it is kept in memory.

    source: {type: jsonl, connection_string: /var/data}    # /var/data/DATABASE.jsonl
"""

from __future__ import annotations

import bisect
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bson import Timestamp, decode, encode, json_util

from cartridge_warp.config import SchemaSettings, SourceSettings
from cartridge_warp.documents import WholeCollections, change_event, key_of
from cartridge_warp.errors import HistoryLost, PreconditionError, SourceError
from cartridge_warp.model import Collection, Position, SourceIdentity
from cwarp_core import Reply, key_text


class Change(NamedTuple):
    """One line. time: after that of every line before.  document: None, it is gone."""

    time: int
    collection: str
    key: bytes
    document: bytes | None


class JsonlSource(WholeCollections):
    def __init__(self, settings: SourceSettings, schema: SchemaSettings) -> None:
        self._file = Path(settings.connection_string) / f"{schema.database}.jsonl"
        self._lock = threading.Lock()
        self._changes: list[Change] = []
        self._nbytes = 0

    def history(self) -> Sequence[Change]:
        """Every change so far; lines that are new are read now."""
        with self._lock:
            if self._file.exists():
                with self._file.open("rb") as file:
                    if file.seek(0, 2) < self._nbytes:
                        raise HistoryLost(f"{self._file} is shorter than it was")
                    file.seek(self._nbytes)
                    for line in file:
                        if line.endswith(b"\n"):  # else somebody is writing it
                            self._changes.append(self._parsed(line))
                            self._nbytes += len(line)
            return self._changes[:]

    def _parsed(self, line: bytes) -> Change:
        last = self._changes[-1].time if self._changes else 0
        try:
            made = json_util.loads(line)
            # A time is seconds << 32, and lines of one second differ below that.
            when = max(made.get("at", 0) << 32, last + 1)
            raw = encode(made.get("document") or {"_id": made["delete"]})
            document = raw if "document" in made else None
            return Change(when, made["collection"], key_of(raw), document)
        except Exception as error:
            number = len(self._changes) + 1
            raise SourceError(f"{self._file}:{number} is no change") from error

    def documents(self, collection: str) -> Sequence[bytes]:
        last = {
            key_text(each.key, "canonical"): each.document
            for each in self.history()
            if each.collection == collection
        }
        return [each for each in last.values() if each is not None]

    def validate(self, *, new: bool = True) -> SourceIdentity:
        if new and not self.history():
            raise PreconditionError(f"{self._file} is not there, or has no line")
        return SourceIdentity(f"jsonl {self._file.resolve()}", "1")

    def discover(self) -> list[Collection]:
        names = sorted({each.collection for each in self.history()})
        found = {name: self.documents(name) for name in names}
        return [
            Collection(name, documents=len(there), nbytes=sum(map(len, there)))
            for name, there in found.items()
            if there
        ]

    def newest_time(self) -> int:
        history = self.history()
        return history[-1].time if history else 0

    time_now = newest_time  # a line that is there is committed

    def position_now(self) -> Position:
        return position_of(token_of(self.newest_time()))

    def order(self, token: bytes) -> bytes:
        return position_of(token).cluster_time.to_bytes(8, "big")

    def changes(self, position: Position) -> JsonlChanges:
        return JsonlChanges(self, position)

    def close(self) -> None: ...  # nothing is open between two calls


class JsonlChanges:
    def __init__(self, source: JsonlSource, position: Position) -> None:
        if position.cluster_time > source.newest_time():
            raise HistoryLost("the file ends before the position")
        self._source, self._time = source, position.cluster_time

    def read(self, patience: float = 1.0) -> Reply:
        end = time.monotonic() + patience
        while True:
            history = self._source.history()
            at = bisect.bisect_right(history, self._time, key=lambda each: each.time)
            if history[at:] or time.monotonic() > end:
                break
            time.sleep(0.02)
        events = []
        for each in history[at : at + 1000]:
            self._time = each.time
            place = token_of(each.time), each.time
            what = "delete" if each.document is None else "replace", each.collection
            events.append(change_event(*place, *what, each.key, each.document))
        newest = self._source.newest_time()
        return Reply.of_documents(events, newest, token_of(self._time))

    def position_of(self, token: bytes) -> Position:
        return position_of(token)

    def close(self) -> None: ...  # nothing is open between two calls


def token_of(when: int) -> bytes:
    return encode({"time": Timestamp(when >> 32, when & 0xFFFFFFFF)})


def position_of(token: bytes) -> Position:
    when = decode(token)["time"]
    return Position(token, when.time << 32 | when.inc)
