"""The whole product on a replica set that loses its primary, in every way there is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymongo.database import Database
from pymongo.errors import PyMongoError
from pymongo.write_concern import WriteConcern

import totals
from cartridge_warp import embedded
from command import PASSWORD
from kit import MONGO_USER, SCHEMA, Scene, wait_until
from mongodb_kit import Client
from syncing import Sync

pytestmark = [pytest.mark.faults, pytest.mark.slow]


@pytest.fixture(scope="module")
def replica_set() -> Iterator[embedded.ReplicaSet]:
    with embedded.replica_set() as made:
        yield made


@pytest.fixture(scope="module")
def mongo_client(replica_set: embedded.ReplicaSet) -> Iterator[Client]:
    with Client(
        replica_set.uri,
        serverSelectionTimeoutMS=20_000,
        tz_aware=True,
        uuidRepresentation="standard",
    ) as client:
        yield client


@pytest.fixture
def mongo_uri(replica_set: embedded.ReplicaSet) -> str:
    return replica_set.uri


@pytest.fixture(scope="module")
def mongo_user(mongo_client: Client) -> str:
    mongo_client.admin.command("createUser", MONGO_USER, pwd=PASSWORD, roles=["root"])
    return MONGO_USER


@pytest.fixture
def mongo_db(mongo_client: Client) -> Iterator[Database[dict[str, Any]]]:
    """Writes are acknowledged by a majority: an election takes none of them back."""
    database = mongo_client.get_database(
        "failover", write_concern=WriteConcern(w="majority", wtimeout=20_000)
    )
    yield database
    mongo_client.drop_database(database)


def step_down(replica_set: embedded.ReplicaSet) -> None:
    for _ in range(3):
        replica_set.primary().ask({"replSetStepDown": 5, "force": True})
        totals.count("elections", "step down")
        time.sleep(3)


def kill(replica_set: embedded.ReplicaSet) -> None:
    for _ in range(2):
        leader = replica_set.primary()
        leader.kill()
        totals.count("servers killed", "mongod")
        assert replica_set.primary() is not leader
        totals.count("elections", "kill -9")
        time.sleep(1)
        leader.start()
        time.sleep(3)


def freeze(replica_set: embedded.ReplicaSet) -> None:
    leader = replica_set.primary()
    leader.pause()
    try:
        time.sleep(12)
    finally:
        leader.resume()
    totals.count("elections", "SIGSTOP")
    time.sleep(2)


@pytest.mark.parametrize("fault", [step_down, kill, freeze])
@pytest.mark.parametrize("phase", ["copy", "stream"])
def test_the_primary_is_lost(
    scene: Scene,
    replica_set: embedded.ReplicaSet,
    fault: Callable[[embedded.ReplicaSet], None],
    phase: str,
) -> None:
    sync = started(scene, phase)
    with scene.writers.writing(through=PyMongoError):
        fault(replica_set)
    scene.recovers(sync)


def started(scene: Scene, phase: str) -> Sync:
    scene.writers.fill(4000 if phase == "copy" else 200)
    sync = scene.start()
    if phase == "copy":
        wait_until(lambda: scene.has_table("items"), "the copy begins", pause=0.01)
    else:
        scene.streaming()
    return sync


@pytest.fixture
def stable(replica_set: embedded.ReplicaSet) -> Iterator[None]:
    """No election that was not asked for, also where members say little."""
    set_election_timeout(replica_set, 10_000)
    yield
    set_election_timeout(replica_set, 1000)


def set_election_timeout(replica_set: embedded.ReplicaSet, milliseconds: int) -> None:
    def reconfigured() -> bool:
        leader = replica_set.primary()
        config = leader.ask({"replSetGetConfig": 1})["config"]
        config["version"] += 1
        config["settings"]["electionTimeoutMillis"] = milliseconds
        return bool(leader.ask({"replSetReconfig": config})["ok"])

    # Refused while a member that was away comes back.
    comes(reconfigured, "the set is configured")


def comes(true: Callable[[], bool], what: str) -> None:
    def tried() -> bool:
        try:
            return true()
        except PyMongoError:
            return False

    wait_until(tried, what)


@pytest.mark.usefixtures("stable")
@pytest.mark.parametrize("phase", ["copy", "stream"])
def test_what_is_rolled_back_is_never_a_row(
    scene: Scene, replica_set: embedded.ReplicaSet, phase: str
) -> None:
    scene.writers.fill(200)
    scene.db["careless"].insert_one({"_id": "safe", "n": 0})
    if phase == "stream":
        sync = scene.start()
        scene.streaming()
    leader, others = replica_set.primary(), replica_set.secondaries()
    fail_point: dict[str, Any] = {"configureFailPoint": "stopReplProducer"}
    for other in others:
        other.ask({**fail_point, "mode": "alwaysOn"})
    try:
        with leader.client() as alone:
            careless = alone[scene.db.name].get_collection(
                "careless", write_concern=WriteConcern(w=1)
            )
            careless.insert_many([{"_id": f"lost {n}", "n": n} for n in range(50)])
            careless.update_one({"_id": "safe"}, {"$set": {"n": 1}})
        if phase == "copy":
            sync = scene.start()
        time.sleep(4)
        assert sync.code() is None, sync.tail()
        leader.kill()
    finally:
        for other in others:
            other.ask({**fail_point, "mode": "off"})
    comes(lambda: bool(others[0].ask({"replSetStepUp": 1})["ok"]), "another leads")
    totals.count("elections", "rollback")
    scene.db["careless"].insert_one({"_id": "after", "n": 2})
    leader.start()
    scene.catches_up()
    query = f"SELECT _id, n FROM {SCHEMA}.careless ORDER BY _id"
    assert scene.rows(query) == [("after", 2), ("safe", 0)]
    scene.recovers(sync)
