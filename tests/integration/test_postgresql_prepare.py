"""A batch that is prepared while another one is committed: the same rows, once."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import msgspec
import pytest

from cartridge_warp.errors import DestinationUnavailable, StructureChanged
from cartridge_warp.model import Batch, Column, SchemaChange
from cartridge_warp.postgresql.destination import PostgresDestination
from postgresql_kit import (
    TABLE,
    CommitCutter,
    end_backends,
    fetch,
    marker,
    opened,
    order,
    orders,
    position,
    upserts,
)

#: As many as need a staging table.
MANY = 500


@pytest.fixture
def proxy(postgres_uri: str) -> Iterator[CommitCutter]:
    cutter = CommitCutter(postgres_uri)
    yield cutter
    cutter.close()


def large(number: int) -> Batch:
    """The ``number``-th state of every row."""
    rows = [order(f"{key:03}", number) for key in range(MANY)]
    return Batch(position(number), (upserts(*rows),))


def states(uri: str) -> set[int]:
    found = orders(uri)
    assert len(found) in (0, MANY)
    return {n for _, n, _ in found}


def transactions(uri: str) -> int:
    """Of the applier's connections, those inside a transaction."""
    [(number,)] = fetch(
        uri,
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name LIKE 'cartridge-warp stream %%'"
        " AND datname = current_database() AND state LIKE 'idle in transaction%%'",
    )
    return int(number)


def test_batches_that_were_prepared_are_committed_in_their_order(
    postgres_uri: str,
) -> None:
    with opened(postgres_uri, TABLE) as destination:
        applier = destination.applier()
        batches = [large(number) for number in range(2, 10)]
        for batch in batches:
            ahead = threading.Thread(target=applier.prepare, args=(batch,))
            ahead.start()
            ahead.join()
            assert transactions(postgres_uri) == 1
            applier.commit(batch)
            number = batch.position.cluster_time >> 32 if batch.position else 0
            assert states(postgres_uri) == {number}
            assert transactions(postgres_uri) == 0
        applier.close()
    assert marker(postgres_uri) == (1, 9, b"token-9")


def test_preparing_beside_a_commit_changes_nothing_of_it(postgres_uri: str) -> None:
    with opened(postgres_uri, TABLE) as destination:
        applier = destination.applier()
        batches = [large(number) for number in range(2, 30)]
        for batch, following in zip(batches, [*batches[1:], None], strict=True):
            ahead = threading.Thread(target=applier.prepare, args=(following or batch,))
            if following is not None:
                ahead.start()
            applier.commit(batch)
            if following is not None:
                ahead.join()
        assert states(postgres_uri) == {29}
        applier.close()
    assert marker(postgres_uri) == (1, 29, b"token-29")


def test_what_was_prepared_for_another_batch_is_forgotten(postgres_uri: str) -> None:
    with opened(postgres_uri, TABLE) as destination:
        applier = destination.applier()
        applier.prepare(large(7))
        applier.commit(large(2))
        assert states(postgres_uri) == {2}
        assert transactions(postgres_uri) == 0
        applier.prepare(large(8))
        applier.close()
        assert transactions(postgres_uri) == 0
    assert states(postgres_uri) == {2}
    assert marker(postgres_uri) == (1, 2, b"token-2")


def test_few_rows_are_not_prepared(postgres_uri: str) -> None:
    with opened(postgres_uri, TABLE) as destination:
        applier = destination.applier()
        batch = Batch(position(2), (upserts(order("a", 1)),))
        applier.prepare(batch)
        assert transactions(postgres_uri) == 0
        applier.commit(batch)
        applier.close()
    assert orders(postgres_uri) == [("a", 1, None)]


def test_a_prepared_batch_whose_backend_died_is_committed_again(
    postgres_uri: str,
) -> None:
    with opened(postgres_uri, TABLE) as destination:
        applier = destination.applier()
        batch = large(2)
        applier.prepare(batch)
        assert end_backends(postgres_uri, "stream") == 1
        with pytest.raises(DestinationUnavailable):
            applier.commit(batch)
        assert states(postgres_uri) == set()
        applier.commit(batch)
        applier.close()
    assert states(postgres_uri) == {2}
    assert marker(postgres_uri) == (1, 2, b"token-2")


def test_what_cannot_be_prepared_is_left_to_the_commit(
    postgres_uri: str, proxy: CommitCutter
) -> None:
    with opened(proxy.uri, TABLE) as destination:
        applier = destination.applier()
        proxy.down = True
        applier.prepare(large(2))
        proxy.down = False
        applier.commit(batch := large(3))
        assert states(postgres_uri) == {3}
        applier.close()
        applier.prepare(batch)
        assert transactions(postgres_uri) == 0


def test_a_structure_that_changed_meanwhile_is_noticed(postgres_uri: str) -> None:
    with opened(postgres_uri, TABLE) as destination:
        applier = destination.applier()
        batch = large(2)
        applier.prepare(batch)
        evolved(destination)
        with pytest.raises(StructureChanged):
            applier.commit(batch)
        assert transactions(postgres_uri) == 0
        applier.close()
    assert orders(postgres_uri) == []
    assert marker(postgres_uri)[1] == 1


def evolved(destination: PostgresDestination) -> None:
    wide = msgspec.structs.replace(TABLE, key="canonical")
    change = SchemaChange("rewrite_key", Column("_id", ("_id",), wide.key), "RISKY")
    assert destination.evolve(TABLE, [change]).key == "canonical"
