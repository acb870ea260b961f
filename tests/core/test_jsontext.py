"""BSON as JSON text: plain and canonical."""

from __future__ import annotations

import json

import bson
import pytest

import cwarp_core
from tests import oracle
from tests.core.build import (
    Raw,
    array,
    binary,
    code_with_scope,
    date,
    decimal,
    document,
    double,
    int32,
    int64,
    obj,
    oid,
    regex,
    string,
    symbol,
    timestamp,
)
from tests.core.samples import SAMPLES, SIXTEEN


@pytest.mark.parametrize("mode", ["plain", "canonical"])
@pytest.mark.parametrize("kind", SAMPLES)
def test_text_is_the_oracles_and_json(kind: str, mode: str) -> None:
    for value in SAMPLES[kind]:
        raw = document(("v", value), ("w", array(value, obj(("x", value)))))
        text = cwarp_core.json_text(raw, mode)
        assert text == oracle.json_text(raw, mode)
        parsed = json.loads(text)
        assert parsed["w"] == [parsed["v"], {"x": parsed["v"]}]


@pytest.mark.parametrize(
    ("value", "plain", "canonical"),
    [
        (int32(-5), "-5", '{"$numberInt":"-5"}'),
        (int64(5), "5", '{"$numberLong":"5"}'),
        (double(5.0), "5.0", '{"$numberDouble":"5.0"}'),
        (double(1.5e-7), "1.5e-7", '{"$numberDouble":"1.5e-7"}'),
        (
            double(1e16),
            "10000000000000000.0",
            '{"$numberDouble":"10000000000000000.0"}',
        ),
        (double(-0.0), '{"$numberDouble":"-0.0"}', '{"$numberDouble":"-0.0"}'),
        (decimal("1.10"), "1.10", '{"$numberDecimal":"1.10"}'),
        (decimal("1E+3"), "1E+3", '{"$numberDecimal":"1E+3"}'),
        (decimal("-0"), '{"$numberDecimal":"-0"}', '{"$numberDecimal":"-0"}'),
        (string('a"\x01\x7f'), '"a\\"\\u0001\x7f"', '"a\\"\\u0001\x7f"'),
        (string(b"\0"), '{"$text":{"base64":"AA=="}}', '{"$text":{"base64":"AA=="}}'),
        (symbol("s"), '"s"', '{"$symbol":"s"}'),
        (oid(b"\1" * 12), f'"{"01" * 12}"', f'{{"$oid":"{"01" * 12}"}}'),
        (
            binary(SIXTEEN, 4),
            '"f0f1f2f3-f4f5-f6f7-f8f9-fafbfcfdfeff"',
            '{"$binary":{"base64":"8PHy8/T19vf4+fr7/P3+/w==","subType":"04"}}',
        ),
        (
            binary(b"\xff\xfe", 2),
            '{"$binary":{"base64":"//4=","subType":"02"}}',
            '{"$binary":{"base64":"//4=","subType":"02"}}',
        ),
        (
            date(1_577_934_245_600),
            '"2020-01-02T03:04:05.600Z"',
            '{"$date":{"$numberLong":"1577934245600"}}',
        ),
        (
            date(-62_167_219_200_001),
            '{"$date":{"$numberLong":"-62167219200001"}}',
            '{"$date":{"$numberLong":"-62167219200001"}}',
        ),
        (
            timestamp(1, 2),
            '{"$timestamp":{"t":1,"i":2}}',
            '{"$timestamp":{"t":1,"i":2}}',
        ),
        (
            regex(b"a/", b"i"),
            '{"$regularExpression":{"pattern":"a/","options":"i"}}',
            '{"$regularExpression":{"pattern":"a/","options":"i"}}',
        ),
        (
            code_with_scope("f", ("a", int32(1))),
            '{"$code":"f","$scope":{"a":{"$numberInt":"1"}}}',
            '{"$code":"f","$scope":{"a":{"$numberInt":"1"}}}',
        ),
    ],
)
def test_text_reads(value: Raw, plain: str, canonical: str) -> None:
    raw = document(("v", value))
    assert cwarp_core.json_text(raw) == f'{{"v":{plain}}}'
    assert cwarp_core.json_text(raw, "canonical") == f'{{"v":{canonical}}}'


def test_canonical_text_tells_every_kind() -> None:
    """Documents that look like the form of another value too."""
    kinds: dict[str, str] = {}
    known = [(kind, value) for kind, values in SAMPLES.items() for value in values]
    for kind, value in known:
        raw = document(("v", value))
        text = cwarp_core.json_text(raw, "canonical")
        assert kinds.setdefault(text, kind) == kind, text
        # The same JSON, taken for a document.
        like = _as_document(json.loads(text)["v"])
        if isinstance(like, dict):
            fake = cwarp_core.json_text(bson.encode({"v": like}), "canonical")
            assert kinds.setdefault(fake, "object") == "object", fake


def _as_document(tree: object) -> object:
    """JSON as the strings and documents that it is made of."""
    if isinstance(tree, dict):
        return {name: _as_document(value) for name, value in tree.items()}
    return tree if isinstance(tree, str) else str(tree)


def test_names_are_escaped_and_order_and_duplicates_kept() -> None:
    fields = (('b"\t', int32(1)), ("", int32(2)), ("\u2603\\", int32(3)))
    raw = document(*fields, fields[1])
    assert cwarp_core.json_text(raw) == '{"b\\"\\t":1,"":2,"\u2603\\\\":3,"":2}'


@pytest.mark.parametrize("mode", ["relaxed", "", "Plain"])
def test_unknown_mode_is_refused(mode: str) -> None:
    with pytest.raises(ValueError, match="mode"):
        cwarp_core.json_text(document(), mode)


def test_corrupt_document_is_refused() -> None:
    with pytest.raises(cwarp_core.CorruptBSON):
        cwarp_core.json_text(document(("v", int32(1)))[:-1] + b"\1")
