"""Which connectors there are: whatever is installed under our entry-point groups."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from .config import DestinationSettings, SchemaSettings, SourceSettings
from .errors import ConfigError
from .protocols import Destination, Source

SOURCES = "cartridge_warp.sources"
DESTINATIONS = "cartridge_warp.destinations"


def source(settings: SourceSettings, schema: SchemaSettings) -> Source:
    """The source that ``settings.type`` names. Raises ConfigError."""
    made: Source = _find(SOURCES, settings.type, "source.type").load()(settings, schema)
    return made


def destination(settings: DestinationSettings, schema: SchemaSettings) -> Destination:
    """The destination that ``settings.type`` names. Raises ConfigError."""
    factory = _find(DESTINATIONS, settings.type, "destination.type").load()
    made: Destination = factory(settings, schema)
    return made


def _find(group: str, name: str, setting: str) -> EntryPoint:
    found = {each.name: each for each in entry_points(group=group)}
    if name not in found:
        known = ", ".join(sorted(found)) or "none is installed"
        raise ConfigError(
            f"{setting}: no connector is called {name}", hint=f"known: {known}"
        )
    return found[name]
