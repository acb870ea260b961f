"""A first copy, mongod to PostgreSQL, beside a bare COPY and the conventional way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import psycopg
from bson.raw_bson import RawBSONDocument
from psycopg import sql
from pymongo import MongoClient

from cartridge_warp import embedded
from cartridge_warp.config import SchemaSettings, SourceSettings
from cartridge_warp.model import Table
from cartridge_warp.mongodb.source import MongoSource
from cartridge_warp.postgresql import ddl, merge
from cartridge_warp.postgresql.copyin import CopyIn
from cartridge_warp.rows import plan_of
from cwarp_core import BatchEncoder, Reply

from . import data, meter
from .bench_encode import flatten, table_of
from .meter import Cost, Report, Servers

DOCUMENTS = 300_000
_BATCH = 1_000
#: Times that ours and its twins are measured.
_ROUNDS = 3
#: Of the twin; ours has as many, by default.
_CONNECTIONS = 3
_DICTS = 30_000
_DATABASE = "bench"
_EMPTY = "bench_empty"
_COLLECTION = "orders"
_RESYNC = "ours, a resync of equal rows"
#: Sizes beside the main one, to show that time and memory grow as they should.
_SIZES = (0.2, 5.0)


def run(documents: int = DOCUMENTS) -> Report:
    numbers = [int(documents * times) for times in _SIZES]
    sizes = {f"{_DATABASE}_{number}": number for number in numbers}
    with meter.servers() as running, MongoClient[Any](running.mongod.uri) as client:
        table, payloads = _load(client, documents)
        client[_EMPTY].create_collection("nothing")
        costs = {"start-up alone": meter.start_up(running, _EMPTY)}
        costs |= _rounds(running, table, payloads, documents)
        costs[_RESYNC] = _resync(running, documents)
        few = min(documents, _DICTS)
        costs["dict + write_row"] = _dicts(running, client, table, few)
        costs["ours, json_columns: json"] = _ours(
            running, _DATABASE, "bench_json", documents, json_columns="json"
        )
        del payloads
        for name, number in sizes.items():
            for _ in _fill(client, name, number):
                pass
            costs[f"ours, {number:,} documents"] = _ours(running, name, name, number)
    return _report(documents, few, list(sizes.values()), costs)


def _rounds(
    running: Servers, table: Table, payloads: list[bytes], documents: int
) -> dict[str, Cost]:
    """Ours and its twins in turn; of each the run with the middle wall time.

    The first round is not counted: whoever comes first makes the WAL files and has
    fresh memory under the page cache, which costs a third of a copy.
    """
    rounds: list[dict[str, Cost]] = []
    for number in range(1 + _ROUNDS):
        costs = {"ours": _ours(running, _DATABASE, f"bench_{number}", documents)}
        costs["pre-encoded COPY"] = _copy(running, table, payloads, documents)
        with _draining(running, documents):
            costs["the same beside a raw drain"] = _copy(
                running, table, payloads, documents
            )
        rounds.append(costs)
    return {name: meter.middle(each[name] for each in rounds[1:]) for name in rounds[0]}


def _fill(
    client: MongoClient[Any], database: str, number: int
) -> Iterator[list[bytes]]:
    """Fill a collection, batch by batch."""
    collection = client[database][_COLLECTION]
    for batch in _batches(data.many("medium", number)):
        collection.insert_many([RawBSONDocument(each) for each in batch])
        yield batch


def _load(client: MongoClient[Any], number: int) -> tuple[Table, list[bytes]]:
    """Fill the main one; the table of its documents, and their rows encoded."""
    table: Table | None = None
    payloads = []
    for batch in _fill(client, _DATABASE, number):
        reply = Reply.of_documents(batch)
        if table is None:
            table = table_of([reply], "twin", _COLLECTION)
            encoder = BatchEncoder(plan_of(table))
        encoder.add_reply(reply, 1 << 32)
        payloads.append(encoder.take().payload)
    if table is None:
        raise SystemExit("at least one document is needed")
    return table, payloads


def _batches(documents: Iterator[bytes]) -> Iterator[list[bytes]]:
    while batch := list(islice(documents, _BATCH)):
        yield batch


def _ours(
    running: Servers, database: str, schema: str, documents: int, **settings: str
) -> Cost:
    _checkpoint(running)
    cost = meter.sync(running, database, schema, **settings)
    _expect(running, schema, documents)
    _drop(running, schema)
    return cost


def _resync(running: Servers, documents: int) -> Cost:
    """Of a table that is as it should be: nothing may be written."""
    schema = "bench_resync"
    meter.sync(running, _DATABASE, schema)
    with psycopg.connect(running.postgres.uri) as conn:
        conn.execute(
            "INSERT INTO cartridge_warp_metadata.signals"
            " (schema_name, verb, table_name) VALUES (%s, 'resync', %s)",
            (schema, _COLLECTION),
        )
    _checkpoint(running)
    before = _written(running, schema)
    cost = meter.sync(running, _DATABASE, schema)
    if _written(running, schema) != before:
        raise SystemExit("the resync of equal rows has written some")
    _expect(running, schema, documents)
    _drop(running, schema)
    return cost


def _written(running: Servers, schema: str) -> object:
    """Rows inserted, updated and deleted, by PostgreSQL's own count."""
    with psycopg.connect(running.postgres.uri) as conn:
        return conn.execute(
            "SELECT n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_user_tables"
            " WHERE schemaname = %s AND relname = %s",
            (schema, _COLLECTION),
        ).fetchone()


