"""What two processes that copy one schema have to have alike."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from .model import SchemaSettings

#: How much a process does at once is its own affair.
_OWN = frozenset({"snapshot_workers", "stream_batch_size", "stream_batch_bytes"})

#: Settings that a message names, at most.
_SHOWN = 5
#: A value that is longer is cut in a message.
_LONGEST = 200

Plain = dict[str, Any]


def agreed(schema: SchemaSettings) -> str:
    """Everything but that, as JSON."""
    plain: Plain = msgspec.to_builtins(schema)
    shared = {name: value for name, value in plain.items() if name not in _OWN}
    return msgspec.json.encode(shared).decode()


def differing(one: str, other: str) -> list[str]:
    """The settings in which two such texts differ, with both values, a handful of them.

    Empty where one of them is of no schema.
    """
    first, second = (msgspec.json.decode(each or "{}") for each in (one, other))
    if not first or not second:
        return []
    found = list(_differing(first, second))
    more = len(found) - _SHOWN
    return found[:_SHOWN] + ([f"and {more} more"] if more > 0 else [])


def _differing(first: Plain, second: Plain) -> Iterator[str]:
    groups = {"tables", "defaults"}
    for name in first:
        if name not in groups and name in second and first[name] != second[name]:
            yield _said(name, first[name], second[name])
    defaults = _leaves(first["defaults"], second["defaults"])
    yield from (_said(name, *pair) for name, pair in defaults.items())
    named = [[each["name"] for each in side["tables"]] for side in (first, second)]
    tables = 0
    for table in dict.fromkeys([*named[0], *named[1]]):
        for name, pair in _leaves(_of(first, table), _of(second, table)).items():
            tables += 1
            # What a table has from the defaults is said of them already.
            if defaults.get(name) != pair:
                yield _said(f"tables.{table}.{name}", *pair)
    if named[0] != named[1] and not tables:
        # The first glob that a name matches counts, so this may differ for some name.
        yield _said("tables", *named)


def _of(schema: Plain, table: str) -> Plain:
    """A table's settings, as ``SchemaSettings.table`` finds them."""
    tables: list[Plain] = schema["tables"]
    named = [each for each in tables if each["name"] == table]
    matching = [each for each in tables if fnmatchcase(table, each["name"])]
    found: Plain = [*named, *matching, schema["defaults"]][0]
    return found


def _leaves(first: Plain, second: Plain) -> dict[str, tuple[object, object]]:
    """The settings that differ between two tables, by name."""
    one, other = ({**each, **each["options"]} for each in (first, second))
    return {
        name: (one[name], other[name])
        for name in one
        if name not in ("name", "options")
        and name in other
        and one[name] != other[name]
    }


def _said(name: str, here: object, there: object) -> str:
    return f"{name} is {_short(here)} here and {_short(there)} there"


def _short(value: object) -> str:
    if isinstance(value, str) and value:
        text = value
    elif value in ("", [], None):
        text = "unset"
    elif isinstance(value, list):
        text = f"[{', '.join(map(str, value))}]"
    else:
        text = msgspec.json.encode(value).decode()
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
