"""A scene: writers, a sync between two real servers, and what must hold at its end."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from bson.datetime_ms import DatetimeMS
from pymongo import MongoClient
from pymongo.database import Database

import audit
import judge
from command import PASSWORD
from syncing import Sync
from tests.comparer import Difference, compare
from waiting import wait_until
from watcher import Watcher
from writers import Document, Writers

SCHEMA = "shop"
META = audit.META

#: The user that the sync is in MongoDB; its password is a canary too.
MONGO_USER = "cwarp-faults"

#: After this time without its fault a sync has caught up (invariant 10).
RECOVERY = 30.0

#: Small batches, so that a little data is many commits.
SETTINGS: dict[str, Any] = {
    "source": {"change_batch_size": 100, "snapshot_batch_bytes": 65_536},
    "error_handling": {"max_backoff_seconds": 2},
    "stream_batch_size": 60,
}


class Places(NamedTuple):
    """Where the servers are: ``mongo`` without a database, ``postgres`` with one."""

    mongo: str
    postgres: str


class HasPort(Protocol):
    """A proxy on this machine."""

    port: int


class Scene:
    """One MongoDB database, the schema it is synced into, and every sync of a test.

    Tests write and look directly; a sync may come through proxies.
    """

    def __init__(
        self,
        client: MongoClient[Document],
        database: Database[Document],
        places: Places,
        directory: Path,
        seed: int,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.db = database
        self.places = places
        self.seed = seed
        self.writers = Writers(client, database, seed)
        self.syncs: list[Sync] = []
        self.workers: list[Sync] = []
        #: Connection strings that the syncs get; ``through_*`` change them.
        self.source = _with_user(places.mongo, MONGO_USER)
        self.destination = _with_user(places.postgres, "postgres")
        self.env: dict[str, str] = {}
        #: What a sync is started as, where it is not ``cwarp`` itself.
        self.program: Sequence[str] | None = None
        #: The databases that are synced, by schema, and (schema, collection) of what
        #: the settings leave out.
        self.schemas = {SCHEMA: database}
        self.unfollowed: set[tuple[str, str]] = set()
        #: Keys of the documents that are to be dead letters, and nothing else.
        self.poison: list[str] = []
        self.client = client
        self._directory = directory
        self._config = directory / "warp.json"
        poison = {"name": "poison", "on_misfit": "dead_letter"}
        schema = {"name": SCHEMA, "database": database.name, "tables": [poison]}
        #: One to three lanes, by the seed, so that every fault meets both.
        self.lanes = 1 + seed % 3
        lanes = {"global_max_parallel_streams": self.lanes}
        self.configure({**lanes, "schemas": [schema], **(settings or {})})
        self._cursors: set[Any] = set()
        self._watcher = Watcher(self.syncs)
        #: Everything that has to hold was seen to hold.
        self.checked = False
        audit.install(places.postgres, SCHEMA)

    def configure(self, settings: Mapping[str, Any]) -> None:
        """What later syncs are told, beside what holds for all."""
        self._config.write_text(json.dumps({**SETTINGS, **settings}))

    def plant_poison(self, number: int) -> None:
        """Documents that can be no row, each between good ones.

        A date of BSON may lie far outside those of PostgreSQL.
        """
        for _ in range(number):
            ids = range(3 * len(self.poison), 3 * len(self.poison) + 3)
            documents = [{"_id": each, "at": DatetimeMS(each)} for each in ids]
            documents[1]["at"] = DatetimeMS(2**62)
            self.db["poison"].insert_many(documents)
            self.poison.append(str(ids[1]))

    # --- the sync ---------------------------------------------------------------

    def start(self, *, once: bool = False, kill: str = "", anew: bool = False) -> Sync:
        """A sync process. kill: ``point:nth``.  anew: with ``--full-resync``."""
        self._cursors = self._open_cursors()
        wishes = {"--once": once, "--full-resync": anew}
        sync = Sync(
            [f"--config={self._config}", *(each for each in wishes if wishes[each])],
            self._environment(kill),
            self._directory / f"sync-{len(self.syncs)}.log",
            program=self.program,
        )
        self.syncs.append(sync)
        self.checked = False
        self._watcher.start()
        return sync

    def help(
        self, *arguments: str, kill: str = "", env: Mapping[str, str] | None = None
    ) -> Sync:
        """A worker process."""
        worker = Sync(
            [f"--config={self._config}", *arguments],
            {**self._environment(kill), **(env or {})},
            self._directory / f"worker-{len(self.workers)}.log",
            verb="worker",
        )
        self.workers.append(worker)
        return worker

    def _environment(self, kill: str) -> dict[str, str]:
        killed = {"CWARP_TEST": "1", "CWARP_TEST_KILL": kill} if kill else {}
        return {
            "CARTRIDGE_WARP_SOURCE__CONNECTION_STRING": self.source,
            "CARTRIDGE_WARP_DESTINATION__CONNECTION_STRING": self.destination,
            **self.env,
            **killed,
        }

    def end(self) -> None:
        """Nothing of the scene is left running."""
        self._watcher.stop()
        for each in (*self.syncs, *self.workers):
            each.end()

    def once(self) -> None:
        """Copy, catch up, end well."""
        sync = self.start(once=True)
        assert sync.wait() == 0, sync.tail()

    @contextmanager
    def running(self) -> Iterator[Sync]:
        """A sync that goes on until the block ends, and then ends well."""
        sync = self.start()
        yield sync
        assert sync.code() is None, sync.tail()
        assert sync.stop() == 0, sync.tail()

    def as_role(self, name: str) -> None:
        """Later syncs are this role in PostgreSQL."""
        self.destination = _with_user(self.destination, name)

    def through_postgres(self, proxy: HasPort) -> None:
        """Later syncs reach PostgreSQL through this proxy."""
        self.destination = _with_port(self.destination, proxy.port)

    def through_mongodb(self, proxy: HasPort) -> None:
        """The same for MongoDB; the driver keeps to the one address it is given."""
        scheme, netloc, path, _, _ = urlsplit(_with_port(self.source, proxy.port))
        query = "directConnection=true&authSource=admin"
        self.source = urlunsplit((scheme, netloc, path or "/", query, ""))

    # --- looking ----------------------------------------------------------------

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.places.postgres) as connection:
            return connection.execute(query.encode()).fetchall()

    def execute(self, *statements: str) -> None:
        """As somebody does who has no business there."""
        with psycopg.connect(self.places.postgres) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def has_table(self, name: str) -> bool:
        return self.rows(f"SELECT to_regclass('{SCHEMA}.{name}')") != [(None,)]

    def runs(self, sync: Sync) -> None:
        """Wait until this process owns the schema, which another may have to leave."""
        query = f"SELECT 1 FROM {META}.sync_runs WHERE instance LIKE '%:{sync.pid}'"
        wait_until(
            lambda: self._is_so(query), lambda: f"it owns the schema{self.story()}"
        )

    def streaming(self) -> None:
        """Wait until a write made now arrives: the stream is being applied."""
        key = f"sign-{time.monotonic_ns()}"
        self.db["signs"].insert_one({"_id": key, "n": 1})
        wait_until(lambda: self._has_sign(key), lambda: f"{key} arrives{self.story()}")
        running = [sync for sync in self.syncs if sync.runs()]
        # Of several, one stands by, and has less than it will need.
        if len(running) == 1:
            running[0].baseline = running[0].look()

    def catches_up(self, seconds: float = RECOVERY) -> None:
        """Every table becomes its collection. Nobody may be writing."""
        deadline = time.monotonic() + seconds
        key = f"sign-{time.monotonic_ns()}"
        self.db["signs"].insert_one({"_id": key, "n": 1})
        wait_until(
            lambda: self._has_sign(key), lambda: f"{key} arrives{self.story()}", seconds
        )
        # Another lane may be a little behind the one that brought the sign.
        while (found := self.differences()) and time.monotonic() < deadline:
            time.sleep(0.5)
        assert not found, f"{len(found)} differences: {found[:5]}{self.story()}"
        for sync in self.syncs:
            if sync.runs() and not sync.frozen:
                judge.check_settled(self, sync)

    def recovers(self, sync: Sync) -> None:
        """The fault is over: it went on by itself, and everything is as it should."""
        self.catches_up()
        assert sync.code() is None, sync.tail()
        wait_until(sync.ready, lambda: f"it is ready{self.story()}", RECOVERY)
        assert sync.stop() == 0, sync.tail()
        self.check()

    def differences(self) -> list[Difference]:
        """Between every collection and its table, the poison taken out."""
        return [each for found in self.compared().values() for each in found]

    def compared(self) -> dict[tuple[str, str], list[Difference]]:
        """What differs, by schema and collection: of all that is followed."""
        found: dict[tuple[str, str], list[Difference]] = {}
        with psycopg.connect(self.places.postgres) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            for schema, name in self.followed():
                try:
                    each = compare(self.schemas[schema][name], connection, schema, name)
                except (LookupError, psycopg.errors.UndefinedTable):
                    connection.rollback()
                    each = [Difference("missing table", "", name, name, None)]
                poison = self.poison if name == "poison" else []
                found[schema, name] = _without(each, poison)
        return found

    def followed(self) -> list[tuple[str, str]]:
        """Schema and name of every collection that has to be a table."""
        return [
            (schema, name)
            for schema, database in self.schemas.items()
            for name in sorted(database.list_collection_names())
            if (schema, name) not in self.unfollowed
        ]

    def story(self) -> str:
        """The seed, and the last words of every sync: for whoever sees it fail."""
        shown = (*self.syncs[-4:], *self.workers[-4:])
        tails = "\n".join(each.tail() for each in shown)
        return f"\nseed {self.seed}, {self.lanes} lanes\n{tails}"

    def check(self) -> None:
        """Every invariant, after the last sync ended."""
        self._watcher.stop()
        judge.check(self, self._watcher.green())
        self.checked = True

    def check_broken(self) -> None:
        """As ``check``, where somebody broke what would have to be equal."""
        self._watcher.stop()
        judge.check_ended(self)
        self.checked = True

    def cursors_left(self) -> set[Any]:
        """Cursors in MongoDB that were not there before the last sync."""
        return self._open_cursors() - self._cursors

    def _open_cursors(self) -> set[Any]:
        """Cursors that syncs hold, busy ones too."""
        found = self.sessions(idleCursors=True, localOps=True)
        ids = [each.get("cursor", {}).get("cursorId") for each in found]
        return {each for each in ids if each}

    def sessions(self, **options: bool) -> list[Document]:
        """What MongoDB knows of syncs. options: of ``$currentOp``."""
        stages: list[Document] = [
            {"$currentOp": {"allUsers": True, **options}},
            {"$match": {"appName": "cartridge-warp"}},
        ]
        with closing(self.client.admin.aggregate(stages)) as found:
            return list(found)

    def _has_sign(self, key: str) -> bool:
        return self._is_so(f"SELECT 1 FROM {SCHEMA}.signs WHERE _id = '{key}'")

    def _is_so(self, query: str) -> bool:
        """Are there rows? Not before there is a table, or while the server is away."""
        try:
            return self.rows(query) != []
        except (psycopg.errors.UndefinedTable, psycopg.OperationalError):
            return False


class MakeScene(Protocol):
    """Makes a scene with other settings than the usual, or on another server."""

    def __call__(
        self, postgres: str = ..., settings: Mapping[str, Any] | None = None
    ) -> Scene: ...


def _without(found: list[Difference], poison: list[str]) -> list[Difference]:
    missing = {("missing row", key) for key in poison}
    return [each for each in found if (each.kind, each.key) not in missing]


def _with_user(uri: str, user: str) -> str:
    """The URI with a user and the canary as its password."""
    scheme, netloc, path, query, _ = urlsplit(uri)
    host = netloc.rpartition("@")[2]
    if scheme.startswith("mongodb"):
        query = f"{query}&authSource=admin".lstrip("&")
    place = f"{quote(user)}:{quote(PASSWORD)}@{host}"
    return urlunsplit((scheme, place, path or "/", query, ""))


def _with_port(uri: str, port: int) -> str:
    parts = urlsplit(uri)
    user, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}{at}127.0.0.1:{port}"))
