"""What is checked before anything is made, and what ``status`` reads afterwards."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest

from cartridge_warp.config import DestinationSettings
from cartridge_warp.errors import ConfigError, PreconditionError, WarpError
from cartridge_warp.metadata import layout
from cartridge_warp.model import Batch, ChunkRange, TableChanges
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
    opened,
    order,
    position,
)

ROLE = "cwarp_plain"


@pytest.fixture
def plain_uri(postgres_uri: str) -> Iterator[str]:
    """The test's database as a role without any right of its own."""
    fetch(postgres_uri, f"CREATE ROLE {ROLE} LOGIN PASSWORD 'hunter2-canary'")
    parts = urlsplit(postgres_uri)
    netloc = f"{ROLE}:hunter2-canary@{parts.hostname}:{parts.port}"
    yield parts._replace(netloc=netloc).geturl()
    fetch(postgres_uri, f"DROP OWNED BY {ROLE} CASCADE")
    fetch(postgres_uri, f"DROP ROLE {ROLE}")


def refusal(uri: str) -> WarpError:
    destination = make(uri)
    with pytest.raises(WarpError) as caught:
        destination.validate()
    destination.close()
    assert "\n" not in str(caught.value)
    return caught.value


def namespaces(uri: str) -> set[str]:
    query = "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_'"
    return {name for (name,) in fetch(uri, query)}


def test_a_server_that_can_do_it_passes_and_nothing_is_made(postgres_uri: str) -> None:
    destination = make(postgres_uri)
    destination.validate()
    destination.close()
    assert namespaces(postgres_uri) == {"public", "information_schema"}


