"""Connectors are found by name, and a wrong name is told what there is."""

from __future__ import annotations

import pytest

from cartridge_warp import registry
from cartridge_warp.config import DestinationSettings, SchemaSettings, SourceSettings
from cartridge_warp.errors import ConfigError

SCHEMA = SchemaSettings(name="shop", database="shop")


def test_an_unknown_source_lists_the_known_ones() -> None:
    settings = SourceSettings(
        type="cobol",  # type: ignore[arg-type]
        connection_string="cobol://localhost",
    )
    with pytest.raises(ConfigError, match=r"source\.type: no connector") as caught:
        registry.source(settings, SCHEMA)
    assert "mongodb" in caught.value.hint


def test_an_unknown_destination_lists_the_known_ones() -> None:
    settings = DestinationSettings(
        type="cobol",  # type: ignore[arg-type]
        connection_string="cobol://localhost",
    )
    with pytest.raises(ConfigError, match=r"destination\.type: no connector") as caught:
        registry.destination(settings, SCHEMA)
    assert "postgresql" in caught.value.hint


def test_ours_are_made_without_a_connection() -> None:
    """Nothing listens at port 1: making a connector must not reach for a server."""
    source = registry.source(
        SourceSettings(connection_string="mongodb://127.0.0.1:1/shop"), SCHEMA
    )
    source.close()
    destination = registry.destination(
        DestinationSettings(connection_string="postgresql://127.0.0.1:1/x"), SCHEMA
    )
    destination.close()
