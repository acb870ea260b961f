"""What is said of a position whose history the source no longer has."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ..errors import HistoryLost, WarpError
from ..model import ClusterTime
from ..protocols import KnowsOldest
from .line import Line

#: Tables named, at most.
_SHOWN = 5

_HINT = (
    "cwarp sync --full-resync compares every table with its collection and mends it in "
    "place; source.on_history_lost: resync does so without being asked"
)
_ANEW = "this destination cannot mend a table in place: copy into a new schema"


def told(line: Line, error: HistoryLost) -> HistoryLost:
    """The error with the schema, its tables, and how old the position is."""
    words = [f"schema {line.schema.name}: the source no longer has the history behind"]
    position = line.progress.position_time
    if position is None:
        words.append("the position")
    else:
        words.append(f"the position of {_moment(position)}")
        try:
            newest = line.source.newest_time()
            words.append(f"({_age(newest, position)} old)")
            if isinstance(line.source, KnowsOldest):
                oldest = line.source.oldest_time()
                words += [f"and begins at {_moment(oldest)}"] if oldest else []
        except WarpError:
            words.append("(how old it is could not be asked)")
    if names := _tables(line):
        words.append(f"for {names}")
    hints = [_HINT if line.resyncs is not None else _ANEW, error.hint]
    hint = "; ".join(filter(None, hints))
    return HistoryLost(f"{' '.join(words)} ({error})", hint=hint)


def _tables(line: Line) -> str:
    """Those that lack something: what this run leaves out, or reads pass by pass, has
    nothing from the stream."""
    try:
        names = [
            state.table.name
            for state in line.destination.tables()
            if state.batch is None and line.streams(state.table.collection)
        ]
    except WarpError:
        return ""
    more = len(names) - _SHOWN
    shown = [*names[:_SHOWN], *([f"{more} more"] if more > 0 else [])]
    return f"the tables {', '.join(shown)}" if names else ""


def _moment(time: ClusterTime) -> str:
    return f"{datetime.fromtimestamp(time >> 32, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _age(newest: ClusterTime, position: ClusterTime) -> str:
    return str(timedelta(seconds=max(0, (newest >> 32) - (position >> 32))))
