"""MongoDB's own BSON corpus (mongodb/specifications, source/bson-corpus).

Its licence keeps it out of this repository; ``CWARP_BSON_CORPUS`` names its folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import cwarp_core
from cwarp_core import CorruptBSON

_BESIDE = Path(__file__).parents[2] / "../shared/data/bson-corpus"
CORPUS = Path(os.environ.get("CWARP_BSON_CORPUS", _BESIDE))

#: Where we differ from ``canonical_extjson``, and why.
OURS = {
    ("code.json", "Embedded nulls"): (
        {"a": {"$code": {"$text": {"base64": "YWIAYmFiAGJhYmFi"}}}},
        "jsonb cannot hold U+0000",
    ),
    ("string.json", "Embedded nulls"): (
        {"a": {"$text": {"base64": "YWIAYmFiAGJhYmFi"}}},
        "jsonb cannot hold U+0000",
    ),
    ("symbol.json", "Embedded nulls"): (
        {"a": {"$symbol": {"$text": {"base64": "YWIAYmFiAGJhYmFi"}}}},
        "jsonb cannot hold U+0000",
    ),
    ("double.json", "1.2345678921232E+18"): (
        {"d": {"$numberDouble": "1234567892123200000.0"}},
        "one text for one double: no exponent in large ones",
    ),
    ("double.json", "-1.2345678921232E+18"): (
        {"d": {"$numberDouble": "-1234567892123200000.0"}},
        "one text for one double: no exponent in large ones",
    ),
}


Record = Callable[[str, object], None]


def _refused(raw: bytes) -> bool:
    try:
        cwarp_core.check(raw)
    except CorruptBSON:
        return True
    return False


def _cases(section: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for file in sorted(CORPUS.glob("*.json")):
        for case in json.loads(file.read_text(encoding="utf-8")).get(section, []):
            yield file.name, case


@pytest.fixture(autouse=True)
def corpus() -> None:
    if not CORPUS.is_dir():
        pytest.skip(f"no BSON corpus at {CORPUS}: set CWARP_BSON_CORPUS")


def test_valid_cases_read_as_canonical_extended_json(
    record_property: Record,
) -> None:
    count = 0
    for file, case in _cases("valid"):
        raw = bytes.fromhex(case["canonical_bson"])
        cwarp_core.check(raw)
        found = json.loads(cwarp_core.json_text(raw, "canonical"))
        name = (file, case["description"])
        expected, _ = OURS.get(name, (json.loads(case["canonical_extjson"]), ""))
        assert found == expected, name
        json.loads(cwarp_core.json_text(raw, "plain"))
        count += 1
    record_property("valid", count)
    assert count >= 600, "the corpus is not whole"


def test_degenerate_cases_are_read_too(record_property: Record) -> None:
    """Odd but readable: array indexes of any name, regex options in any order."""
    count = 0
    for file, case in _cases("valid"):
        if "degenerate_bson" in case:
            raw = bytes.fromhex(case["degenerate_bson"])
            cwarp_core.check(raw)
            found = json.loads(cwarp_core.json_text(raw, "canonical"))
            plain = json.dumps(found).replace('"mix"', '"imx"')
            assert json.loads(plain) == json.loads(case["canonical_extjson"]), file
            count += 1
    record_property("degenerate", count)
    assert count >= 4


def test_decode_errors_are_refused(record_property: Record) -> None:
    count = 0
    for file, case in _cases("decodeErrors"):
        assert _refused(bytes.fromhex(case["bson"])), (file, case["description"])
        count += 1
    record_property("decode errors", count)
    assert count >= 45, "the corpus is not whole"


def test_texts_that_are_not_utf8_are_kept_not_refused() -> None:
    """Stricter is ``check`` alone: a row keeps such a text, as MongoDB does."""
    for _, case in _cases("decodeErrors"):
        if "utf-8" in case["description"].lower():
            raw = bytes.fromhex(case["bson"])
            assert "$text" in cwarp_core.json_text(raw), case["description"]
