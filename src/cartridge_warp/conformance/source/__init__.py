"""The suite of a source: subclass it, give it a source and the means to write to it.

``SourceSuite`` is what every source has to pass. A power that only some have is a class
of its own, to be named beside it: ``class TestMine(SourceSuite, Updates): ...``.
"""

from .copying import Copying
from .hooks import SourceHooks
from .increments import BatchReads
from .life import Life
from .powers import (
    ConfirmedTimes,
    HeadRoom,
    LostHistory,
    PassingCollections,
    Structure,
    Transactions,
    Updates,
)
from .stream import Stream
from .times import Times

__all__ = [
    "BatchReads",
    "ConfirmedTimes",
    "HeadRoom",
    "LostHistory",
    "PassingCollections",
    "SourceSuite",
    "Structure",
    "Transactions",
    "Updates",
]


class SourceSuite(Life, Copying, Stream, Times, SourceHooks):
    """Every promise of ``protocols.Source`` and ``protocols.Changes``."""
