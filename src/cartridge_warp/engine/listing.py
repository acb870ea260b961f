"""The collections that the source has, and which of them can be followed."""

from __future__ import annotations

from ..model import Collection
from .line import Line

#: Kinds that no change stream covers, and why. Batch mode reads them.
UNSUPPORTED = {
    "view": "a view has no documents of its own to follow",
    "timeseries": "MongoDB has no change stream for time-series collections",
}


def followable(line: Line, name: str) -> Collection | None:
    """The collection of this name as it is now; None for one that cannot be followed.

    Waits for the source. Raises Stopped, SourceError.
    """
    for each in line.retry(line.source.discover):
        if each.name == name and each.kind not in UNSUPPORTED:
            return each
    return None
