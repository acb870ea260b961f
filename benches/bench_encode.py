"""The core alone: BSON to COPY BINARY, beside decoding and flattening in Python."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import bson
from bson.decimal128 import Decimal128
from bson.objectid import ObjectId

from cartridge_warp.demo.files import collections
from cartridge_warp.demo.files import documents as read
from cartridge_warp.model import Table, TableOptions
from cartridge_warp.rows import plan_of
from cartridge_warp.schema.infer import infer_table, key_encoding_of
from cwarp_core import BatchEncoder, Observation, Reply, key_encoding

from . import data
from .meter import Report, best_and_median, judged

DOCUMENTS = 50_000
_BATCH = 1_000
#: A shape's documents end here, so that large ones fit memory.
_SHAPE_BYTES = 64 * 1024 * 1024
_TWIN_DOCUMENTS = 5_000
#: A file with fewer documents is repeated up to this number.
_FILE_DOCUMENTS = 10_000


def table_of(replies: Iterable[Reply], schema: str, collection: str) -> Table:
    """The table that a sync would infer from these documents."""
    seen = Observation(TableOptions().max_document_depth)
    encodings: set[str] = set()
    for reply in replies:
        seen.add_reply(reply)
        keys = (reply.key(index) for index in range(len(reply)))
        encodings |= {key_encoding(key) for key in keys if key is not None}
    key = key_encoding_of(encodings)
    return infer_table(schema, collection, key, seen, TableOptions())


def flatten(document: Mapping[str, Any], paths: Sequence[tuple[str, ...]]) -> list[Any]:
    """A decoded document as a row for ``write_row``: the conventional way."""
    return [_cell(_at(document, path)) for path in paths]


def _at(document: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        if not isinstance(document, dict):
            return None
        document = document.get(name)
    return document


def _cell(value: Any) -> Any:
    if isinstance(value, Decimal128):
        return value.to_decimal()
    if isinstance(value, ObjectId):
        return str(value)
    if isinstance(value, (dict, list)):
        return json.dumps(value, default=str)
    return value


def run(documents: int = DOCUMENTS, directory: Path | None = None) -> Report:
    """Every shape, and every file of the user's ``directory``."""
    rows: list[tuple[str, ...]] = []
    ratios: dict[str, float] = {}
    for shape, source in _sources(documents, directory):
        row, decode, conventional = _measure(shape, _batches(source))
        rows.append(row)
        ratios[f"{shape}: decode_all / ours"] = decode
        ratios[f"{shape}: decode_all + flatten / ours"] = conventional
    worst = min(value for name, value in ratios.items() if "flatten" in name)
    return Report(
        "encode",
        [
            f"Up to {documents:,} documents a shape (at most 64 MiB), batches of"
            f" {_BATCH:,}, one thread, no server.",
            f"Files: repeated up to {_FILE_DOCUMENTS:,} documents.",
            "CPU of this process: best and median of 5 runs. Twins: best of 3, over"
            f" at most {_TWIN_DOCUMENTS:,} of the same documents.",
        ],
        (
            *("shape", "B/doc", "columns", "MB/s of BSON", "docs/s"),
            *("us/doc best", "us/doc median", "decode_all us/doc", "+ flatten us/doc"),
        ),
        rows,
        ratios,
        [
            "Ours does more than the twins: it ends with bytes PostgreSQL takes, they"
            " end with Python values that are still to be formatted.",
            f"Decoding and flattening in Python costs at least {worst:.0f} times ours.",
            *_judged(rows, ratios),
        ],
    )


def _judged(rows: list[tuple[str, ...]], ratios: dict[str, float]) -> Iterator[str]:
    """The goals of decision 21, and the ratio to the decoder alone."""
    speed = {row[0]: float(row[3].replace(",", "")) for row in rows}
    orders, least = speed["medium"], min(speed[shape] for shape in data.SHAPES)
    both, decode = (
        ratios[f"medium: {twin} / ours"]
        for twin in ("decode_all + flatten", "decode_all")
    )
    for what, figure, goal in (
        ("Orders of 1 KB, MB/s of BSON", orders, 800),
        ("The slowest shape, MB/s of BSON", least, 200),
        ("Orders, decode_all + flatten / ours", both, 20),
        ("Orders, decode_all alone / ours", decode, 20),
    ):
        told = judged(figure, f"at least {goal}", figure >= goal)
        yield f"{what}: {figure:,.1f}; {told}."


def _sources(
    documents: int, directory: Path | None
) -> Iterator[tuple[str, Iterator[bytes]]]:
    for shape in data.SHAPES:
        yield shape, data.documents(shape, documents)
    files = {} if directory is None else collections(directory)
    for name, path in files.items():
        own = [document.raw for document in read(path)]
        yield name, islice(cycle(own), max(len(own), _FILE_DOCUMENTS))


def _measure(
    shape: str, batches: list[list[bytes]]
) -> tuple[tuple[str, ...], float, float]:
    replies = [Reply.of_documents(batch) for batch in batches]
    number = sum(map(len, batches))
    nbytes = sum(len(document) for batch in batches for document in batch)
    table = table_of(replies, "bench", shape)
    encoder = BatchEncoder(plan_of(table))

    def ours() -> None:
        made = 0
        for reply in replies:
            encoder.add_reply(reply, 0)
            made += encoder.take().rows
        if made != number:
            raise SystemExit(f"{shape}: {made:,} rows of {number:,} documents")

    twins = [b"".join(batch) for batch in batches[: _TWIN_DOCUMENTS // _BATCH]]
    few = sum(map(len, batches[: len(twins)]))
    paths = [("_id",), *(column.path for column in table.columns)]

    def decode() -> None:
        for joined in twins:
            bson.decode_all(joined)

    def conventional() -> None:
        for joined in twins:
            for document in bson.decode_all(joined):
                flatten(document, paths)

    best, median = best_and_median(ours, 5)
    decoded = best_and_median(decode, 3)[0] / few
    flattened = best_and_median(conventional, 3)[0] / few
    each = best / number
    row = (
        *(shape, f"{nbytes / number:,.0f}", str(len(table.columns))),
        *(f"{nbytes / best / 1e6:,.0f}", f"{number / best:,.0f}"),
        *(f"{each * 1e6:.2f}", f"{median / number * 1e6:.2f}"),
        *(f"{decoded * 1e6:.1f}", f"{flattened * 1e6:.1f}"),
    )
    return row, decoded / each, flattened / each


def _batches(source: Iterator[bytes]) -> list[list[bytes]]:
    """The documents of one shape, up to ``_SHAPE_BYTES``."""
    batches: list[list[bytes]] = []
    nbytes = 0
    while nbytes <= _SHAPE_BYTES and (batch := list(islice(source, _BATCH))):
        batches.append(batch)
        nbytes += sum(map(len, batch))
    return batches
