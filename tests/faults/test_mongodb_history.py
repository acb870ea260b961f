"""A real oplog that is rolled over: history that is gone is said to be gone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cartridge_warp import embedded
from cartridge_warp.errors import HistoryLost
from cartridge_warp.model import Position
from cartridge_warp.mongodb.source import MongoSource
from mongodb_kit import Client, element, follow, make

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A server whose oplog holds one megabyte, if as much."""
    extra = ("--oplogSize", "1", "--syncdelay", "1")
    with embedded.mongod(own=True, extra_args=extra) as server:
        with Client(server.uri) as made:
            yield made


@pytest.fixture
def source(client: Client) -> Iterator[MongoSource]:
    (host, port) = client.address or ("", 0)
    client["shop"].c.insert_one({"_id": "before"})
    made = make(f"mongodb://{host}:{port}/?replicaSet=rs0", "shop", change_batch_size=5)
    yield made
    made.close()
    client.drop_database("shop")


def roll_over(client: Client, source: MongoSource) -> None:
    """Write until nothing of what is in the oplog now is there any more."""
    now = source.newest_time()
    for _ in range(600):
        client["other"].c.insert_one({"text": "x" * 500_000})
        oldest = source.oldest_time()
        if oldest is not None and oldest > now:
            client.drop_database("other")
            return
    raise AssertionError("the oplog keeps everything")


@pytest.mark.parametrize("stream", [True, False], ids=["token", "time"])
def test_a_position_that_is_gone(
    client: Client, source: MongoSource, stream: bool
) -> None:
    begin = source.position_now()
    if not stream:
        begin = Position(begin.token, begin.cluster_time)
    roll_over(client, source)
    with pytest.raises(HistoryLost, match="286") as raised:
        source.changes(begin)
    assert "oplog" in raised.value.hint


def test_a_cursor_that_fell_behind(client: Client, source: MongoSource) -> None:
    client["shop"].c.insert_many([{"_id": number} for number in range(20)])
    begin = source.position_now()
    client["shop"].c.insert_many([{"_id": number} for number in range(20, 60)])
    changes = source.changes(begin)
    changes.read()
    roll_over(client, source)
    with pytest.raises(HistoryLost, match="286"):
        follow(changes, lambda seen: len(seen) >= 40)
    changes.close()


def test_a_stream_that_is_read_never_falls_behind(
    client: Client, source: MongoSource
) -> None:
    changes = source.changes(source.position_now())
    for _ in range(2):
        now = source.newest_time()
        while (source.oldest_time() or 0) <= now:
            client["other"].c.insert_one({"text": "x" * 500_000})
            changes.read()
    client["shop"].c.insert_one({"_id": "after"})
    assert follow(changes, bool)[-1].key == element("after")
    changes.close()
    client.drop_database("other")
