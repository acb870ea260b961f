"""Everything at once, drawn from a seed: writers, collections that change, disasters.

``make chaos SEED=n SECONDS=60`` runs one; the seed of a failure is in its message.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from pymongo.database import Database
from stage import Stage
from troubles import Troubles

import totals
from kit import MakeScene
from own_postgres import OwnPostgres, on_own
from proxy import Proxy

pytestmark = [pytest.mark.faults, pytest.mark.slow]

SEEDS = [int(each) for each in os.environ.get("CWARP_CHAOS_SEEDS", "").split()]
SECONDS = float(os.environ.get("CWARP_CHAOS_SECONDS", "30"))

#: After this time without any trouble everything has come right; the promise is 30 s
#: for one fault, and here are many, on top of each other.
RECOVERY = 90.0


@pytest.mark.parametrize("seed", SEEDS or range(1, 21))
def test_everything_comes_right(
    make_scene: MakeScene,
    other_db: Database[dict[str, Any]],
    server: OwnPostgres,
    mongo_uri: str,
    say: Callable[[str], None],
    seed: int,
) -> None:
    stage = Stage(on_own(make_scene, server), other_db, seed)
    totals.count("seeds", "chaos")
    ports = (urlsplit(mongo_uri).port or 0, server.server.port)
    try:
        with Proxy(ports[0]) as mongodb, Proxy(ports[1], postgresql=True) as postgres:
            stage.scene.through_mongodb(mongodb)
            stage.scene.through_postgres(postgres)
            troubles = Troubles(stage, server, mongodb, postgres)
            try:
                play(stage, troubles)
            finally:
                troubles.heal()
            stage.settle(RECOVERY)
        crowd = stage.crowd
        assert crowd.done > crowd.failed.total(), crowd.failed
        totals.count("writes", "done", crowd.done)
        say(f"chaos, seed {seed}: {len(stage.told)} events, {crowd.done:,} writes")
    except BaseException as error:
        error.add_note(stage.story())
        raise


def play(stage: Stage, troubles: Troubles) -> None:
    """SECONDS of it."""
    stage.fill()
    stage.attend()
    with stage.crowd.writing():
        while stage.seconds < SECONDS:
            troubles.pass_time(stage.random.uniform(0.1, 1.0))
            troubles.next()
            stage.attend()
        troubles.heal()
        stage.attend()
        troubles.last()
