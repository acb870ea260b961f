from typing import NamedTuple, Self, final

from .reply import Reply

class ObservedPath(NamedTuple):
    """One path and the BSON kinds seen there.

    counts: kind (``$type`` alias, "uuid", "uuidLegacy" or "emptyObject") -> number of
    values; "null" is counted too.  subtypes: binary subtypes seen.
    """

    path: tuple[str, ...]
    counts: dict[str, int]
    subtypes: frozenset[int]

@final
class Observation:
    """The BSON kinds of every path down to ``max_depth``, for inference.

    Sub-documents at levels before ``max_depth`` are entered, as the row plan will
    flatten them; at it, and for arrays, the kind is "object" or "array". ``_id`` is
    observed as one path, never entered.

    max_depth: ValueError outside 1..32. A second thread that comes while one is at work
    gets RuntimeError.
    """

    def __new__(cls, max_depth: int = 3) -> Self: ...
    @property
    def documents(self) -> int: ...
    @property
    def corrupt(self) -> int:
        """Documents that could not be read; they count nowhere else."""
    def add_reply(self, reply: Reply) -> None: ...
    def add_document(self, document: bytes) -> None: ...
    def paths(self) -> list[ObservedPath]:
        """In the order first seen."""
