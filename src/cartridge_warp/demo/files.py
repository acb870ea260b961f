"""The user's own documents: one file a collection, as mongoexport and mongodump write.

``.json`` and ``.jsonl`` hold Extended JSON, as one array or as one document after
another; ``.bson`` holds BSON documents one after another. Every fault is a ConfigError
with file, place and reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import bson
from bson import ObjectId, json_util
from bson.binary import UuidRepresentation
from bson.codec_options import DatetimeConversion
from bson.raw_bson import RawBSONDocument

from ..errors import ConfigError
from .values import CODEC

_JSON_OPTIONS = json_util.JSONOptions(
    tz_aware=True,
    uuid_representation=UuidRepresentation.STANDARD,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
)
_SPACE = re.compile(r"\s*")
#: mongodump's own notes about a collection, beside its documents.
_NOTES = (".metadata.json", "prelude.json")


def collections(directory: Path) -> dict[str, Path]:
    """The file of each collection; at least one. Raises ConfigError."""
    found: dict[str, Path] = {}
    for path in sorted(directory.iterdir()):
        if path.suffix not in (".json", ".jsonl", ".bson") or path.name.startswith("."):
            continue
        if path.name.endswith(_NOTES):
            continue
        name = path.stem
        if name.startswith("system.") or "$" in name:
            raise ConfigError(f"{path}: no collection can be called {name!r}")
        if name in found:
            raise ConfigError(
                f"{path} and {found[name].name} are both the collection {name!r}",
                hint="rename one of them",
            )
        found[name] = path
    if not found:
        raise ConfigError(f"there is no .json, .jsonl or .bson file in {directory}")
    return found


def require_some(directory: Path, sources: Mapping[str, Path]) -> None:
    """Raises ConfigError when no file holds a document: there is nothing to show."""
    for path in sources.values():
        if next(documents(path), None) is not None:
            return
    raise ConfigError(f"no documents in {directory}")


def documents(path: Path) -> Iterator[RawBSONDocument]:
    """The documents of a file, in order, each with an ``_id``. Raises ConfigError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    raw = _from_bson(path, data) if path.suffix == ".bson" else _from_json(path, data)
    return (RawBSONDocument(each) for each in raw)


def _from_bson(path: Path, data: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(data):
        size = int.from_bytes(data[start : start + 4], "little", signed=True)
        try:
            document = bson.decode(data[start : start + max(size, 0)], CODEC)
        except (bson.errors.BSONError, ValueError, OverflowError) as error:
            cut = not 4 <= len(data) - start >= size
            raise ConfigError(
                f"{path}: at byte {start}: {error}",
                hint="the file is cut off" if cut else "that is not BSON",
            ) from error
        # With an _id the file's own bytes go in, whatever Python makes of them.
        whole = data[start : start + size]
        yield whole if "_id" in document else _encode(document)
        start += size


def _from_json(path: Path, data: bytes) -> Iterator[bytes]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: this is not UTF-8") from error
    decoder = json.JSONDecoder(object_pairs_hook=_extended, parse_constant=_constant)
    at = _skip(text, 0)
    array = text[at : at + 1] == "["
    at = _skip(text, at + array)
    line, counted = 1, 0
    while at < len(text) and not (array and text[at] == "]"):
        line += text.count("\n", counted, at)
        counted = at
        try:
            value, at = decoder.raw_decode(text, at)
            if not isinstance(value, dict):
                raise TypeError("a document was expected")
            yield _encode(value)
            at = _skip(text, at)
            if array and text[at : at + 1] != "]":
                at = _comma(text, at)
        except json.JSONDecodeError as error:
            raise ConfigError(
                f"{path}:{error.lineno}: {error.msg}",
                hint="Extended JSON is read: one document after the other, or an array",
            ) from error
        except (bson.errors.BSONError, ValueError, TypeError, OverflowError) as error:
            raise ConfigError(f"{path}:{line}: {error}") from error
    if array and _skip(text, at + 1) < len(text):
        line += text.count("\n", counted, at)
        raise ConfigError(f"{path}:{line}: something follows the array")
    if array and at >= len(text):
        raise ConfigError(f"{path}: the array does not end")


def _encode(document: dict[str, Any]) -> bytes:
    if "_id" not in document:
        document = {"_id": ObjectId(), **document}
    return bson.encode(document, codec_options=CODEC)


def _extended(pairs: list[tuple[str, Any]]) -> Any:
    return json_util.object_pairs_hook(pairs, _JSON_OPTIONS)


def _constant(name: str) -> NoReturn:
    raise ValueError(f'{name} is no JSON; write {{"$numberDouble": "{name}"}}')


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _comma(text: str, at: int) -> int:
    if text[at : at + 1] != ",":
        raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
    return _skip(text, at + 1)
