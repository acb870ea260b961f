"""A table's current version, shared by everybody who encodes for it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from cwarp_core import Drift

from ..errors import LockTimeout
from ..model import SchemaChange, Table
from ..schema.evolve import evolve
from .line import Line

log = logging.getLogger(__name__)

#: After a table stayed locked, seconds until the structure change is tried again.
#: Values are kept in ``_cwarp_extra`` meanwhile.
LOCK_PAUSE = 5.0


class Shape:
    """One table as it is now, and the one place that changes it. Thread-safe.

    table: the newest version.  wanted: somebody is about to change the table, and who
    holds a transaction on it should end that soon.
    """

    def __init__(self, line: Line, table: Table) -> None:
        self._line = line
        self.table = table
        self.wanted = False
        self._not_before = 0.0

    @property
    def collection(self) -> str:
        return self.table.collection

    def changes(self, drift: Sequence[Drift]) -> list[SchemaChange]:
        """What this drift asks of the newest version; nothing while it is locked."""
        if not drift or self._line.clock() < self._not_before:
            return []
        return evolve(self.table, drift)

    def evolve(self, drift: Sequence[Drift]) -> Table:
        """Make the table hold this drift where the policy allows; return the newest.

        The caller holds no transaction on the table. Raises what the destination
        raises, LockTimeout excepted: then the table stays as it is for a while.
        """
        if not self.changes(drift):
            return self.table
        self.wanted = True
        try:
            with self._line.structure:
                # Another worker may have answered the same drift by now.
                if changes := self.changes(drift):
                    self._apply(changes)
        finally:
            self.wanted = False
        return self.table

    def _apply(self, changes: Sequence[SchemaChange]) -> None:
        table = self.table

        def attempt() -> Table | None:
            try:
                return self._line.destination.evolve(table, changes)
            except LockTimeout as error:
                log.warning(
                    "structure change put off: %s", error, extra={"table": table.name}
                )
                return None

        newest = self._line.retry(attempt)
        if newest is None:
            self._not_before = self._line.clock() + LOCK_PAUSE
            return
        self.table = newest
        self._line.progress.restructured(table.collection, len(changes))
        log.info(
            "structure changed",
            extra={
                "table": table.name,
                "version": newest.version,
                "columns": [change.column.name for change in changes],
            },
        )
