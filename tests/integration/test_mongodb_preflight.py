"""What MongoDB has to offer before a sync starts; each fault with its way out."""

from __future__ import annotations

import secrets
import time
from typing import Any

import pytest
from pymongo.database import Database

from cartridge_warp.errors import ConfigError, PreconditionError
from mongodb_kit import Client, failing, make, reading

Mongo = Database[dict[str, Any]]


def refused(uri: str, database: str = "shop") -> PreconditionError:
    source = make(uri, database, connection_timeout=2)
    with pytest.raises(PreconditionError) as raised:
        source.validate()
    source.close()
    assert raised.value.hint
    return raised.value


def test_a_replica_set_is_known_by_its_own_id(
    mongo_db: Mongo, mongo_client: Client, mongo_uri: str
) -> None:
    mongo_db.c.insert_one({})
    source = make(mongo_uri, mongo_db.name)
    identity = source.validate()
    config = mongo_client.admin.command("replSetGetConfig")["config"]
    assert identity.replica_set_id == str(config["settings"]["replicaSetId"])
    assert identity.version == mongo_client.server_info()["version"]
    assert source.validate() == identity
    source.close()


def test_without_the_right_to_its_id_by_its_hosts(
    mongo_db: Mongo, mongo_client: Client, mongo_uri: str
) -> None:
    mongo_db.c.insert_one({})
    source = make(mongo_uri, mongo_db.name)
    broken = {"failCommands": ["replSetGetConfig"], "errorCode": 13}
    with failing(mongo_client, {"times": 2}, **broken):
        identity = source.validate()
        assert source.validate() == identity
    source.close()
    name, _, digest = identity.replica_set_id.partition("/")
    assert name == "rs0"
    assert len(digest) == 24


def test_a_standalone_is_refused(standalone_db: Mongo, standalone_uri: str) -> None:
    standalone_db.c.insert_one({})
    error = refused(standalone_uri, standalone_db.name)
    assert "standalone" in str(error)
    assert "rs.initiate()" in error.hint
    assert "batch mode" in error.hint


def test_nobody_there_is_said_within_the_timeout() -> None:
    started = time.monotonic()
    error = refused("mongodb://user:sesame@127.0.0.1:1/?replicaSet=rs0")
    assert time.monotonic() - started < 10
    assert "127.0.0.1:1" in str(error)
    assert "sesame" not in str(error) + error.hint


def test_a_wrong_password_is_refused(mongo_uri: str) -> None:
    uri = mongo_uri.replace("mongodb://", "mongodb://nobody:sesame@")
    error = refused(uri)
    assert "credentials" in str(error)
    assert "sesame" not in str(error) + error.hint


def test_who_gives_no_credentials_is_asked_for_them(
    mongo_db: Mongo, mongo_client: Client, mongo_uri: str
) -> None:
    mongo_db.c.insert_one({})
    broken = {"failCommands": ["aggregate"], "errorCode": 13}
    with failing(mongo_client, {"times": 1}, **broken):
        error = refused(mongo_uri, mongo_db.name)
    assert "names no user" in str(error)
    assert "mongodb://USER:PASSWORD@HOST" in error.hint


def test_a_database_that_is_not_there_is_refused(mongo_uri: str) -> None:
    name = f"absent_{secrets.token_hex(4)}"
    assert name in str(refused(mongo_uri, name))


@pytest.mark.parametrize("uri", ["mongodb://u:ses@me@h:1/", "mongodb://h:port/"])
def test_an_uri_that_cannot_be_read_is_an_error_of_the_configuration(uri: str) -> None:
    with pytest.raises(ConfigError) as raised:
        make(uri, "shop")
    assert "ses@me" not in str(raised.value) + raised.value.hint


@pytest.mark.parametrize("preference", ["secondaryPreferred", "nearest"])
def test_the_read_preference_is_sent(
    mongo_db: Mongo, mongo_uri: str, preference: str
) -> None:
    mongo_db.c.insert_many([{"_id": number} for number in range(2000)])
    source = make(mongo_uri, mongo_db.name, read_preference=preference)
    (chunk,) = source.plan_chunks("c")
    assert sum(map(len, reading(source, "c", chunk))) == 2000
    source.close()


def test_the_oldest_time_of_the_oplog(mongo_client: Client, mongo_uri: str) -> None:
    source = make(mongo_uri, "shop")
    (first,) = mongo_client["local"]["oplog.rs"].find().sort("$natural", 1).limit(1)
    assert source.oldest_time() == first["ts"].time << 32 | first["ts"].inc
    broken = {"failCommands": ["find"], "errorCode": 13}
    with failing(mongo_client, {"times": 1}, **broken):
        assert source.oldest_time() is None
    # Whoever may not read it is not asked again, every few seconds, for ever.
    assert source.oldest_time() is None
    source.close()
