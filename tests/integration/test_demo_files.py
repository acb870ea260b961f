"""The demo reads mongoexport's and mongodump's files, and says where one is wrong."""

from __future__ import annotations

import datetime
from pathlib import Path

import bson
import pytest
from bson import Decimal128, Int64, ObjectId

from cartridge_warp.demo import catalogue, files, values
from cartridge_warp.errors import ConfigError


def read(path: Path) -> list[dict[str, object]]:
    return [bson.decode(each.raw, values.CODEC) for each in files.documents(path)]


@pytest.mark.parametrize(
    "text",
    [
        '{"_id": 1}\n{"_id": 2}\n',
        '{"_id": 1} {"_id": 2}',
        '[{"_id": 1}, {"_id": 2}]',
        '\ufeff [\n  {\n    "_id": 1\n  },\n  {"_id": 2}\n]\n',
    ],
)
def test_lines_and_arrays(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    assert read(path) == [{"_id": 1}, {"_id": 2}]


def test_extended_json_keeps_its_types(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"_id": {"$oid": "5ca4bbcea2dd94ee58162a68"},'
        ' "l": {"$numberLong": "5"}, "d": {"$numberDecimal": "1.10"},'
        ' "t": {"$date": "2009-04-01T00:00:00.000-0700"}, "f": 2.0}'
    )
    (found,) = read(path)
    assert found == {
        "_id": ObjectId("5ca4bbcea2dd94ee58162a68"),
        "l": 5,
        "d": Decimal128("1.10"),
        "t": datetime.datetime(2009, 4, 1, 7, tzinfo=datetime.UTC),
        "f": 2.0,
    }
    assert isinstance(found["l"], Int64)
    assert isinstance(found["f"], float)


def test_bson_files_go_in_byte_for_byte(tmp_path: Path) -> None:
    documents = [bson.encode({"_id": n, "x": "é" * n}) for n in range(5)]
    path = tmp_path / "a.bson"
    path.write_bytes(b"".join(documents))
    assert [each.raw for each in files.documents(path)] == documents


def test_a_document_without_an_id_gets_one_in_front(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"x": 1}')
    (found,) = read(path)
    assert list(found) == ["_id", "x"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"_id": 1}\n{"_id": }', "a.json:2: Expecting value"),
        ('[{"_id": 1},\n\n 7]', "a.json:3: a document was expected"),
        ('[{"_id": 1}', "a.json:1: Expecting ','"),
        ("[", "a.json: the array does not end"),
        ('[{"_id": 1}]\n{"_id": 2}', "a.json:1: something follows the array"),
        ('{"_id": 1}\n{"x": {"$oid": "no"}}', "a.json:2: 'no' is not a valid ObjectId"),
        ('{"_id": 1, "x": NaN}', "a.json:1: NaN is no JSON"),
        ('{"_id": 1, "x": 99999999999999999999}', "a.json:1: MongoDB can only handle"),
        ('{"_id": 1}\n{"x": "\\ud800"}', "a.json:2: .*surrogates"),
    ],
)
def test_a_fault_has_its_file_and_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        read(path)


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'{"_id": 1}\n{"x": "\xff"}')
    with pytest.raises(ConfigError, match=r"a\.json:2: this is not UTF-8"):
        read(path)


@pytest.mark.parametrize("cut", [1, 3, 7, 20])
def test_a_cut_bson_file(tmp_path: Path, cut: int) -> None:
    whole = bson.encode({"_id": 1, "x": "long enough"})
    path = tmp_path / "a.bson"
    path.write_bytes(whole + whole[:cut])
    with pytest.raises(ConfigError, match=f"at byte {len(whole)}: ") as raised:
        read(path)
    assert raised.value.hint == "the file is cut off"


def test_which_files_are_collections(tmp_path: Path) -> None:
    for name in ("b.bson", "a.json", "b.metadata.json", ".x.json", "notes.txt"):
        (tmp_path / name).touch()
    assert list(files.collections(tmp_path)) == ["a", "b"]
    (tmp_path / "a.bson").touch()
    with pytest.raises(ConfigError, match="both the collection 'a'"):
        files.collections(tmp_path)


def test_the_catalogue_is_the_same_twice_and_has_many_types() -> None:
    first, second = (
        {name: list(documents) for name, documents in catalogue.collections().items()}
        for _ in range(2)
    )
    assert {
        name: [d["_id"] for d in documents] for name, documents in first.items()
    } == {name: [d["_id"] for d in documents] for name, documents in second.items()}
    for name, documents in first.items():
        ids = {bson.encode({"_id": document["_id"]}) for document in documents}
        assert len(ids) == len(documents) > 0, name
    assert len(first["files"]) > 5000
    kinds = {
        type(value).__name__
        for documents in first.values()
        for document in documents[:50]
        for part in (document, *(v for v in document.values() if isinstance(v, dict)))
        for value in part.values()
    }
    assert kinds >= {
        *("ObjectId", "str", "dict", "list", "bool", "int", "Int64", "float"),
        *("datetime", "Binary", "bytes", "Decimal128", "NoneType"),
    } - {"bytes"}
