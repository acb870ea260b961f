"""Which lane an event belongs to: the same for a key, whatever its spelling."""

from __future__ import annotations

import pytest
from bson import Decimal128, Int64, ObjectId

from cartridge_warp.config import SchemaSettings
from cartridge_warp.config.model import TableSettings
from cartridge_warp.engine.lanes import lane_chooser
from change_events import event, parsed
from cwarp_core import ChangeEvent


def settings(**streams: int) -> SchemaSettings:
    """``max_parallel_streams`` of some tables; ``others`` is that of the rest."""
    return SchemaSettings(
        name="shop",
        database="shop",
        tables=tuple(
            TableSettings(name=name, max_parallel_streams=number)
            for name, number in streams.items()
            if name != "others"
        ),
        defaults=TableSettings(name="*", max_parallel_streams=streams.get("others", 1)),
    )


def events(*keys: object, collection: str = "orders") -> list[ChangeEvent]:
    return parsed(*(event("delete", 1, key, collection=collection) for key in keys))


def test_a_schema_has_the_lanes_of_its_most_parallel_table() -> None:
    assert settings().lanes == 1
    assert settings(orders=3).lanes == 3
    assert settings(orders=2, others=4).lanes == 4


def test_keys_are_spread_over_the_lanes_of_their_table() -> None:
    choose = lane_chooser(settings(orders=3, others=4), 4)
    lanes = [choose(each) for each in events(*(ObjectId() for _ in range(400)))]
    assert len(set(lanes)) == 3
    assert min(map(lanes.count, set(lanes))) > 60


def test_a_table_of_one_stream_keeps_to_one_lane() -> None:
    choose = lane_chooser(settings(orders=4), 4)
    others = events(*range(100), collection="items")
    assert len({choose(each) for each in others}) == 1


@pytest.mark.parametrize(
    "same",
    [
        (1, Int64(1), 1.0, Decimal128("1.00")),
        ({"a": 1, "b": 2.0}, {"a": 1.0, "b": 2}),
        (0.0, -0.0),
    ],
)
def test_equal_keys_are_in_one_lane(same: tuple[object, ...]) -> None:
    choose = lane_chooser(settings(others=64), 64)
    assert len({choose(each) for each in events(*same)}) == 1


def test_an_event_without_a_key_has_a_lane() -> None:
    choose = lane_chooser(settings(others=4), 4)
    (without,) = parsed(event("delete", 1))
    assert choose(without) in range(4)
