"""Names in the settings that no collection has, said once at the start."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Set
from types import MappingProxyType

from ..config import SchemaSettings
from ..config.patterns import is_plain, likely

log = logging.getLogger(__name__)

_NO_PLACES: Mapping[str, str] = MappingProxyType({})


class Names:
    """What the schemas of one process have, beside what their settings name. Any
    thread.

    Such a name may be a slip of the pen, or a collection that will be made later. One
    that stands in a list for all schemas is right as soon as one of them has it, so it
    is judged when each has been seen.

    schemas: how many there are.  places: as ``Settings`` has them.
    """

    def __init__(
        self, schemas: int = 1, places: Mapping[str, str] = _NO_PLACES
    ) -> None:
        self._lock = threading.Lock()
        self._schemas = schemas
        self._places = places
        self._seen: dict[str, Set[str]] = {}

    def check(
        self, schema: SchemaSettings, listed: Iterable[str], known: Iterable[str]
    ) -> None:
        """Warn of what the settings of a schema name, once.

        listed: the collections that there are.  known: those that have a table.
        """
        there = set(listed)
        names = there | set(known)
        with self._lock:
            if schema.name in self._seen:
                return
            self._seen[schema.name] = names
            complete = len(self._seen) == self._schemas
            everywhere = set().union(*self._seen.values())
        for setting, name in _own(schema):
            _say(setting, name, names)
        if complete:
            for setting, name in _global(schema):
                _say(self._places.get(setting, setting), name, everywhere)
        if there and not any(map(schema.selects, there)):
            log.warning(
                "the filters select none of the %d collections of database %s",
                *(len(there), schema.database),
                extra={"hint": "they may select what is made later"},
            )


def _own(schema: SchemaSettings) -> Iterator[tuple[str, str]]:
    for setting in ("table_whitelist", "table_blacklist"):
        for name in getattr(schema, setting):
            yield setting, name
    for table in schema.tables:
        yield "tables", table.name


def _global(schema: SchemaSettings) -> Iterator[tuple[str, str]]:
    for setting in ("global_table_whitelist", "global_table_blacklist"):
        for name in getattr(schema, setting):
            yield setting, name


def _say(setting: str, name: str, names: Set[str]) -> None:
    if is_plain(name) and name not in names:
        hint = likely(name, names)
        extra = {"hint": hint} if hint else {}
        log.warning("%s: no collection is called %s", setting, name, extra=extra)
