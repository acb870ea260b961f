"""Settings of connectors that others wrote: their type, and options of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from cartridge_warp import config
from cartridge_warp.config import DestinationSettings, SourceSettings
from cartridge_warp.errors import ConfigError

FOREIGN = """\
source:
  type: files
  connection_string: /var/files
  options: {depth: 3, token: "${TOKEN}", deep: {passwords: [one-word, two-word]}}
destination: {type: sqlite, connection_string: shop.db}
schemas: [{name: shop, database: "a b/c"}]
"""


def load(tmp_path: Path, text: str) -> config.Settings:
    file = tmp_path / "warp.yaml"
    file.write_text(text, "utf-8")
    return config.load(file, environ={"TOKEN": "t0p-secret"})


def refused(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    lines = str(caught.value).replace(f"{tmp_path}/", "").splitlines()
    return "\n".join([*lines, *filter(None, [caught.value.hint])])


def test_another_type_brings_its_own_uri_names_and_options(tmp_path: Path) -> None:
    settings = load(tmp_path, FOREIGN)
    assert settings.source.type == "files"
    assert settings.source.connection_string == "/var/files"
    assert settings.source.options == {
        "depth": 3,
        "token": "t0p-secret",
        "deep": {"passwords": ["one-word", "two-word"]},
    }
    assert settings.destination.options == {}
    assert settings.schemas[0].database == "a b/c"
    assert settings.places["source.type"].endswith("warp.yaml:2 source.type")
    assert settings.places["source.options"].endswith("warp.yaml:4 source.options")


def test_what_no_one_may_see_is_known_by_its_name(tmp_path: Path) -> None:
    settings = load(tmp_path, FOREIGN)
    assert set(config.secrets(settings.source)) == {
        *("t0p-secret", "one-word", "two-word")
    }
    assert "t0p-secret" not in f"{settings} {settings.source!r}"


@pytest.mark.parametrize(
    ("written", "instead", "message"),
    [
        (
            "options: {depth",
            "read_preference: nearest\n  options: {depth",
            "warp.yaml:4 source.read_preference: a setting of mongodb alone\n"
            "the connector's own settings stand under source.options",
        ),
        (
            "connection_string: shop.db",
            "connection_string: shop.db, command_timeout: 5",
            "warp.yaml:5 destination.command_timeout: a setting of postgresql alone\n"
            "the connector's own settings stand under destination.options",
        ),
        (
            "{type: sqlite, connection_string: shop.db}",
            "{connection_string: 'postgres://h/d', options: {a: 1}}",
            "warp.yaml:5 destination.options: postgresql has none\nremove them",
        ),
        (
            "options: {depth: 3",
            "options: [1]\n  ignored: {depth: 3",
            "warp.yaml:4 source.options: must be settings by name",
        ),
        ("type: files", "type: ''", "warp.yaml:2 source.type: must be text, not empty"),
    ],
)
def test_what_a_connector_would_not_look_at(
    tmp_path: Path, written: str, instead: str, message: str
) -> None:
    found = refused(tmp_path, FOREIGN.replace(written, instead))
    assert message in found


class Depth(Struct):
    depth: int
    colour: str = "red"
    deep: dict[str, Any] = {}
    moment: frozenset[int] = frozenset()


def settings(**options: Any) -> SourceSettings:
    return SourceSettings(type="files", connection_string="/", options=options)


def test_options_become_the_connectors_class() -> None:
    assert config.options(settings(depth="3"), Depth) == Depth(3)
    assert config.options(settings(depth=1, colour="blue"), Depth).colour == "blue"
    given = DestinationSettings(type="x", connection_string="/", options={"depth": 1})
    assert config.options(given, Depth) == Depth(1)


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        ({}, "source.options: files needs the option depth", ""),
        (
            {"depth": 1, "color": "blue"},
            "source.options: files has no option color, did you mean colour?",
            "it has depth, colour, deep, moment",
        ),
        ({"depth": "s3cr3t"}, "source.options: depth must be a whole number", ""),
        ({"depth": 1, "colour": 2}, "source.options: colour must be text", ""),
        ({"depth": 1, "deep": 2}, "source.options: deep must be settings by name", ""),
        (
            {"depth": 1, "moment": 2},
            "source.options: moment must be of another kind",
            "",
        ),
    ],
)
def test_options_that_are_wrong(given: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.options(settings(**given), Depth)
    assert str(caught.value) == message
    assert caught.value.hint == hint
    assert caught.value.setting == "source.options"
