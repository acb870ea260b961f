"""Lengths that lie, text that is not text, nesting without end."""

from __future__ import annotations

import struct

from tests.core.build import (
    Raw,
    array,
    code,
    code_with_scope,
    db_pointer,
    int32,
    obj,
    regex,
    string,
    wrap,
)

from .hazard import (
    AT_0,
    AT_V,
    DEPTH,
    INNER,
    LEGACY,
    LENGTHS,
    LEVELS,
    SCOPE,
    SHORT,
    SOUND,
    STRINGS,
    TOO_DEEP,
    UTF8,
    Hazard,
    Refused,
    Row,
    lying,
    mixed,
    mixed_json,
    nested,
    nested_json,
    unfit,
    with_id,
)

BROKEN: list[Hazard] = [
    Hazard(LENGTHS, "no bytes at all", b"", "text", AT_0),
    Hazard(LENGTHS, "0", struct.pack("<i", 0) + SOUND[4:], "text", AT_0),
    Hazard(LENGTHS, "4", b"\4\0\0\0", "text", AT_0),
    Hazard(LENGTHS, "-1", struct.pack("<i", -1) + SOUND[4:], "text", AT_0),
    Hazard(LENGTHS, "2^31 - 1", b"\xff\xff\xff\x7f" + SOUND[4:], "text", AT_0),
    Hazard(LENGTHS, "one more than the bytes", SOUND[:-1], "text", AT_0),
    Hazard(LENGTHS, "one less than the bytes", SOUND + b"\0", "text", AT_0),
    Hazard(LENGTHS, "no NUL at the end", SOUND[:-1] + b"\1", "text", AT_0),
    *(
        Hazard(STRINGS, f"{length} ({name})", lying(value, length), "text", AT_V)
        for name, value in (
            ("string", string("x")),
            ("code", code("x")),
            ("symbol", Raw(0x0E, string("x")[1])),
        )
        for length in (0, -1, -(2**31), 1, 3, 2**31 - 1)
    ),
    Hazard(STRINGS, "no NUL at its end", Raw(2, b"\2\0\0\0xy"), "text", AT_V),
    Hazard(STRINGS, "U+0000 inside", string(b"a\0b"), "text", unfit("YQBi")),
    Hazard(
        STRINGS,
        "U+0000 inside, within jsonb",
        obj(("a", string(b"a\0b"))),
        "jsonb",
        Row('{"a":{"$text":{"base64":"YQBi"}}}'),
    ),
    *(
        Hazard(UTF8, name, string(data), "text", unfit(base64))
        for name, data, base64 in (
            ("a lone byte E9", b"\xe9", "6Q=="),
            ("overlong", b"\xc0\x80", "wIA="),
            ("a surrogate", b"\xed\xa0\x80", "7aCA"),
            ("above U+10FFFF", b"\xf4\x90\x80\x80", "9JCAgA=="),
            ("a sequence cut by the end", b"a\xe2\x98", "YeKY"),
        )
    ),
    Hazard(UTF8, "in a field name", with_id((b"v\xff", int32(1))), "text", AT_V),
    Hazard(
        UTF8,
        "in the pattern of a regex",
        regex(b"\xff", b"i"),
        "jsonb",
        Row(
            '{"$regularExpression":{"pattern":{"$text":{"base64":"/w=="}},'
            '"options":"i"}}'
        ),
    ),
    Hazard(INNER, "4", lying(obj(), 4), "jsonb", AT_V),
    Hazard(INNER, "past its parent by one", lying(obj(), 6), "jsonb", AT_V),
    Hazard(INNER, "2^31 - 1 (array)", lying(array(), 2**31 - 1), "jsonb", AT_V),
    Hazard(INNER, "-1 (array)", lying(array(), -1), "jsonb", AT_V),
    Hazard(INNER, "no NUL at its end", Raw(3, b"\5\0\0\0\1"), "jsonb", AT_V),
    Hazard(
        INNER,
        "a string in it passes its end",
        obj(("a", lying(string("x"), 9))),
        "jsonb",
        Refused("corrupt", 20),
    ),
    Hazard(
        INNER,
        "broken, under a name that comes again",
        with_id(("v", obj(("a", Raw(8, b"\2")))), ("v", int32(1))),
        "jsonb",
        Refused("corrupt", 20),
    ),
    *(
        Hazard(
            DEPTH,
            f"{depth} {kind}",
            nested(kind, depth),
            "jsonb",
            Row(nested_json(kind, depth)),
        )
        for kind in LEVELS
        for depth in (100, 180, 200)
    ),
    Hazard(DEPTH, "201 documents", nested("documents", 201), "jsonb", TOO_DEEP),
    Hazard(DEPTH, "201 arrays", nested("arrays", 201), "jsonb", TOO_DEEP),
    Hazard(
        DEPTH, "201 scopes", nested("scopes", 201), "jsonb", Refused("corrupt", 3209)
    ),
    Hazard(DEPTH, "100,000 documents", nested("documents", 100_000), "jsonb", TOO_DEEP),
    Hazard(DEPTH, "100,000 arrays", nested("arrays", 100_000), "jsonb", TOO_DEEP),
    Hazard(
        *(DEPTH, "100,000 scopes", nested("scopes", 100_000), "jsonb"),
        Refused("corrupt", 3209),
    ),
    Hazard(DEPTH, "200 of all three", mixed(200), "jsonb", Row(mixed_json(200))),
    Hazard(DEPTH, "201 of all three", mixed(201), "jsonb", Refused("corrupt", 2003)),
    *(
        Hazard(SCOPE, case, Raw(15, data), "jsonb", AT_V)
        for case, data in (
            ("length 0", lying(code_with_scope("f"), 0)[1]),
            ("length -1", lying(code_with_scope("f"), -1)[1]),
            ("length one too short", lying(code_with_scope("f"), 14)[1]),
            ("length one too long", lying(code_with_scope("f"), 16)[1]),
            ("code fills it", b"\x0f\0\0\0\7\0\0\0abcdef\0"),
            ("scope ends early", b"\x10\0\0\0\2\0\0\0f\0\5\0\0\0\0\0"),
            ("scope of length 4", b"\x0f\0\0\0\2\0\0\0f\0\4\0\0\0\0"),
        )
    ),
    Hazard(
        SCOPE,
        "a broken value in its scope",
        code_with_scope("f", ("a", Raw(8, b"\2"))),
        "jsonb",
        Refused("corrupt", 30),
    ),
    Hazard(
        SHORT,
        "DBPointer, string too long",
        lying(db_pointer("c", LEGACY[:12]), 20),
        "jsonb",
        AT_V,
    ),
    Hazard(
        SHORT, "DBPointer, 11 bytes of id", db_pointer("c", LEGACY[:11]), "jsonb", AT_V
    ),
    Hazard(SHORT, "bool 2", Raw(8, b"\2"), "boolean", AT_V),
    Hazard(SHORT, "bool -1", Raw(8, b"\xff"), "boolean", AT_V),
    *(
        Hazard(SHORT, f"{name} of {size} bytes", Raw(type_, bytes(size)), "jsonb", AT_V)
        for name, type_, size in (
            ("double", 1, 7),
            ("ObjectId", 7, 11),
            ("bool", 8, 0),
            ("date", 9, 7),
            ("int32", 16, 3),
            ("timestamp", 17, 7),
            ("int64", 18, 7),
            ("decimal128", 19, 15),
        )
    ),
    *(
        Hazard(SHORT, f"type byte 0x{type_:02x}", Raw(type_, bytes(8)), "jsonb", AT_V)
        for type_ in (0x00, 0x14, 0x7E, 0x80, 0xFE)
    ),
    Hazard(
        SHORT,
        "a name without its NUL",
        wrap(b"\x10_id\0\1\0\0\0\x0avvv"),
        "jsonb",
        AT_V,
    ),
    Hazard(
        SHORT,
        "NUL inside a name: the name ends there, its rest is read as the value",
        wrap(b"\x10_id\0\1\0\0\0\x10v\0w\0\0\0"),
        "integer",
        Row("119"),
    ),
    Hazard(SHORT, "regex without its options", Raw(11, b"a\0i"), "jsonb", AT_V),
]
