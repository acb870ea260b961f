"""Numbers: exact values, their texts, and PostgreSQL's binary ``numeric``.

``numeric_send``/``numeric_recv`` in PostgreSQL's numeric.c give the wire form: int16
digit count, weight, sign, display scale, then base-10000 digits.
"""

from __future__ import annotations

import struct
from decimal import Decimal
from fractions import Fraction

from .walk import Value

NUMBERS = frozenset({"int", "long", "double", "decimal"})
_BIAS = 6176
_LARGEST = 10**34 - 1
_SIGNS = {"NaN": 0xC000, "Infinity": 0xD000, "-Infinity": 0xF000}


def decimal128(raw: bytes) -> Decimal:
    """A decimal128, with coefficient and exponent as stored; every NaN is ``NaN``.

    A coefficient above 34 digits stands for zero (IEEE 754-2008, 3.5.2).
    """
    bits = int.from_bytes(raw, "little")
    sign = bits >> 127
    top = bits >> 122 & 0x1F
    if top == 0x1F:
        return Decimal("NaN")
    if top == 0x1E:
        return Decimal("-Infinity" if sign else "Infinity")
    if top >> 3 == 3:
        coefficient, exponent = 0, bits >> 111 & 0x3FFF
    else:
        coefficient, exponent = bits & (1 << 113) - 1, bits >> 113 & 0x3FFF
    if coefficient > _LARGEST:
        coefficient = 0
    digits = tuple(int(digit) for digit in str(coefficient))
    return Decimal((sign, digits, exponent - _BIAS))


def double(value: Value) -> float:
    return struct.unpack("<d", value.data)[0]


def is_negative_zero(value: Value) -> bool:
    if value.kind == "double":
        return value.data == struct.pack("<d", -0.0)
    if value.kind == "decimal":
        number = decimal128(value.data)
        return number.is_zero() and number.is_signed()
    return False


def double_text(number: float) -> str:
    """Shortest text that reads back as the same finite double.

    Python's repr, but for large numbers without an ``e``, and for small ones with an
    exponent of as few digits as it needs.
    """
    text = repr(number)
    if "e+" in text:
        return f"{Decimal(text):f}.0"
    mantissa, _, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else text


def shortest(number: float) -> Decimal:
    """The shortest decimal that reads back as this double, without needless zeros."""
    return Decimal(repr(number).removesuffix(".0"))


def exact_text(value: Value) -> str:
    """A number by its exact value in plain digits: equal numbers have one text."""
    if value.kind in ("int", "long"):
        return str(value.data)
    if value.kind == "double":
        number = Decimal.from_float(double(value))
    else:
        number = decimal128(value.data)
    if not number.is_finite():
        return str(number).removeprefix("-") if number.is_nan() else str(number)
    if number.is_zero():
        return "0"
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def numeric_cell(number: Decimal) -> bytes:
    """The binary ``numeric`` with this value and its scale; a negative zero is 0."""
    if not number.is_finite():
        return struct.pack(">hhHh", 0, 0, _SIGNS[str(number)], 0)
    sign, _, exponent = number.as_tuple()
    scale = max(0, -exponent)
    places = -(-scale // 4)  # base-10000 digits after the point
    rest = int(abs(Fraction(number)) * 10000**places)
    digits: list[int] = []
    while rest:
        rest, digit = divmod(rest, 10000)
        digits.insert(0, digit)
    weight = len(digits) - 1 - places
    while digits and not digits[-1]:
        digits.pop()
    if not digits:
        return struct.pack(">hhHh", 0, 0, 0, scale)
    head = struct.pack(">hhHh", len(digits), weight, 0x4000 if sign else 0, scale)
    return head + struct.pack(f">{len(digits)}h", *digits)
