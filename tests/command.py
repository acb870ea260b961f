"""``cwarp`` as people run it: a process of its own, its two streams, its exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import psycopg

_TIMEOUT = 120

#: A password that must never be seen again.
PASSWORD = "canary-pa55word"


class Ended(NamedTuple):
    """A command that ended."""

    code: int
    out: str
    err: str


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "cartridge_warp", *arguments]


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours without settings of the product, and with ``more``."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CARTRIDGE_WARP_", "CWARP_TEST_KILL"))
    }
    return {**ours, **(more or {})}


def cwarp(*arguments: str, env: Mapping[str, str] | None = None) -> Ended:
    """Run to the end."""
    done = subprocess.run(
        command(*arguments),
        env=environment(env),
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def sync(*arguments: str, env: Mapping[str, str] | None = None) -> Ended:
    """``cwarp sync`` on free ports, so that several may run side by side."""
    return cwarp("sync", "--metrics-port=0", "--health-port=0", *arguments, env=env)


def assert_refused(ended: Ended, code: int, *words: str) -> None:
    """One ``error:`` line with these words, at most a hint, and nothing else at all."""
    assert ended.code == code, ended.err
    said = ended.err.splitlines()
    assert ended.out == ""
    assert [line.partition(" ")[0] for line in said] in (
        ["error:"],
        ["error:", "hint:"],
    ), ended.err
    assert PASSWORD not in ended.err
    for word in words:
        assert word.casefold() in ended.err.casefold()


def schemas_in(postgres_uri: str) -> set[str]:
    """The schemas of a database that are not PostgreSQL's own."""
    with psycopg.connect(postgres_uri) as connection:
        rows: Sequence[tuple[str]] = connection.execute(
            "SELECT nspname FROM pg_namespace"
            " WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
        ).fetchall()
    return {name for (name,) in rows} - {"public"}


def count(postgres_uri: str, schema: str, table: str) -> int:
    with psycopg.connect(postgres_uri) as connection:
        query = psycopg.sql.SQL("SELECT count(*) FROM {}")
        row = connection.execute(
            query.format(psycopg.sql.Identifier(schema, table))
        ).fetchone()
    assert row is not None
    return int(row[0])
