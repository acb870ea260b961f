"""Where the fuzzer begins: the corpus, a value of every kind, replies and events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from tests.core.build import (
    Raw,
    array,
    binary,
    document,
    int32,
    int64,
    obj,
    oid,
    string,
    timestamp,
)
from tests.core.samples import SAMPLES
from tests.fuzz.target import NAMES, PLANS, WITH_ID, WRAP

_EVENT = (
    ("_id", obj(("_data", string("8263")))),
    ("operationType", string("rename")),
    ("clusterTime", timestamp(1, 2)),
    ("txnNumber", int64(1)),
    ("lsid", obj(("id", binary(b"\1" * 16, 4)))),
    ("collectionUUID", binary(b"\2" * 16, 4)),
    ("ns", obj(("db", string("d")), ("coll", string("c")))),
    ("to", obj(("db", string("d")), ("coll", string("e")))),
    ("documentKey", obj(("_id", oid(b"\3" * 12)))),
    ("fullDocument", obj(("_id", oid(b"\3" * 12)), ("a", int32(1)))),
)


def _reply(*batch: Raw) -> bytes:
    return document(
        (
            "cursor",
            obj(
                ("firstBatch", array(*batch)),
                ("postBatchResumeToken", obj(("_data", string("82")))),
                ("id", int64(0)),
                ("ns", string("d.c")),
            ),
        ),
        ("operationTime", timestamp(1, 2)),
    )


RAW_REPLY = _reply(obj(*_EVENT), obj(("_id", int32(1)), ("a", string("x"))))


def _raw(corpus: Path) -> Iterator[bytes]:
    """Whole documents, broken ones too."""
    for file in sorted(corpus.glob("*.json")):
        cases = json.loads(file.read_text(encoding="utf-8"))
        for case in cases.get("valid", []):
            yield bytes.fromhex(case["canonical_bson"])
        for case in cases.get("decodeErrors", []):
            yield bytes.fromhex(case["bson"])
    for at, value in enumerate(value for each in SAMPLES.values() for value in each):
        name = NAMES[at % len(NAMES)]
        yield document(("_id", value), (name, value))
        yield document(("d", obj(("d", obj((name, value))))), ("a", array(value)))
    yield document(*_EVENT)
    yield RAW_REPLY


def write(corpus: Path, directory: Path) -> int:
    """One file a seed; returns their number."""
    directory.mkdir(parents=True, exist_ok=True)
    count = 0
    for raw in _raw(corpus):
        plan = bytes([count % len(PLANS)])
        (directory / f"{count}").write_bytes(plan + b"\0" + raw)
        body = plan + bytes([WRAP | WITH_ID]) + raw[4:-1]
        (directory / f"{count}-wrapped").write_bytes(body)
        count += 1
    for at, value in enumerate(value for each in SAMPLES.values() for value in each):
        (directory / f"key-{at}").write_bytes(b"\0\0" + value.key)
        (directory / f"keys-{at}").write_bytes(b"\0\0" + 2 * value.key)
        count += 1
    return 2 * count
