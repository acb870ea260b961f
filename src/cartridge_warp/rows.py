"""The core's row plan of a table."""

from __future__ import annotations

from functools import lru_cache

from cwarp_core import BatchEncoder, PlanColumn, RowPlan

from ..model import Table


@lru_cache(maxsize=1024)
def plan_of(table: Table) -> RowPlan:
    """How documents become this table's rows; its cells are ``ddl.cells``."""
    options = table.options
    return RowPlan(
        table.key,
        [
            PlanColumn(column.path, column.type, column.native, column.subtype)
            for column in table.columns
        ],
        max_depth=options.max_document_depth,
        json_mode=options.json_mode,
        legacy_uuid=options.legacy_uuid,
        on_misfit=options.on_misfit,
        source_ts=options.source_ts,
    )


def encoder_of(table: Table, *, keep: bool = False) -> BatchEncoder:
    """An encoder of this table's rows; with ``keep`` it keeps their documents."""
    return BatchEncoder(plan_of(table), keep)
