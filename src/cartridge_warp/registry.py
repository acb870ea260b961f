"""Which connectors there are: whatever is installed under our entry-point groups.

Each is loaded only when it is asked for, so one that is broken breaks no other.
"""

from __future__ import annotations

import logging
import re
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Any, Final

from .config import DestinationSettings, SchemaSettings, Settings, SourceSettings
from .config.check import nearest
from .errors import ConfigError, PreconditionError, WarpError
from .protocols import Destination, Source

log = logging.getLogger(__name__)

SOURCES: Final = "cartridge_warp.sources"
DESTINATIONS: Final = "cartridge_warp.destinations"

_OURS: Final = "cartridge-warp"


def source(settings: SourceSettings, schema: SchemaSettings) -> Source:
    """The source that ``settings.type`` names.

    Raises ConfigError where there is none, PreconditionError where it is broken.
    """
    made: Source = _made(SOURCES, Source, settings, schema)
    return made


def destination(settings: DestinationSettings, schema: SchemaSettings) -> Destination:
    """The destination that ``settings.type`` names. Raises as ``source``."""
    made: Destination = _made(DESTINATIONS, Destination, settings, schema)
    return made


def check(settings: Settings) -> None:
    """Both connectors are installed. Loads neither. Raises ConfigError."""
    _find(SOURCES, settings.source)
    _find(DESTINATIONS, settings.destination)


def _made(
    group: str,
    contract: type,
    settings: SourceSettings | DestinationSettings,
    schema: SchemaSettings,
) -> Any:
    """What the connector's factory makes, if it has the methods of the contract."""
    point = _find(group, settings)
    try:
        made = point.load()(settings, schema)
        lacking = [
            name
            for name in vars(contract)
            if not name.startswith("_") and not hasattr(made, name)
        ]
        if lacking:
            raise AttributeError(f"it has no {', '.join(lacking)}")
    except WarpError:
        raise
    except Exception as error:
        if _name(point.dist) == _OURS:
            raise
        log.debug("the connector's error in full", exc_info=True)
        raise PreconditionError(
            f"{_setting(group)}: the connector {point.name} of {_label(point)} cannot "
            f"be used: {type(error).__name__}: {error}",
            hint="install what it needs, or a release of it that was made for this "
            "version of cartridge-warp",
        ) from error
    return made


def _find(group: str, settings: SourceSettings | DestinationSettings) -> EntryPoint:
    found, unreadable = _installed(group)
    points = found.get(settings.type, [])
    if len(points) == 1:
        return points[0]
    if points:
        raise ConfigError(
            f"{len(points)} installed distributions have a connector called "
            f"{settings.type}: {', '.join(map(_label, points))}",
            hint="uninstall all but one of them",
            setting=_setting(group),
        )
    hint = f"installed: {', '.join(sorted(found)) or 'none'}"
    if unreadable:
        hint += f"; the entry points of {', '.join(unreadable)} cannot be read"
    raise ConfigError(
        f"no connector is called {settings.type}{nearest(settings.type, found)}",
        hint=hint,
        setting=_setting(group),
    )


def _installed(group: str) -> tuple[dict[str, list[EntryPoint]], list[str]]:
    """The group's entry points by name, and the distributions that have no readable
    ones. Of two copies of a distribution the first on the path counts, as in imports.
    """
    found: dict[str, list[EntryPoint]] = {}
    seen: set[str] = set()
    unreadable = []
    for each in distributions():
        name = _name(each)
        # Without a name it is what a broken installation has left behind.
        if not name or name in seen:
            continue
        seen.add(name)
        try:
            points = each.entry_points.select(group=group)
        except Exception:
            unreadable.append(name)
            continue
        for point in points:
            found.setdefault(point.name, []).append(point)
    return found, unreadable


def _name(distribution: Distribution | None) -> str:
    """A distribution's name as pip compares names; "" where it has none."""
    name = None if distribution is None else distribution.metadata["Name"]
    return re.sub(r"[-_.]+", "-", name or "").lower()


def _label(point: EntryPoint) -> str:
    version = "" if point.dist is None else f" {point.dist.version}"
    return f"{_name(point.dist)}{version}"


def _setting(group: str) -> str:
    return "source.type" if group == SOURCES else "destination.type"
