"""Connectors of another distribution: installed, named in a file, and synced by."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pymongo.database import Database

from cartridge_warp import embedded
from cartridge_warp.config import DestinationSettings, SchemaSettings
from cartridge_warp.conformance.drain import Drain
from tests.command import Ended, assert_refused, cwarp, environment

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "connectors"


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The examples as pip installs them, in a directory of their own."""
    place = tmp_path_factory.mktemp("installed")
    # A build leaves its traces beside the sources.
    sources = place / "sources"
    shutil.copytree(EXAMPLES, sources, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"),
            *("--no-build-isolation", "--disable-pip-version-check"),
            *("--target", str(place / "site"), str(sources)),
        ],
        check=True,
    )
    return place / "site"


@pytest.mark.parametrize("suite", ["jsonl_source", "sqlite_destination"])
def test_a_suite_of_the_examples_runs_by_itself(suite: str) -> None:
    """All of it runs with the other tests; here the command of the page does."""
    done = subprocess.run(
        [sys.executable, f"examples/connectors/test_{suite}.py"],
        cwd=EXAMPLES.parents[1],
        env=environment({"PYTEST_ADDOPTS": "-q -k closed"}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"[12] passed, \d+ deselected", done.stdout)


class Place:
    """Files that a sync reads and writes, and the sync."""

    def __init__(self, directory: Path, installed: Path) -> None:
        self.directory = directory
        self.env = {
            "PYTHONPATH": str(installed),
            "CARTRIDGE_WARP_MONITORING__PROMETHEUS__PORT": "0",
            "CARTRIDGE_WARP_MONITORING__HEALTH__PORT": "0",
        }

    def append(self, *changes: dict[str, Any]) -> None:
        with (self.directory / "shop.jsonl").open("a") as file:
            file.writelines(json.dumps(each) + "\n" for each in changes)

    def run(self, verb: str, source: str, destination: str) -> Ended:
        file = self.directory / "warp.yaml"
        file.write_text(
            f"source: {source}\ndestination: {destination}\n"
            f"schemas: [{{name: shop, database: {self.database}}}]\n"
        )
        arguments = {"sync": ["--once", "--config"], "config": ["validate"]}[verb]
        return cwarp(verb, *arguments, str(file), env=self.env)

    database = "shop"

    @property
    def jsonl(self) -> str:
        return f"{{type: jsonl, connection_string: '{self.directory}'}}"

    @property
    def sqlite(self) -> str:
        return f"{{type: sqlite, connection_string: '{self.directory / 'shop.db'}'}}"


@pytest.fixture
def place(tmp_path: Path, installed: Path) -> Place:
    made = Place(tmp_path, installed)
    made.append(
        *(
            {
                "at": 1_764_000_000 + n,
                "collection": "orders",
                "document": {"_id": n, "total": n * 1.5, "to": {"city": "Łódź"}},
            }
            for n in range(40)
        ),
        {"collection": "users", "document": {"_id": "ada", "tags": ["x"]}},
        {"collection": "orders", "delete": 7},
    )
    return made


def orders(place: Place) -> dict[int, tuple[Any, ...]]:
    with closing(sqlite3.connect(place.directory / "shop.db")) as reader:
        rows = reader.execute('SELECT _id, total, to_city, more FROM "shop.orders"')
        return {row[0]: row[1:] for row in rows}


def test_files_to_sqlite(place: Place) -> None:
    place.append({"collection": "orders", "document": {"_id": 8, "more": True}})
    ended = place.run("sync", place.jsonl, place.sqlite)
    assert ended.code == 0, ended.err
    expected = {n: (n * 1.5, "Łódź", None) for n in range(40) if n != 7}
    expected[8] = (None, None, 1)
    assert orders(place) == expected
    # It goes on where it was, with a column that is new.
    place.append(
        {"collection": "orders", "document": {"_id": 7, "total": 1.0, "new": "x"}},
        {"collection": "orders", "delete": 9},
        {"collection": "late", "document": {"_id": 1}},
    )
    ended = place.run("sync", place.jsonl, place.sqlite)
    assert ended.code == 0, ended.err
    del expected[9]
    assert orders(place) == {**expected, 7: (1.0, None, None)}
    with closing(sqlite3.connect(place.directory / "shop.db")) as reader:
        new = reader.execute('SELECT _id, new FROM "shop.orders" WHERE new IS NOT NULL')
        assert new.fetchall() == [(7, "x")]
        tags = reader.execute('SELECT tags FROM "shop.users"').fetchall()
        assert tags == [('["x"]',)]
        assert reader.execute('SELECT _id FROM "shop.late"').fetchall() == [(1,)]


def test_files_to_postgresql(place: Place, postgres_uri: str) -> None:
    destination = f"{{connection_string: '{postgres_uri}'}}"
    ended = place.run("sync", place.jsonl, destination)
    assert ended.code == 0, ended.err
    place.append({"collection": "orders", "document": {"_id": 0, "total": 2.0}})
    ended = place.run("sync", place.jsonl, destination)
    assert ended.code == 0, ended.err
    with psycopg.connect(postgres_uri) as connection:
        rows = connection.execute(
            "SELECT _id, total, to_city FROM shop.orders WHERE _id < 3 ORDER BY _id"
        ).fetchall()
        newest = connection.execute(
            "SELECT max(_cwarp_source_ts) AT TIME ZONE 'UTC' FROM shop.orders"
        ).fetchone()
    assert rows == [(0, 2.0, None), (1, 1.5, "Łódź"), (2, 3.0, "Łódź")]
    assert newest is not None
    assert str(newest[0]).startswith("2025-11-24 16:00:39")


def test_mongodb_down_the_drain(
    place: Place, mongo_db: Database[dict[str, Any]], mongo_uri: str, tmp_path: Path
) -> None:
    mongo_db.orders.insert_many([{"_id": n} for n in range(500)])
    source = f"{{connection_string: '{embedded.with_database(mongo_uri, 'x')}'}}"
    uri = f"drain://{tmp_path}"
    place.database = mongo_db.name
    ended = place.run("sync", source, f"{{type: drain, connection_string: '{uri}'}}")
    assert ended.code == 0, ended.err
    settings = DestinationSettings(type="drain", connection_string=uri)
    drain = Drain(settings, SchemaSettings(name="shop", database=mongo_db.name))
    assert drain.validate()
    [state] = drain.tables()
    assert (state.table.name, state.complete, state.documents) == ("orders", True, 500)


def test_what_a_connector_says_has_its_place(place: Place) -> None:
    wrong = place.sqlite.replace("}", ", options: {busy_second: 3}}")
    words = ["warp.yaml:2 destination.options: sqlite has no option busy_second"]
    ended = place.run("sync", place.jsonl, wrong)
    assert_refused(ended, 2, *words, "did you mean busy_seconds?")
    wrong = place.jsonl.replace("}", ", full_document: lookup}")
    ended = place.run("config", wrong, place.sqlite)
    assert_refused(ended, 2, "source.full_document: a setting of mongodb alone")
    ended = place.run("sync", place.jsonl.replace("jsonl,", "jsnol,"), place.sqlite)
    words = ["warp.yaml:1 source.type: no connector is called jsnol", "jsonl, mongodb"]
    assert_refused(ended, 2, *words, "did you mean jsonl?")


def test_a_source_that_lost_its_history(place: Place) -> None:
    assert place.run("sync", place.jsonl, place.sqlite).code == 0
    (place.directory / "shop.jsonl").write_text("")
    ended = place.run("sync", place.jsonl, place.sqlite)
    assert ended.code == 6, ended.err
    message, hint = ended.err.splitlines()[-2:]
    assert message.endswith("(the file ends before the position)")
    assert hint.endswith("cannot mend a table in place: copy into a new schema")


def test_a_broken_connector_is_named_and_breaks_no_other(
    place: Place, installed: Path, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    shutil.copytree(installed, site)
    place.env["PYTHONPATH"] = str(site)
    with (site / "cwarp_sqlite.py").open("a") as module:
        module.write("import a_driver_that_is_not_there\n")
    ended = place.run("sync", place.jsonl, place.sqlite)
    assert_refused(
        ended,
        3,
        "destination.type: the connector sqlite of cwarp-example-connectors 0.1.0",
        "No module named 'a_driver_that_is_not_there'",
    )
    drain = f"{{type: drain, connection_string: 'drain://{tmp_path}'}}"
    assert place.run("sync", place.jsonl, drain).code == 0
