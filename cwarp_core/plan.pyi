from collections.abc import Sequence
from typing import NamedTuple, Self, final

class PlanColumn(NamedTuple):
    """One destination column fed by one document path.

    path: field names from the root, one per level; ``()`` is the whole document.
    type: "boolean", "integer", "bigint", "double precision", "numeric", "text",
        "uuid", "bytea", "timestamptz", "jsonb", "json", or "jsontext" (JSON text
        held in a ``text`` column).
    native: the BSON kind (``$type`` alias, or "uuid") that this column's type alone
        identifies. A value of another kind that still fits is stored, and its exact
        form is kept beside it in ``_cwarp_extra``. Of numbers that is so only where
        the cell is not equal to the value (most doubles in a ``numeric``).
    subtype: the binary subtype that a ``bytea`` column identifies.
    """

    path: tuple[str, ...]
    type: str
    native: str = ""
    subtype: int = 0

@final
class RowPlan:
    """One table's mapping, compiled once into C arrays. Immutable, shareable.

    A row is: key, columns in order, then ``_cwarp_source_ts`` if ``source_ts``,
    then ``_cwarp_extra``. ``width`` is that number of cells. Ours are a
    ``timestamptz`` and a ``jsonb``.

    key: encoding of ``_id``: "objectId", "string" (both ``text``), "uuid", "bigint",
        "numeric" or "canonical" (``text``).
    max_depth: the root's fields are level 1. A sub-document at a level of a smaller
        number than this is flattened, one at this level is a leaf; 1 flattens nothing.
        A JSON column takes the sub-document at its path whole: columns for paths
        inside that one stay NULL.
    json_mode: "plain" or "canonical".  legacy_uuid: how binary subtype 3 becomes a
        uuid: "" (it stays binary), "standard", "java" or "csharp".
    on_misfit: "rescue" (to ``_cwarp_extra``), "dead_letter" or "fail" (reject the
        document; whether its neighbours' rows go on is for the caller to decide).

    Raises ValueError for an unknown word, two columns of one path, a column for
    ``_id`` or inside it, one for the whole document whose type is no JSON, U+0000 in
    a name, a subtype outside 0..255, a depth outside 1..32, or a ``width`` above
    PostgreSQL's 1,600.
    """

    def __new__(
        cls,
        key: str,
        columns: Sequence[PlanColumn],
        *,
        max_depth: int = 3,
        json_mode: str = "plain",
        legacy_uuid: str = "",
        on_misfit: str = "rescue",
        source_ts: bool = True,
    ) -> Self: ...
    @property
    def key(self) -> str: ...
    @property
    def columns(self) -> tuple[PlanColumn, ...]: ...
    @property
    def width(self) -> int: ...
    @property
    def max_depth(self) -> int: ...
