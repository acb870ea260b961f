"""Values that tell a time, and back."""

from __future__ import annotations

import bson
import pytest
from bson import ObjectId, Timestamp
from bson.datetime_ms import DatetimeMS

from cartridge_warp.mongodb import moments


@pytest.mark.parametrize(
    ("value", "kind", "time"),
    [
        (DatetimeMS(1_700_000_000_123), "date", 1_700_000_000_123),
        (DatetimeMS(-1), "date", -1),
        (DatetimeMS(2**62), "date", 2**62),
        (Timestamp(1_700_000_000, 9), "timestamp", 1_700_000_000_000),
        (ObjectId("6553f1000000000000000000"), "objectId", 1_700_000_000_000),
        (ObjectId("ffffffff0000000000000000"), "objectId", (2**32 - 1) * 1000),
    ],
)
def test_a_time_is_read(value: object, kind: str, time: int) -> None:
    assert moments.kind_of(value) == kind
    assert moments.time_of(value) == time


@pytest.mark.parametrize("value", ["2024-01-01", 5, None, [DatetimeMS(1)], b"x" * 12])
def test_other_values_tell_none(value: object) -> None:
    assert moments.kind_of(value) is None
    with pytest.raises(TypeError):
        moments.time_of(value)


@pytest.mark.parametrize("kind", moments.KINDS)
def test_the_value_of_a_time_is_the_first_of_it(kind: str) -> None:
    value = moments.at(kind, 1_700_000_000_000)
    assert moments.kind_of(value) == kind
    assert moments.time_of(value) == 1_700_000_000_000
    bson.encode({"v": value})


@pytest.mark.parametrize("kind", moments.KINDS)
@pytest.mark.parametrize("time", [-(10**30), -1, 0, 2**40, 10**15])
def test_a_time_that_a_kind_has_not_is_the_nearest(kind: str, time: int) -> None:
    value = moments.at(kind, time)
    assert moments.kind_of(value) == kind
    assert moments.time_of(value) <= max(time, 0)
    bson.encode({"v": value})


def test_the_lowest_of_each_kind_is_of_it() -> None:
    for kind, value in moments.LOWEST.items():
        assert moments.kind_of(value) == kind
        bson.encode({"v": value})
