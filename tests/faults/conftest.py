"""The scenes that fault tests play in."""

from __future__ import annotations

import zlib
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pymongo
import pytest
from pymongo.database import Database

import totals
from command import PASSWORD
from kit import MONGO_USER, MakeScene, Places, Scene
from own_postgres import OwnPostgres
from pgbouncer import BINARY

#: What needs a server that is not installed here.
collect_ignore = [] if BINARY else ["test_pgbouncer.py"]
if not BINARY:
    totals.count("left out", "pgbouncer: it is not installed here")

Client = pymongo.MongoClient[dict[str, Any]]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that failed shows the last words of its syncs, and its seed."""
    report = yield
    if report.failed:
        item.failed = True  # type: ignore[attr-defined]
    scene = getattr(item, "funcargs", {}).get("scene")
    if report.failed and isinstance(scene, Scene):
        report.sections.append(("syncs", scene.story()))
    return report


@pytest.fixture(scope="session")
def mongo_user(mongo_client: Client) -> Iterator[str]:
    """Whom the syncs are in MongoDB; the server asks nobody for it."""
    mongo_client.admin.command("createUser", MONGO_USER, pwd=PASSWORD, roles=["root"])
    yield MONGO_USER
    mongo_client.admin.command("dropUser", MONGO_USER)


@pytest.fixture
def make_scene(
    mongo_client: Client,
    mongo_db: Database[dict[str, Any]],
    mongo_uri: str,
    mongo_user: str,
    postgres_uri: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[MakeScene]:
    """Every sync of it is gone after the test. The seed follows from its name."""
    made: list[Scene] = []

    def make(
        postgres: str = postgres_uri, settings: Mapping[str, Any] | None = None
    ) -> Scene:
        seed = zlib.crc32(request.node.name.encode())
        places = Places(mongo_uri, postgres)
        scene = Scene(mongo_client, mongo_db, places, tmp_path, seed, settings)
        made.append(scene)
        return scene

    yield make
    for scene in made:
        scene.end()
    # A run that is interrupted says what it has done so far, and not this.
    interrupted = request.session.exitstatus == pytest.ExitCode.INTERRUPTED
    excused = interrupted or getattr(request.node, "failed", False)
    for scene in made:
        assert excused or scene.checked or not scene.syncs, "the scene is not checked"


@pytest.fixture
def scene(make_scene: MakeScene) -> Scene:
    return make_scene()


@pytest.fixture(scope="session")
def own_postgres() -> Iterator[OwnPostgres]:
    """Few connections, so that a test can take them all."""
    few = ("-c", "max_connections=20", "-c", "superuser_reserved_connections=3")
    with OwnPostgres(*few) as server:
        yield server


@pytest.fixture
def server(own_postgres: OwnPostgres) -> Iterator[OwnPostgres]:
    """A server that may be harmed, with a fresh database."""
    own_postgres.reset()
    yield own_postgres
    own_postgres.thaw()
