"""Locks, limits and rights in PostgreSQL: what passes is waited for, what does not is
said in one line.
"""

from __future__ import annotations

import time

import pytest

from kit import META, SCHEMA, MakeScene, Scene, wait_until
from own_postgres import ROLE, OwnPostgres, on_own
from syncing import Sync

pytestmark = pytest.mark.faults


@pytest.fixture
def scene(make_scene: MakeScene, server: OwnPostgres) -> Scene:
    return on_own(make_scene, server)


@pytest.fixture
def sync(scene: Scene) -> Sync:
    """It streams."""
    scene.writers.fill(200)
    sync = scene.start()
    scene.streaming()
    return sync


@pytest.mark.slow
def test_a_table_is_locked(scene: Scene, server: OwnPostgres, sync: Sync) -> None:
    """Fifteen seconds, in which the table's structure wants to change too."""
    with scene.writers.writing():
        with server.locked(SCHEMA, "orders"):
            scene.db["orders"].insert_one({"brand_new": 1})
            time.sleep(15)
        scene.db["orders"].insert_one({"brand_new": 2})
    scene.recovers(sync)


@pytest.mark.slow
def test_a_table_is_locked_while_it_is_copied(
    scene: Scene, server: OwnPostgres
) -> None:
    scene.writers.fill(3000)
    sync = scene.start()
    wait_until(lambda: scene.has_table("orders"), "the copy begins", pause=0.01)
    with server.locked(SCHEMA, "orders"), scene.writers.writing():
        time.sleep(15)
    scene.recovers(sync)


@pytest.mark.slow
def test_a_marker_is_locked(scene: Scene, server: OwnPostgres, sync: Sync) -> None:
    """By somebody who looks at it with too much care."""
    with scene.writers.writing(), server.locked(META, "sync_markers"):
        time.sleep(15)
    scene.recovers(sync)


@pytest.mark.slow
def test_who_stands_still_is_not_ready(
    scene: Scene, server: OwnPostgres, sync: Sync
) -> None:
    """Connected and alive, and after a minute it says that it is stuck."""
    with server.locked(META, "sync_markers"):
        scene.writers.burst(5)
        wait_until(lambda: not sync.ready(), "it is not ready", seconds=80)
        assert sync.ask("/health")[0] == 200
    scene.recovers(sync)


@pytest.mark.slow
@pytest.mark.parametrize(
    "setting",
    [
        "statement_timeout = '50ms'",
        "lock_timeout = '1ms'",
        "idle_in_transaction_session_timeout = '50ms'",
        "search_path = 'nowhere'",
        "DateStyle = 'German'",
        "default_transaction_isolation = 'serializable'",
    ],
)
def test_the_role_has_odd_settings(
    scene: Scene, server: OwnPostgres, setting: str
) -> None:
    server.run(f"ALTER ROLE {ROLE} SET {setting}")
    scene.writers.fill(500)
    sync = scene.start()
    scene.streaming()
    with scene.writers.writing():
        time.sleep(3)
    scene.recovers(sync)


@pytest.mark.slow
def test_the_role_may_only_read_for_a_while(
    scene: Scene, server: OwnPostgres, sync: Sync
) -> None:
    with scene.writers.writing():
        server.run(f"ALTER ROLE {ROLE} SET default_transaction_read_only = on")
        server.terminate()
        wait_until(lambda: not sync.ready(), "it is not ready")
        time.sleep(5)
        assert sync.code() is None, sync.tail()
        assert not sync.ready()
        server.run(f"ALTER ROLE {ROLE} RESET default_transaction_read_only")
    scene.recovers(sync)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        pytest.param(
            f"REVOKE ALL ON {SCHEMA}.orders FROM {ROLE}",
            ("permission denied", "orders"),
            id="right",
        ),
        pytest.param(
            f"DROP TABLE {SCHEMA}.orders",
            ("orders", "does not exist"),
            id="table",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            f"ALTER TABLE {SCHEMA}.orders DROP COLUMN price",
            ("column", "price"),
            id="column",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            f"ALTER TABLE {SCHEMA}.orders ALTER COLUMN n TYPE boolean USING true",
            ("column n of", "was changed outside to boolean"),
            id="type",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            f"DROP TABLE {META}.sync_markers",
            ("sync_markers", "does not exist"),
            id="marker",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            f"REVOKE ALL ON SCHEMA {META} FROM {ROLE}",
            ("permission denied", META),
            id="metadata",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_somebody_broke_is_said_in_one_line(
    scene: Scene, server: OwnPostgres, sync: Sync, harm: str, words: tuple[str, ...]
) -> None:
    server.run(harm)
    for number in range(3):
        scene.db["orders"].insert_one({"_id": f"late-{number}", "n": number})
    # 3 where we see it before PostgreSQL does.
    assert sync.wait() in (1, 3), sync.tail()
    errors = [line for line in sync.said() if line.startswith("error: ")]
    assert len(errors) == 1, sync.tail()
    assert all(word in errors[0] for word in words), errors
    assert "Traceback" not in sync.log()
    scene.check_broken()


@pytest.mark.slow
def test_a_right_that_came_back(scene: Scene, server: OwnPostgres, sync: Sync) -> None:
    """The next start goes on where the one that was refused stood."""
    server.run(f"REVOKE ALL ON {SCHEMA}.orders FROM {ROLE}")
    scene.writers.burst(60)
    assert sync.wait() == 1, sync.tail()
    refused = scene.start()
    assert refused.wait() in (1, 3), refused.tail()
    assert "Traceback" not in refused.log()
    server.run(f"GRANT ALL ON {SCHEMA}.orders TO {ROLE}")
    scene.once()
    scene.check()


@pytest.mark.slow
def test_a_row_that_postgresql_refuses_stops_nobody_else(
    scene: Scene, server: OwnPostgres, sync: Sync
) -> None:
    """A constraint of the owner's own, which the core cannot know of."""
    scene.plant_poison(1)
    wait_until(lambda: scene.has_table("poison"), "the table is there")
    server.run(f"ALTER TABLE {SCHEMA}.poison ADD CHECK (_id::text NOT LIKE '9%')")
    scene.db["poison"].insert_many([{"_id": each} for each in (80, 90, 91, 100)])
    scene.poison += ["90", "91"]
    with scene.writers.writing():
        time.sleep(3)
    scene.recovers(sync)
