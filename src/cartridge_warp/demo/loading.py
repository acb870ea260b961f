"""Puts the documents into MongoDB: the catalogue, or the user's own files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pymongo.errors

from ..errors import ConfigError
from . import catalogue, files
from .places import Place

_BATCH = 2000
_DUPLICATE_KEY = 11000


def load(
    place: Place, sources: Mapping[str, Path] | None, say: Callable[[str], None]
) -> None:
    """Load every document, or keep those that an earlier demo left here.

    sources: the file of each collection; None: the catalogue. Raises ConfigError.
    """
    database = place.mongo[place.schema]
    if place.reused and (names := database.list_collection_names()):
        count = sum(database[name].estimated_document_count() for name in names)
        say(f"{count:,} in {len(names)} collections, from the last time")
        return
    say("reading")
    loaded: dict[str, int] = {}
    for name, documents in _documents(sources):
        loaded[name] = 0
        try:
            for number in _insert(place, name, documents):
                loaded[name] += number
                say(f"{sum(loaded.values()):,} ({name})")
        except pymongo.errors.PyMongoError as error:
            where = name if sources is None else sources[name]
            raise ConfigError(f"{where}: {_reason(error)}") from error
    each = ", ".join(f"{name} {count:,}" for name, count in loaded.items())
    say(f"{sum(loaded.values()):,} loaded: {each}")


def _documents(
    sources: Mapping[str, Path] | None,
) -> Iterator[tuple[str, Iterable[Any]]]:
    if sources is None:
        yield from catalogue.collections().items()
        return
    for name, path in sources.items():
        yield name, files.documents(path)


def _insert(place: Place, name: str, documents: Iterable[Any]) -> Iterator[int]:
    """The number of documents of each batch, once it is in."""
    # An empty file makes an empty collection.
    collection = place.mongo[place.schema].create_collection(name)
    waiting = iter(documents)
    while batch := list(islice(waiting, _BATCH)):
        collection.insert_many(batch)
        yield len(batch)


def _reason(error: pymongo.errors.PyMongoError) -> str:
    if isinstance(error, pymongo.errors.BulkWriteError) and error.details:
        fault = error.details["writeErrors"][0]
        if fault["code"] == _DUPLICATE_KEY:
            return f"two documents have the _id {fault['keyValue']['_id']}"
        return str(fault["errmsg"])
    return str(error)
