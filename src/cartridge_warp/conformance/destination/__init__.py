"""The suite of a destination: subclass it, give it one and a look at its rows.

``DestinationSuite`` is what every destination has to pass. A power that only some have
is a class of its own, to be named beside it:
``class TestMine(DestinationSuite, RefusedRows): ...``.
"""

from .batches import Batches
from .chunks import Chunks
from .deletions import AuditedDeletes, SoftDeletes
from .hooks import DestinationHooks
from .letters import Letters
from .ownership import Ownership
from .passes import BatchMode, WorksAhead
from .powers import Connections, CountedLetters, Locks, RefusedRows, RewrittenKeys
from .resyncs import ResyncsInPlace
from .sharing import SharedCopies
from .structure import Structure
from .values import Values

__all__ = [
    "AuditedDeletes",
    "BatchMode",
    "Connections",
    "CountedLetters",
    "DestinationSuite",
    "Locks",
    "RefusedRows",
    "ResyncsInPlace",
    "RewrittenKeys",
    "SharedCopies",
    "SoftDeletes",
    "WorksAhead",
]


class DestinationSuite(
    Ownership, Structure, Chunks, Batches, Letters, Values, DestinationHooks
):
    """Every promise of ``protocols.Destination``, ``Copier`` and ``Applier``."""
