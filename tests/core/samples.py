"""Values at every edge that the mapping has, by BSON kind."""

from __future__ import annotations

import math
import struct

from .build import (
    Raw,
    array,
    binary,
    boolean,
    code,
    code_with_scope,
    date,
    db_pointer,
    decimal,
    decimal_bits,
    double,
    int32,
    int64,
    max_key,
    min_key,
    null,
    obj,
    oid,
    regex,
    string,
    symbol,
    timestamp,
    undefined,
)

SIXTEEN = bytes(range(0xF0, 0x100))
#: Texts that are fine, then texts that neither ``text`` nor ``jsonb`` can hold.
TEXTS = [
    b"",
    b"a",
    "snow \u2603, \U0001f600, \u00e9, \ufeff".encode(),
    bytes(range(1, 0x80)),
    b'"\\/' * 5,
    b"x" * 5000 + b"\n",
    b"a\0b",
    b"\0",
    b"\xff",
    b"eight ok\xc3",
    b"\xed\xa0\x80",
    b"\xc0\x80",
    b"\xf4\x90\x80\x80",
    b"0123456\0",
]
#: Milliseconds around year 0, year 10000 and PostgreSQL's two ends.
DATES = [
    0,
    1,
    -1,
    1_577_934_245_678,
    951_782_400_000,
    -62_167_219_200_000,
    -62_167_219_200_001,
    253_402_300_799_999,
    253_402_300_800_000,
    -210_866_803_200_000,
    -210_866_803_200_001,
    9_224_318_015_999_999,
    9_224_318_016_000_000,
    -(2**63),
    2**63 - 1,
]
DOUBLES = [
    *(0.0, -0.0, 1.0, -1.0, 5.0, 0.1, -0.1, 0.5, 1e-4, 0.00012345, 1e-5, 1e-7, 1.5e-7),
    *(123456.789, 1e15, 1e16, 1.2345e16, 1e17, 1e22, 1.5e22, 1e23, 2.0**53, 2.0**63),
    *(-(2.0**63), 2.0**63 - 1024, -(2.0**63) - 2048, 2.0**53 + 2, -3.0, 3.5),
    *(2.0**53 - 1, 2.0**54 + 4, 2.0**60, 0.375, 0.1 + 0.2, 4.35, 1e22 + 2e6),
    *(9999.0, 10000.0, 10001.5, 1e300, 1.7976931348623157e308, 5e-324),
    *(2.2250738585072014e-308, 1 / 3, -2 / 3 * 1e-200, math.inf, -math.inf, math.nan),
]
DECIMALS = [
    *("0", "-0", "1", "-1", "10", "1.0", "1.10", "1E+3", "-1.5E+3", "0.00", "-0.00"),
    *("0E+3", "-0E+3", "0E-6176", "0E+6111", "NaN", "Infinity", "-Infinity"),
    *("0.1", "0.0001", "0.00001", "0.00012345", "1E-7", "1.5E-10", "9999", "10000"),
    *("10001", "99999999", "100000000", "12345678.9012", "1234567.89", "12345.6789"),
    *("1E-6176", "1E+6111", "9.999999999999999999999999999999999E+6144", "1E+34"),
    *("1234567890123456789012345678901234", "0.1234567890123456789012345678901234"),
    *("9223372036854775807", "9223372036854775808", "-9223372036854775808"),
    *("-9223372036854775809", "9223372036854775807.0", "9223372036854775806.5"),
    *("1E+18", "1E+19", "-9.9E+18", "18446744073709551617", "3", "3.5", "-3.00"),
    *("-1234567890123456789012345678901234E-17", "1E-4", "1E-5", "100E-2", "20000E-8"),
]
INT64S = [0, 1, -1, 10**4, 10**8, 2**31, -(2**31) - 1, 2**53 + 1, 2**63 - 1, -(2**63)]

