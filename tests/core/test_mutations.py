"""No luck needed: every truncation and every flip of one bit of the whole corpus.

Each is read by every entry of the core, and the entries agree on whether it is
readable. ``make sanitize`` does the same under AddressSanitizer and UBSan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

import cwarp_core
from cwarp_core import BatchEncoder, CorruptBSON, Observation, PlanColumn, RowPlan
from tests.core.copyrows import read_rows
from tests.fix_data import corpus_cases

pytestmark = pytest.mark.usefixtures("bson_corpus")

#: The corpus names its fields so.
COLUMNS = [("a", "text"), ("b", "boolean"), ("d", "numeric"), ("i", "bigint")]
COLUMNS += [("x", "bytea"), ("", "jsonb")]
ID = b"\x10_id\0\x07\0\0\0"


def truncations(raw: bytes) -> Iterator[bytes]:
    for size in range(len(raw)):
        yield raw[:size]


def flips(raw: bytes) -> Iterator[bytes]:
    for bit in range(8 * len(raw)):
        flipped = bytearray(raw)
        flipped[bit >> 3] ^= 1 << (bit & 7)
        yield bytes(flipped)


def _corpus() -> list[bytes]:
    """Each document with an ``_id`` before its fields, so that it can be a row."""
    found = []
    for _, case in corpus_cases("valid"):
        body = bytes.fromhex(case["canonical_bson"])[4:]
        found.append((len(body) + 4 + len(ID)).to_bytes(4, "little") + ID + body)
    return found


@pytest.mark.parametrize(
    "mutations", [truncations, flips], ids=lambda each: each.__name__
)
def test_every_mutation_is_read_or_refused(
    mutations: Callable[[bytes], Iterator[bytes]], say: Callable[[str], None]
) -> None:
    plan = RowPlan("canonical", [PlanColumn((name,), type_) for name, type_ in COLUMNS])
    encoder, observation = BatchEncoder(plan), Observation()
    inputs = rows = 0
    for whole in _corpus():
        for raw in mutations(whole):
            try:
                cwarp_core.json_text(raw)
            except CorruptBSON:
                readable = False
            else:
                readable = True
            try:
                cwarp_core.check(raw)
            except CorruptBSON:
                pass
            else:
                assert readable, raw.hex()
            before = encoder.nbytes
            stored = encoder.add_document(raw, 0)
            assert stored or encoder.nbytes == before, raw.hex()
            assert readable or not stored, raw.hex()
            # As an ``_id`` of its own, the document is as readable as it is anywhere.
            try:
                assert cwarp_core.compare_keys(b"\x03" + raw, b"\x03" + raw) == 0
            except CorruptBSON:
                assert not readable, raw.hex()
            else:
                assert readable, raw.hex()
            observation.add_document(raw)
            assert observation.documents == rows + readable, raw.hex()
            inputs, rows = inputs + 1, rows + readable
        batch = encoder.take()
        assert len(read_rows(batch.payload, plan.width)) == batch.rows
        assert len(cwarp_core.row_offsets(batch.payload)) == batch.rows + 1
        codes = {reject.code for reject in batch.rejects}
        assert codes <= {"corrupt", "missing_id"}
    assert inputs > 10_000, "the corpus is not whole"
    say(f"corpus: {mutations.__name__} {inputs}, {rows} of them readable")
