"""The cluster time in a resume token, against tokens that a server made."""

from __future__ import annotations

import bson
import pytest

from cartridge_warp.errors import SourceError
from cartridge_warp.mongodb import token

#: A token of no event, as MongoDB 6.0 writes it: only time, version and kind.
HIGH_WATER = "8264B0C6D5000000072B0429296E1404"


def test_the_time_is_the_seconds_and_the_increment() -> None:
    raw = bson.encode({"_data": HIGH_WATER})
    assert token.cluster_time(raw) == (0x64B0C6D5 << 32) | 7
    assert token.position(raw).token == raw


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
