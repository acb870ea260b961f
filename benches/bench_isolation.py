"""Four schemas in one process, beside four processes; and one of them that fails."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg
from bson.raw_bson import RawBSONDocument
from psycopg import sql
from pymongo import MongoClient, UpdateOne

from . import data, meter
from .meter import Cost, Report, Servers

#: In each of the databases.
DOCUMENTS = 30_000
_SCHEMAS = 4
_BATCH = 1_000
_COLLECTION = "orders"
#: Times that everything is measured; one more time before, which is not counted.
_ROUNDS = 5
#: A schema that cannot commit tries again so often, in seconds.
_EVERY = 1.0

_ONE, _FOUR = "one process", "four processes"
_IDLE, _FAILING = "three beside an idle one", "three beside a failing one"

#: Refuses every commit of a table, as an error that is tried again.
_FAIL = """
CREATE FUNCTION {schema}.fail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE 'on purpose' USING ERRCODE = '40001';
END $$;
CREATE TRIGGER fail AFTER INSERT OR UPDATE ON {schema}.orders
FOR EACH STATEMENT EXECUTE FUNCTION {schema}.fail();
"""

Costs = dict[str, list[Cost]]


def run(documents: int = DOCUMENTS) -> Report:
    """First copies, then backlogs of one update of each document, drained."""
    with (
        meter.servers() as running,
        MongoClient[Any](running.mongod.uri) as client,
        tempfile.TemporaryDirectory() as directory,
    ):
        bench = _Bench(running, client, Path(directory), documents)
        return _report(documents, *bench.measured())


class _Bench:
    """Databases ``bench_0`` to ``bench_3``, each synced into a schema of every set."""

    def __init__(
        self,
        running: Servers,
        client: MongoClient[Any],
        directory: Path,
        documents: int,
    ) -> None:
        self._running = running
        self._client = client
        self._directory = directory
        self._documents = documents
        self._mark = 0

    def measured(self) -> tuple[dict[str, Cost], Costs, Costs]:
        """Start-ups, copies and drains."""
        # Four collections without documents: what a start costs by itself.
        for number in range(_SCHEMAS):
            self._client[f"bench_{number}"].create_collection(_COLLECTION)
        starts = {
            _ONE: min(self._together("e") for _ in range(3)),
            _FOUR: min(self._apart("f") for _ in range(3)),
        }
        for number in range(_SCHEMAS):
            self._load(f"bench_{number}")
        copies: Costs = {_ONE: [], _FOUR: []}
        for turn in range(_ROUNDS + 1):
            # Who comes first pays for what the other finds; so they take turns at it.
            for way in _turned([_ONE, _FOUR], turn):
                copy = self._together if way == _ONE else self._apart
                copies[way].append(copy(f"{way[0]}{turn}"))
        for name in ("i", "x"):
            self._together(name)
        drains: Costs = {_ONE: [], _FOUR: [], _IDLE: [], _FAILING: []}
        ways: dict[str, Callable[[], Cost]] = {
            _ONE: lambda: self._together("o0"),
            _FOUR: lambda: self._apart("f0"),
            _IDLE: lambda: self._three("i"),
            _FAILING: lambda: self._three("x"),
        }
        for turn in range(_ROUNDS + 1):
            self._update()
            with self._failing("x"):
                for way in _turned(list(ways), turn):
                    drains[way].append(ways[way]())
            for name in ("i", "x"):
                self._together(name)
        self._check("o0", "f0", "i", "x")
        return starts, _counted(copies), _counted(drains)

    def _together(self, name: str) -> Cost:
        """All schemas of a set by one process, up to now."""
        arguments = (f"--config={self._config(name)}", "--once")
        return meter.together(self._running, [(arguments, {})])

    def _apart(self, name: str) -> Cost:
        """The same by a process each, side by side."""
        arguments = (f"--config={self._config(name)}", "--once", "--mode", "single")
        return meter.together(
            self._running,
            [((*arguments, "--schema", schema), {}) for schema in _names(name)],
        )

    def _three(self, name: str) -> Cost:
        """One process for four schemas, until the first three have caught up."""
        arguments = (f"--config={self._config(name)}", "--log-level", "error")
        with meter.running_on(arguments, {}) as cpu:
            begin = time.perf_counter()
            with psycopg.connect(self._running.postgres.uri, autocommit=True) as conn:
                waiting = _names(name)[:-1]
                while waiting:
                    waiting = [each for each in waiting if not self._has(conn, each)]
                    time.sleep(0.02)
            return Cost(time.perf_counter() - begin, cpu(), 0.0, 0.0)

    def _has(self, conn: psycopg.Connection[Any], schema: str) -> bool:
        """Has the last document its newest mark?"""
        query = sql.SQL("SELECT priority FROM {} WHERE _id = %s").format(
            sql.Identifier(schema, _COLLECTION)
        )
        last = str(data.object_id(self._documents - 1))
        return conn.execute(query, (last,)).fetchone() == (self._mark,)

    def _config(self, name: str) -> Path:
        """The settings of a set, whichever of its schemas a process takes."""
        file = self._directory / f"{name}.json"
        settings = {
            "mode": "multi",
            "source": {"connection_string": self._running.mongod.uri},
            "destination": {"connection_string": self._running.postgres.uri},
            "error_handling": {"max_backoff_seconds": _EVERY},
            "schemas": [
                {"name": schema, "database": f"bench_{number}"}
                for number, schema in enumerate(_names(name))
            ],
        }
        file.write_text(json.dumps(settings))
        return file

    def _load(self, database: str) -> None:
        made = data.many("medium", self._documents)
        while batch := [RawBSONDocument(each) for each in islice(made, _BATCH)]:
            self._client[database][_COLLECTION].insert_many(batch)

    def _update(self) -> None:
        """Every document but those of the last database, which has one change."""
        self._mark -= 1
        change = {"$set": {"priority": self._mark}}
        for number in range(_SCHEMAS):
            first = 0 if number < _SCHEMAS - 1 else self._documents - 1
            collection = self._client[f"bench_{number}"][_COLLECTION]
            for begin in range(first, self._documents, _BATCH):
                end = min(begin + _BATCH, self._documents)
                collection.bulk_write(
                    [
                        UpdateOne({"_id": data.object_id(index)}, change)
                        for index in range(begin, end)
                    ]
                )

    @contextmanager
    def _failing(self, name: str) -> Iterator[None]:
        """The last schema of a set commits nothing within the block."""
        schema = _names(name)[-1]
        with psycopg.connect(self._running.postgres.uri) as conn:
            conn.execute(_FAIL.format(schema=schema).encode())
        yield
        with psycopg.connect(self._running.postgres.uri) as conn:
            conn.execute(f"DROP FUNCTION {schema}.fail() CASCADE".encode())

    def _check(self, *names: str) -> None:
        with psycopg.connect(self._running.postgres.uri) as conn:
            for schema in (each for name in names for each in _names(name)):
                if not self._has(conn, schema):
                    raise SystemExit(f"{schema} has not caught up")
                query = sql.SQL("SELECT count(*) FROM {}").format(
                    sql.Identifier(schema, _COLLECTION)
                )
                if conn.execute(query).fetchone() != (self._documents,):
                    raise SystemExit(f"{schema} lacks documents")


def _names(name: str) -> list[str]:
    return [f"{name}_{number}" for number in range(_SCHEMAS)]


def _turned(ways: list[str], turn: int) -> list[str]:
    first = turn % len(ways)
    return ways[first:] + ways[:first]


def _counted(costs: Costs) -> Costs:
    return {way: each[1:] for way, each in costs.items()}


def _middle(figures: Iterable[float]) -> float:
    ordered = sorted(figures)
    return ordered[len(ordered) // 2]


def _report(
    documents: int, starts: dict[str, Cost], copies: Costs, drains: Costs
) -> Report:
    changes = (_SCHEMAS - 1) * documents + 1

    def cpu(costs: Costs, way: str) -> float:
        found = _middle(each.client for each in costs[way])
        return meter.beyond(found, starts[way].client)

    def wall(costs: Costs, way: str) -> float:
        return meter.beyond(_middle(each.wall for each in costs[way]), starts[way].wall)

    # Of neighbours in time, because a machine is slower at one time than at another.
    slower = _middle(
        one.wall / other.wall - 1
        for one, other in zip(drains[_FAILING], drains[_IDLE], strict=True)
    )
    busier = _middle(
        one.client / other.client - 1
        for one, other in zip(drains[_FAILING], drains[_IDLE], strict=True)
    )
    cpus = {
        what: cpu(costs, _ONE) / cpu(costs, _FOUR)
        for what, costs in (("copy", copies), ("drain", drains))
    }
    rates = {
        what: wall(costs, _FOUR) / wall(costs, _ONE)
        for what, costs in (("copy", copies), ("drain", drains))
    }
    ratios = {
        **{f"{what}: CPU, one process / four": cpus[what] for what in cpus},
        **{f"{what}: throughput, one process / four": rates[what] for what in rates},
        "drain: wall time beside a failing schema, more by, per cent": 100 * slower,
        "drain: CPU beside a failing schema, more by, per cent": 100 * busier,
    }
    rows = [_row(f"start-up alone, {way}", 0, [cost]) for way, cost in starts.items()]
    for way, costs in copies.items():
        rows.append(_row(f"copy, {way}", _SCHEMAS * documents, costs))
    for way, costs in drains.items():
        rows.append(_row(f"drain, {way}", changes, costs))
    cheap, fast = max(cpus.values()), min(rates.values())
    return Report(
        "isolation",
        [
            f"{_SCHEMAS} databases of {documents:,} medium documents (1 KB), each into"
            " a schema of its own: by one `cartridge_warp sync` with `mode: multi`, and"
            " by one process a schema, side by side.",
            "Copies are into empty schemas. Drains are of a backlog of one update of"
            " each document of three databases, and one update in the fourth.",
            f"Each is measured {_ROUNDS} times, in turns; the middle one is told. The"
            " first four ratios are without start-up (first rows).",
            "A failing schema is one whose every commit PostgreSQL refuses, tried again"
            f" after at most {_EVERY:.0f} s; the other three are measured from the"
            " start of the process until the last of them has caught up. Beside an idle"
            " one means that the fourth commits its one change.",
        ],
        (
            *("what", "documents or changes", "wall s", "fastest", "slowest"),
            *("client CPU s", "mongod CPU s", "PostgreSQL CPU s", "peak MiB"),
        ),
        rows,
        ratios,
        [
            f"Four schemas in one process cost at most {cheap:.2f} times the CPU of"
            f" four processes; {meter.judged(cheap, 'at most 1.1', cheap <= 1.1)}.",
            f"They reach at least {fast:.2f} of their throughput;"
            f" {meter.judged(fast, 'at least 0.9', fast >= 0.9)}.",
            f"Beside a failing schema the others take {100 * slower:+.1f} % wall time;"
            f" {meter.judged(slower, 'under 2 %', slower < 0.02)}.",
        ],
    )


def _row(what: str, number: int, costs: list[Cost]) -> tuple[str, ...]:
    walls = sorted(each.wall for each in costs)
    cost = meter.middle(costs)
    peak = f"{cost.rss_mib:.0f}" if cost.rss_mib == cost.rss_mib else "-"
    return (
        *(what, f"{number:,}", f"{cost.wall:.2f}"),
        *(f"{walls[0]:.2f}", f"{walls[-1]:.2f}"),
        *(f"{cost.client:.2f}", f"{cost.mongod:.2f}", f"{cost.postgres:.2f}", peak),
    )
