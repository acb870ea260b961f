"""The server's timeline: read at the start, compared in every transaction."""

from __future__ import annotations

import pytest
from psycopg.conninfo import conninfo_to_dict

from cartridge_warp import embedded
from cartridge_warp.config import DestinationSettings
from cartridge_warp.errors import Fenced
from cartridge_warp.metadata import history
from cartridge_warp.postgresql.connection import Link
from postgresql_kit import fetch


def link(uri: str, timeline: str | None = None) -> Link:
    return Link(DestinationSettings(connection_string=uri), "test", timeline)


def seen(uri: str) -> str | None:
    one = link(uri)
    with one.transaction() as cur:
        found = history.timeline(cur)
        # Whatever came of it, the transaction goes on.
        assert cur.execute("SELECT 1").fetchone() == (1,)
    one.drop()
    return found


def test_every_server_tells(each_postgres: embedded.PostgresServer) -> None:
    """A new one is on its first; a look may be read-only."""
    uri = each_postgres.uri
    assert seen(uri) == "00000001"
    same = link(uri, "00000001")
    for read_only in (False, True):
        with same.transaction(read_only=read_only) as cur:
            assert cur.execute("SELECT 1").fetchone() == (1,)
    same.drop()


def test_no_transaction_begins_in_another_history(postgres_uri: str) -> None:
    other = link(postgres_uri, "00000002")
    for _ in range(2):
        with pytest.raises(Fenced, match="standby was promoted"):
            other.begin()
    other.drop()


def test_one_that_does_not_tell(postgres_uri: str) -> None:
    role = "nobody_tells"
    fetch(postgres_uri, f"CREATE ROLE {role} LOGIN")
    try:
        fetch(
            postgres_uri,
            "REVOKE EXECUTE ON FUNCTION pg_walfile_name(pg_lsn) FROM PUBLIC",
        )
        assert seen(postgres_uri.replace("postgres@", f"{role}@")) is None
        assert seen(postgres_uri) == "00000001"
    finally:
        fetch(postgres_uri, f"DROP ROLE {role}")


@pytest.mark.parametrize(
    ("setting", "used"),
    [("off", "on"), ("on", "on"), ("local", "local"), ("remote_apply", "remote_apply")],
)
def test_a_commit_is_on_disk(postgres_uri: str, setting: str, used: str) -> None:
    """What waits for more, or for no standby, is the user's choice."""
    name = conninfo_to_dict(postgres_uri)["dbname"]
    fetch(postgres_uri, f"ALTER DATABASE {name} SET synchronous_commit = '{setting}'")
    one = link(postgres_uri)
    with one.transaction() as cur:
        assert cur.execute("SHOW synchronous_commit").fetchone() == (used,)
    one.drop()
