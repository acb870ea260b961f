"""Who may write: epochs, fences, and the source a marker belongs to."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cartridge_warp.config import DestinationSettings
from cartridge_warp.errors import (
    DestinationError,
    DestinationUnavailable,
    Fenced,
    PreconditionError,
)
from cartridge_warp.model import (
    Batch,
    ChunkRange,
    Column,
    SchemaChange,
    SourceIdentity,
    TableChanges,
)
from cartridge_warp.postgresql import status
from cwarp_core import Reject
from postgresql_kit import (
    IDENTITY,
    META,
    READ,
    TABLE,
    apply,
    encoded,
    fetch,
    make,
    marker,
    opened,
    order,
    orders,
    position,
    upserts,
)

WHOLE = ChunkRange(None, None)


def test_nothing_is_known_before_the_first_position(postgres_uri: str) -> None:
    first = make(postgres_uri)
    assert first.open(IDENTITY) == []
    first.close()
    second = make(postgres_uri)
    assert second.open(IDENTITY) == []
    second.begin(position(9), 1)
    second.close()
    third = make(postgres_uri)
    assert third.open(IDENTITY) == [position(9)]
    third.close()
    assert marker(postgres_uri) == (3, 1, b"token-9")
    runs = fetch(postgres_uri, f"SELECT epoch, status FROM {META}.sync_runs ORDER BY 1")
    assert runs == [(1, "stopped"), (2, "stopped"), (3, "stopped")]


def test_a_second_owner_fences_the_stream(postgres_uri: str) -> None:
    with opened(postgres_uri, TABLE) as first:
        with opened(postgres_uri) as second:
            rejects = [Reject(b"x", "corrupt", 0, None, -1)]
            changes = TableChanges(TABLE, (encoded([order("a", 1)], rejects),), (), 2)
            with pytest.raises(Fenced) as caught:
                apply(first, Batch(position(2), (changes,)))
            assert caught.value.exit_code == 7
            assert orders(postgres_uri) == []
            assert fetch(postgres_uri, f"SELECT 1 FROM {META}.dead_letter_queue") == []
            assert marker(postgres_uri) == (2, 1, b"token-1")
            apply(second, Batch(position(2), (upserts(order("b", 1)),)))
        with pytest.raises(Fenced):
            apply(first, Batch(position(3)))
    assert orders(postgres_uri) == [("b", 1, None)]
    runs = fetch(postgres_uri, f"SELECT status FROM {META}.sync_runs ORDER BY run_id")
    assert runs == [("lost",), ("stopped",)]


def test_a_second_owner_fences_every_structure_change(postgres_uri: str) -> None:
    other = Column("other", ("other",), "text")
    with opened(postgres_uri, TABLE) as first, opened(postgres_uri):
        with pytest.raises(Fenced):
            first.evolve(TABLE, [SchemaChange("add_column", other)])
        with pytest.raises(Fenced):
            first.plan(TABLE, [WHOLE])
        copier = first.copier()
        with pytest.raises(Fenced):
            copier.claim(TABLE)
        copier.close()
    assert fetch(postgres_uri, f"SELECT 1 FROM {META}.snapshot_chunks") == []
    assert fetch(postgres_uri, f"SELECT version FROM {META}.schema_registry") == [(1,)]


def test_a_second_owner_fences_the_copier(postgres_uri: str) -> None:
    with opened(postgres_uri, TABLE) as first:
        first.plan(TABLE, [WHOLE])
        copier = first.copier()
        chunk = copier.claim(TABLE)
        assert chunk is not None
        with opened(postgres_uri) as second:
            # Its transaction begins too late to be ended by the new owner.
            copier.begin(chunk, TABLE, READ)
            copier.write(encoded([order("a", 1)]))
            with pytest.raises(Fenced):
                copier.commit()
            copier.abort()
            assert orders(postgres_uri) == []
            states = fetch(postgres_uri, f"SELECT state FROM {META}.snapshot_chunks")
            assert states == [("pending",)]
            heir = second.copier()
            assert heir.claim(TABLE) is not None
            copier.abort()
            copier.close()
            states = fetch(postgres_uri, f"SELECT state FROM {META}.snapshot_chunks")
            assert states == [("copying",)]
            heir.close()


def test_a_takeover_does_not_wait_for_a_frozen_copier(postgres_uri: str) -> None:
    with opened(postgres_uri, TABLE) as first:
        first.plan(TABLE, [WHOLE])
        frozen = first.copier()
        chunk = frozen.claim(TABLE)
        assert chunk is not None
        frozen.begin(chunk, TABLE, READ)
        frozen.write(encoded([order("a", 1)]))
        with opened(postgres_uri) as second:
            heir = second.copier()
            chunk = heir.claim(TABLE)
            assert chunk is not None
            heir.begin(chunk, TABLE, READ)
            heir.write(encoded([order("a", 2)]))
            heir.commit()
            with pytest.raises(DestinationUnavailable):
                frozen.commit()
            frozen.abort()
            with pytest.raises(Fenced):
                frozen.claim(TABLE)
            heir.close()
            frozen.close()
    assert orders(postgres_uri) == [("a", 2, None)]


@pytest.mark.parametrize(
    ("identity", "database", "message"),
    [
        (
            SourceIdentity("rs-b", "6.0.5"),
            "shop",
            "the marker of schema shop belongs to replica set rs-a, "
            "this source is rs-b",
        ),
        (IDENTITY, "crm", "belongs to database shop, this source is crm"),
    ],
)
def test_another_source_is_refused(
    postgres_uri: str, identity: SourceIdentity, database: str, message: str
) -> None:
    with opened(postgres_uri) as owner:
        stranger = make(postgres_uri, database=database)
        with pytest.raises(PreconditionError, match=message):
            stranger.open(identity)
        stranger.close()
        apply(owner, Batch(position(2)))
    assert marker(postgres_uri) == (1, 2, b"token-2")


def test_an_upgraded_source_is_the_same_source(postgres_uri: str) -> None:
    with opened(postgres_uri):
        pass
    destination = make(postgres_uri)
    assert destination.open(SourceIdentity("rs-a", "7.0.1")) == [position(1)]
    destination.close()
    versions = fetch(postgres_uri, f"SELECT source_version FROM {META}.sync_markers")
    assert versions == [("7.0.1",)]


def test_schemas_of_one_metadata_are_independent(postgres_uri: str) -> None:
    other = make(postgres_uri, schema="crm", database="crm")
    with opened(postgres_uri, TABLE) as shop:
        assert other.open(SourceIdentity("rs-b", "6.0.5")) == []
        other.begin(position(4), 1)
        apply(shop, Batch(position(2), (upserts(order("a", 1)),)))
    apply(other, Batch(position(5)))
    other.close()
    markers = fetch(
        postgres_uri,
        f"SELECT schema_name, epoch, seq FROM {META}.sync_markers ORDER BY 1",
    )
    assert markers == [("crm", 1, 2), ("shop", 1, 2)]


def test_a_time_past_2038_is_kept(postgres_uri: str) -> None:
    """From then on a cluster time has its highest bit set."""
    second = int(datetime(2040, 2, 29, 12, tzinfo=UTC).timestamp())
    with opened(postgres_uri, TABLE) as destination:
        changes = TableChanges(
            TABLE, (encoded([order("a", 1)], [Reject(b"x", "corrupt", 0, "k", -1)]),)
        )
        apply(destination, Batch(position(second), (changes,)))
        apply(destination, Batch(position(second + 1)))
        with pytest.raises(DestinationError, match="back in time"):
            apply(destination, Batch(position(second)))
    assert orders(postgres_uri) == [("a", 1, None)]
    query = f"SELECT cluster_time FROM {META}.dead_letter_queue"
    assert fetch(postgres_uri, query) == [(second << 32 | 1,)]
    [shop] = status.read(DestinationSettings(connection_string=postgres_uri))
    assert shop.cluster_time == (second + 1) << 32 | 1
    assert type(shop.cluster_time) is int
    assert shop.wall_time is not None
    assert shop.wall_time.astimezone(UTC).isoformat() == "2040-02-29T12:00:01+00:00"
    again = make(postgres_uri)
    assert again.open(IDENTITY) == [position(second + 1)]
    again.close()
