"""A strict reader of COPY BINARY rows (COPY, "Binary Format"), for the tests alone."""

from __future__ import annotations

import struct

Cells = list[bytes | None]


def read_rows(payload: bytes, width: int) -> list[Cells]:
    """The cells of every row. AssertionError when a byte is over or missing."""
    rows = []
    at = 0
    while at < len(payload):
        (count,) = struct.unpack_from(">h", payload, at)
        assert count == width, f"{count} cells at byte {at}, not {width}"
        at += 2
        cells: Cells = []
        for _ in range(width):
            (size,) = struct.unpack_from(">i", payload, at)
            at += 4
            assert -1 <= size <= len(payload) - at, f"cell of {size} at byte {at}"
            cells.append(None if size < 0 else payload[at : at + size])
            at += max(size, 0)
        rows.append(cells)
    assert at == len(payload)
    return rows
