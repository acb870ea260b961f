"""How a table's changes are found: by the change stream, or in passes of batch mode."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

from cronsim import CronSim, CronSimError
from msgspec import Struct
from msgspec.structs import replace

from .check import Checked, Values, nearest

#: The settings that stand at several levels under one name; ``mode`` has another
#: meaning at the top.
CASCADING: Final = frozenset(
    "change_detection_strategy change_detection_column"
    " change_detection_overlap_seconds schedule detect_deletes".split()
)
#: The names of the interval, by level.
INTERVALS: Final = ("default_polling_interval", "polling_interval_seconds")

#: Of the strategies that follow the change stream.
_LOG: Final = frozenset({"log", "change_stream"})

_FIVE_FIELDS: Final = (
    "five fields: minute, hour, day of the month, month, day of the week; "
    "`0 2 * * *` is every night at two"
)


class Detection(Struct, frozen=True):
    """What the levels from the top down to one of them say together.

    strategy: that of batch mode, whether or not the level is in it.
    """

    batch: bool = False
    strategy: str = "timestamp"
    column: str = "updated_at"
    overlap: float = 60.0
    schedule: str = ""
    interval: float = 5.0
    deletes: bool = False

    def below(self, level: Values) -> Detection:
        """With what one level more says: of mode and strategy, schedule and interval,
        the nearer one counts."""
        found: dict[str, Any] = {}
        if (strategy := level.get("change_detection_strategy")) is not None:
            found["batch"] = strategy not in _LOG
            if found["batch"]:
                found["strategy"] = strategy
        if mode := level.get("mode"):
            found["batch"] = mode == "batch"
        for name in INTERVALS:
            if name in level:
                found |= {"interval": level[name], "schedule": ""}
        for name, setting in (
            ("schedule", "schedule"),
            ("column", "change_detection_column"),
            ("overlap", "change_detection_overlap_seconds"),
            ("deletes", "detect_deletes"),
        ):
            if setting in level:
                found[name] = level[setting]
        return replace(self, **found)

    def settings(self) -> dict[str, Any]:
        """As ``TableSettings`` has them."""
        return {
            "change_detection_strategy": self.strategy if self.batch else "log",
            "change_detection_column": self.column,
            "change_detection_overlap_seconds": self.overlap,
            "schedule": self.schedule,
            "polling_interval_seconds": self.interval,
            "detect_deletes": self.deletes,
        }


TOP: Final = Detection()


def zone(name: str) -> tzinfo:
    """The time zone of this name. Raises LookupError."""
    if name == "UTC":
        return UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise LookupError(name) from error


def check(checked: Checked) -> None:
    """Record a problem for everything that contradicts or cannot be meant."""
    source = checked.values.get("source", {})
    _zone(checked, source.get("timezone", "UTC"))
    _level(checked, "source", source)
    top = TOP.below(source)
    for number, schema in enumerate(checked.values.get("schemas", ())):
        path = f"schemas[{number}]"
        _level(checked, path, schema)
        here = top.below(schema)
        some = here.batch
        for place, table in enumerate(schema.get("tables", ())):
            inside = f"{path}.tables[{place}]"
            _level(checked, inside, table)
            batch = here.below(table).batch
            some |= batch
            if not batch:
                _streamed(checked, inside, table, "this table is streamed")
            elif table.get("on_drop", "keep") != "keep":
                checked.blame(
                    f"{inside}.on_drop",
                    "is of mode stream, and this table is read in batch mode, which "
                    "keeps the rows",
                    "remove this line, or set `mode: stream`",
                )
        if not some:
            _streamed(checked, path, schema, "every table of it is streamed")


def _level(checked: Checked, path: str, level: Values) -> None:
    mode, strategy = level.get("mode"), level.get("change_detection_strategy")
    if mode and strategy and (mode == "stream") != (strategy in _LOG):
        checked.blame(
            f"{path}.change_detection_strategy",
            f"contradicts mode: {mode} beside it",
            "`log` is of mode stream; `timestamp` and `hash` are of mode batch",
        )
    if column := level.get("change_detection_column"):
        _column(checked, f"{path}.change_detection_column", column)
    if (schedule := level.get("schedule")) is None:
        return
    for name in INTERVALS:
        if name in level:
            checked.blame(
                f"{path}.schedule",
                f"contradicts {name} beside it",
                "leave one of the two out",
            )
    _schedule(checked, f"{path}.schedule", schedule)


def _streamed(checked: Checked, path: str, level: Values, why: str) -> None:
    """Settings that have no meaning without batch mode."""
    for name in ("schedule", "detect_deletes"):
        if level.get(name):
            checked.blame(
                f"{path}.{name}",
                f"is of batch mode, and {why}",
                "add `mode: batch`, or remove this line",
            )


def _column(checked: Checked, path: str, column: str) -> None:
    parts = column.split(".")
    if any(not part or part.startswith("$") or "\0" in part for part in parts):
        checked.blame(
            path,
            "must be the name of a field",
            "dots lead into sub-documents: `meta.updated_at`",
        )


def _zone(checked: Checked, name: str) -> None:
    try:
        zone(name)
    except LookupError:
        known = zoneinfo.available_timezones()
        checked.blame(
            "source.timezone",
            f"no time zone has this name{nearest(name, known)}",
            "take one of the IANA database, as Europe/Berlin, or UTC"
            if known
            else "this machine knows UTC alone: install the package tzdata",
        )


def _schedule(checked: Checked, path: str, text: str) -> None:
    """Every field of a cron text, and whether its moment ever comes."""
    reason = ""
    if len(text.split()) != 5:
        reason = "must have five fields"
    else:
        try:
            next(CronSim(text, datetime.now(UTC)))
        except CronSimError as error:
            # "Bad day-of-month": the field, never its value.
            reason = f"the {str(error).removeprefix('Bad ')} is wrong"
        except StopIteration:
            reason = "never comes: no month has such a day"
    if reason:
        checked.blame(path, reason, _FIVE_FIELDS)
