"""What is told of a run of chaos that went wrong."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo.database import Database
from stage import Stage

from kit import SCHEMA, MakeScene
from own_postgres import OwnPostgres, on_own

pytestmark = pytest.mark.faults

#: An even one has a single schema.
SEED = 4


def test_a_difference_is_found_and_its_row_has_a_story(
    make_scene: MakeScene, other_db: Database[dict[str, Any]], server: OwnPostgres
) -> None:
    stage = Stage(on_own(make_scene, server), other_db, SEED)
    scene = stage.scene
    scene.plant_poison(1)
    scene.db["c0"].insert_many([{"_id": f"id-{n}", "n": n} for n in range(300)])
    stage.attend()
    scene.streaming()
    scene.db["c0"].update_one({"_id": "id-7"}, {"$set": {"n": 70}})
    stage.settle(60)
    assert stage.told[-1].endswith("once")
    scene.execute(f"UPDATE {SCHEMA}.c0 SET n = 71 WHERE _id = 'id-7'")
    scene.check_broken()
    story = stage.story()
    assert f"make chaos SEED={SEED}" in story
    assert f"1 differences in {SCHEMA}.c0" in story
    told = [line for line in story.splitlines() if '"id-7"' in line]
    made, changed, harmed = [line.partition("{")[0] for line in told]
    assert "INSERT by cartridge-warp copy" in made
    assert "UPDATE by cartridge-warp stream" in changed
    assert "UPDATE by" in harmed
    assert "cartridge-warp" not in harmed
    assert '"table_name": "c0"' in story