def test_a_server_that_is_not_there(postgres_uri: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = refusal(f"postgresql://me:hunter2-canary@127.0.0.1:{port}/db")
    assert isinstance(error, PreconditionError)
    assert str(port) in str(error)
    assert "hunter2" not in str(error) + error.hint + repr(error)


def test_a_database_that_is_not_there(postgres_uri: str) -> None:
    error = refusal(urlsplit(postgres_uri)._replace(path="/absent").geturl())
    assert isinstance(error, PreconditionError)
    assert "absent" in str(error)


def test_a_string_that_is_none() -> None:
    error = refusal("postgresql://me:hunter2-canary@host:port:/x?hunter2=1")
    assert isinstance(error, ConfigError)
    assert "hunter2" not in str(error) + error.hint
    assert error.__suppress_context__


def test_a_role_that_may_not_create_a_schema(postgres_uri: str, plain_uri: str) -> None:
    error = refusal(plain_uri)
    assert isinstance(error, PreconditionError)
    assert error.exit_code == 3
    assert str(error) == (
        f"schema shop does not exist and role {ROLE} may not create it"
    )
    assert error.hint.startswith("GRANT CREATE ON DATABASE ")
    fetch(postgres_uri, error.hint)
    destination = make(plain_uri)
    destination.validate()
    destination.open(IDENTITY)
    destination.close()


def test_a_role_that_may_not_use_the_schema(postgres_uri: str, plain_uri: str) -> None:
    fetch(postgres_uri, "CREATE SCHEMA shop")
    fetch(postgres_uri, f"CREATE SCHEMA {META}")
    for _ in range(2):
        error = refusal(plain_uri)
        assert "may not create tables in schema" in str(error)
        fetch(postgres_uri, error.hint)
    destination = make(plain_uri)
    destination.validate()
    assert destination.open(IDENTITY) == []
    destination.begin(position(1), 1)
    destination.ensure(TABLE)
    apply(
        destination,
        Batch(position(2), (TableChanges(TABLE, (encoded([order("a", 1)]),), (), 1),)),
    )
    destination.close()


def test_a_role_that_may_not_use_the_metadata_of_another(
    postgres_uri: str, plain_uri: str
) -> None:
    """One refusal has every statement that is needed."""
    other = make(postgres_uri, schema="other")
    other.open(IDENTITY)
    other.close()
    tables = f"SELECT relname FROM pg_class WHERE relnamespace = '{META}'::regnamespace"
    made = fetch(postgres_uri, f"{tables} AND relkind = 'r'")
    assert {name for (name,) in made} == set(layout.TABLES)
    fetch(postgres_uri, f"CREATE SCHEMA shop AUTHORIZATION {ROLE}")
    error = refusal(plain_uri)
    assert isinstance(error, PreconditionError)
    assert error.exit_code == 3
    on_schema, on_tables, on_sequences = error.hint.removesuffix(";").split("; ")
    assert on_schema.startswith("GRANT USAGE, CREATE ON SCHEMA ")
    fetch(postgres_uri, on_schema)
    error = refusal(plain_uri)
    assert isinstance(error, PreconditionError)
    assert str(error) == f"role {ROLE} may not use the tables in schema {META}"
    assert error.hint == f"{on_tables}; {on_sequences};"
    fetch(postgres_uri, on_tables)
    fetch(postgres_uri, on_sequences)
    with opened(plain_uri, TABLE) as destination:
        apply(
            destination,
            Batch(
                position(2), (TableChanges(TABLE, (encoded([order("a", 1)]),), (), 1),)
            ),
        )


def test_a_role_that_may_not_make_temporary_tables(
    postgres_uri: str, plain_uri: str
) -> None:
    database = urlsplit(postgres_uri).path[1:]
    fetch(postgres_uri, f'REVOKE TEMPORARY ON DATABASE "{database}" FROM PUBLIC')
    error = refusal(plain_uri)
    assert "temporary" in str(error)
    fetch(postgres_uri, error.hint)
    assert "temporary" not in str(refusal(plain_uri))


def test_a_schema_name_that_postgresql_would_cut(postgres_uri: str) -> None:
    destination = make(postgres_uri, schema="ä" * 32)
    with pytest.raises(PreconditionError, match="63 bytes"):
        destination.validate()
    destination.close()


def test_a_database_of_another_encoding(postgres_uri: str) -> None:
    name = urlsplit(postgres_uri).path[1:] + "_latin1"
    fetch(
        postgres_uri,
        f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0",
    )
    try:
        error = refusal(urlsplit(postgres_uri)._replace(path="/" + name).geturl())
        assert "LATIN1" in str(error)
    finally:
        fetch(postgres_uri, f"DROP DATABASE {name} WITH (FORCE)")


def test_nobody_reads_the_dead_letters_by_default(
    postgres_uri: str, plain_uri: str
) -> None:
    with opened(postgres_uri):
        pass
    fetch(postgres_uri, f"GRANT USAGE ON SCHEMA {META} TO {ROLE}")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        fetch(plain_uri, f"SELECT * FROM {META}.dead_letter_queue")


def test_status_without_metadata_is_empty(postgres_uri: str) -> None:
    assert status.read(DestinationSettings(connection_string=postgres_uri)) == ()


def test_status_shows_the_work_and_owns_nothing(postgres_uri: str) -> None:
    settings = DestinationSettings(connection_string=postgres_uri)
    with opened(postgres_uri, TABLE) as destination:
        destination.plan(TABLE, [ChunkRange(None, b"m"), ChunkRange(b"m", None)])
        copier = destination.copier()
        chunk = copier.claim(TABLE)
        assert chunk is not None
        copier.begin(chunk, TABLE, READ)
        copier.write(encoded([order("a", 1)], [Reject(b"x", "corrupt", 0, "k", -1)]))
        copier.commit()
        copier.close()
        apply(
            destination,
            Batch(
                position(2), (TableChanges(TABLE, (encoded([order("a", 2)]),), (), 3),)
            ),
        )
        [running] = status.read(settings)
        apply(destination, Batch(position(3)))
    [shop] = status.read(settings)
    assert (running.run_status, shop.run_status) == ("running", "stopped")
    assert (shop.schema, shop.database, shop.replica_set_id) == ("shop", "shop", "rs-a")
    assert (shop.epoch, shop.seq, shop.cluster_time) == (1, 3, 3 << 32 | 1)
    assert shop.wall_time is not None
    assert shop.wall_time.timestamp() == 3
    [table] = shop.tables
    assert (table.name, table.collection, table.version) == ("orders", "orders", 1)
    assert (table.chunks, table.chunks_done, table.complete) == (2, 1, False)
    assert (table.documents, table.copied) == (2, 1)
    assert (table.complete_through, table.consistent) == (None, False)
    assert (table.events, table.applied, table.superseded) == (3, 1, 2)
    assert (table.rejected, table.dead_letters) == (1, 1)
    assert shop.errors == ()


def test_status_shows_through_when_a_copy_is_complete(postgres_uri: str) -> None:
    settings = DestinationSettings(connection_string=postgres_uri)
    with opened(postgres_uri, TABLE, lanes=2) as destination:
        destination.plan(TABLE, [ChunkRange(None, None)])
        copier = destination.copier()
        for split_at in (b"m", None):
            chunk = copier.claim(TABLE)
            assert chunk is not None
            copier.begin(chunk, TABLE, READ)
            until = position(5 if split_at else 4).cluster_time
            copier.commit(read_until=until, split_at=split_at)
        copier.close()
        [[table]] = [each.tables for each in status.read(settings)]
        assert table.complete
        assert table.complete_through is not None
        assert table.complete_through.timestamp() == 5
        assert not table.consistent
        apply(destination, Batch(position(6), lanes=(0,)))
        [shop] = status.read(settings)
        assert shop.cluster_time == position(1).cluster_time, "the slowest lane's"
        assert not shop.tables[0].consistent
        apply(destination, Batch(position(5), lanes=(1,)))
        [shop] = status.read(settings)
        assert shop.tables[0].consistent


def test_status_shows_the_newest_errors(postgres_uri: str) -> None:
    with opened(postgres_uri) as destination:
        apply(destination, Batch(position(9)))
        with pytest.raises(WarpError) as caught:
            apply(destination, Batch(position(3)))
        destination.failed(caught.value)
    [shop] = status.read(DestinationSettings(connection_string=postgres_uri))
    assert shop.run_status == "failed"
    assert [error.kind for error in shop.errors] == ["DestinationError"]
