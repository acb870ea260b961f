"""Rows of a table in memory: cut out of what the real encoder made."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import bson
from msgspec import Struct

from cartridge_warp.model import Table
from cwarp_core import (
    BatchEncoder,
    EncodedBatch,
    PlanColumn,
    Reject,
    RowPlan,
    key_text,
    row_offsets,
)

from .world import document_key, version_of

#: A document with this field is refused by the table, as by a CHECK constraint.
POISON = "poison"


class Broken(BaseException):
    """An invariant does not hold: nobody may catch this and go on."""


class Row(Struct, frozen=True):
    """One stored row. cells: all but the key and ``_cwarp_source_ts``.

    structure: the table's version its cells are of.  version: its document's state.
    """

    key: bytes
    cells: bytes
    structure: int
    version: int


@functools.lru_cache(maxsize=4096)
def plan_of(table: Table) -> RowPlan:
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


def encoder_of(table: Table) -> BatchEncoder:
    """Its batches always carry their documents, which is how the store knows ids."""
    return BatchEncoder(plan_of(table), keep=True)


def rows_of(batch: EncodedBatch, table: Table) -> Iterator[tuple[str, Row]]:
    """The rows of a batch: (text of the key, row)."""
    payload = batch.payload
    offsets = row_offsets(payload)
    documents = documents_of(batch.raw)
    if len(documents) != batch.rows or len(offsets) != batch.rows + 1:
        raise Broken(f"a batch of {batch.rows} rows has {len(documents)} documents")
    for number, document in enumerate(documents):
        cells = cells_of(payload[offsets[number] : offsets[number + 1]])
        key = document_key(document)
        kept = cells[1:-2] + cells[-1:] if table.options.source_ts else cells[1:]
        joined = b"".join(
            b"-" if cell is None else len(cell).to_bytes(4, "big") + cell
            for cell in kept
        )
        yield (
            key_text(key, table.key),
            Row(key, joined, table.version, version_of(document)),
        )


def cells_of(row: bytes) -> list[bytes | None]:
    """The cells of one row of COPY BINARY."""
    number = int.from_bytes(row[:2], "big")
    cells: list[bytes | None] = []
    at = 2
    for _ in range(number):
        length = int.from_bytes(row[at : at + 4], "big", signed=True)
        at += 4
        cells.append(None if length < 0 else row[at : at + length])
        at += max(length, 0)
    return cells


def sifted(
    batch: EncodedBatch, table: Table
) -> tuple[list[tuple[str, Row]], list[Reject]]:
    """The rows of a batch that the table takes, and those it refuses."""
    rows: list[tuple[str, Row]] = []
    refused: list[Reject] = []
    raw = iter(documents_of(batch.raw))
    for text, row in rows_of(batch, table):
        document = next(raw)
        if POISON in bson.decode(document):
            canonical = key_text(document_key(document), "canonical")
            refused.append(Reject(document, "refused", -1, canonical, -1))
        else:
            rows.append((text, row))
    return rows, refused


def documents_of(raw: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(raw):
        length = int.from_bytes(raw[at : at + 4], "little")
        found.append(raw[at : at + length])
        at += length
    return found
