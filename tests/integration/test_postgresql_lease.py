"""Who works and who waits: the lease, its signs of life, and owners that are dead."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from msgspec.structs import replace

from cartridge_warp.errors import Fenced, Owned, PreconditionError
from cartridge_warp.model import Batch, SourceIdentity
from cartridge_warp.postgresql.destination import PostgresDestination
from cartridge_warp.postgresql.instance import Instance
from postgresql_kit import (
    IDENTITY,
    META,
    TABLE,
    apply,
    end_backends,
    fetch,
    make,
    marker,
    opened,
    order,
    orders,
    position,
    silence,
    upserts,
)

LEASE = (
    "SELECT epoch, instance, heartbeat_at IS NOT NULL,"
    f" clock_timestamp() - heartbeat_at < '6s'::interval FROM {META}.schema_leases"
)
HOLD = """
import sys
from postgresql_kit import IDENTITY, make, position
owner = make(sys.argv[1])
owner.open(IDENTITY) or owner.begin(position(1), 1)
print("holds", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def standby(postgres_uri: str) -> Iterator[PostgresDestination]:
    with closing(make(postgres_uri)) as made:
        yield made


@pytest.fixture
def other_process(postgres_uri: str) -> Iterator[subprocess.Popen[str]]:
    """An owner of ``shop`` in a process of its own."""
    kit = str(Path(__file__).parent)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, postgres_uri],
        env={**os.environ, "PYTHONPATH": kit},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "holds\n"
        yield process
        process.kill()


def test_a_living_owner_is_named_and_left_alone(
    postgres_uri: str, standby: PostgresDestination
) -> None:
    with opened(postgres_uri, TABLE) as owner:
        for _ in range(2):
            with pytest.raises(Owned) as caught:
                standby.open(IDENTITY)
        assert re.search(
            rf"shop is owned by \S+:{os.getpid()}, whose .* \d\.\d s old",
            str(caught.value),
        )
        assert not caught.value.retryable
        apply(owner, Batch(position(2), (upserts(order("a", 1)),)))
    assert marker(postgres_uri) == (1, 2, b"token-2")


def test_an_owner_that_closes_lets_the_next_one_in_at_once(
    postgres_uri: str, standby: PostgresDestination
) -> None:
    with opened(postgres_uri) as owner:
        with pytest.raises(Owned):
            standby.open(IDENTITY)
        owner.beat()
    assert standby.open(IDENTITY) == [position(1)]


def test_an_owner_may_open_again(postgres_uri: str) -> None:
    with opened(postgres_uri) as owner:
        assert owner.open(IDENTITY) == [position(1)]
        apply(owner, Batch(position(2)))
    assert marker(postgres_uri)[0] == 2


def test_a_silent_owner_is_taken_for_dead_and_is_harmless(
    postgres_uri: str, standby: PostgresDestination
) -> None:
    with opened(postgres_uri, TABLE) as owner:
        silence(postgres_uri)
        assert standby.open(IDENTITY) == [position(1)]
        with pytest.raises(Fenced):
            owner.beat()
        with pytest.raises(Fenced):
            apply(owner, Batch(position(2), (upserts(order("a", 1)),)))
        owner.close()
        assert fetch(postgres_uri, LEASE)[0][2:] == (True, True)
        apply(standby, Batch(position(2)))
    assert orders(postgres_uri) == []


def test_a_clock_that_was_set_back_keeps_nobody_waiting(
    postgres_uri: str, standby: PostgresDestination
) -> None:
    with opened(postgres_uri):
        fetch(
            postgres_uri,
            f"UPDATE {META}.schema_leases SET heartbeat_at = now() + '1h'::interval",
        )
        assert standby.open(IDENTITY) == [position(1)]


def test_a_beat_is_a_sign_of_life(
    postgres_uri: str, standby: PostgresDestination
) -> None:
    with opened(postgres_uri) as owner:
        silence(postgres_uri)
        owner.beat()
        [(epoch, instance, *alive)] = fetch(postgres_uri, LEASE)
        assert (epoch, alive) == (1, [True, True])
        assert instance.split(" ")[0].endswith(f":{os.getpid()}")
        with pytest.raises(Owned):
            standby.open(IDENTITY)
        assert end_backends(postgres_uri, "lease") == 1
        owner.beat()


def test_a_beat_waits_for_no_data(postgres_uri: str) -> None:
    """The marker's row may be locked for as long as a commit takes."""
    with (
        opened(postgres_uri, TABLE) as owner,
        psycopg.connect(postgres_uri) as connection,
    ):
        connection.execute(f"SELECT * FROM {META}.sync_markers FOR UPDATE".encode())
        owner.beat()


def test_beats_need_an_owner(standby: PostgresDestination) -> None:
    with pytest.raises(Exception, match="not open"):
        standby.beat()


def test_a_killed_process_is_known_to_be_dead(
    postgres_uri: str,
    standby: PostgresDestination,
    other_process: subprocess.Popen[str],
) -> None:
    with pytest.raises(Owned, match=f":{other_process.pid},"):
        standby.open(IDENTITY)
    os.kill(other_process.pid, signal.SIGSTOP)
    with pytest.raises(Owned):
        standby.open(IDENTITY)
    other_process.kill()
    # A zombie, which nobody has waited for yet, is dead too.
    os.waitid(os.P_PID, other_process.pid, os.WEXITED | os.WNOWAIT)
    assert standby.open(IDENTITY) == [position(1)]


def test_another_source_is_no_reason_to_wait(
    postgres_uri: str, standby: PostgresDestination
) -> None:
    with opened(postgres_uri):
        with pytest.raises(PreconditionError):
            standby.open(SourceIdentity("rs-b", "6.0.5"))


def test_what_a_frozen_owner_has_locked_is_let_go(
    postgres_uri: str, standby: PostgresDestination
) -> None:
    with opened(postgres_uri, TABLE) as owner:
        apply(owner, Batch(position(2), (upserts(order("a", 1)),)))
        with psycopg.connect(
            postgres_uri, application_name="cartridge-warp stream shop"
        ) as frozen:
            frozen.execute("UPDATE shop.orders SET n = 9")
            frozen.execute(f"SELECT * FROM {META}.sync_markers FOR UPDATE".encode())
            silence(postgres_uri)
            standby.open(IDENTITY)
            apply(standby, Batch(position(3), (upserts(order("a", 2)),)))
            with pytest.raises(psycopg.OperationalError):
                frozen.execute("SELECT 1")
    assert orders(postgres_uri) == [("a", 2, None)]


def test_an_instance_is_read_back() -> None:
    here = Instance.of_this_process()
    assert Instance.parse(here.text) == here
    assert Instance.of_this_process() != here
    assert Instance.parse("host:1") is None
    assert Instance.parse("host:1 a b pid d e") is None


@pytest.mark.skipif(sys.platform != "linux", reason="the names come from /proc")
def test_who_is_dead_and_who_cannot_be_told(
    other_process: subprocess.Popen[str],
) -> None:
    here = Instance.of_this_process()
    there = replace(here, pid=other_process.pid, started="1")
    assert not here.knows_dead(here)
    assert here.knows_dead(there), "the number was given to another process"
    assert not here.knows_dead(replace(there, boot="another machine"))
    assert not here.knows_dead(replace(there, namespace="another container"))
    assert not here.knows_dead(replace(there, started="-"))
    assert not replace(here, boot="-").knows_dead(replace(there, boot="-"))
    other_process.kill()
    other_process.wait()
    assert here.knows_dead(there)
