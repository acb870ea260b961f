"""The least rights with which the source works, on a server that asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import pytest

from cartridge_warp import embedded
from cartridge_warp.errors import PreconditionError
from mongodb_kit import EVERYTHING, Client, element, follow, ids, make, reading

PASSWORD = "sesame"

#: What the page of the connector says a user needs, and what more it may be given.
ROLES: dict[str, list[object]] = {
    "least": [{"role": "read", "db": "shop"}],
    "identity": [{"role": "read", "db": "shop"}, "readReplicaSetId"],
    "oplog": [{"role": "read", "db": "shop"}, {"role": "read", "db": "local"}],
    "other": [{"role": "read", "db": "elsewhere"}],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of a server that knows these users, and lets in nobody else."""
    key = tmp_path_factory.mktemp("auth") / "key"
    key.write_text("c2VzYW1l" * 8)
    key.chmod(0o600)
    with embedded.mongod(own=True, extra_args=("--keyFile", str(key))) as started:
        with Client(started.uri) as first:
            first.admin.command("createUser", "root", pwd=PASSWORD, roles=["root"])
        with Client(as_user(started.uri, "root")) as root:
            cluster = {"resource": {"cluster": True}, "actions": ["replSetGetConfig"]}
            root.admin.command(
                "createRole", "readReplicaSetId", privileges=[cluster], roles=[]
            )
            for name, roles in ROLES.items():
                root.admin.command("createUser", name, pwd=PASSWORD, roles=roles)
            root["shop"].c.insert_many([{"_id": number} for number in range(5)])
        yield started.uri


def as_user(uri: str, name: str) -> str:
    parts = urlsplit(uri)
    netloc = f"{name}:{PASSWORD}@{parts.netloc}"
    query = f"{parts.query}&authSource=admin"
    return urlunsplit(parts._replace(netloc=netloc, query=query))


@pytest.mark.parametrize("mode", ["lookup", "post_image", "update_lookup"])
def test_read_on_the_database_is_enough(server: str, mode: str) -> None:
    source = make(as_user(server, "least"), "shop", full_document=mode)
    identity = source.validate()
    assert identity.replica_set_id.startswith("rs0/")
    assert "c" in [each.name for each in source.discover()]
    start = source.position_now()
    assert len(ids(source.sample("c", 3))) == 3
    assert source.key_bounds("c") == (element(0), element(4))
    assert source.plan_chunks("c") == [EVERYTHING]
    keys = [element(number) for number in range(5)]
    assert ids(reading(source, "c")) == keys
    assert ids(source.lookup("c", keys, source.newest_time())) == keys
    with Client(as_user(server, "root")) as root:
        root["shop"].d.insert_one({"_id": mode})
        root["shop"].d.update_one({"_id": mode}, {"$set": {"v": 1}})
    changes = source.changes(start)
    seen = follow(changes, lambda seen: bool(seen) and seen[-1].operation == "update")
    assert seen[-1].key == element(mode)
    changes.close()
    assert source.time_now() >= start.cluster_time
    # The oplog itself is closed to it.
    assert source.oldest_time() is None
    source.close()


def test_with_one_action_more_the_cluster_is_known_by_its_id(server: str) -> None:
    source = make(as_user(server, "identity"), "shop")
    identity = source.validate().replica_set_id
    source.close()
    with Client(as_user(server, "root")) as root:
        config = root.admin.command("replSetGetConfig")["config"]
    assert identity == str(config["settings"]["replicaSetId"])


def test_with_read_on_local_the_oplog_is_seen(server: str) -> None:
    source = make(as_user(server, "oplog"), "shop")
    oldest = source.oldest_time()
    assert oldest is not None
    assert oldest <= source.newest_time()
    source.close()


def test_without_the_right_it_says_which(server: str) -> None:
    source = make(as_user(server, "other"), "shop")
    with pytest.raises(PreconditionError, match="may not read") as raised:
        source.validate()
    source.close()
    assert '{role: "read", db: "shop"}' in raised.value.hint
