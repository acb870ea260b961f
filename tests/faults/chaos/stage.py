"""A run of chaos: what is synced how, who runs, and what has to be true then."""

from __future__ import annotations

import json
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import rowtrace
from crowd import BATCHED, NEW, STREAMED, Crowd, Plot
from zoo import FAMILIES

from command import cwarp
from kit import META, SCHEMA, Scene, wait_until
from syncing import Sync

#: The schema beside the usual one, where there are two.
OTHER = "depot"

_PROGRAM = (sys.executable, str(Path(__file__).with_name("small_chunks.py")))

#: A process that ended so did what was asked of it; 7 where another went on.
_ASKED = (0, -signal.SIGKILL)
_FENCED, _PRECONDITION = 7, 3

_POLICIES = ("keep", "truncate", "drop")
_STRATEGIES = ("hard", "soft", "both")

#: Of a table that there is: is its collection known to be gone?
_GONE = f"""
SELECT gone_at IS NOT NULL FROM {META}.table_state
WHERE schema_name = %s AND table_name = %s AND to_regclass(%s) IS NOT NULL
"""


class Stage:
    """Draws the settings from the seed, keeps a process running and tells its story.

    scene: on a server of its own, without a sync yet.
    """

    def __init__(self, scene: Scene, other: Any, seed: int) -> None:
        self.scene = scene
        self.seed = scene.seed = seed
        self.random = rng = random.Random(seed)
        scene.program = _PROGRAM
        names = [SCHEMA, OTHER][: 1 + seed % 2]
        scene.schemas = dict(zip(names, (scene.db, other), strict=False))
        self.plots = [
            Plot(
                database,
                {
                    name: rng.choice(list(FAMILIES))
                    for name in (*STREAMED, *BATCHED, *NEW)
                },
                BATCHED if schema == SCHEMA else (),
            )
            for schema, database in scene.schemas.items()
        ]
        self.crowd = Crowd(scene.client, self.plots, seed)
        #: What was done, each with the seconds since the beginning.
        self.told: list[str] = []
        #: Something is wrong with a server or a link, on purpose.
        self.trouble = False
        #: The processes that were started while something was.
        self._hampered: set[Sync] = set()
        self._judged: set[Sync] = set()
        #: Those that may yet kill themselves.
        self._armed: set[Sync] = set()
        self._contested = False
        self._began = time.monotonic()
        self._on_drop = {name: rng.choice(_POLICIES) for name in names}
        self._deletion = {
            (schema, name): rng.choice(_STRATEGIES)
            for schema in names
            for name in (*STREAMED, *BATCHED, *NEW)
        }
        self._left: set[tuple[str, str]] = set()
        self.edit(first=True)
        rowtrace.install(scene.places.postgres, names)

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    def fill(self) -> None:
        """What there is before the first process."""
        self.crowd.fill(self.random.choice([200, 600, 1000]))
        self.scene.plant_poison(2)
        self._began = time.monotonic()

    def tell(self, what: str) -> None:
        self.told.append(f"{self.seconds:6.2f} {what}")

    # --- settings ---------------------------------------------------------------

    def edit(self, *, first: bool = False) -> str:
        """Other settings for the next process. What, in words."""
        rng, scene = self.random, self.scene
        schema = rng.choice(list(scene.schemas))
        what = rng.choice(["filter", "lanes", "deletes"])
        if first or what == "lanes":
            scene.lanes = rng.randrange(1, 4)
        elif what == "filter":
            self._left ^= {(schema, rng.choice(STREAMED))}
        else:
            name = rng.choice((*STREAMED, *BATCHED))
            self._deletion[schema, name] = rng.choice(_STRATEGIES)
        scene.unfollowed = set(self._left)
        scene.configure(
            {
                "mode": "multi" if len(scene.schemas) > 1 else "single",
                "global_max_parallel_streams": scene.lanes,
                "snapshot_workers": 2,
                "schemas": [self._settings(each) for each in scene.schemas],
            }
        )
        left = sorted(f"{schema}.{name}" for schema, name in self._left)
        return f"{what}: {scene.lanes} lanes, without {left or 'nothing'}"

    def _settings(self, schema: str) -> dict[str, Any]:
        tables: list[dict[str, Any]] = [
            {"name": name, "deletion_strategy": strategy}
            for (each, name), strategy in self._deletion.items()
            if each == schema and name not in BATCHED
        ]
        if schema == SCHEMA:
            timestamp, hashed = BATCHED
            usual = {"mode": "batch", "polling_interval_seconds": 1.0}
            tables += [
                {
                    "name": timestamp,
                    **usual,
                    "change_detection_strategy": "timestamp",
                    "detect_deletes": True,
                    "deletion_strategy": self._deletion[schema, timestamp],
                },
                {
                    "name": hashed,
                    **usual,
                    "change_detection_strategy": "hash",
                    "deletion_strategy": self._deletion[schema, hashed],
                },
                {"name": "poison", "on_misfit": "dead_letter"},
            ]
        return {
            "name": schema,
            "database": self.scene.schemas[schema].name,
            "on_drop": self._on_drop[schema],
            "table_blacklist": [name for each, name in self._left if each == schema],
            "tables": tables,
        }

    # --- processes --------------------------------------------------------------

    def running(self) -> list[Sync]:
        return [sync for sync in self.scene.syncs if sync.runs()]

    def start(self, kill: str = "", *, anew: bool = False) -> Sync:
        sync = self.scene.start(kill=kill, anew=anew)
        if kill:
            self._armed.add(sync)
        if self.trouble:
            self._hampered.add(sync)
        return sync

    def contest(self) -> Sync:
        """A second process: one of them may be told that it is the owner no more."""
        self._contested = True
        return self.start()

    def attend(self) -> None:
        """What ended ended as it may, and somebody works."""
        for sync in self.scene.syncs:
            if sync in self._judged:
                continue
            if sync.code() is not None:
                self._judge(sync)
            elif self._failed(sync):
                self._judge_failed(sync)
        if not self.running():
            self.tell("start")
            self.start()

    def hampered(self) -> None:
        """Something goes wrong from now on: a process that starts may notice."""
        self.trouble = True
        for sync in self.running():
            if not sync.frozen and sync.ask("/startup", seconds=1.0)[0] != 200:
                self._hampered.add(sync)

    def _judge(self, sync: Sync) -> None:
        self._judged.add(sync)
        code = sync.code()
        allowed = {*_ASKED}
        if not sync.log() or sync in self._hampered:
            # Before it handles signals, or after: it was about to end by itself.
            allowed.add(-signal.SIGTERM)
        if self._contested:
            allowed.add(_FENCED)
        if sync in self._hampered:
            allowed.add(_PRECONDITION)
        assert code in allowed, f"exit code {code}\n{sync.tail()}"
        assert "Traceback" not in sync.log(), sync.tail(60)

    def _failed(self, sync: Sync) -> bool:
        """Has one of several schemas failed, and the others go on without it?"""
        if len(self.scene.schemas) == 1 or sync.frozen:
            return False
        status, body = sync.ask("/status.json", seconds=2.0)
        schemas = json.loads(body)["schemas"] if status else []
        return any(each["phase"] == "failed" for each in schemas)

    def _judge_failed(self, sync: Sync) -> None:
        fenced = self._contested and "another process owns" in sync.log()
        assert fenced or sync in self._hampered, f"a schema failed\n{sync.tail()}"
        self.tell("kill -9 of a process with a failed schema")
        sync.kill()

    def resync(self) -> str:
        """Ask for it as a person does, whether anybody runs or not."""
        schema = self.random.choice(list(self.scene.schemas))
        name = self.random.choice(STREAMED)
        ended = cwarp(*("resync", name, self.scene.places.postgres, "--schema", schema))
        assert "Traceback" not in ended.err, ended.err
        return f"resync {schema}.{name}: exit {ended.code}"

    # --- the end ----------------------------------------------------------------

    def settle(self, seconds: float) -> None:
        """Nobody writes and nothing is wrong any more: all of it has to come right."""
        self.trouble = False
        scene = self.scene
        for sync in self.running():
            if sync.frozen:
                sync.thaw()
            if sync in self._armed:
                sync.kill()
        self.tell("everything is well again")
        wait_until(self._works, "a process is ready", seconds)
        scene.catches_up(seconds)
        self.attend()
        for sync in reversed(self.running()):
            code = sync.stop()
            assert code == 0 or (code == _FENCED and self._contested), sync.tail()
        self.tell("once")
        scene.once()
        scene.check()
        self._check_gone()

    def _works(self) -> bool:
        """Somebody is ready. Who had begun while it was not well may end first."""
        self.attend()
        return any(map(Sync.ready, self.running()))

    def _check_gone(self) -> None:
        """Tables whose collections are gone are known as such, or have no rows left."""
        with psycopg.connect(self.scene.places.postgres) as connection:
            for schema, database in self.scene.schemas.items():
                there = set(database.list_collection_names())
                for name in {*STREAMED, *NEW} - there:
                    if (schema, name) in self._left:
                        continue
                    table = f"{schema}.{name}"
                    known = connection.execute(_GONE, (schema, name, table)).fetchall()
                    if known and not known[0][0]:
                        query = f"SELECT count(*) FROM {table}"
                        ((rows,),) = connection.execute(query.encode()).fetchall()
                        said = "\n".join(rowtrace.chunks(connection, schema, name))
                        what = f"{table} is gone, {self._on_drop[schema]}: {rows} rows"
                        assert rows == 0, f"{what}\n{said}"

    def story(self) -> str:
        """The seed, all that was done, and what is known of the first differences."""
        lines = [f"make chaos SEED={self.seed}", *self.told]
        for sync in self.running():
            sync.signal(signal.SIGUSR1)
            time.sleep(1.0)
            lines.append(sync.tail(200))
        try:
            lines += self._differences()
        except Exception as error:  # the story of a failure is not to hide it
            lines.append(f"no differences to be had: {error!r}")
        codes = ", ".join(f"{name} {n}" for name, n in self.crowd.failed.most_common())
        lines.append(f"{self.crowd.done} writes; refused by MongoDB: {codes or 'none'}")
        return "\n".join(lines)

    def _differences(self) -> Iterator[str]:
        found = {place: each for place, each in self.scene.compared().items() if each}
        with psycopg.connect(self.scene.places.postgres) as connection:
            for (schema, table), some in found.items():
                yield f"{len(some)} differences in {schema}.{table}"
                for each in some[:2]:
                    yield f"  {each}"
                    for line in rowtrace.story(
                        connection, f"{schema}.{table}", each.key
                    ):
                        yield f"    {line}"
                for line in rowtrace.chunks(connection, schema, table):
                    yield f"  {line}"
