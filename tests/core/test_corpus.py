"""MongoDB's own BSON corpus (mongodb/specifications, source/bson-corpus)."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

import cwarp_core
from cwarp_core import CorruptBSON
from tests.fix_data import corpus_cases

pytestmark = pytest.mark.usefixtures("bson_corpus")

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


Say = Callable[[str], None]


def _refused(raw: bytes) -> bool:
    try:
        cwarp_core.check(raw)
    except CorruptBSON:
        return True
    return False


def test_valid_cases_read_as_canonical_extended_json(
    say: Say,
) -> None:
    count = 0
    cases = list(corpus_cases("valid"))
    for file, case in cases:
        raw = bytes.fromhex(case["canonical_bson"])
        cwarp_core.check(raw)
        found = json.loads(cwarp_core.json_text(raw, "canonical"))
        name = (file, case["description"])
        expected, _ = OURS.get(name, (json.loads(case["canonical_extjson"]), ""))
        assert found == expected, name
        json.loads(cwarp_core.json_text(raw, "plain"))
        count += 1
    say(f"corpus: valid {count}/{len(cases)}")
    assert count >= 600, "the corpus is not whole"


def test_degenerate_cases_are_read_too(say: Say) -> None:
    """Odd but readable: array indexes of any name, regex options in any order."""
    count = 0
    for file, case in corpus_cases("valid"):
        if "degenerate_bson" in case:
            raw = bytes.fromhex(case["degenerate_bson"])
            cwarp_core.check(raw)
            found = json.loads(cwarp_core.json_text(raw, "canonical"))
            plain = json.dumps(found).replace('"mix"', '"imx"')
            assert json.loads(plain) == json.loads(case["canonical_extjson"]), file
            count += 1
    say(f"corpus: degenerate {count}/{count}")
    assert count >= 4


def test_decode_errors_are_refused(say: Say) -> None:
    count = 0
    cases = list(corpus_cases("decodeErrors"))
    for file, case in cases:
        assert _refused(bytes.fromhex(case["bson"])), (file, case["description"])
        count += 1
    say(f"corpus: decodeErrors {count}/{len(cases)}")
    assert count >= 45, "the corpus is not whole"


def test_texts_that_are_not_utf8_are_kept_not_refused() -> None:
    """Stricter is ``check`` alone: a row keeps such a text, as MongoDB does."""
    for _, case in corpus_cases("decodeErrors"):
        if "utf-8" in case["description"].lower():
            raw = bytes.fromhex(case["bson"])
            assert "$text" in cwarp_core.json_text(raw), case["description"]
