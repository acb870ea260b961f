"""The cluster time in a resume token, against tokens that a server made."""

from __future__ import annotations

import bson
import pytest

from cartridge_warp.errors import SourceError
from cartridge_warp.model import Position
from cartridge_warp.mongodb import token

#: A token of no event, as MongoDB 6.0 writes it: only time, version and kind.
HIGH_WATER = "8264B0C6D5000000072B0429296E1404"


def test_the_time_is_the_seconds_and_the_increment() -> None:
    raw = bson.encode({"_data": HIGH_WATER})
    assert token.cluster_time(raw) == (0x64B0C6D5 << 32) | 7
    assert token.position(raw, "kind") == Position(raw, (0x64B0C6D5 << 32) | 7, "kind")


def test_times_past_2038_are_not_negative() -> None:
    raw = bson.encode({"_data": "82FFFFFFFFFFFFFFFF"})
    assert token.cluster_time(raw) == 2**64 - 1


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x05\0\0\0",
        bson.encode({}),
        bson.encode({"_data": 1}),
        bson.encode({"_data": ""}),
        bson.encode({"_data": "zz"}),
        bson.encode({"_data": "8264B0"}),
        bson.encode({"_data": "29" + HIGH_WATER[2:]}),
        bson.encode({"_data": bytes.fromhex(HIGH_WATER)}),
    ],
)
def test_anything_else_is_refused(raw: bytes) -> None:
    with pytest.raises(SourceError, match="form that is not known"):
        token.cluster_time(raw)
    with pytest.raises(SourceError, match="form that is not known"):
        token.order(raw)


def of_event(version: str, place: str) -> bytes:
    """The token of an event: place is its number inside the transaction."""
    data = (
        f"8264B0C6D500000007{version}2C0100{place}6E5A1004{'AB' * 16}461E5F696400290004"
    )
    return bson.encode({"_data": data})


def test_the_order_is_that_of_time_then_place() -> None:
    none = bson.encode({"_data": HIGH_WATER})
    later = bson.encode({"_data": "8264B0C6D5000000082B0229296E04"})
    places = ["29", "2B02", "2B7E", "2C0100", "2C0258"]
    tokens = [none, *(of_event("2B02", each) for each in places), later]
    assert sorted([*tokens[3:], *tokens[:3]], key=token.order) == tokens


def test_a_later_version_is_not_a_later_place() -> None:
    earlier, later = of_event("2B04", "2B02"), of_event("2B02", "2B04")
    assert token.order(earlier) < token.order(later)
