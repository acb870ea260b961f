"""What must hold at the end of every fault test, and while nothing harms a sync."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg

import audit
import totals
from audit import META
from command import PASSWORD
from usage import KNOWN, MEBIBYTE, Usage
from waiting import wait_until
from writers import CANARY_ID, CANARY_VALUE

if TYPE_CHECKING:
    from kit import Scene
    from syncing import Sync

#: What a backend of a process that is gone may still take to notice.
BACKENDS_GONE = 75.0

#: No sync of a scene, whose documents are small, ever has more for each schema.
MOST = Usage(200 * MEBIBYTE, 200 * MEBIBYTE, descriptors=64, threads=48)

#: What it may have, once a fault is over, above what it had before: a link that is
#: opened when it is first needed, a read that is under way.
SLACK = Usage(64 * MEBIBYTE, 0, descriptors=8, threads=4)

#: The driver keeps what it opened to each server that was the primary for a while.
EACH_MORE = 8

#: Ready, and nothing committed for so many seconds: a green light that lies.
#: The promise is a minute.
STANDSTILL = 75.0

#: Where everything that a process has read went; ``engine/progress.py`` says more.
_ENDS = ("copied", "applied", "superseded", "dead_letters", "ignored")

_HERE = "datname = current_database()"
_OURS = "application_name LIKE 'cartridge-warp%'"

#: Of one sync: three copiers, the structure's, the lease's, and one that looks; and one
#: for each lane.
_BACKENDS = 6

#: What no sync leaves behind in PostgreSQL.
_LEFT = {
    "backend": "SELECT application_name, state, wait_event, left(query, 80)"
    f" FROM pg_stat_activity WHERE {_HERE} AND {_OURS}",
    "lock": "SELECT locktype, mode, pid FROM pg_locks l JOIN pg_database d"
    f" ON d.oid = l.database WHERE {_HERE} AND pid IS DISTINCT FROM pg_backend_pid()",
}


def check(scene: Scene, green: Iterable[tuple[float, float]]) -> None:
    """Every invariant. green: when a sync said that it was ready."""
    check_ended(scene)
    found = scene.differences()
    documents = sum(
        scene.schemas[schema][name].count_documents({})
        for schema, name in scene.followed()
    )
    totals.count("documents compared", "equal", documents - len(found))
    if found:
        totals.count("divergences", scene.db.name, len(found))
    assert not found, f"{len(found)} differences: {found[:5]}{scene.story()}"
    with psycopg.connect(scene.places.postgres) as connection:
        letters = connection.execute(
            f"SELECT key FROM {META}.dead_letter_queue WHERE state = 'pending'"
        ).fetchall()
        assert sorted(key for (key,) in letters) == sorted(scene.poison), letters
        moves = audit.moves(connection)
        totals.count("marker moves judged", "ok", len(moves))
        assert moves
        for faults in (
            list(audit.marker_faults(moves)),
            list(audit.standstills(moves, green, STANDSTILL)),
            audit.counter_faults(connection),
            audit.unaccounted(connection),
        ):
            assert not faults, f"{len(faults)}: {faults[:5]}{scene.story()}"


def check_ended(scene: Scene) -> None:
    """The invariants that hold also where somebody broke the tables."""
    assert all(sync.code() is not None for sync in scene.syncs)
    _check_left_behind(scene)
    if KNOWN:
        most = MOST.times(len(scene.schemas))
        for sync in scene.syncs:
            assert sync.most.most(most) == most, f"{sync.most}{scene.story()}"
    with psycopg.connect(scene.places.postgres) as connection:
        _check_secrets(scene, connection)


def check_settled(scene: Scene, sync: Sync) -> None:
    """A sync that nothing harms: what it read went somewhere, once, and it has no more
    than before the fault."""
    status, body = sync.ask("/status.json")
    assert status == 200, body
    for schema in json.loads(body)["schemas"]:
        for table in schema["tables"]:
            told = [table["counts"][each] for each in _ENDS]
            assert table["counts"]["read"] == sum(told), f"{table}{scene.story()}"
            assert min(told) >= 0, f"{table}{scene.story()}"
    if KNOWN and sync.baseline is not None:
        limit = Usage(*map(sum, zip(sync.baseline, SLACK, strict=True)))
        others = urlsplit(scene.source).netloc.count(",")
        limit = limit._replace(
            peak=MOST.peak * len(scene.schemas),
            descriptors=limit.descriptors + EACH_MORE * others,
        )
        wait_until(
            lambda: sync.look().most(limit) == limit,
            lambda: f"no more than {limit}; it has {sync.look()}{scene.story()}",
            BACKENDS_GONE,
        )
    most = (_BACKENDS + scene.lanes) * len(scene.schemas)
    most *= sum(each.runs() for each in scene.syncs)
    wait_until(
        lambda: len(scene.rows(_LEFT["backend"])) <= most,
        lambda: f"no more than {most} backends{scene.story()}",
        BACKENDS_GONE,
    )


def _check_left_behind(scene: Scene) -> None:
    """No backend, lock or connection of a sync, and after a good end no cursor."""
    for what, query in _LEFT.items():
        wait_until(
            lambda: not scene.rows(query),  # noqa: B023  waited for at once
            f"no {what} is left: {scene.rows(query)}",
            BACKENDS_GONE,
        )
    wait_until(
        lambda: not scene.sessions(idleConnections=True, localOps=True),
        "no connection is left in MongoDB",
        BACKENDS_GONE,
    )
    if scene.syncs and scene.syncs[-1].code() == 0:
        wait_until(lambda: not scene.cursors_left(), "no cursor is left in MongoDB")


def _check_secrets(scene: Scene, connection: psycopg.Connection[Any]) -> None:
    """Passwords, values and ids are in no log, answer or row of the metadata."""
    seen = [(sync.log(), "a log") for sync in scene.syncs]
    seen += [(text, "an answer") for sync in scene.syncs for text in sync.answers]
    seen += [(text, table) for table, text in audit.everything_stored(connection)]
    for text, place in seen:
        for canary in (PASSWORD, CANARY_VALUE, CANARY_ID):
            assert canary not in text, f"{canary} in {place}: {text[:300]}"
