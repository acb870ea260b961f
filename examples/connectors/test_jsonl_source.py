"""The file source passes the suite: run me, or ``pytest`` on this directory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import json_util

from cartridge_warp.config import SchemaSettings, SourceSettings
from cartridge_warp.conformance.source import LostHistory, SourceSuite
from cartridge_warp.errors import SourceError
from cwarp_jsonl import JsonlSource


class TestJsonlSource(SourceSuite, LostHistory):
    @pytest.fixture
    def place(self, tmp_path: Path) -> None:
        self.file = tmp_path / "shop.jsonl"

    def connect(self) -> JsonlSource:
        settings = SourceSettings(type="jsonl", connection_string=str(self.file.parent))
        return JsonlSource(settings, SchemaSettings(name="shop", database="shop"))

    def insert(self, collection: str, new: Sequence[bytes]) -> None:
        for raw in new:
            self.append(collection, document=bson.decode(raw))

    def replace(self, collection: str, document: bytes) -> None:
        self.insert(collection, [document])

    def delete(self, collection: str, document: bytes) -> None:
        self.append(collection, delete=bson.decode(document)["_id"])

    def append(self, collection: str, **change: Any) -> None:
        line = {"at": 1_764_000_000, "collection": collection, **change}
        with self.file.open("a") as file:
            file.write(
                json_util.dumps(line, json_options=json_util.CANONICAL_JSON_OPTIONS)
                + "\n"
            )

    @contextmanager
    def forgetting(self) -> Iterator[None]:
        self.file.write_text("")
        yield

    def test_a_line_that_is_no_change_is_named(self) -> None:
        source = self.source()
        self.insert("c", [bson.encode({"_id": 1})])
        with self.file.open("a") as file:
            file.write('{"collection": "c"}\n')
        with pytest.raises(SourceError, match=r"shop\.jsonl:2 is no change"):
            source.newest_time()


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
