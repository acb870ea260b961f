"""A replica set that loses its primary: the stream and the chunks lose nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymongo.errors import DuplicateKeyError, PyMongoError
from pymongo.write_concern import WriteConcern

from cartridge_warp import embedded
from cartridge_warp.errors import SourceError
from cartridge_warp.mongodb.source import MongoSource
from mongodb_kit import EVERYTHING, Client, Reader, element, ids, make, reading

pytestmark = [pytest.mark.faults, pytest.mark.slow]

DATABASE = "shop"


@pytest.fixture(scope="module")
def replica_set() -> Iterator[embedded.ReplicaSet]:
    with embedded.replica_set() as made:
        yield made


@pytest.fixture
def client(replica_set: embedded.ReplicaSet) -> Iterator[Client]:
    with Client(replica_set.uri, serverSelectionTimeoutMS=20_000) as made:
        made[DATABASE].c.insert_one({"_id": "before"})
        yield made
        made.drop_database(DATABASE)


@pytest.fixture
def source(replica_set: embedded.ReplicaSet, client: Client) -> Iterator[MongoSource]:
    made = make(replica_set.uri, DATABASE, connection_timeout=5)
    yield made
    made.close()


class Writer:
    """Inserts a document and changes it, again and again, each exactly once.

    A write whose outcome is unknown is sent again until it is there: a second insert
    is refused, and a change to what is there already is none.
    """

    def __init__(self, client: Client) -> None:
        self._collection = client[DATABASE].c
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self.written: list[tuple[str, bytes]] = []

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _write(self) -> None:
        number = 0
        while not self._stop.is_set():
            key, changed = {"_id": number}, {"$set": {"v": number}}
            self._surely(lambda key=key: self._collection.insert_one(dict(key)))
            self._surely(lambda k=key, c=changed: self._collection.update_one(k, c))
            self.written.append(("insert", element(number)))
            self.written.append(("update", element(number)))
            number += 1
            time.sleep(0.002)

    def _surely(self, write: Callable[[], object]) -> None:
        while True:
            try:
                write()
            except DuplicateKeyError:
                return
            except PyMongoError:
                time.sleep(0.1)
            else:
                return


def read_while(
    source: MongoSource, client: Client, fault: Callable[[], None]
) -> tuple[Reader, list[tuple[str, bytes]]]:
    """Read the stream while the fault happens and things are written all along."""
    reader = Reader(source)
    done = threading.Event()

    def happen() -> None:
        try:
            time.sleep(1)
            fault()
            time.sleep(1)
        finally:
            done.set()

    happening = threading.Thread(target=happen)
    with Writer(client) as writer:
        happening.start()
        while not done.is_set():
            reader.read()
        happening.join()
    reader.until(len(writer.written))
    reader.close()
    return reader, writer.written


def same(reader: Reader, written: list[tuple[str, bytes]]) -> None:
    assert [(each.operation, each.key) for each in reader.events] == written
    assert len(written) > 200


def test_a_primary_that_steps_down_every_few_seconds(
    replica_set: embedded.ReplicaSet, client: Client, source: MongoSource
) -> None:
    leaders = []

    def step_down() -> None:
        for _ in range(4):
            leader = replica_set.primary()
            leaders.append(leader)
            leader.ask({"replSetStepDown": 5, "force": True})
            time.sleep(3)

    same(*read_while(source, client, step_down))
    assert len(set(leaders)) > 1


def test_a_primary_that_is_killed(
    replica_set: embedded.ReplicaSet, client: Client, source: MongoSource
) -> None:
    def kill() -> None:
        for _ in range(2):
            leader = replica_set.primary()
            leader.kill()
            assert replica_set.primary() is not leader
            leader.start()
            time.sleep(3)

    same(*read_while(source, client, kill))


def test_a_primary_that_is_frozen_and_wakes_up(
    replica_set: embedded.ReplicaSet, client: Client, source: MongoSource
) -> None:
    def freeze() -> None:
        leader = replica_set.primary()
        leader.pause()
        time.sleep(15)
        leader.resume()
        time.sleep(3)

    same(*read_while(source, client, freeze))


def set_election_timeout(replica_set: embedded.ReplicaSet, milliseconds: int) -> None:
    def reconfigured() -> bool:
        leader = replica_set.primary()
        config = leader.ask({"replSetGetConfig": 1})["config"]
        config["version"] += 1
        config["settings"]["electionTimeoutMillis"] = milliseconds
        return bool(leader.ask({"replSetReconfig": config})["ok"])

    # Refused while a member that was away comes back.
    wait_for(reconfigured)


@pytest.fixture
def stable(replica_set: embedded.ReplicaSet) -> Iterator[None]:
    """No election that was not asked for, also where members say little."""
    set_election_timeout(replica_set, 10_000)
    yield
    set_election_timeout(replica_set, 1000)


@pytest.mark.usefixtures("stable")
def test_what_is_rolled_back_is_never_seen(
    replica_set: embedded.ReplicaSet, client: Client, source: MongoSource
) -> None:
    reader = Reader(source)
    leader, others = replica_set.primary(), replica_set.secondaries()
    for other in others:
        other.ask({"configureFailPoint": "stopReplProducer", "mode": "alwaysOn"})
    try:
        with leader.client() as alone:
            careless = alone[DATABASE].get_collection(
                "c", write_concern=WriteConcern(w=1)
            )
            for number in range(50):
                careless.insert_one({"_id": f"rolled back {number}"})
            assert careless.count_documents({}) == 51
        for _ in range(3):
            assert reader.read() == 0
        assert ids(source.snapshot("c", EVERYTHING, 0)) == [element("before")]
        # A chunk that has to hold them waits until it is known whether they stay.
        seen: list[object] = []
        waiting = threading.Thread(target=read_or_fail, args=(source, seen))
        waiting.start()
        assert reader.read() == 0
        leader.kill()
    finally:
        for other in others:
            other.ask({"configureFailPoint": "stopReplProducer", "mode": "off"})
    wait_for(lambda: bool(others[0].ask({"replSetStepUp": 1})["ok"]))
    assert replica_set.primary() is not leader
    waiting.join()
    assert seen in (["try again"], [[element("before")]])
    client[DATABASE].c.insert_one({"_id": "after"})
    assert ids(reading(source, "c")) == [element("after"), element("before")]
    reader.until(1)
    leader.start()
    client[DATABASE].c.insert_one({"_id": "last"})
    reader.until(2)
    reader.close()
    assert [each.key for each in reader.events] == [element("after"), element("last")]
    # It was a real rollback: who was the leader has taken them back.
    wait_for(lambda: count_at(leader) == 3)


def read_or_fail(source: MongoSource, seen: list[object]) -> None:
    try:
        seen.append(ids(reading(source, "c")))
    except SourceError as error:
        seen.append("try again" if error.retryable else error)


def count_at(member: embedded.Member) -> int:
    with member.client() as alone:
        return alone[DATABASE].c.count_documents({})


def wait_for(true: Callable[[], bool]) -> None:
    for _ in range(300):
        try:
            if true():
                return
        except PyMongoError:
            pass
        time.sleep(0.1)
    raise AssertionError("it never came to that")


def test_a_secondary_that_lags_is_waited_for(
    replica_set: embedded.ReplicaSet, client: Client, source: MongoSource
) -> None:
    lagging = replica_set.secondaries()[0]
    uri = f"mongodb://{lagging.host}/?directConnection=true"
    behind = make(uri, DATABASE, read_preference="secondary")
    c = client[DATABASE].get_collection("c", write_concern=WriteConcern(w="majority"))
    fail_point: dict[str, Any] = {"configureFailPoint": "rsSyncApplyStop"}
    c.with_options(write_concern=WriteConcern(w=3)).insert_one({"_id": 0})
    lagging.ask({**fail_point, "mode": "alwaysOn"})
    try:
        # The batch that it is in the middle of may still pass.
        time.sleep(1)
        c.insert_many([{"_id": number} for number in range(1, 2000)])
        after = source.newest_time()
        assert len(ids(behind.snapshot("c", EVERYTHING, 0))) < 2001
        found: list[list[bytes | None]] = []
        waiting = threading.Thread(
            target=lambda: found.append(ids(behind.snapshot("c", EVERYTHING, after)))
        )
        waiting.start()
        time.sleep(1)
        assert not found
    finally:
        lagging.ask({**fail_point, "mode": "off"})
    waiting.join()
    assert len(found[0]) == 2001
    keys = [element(number) for number in range(0, 2000, 500)]
    (reply,) = behind.lookup("c", keys, source.newest_time())
    assert len(reply) == len(keys)
    behind.close()
