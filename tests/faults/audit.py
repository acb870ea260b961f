"""Triggers that write down what happens to markers and counters, and their judge.

They live in a schema of their own, and come to the product's tables in the moment
those are made, by an event trigger.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import class_row

META = "cartridge_warp_metadata"

_INSTALL = f"""
CREATE SCHEMA audit;
CREATE TABLE audit.markers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    op text NOT NULL, lane integer NOT NULL,
    old_epoch bigint, new_epoch bigint, old_seq bigint, new_seq bigint,
    old_time numeric, new_time numeric, moved boolean NOT NULL, who text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE audit.counters (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text NOT NULL, old_n numeric, new_n numeric
);
CREATE FUNCTION audit.note_marker() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    after jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
BEGIN
    INSERT INTO audit.markers (op, lane, old_epoch, new_epoch, old_seq, new_seq,
                               old_time, new_time, moved, who)
    VALUES (TG_OP, (coalesce(after, before)->>'lane')::int,
            (before->>'epoch')::bigint, (after->>'epoch')::bigint,
            (before->>'seq')::bigint, (after->>'seq')::bigint,
            (before->>'cluster_time')::numeric, (after->>'cluster_time')::numeric,
            before->'resume_token' IS DISTINCT FROM after->'resume_token'
            OR before->'cluster_time' IS DISTINCT FROM after->'cluster_time',
            current_setting('application_name') || ' ' || pg_backend_pid());
    RETURN NULL;
END $$;
CREATE FUNCTION audit.note_counter() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    old_n numeric := to_jsonb(OLD)->>'n';
    new_n numeric := to_jsonb(NEW)->>'n';
BEGIN
    IF new_n IS NULL OR new_n < old_n THEN
        INSERT INTO audit.counters (key, old_n, new_n)
        VALUES (to_jsonb(OLD)->>'_id', old_n, new_n);
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION audit.attend() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    made text;
BEGIN
    FOR made IN SELECT object_identity FROM pg_event_trigger_ddl_commands() LOOP
        IF made = '{META}.sync_markers' THEN
            CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE
            ON {META}.sync_markers
            FOR EACH ROW EXECUTE FUNCTION audit.note_marker();
        ELSIF made = '{{schema}}.counters' THEN
            CREATE TRIGGER audit AFTER UPDATE OR DELETE ON {{schema}}.counters
            FOR EACH ROW EXECUTE FUNCTION audit.note_counter();
        END IF;
    END LOOP;
END $$;
CREATE EVENT TRIGGER audit ON ddl_command_end WHEN TAG IN ('CREATE TABLE')
EXECUTE FUNCTION audit.attend();
"""


class Move(NamedTuple):
    """One change of one marker row, in the order in which they happened to it."""

    id: int
    op: str
    lane: int
    old_epoch: int | None
    new_epoch: int | None
    old_seq: int | None
    new_seq: int | None
    old_time: Decimal | None
    new_time: Decimal | None
    moved: bool
    who: str
    at: datetime = datetime.fromtimestamp(0, UTC)


def install(uri: str, schema: str) -> None:
    """In a database where the product has not been yet; takes a superuser."""
    with psycopg.connect(uri) as connection:
        connection.execute(_INSTALL.replace("{schema}", schema).encode())


def moves(connection: psycopg.Connection[Any]) -> list[Move]:
    with connection.cursor(row_factory=class_row(Move)) as cur:
        return cur.execute("SELECT * FROM audit.markers ORDER BY id").fetchall()


def marker_faults(moves: Iterable[Move]) -> Iterator[str]:
    """What no marker may do. One row a lane; each lane is judged for itself.

    A position moves with ``seq + 1`` and in its own epoch; ``seq`` never jumps within
    an epoch; neither epoch nor time goes back, not over a delete either.
    """
    seen: dict[int, tuple[int, Decimal]] = {}
    for move in moves:
        if move.op == "DELETE":
            continue
        epoch, time = seen.get(move.lane, (0, Decimal(0)))
        now = move.new_epoch or 0
        if now < epoch:
            yield f"the epoch went back: {move}"
        if move.new_time is None and time:
            yield f"the position was lost: {move}"
        if move.new_time is not None and move.new_time < time:
            yield f"the time went back: {move}"
        seen[move.lane] = (max(now, epoch), max(move.new_time or Decimal(0), time))
        if move.op == "INSERT":
            continue
        step = (move.new_seq or 0) - (move.old_seq or 0)
        if now == move.old_epoch and step not in (0, 1):
            yield f"seq jumped: {move}"
        if move.moved and (now != move.old_epoch or step != 1):
            yield f"a position moved without its seq: {move}"


def standstills(
    moves: Iterable[Move], green: Iterable[tuple[float, float]], seconds: float
) -> Iterator[str]:
    """Where no marker moved for so long, and a sync said all along that it was ready.

    green: from when to when, since 1970. One that is idle moves its marker too.
    """
    times = sorted(move.at.timestamp() for move in moves)
    for first, last in green:
        between = [time for time in times if first < time < last]
        for one, other in pairwise([first, *between, last]):
            if other - one > seconds:
                yield f"ready for {other - one:.0f} s in which nothing was committed"


def counter_faults(connection: psycopg.Connection[Any]) -> list[str]:
    """Rows of the counters that went back, or away."""
    rows = connection.execute(
        "SELECT key, old_n, new_n FROM audit.counters ORDER BY id"
    ).fetchall()
    return [f"counter {key} went from {old} to {new}" for key, old, new in rows]


def unaccounted(connection: psycopg.Connection[Any]) -> list[str]:
    """Tables whose documents and events did not all end somewhere.

    ``rejected`` counts those of copies and resyncs too, which are documents that were
    ``read`` and are no rows, and no events. The chunks are those of the last one.
    """
    rows = connection.execute(
        f"""
        SELECT t.table_name, t.events, t.applied, t.superseded, t.rejected,
               t.read, t.copied, c.documents, c.rows
        FROM {META}.table_state t, LATERAL (
            SELECT coalesce(sum(documents), 0) AS documents,
                   coalesce(sum(rows), 0) AS rows
            FROM {META}.snapshot_chunks c
            WHERE c.schema_name = t.schema_name AND c.table_name = t.table_name) c
        WHERE t.events <> t.applied + t.superseded + t.rejected - t.read + t.copied
           OR t.copied < c.rows OR t.read < c.documents OR c.rows > c.documents
           OR t.applied < t.deleted OR t.superseded < 0 OR t.rejected < 0
        """
    ).fetchall()
    return [f"unaccounted: {row}" for row in rows]


def everything_stored(connection: psycopg.Connection[Any]) -> Iterator[tuple[str, str]]:
    """Every row of the metadata as text, but for the documents of dead letters."""
    names = connection.execute(
        "SELECT c.relname, string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)"
        " FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
        " WHERE c.relnamespace = %s::regnamespace AND c.relkind IN ('r', 'p')"
        " AND a.attnum > 0 AND NOT a.attisdropped"
        " AND (c.relname, a.attname) <> ('dead_letter_queue', 'raw')"
        " GROUP BY c.relname",
        (META,),
    ).fetchall()
    for table, columns in names:
        query = f"SELECT ROW({columns})::text FROM {META}.{table}"
        for (text,) in connection.execute(query.encode()):
            yield table, text