SAMPLES: dict[str, list[Raw]] = {
    "double": [
        *map(double, DOUBLES),
        Raw(0x01, struct.pack("<Q", 0xFFF8_0000_0000_0001)),
        Raw(0x01, struct.pack("<Q", 0x7FF0_0000_0000_0001)),
    ],
    "string": [string(text) for text in TEXTS],
    "object": [
        obj(),
        obj(("a", int32(1)), ("b", obj())),
        obj(("a", double(1e16)), ('q"\\\n', array()), ("", string(b"\xff"))),
        obj(("b", int32(1)), ("a", int32(2)), ("b", null())),
        # What looks like canonical Extended JSON, and what only begins like it.
        obj(("$numberInt", string("5"))),
        obj(("$literal", obj(("$oid", string("5")))), ("a", int32(1))),
        obj(("$ref", string("c")), ("$id", int32(1)), ("$code", string("f"))),
        obj(("$numberInteger", int32(1)), ("$numberInt", int32(1))),
    ],
    "array": [
        array(),
        array(int32(1), double(1.0), null(), string("x"), array(obj())),
        array(double(-0.0), decimal("1E+3"), decimal("NaN"), decimal("-0")),
    ],
    "binData": [
        *(binary(b"", subtype) for subtype in (0, 2, 4, 128)),
        *(binary(b"\0\xff\1", subtype) for subtype in (0, 1, 2, 3, 4, 5, 9, 255)),
        *(binary(SIXTEEN, subtype) for subtype in (0, 2, 5)),
        *(binary(b"x" * size) for size in (2, 4, 57)),
    ],
    "uuid": [binary(SIXTEEN, 4), binary(b"\0" * 16, 4)],
    "uuidLegacy": [binary(bytes(range(16)), 3), binary(SIXTEEN, 3)],
    "undefined": [undefined()],
    "objectId": [oid(b"\0" * 12), oid(bytes(range(0xF4, 0x100)))],
    "bool": [boolean(False), boolean(True)],
    "date": [date(each) for each in DATES],
    "null": [null()],
    "regex": [
        regex(b"", b""),
        regex(b'a"\\/b\n', b"imsx"),
        regex("\u2603".encode(), b"i"),
        regex(b"\xff", b"i"),
    ],
    "dbPointer": [
        db_pointer(name, SIXTEEN[:12])
        for name in (b"db.c", b"\xff", b"", b"\0", b"db.c\0", b"db.c\0x", b"\xff\0\xff")
    ],
    "javascript": [code(text) for text in TEXTS[:9]],
    "symbol": [symbol(text) for text in TEXTS],
    "javascriptWithScope": [
        code_with_scope(""),
        code_with_scope("f()", ("a", int64(1)), ("b", obj(("c", double(0.5))))),
        code_with_scope("f", ("$oid", string("x")), ("a", obj(("$text", int32(1))))),
        code_with_scope(b"\0\xff", ("a", oid(b"\1" * 12))),
    ],
    "int": [int32(each) for each in (0, 1, -1, 9999, 10000, 2**31 - 1, -(2**31))],
    "timestamp": [
        timestamp(*each)
        for each in ((0, 0), (1, 2), (2**32 - 1, 999_999), (1, 10**6), (0, 2**32 - 1))
    ],
    "long": [int64(each) for each in INT64S],
    "decimal": [
        *map(decimal, DECIMALS),
        decimal_bits(0x7E << 120),
        decimal_bits(0xFC << 120 | 5),
        decimal_bits(0x3040 << 112 | 10**34),
        decimal_bits(0x3040 << 112 | 10**34 - 1),
        decimal_bits(0xB040 << 112 | (1 << 113) - 1),
        decimal_bits(0x6C11 << 112 | 7),
        decimal_bits(0xEC11 << 112 | 7),
    ],
    "minKey": [min_key()],
    "maxKey": [max_key()],
}
COLUMN_TYPES = (
    "boolean",
    "integer",
    "bigint",
    "double precision",
    "numeric",
    "text",
    "uuid",
    "bytea",
    "timestamptz",
    "jsonb",
    "json",
    "jsontext",
)
