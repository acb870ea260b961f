"""What can be read and still is no ordinary value of its column."""

from __future__ import annotations

import struct

from tests.core.build import (
    Raw,
    array,
    binary,
    boolean,
    date,
    decimal,
    decimal_bits,
    document,
    double,
    int32,
    int64,
    null,
    obj,
    string,
    timestamp,
    wrap,
)

from .hazard import (
    AT_V,
    BINARY,
    DATES,
    DECIMAL,
    LEGACY,
    LENGTHS,
    NAMES,
    NUMBERS,
    Hazard,
    Refused,
    Row,
    extra,
    with_id,
)

ODD: list[Hazard] = [
    Hazard(
        LENGTHS,
        "17 MiB, more than a server stores",
        string("x" * (17 << 20)),
        "text",
        Row("x" * (17 << 20)),
    ),
    *(
        Hazard(BINARY, case, Raw(5, data), "bytea", AT_V)
        for case, data in (
            ("length past the document", b"\x09\0\0\0\0abc"),
            ("length -1", b"\xff\xff\xff\xff\0"),
            ("length 2^31 - 1", b"\xff\xff\xff\x7f\0"),
            ("subtype 2, inner length too short", b"\5\0\0\0\2\0\0\0\0x"),
            ("subtype 2, inner length too long", b"\5\0\0\0\2\2\0\0\0x"),
            ("subtype 2, inner length -1", b"\5\0\0\0\2\xff\xff\xff\xffx"),
            ("subtype 2, no inner length", b"\3\0\0\0\2\0\0\0"),
        )
    ),
    *(
        Hazard(
            BINARY,
            f"subtype {subtype}, in a column of subtype 0",
            binary(b"\0\1", subtype),
            "bytea",
            Row(
                r"\x0001",
                extra(f'{{"$binary":{{"base64":"AAE=","subType":"{subtype:02x}"}}}}'),
            ),
        )
        for subtype in (1, 2, 3, 4, 5, 6, 7, 8, 9, 128, 255)
    ),
    Hazard(
        BINARY,
        "what looks like a broken document: not looked into",
        binary(b"\x09\0\0\0\x08a\0\2\0"),
        "bytea",
        Row(r"\x0900000008610002" + "00"),
    ),
    *(
        Hazard(
            BINARY,
            f"subtype {subtype} of {size} bytes, in a uuid column",
            binary(LEGACY[:size], subtype),
            "uuid",
            Row(
                None, extra(f'{{"$binary":{{"base64":"{base64}","subType":"{sub}"}}}}')
            ),
        )
        for subtype, size, base64, sub in (
            (4, 15, "AAECAwQFBgcICQoLDA0O", "04"),
            (4, 0, "", "04"),
            (3, 16, "AAECAwQFBgcICQoLDA0ODw==", "03"),
        )
    ),
    Hazard(
        NAMES,
        "one name twice: the last wins, `duplicate_keys` counts",
        with_id(("v", int32(1)), ("v", int32(2))),
        "integer",
        Row("2"),
    ),
    *(
        Hazard(NAMES, f"one name twice, {case}", with_id(*fields), "integer", outcome)
        for case, fields, outcome in (
            (
                "a scalar and then a document",
                (("v", int32(1)), ("v", obj(("b", int32(5))))),
                Row(None, '{"v.b":{"$numberInt":"5"}}'),
            ),
            (
                "a document and then a scalar",
                (("v", obj(("b", int32(5)))), ("v", int32(1))),
                Row("1"),
            ),
            (
                "two documents: the last one whole, nothing of the first",
                (
                    ("v", obj(("b", int32(5)), ("c", int32(6)))),
                    ("v", obj(("c", int32(7)))),
                ),
                Row(None, '{"v.c":{"$numberInt":"7"}}'),
            ),
            (
                "a document and then null",
                (("v", obj(("b", int32(5)))), ("v", null())),
                Row(None),
            ),
            (
                "without a column",
                (("x", int32(1)), ("x", obj(("b", int32(5)))), ("v", int32(2))),
                Row("2", '{"x.b":{"$numberInt":"5"}}'),
            ),
        )
    ),
    Hazard(
        NAMES,
        "two `_id`s, which MongoDB refuses to store: the last is the key",
        document(("_id", int32(2)), ("v", int32(5)), ("_id", int32(1))),
        "integer",
        Row("5"),
    ),
    *(
        Hazard(
            NAMES,
            f"{case}, inside `_cwarp_extra`",
            with_id(("x", array(value))),
            "integer",
            Row(None, f'{{"x":[{shown}]}}'),
        )
        for case, value, shown in (
            (
                "`$numberInt`, as the form of a number has it",
                obj(("$numberInt", string("5"))),
                '{"$literal":{"$numberInt":"5"}}',
            ),
            ("`$literal`", obj(("$literal", null())), '{"$literal":{"$literal":null}}'),
            (
                "`$ref`, as no form has it",
                obj(("$ref", string("c"))),
                '{"$ref":"c"}',
            ),
        )
    ),
    Hazard(
        NAMES,
        "one name twice inside jsonb: both written, PostgreSQL keeps the last",
        obj(("a", int32(1)), ("a", int32(2))),
        "jsonb",
        Row('{"a":1,"a":2}'),
    ),
    *(
        Hazard(
            NAMES,
            case,
            with_id((name, int32(5))),
            "integer",
            Row(None, f'{{"{shown}":{{"$numberInt":"5"}}}}'),
        )
        for case, name, shown in (
            ("empty", "", ""),
            ("a dot", "a.b", r"a\\.b"),
            ("a backslash", "a\\b", r"a\\\\b"),
            ("`$set`", "$set", "$set"),
            ("`__proto__`", "__proto__", "__proto__"),
            ("a quote", 'a"b', r"a\"b"),
        )
    ),
    Hazard(
        NAMES,
        "1 MiB long",
        with_id(("n" * 2**20, int32(5)), ("v", int32(6))),
        "integer",
        Row("6", f'{{"{"n" * 2**20}":{{"$numberInt":"5"}}}}'),
    ),
    Hazard(
        NAMES,
        "of an array's elements: not looked at, the order counts",
        Raw(4, document(("", int32(1)), ("ab", int32(2)), ("ab", int32(3)))),
        "jsonb",
        Row("[1,2,3]"),
    ),
    Hazard(
        NAMES,
        "of an array's element, not UTF-8",
        Raw(4, document((b"\xff", int32(1)))),
        "jsonb",
        Refused("corrupt", 20),
    ),
    Hazard(
        NAMES,
        "an array of 1,000,000",
        Raw(4, wrap(b"\x10\0\1\0\0\0" * 1_000_000)),
        "json",
        Row(f"[{'1,' * 999_999}1]"),
    ),
    Hazard(DECIMAL, "NaN", decimal("NaN"), "numeric", Row("NaN")),
    Hazard(DECIMAL, "sNaN", decimal_bits(0x7E << 120), "numeric", Row("NaN")),
    Hazard(DECIMAL, "-Infinity", decimal("-Infinity"), "numeric", Row("-Infinity")),
    Hazard(
        DECIMAL,
        "-0 (numeric has no sign of zero)",
        decimal("-0"),
        "numeric",
        Row("0", extra('{"$numberDecimal":"-0"}')),
    ),
    Hazard(DECIMAL, "1.10", decimal("1.10"), "numeric", Row("1.10")),
    Hazard(
        DECIMAL,
        "1E+3 (an equal number, but not its exponent)",
        decimal("1E+3"),
        "numeric",
        Row("1000"),
    ),
    Hazard(
        DECIMAL,
        "1E+3, within jsonb (PostgreSQL makes 1000 of it)",
        obj(("a", decimal("1E+3"))),
        "jsonb",
        Row('{"a":1E+3}'),
    ),
    Hazard(DECIMAL, "1E+6111", decimal("1E+6111"), "numeric", Row(f"1{'0' * 6111}")),
    Hazard(DECIMAL, "1E-6176", decimal("1E-6176"), "numeric", Row(f"0.{'0' * 6175}1")),
    Hazard(
        DECIMAL,
        "1E+6111, within jsonb",
        obj(("a", decimal("1E+6111"))),
        "jsonb",
        Row('{"a":1E+6111}'),
    ),
    Hazard(
        DECIMAL,
        "NaN, within jsonb",
        obj(("a", decimal("NaN"))),
        "jsonb",
        Row('{"a":{"$numberDecimal":"NaN"}}'),
    ),
    Hazard(
        DECIMAL,
        "a significand of more than 34 digits (it stands for 0)",
        decimal_bits(0x3040 << 112 | 10**34),
        "numeric",
        Row("0"),
    ),
    Hazard(
        DATES,
        "-4713-11-24",
        date(-210_866_803_200_000),
        "timestamptz",
        Row("-211813488000000000 us"),
    ),
    Hazard(
        DATES,
        "a millisecond earlier",
        date(-210_866_803_200_001),
        "timestamptz",
        Row(None, extra('{"$date":{"$numberLong":"-210866803200001"}}')),
    ),
    Hazard(
        DATES,
        "the end of 294276",
        date(9_224_318_015_999_999),
        "timestamptz",
        Row("9223371331199999000 us"),
    ),
    Hazard(
        DATES,
        "a millisecond later",
        date(9_224_318_016_000_000),
        "timestamptz",
        Row(None, extra('{"$date":{"$numberLong":"9224318016000000"}}')),
    ),
    *(
        Hazard(
            DATES,
            f"{ms} ms",
            date(ms),
            "timestamptz",
            Row(None, extra(f'{{"$date":{{"$numberLong":"{ms}"}}}}')),
        )
        for ms in (-(2**63), 2**63 - 1)
    ),
    Hazard(
        DATES,
        "year 10000, within jsonb",
        obj(("a", date(253_402_300_800_000))),
        "jsonb",
        Row('{"a":{"$date":{"$numberLong":"253402300800000"}}}'),
    ),
    Hazard(
        DATES,
        "year 0 (that is 1 BC), within jsonb",
        obj(("a", date(-62_167_219_200_000))),
        "jsonb",
        Row('{"a":"0000-01-01T00:00:00.000Z"}'),
    ),
    Hazard(
        DATES,
        "timestamp of the last second, increment 999999",
        timestamp(2**32 - 1, 999_999),
        "timestamptz",
        Row("3348282495999999 us", extra('{"$timestamp":{"t":4294967295,"i":999999}}')),
    ),
    Hazard(
        DATES,
        "timestamp, increment 1000000",
        timestamp(1, 10**6),
        "timestamptz",
        Row(None, extra('{"$timestamp":{"t":1,"i":1000000}}')),
    ),
    Hazard(
        DATES,
        "timestamp of the last second, within jsonb",
        obj(("a", timestamp(2**32 - 1, 2**32 - 1))),
        "jsonb",
        Row('{"a":{"$timestamp":{"t":4294967295,"i":4294967295}}}'),
    ),
    Hazard(NUMBERS, "double -0.0", double(-0.0), "double precision", Row("-0.0")),
    Hazard(
        NUMBERS,
        "double -0.0 in numeric",
        double(-0.0),
        "numeric",
        Row("0", extra('{"$numberDouble":"-0.0"}')),
    ),
    Hazard(
        NUMBERS,
        "double -0.0, within jsonb",
        obj(("a", double(-0.0))),
        "jsonb",
        Row('{"a":{"$numberDouble":"-0.0"}}'),
    ),
    Hazard(
        NUMBERS,
        "NaN with a payload (the bits are kept)",
        Raw(1, struct.pack("<Q", 0x7FF0_0000_0000_0001)),
        "double precision",
        Row("NaN 7ff0000000000001"),
    ),
    Hazard(
        NUMBERS,
        "double Infinity",
        double(float("inf")),
        "double precision",
        Row("inf"),
    ),
    Hazard(
        NUMBERS,
        "double NaN, within jsonb",
        obj(("a", double(float("nan")))),
        "jsonb",
        Row('{"a":{"$numberDouble":"NaN"}}'),
    ),
    Hazard(
        NUMBERS,
        "the smallest double in numeric",
        double(5e-324),
        "numeric",
        Row(f"0.{'0' * 323}5", extra('{"$numberDouble":"5e-324"}')),
    ),
    *(
        Hazard(NUMBERS, case, double(number), "numeric", Row(shown, beside))
        for case, number, shown, beside in (
            (
                "double 0.1 in numeric: the digits that a reader expects, which are "
                "not its exact value",
                0.1,
                "0.1",
                extra('{"$numberDouble":"0.1"}'),
            ),
            ("double 0.375 in numeric: its exact value", 0.375, "0.375", None),
            (
                "double 2^60 in numeric",
                2.0**60,
                "1152921504606847000",
                extra('{"$numberDouble":"1152921504606847000.0"}'),
            ),
            ("double 2^53 in numeric", 2.0**53, "9007199254740992", None),
        )
    ),
    Hazard(
        NUMBERS,
        "int64 2^53 + 1 in double precision",
        int64(2**53 + 1),
        "double precision",
        Row(None, extra('{"$numberLong":"9007199254740993"}')),
    ),
    Hazard(
        NUMBERS,
        "int64 2^53 + 1 in numeric",
        int64(2**53 + 1),
        "numeric",
        Row("9007199254740993"),
    ),
    Hazard(
        NUMBERS,
        "int64 in integer",
        int64(1),
        "integer",
        Row(None, extra('{"$numberLong":"1"}')),
    ),
    Hazard(NUMBERS, "int32 in bigint", int32(-1), "bigint", Row("-1")),
    Hazard(
        NUMBERS,
        "double 5.0 in bigint",
        double(5.0),
        "bigint",
        Row(None, extra('{"$numberDouble":"5.0"}')),
    ),
    Hazard(
        NUMBERS, "bool in integer", boolean(True), "integer", Row(None, extra("true"))
    ),
]
