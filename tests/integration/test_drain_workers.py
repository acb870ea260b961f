"""A worker helps a sync whose destination throws rows away."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from pymongo.database import Database

from cartridge_warp import embedded
from cartridge_warp.config import DestinationSettings, SchemaSettings
from cartridge_warp.conformance.drain import Drain
from cartridge_warp.errors import ConfigError, Fenced, PreconditionError, Unowned
from cartridge_warp.ledger import Ledger
from cartridge_warp.model import (
    ChunkRange,
    Column,
    Position,
    SourceIdentity,
    Table,
)
from command import command, environment

SCHEMA = SchemaSettings(name="shop", database="shop")
IDENTITY = SourceIdentity("rs", "7.0")
TABLE = Table("shop", "orders", "orders", "bigint", (Column("n", ("n",), "bigint"),))

#: More than one chunk.
DOCUMENTS = 120_000


class Clocked(Drain):
    """now: what its clock shows."""

    now = 100.0

    def clock(self) -> float:
        return self.now


def drain(directory: Path, **settings: Any) -> Clocked:
    place = DestinationSettings(type="drain", connection_string=f"drain://{directory}")
    schema = SchemaSettings(name="shop", database="shop", **settings)
    return Clocked(place, schema)


def owned(directory: Path) -> Clocked:
    """Two chunks are planned."""
    owner = drain(directory)
    owner.open(IDENTITY)
    owner.begin(Position(b"\x05\0\0\0\0", 1), 1)
    owner.ensure(TABLE)
    key = b"\x12" + (5).to_bytes(8, "little")
    owner.plan(TABLE, [ChunkRange(None, key), ChunkRange(key, None)])
    return owner


@contextlib.contextmanager
def running(*arguments: str, err: int | IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """A command whose destination is a drain; ended by force after the block."""
    with subprocess.Popen(
        command(*arguments),
        env=environment({"CARTRIDGE_WARP_DESTINATION__TYPE": "drain"}),
        stdout=subprocess.DEVNULL,
        stderr=err,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_copy_of_two_processes(
    mongo_db: Database[dict[str, Any]], mongo_uri: str, tmp_path: Path
) -> None:
    numbers = range(DOCUMENTS)
    for first in numbers[::20_000]:
        mongo_db["orders"].insert_many(
            [{"_id": each, "pad": "x" * 200} for each in numbers[first:][:20_000]]
        )
    source = embedded.with_database(mongo_uri, mongo_db.name)
    arguments = (source, f"drain://{tmp_path}", "--schema", "shop")
    ports = ("--metrics-port=0", "--health-port=0")
    log = "--log-format=json"
    with (
        (tmp_path / "sync.log").open("wb") as said,
        running("worker", *ports, *arguments, log, err=subprocess.PIPE) as worker,
    ):
        assert worker.stderr is not None
        for line in worker.stderr:
            if b"no process owns schema shop" in line:
                break
        # Without an end of its own: a short copy could be over before the worker looks.
        with running("sync", *ports, *arguments, log, err=said) as owner:
            _, rest = worker.communicate(timeout=60)
            assert worker.returncode == 0, rest
            owner.terminate()
            assert owner.wait(30) == 0
    assert '"a worker has joined"' in (tmp_path / "sync.log").read_text()
    ledger = Ledger.of((tmp_path / "shop.ledger").read_bytes())
    assert [each.documents for each in ledger.states()] == [DOCUMENTS]


def test_a_worker_is_admitted_before_it_claims(tmp_path: Path) -> None:
    owner, other = owned(tmp_path), drain(tmp_path)
    sharing = owner.sharing()
    member = other.join(IDENTITY, 1)
    (copier,) = member.copiers()
    assert not member.admitted()
    with pytest.raises(Fenced):
        copier.take()
    assert len(sharing.asking()) == 1
    sharing.admit()
    assert member.admitted()
    taken = copier.take()
    assert taken is not None
    assert [each.state for each in sharing.standing(TABLE, [1])] == [
        "copying",
        "pending",
    ]
    assert member.left() == 2
    # What it gives up, the owner copies.
    copier.abort()
    again = copier.take()
    assert again is not None
    assert again[1].chunk_id != taken[1].chunk_id
    member.close()
    assert [each.state for each in sharing.standing(TABLE, [1])] == ["pending"] * 2


def test_a_silent_worker_is_taken_for_dead(tmp_path: Path) -> None:
    owner, other = owned(tmp_path), drain(tmp_path)
    sharing, member = owner.sharing(), other.join(IDENTITY, 1)
    sharing.admit()
    (copier,) = member.copiers()
    assert copier.take() is not None
    owner.now += 5.0
    assert sharing.release() == ()
    owner.now += 5.0
    assert len(sharing.release()) == 1
    assert {each.state for each in sharing.standing(TABLE, [1])} == {"pending"}
    with pytest.raises(Fenced):
        member.beat()
    with pytest.raises(Fenced):
        copier.take()


def test_a_worker_needs_an_owner_of_the_same_settings(tmp_path: Path) -> None:
    with pytest.raises(Unowned):
        drain(tmp_path).join(IDENTITY, 1)
    owned(tmp_path).sharing()
    with pytest.raises(ConfigError, match="table_whitelist is"):
        drain(tmp_path, table_whitelist=("orders",)).join(IDENTITY, 1)
    drain(tmp_path, snapshot_workers=9).join(IDENTITY, 1)
    with pytest.raises(PreconditionError, match="is copied from rs"):
        drain(tmp_path).join(SourceIdentity("other", "7.0"), 1)