def _expect(running: Servers, schema: str, documents: int) -> None:
    query = sql.SQL("SELECT count(*) FROM {}").format(
        sql.Identifier(schema, _COLLECTION)
    )
    with psycopg.connect(running.postgres.uri) as conn:
        row = conn.execute(query).fetchone()
    if row != (documents,):
        raise SystemExit(f"{schema}.{_COLLECTION}: {row} rows, not {documents}")


def _drop(running: Servers, schema: str) -> None:
    with psycopg.connect(running.postgres.uri) as conn:
        name = sql.Identifier(schema)
        conn.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(name))


def _create(running: Servers, table: Table) -> None:
    _drop(running, table.schema)
    with psycopg.connect(running.postgres.uri) as conn:
        conn.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(table.schema)))
        conn.execute(ddl.create_table(table))
    _checkpoint(running)


def _checkpoint(running: Servers) -> None:
    """What the copy before left behind is not to be paid for by the next."""
    with psycopg.connect(running.postgres.uri, autocommit=True) as conn:
        conn.execute("CHECKPOINT")


def _copy(
    running: Servers, table: Table, payloads: list[bytes], documents: int
) -> Cost:
    """The floor: the very same rows, encoded before, on as many connections."""
    _create(running, table)

    def part(number: int) -> None:
        with psycopg.connect(running.postgres.uri) as conn, conn.cursor() as cur:
            copy = CopyIn(cur, merge.copy_into(table))
            for payload in payloads[number::_CONNECTIONS]:
                copy.send(payload)
            copy.finish()

    def work() -> None:
        with ThreadPoolExecutor(_CONNECTIONS) as pool:
            list(pool.map(part, range(_CONNECTIONS)))

    cost = meter.here(running, work)
    _expect(running, table.schema, documents)
    return cost


class _draining:
    """Reads the same documents from mongod in the block, as fast as a copy needs them.

    A copy shares the machine with the mongod it reads from; a bare COPY does not.
    """

    def __init__(self, running: Servers, documents: int) -> None:
        uri = embedded.with_database(running.mongod.uri, _DATABASE)
        schema = SchemaSettings(name="bench", database=_DATABASE)
        self._source = MongoSource(SourceSettings(connection_string=uri), schema)
        self._documents = documents
        self._thread = threading.Thread(target=self._drain, name="drain")

    def _drain(self) -> None:
        after = self._source.newest_time()
        for chunk in self._source.plan_chunks(_COLLECTION):
            for reply in self._source.snapshot(_COLLECTION, chunk, after):
                self._documents -= len(reply)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._thread.join()
        self._source.close()
        if self._documents:
            raise SystemExit(f"the drain missed {self._documents:,} documents")


def _dicts(
    running: Servers, client: MongoClient[Any], table: Table, documents: int
) -> Cost:
    """The conventional way: ``find()`` to dicts, flatten, ``write_row``."""
    _create(running, table)
    paths = [("_id",), *(column.path for column in table.columns)]
    names = [sql.Identifier(ddl.KEY)]
    names += [sql.Identifier(column.name) for column in table.columns]
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        ddl.table_name(table), sql.SQL(", ").join(names)
    )

    def work() -> None:
        found = client[_DATABASE][_COLLECTION].find(limit=documents)
        with psycopg.connect(running.postgres.uri) as conn, conn.cursor() as cur:
            with cur.copy(statement) as copy:
                for document in found:
                    copy.write_row(flatten(document, paths))

    cost = meter.here(running, work)
    _expect(running, table.schema, documents)
    return cost


