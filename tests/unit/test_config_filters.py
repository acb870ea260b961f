"""Filters that can never select anything are refused, and name what to change."""

from __future__ import annotations

from pathlib import Path

import pytest

from cartridge_warp import config
from cartridge_warp.errors import ConfigError

SERVERS = """\
source: {connection_string: "mongodb://h"}
destination: {connection_string: "postgresql://h/d"}
"""
OPTIONS = {"global_table_whitelist": "--tables"}


def load(directory: Path, text: str, **environ: str) -> config.Settings:
    file = directory / "warp.yaml"
    file.write_text(SERVERS + text, "utf-8")
    return config.load(file, environ=environ, options=OPTIONS)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            "schemas: [{name: a, table_whitelist: [orders]}]\n"
            "global_table_blacklist: [orders]",
            "schemas[0].table_whitelist: selects orders alone, which "
            "global_table_blacklist leaves out, so nothing can be synced",
            "take orders out of global_table_blacklist, or change "
            "schemas[0].table_whitelist",
        ),
        (
            "schemas: [{name: a, table_whitelist: [orders]}]\n"
            "global_table_whitelist: [items]",
            "schemas[0].table_whitelist: selects orders alone, which "
            "global_table_whitelist does not name",
            "add orders to global_table_whitelist",
        ),
        (
            "schemas: [{name: b}, {name: a, table_whitelist: [x, y]}]\n"
            "global_table_blacklist: ['?']",
            "schemas[1].table_whitelist: selects x, y alone",
            "take one of them out of global_table_blacklist",
        ),
        (
            "global_table_whitelist: [orders]\n"
            "schemas: [{name: a, table_blacklist: ['o*']}]",
            "global_table_whitelist: selects orders alone, which "
            "schemas[0].table_blacklist leaves out",
            "take orders out of schemas[0].table_blacklist",
        ),
        (
            "global_table_whitelist: [items]\n"
            "schemas: [{name: a, table_whitelist: ['o*']}]",
            "global_table_whitelist: selects items alone, which "
            "schemas[0].table_whitelist does not name",
            "add items to schemas[0].table_whitelist",
        ),
        (
            "schemas: [{name: a, table_blacklist: ['*']}]",
            "schemas[0].table_blacklist: '*' leaves every collection out",
            "in schemas[0].table_whitelist instead",
        ),
        (
            "schemas: [{name: a, table_whitelist: [orders]}]\n"
            "global_table_blacklist: [tmp, '*']",
            "global_table_blacklist: '*' leaves every collection out",
            "in global_table_whitelist instead",
        ),
    ],
)
def test_what_selects_nothing(
    tmp_path: Path, text: str, message: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        # One level narrows the other down.
        "schemas: [{name: a, table_whitelist: [orders, items]}]\n"
        "global_table_whitelist: [orders]",
        "schemas: [{name: a, table_whitelist: ['o*']}]\n"
        "global_table_whitelist: [orders]",
        "schemas: [{name: a, table_whitelist: [orders, items]}]\n"
        "global_table_blacklist: [items]",
        # Beside a whitelist a blacklist is moot.
        "schemas: [{name: a, table_whitelist: [orders], table_blacklist: ['*']}]",
        # Of globs nobody knows what they will meet.
        "schemas: [{name: a, table_whitelist: ['o*']}]\nglobal_table_blacklist: ['o*']",
        # A schema that does not run.
        "single_schema_name: b\n"
        "schemas: [{name: a, table_whitelist: [orders]}, {name: b}]\n"
        "global_table_blacklist: [orders]",
        "schemas: [{name: a, table_whitelist: [], table_blacklist: []}]",
    ],
)
def test_what_may_select_something(tmp_path: Path, text: str) -> None:
    load(tmp_path, text)


def test_the_place_is_the_one_that_was_written_to(tmp_path: Path) -> None:
    text = "schemas: [{name: a, table_whitelist: [orders]}]"
    name = "CARTRIDGE_WARP_GLOBAL_TABLE_BLACKLIST"
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, **{name: "*"})
    assert str(caught.value).startswith(f"environment {name} global_table_blacklist: ")
    with pytest.raises(ConfigError) as caught:
        config.load(
            tmp_path / "warp.yaml",
            {"global_table_whitelist": "items, tags"},
            {},
            OPTIONS,
        )
    assert "which --tables does not name" in str(caught.value)
    assert "add orders to --tables" in caught.value.hint
