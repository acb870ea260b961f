"""What is said of two processes whose settings differ: each setting, both values."""

from __future__ import annotations

import pytest

from cartridge_warp import config
from cartridge_warp.config.agreed import agreed, differing


def terms(**schema: object) -> str:
    settings = config.load(
        None,
        {
            "source.connection_string": "mongodb://h",
            "destination.connection_string": "postgresql://h/d",
            **{name: schema.pop(name) for name in list(schema) if "global" in name},
            "schemas": [{"name": "shop", **schema}],
        },
        {},
    )
    return agreed(settings.schemas[0])


SOFT = {"deletion_strategy": "soft"}


@pytest.mark.parametrize(
    ("here", "there", "said"),
    [
        ({}, {}, []),
        ({"snapshot_workers": 7}, {"stream_batch_size": 5}, []),
        (
            SOFT,
            {"deletion_strategy": "hard"},
            ["deletion_strategy is soft here and hard there"],
        ),
        (
            {"global_table_whitelist": "a,b"},
            {},
            ["global_table_whitelist is [a, b] here and unset there"],
        ),
        (
            {"tables": {"orders": SOFT}},
            {"tables": {"orders": {"max_columns": 10}}},
            [
                "tables.orders.max_columns is 250 here and 10 there",
                "tables.orders.deletion_strategy is soft here and hard there",
            ],
        ),
        # On one side alone, it has the defaults or a glob's settings on the other.
        (
            {"tables": {"orders": SOFT}},
            {"layout": "both"},
            [
                "layout is columns here and both there",
                "tables.orders.deletion_strategy is soft here and hard there",
            ],
        ),
        (
            {},
            {"tables": {"o*": SOFT}},
            ["tables.o*.deletion_strategy is hard here and soft there"],
        ),
        (
            {"tables": {"orders": SOFT}},
            {"tables": {"o*": SOFT}},
            ["tables.o*.deletion_strategy is hard here and soft there"],
        ),
        # What a table has from the defaults is said once.
        (
            {"tables": {"orders": {}}, "naming": "snake"},
            {"tables": {"orders": {}}},
            ["naming is snake here and preserve there"],
        ),
        (
            {"tables": {"a*": SOFT, "*b": SOFT}},
            {"tables": {"*b": SOFT, "a*": SOFT}},
            ["tables is [a*, *b] here and [*b, a*] there"],
        ),
        ({"tables": {"orders": {}}}, {}, None),
    ],
)
def test_each_setting_is_named(
    here: dict[str, object], there: dict[str, object], said: list[str] | None
) -> None:
    if said is None:
        said = ["tables is [orders] here and unset there"]
    assert differing(terms(**here), terms(**there)) == said


def test_a_handful_is_named() -> None:
    many = {"layout": "both", "naming": "snake", "json_columns": "json"}
    more = {"json_mode": "canonical", "max_columns": 9, "source_ts": False}
    found = differing(terms(**many, **more, database="other"), terms())
    assert len(found) == 6
    assert found[0] == "database is other here and shop there"
    assert found[-1] == "and 2 more"


def test_a_schema_without_an_owner_has_none() -> None:
    assert differing(terms(), "") == differing("", terms()) == []
