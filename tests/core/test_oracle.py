"""The oracle against the driver's own Extended JSON, where the two mean the same."""

from __future__ import annotations

import json
import math

import bson
import pytest
from bson import json_util
from bson.codec_options import DEFAULT_CODEC_OPTIONS, DatetimeConversion

from tests import oracle
from tests.core.build import document
from tests.core.samples import DATES, SAMPLES
from tests.oracle.jsontext import iso_date

#: Texts that jsonb cannot hold have a form of ours; the driver cannot read some.
_TEXTS = {"string", "javascript", "symbol", "dbPointer", "regex", "javascriptWithScope"}
_OPTIONS = DEFAULT_CODEC_OPTIONS.with_options(
    datetime_conversion=DatetimeConversion.DATETIME_MS
)


@pytest.mark.parametrize("kind", sorted(SAMPLES.keys() - {"symbol", "dbPointer"}))
def test_canonical_text_is_the_drivers(kind: str) -> None:
    compared = 0
    for value in SAMPLES[kind]:
        raw = document(("v", value))
        ours = json.loads(oracle.json_text(raw, "canonical"))["v"]
        written = json.dumps(ours)
        if "$text" in written or "$literal" in written:
            # Forms of ours, which no driver has.
            assert kind in (*_TEXTS, "object", "javascriptWithScope")
            continue
        try:
            decoded = bson.decode(raw, _OPTIONS)
            text = json_util.dumps(
                decoded, json_options=json_util.CANONICAL_JSON_OPTIONS
            )
        except ArithmeticError:
            assert kind == "decimal", "coefficients above 34 digits"
            continue
        theirs = json.loads(text)["v"]
        assert _comparable(ours) == _comparable(theirs)
        compared += 1
    assert compared


def _comparable(value: object) -> object:
    """Doubles as numbers: the driver writes 1e+16 where we write all digits."""
    if isinstance(value, list):
        return [_comparable(each) for each in value]
    if not isinstance(value, dict):
        return value
    if "$undefined" in value:
        return None  # the driver reads undefined as null
    if "$numberDouble" in value and isinstance(value["$numberDouble"], str):
        number = float(value["$numberDouble"])
        return (
            ("NaN", 0.0) if math.isnan(number) else (number, math.copysign(1, number))
        )
    return {name: _comparable(each) for name, each in value.items()}


@pytest.mark.parametrize("milliseconds", DATES)
def test_date_text_is_the_drivers(milliseconds: int) -> None:
    raw = document(("v", SAMPLES["date"][DATES.index(milliseconds)]))
    found = iso_date(milliseconds)
    if not -62_135_596_800_000 <= milliseconds <= 253_402_300_799_999:
        # Python's calendar has no year 0.
        assert found is None or found.startswith('"0000-')
        return
    moment = bson.decode(raw)["v"].isoformat(timespec="milliseconds")
    assert found == f'"{moment}Z"'
