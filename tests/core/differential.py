"""The core and the oracle on the same documents: every byte and every count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from cwarp_core import BatchEncoder, EncodedBatch, PlanColumn, RowPlan
from tests import oracle


def row_plan(plan: oracle.Plan) -> RowPlan:
    key, columns, *options = plan
    names = oracle.Plan._fields[2:]
    return RowPlan(
        key,
        [PlanColumn(*column) for column in columns],
        **dict(zip(names, options, strict=True)),
    )


def encode(
    documents: Iterable[bytes], plan: oracle.Plan, source_ts: int = 0
) -> EncodedBatch:
    encoder = BatchEncoder(row_plan(plan))
    for document in documents:
        encoder.add_document(document, source_ts)
    return encoder.take()


def assert_same(
    documents: Iterable[bytes], plan: oracle.Plan, source_ts: int = 0
) -> EncodedBatch:
    """Encode a batch with both halves. Returns the core's batch.

    Documents are compared one by one first, so that a failure names the smallest one.
    """
    documents = list(documents)
    expected = [oracle.encode(document, plan, source_ts) for document in documents]
    for document, wanted in zip(documents, expected, strict=True):
        batch = encode([document], plan, source_ts)
        if isinstance(wanted, oracle.Rejected):
            found = [(reject.code, reject.column) for reject in batch.rejects]
            assert found == [wanted], (document, plan)
            assert batch.payload == b"", (document, plan)
        else:
            assert batch.rejects == (), (document, plan)
            assert batch.payload == wanted.row, (document, plan)
    batch = encode(documents, plan, source_ts)
    rows = [each for each in expected if isinstance(each, oracle.Encoded)]
    assert batch.payload == b"".join(each.row for each in rows)
    assert (batch.rows, batch.documents) == (len(rows), len(documents))
    rejected = [
        (document, each.code, each.column)
        for document, each in zip(documents, expected, strict=True)
        if isinstance(each, oracle.Rejected)
    ]
    assert [(r.document, r.code, r.column) for r in batch.rejects] == rejected
    assert batch.duplicate_keys == sum(each.duplicates for each in rows)
    drift: Counter[tuple[tuple[str, ...], str, int]] = Counter()
    subtypes: dict[tuple[tuple[str, ...], str, int], set[int]] = {}
    for each in rows:
        for (path, kind, subtype, column), count in each.drift.items():
            drift[path, kind, column] += count
            subtypes.setdefault((path, kind, column), set()).add(subtype)
    found = {(d.path, d.kind, d.column): d.count for d in batch.drift}
    assert len(found) == len(batch.drift), "one Drift for one path, kind and column"
    assert found == drift
    assert all(d.subtype in subtypes[d.path, d.kind, d.column] for d in batch.drift)
    stored_whole = any(column.path == () for column in plan.columns)
    assert batch.rescued == sum(
        count
        for (_, _, column), count in drift.items()
        if column >= 0 or not stored_whole
    )
    return batch
