"""A first copy by one process, and by one and a worker that helps it."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg
from bson.raw_bson import RawBSONDocument
from msgspec import Struct
from psycopg import sql
from pymongo import MongoClient

from cartridge_warp import embedded
from cartridge_warp.ledger import Ledger

from . import data, meter
from .meter import Cost, Report, Servers

DOCUMENTS = 600_000
_DATABASE = "bench"
_EMPTY = "bench_empty"
_COLLECTION = "orders"
_BATCH = 1_000
#: Times that each is measured; the first is not counted.
_ROUNDS = 3

#: A worker's line that it is ready to help.
_WAITS = b"no process owns schema"


class _Way(Struct, frozen=True):
    """What is measured. drain: rows are thrown away.  helped: by a worker."""

    drain: bool
    helped: bool

    @property
    def name(self) -> str:
        where = "raw drain" if self.drain else "PostgreSQL"
        return f"{where}, {'two processes' if self.helped else 'one process'}"


_WAYS = [_Way(drain, helped) for drain in (True, False) for helped in (False, True)]


def run(documents: int = DOCUMENTS) -> Report:
    rounds: list[dict[str, Cost]] = []
    with meter.servers() as running, MongoClient[Any](running.mongod.uri) as client:
        _fill(client, documents)
        client[_EMPTY].create_collection("nothing")
        start = {
            each.name: _copy(running, _Way(each.drain, False), _EMPTY, 0)
            for each in _WAYS
        }
        for _ in range(1 + _ROUNDS):
            rounds.append(
                {
                    each.name: _copy(running, each, _DATABASE, documents)
                    for each in _WAYS
                }
            )
    costs = {
        each.name: meter.middle(taken[each.name] for taken in rounds[1:])
        for each in _WAYS
    }
    return _report(documents, costs, start)


def _fill(client: MongoClient[Any], documents: int) -> None:
    found = data.many("medium", documents)
    while batch := list(islice(found, _BATCH)):
        rows = [RawBSONDocument(each) for each in batch]
        client[_DATABASE][_COLLECTION].insert_many(rows)


def _copy(running: Servers, way: _Way, database: str, documents: int) -> Cost:
    """A sync that copies and ends; its start-up is in it, the worker's is not."""
    with tempfile.TemporaryDirectory(prefix="cwarp-bench-") as place:
        destination = f"drain://{place}" if way.drain else running.postgres.uri
        arguments = [
            embedded.with_database(running.mongod.uri, database),
            *(destination, "--schema", "bench", "--progress", "none"),
            *("--metrics-port", "0", "--health-port", "0"),
        ]
        env = dict(os.environ)
        if way.drain:
            env["CARTRIDGE_WARP_DESTINATION__TYPE"] = "drain"
        before = _children()
        worker = _worker(arguments, env) if way.helped else None
        cost = meter.here(running, lambda: _end(_started("sync", arguments, env)))
        if worker is not None:
            _end(worker)
        if way.drain:
            _check(_drained(Path(place)), documents)
        else:
            _check(_stored(running) if documents else 0, documents)
            _forget(running)
    return cost._replace(client=_children() - before)


def _started(
    verb: str, arguments: list[str], env: dict[str, str]
) -> subprocess.Popen[bytes]:
    once = ["--once", "--log-level", "warning"] if verb == "sync" else []
    command = [sys.executable, "-m", "cartridge_warp", verb, *arguments, *once]
    err = subprocess.PIPE if verb == "worker" else None
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=err, env=env)


def _worker(arguments: list[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
    """One that has connected, and waits."""
    child = _started("worker", [*arguments, "--log-format", "json"], env)
    assert child.stderr is not None
    for line in child.stderr:
        if _WAITS in line:
            return child
    raise SystemExit("the worker ended before it waited")


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.stderr is not None:
        child.stderr.read()
    if child.wait():
        raise SystemExit(f"a process ended with exit code {child.returncode}")


def _children() -> float:
    """CPU seconds of every child that has ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _drained(place: Path) -> int:
    ledger = Ledger.of((place / "bench.ledger").read_bytes())
    return sum(state.documents for state in ledger.states())


def _stored(running: Servers) -> int:
    query = sql.SQL("SELECT count(*) FROM {}").format(
        sql.Identifier("bench", _COLLECTION)
    )
    with psycopg.connect(running.postgres.uri) as conn:
        row = conn.execute(query).fetchone()
    return 0 if row is None else int(row[0])


def _check(found: int, documents: int) -> None:
    if found != documents:
        raise SystemExit(f"{found:,} documents, not {documents:,}")


def _forget(running: Servers) -> None:
    with psycopg.connect(running.postgres.uri, autocommit=True) as conn:
        conn.execute("DROP SCHEMA IF EXISTS bench CASCADE")
        conn.execute("DROP SCHEMA IF EXISTS cartridge_warp_metadata CASCADE")
        conn.execute("CHECKPOINT")


def _report(documents: int, costs: dict[str, Cost], start: dict[str, Cost]) -> Report:
    def rate(name: str) -> float:
        return documents / meter.beyond(costs[name].wall, start[name].wall)

    ratios = {}
    for drain in (True, False):
        one, two = (_Way(drain, helped).name for helped in (False, True))
        ratios[f"documents/s, {two} / one"] = rate(two) / rate(one)
    drained, stored = ratios.values()
    return Report(
        "workers",
        [
            f"{documents:,} documents of about 1 KB (medium), copied by `cartridge_warp"
            " sync --once`, alone and with a `cartridge_warp worker` that was waiting"
            " for it.",
            f"In turn, {_ROUNDS} times after one that is not counted; each figure is of"
            " the run with the middle wall time. The sync's start-up is taken off in"
            " the rates.",
            "The raw drain is the destination that throws rows away: what is left is"
            " reading and encoding.",
        ],
        (
            *("what", "wall s", "docs/s", "CPU s, all our processes"),
            *("mongod CPU s", "PostgreSQL CPU s"),
        ),
        [
            (
                *(name, f"{cost.wall:.2f}", f"{rate(name):,.0f}"),
                *(f"{cost.client:.2f}", f"{cost.mongod:.2f}", f"{cost.postgres:.2f}"),
            )
            for name, cost in costs.items()
        ],
        ratios,
        [
            f"Two processes against one, raw drain: {drained:.2f};"
            f" {meter.judged(drained, 'at least 1.6', drained >= 1.6)}.",
            f"Two processes against one, PostgreSQL: {stored:.2f};"
            f" {meter.judged(stored, 'at least 1.0', stored >= 1.0)}.",
            f"This machine has {os.cpu_count()} cores, which mongod, PostgreSQL and"
            " our processes share: where they are busy already, a second process has"
            " nothing to add.",
        ],
    )
