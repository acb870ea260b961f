"""Batch mode in the settings: the cascade, older names, and what contradicts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cartridge_warp import config
from cartridge_warp.config import Settings, TableSettings
from cartridge_warp.errors import ConfigError

SERVERS = """\
source: {connection_string: "mongodb://h"%s}
destination: {connection_string: "postgresql://h/d"}
"""


def load(text: str, source: str = "", **environ: str) -> Settings:
    path = Path("warp.yaml")
    path.write_text(SERVERS % (f", {source}" if source else "") + text, "utf-8")
    return config.load(path, environ=environ)


def refused(text: str, source: str = "") -> tuple[str, str]:
    with pytest.raises(ConfigError) as caught:
        load(text, source)
    return str(caught.value), caught.value.hint


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def table(text: str, name: str = "orders", source: str = "") -> TableSettings:
    (schema,) = load(text, source).schemas
    return schema.table(name)


def test_everything_is_streamed_by_default() -> None:
    (schema,) = load("schemas: [{name: shop}]").schemas
    assert schema.has_stream
    assert schema.streams("orders")
    assert not schema.batches("orders")


@pytest.mark.parametrize(
    ("source", "schema", "here", "strategy"),
    [
        ({}, {}, {"mode": "batch"}, "timestamp"),
        ({}, {"mode": "batch"}, {}, "timestamp"),
        ({}, {"mode": "batch"}, {"mode": "stream"}, "log"),
        ({"change_detection_strategy": "hash"}, {}, {}, "hash"),
        ({"change_detection_strategy": "hash"}, {"mode": "stream"}, {}, "log"),
        (
            {"change_detection_strategy": "hash"},
            {"mode": "stream"},
            {"mode": "batch"},
            "hash",
        ),
        (
            {"change_detection_strategy": "timestamp"},
            {},
            {"mode": "batch"},
            "timestamp",
        ),
        (
            {"change_detection_strategy": "hash"},
            {"change_detection_strategy": "timestamp"},
            {},
            "timestamp",
        ),
        ({}, {}, {"change_detection_strategy": "hash"}, "hash"),
        ({"change_detection_strategy": "change_stream"}, {}, {}, "log"),
        (
            {"change_detection_strategy": "timestamp"},
            {},
            {"change_detection_strategy": "change_stream"},
            "log",
        ),
        ({}, {}, {"mode": "stream", "change_detection_strategy": "log"}, "log"),
    ],
)
def test_the_nearest_level_decides_how_changes_are_found(
    source: Mapping[str, str],
    schema: Mapping[str, Any],
    here: Mapping[str, str],
    strategy: str,
) -> None:
    overrides = {
        **{f"source.{name}": value for name, value in source.items()},
        "source.connection_string": "mongodb://h",
        "destination.connection_string": "postgresql://h/d",
        "schemas": [{"name": "shop", **schema, "tables": [{"name": "orders", **here}]}],
    }
    (found,) = config.load(None, overrides, {}).schemas
    assert found.table("orders").change_detection_strategy == strategy
    assert found.batches("orders") == (strategy != "log")


def test_schedule_and_interval_come_from_the_nearest_level_that_has_either() -> None:
    text = """\
schemas:
  - name: shop
    mode: batch
    schedule: "0 2 * * *"
    tables:
      nightly: {}
      often: {polling_interval_seconds: 30}
      noon: {schedule: "0 12 * * *"}
"""
    (schema,) = load(text).schemas
    found = {
        name: (schema.table(name).schedule, schema.table(name).polling_interval_seconds)
        for name in ("nightly", "often", "noon", "other")
    }
    assert found == {
        "nightly": ("0 2 * * *", 5.0),
        "often": ("", 30.0),
        "noon": ("0 12 * * *", 5.0),
        "other": ("0 2 * * *", 5.0),
    }


def test_the_other_settings_cascade() -> None:
    text = """\
schemas:
  - name: shop
    mode: batch
    default_polling_interval: 60
    change_detection_overlap_seconds: 0
    tables:
      orders: {change_detection_column: meta.changed, detect_deletes: true}
