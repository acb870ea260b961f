"""What the tests of a resync's chunks share: documents, rows, and a second look."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import bson
from bson import CodecOptions
from msgspec.structs import replace

from cartridge_warp.model import (
    Chunk,
    ChunkRange,
    Column,
    Committed,
    Origin,
    Table,
)
from cartridge_warp.postgresql.destination import PostgresDestination
from cwarp_core import EncodedBatch, Reply
from postgresql_kit import META, READ, fetch

Document = dict[str, Any]

ORIGIN = Origin(READ, "a collection")
EVERYTHING = ChunkRange(None, None)

_UUIDS: CodecOptions[Document] = CodecOptions(uuid_representation=4)

PLAIN = Table(
    schema="shop",
    name="orders",
    collection="orders",
    key="bigint",
    columns=(
        Column("n", ("n",), "integer", "int"),
        Column("note", ("note",), "text", "string"),
    ),
)


def table_of(key: str = "bigint", **options: Any) -> Table:
    table = replace(PLAIN, key=key, options=replace(PLAIN.options, **options))
    soft = options.get("deletion_strategy") == "soft"
    return replace(table, deleted_column="is_deleted") if soft else table


def element(value: object) -> bytes:
    """The ``_id`` element of a value."""
    document = bson.encode({"_id": value}, codec_options=_UUIDS)
    key = Reply.of_documents([document]).key(0)
    assert key is not None
    return key


def ranges(*inner: object) -> list[ChunkRange]:
    """Chunks with these bounds between them."""
    bounds = [None, *map(element, inner), None]
    return [ChunkRange(*bounds[at : at + 2]) for at in range(len(bounds) - 1)]


def encoded(
    owner: PostgresDestination,
    table: Table,
    documents: Iterable[Document],
    *,
    keep: bool = False,
) -> EncodedBatch:
    encoder = owner.encoder(table, keep=keep)
    for each in documents:
        encoder.add_document(bson.encode(each, codec_options=_UUIDS), READ)
    return encoder.take()


def copied(
    owner: PostgresDestination, table: Table, documents: Sequence[Document]
) -> None:
    """A first copy, in one chunk."""
    owner.plan(table, [EVERYTHING])
    copier = owner.copier()
    chunk = copier.claim(table)
    assert chunk is not None
    copier.begin(chunk, table, READ)
    copier.write(encoded(owner, table, documents))
    copier.commit(read_until=READ)
    copier.close()


def resynced(
    owner: PostgresDestination,
    table: Table,
    documents: Iterable[Document],
    *,
    careful: bool = False,
    gone: bool = False,
    split_at: object = None,
) -> tuple[Chunk, Committed]:
    """Claim the next chunk, let these documents be what it reads, and commit."""
    copier = owner.copier()
    try:
        chunk = copier.claim(table)
        assert chunk is not None
        assert chunk.resync
        copier.begin(chunk, table, READ + 1, careful=careful)
        for each in documents:
            batch = encoded(owner, table, [each], keep=careful)
            assert copier.write(batch) == []
        split = None if split_at is None else element(split_at)
        return chunk, copier.commit(read_until=READ + 2, split_at=split, gone=gone)
    finally:
        copier.close()


def rows(uri: str) -> list[tuple[Any, ...]]:
    return fetch(uri, "SELECT _id, n, note FROM shop.orders ORDER BY _id")


def images(uri: str) -> dict[Any, tuple[Any, ...]]:
    """Where each row lies, and who wrote or locked it last: equal, it was untouched."""
    query = "SELECT _id, ctid::text, xmin::text, xmax::text FROM shop.orders"
    return {key: image for key, *image in fetch(uri, query)}


def letters(uri: str, state: str = "pending") -> list[tuple[str, str]]:
    query = f"SELECT key, reason FROM {META}.dead_letter_queue WHERE state = %s"
    return sorted(fetch(uri, query, state))
