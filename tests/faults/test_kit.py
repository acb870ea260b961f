"""The judge of a scene finds what it is there to find."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from decimal import Decimal

import psycopg
import pymongo
import pytest

import totals
from audit import Move, marker_faults, standstills
from judge import MOST
from kit import META, SCHEMA, Scene
from usage import KNOWN, Usage
from writers import CANARY_VALUE

pytestmark = pytest.mark.faults


def test_a_sync_that_nothing_disturbs(scene: Scene) -> None:
    scene.writers.fill(200)
    with scene.running() as sync, scene.writers.writing():
        scene.streaming()
        assert sync.ready()
        assert "cartridge_warp" in sync.ask("/metrics")[1]
        time.sleep(1)
    scene.once()
    scene.check()


def move(
    epochs: tuple[int | None, int],
    seqs: tuple[int | None, int],
    times: tuple[int | None, int | None],
    *,
    lane: int = 0,
    op: str = "UPDATE",
) -> Move:
    old, new = (None if time is None else Decimal(time) for time in times)
    return Move(0, op, lane, *epochs, *seqs, old, new, old != new, "")


GOOD = [
    move((None, 1), (None, 0), (None, None), op="INSERT"),
    move((1, 1), (0, 1), (None, 5)),
    move((None, 1), (None, 1), (None, 5), lane=1, op="INSERT"),
    move((1, 1), (1, 2), (5, 5)),
    move((1, 1), (2, 2), (5, 5)),
    move((1, 3), (2, 2), (5, 5)),
    move((3, 3), (1, 2), (5, 7), lane=1),
    move((3, 3), (2, 3), (5, 9)),
    move((3, 3), (2, 2), (7, 7), lane=1, op="DELETE"),
    move((None, 3), (None, 0), (None, None), lane=1, op="INSERT"),
    move((3, 3), (0, 1), (None, 9), lane=1),
]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (move((3, 2), (3, 3), (9, 9)), "epoch went back"),
        (move((3, 3), (3, 4), (9, 8)), "time went back"),
        (move((3, 3), (3, 4), (9, None)), "position was lost"),
        (move((3, 3), (3, 5), (9, 9)), "seq jumped"),
        (move((3, 3), (3, 2), (9, 9)), "seq jumped"),
        (move((3, 3), (3, 3), (9, 10)), "without its seq"),
        (move((3, 4), (3, 4), (9, 10)), "without its seq"),
        (move((None, 3), (None, 0), (None, 6), lane=1, op="INSERT"), "time went back"),
        (move((None, 2), (None, 0), (None, 9), lane=1, op="INSERT"), "epoch went back"),
        (move((None, 3), (None, 0), (None, None), lane=1, op="INSERT"), "was lost"),
    ],
)
def test_a_marker_that_does_wrong_is_found(bad: Move, words: str) -> None:
    assert list(marker_faults(GOOD)) == []
    (found,) = marker_faults([*GOOD, bad])
    assert words in found


SABOTAGE = (
    (
        f"DELETE FROM {SCHEMA}.notes WHERE _id = (SELECT min(_id) FROM {SCHEMA}.notes)",
        "missing row",
    ),
    (f"INSERT INTO {SCHEMA}.counters (_id, n) VALUES (987654, 1)", "extra row"),
    (f"UPDATE {SCHEMA}.orders SET n = n + 1", "value"),
    (
        f"UPDATE {SCHEMA}.counters SET n = n - 1;"
        f" UPDATE {SCHEMA}.counters SET n = n + 1",
        "counter",
    ),
    (
        f"CREATE TEMP TABLE kept AS TABLE {SCHEMA}.counters;"
        f" DELETE FROM {SCHEMA}.counters;"
        f" INSERT INTO {SCHEMA}.counters TABLE kept",
        "counter .* to None",
    ),
    (f"UPDATE {META}.sync_markers SET seq = seq + 2", "seq jumped"),
    (f"UPDATE {META}.table_state SET events = events + 1", "unaccounted"),
    (f"UPDATE {META}.snapshot_chunks SET rows = documents + 1", "unaccounted"),
    (
        f"INSERT INTO {META}.error_log (schema_name, kind, message)"
        f" VALUES ('{SCHEMA}', 'x', 'it was {CANARY_VALUE}')",
        f"{CANARY_VALUE} in error_log",
    ),
    (
        f"INSERT INTO {META}.dead_letter_queue"
        " (schema_name, table_name, collection, key, reason, raw, fingerprint)"
        f" VALUES ('{SCHEMA}', 'notes', 'notes', '1', 'x', '', '')",
        "'1'",
    ),
)


def test_what_is_wrong_with_tables_and_metadata_is_found(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is planted here is no divergence of the product.
    monkeypatch.setattr("totals._counts", {})
    scene.writers.fill(20)
    scene.once()
    scene.check()
    everything = scene.places.postgres
    name = everything.rpartition("/")[2]
    server = everything.replace(name, "postgres")
    with psycopg.connect(server, autocommit=True) as connection:
        for statement, words in SABOTAGE:
            # A copy of the database, spoilt, stands in for what a fault left.
            spoilt = f"{name}_spoilt"
            connection.execute(f"CREATE DATABASE {spoilt} TEMPLATE {name}".encode())
            scene.places = scene.places._replace(
                postgres=everything.replace(name, spoilt)
            )
            with psycopg.connect(scene.places.postgres) as there:
                there.execute(statement.encode())
            with pytest.raises(AssertionError, match=words):
                scene.check()
            connection.execute(f"DROP DATABASE {spoilt} WITH (FORCE)".encode())


def test_a_backend_that_is_left_is_found(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("judge.BACKENDS_GONE", 0.5)
    scene.writers.fill(1)
    scene.once()
    name = "cartridge-warp stream shop"
    with (
        psycopg.connect(scene.places.postgres, application_name=name),
        pytest.raises(pytest.fail.Exception, match="no backend is left"),
    ):
        scene.check()
    with psycopg.connect(scene.places.postgres) as other:
        other.execute(f"LOCK TABLE {SCHEMA}.notes IN SHARE MODE")
        with pytest.raises(pytest.fail.Exception, match="no lock is left"):
            scene.check()
    with pymongo.MongoClient(scene.places.mongo, appname="cartridge-warp") as client:
        client.admin.command("ping")
        with pytest.raises(pytest.fail.Exception, match="no connection is left"):
            scene.check()
    scene.check()


@pytest.mark.skipif(not KNOWN, reason="looks into /proc")
def test_a_sync_that_has_too_much_is_found(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.writers.fill(1)
    sync = scene.start()
    scene.streaming()
    now = sync.look()
    assert min(now) > 0
    scene.catches_up()
    monkeypatch.setattr("judge.BACKENDS_GONE", 0.5)
    for name in ("rss", "descriptors", "threads"):
        sync.baseline = now._replace(**{name: -(10**12)})
        with pytest.raises(pytest.fail.Exception, match="no more than"):
            scene.catches_up()
    sync.baseline = now
    with monkeypatch.context() as patch:
        patch.setattr("judge._BACKENDS", -10)
        with pytest.raises(pytest.fail.Exception, match="backends"):
            scene.catches_up()
    scene.recovers(sync)
    for name in Usage._fields:
        with monkeypatch.context() as patch:
            patch.setattr("judge.MOST", MOST._replace(**{name: 1}))
            with pytest.raises(AssertionError, match="MiB"):
                scene.check()


def test_a_green_light_that_lies_is_found() -> None:
    moves = [
        GOOD[0]._replace(at=datetime.fromtimestamp(at, UTC)) for at in (90, 150, 230)
    ]
    for first, last, found in ((0, 90, 1), (80, 150, 0), (160, 240, 0), (150, 240, 1)):
        faults = list(standstills(moves, [(first, last)], 75.0))
        assert len(faults) == found, (first, last, faults)
    assert len(list(standstills([], [(0, 80), (90, 100), (200, 400)], 75.0))) == 2


def test_the_last_line_is_the_sum_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for store in ("_counts", "_most"):
        monkeypatch.setattr(f"totals.{store}", {})
    assert totals.lines() == []
    totals.most("most of a sync", "MiB", 90)
    totals.most("most of a sync", "MiB", 60)
    totals.count("kills", "kill -9", 3)
    totals.count("codes", "43", 2)
    totals.count("codes", "189")
    totals.count("documents compared", "equal", 1200)
    assert totals.lines() == [
        "most of a sync: MiB 90",
        "codes: 3 (43 2, 189 1)",
        "documents compared: 1,200 (equal 1,200)",
        "kills: 3 (kill -9 3)",
        "in all 3 kills, 2 codes thrown 3 times, 0 toxics in force 0 times, 0 seeds, "
        "1,200 documents compared, 0 divergences",
    ]
