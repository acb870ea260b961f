"""``cwarp status`` over metadata as the destination leaves it."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator

import psycopg
import pytest

from cartridge_warp.metadata import layout, runs, store
from cartridge_warp.model import Position, SourceIdentity
from postgresql_kit import fetch
from tests.command import assert_refused, command, cwarp, environment, schemas_in

META = "cartridge_warp_metadata"


@pytest.fixture
def uri(postgres_uri: str) -> str:
    """Two schemas: one in the middle of its copy, with an error; one just begun."""
    with psycopg.connect(postgres_uri) as connection, connection.cursor() as cur:
        layout.ensure(cur, META)
        for schema in ("shop", "users"):
            identity = SourceIdentity("65f0a1b2c3d4e5f6a7b8c9d0", "6.0.5")
            marker = store.take_ownership(cur, META, schema, f"{schema}_db", identity)
            runs.start_run(cur, META, schema, "host-7", marker.epoch)
        now = Position(b"token", int(time.time() - 30) << 32)
        store.advance_marker(cur, META, "shop", 1, 0, now)
        runs.log_error(
            *(cur, META, "shop", "DestinationUnavailable"),
            "lost mongodb://u:canary-pa55word@h/\nDETAIL:  Key (_id)=(canary-id)",
            table="orders",
            count=3,
        )
        cur.execute(
            f"""
            INSERT INTO {META}.table_state
                (schema_name, table_name, planned, copied, events, applied, deleted)
            VALUES ('shop', 'orders', true, 1000, 8, 5, 2);
            INSERT INTO {META}.schema_registry (schema_name, table_name, version,
                definition, sha256, change, ddl, safety, status)
            VALUES ('shop', 'orders', 1, '{{"collection": "Orders"}}', '', '{{}}', '',
                'SAFE', 'applied');
            INSERT INTO {META}.snapshot_chunks
                (schema_name, table_name, state, documents, rows)
            VALUES ('shop', 'orders', 'done', 1000, 1000),
                ('shop', 'orders', 'pending', 0, 0);
            INSERT INTO {META}.dead_letter_queue
                (schema_name, table_name, collection, reason, raw, fingerprint)
            VALUES ('shop', 'orders', 'Orders', 'corrupt', 'canary-id', 'f');
            """
        )
    return postgres_uri


def test_the_page_has_position_copy_dead_letters_and_errors(uri: str) -> None:
    ended = cwarp("status", uri)
    assert ended.code == 0, ended.err
    assert ended.err == ""
    lines = [" ".join(line.split()) for line in ended.out.splitlines()]
    assert "shop <- shop_db: running (host-7)" in lines
    assert any(x.startswith("position: ") and "(epoch 1, seq 1)" in x for x in lines)
    assert "orders copying 1 / 2 1,000 3 2 1 0" in lines
    (error,) = [line for line in lines if "DestinationUnavailable" in line]
    assert error.endswith("orders: lost mongodb://***@h/ (3 times)")
    assert "users <- users_db: running (host-7)" in lines
    assert "position: none yet" in lines
    assert "canary" not in ended.out


def test_json_has_the_same(uri: str) -> None:
    ended = cwarp("status", uri, "--json")
    assert ended.code == 0, ended.err
    assert "canary" not in ended.out
    shop, users = json.loads(ended.out)["schemas"]
    assert 30 <= shop["position_age_seconds"] < 300
    assert users["position_age_seconds"] is None
    (orders,) = shop["tables"]
    assert orders["phase"] == "copying"
    assert (orders["chunks_done"], orders["chunks"]) == (1, 2)
    assert (orders["copied"], orders["dead_letters"]) == (1000, 1)
    assert orders["collection"] == "Orders"
    assert shop["errors"][0]["count"] == 3


def test_one_schema_alone(uri: str) -> None:
    ended = cwarp("status", uri, "--json", "--schema=users")
    (only,) = json.loads(ended.out)["schemas"]
    assert only["schema"] == "users"
    wrong = cwarp("status", uri, "--schema=shpo")
    assert wrong.code == 2
    assert wrong.err.endswith("hint: did you mean shop?\n")


def test_the_uri_may_come_from_the_environment(uri: str) -> None:
    ended = cwarp("status", env={"CARTRIDGE_WARP_DESTINATION__CONNECTION_STRING": uri})
    assert "shop <- shop_db" in ended.out


def test_another_metadata_schema_is_looked_for_where_it_is_said(uri: str) -> None:
    ended = cwarp("status", uri, "--metadata-schema=elsewhere")
    assert ended.code == 3
    assert "elsewhere" in ended.err
    assert schemas_in(uri) == {META}


def test_watch_looks_again_until_ctrl_c(uri: str) -> None:
    process = subprocess.Popen(
        command("status", uri, "--watch", "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdout is not None
    with process:
        first, second = (json.loads(process.stdout.readline()) for _ in range(2))
        os.kill(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert first["at"] < second["at"]
    assert process.returncode == 0
    assert err == ""


def test_a_reader_that_leaves_is_no_traceback(uri: str) -> None:
    process = subprocess.Popen(
        command("status", uri, "--watch", "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
    assert process.returncode == 1
    assert err == ""


@pytest.fixture
def onlooker(uri: str) -> Iterator[str]:
    """The URI of a role that has no right of its own."""
    role = f"onlooker_{secrets.token_hex(4)}"
    fetch(uri, f"CREATE ROLE {role} LOGIN")
    yield uri.replace("//postgres@", f"//{role}@")
    fetch(uri, f"DROP OWNED BY {role}")
    fetch(uri, f"DROP ROLE {role}")


def positions_apart(page: str) -> str:
    """The page without the age of its position, which grows."""
    return re.sub(r"UTC, .* s old", "", page)


def test_the_right_to_read_is_enough(uri: str, onlooker: str) -> None:
    ended = cwarp("status", onlooker)
    assert_refused(ended, 3, "may not read the metadata schema", "hint: GRANT USAGE ON")
    for grant in ended.err.partition("hint: ")[2].strip(";\n").split(";"):
        fetch(uri, grant)
    whole = positions_apart(cwarp("status", uri).out)
    assert positions_apart(cwarp("status", onlooker).out) == whole
    # Nor does it take the right to read what dead letters hold.
    role = onlooker.partition("//")[2].partition("@")[0]
    letters = f"{META}.dead_letter_queue"
    fetch(uri, f"REVOKE ALL ON {letters} FROM {role}")
    assert cwarp("status", onlooker).code == 3
    fetch(uri, f"GRANT SELECT (schema_name, table_name, state) ON {letters} TO {role}")
    assert positions_apart(cwarp("status", onlooker).out) == whole


def test_the_server_itself_keeps_status_from_writing(uri: str) -> None:
    """A view that would write when it is read stands where a table was."""
    for statement in (
        f"ALTER TABLE {META}.sync_runs RENAME TO runs",
        f"CREATE SEQUENCE {META}.reads",
        f"CREATE VIEW {META}.sync_runs AS SELECT * FROM {META}.runs"
        f" WHERE nextval('{META}.reads') > 0",
    ):
        fetch(uri, statement)
    ended = cwarp("status", uri)
    assert ended.code == 3
    assert "ReadOnlySqlTransaction" in ended.err


def test_only_pending_dead_letters_are_shown(uri: str) -> None:
    fetch(
        uri,
        f"""
        INSERT INTO {META}.dead_letter_queue
            (schema_name, table_name, collection, reason, raw, fingerprint, state)
        SELECT 'shop', 'orders', 'Orders', 'misfit', 'x', n::text::bytea,
            (ARRAY['pending', 'resolved', 'discarded'])[n %% 3 + 1]
        FROM generate_series(1, 9) n
        """,
    )
    shop, _ = json.loads(cwarp("status", uri, "--json").out)["schemas"]
    assert shop["tables"][0]["dead_letters"] == 1 + 3


def test_who_copies_which_chunk(uri: str) -> None:
    fetch(
        uri,
        f"INSERT INTO {META}.copy_workers (schema_name, epoch, instance, admitted)"
        " VALUES ('shop', 1, 'host-9:4711 boot ns 4711 1 serial', true)",
    )
    fetch(
        uri,
        f"INSERT INTO {META}.snapshot_chunks"
        " (schema_name, table_name, state, epoch, worker, claimed_at) VALUES"
        " ('shop', 'orders', 'copying', 1, 0, now()),"
        " ('shop', 'orders', 'copying', 1, -1, now()),"
        # Of a former owner, and so nobody's.
        " ('shop', 'orders', 'copying', 0, 0, now())",
    )
    ended = cwarp("status", uri)
    assert ended.code == 0, ended.err
    copied = [line for line in ended.out.splitlines() if "is copied by" in line]
    assert len(copied) == 2, ended.out
    assert "by the owner (host-7)" in copied[0]
    assert "by a worker (host-9:4711)" in copied[1]
    shop, _ = json.loads(cwarp("status", uri, "--json").out)["schemas"]
    assert [each["owner"] for each in shop["copying"]] == [True, False]