"""
    orders = table(text, source="change_detection_column: modified")
    others = table(text, "others", source="change_detection_column: modified")
    assert orders.change_detection_column == "meta.changed"
    assert orders.detect_deletes
    assert others.change_detection_column == "modified"
    assert not others.detect_deletes
    for each in (orders, others):
        assert each.polling_interval_seconds == 60
        assert each.change_detection_overlap_seconds == 0


def test_older_names_stand_for_the_present_ones() -> None:
    text = """\
change_detection:
  strategy: timestamp
  column: changed_at
  overlap_seconds: 5
  timezone: Asia/Tokyo
schemas: [{name: shop}]
"""
    settings = load(text)
    orders = settings.schemas[0].table("orders")
    assert settings.schemas[0].timezone == "Asia/Tokyo"
    assert orders.change_detection_strategy == "timestamp"
    assert orders.change_detection_column == "changed_at"
    assert orders.change_detection_overlap_seconds == 5


def test_the_environment_has_the_present_name() -> None:
    name = "CARTRIDGE_WARP_SOURCE__CHANGE_DETECTION_STRATEGY"
    settings = load("schemas: [{name: shop}]", **{name: "hash"})
    assert settings.schemas[0].table("x").change_detection_strategy == "hash"
    older = "CARTRIDGE_WARP_CHANGE_DETECTION__STRATEGY"
    with pytest.raises(ConfigError, match=f"did you mean {name}"):
        load("schemas: [{name: shop}]", **{older: "hash"})


def test_an_empty_group_of_older_names_is_nothing() -> None:
    assert load("change_detection:\nschemas: [{name: shop}]").schemas[0].has_stream


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "change_detection: {columns: a}",
            "warp.yaml:3 change_detection.columns: unknown field, did you mean column?",
        ),
        (
            "change_detection: 5",
            "warp.yaml:3 change_detection: must be a group of settings",
        ),
        (
            "change_detection: {strategy: hsh}",
            "warp.yaml:3 source.change_detection_strategy: must be log, timestamp, "
            "hash or change_stream, did you mean hash?",
        ),
    ],
)
def test_a_wrong_older_name(text: str, message: str) -> None:
    assert refused(f"{text}\nschemas: [{{name: shop}}]")[0] == message


def test_an_older_name_beside_its_present_one() -> None:
    message, hint = refused(
        "change_detection: {column: a}\nschemas: [{name: shop}]",
        source="change_detection_column: b",
    )
    assert message == (
        "warp.yaml:3 change_detection.column: an older name of "
        "source.change_detection_column, which is set too"
    )
    assert hint == "leave one of the two out"


@pytest.mark.parametrize(
    ("cron", "reason"),
    [
        ("every night", "must have five fields"),
        ("0 2 * * * *", "must have five fields"),
        ("", "must have five fields"),
        ("61 2 * * *", "the minute is wrong"),
        ("0 25 * * *", "the hour is wrong"),
        ("0 2 32 * *", "the day-of-month is wrong"),
        ("0 2 * 13 *", "the month is wrong"),
        ("0 2 * * MONDAY", "the day-of-week is wrong"),
        ("*/0 * * * *", "the minute is wrong"),
        ("0 2 30 2 *", "the day-of-month is wrong"),
        ("0 2 31 2 MON", None),
    ],
)
def test_cron_nonsense_names_the_place_and_the_field(
    cron: str, reason: str | None
) -> None:
    text = f"""\
schemas:
  - name: shop
    tables:
      - name: orders
        mode: batch
        schedule: "{cron}"
