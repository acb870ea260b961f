"""A backlog of changes drained, beside ``watch()`` with dicts."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

import bson
import psycopg
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient, UpdateOne

from cartridge_warp import embedded, memory
from cartridge_warp.config import SchemaSettings, SourceSettings
from cartridge_warp.model import Position
from cartridge_warp.mongodb.source import MongoSource
from cwarp_core import parse_events

from . import data, meter
from .meter import Cost, Report, Servers

DOCUMENTS = 60_000
_BATCH = 1_000
_DATABASE = "bench"
_COLLECTION = "orders"


def run(documents: int = DOCUMENTS) -> Report:
    """``documents`` inserts and as many updates."""
    memory.settle()
    with meter.servers() as running, MongoClient[Any](running.mongod.uri) as client:
        source = _source(running)
        made = data.documents("medium", documents + 1)
        collection = client[_DATABASE][_COLLECTION]
        collection.insert_one(RawBSONDocument(next(made)))
        meter.sync(running, _DATABASE, "bench")
        inserts_after = source.position_now()
        while batch := [RawBSONDocument(each) for each in islice(made, _BATCH)]:
            collection.insert_many(batch)
        updates_after = source.position_now()
        _update(collection, documents)
        drain = meter.sync(running, _DATABASE, "bench")
        start = min(meter.sync(running, _DATABASE, "bench") for _ in range(2))
        _expect(running, documents)

        def here(work: Callable[[], None]) -> Cost:
            return meter.here(running, work)

        def read(after: Position, **how: bool) -> Cost:
            return here(lambda: _read(source, after, documents, **how))

        def watch(after: Position, full: str | None) -> Cost:
            return here(lambda: _watch(client, after, documents, full))

        costs = {
            "raw inserts": read(inserts_after),
            "read inserts": read(inserts_after, parse=True),
            "watch inserts": watch(inserts_after, None),
            "raw updates": read(updates_after),
            "read updates": read(updates_after, parse=True),
            "look up": read(updates_after, parse=True, look_up=True),
            "watch updates": watch(updates_after, "updateLookup"),
        }
        source.close()
    return _report(documents, drain, start, costs)


def _source(running: Servers) -> MongoSource:
    uri = embedded.with_database(running.mongod.uri, _DATABASE)
    schema = SchemaSettings(name="bench", database=_DATABASE)
    return MongoSource(SourceSettings(connection_string=uri), schema)


def _update(collection: Any, documents: int) -> None:
    for first in range(1, documents + 1, _BATCH):
        collection.bulk_write(
            [
                UpdateOne(
                    {"_id": data.object_id(index)},
                    {"$set": {"status": "closed"}, "$inc": {"priority": 10}},
                )
                for index in range(first, min(first + _BATCH, documents + 1))
            ],
            ordered=False,
        )


def _expect(running: Servers, documents: int) -> None:
    query = "SELECT count(*), count(*) FILTER (WHERE status = 'closed' AND"
    with psycopg.connect(running.postgres.uri) as conn:
        row = conn.execute(query + " priority >= 10) FROM bench.orders").fetchone()
    if row != (documents + 1, documents):
        raise SystemExit(f"bench.orders: {row}, not {documents:,} changed rows")


def _read(
    source: MongoSource,
    after: Position,
    number: int,
    *,
    parse: bool = False,
    look_up: bool = False,
) -> None:
    """Read ``number`` changes as a sync does, and what else is asked for."""
    changes = source.changes(after)
    seen = found = 0
    while seen < number:
        reply = changes.read()
        seen += len(reply)
        if not parse:
            continue
        keys = [event.key for event in parse_events(reply) if event.key is not None]
        for first in range(0, len(keys) if look_up else 0, _BATCH):
            some = keys[first : first + _BATCH]
            found += sum(map(len, source.lookup(_COLLECTION, some, 0)))
    changes.close()
    if look_up and found < number:
        raise SystemExit(f"{found:,} documents found for {number:,} updates")


def _watch(
    client: MongoClient[Any], after: Position, number: int, full: str | None
) -> None:
    """The conventional way: every event a dict."""
    token = bson.decode(after.token)
    with client[_DATABASE].watch(
        start_after=token, full_document=full, batch_size=2 * _BATCH
    ) as stream:
        for _ in range(number):
            if "fullDocument" not in stream.next():
                raise SystemExit("a change without its document")


def _report(number: int, drain: Cost, start: Cost, costs: dict[str, Cost]) -> Report:
    def each(name: str) -> float:
        return costs[name].client / number * 1e6

    both = 2 * number
    ours = meter.beyond(drain.client, start.client) / both * 1e6
    watched = (each("watch inserts") + each("watch updates")) / 2
    reading = (each("read inserts") + each("look up")) / 2
    rate = both / meter.beyond(drain.wall, start.wall)
    ratios = {
        "inserts: watch() dicts / ours, reading": each("watch inserts")
        / each("read inserts"),
        "updates: watch() dicts / ours, reading and look-up": each("watch updates")
        / each("look up"),
        "both: watch() dicts / ours, reading": watched / reading,
        "both: watch() dicts / our whole pipeline": watched / ours,
        "changes/s, whole pipeline": rate,
    }
    names = {
        "raw inserts": "inserts: raw replies alone",
        "read inserts": "inserts: raw replies, parsed (ours)",
        "watch inserts": "inserts: watch(), dicts",
        "raw updates": "updates: raw replies alone",
        "read updates": "updates: raw replies, parsed",
        "look up": "updates: raw replies, parsed, looked up (ours)",
        "watch updates": "updates: watch(updateLookup), dicts",
    }
    rows = [_row("start-up alone", 0, start, start.client)]
    rows.append(_row("whole pipeline (ours)", both, drain, drain.client - start.client))
    rows += [
        _row(what, number, costs[name], costs[name].client)
        for name, what in names.items()
    ]
    goal = ratios["both: watch() dicts / ours, reading"]
    judged = meter.judged(goal, "at least 15", goal >= 15)
    return Report(
        "stream",
        [
            f"{number:,} inserts, then one update of each, of medium documents (1 KB);"
            " the backlog is drained by `cartridge_warp sync --once`.",
            "The pipeline's CPU per change is without its start-up (first row); it"
            " writes to PostgreSQL and commits, where every other row only reads.",
            "Reading for both means: every change with its whole document.",
        ],
        (
            *("what", "changes", "wall s", "changes/s", "client CPU s"),
            *("client us/change", "mongod CPU s", "PostgreSQL CPU s"),
        ),
        rows,
        ratios,
        [
            f"Reading costs watch() with dicts {goal:.1f} times our client CPU;"
            f" {judged}.",
            f"Our whole pipeline, up to the commit in PostgreSQL, takes"
            f" {ours:.1f} us a change; watch() with dicts {watched:.1f} for reading"
            " alone.",
            f"Drained at {rate:,.0f} changes/s on this machine.",
        ],
    )


def _row(what: str, changes: int, cost: Cost, client: float) -> tuple[str, ...]:
    number = changes or 1
    per_change = f"{client / number * 1e6:.2f}" if changes else "-"
    return (
        *(what, f"{changes:,}", f"{cost.wall:.2f}", f"{changes / cost.wall:,.0f}"),
        *(f"{cost.client:.2f}", per_change),
        *(f"{cost.mongod:.2f}", f"{cost.postgres:.2f}"),
    )
