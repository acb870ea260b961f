"""`cwarp demo` works on every document that MongoDB takes, whatever its names are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command import Ended, cwarp

DOCUMENTS = {
    "a top-level name with a dollar": '{"$x": 2}',
    "names that are no plain names": '{"a": {"$foo": 1}, "$x": 2, "": 3, "a.b": 4}',
    "a `touched` of one's own": '{"touched": "x", "touched_at": 5, "": 3, "a.b": 4}',
    "nothing to touch": '{"_id": null, "sub": {"q": 1}}',
    "an _id with U+0000": '{"_id": "a\\u0000b"}',
    "a compound _id with U+0000": '{"_id": {"k": ["a\\u0000b", 1]}}',
    "a catalogue of other types": '{"distribution": 1, "size": "s", "modified": "m"}',
}


def demo(directory: Path, *more: str) -> Ended:
    return cwarp("demo", "--seconds", "1", "--data", str(directory), *more)


@pytest.mark.parametrize("line", DOCUMENTS.values(), ids=DOCUMENTS)
def test_a_legal_document(tmp_path: Path, line: str) -> None:
    (tmp_path / "files.jsonl").write_text(line + "\n")
    ended = demo(tmp_path)
    assert ended.code == 0, ended
    assert "Verified: every row equals its document" in ended.out
    assert "Both ends" in ended.out