"""
    if reason is None:
        assert table(text).schedule == cron
        return
    message, hint = refused(text)
    assert message == f"warp.yaml:8 schemas[0].tables[0].schedule: {reason}"
    assert "five fields: minute, hour" in hint


def test_an_unknown_time_zone() -> None:
    message, hint = refused("schemas: [{name: shop}]", source="timezone: Europe/Berln")
    assert message == (
        "warp.yaml:1 source.timezone: no time zone has this name, did you mean "
        "Europe/Berlin?"
    )
    assert "IANA" in hint


@pytest.mark.parametrize("name", ["/etc/passwd", "../UTC", "America", ""])
def test_what_is_no_time_zone_at_all(name: str) -> None:
    message, _ = refused("schemas: [{name: shop}]", source=f"timezone: '{name}'")
    assert "no time zone has this name" in message


@pytest.mark.parametrize(
    ("table", "setting", "reason"),
    [
        (
            "mode: stream, change_detection_strategy: hash",
            "change_detection_strategy",
            "contradicts mode: stream beside it",
        ),
        (
            "mode: batch, change_detection_strategy: log",
            "change_detection_strategy",
            "contradicts mode: batch beside it",
        ),
        (
            "mode: batch, change_detection_strategy: change_stream",
            "change_detection_strategy",
            "contradicts mode: batch beside it",
        ),
        ("schedule: '0 2 * * *'", "schedule", "is of batch mode, and this table is"),
        ("detect_deletes: true", "detect_deletes", "is of batch mode, and this table"),
        (
            "mode: batch, schedule: '0 2 * * *', polling_interval_seconds: 5",
            "schedule",
            "contradicts polling_interval_seconds beside it",
        ),
        (
            "mode: batch, change_detection_column: $now",
            "change_detection_column",
            "must be the name of a field",
        ),
        (
            "mode: batch, change_detection_column: a..b",
            "change_detection_column",
            "must be the name of a field",
        ),
        (
            "mode: batch, change_detection_overlap_seconds: -1",
            "change_detection_overlap_seconds",
            "must be a number from 0 to 604800",
        ),
        (
            "mode: batch, on_drop: truncate",
            "on_drop",
            "is of mode stream, and this table is read in batch mode",
        ),
        (
            "change_detection_strategy: hash, on_drop: drop",
            "on_drop",
            "is of mode stream, and this table is read in batch mode",
        ),
        ("mode: bacth", "mode", "must be stream or batch, did you mean batch?"),
    ],
)
def test_a_table_that_cannot_be_meant_so(table: str, setting: str, reason: str) -> None:
    message, _ = refused(
        f"schemas:\n  - name: shop\n    tables:\n      - {{name: orders, {table}}}\n"
    )
    assert message.startswith(f"warp.yaml:6 schemas[0].tables[0].{setting}: {reason}")


def test_a_schedule_of_a_schema_that_is_streamed_as_a_whole() -> None:
    message, hint = refused("schemas: [{name: shop, schedule: '0 2 * * *'}]")
    assert message.startswith("warp.yaml:3 schemas[0].schedule: is of batch mode")
    assert "mode: batch" in hint
    text = "schemas: [{name: shop, schedule: '0 2 * * *', tables: {a: {mode: batch}}}]"
    assert table(text, "a").schedule == "0 2 * * *"
    assert not table(text, "b").batch


def test_on_drop_beside_batch_mode() -> None:
    """What a level above says is of its streamed tables; ``keep`` is what happens."""
    text = (
        "schemas: [{name: shop, on_drop: drop, mode: batch, tables: "
        "{a: {on_drop: keep}, b: {mode: stream}}}]"
    )
    assert table(text, "a").on_drop == "keep"
    assert table(text, "b").on_drop == "drop"
    message, hint = refused(
        "schemas: [{name: shop, mode: batch, tables: {a: {on_drop: drop}}}]"
    )
    assert message.startswith("warp.yaml:3 schemas[0].tables[0].on_drop: is of mode")
    assert "remove this line" in hint


def test_an_interval_is_of_no_weight_for_a_streamed_table() -> None:
    text = "schemas: [{name: shop, tables: {orders: {polling_interval_seconds: 5}}}]"
    assert not table(text).batch


@pytest.mark.parametrize(
    ("schema", "streams"),
    [
        ("mode: batch", False),
        ("mode: batch, tables: {a: {mode: stream}}", True),
        ("tables: {a: {mode: batch}}", True),
        ("tables: {a: {mode: batch}}, table_whitelist: [a]", False),
        ("tables: {a: {mode: batch}}, table_whitelist: [a, b]", True),
        ("tables: {a: {mode: batch}}, table_whitelist: ['a*']", True),
        ("tables: {a: {mode: stream}}, mode: batch, table_blacklist: [a]", True),
    ],
)
def test_a_stream_is_opened_where_one_may_be_wanted(schema: str, streams: bool) -> None:
    (found,) = load(f"schemas: [{{name: shop, {schema}}}]").schemas
    assert found.has_stream == streams


def test_tables_named_on_the_command_line_decide_too() -> None:
    text = (
        "global_table_whitelist: [a]\nschemas: [{name: s, tables: {a: {mode: batch}}}]"
    )
    (found,) = load(text).schemas
    assert not found.has_stream
