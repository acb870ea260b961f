"""Rare inputs of the MongoDB source that would cost much, or say nothing useful."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from pymongo.database import Database

from cartridge_warp.errors import ConfigError, PreconditionError
from cartridge_warp.mongodb import snapshot
from mongodb_kit import ids, make, reading

Mongo = Database[dict[str, Any]]


def test_planning_large_documents_does_not_read_them_all(
    mongo_db: Mongo, mongo_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, blob = 2000, b"x" * 5000
    mongo_db.large.insert_many({"_id": n, "blob": blob} for n in range(count))
    # So few to a chunk that twenty samples of each are more than there is.
    monkeypatch.setattr(snapshot, "CHUNK_BYTES", 20 * len(blob))
    source = make(mongo_uri, mongo_db.name)
    mongo_db.command({"profile": 2})
    plan = source.plan_chunks("large")
    mongo_db.command({"profile": 0})
    parts = [ids(reading(source, "large", chunk)) for chunk in plan]
    whole = [key for part in parts for key in part]
    source.close()
    profiled = mongo_db["system.profile"].find({"command.aggregate": "large"})
    examined = [
        each["docsExamined"]
        for each in profiled
        if "$sample" in each["command"]["pipeline"][0]
    ]
    assert len(examined) == 1
    # A random cursor examines none; a scan examines every one.
    assert examined[0] < count // 10
    assert len(plan) > 20
    assert all(one.upper == two.lower for one, two in pairwise(plan))
    assert len(whole) == len(set(whole)) == count


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ("replicaset=rs0&retryreadz=1", "retryreadz"),
        ("readPreference=nearby", "readPreference"),
        ("directConnection=perhaps", "directConnection"),
        ("tls=true&tlsCAFile=/no/such/file", "tlsCAFile"),
    ],
)
def test_an_option_of_the_uri_that_is_not_usable_is_named(
    options: str, word: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        make(f"mongodb://u:sesame@127.0.0.1:1/?{options}", "shop")
    assert f"the option {word} " in str(raised.value)
    assert raised.value.hint
    assert "sesame" not in str(raised.value) + raised.value.hint


def test_a_password_that_looks_like_an_option_is_not_shown() -> None:
    with pytest.raises(ConfigError) as raised:
        make("mongodb://u:pass/?sesame=1@127.0.0.1:1/", "shop")
    assert "sesame" not in str(raised.value) + raised.value.hint


def test_a_missing_database_is_refused_with_those_there_are(
    mongo_db: Mongo, mongo_uri: str
) -> None:
    mongo_db.c.insert_one({"_id": 1})
    source = make(mongo_uri, "no_such_database")
    with pytest.raises(PreconditionError) as raised:
        source.validate()
    source.close()
    assert "no_such_database" in str(raised.value)
    assert "there are: " in raised.value.hint
    named = raised.value.hint.partition("there are: ")[2].split(", ")
    assert not {"admin", "config", "local"} & set(named)
    assert mongo_db.name in named or named[-1] == "..."