def _report(
    documents: int, few: int, sizes: list[int], costs: dict[str, Cost]
) -> Report:
    start = costs["start-up alone"]
    numbers = dict.fromkeys(costs, documents)
    numbers |= {"start-up alone": 0, "dict + write_row": few}
    numbers |= {f"ours, {number:,} documents": number for number in sizes}

    def rate(name: str) -> float:
        wall = costs[name].wall
        if name.startswith("ours"):
            wall = meter.beyond(wall, start.wall)
        return numbers[name] / wall

    def million(name: str) -> float:
        return meter.beyond(costs[name].client, start.client) / numbers[name] * 1e6

    ours, bare = rate("ours"), rate("pre-encoded COPY")
    beside = rate("the same beside a raw drain")
    dicts = costs["dict + write_row"]
    small, large = (f"ours, {number:,} documents" for number in sizes)
    ratios = {
        "documents/s, ours / pre-encoded COPY": ours / bare,
        "documents/s, ours / pre-encoded COPY beside a raw drain": ours / beside,
        "documents/s, ours / dict + write_row": ours / rate("dict + write_row"),
        "client CPU, dict + write_row / ours": dicts.client
        / few
        * 1e6
        / million("ours"),
        "PostgreSQL CPU, ours / pre-encoded COPY": (
            costs["ours"].postgres - start.postgres
        )
        / costs["pre-encoded COPY"].postgres,
        "documents/s, json / jsonb": rate("ours, json_columns: json") / ours,
        "documents/s, resync of equal rows / first copy": rate(_RESYNC) / ours,
        f"documents/s, {sizes[1]:,} / {sizes[0]:,} documents": rate(large)
        / rate(small),
        "our CPU seconds per million documents": million("ours"),
    }
    peak = costs[large].rss_mib
    told = [
        ("Our CPU per million documents, seconds", million("ours"), "at most 2.0", 2.0),
        ("Peak RSS in MiB, the most documents", peak, "under 200", 200),
    ]
    least = [
        ("documents/s, ours / pre-encoded COPY beside a raw drain", 0.85),
        ("documents/s, ours / dict + write_row", 4),
        ("documents/s, json / jsonb", 1.3),
        ("documents/s, resync of equal rows / first copy", 0.5),
    ]
    return Report(
        "snapshot",
        [
            f"{documents:,} documents of about 1 KB (medium), copied by"
            " `cartridge_warp sync --once` as a process of its own.",
            f"Ours and the pre-encoded ones in turn, {_ROUNDS} times after one that is"
            " not counted; each figure is of the run with the middle wall time.",
            "Its start-up (a sync of an empty database, first row) is taken off in the"
            " rates and ratios; it is in the seconds of its rows.",
            f"Pre-encoded: the same rows over {_CONNECTIONS} connections, alone and"
            " while another task reads the same documents from mongod, as a copy has"
            f" to. dict + write_row: {few:,} documents, one connection.",
            "The resync: the copied table once more, asked for by `cwarp resync`; that"
            " it writes no row is checked by PostgreSQL's statistics.",
            "mongod: a replica set of one, 0.25 GB of cache. PostgreSQL: fsync on,"
            " shared_buffers 512 MB, primary key in place.",
        ],
        (
            *("what", "documents", "wall s", "docs/s", "client CPU s"),
            *("mongod CPU s", "PostgreSQL CPU s", "peak RSS MiB"),
        ),
        [
            _row(name, numbers[name], cost, rate(name) if numbers[name] else 0.0)
            for name, cost in costs.items()
        ],
        ratios,
        [
            *(
                f"{what}: {figure:.2f}; {meter.judged(figure, goal, figure <= most)}."
                for what, figure, goal, most in told
            ),
            *(
                f"{name}: {ratios[name]:.2f}; {_judged(ratios[name], goal)}."
                for name, goal in least
            ),
            "Wall time moves with whatever else the machine does; CPU seconds and the"
            " ratios of one run are what to compare.",
        ],
    )


def _judged(figure: float, goal: float) -> str:
    return meter.judged(figure, f"at least {goal}", figure >= goal)


def _row(what: str, documents: int, cost: Cost, rate: float) -> tuple[str, ...]:
    return (
        *(what, f"{documents:,}", f"{cost.wall:.2f}", f"{rate:,.0f}"),
        *(f"{cost.client:.2f}", f"{cost.mongod:.2f}", f"{cost.postgres:.2f}"),
        "-" if cost.rss_mib != cost.rss_mib else f"{cost.rss_mib:.0f}",
    )
