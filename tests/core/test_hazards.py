"""Each hazard has its documented outcome, to the byte offset."""

from __future__ import annotations

import struct

import pytest

from cwarp_core import BatchEncoder, EncodedBatch, PlanColumn, RowPlan
from tests.core.copyrows import read_rows
from tests.core.hazards import HAZARDS, NATIVE, Hazard, Refused, Row, with_id

NEIGHBOUR = with_id()


def numeric(cell: bytes) -> str:
    """The binary numeric as PostgreSQL prints it (src/backend/utils/adt/numeric.c)."""
    groups, weight, sign, scale = struct.unpack_from(">hhHH", cell)
    special = {0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}
    if sign in special:
        return special[sign]
    digits = struct.unpack_from(f">{groups}h", cell, 8)
    text = "".join(f"{digit:04}" for digit in digits)
    # The first group stands for 10000^weight.
    places = 4 * (weight + 1)
    whole = text[: max(places, 0)].ljust(places, "0").lstrip("0") or "0"
    below = "0" * max(-places, 0) + text[max(places, 0) :]
    sign_text = "-" if sign == 0x4000 else ""
    return sign_text + (f"{whole}.{below:0<{scale}.{scale}}" if scale else whole)


def shown(cell: bytes | None, type_: str) -> str | None:
    """A cell as text; microseconds since 2000 for a timestamptz."""
    if cell is None:
        return None
    if type_ == "numeric":
        return numeric(cell)
    if type_ in ("integer", "bigint"):
        return str(int.from_bytes(cell, "big", signed=True))
    if type_ == "timestamptz":
        return f"{int.from_bytes(cell, 'big', signed=True)} us"
    if type_ == "double precision":
        (number,) = struct.unpack(">d", cell)
        return f"NaN {cell.hex()}" if number != number else str(number)
    if type_ in ("bytea", "uuid"):
        return rf"\x{cell.hex()}"
    if type_ == "jsonb":
        assert cell[:1] == b"\1"
        return cell[1:].decode()
    return cell.decode()


def encode(hazard: Hazard, on_misfit: str = "rescue") -> EncodedBatch:
    column = PlanColumn(("v",), hazard.column, NATIVE[hazard.column])
    plan = RowPlan("bigint", [column], source_ts=False, on_misfit=on_misfit)
    encoder = BatchEncoder(plan)
    for document in (NEIGHBOUR, hazard.document, NEIGHBOUR):
        encoder.add_document(document, 0)
    return encoder.take()


@pytest.mark.parametrize(
    "hazard", HAZARDS, ids=lambda hazard: f"{hazard.hazard}: {hazard.case}"
)
def test_outcome_is_the_documented_one(hazard: Hazard) -> None:
    batch = encode(hazard)
    rows = read_rows(batch.payload, 3)
    outcome: Row | Refused
    if batch.rejects:
        ((_, code, offset, _, _),) = batch.rejects
        outcome = Refused(code, offset)
        assert len(rows) == 2, "the neighbours"
    else:
        _, (key, cell, extra), _ = rows
        assert key == (1).to_bytes(8, "big")
        outcome = Row(shown(cell, hazard.column), shown(extra, "jsonb"))
    assert outcome == hazard.outcome
    # Whatever does not fit can be refused instead.
    strict = encode(hazard, "dead_letter")
    if isinstance(hazard.outcome, Row) and hazard.outcome.cell is None:
        misfit = [(each.code, each.column) for each in strict.rejects]
        assert misfit in ([], [("misfit", 0)])


def test_every_byte_that_is_no_type_is_refused() -> None:
    known = {*range(0x01, 0x14), 0x7F, 0xFF}
    for type_ in range(256):
        hazard = next(each for each in HAZARDS if each.case == "type byte 0x00")
        raw = bytearray(hazard.document)
        raw[13] = type_
        batch = encode(hazard._replace(given=bytes(raw)))
        if type_ not in known:
            ((_, code, offset, _, _),) = batch.rejects
            assert (code, offset) == ("corrupt", 13), type_
