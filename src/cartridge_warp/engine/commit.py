"""One commit, whose rows are made anew where the structure or a row asks for that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from cwarp_core import Reject

from ..errors import RowsRefused, StructureChanged
from ..model import Batch
from ..protocols import Applier
from .line import Line


class Encoded(Protocol):
    """Something to commit, and the way to make its rows again."""

    batch: Batch

    def encode(self, *, careful: bool = False) -> None:
        """For each table's newest structure; careful: with the rows' documents."""


def commit(
    line: Line,
    applier: Applier,
    work: Encoded,
    *,
    wait: Callable[[float], bool] | None = None,
) -> Mapping[str, Sequence[Reject]]:
    """Commit until it succeeds or fails for good; what ``Applier.commit`` returns.

    wait: as ``Line.retry`` has it.
    """

    def attempt() -> Mapping[str, Sequence[Reject]]:
        try:
            return applier.commit(work.batch)
        except StructureChanged:
            # A copy rewrote a key meanwhile, and these rows are of no use.
            work.encode(careful=work.batch.careful)
            raise
        except RowsRefused:
            if work.batch.careful:
                raise
            work.encode(careful=True)
            return attempt()

    return line.retry(attempt, wait=wait)
