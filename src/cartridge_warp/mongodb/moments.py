"""BSON values that tell a time: dates, timestamps, and the ids that begin with one.

Times are milliseconds since 1970. Pure.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from bson.datetime_ms import DatetimeMS
from bson.objectid import ObjectId
from bson.timestamp import Timestamp

#: ``$type`` aliases, the one that is most likely meant first.
KINDS: Final = ("date", "timestamp", "objectId")

#: Half of what BSON has: from a bound of a time-series collection the server subtracts
#: the span of a bucket, up to a year, and fails where that overflows (seen on 6.0).
_EARLIEST: Final = -(2**62)

#: What sorts before every other value of its kind, or nearly so.
LOWEST: Final[dict[str, Any]] = {
    "date": DatetimeMS(_EARLIEST),
    "timestamp": Timestamp(0, 0),
    "objectId": ObjectId(bytes(12)),
}

_MAX_SECONDS: Final = 2**32 - 1


def kind_of(value: object) -> str | None:
    """Which kind a value is of; None for one that tells no time.

    Dates have to be decoded as ``DatetimeMS``: BSON's reach further than Python's.
    """
    if isinstance(value, DatetimeMS):
        return "date"
    if isinstance(value, Timestamp):
        return "timestamp"
    return "objectId" if isinstance(value, ObjectId) else None


def time_of(value: object) -> int:
    """The time of a value that tells one."""
    if isinstance(value, DatetimeMS):
        return int(value)
    if isinstance(value, Timestamp):
        return int(value.time) * 1000
    if isinstance(value, ObjectId):
        return int.from_bytes(value.binary[:4], "big") * 1000
    raise TypeError(f"{type(value).__name__} tells no time")


def at(kind: str, time: int) -> Any:
    """The first value of a kind at a time, or the nearest one there is."""
    if kind == "date":
        return DatetimeMS(max(time, _EARLIEST))
    seconds = min(max(time // 1000, 0), _MAX_SECONDS)
    if kind == "timestamp":
        return Timestamp(seconds, 0)
    return ObjectId(struct.pack(">I8x", seconds))


def after(kind: str, time: int) -> Any:
    """The first value of a kind that is later than a time."""
    return at(kind, time + 1 if kind == "date" else (time // 1000 + 1) * 1000)
