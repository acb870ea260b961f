"""A backlog of changes drained beside its floors, and the latency of a change."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, product
from typing import Any

import bson
import psycopg
from bson.raw_bson import RawBSONDocument
from psycopg import sql
from pymongo import MongoClient, UpdateOne

from cartridge_warp import embedded, memory
from cartridge_warp.config import SchemaSettings, SourceSettings
from cartridge_warp.model import Position, Table
from cartridge_warp.mongodb.source import MongoSource
from cartridge_warp.postgresql import ddl, merge
from cartridge_warp.postgresql.staging import Staging
from cartridge_warp.rows import plan_of
from cwarp_core import BatchEncoder, EncodedBatch, Reply, parse_events

from . import data, meter
from .bench_encode import table_of
from .meter import Cost, Report, Servers

DOCUMENTS = 60_000
_BATCH = 1_000
#: Rows of one commit, of ours and of its twin.
_COMMITTED = SchemaSettings(name="bench", database="bench").stream_batch_size
_DATABASE = "bench"
_COLLECTION = "orders"
#: Lanes of the second drain, and of its twin.
_LANES = 2
#: Times that ours and its twins are measured.
_ROUNDS = 3
#: Changes a second whose latency is measured, and for how many seconds.
_RATE = 1_000
_SECONDS = 15
_IDLE_SECONDS = 15


def run(documents: int = DOCUMENTS) -> Report:
    """``documents`` inserts and as many updates; then a thousand updates a second."""
    memory.settle()
    with meter.servers() as running, MongoClient[Any](running.mongod.uri) as client:
        source = _source(running)
        made = data.many("medium", documents + 1)
        collection = client[_DATABASE][_COLLECTION]
        collection.insert_one(RawBSONDocument(next(made)))
        for lanes, number in product((1, _LANES), range(1 + _ROUNDS)):
            _sync(running, lanes, number)
        inserts_after = source.position_now()
        while batch := [RawBSONDocument(each) for each in islice(made, _BATCH)]:
            collection.insert_many(batch)
        updates_after = source.position_now()
        _update(collection, documents)
        # What is left to be written of these belongs to no drain.
        client.admin.command("fsync")

        def here(work: Callable[[], None]) -> Cost:
            return meter.here(running, work)

        def read(after: Position, **how: bool) -> Cost:
            return here(lambda: _read(source, after, documents, **how))

        def read_all() -> None:
            _read(source, inserts_after, documents)
            _read(source, updates_after, documents, parse=True, look_up=True)

        def watch(after: Position, full: str | None) -> Cost:
            return here(lambda: _watch(client, after, documents, full))

        # Before the encoded rows are here: a large heap makes each reading dearer.
        costs = {
            "raw inserts": read(inserts_after),
            "read inserts": read(inserts_after, parse=True),
            "watch inserts": watch(inserts_after, None),
            "raw updates": read(updates_after),
            "read updates": read(updates_after, parse=True),
            "look up": read(updates_after, parse=True, look_up=True),
            "watch updates": watch(updates_after, "updateLookup"),
        }
        costs |= _rounds(running, documents, read_all)
        start = min(_sync(running, 1, 0) for _ in range(2))
        heard = _heard(source, collection, documents)
        source.close()
        with meter.following(running, _DATABASE, _schema(1, 0)) as cpu:
            latencies = _latencies(running, collection, documents)
            before = cpu()
            time.sleep(_IDLE_SECONDS)
            idle = (cpu() - before) / _IDLE_SECONDS
    return _report(documents, start, costs, heard, latencies, idle)


def _rounds(
    running: Servers, documents: int, read_all: Callable[[], None]
) -> dict[str, Cost]:
    """Ours and its twins in turn; of each the run with the middle wall time.

    read_all: reads the backlog as a sync does, and looks it up. The first round is not
    counted, see ``bench_snapshot``.
    """
    table, payloads = _encoded(documents)
    rounds: list[dict[str, Cost]] = []
    for number in range(1 + _ROUNDS):
        costs = {}
        for lanes in (1, _LANES):
            _checkpoint(running)
            costs[f"drain {lanes}"] = _sync(running, lanes, number)
            _expect(running, _schema(lanes, number), documents)
            costs[f"merge {lanes}"] = _merged(running, table, payloads, lanes)
            costs[f"both {lanes}"] = _merged(running, table, payloads, lanes, read_all)
        rounds.append(costs)
    return {name: meter.middle(each[name] for each in rounds[1:]) for name in rounds[0]}


def _schema(lanes: int, number: int) -> str:
    return f"bench_{lanes}_{number}"


def _sync(running: Servers, lanes: int, number: int) -> Cost:
    return meter.sync(
        running,
        _DATABASE,
        _schema(lanes, number),
        global_max_parallel_streams=str(lanes),
    )


def _checkpoint(running: Servers) -> None:
    with psycopg.connect(running.postgres.uri, autocommit=True) as conn:
        conn.execute("CHECKPOINT")


def _encoded(documents: int) -> tuple[Table, list[EncodedBatch]]:
    """The table, and its rows in batches: twice the same, as inserts and updates."""
    made = data.many("medium", documents)
    table: Table | None = None
    payloads = []
    while batch := list(islice(made, _COMMITTED)):
        reply = Reply.of_documents(batch)
        if table is None:
            table = table_of([reply], "twin", _COLLECTION)
            encoder = BatchEncoder(plan_of(table))
        encoder.add_reply(reply, 1 << 32)
        payloads.append(encoder.take())
    if table is None:
        raise SystemExit("at least one document is needed")
    return table, payloads


def _merged(
    running: Servers,
    table: Table,
    payloads: list[EncodedBatch],
    lanes: int,
    beside: Callable[[], None] | None = None,
) -> Cost:
    """The floor of applying: rows encoded before, staged, merged and committed.

    beside: what is done at the same time, to its end.
    """
    name = sql.Identifier(table.schema)
    with psycopg.connect(running.postgres.uri) as conn:
        conn.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(name))
        conn.execute(sql.SQL("CREATE SCHEMA {}").format(name))
        conn.execute(ddl.create_table(table))
    _checkpoint(running)

    def part(lane: int) -> None:
        with psycopg.connect(running.postgres.uri) as conn:
            staging = Staging()
            for payload in payloads[lane::lanes]:
                with conn.transaction(), conn.cursor() as cur:
                    staging.load(cur, table, [payload])
                    cur.execute(merge.merge(table))

    def work() -> None:
        with ThreadPoolExecutor(lanes + 1) as pool:
            other = pool.submit(beside) if beside else None
            for _ in ("inserts", "updates"):
                list(pool.map(part, range(lanes)))
            if other is not None:
                other.result()

    return meter.here(running, work)


def _heard(source: MongoSource, collection: Any, documents: int) -> list[float]:
    """The floor of the latency: until a reader of the raw stream has the event."""
    changes = source.changes(source.position_now())
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(_updates, collection, documents, "heard")
        arrived: dict[str, float] = {}
        while not sending.done() or len(arrived) < len(sending.result()):
            reply = changes.read()
            now = time.time()
            for event in parse_events(reply):
                if event.key is not None:
                    arrived[event.key[1:].hex()] = now
        sent = sending.result()
    changes.close()
    return sorted(arrived[key] - sent[key] for key in sent)


def _updates(collection: Any, documents: int, status: str) -> dict[str, float]:
    """Update documents at the rate; when each was sent, by its id."""
    sent: dict[str, float] = {}
    begin = time.perf_counter()
    for index in range(1, min(_RATE * _SECONDS, documents) + 1):
        while time.perf_counter() - begin < index / _RATE:
            time.sleep(0.0002)
        key = data.object_id(index)
        sent[str(key)] = time.time()
        collection.update_one({"_id": key}, {"$set": {"status": status}})
    return sent


def _latencies(running: Servers, collection: Any, documents: int) -> list[float]:
    """Seconds from before each update is sent until its row's COMMIT, sorted.

    Both clocks are this machine's; PostgreSQL keeps the time of each commit.
    """
    _settle(running, collection, -1)
    sent = _updates(collection, documents, "seen")
    _settle(running, collection, -2)
    query = sql.SQL(
        "SELECT _id, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8"
        " FROM {} WHERE status = 'seen'"
    ).format(sql.Identifier(_schema(1, 0), _COLLECTION))
    with psycopg.connect(running.postgres.uri) as conn:
        committed = dict(conn.execute(query).fetchall())
    if len(committed) != len(sent):
        raise SystemExit(f"{len(committed):,} of {len(sent):,} changes arrived")
    return sorted(committed[key] - sent[key] for key in sent)


def _settle(running: Servers, collection: Any, mark: int) -> None:
    """Wait until a change made now has arrived."""
    collection.update_one({"_id": data.object_id(0)}, {"$set": {"priority": mark}})
    query = sql.SQL("SELECT count(*) FROM {} WHERE priority = {}").format(
        sql.Identifier(_schema(1, 0), _COLLECTION), mark
    )
    with psycopg.connect(running.postgres.uri, autocommit=True) as conn:
        while conn.execute(query).fetchone() != (1,):
            time.sleep(0.05)


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


def _expect(running: Servers, schema: str, documents: int) -> None:
    query = sql.SQL(
        "SELECT count(*), count(*) FILTER (WHERE status = 'closed' AND priority >= 10)"
        " FROM {}"
    ).format(sql.Identifier(schema, _COLLECTION))
    with psycopg.connect(running.postgres.uri) as conn:
        row = conn.execute(query).fetchone()
    if row != (documents + 1, documents):
        raise SystemExit(f"{schema}: {row}, not {documents:,} changed rows")


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


def _report(
    number: int,
    start: Cost,
    costs: dict[str, Cost],
    heard: list[float],
    latencies: list[float],
    idle: float,
) -> Report:
    both = 2 * number

    def each(name: str) -> float:
        return costs[name].client / number * 1e6

    def alone(lanes: int) -> float:
        """Changes a second of the slower of the two halves, each alone."""
        reading = costs["raw inserts"].wall + costs["look up"].wall
        return both / max(reading, costs[f"merge {lanes}"].wall)

    def at_once(lanes: int) -> float:
        """Changes a second of both halves on this machine at the same time."""
        return both / costs[f"both {lanes}"].wall

    ours = meter.beyond(costs["drain 1"].client, start.client) / both * 1e6
    rates = {
        lanes: both / meter.beyond(costs[f"drain {lanes}"].wall, start.wall)
        for lanes in (1, _LANES)
    }
    watched = (each("watch inserts") + each("watch updates")) / 2
    reading = (each("read inserts") + each("look up")) / 2
    middle = latencies[len(latencies) // 2] * 1e3
    late = latencies[len(latencies) * 99 // 100] * 1e3
    floor_middle = heard[len(heard) // 2] * 1e3
    ours_name = "changes/s, whole pipeline / both floors at once"
    wide_name = f"changes/s, whole pipeline of {_LANES} lanes / both floors at once"
    ratios = {
        "both: watch() dicts / ours, reading": watched / reading,
        "both: watch() dicts / our whole pipeline": watched / ours,
        ours_name: rates[1] / at_once(1),
        wide_name: rates[_LANES] / at_once(_LANES),
        "changes/s, whole pipeline / the slower floor alone": rates[1] / alone(1),
        "changes/s, whole pipeline": rates[1],
        f"changes/s, whole pipeline of {_LANES} lanes": rates[_LANES],
        f"latency at {_RATE:,} changes/s, p50, ms": middle,
        f"latency at {_RATE:,} changes/s, p99, ms": late,
        f"until a reader of raw replies has it, at {_RATE:,}/s, p50, ms": floor_middle,
        "idle CPU, per cent": 100 * idle,
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
    for lanes in (1, _LANES):
        cost = costs[f"drain {lanes}"]
        what = f"whole pipeline (ours), lanes: {lanes}"
        rows.append(_row(what, both, cost, cost.client - start.client))
    for lanes in (1, _LANES):
        for name, what in (("merge", "alone"), ("both", "beside the raw reading")):
            cost = costs[f"{name} {lanes}"]
            rows.append(_row(f"merge {what}, lanes: {lanes}", both, cost, 0.0))
    rows += [
        _row(what, number, costs[name], costs[name].client)
        for name, what in names.items()
    ]
    goal = ratios["both: watch() dicts / ours, reading"]
    share = ratios[ours_name]
    return Report(
        "stream",
        [
            f"{number:,} inserts, then one update of each, of medium documents (1 KB);"
            " the backlog is drained by `cartridge_warp sync --once`.",
            f"Drains and merges in turn, {_ROUNDS} times after one that is not counted;"
            " each figure is of the run with the middle wall time.",
            "The pipeline's CPU per change is without its start-up (first row); it"
            " writes to PostgreSQL and commits, where reading only reads.",
            "Merge alone: the same rows, encoded before, in batches of"
            f" {_COMMITTED:,}, as ours are: COPY to staging, merge, COMMIT. The slower"
            " floor: that, or reading alone (raw inserts, updates looked up), each with"
            " the machine to itself. Both at once: while another task reads all that.",
            f"Latency: {_RATE:,} updates a second, from before each is sent until the"
            " COMMIT of its row as PostgreSQL keeps it.",
        ],
        (
            *("what", "changes", "wall s", "changes/s", "client CPU s"),
            *("client us/change", "mongod CPU s", "PostgreSQL CPU s"),
        ),
        rows,
        ratios,
        [
            f"Reading costs watch() with dicts {goal:.1f} times our client CPU;"
            f" {meter.judged(goal, 'at least 15', goal >= 15)}.",
            f"Our whole pipeline, up to the commit in PostgreSQL, takes"
            f" {ours:.1f} us a change; watch() with dicts {watched:.1f} for reading"
            " alone.",
            f"The whole pipeline reaches {share:.2f} of both its floors at once;"
            f" {meter.judged(share, 'at least 0.9', share >= 0.9)}.",
            f"Latency p50 {middle:.1f} ms"
            f" ({meter.judged(middle, 'under 10', middle < 10)};"
            f" {floor_middle:.1f} until mongod has told of it),"
            f" p99 {late:.1f} ms ({meter.judged(late, 'under 50', late < 50)}).",
            f"Idle, our process takes {100 * idle:.2f} % of a core;"
            f" {meter.judged(idle, 'under 1 %', idle < 0.01)}.",
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
