"""What two processes that copy one schema have to have alike."""

from __future__ import annotations

from typing import Any

import msgspec

from .model import SchemaSettings

#: How much a process does at once is its own affair.
_OWN = frozenset({"snapshot_workers", "stream_batch_size", "stream_batch_bytes"})

#: A value that is longer is cut in a message.
_LONGEST = 200


def agreed(schema: SchemaSettings) -> str:
    """Everything but that, as JSON."""
    plain: dict[str, Any] = msgspec.to_builtins(schema)
    shared = {name: value for name, value in plain.items() if name not in _OWN}
    return msgspec.json.encode(shared).decode()


def differing(one: str, other: str) -> list[str]:
    """The settings in which two such texts differ; empty where one is of no schema."""
    first, second = (msgspec.json.decode(each or "{}") for each in (one, other))
    return [
        f"{name} is {_short(first[name])} here and {_short(second[name])} there"
        for name in first
        if name in second and first[name] != second[name]
    ]


def _short(value: object) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
