"""Rows that PostgreSQL refuses: dead letters, and their neighbours are rows."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import pytest

from cartridge_warp.errors import DestinationError, RowsRefused
from cartridge_warp.model import (
    Batch,
    Chunk,
    ChunkRange,
    Column,
    SchemaChange,
    Table,
    TableChanges,
)
from cartridge_warp.postgresql.copier import PostgresCopier
from cartridge_warp.postgresql.destination import PostgresDestination
from cwarp_core import EncodedBatch, Reject
from postgresql_kit import (
    META,
    READ,
    TABLE,
    CommitCutter,
    apply,
    fetch,
    marker,
    opened,
    order,
    orders,
    position,
    upserts,
)
from tests.core.build import document, int32, null, string

Row = tuple[str, int, str | None]

#: A constraint, and what PostgreSQL says of the row (_, -1, None) or (_, -1, "taken").
CONSTRAINTS = {
    "check": (
        "ALTER TABLE shop.orders ADD CONSTRAINT low CHECK (n >= 0)",
        ("23514", "low", None),
    ),
    "unique": (
        "INSERT INTO shop.orders VALUES ('theirs', -1);"
        "ALTER TABLE shop.orders ADD CONSTRAINT once EXCLUDE (n WITH =) WHERE (n < 0)",
        ("23P01", "once", None),
    ),
    "not null": (
        "ALTER TABLE shop.orders ALTER note SET NOT NULL",
        ("23502", None, "note"),
    ),
    "foreign key": (
        "CREATE TABLE shop.parents AS SELECT * FROM generate_series(0, 9) AS n;"
        "ALTER TABLE shop.parents ADD PRIMARY KEY (n);"
        "ALTER TABLE shop.orders ADD small bigint GENERATED ALWAYS AS (least(n, 0))"
        " STORED REFERENCES shop.parents",
        ("23503", "orders_small_fkey", None),
    ),
    "deferred foreign key": (
        "CREATE TABLE shop.parents AS SELECT * FROM generate_series(0, 9) AS n;"
        "ALTER TABLE shop.parents ADD PRIMARY KEY (n);"
        "ALTER TABLE shop.orders ADD small bigint GENERATED ALWAYS AS (least(n, 0))"
        " STORED REFERENCES shop.parents DEFERRABLE INITIALLY DEFERRED",
        ("23503", "orders_small_fkey", None),
    ),
    "trigger": (
        "CREATE FUNCTION shop.judge() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF new.n < 0 THEN RAISE EXCEPTION 'canary %%', new.n; END IF;"
        " RETURN new; END $$;"
        "CREATE TRIGGER judge BEFORE INSERT OR UPDATE ON shop.orders"
        " FOR EACH ROW EXECUTE FUNCTION shop.judge()",
        ("P0001", None, None),
    ),
    "division by zero": (
        "ALTER TABLE shop.orders ADD ratio bigint GENERATED ALWAYS AS (1 / (n + 1))"
        " STORED",
        ("22012", None, None),
    ),
}
LETTERS = (
    "SELECT key, raw, sqlstate, constraint_name, column_name"
    f" FROM {META}.dead_letter_queue WHERE reason = 'refused' AND state = 'pending'"
    ' ORDER BY key COLLATE "C"'
)
COUNTERS = (
    "SELECT copied, events, applied, deleted, superseded, rejected"
    f" FROM {META}.table_state WHERE table_name = 'orders'"
)


def good(n: int) -> Row:
    return (f"{n:05}", n, "x")


def bad(n: int) -> Row:
    """Breaks every one of the constraints."""
    return (f"{n:05}", -1, None)


def written(row: Row) -> bytes:
    key, n, note = row
    return document(
        ("_id", string(key)),
        ("n", int32(n)),
        ("note", null() if note is None else string(note)),
    )


def rows_of(
    owner: PostgresDestination, rows: Sequence[Row], table: Table = TABLE
) -> EncodedBatch:
    encoder = owner.encoder(table, keep=True)
    for row in rows:
        encoder.add_document(written(row), READ)
    batch = encoder.take()
    assert batch.rows == len(rows)
    return batch


def changes_of(
    owner: PostgresDestination,
    rows: Sequence[Row],
    deletes: tuple[str, ...] = (),
    table: Table = TABLE,
) -> TableChanges:
    events = len(rows) + len(deletes)
    upserts = (rows_of(owner, rows, table),) if rows else ()
    return TableChanges(table, upserts, deletes, events)


def keys(rejects: Sequence[Reject]) -> list[str | None]:
    assert {each.code for each in rejects} <= {"refused"}
    return sorted(each.key or "" for each in rejects)  # type: ignore[return-value]


class Way:
    """The same rows through the stream or through a chunk's copy."""

    def __init__(self, name: str, owner: PostgresDestination) -> None:
        self.name = name
        self.owner = owner

    def bring(self, rows: Sequence[Row], *, careful: bool) -> Sequence[Reject]:
        if self.name == "stream":
            batch = Batch(position(2), (changes_of(self.owner, rows),), careful=careful)
            return apply(self.owner, batch).get("orders", ())
        self.owner.plan(TABLE, [ChunkRange(None, None)])
        copier = self.owner.copier()
        refused: list[Reject] = []
        try:
            copier.begin(_claimed(copier), TABLE, READ, careful=careful)
            half = len(rows) // 2
            for part in (rows[:half], rows[half:]):
                refused += copier.write(rows_of(self.owner, part))
            copier.commit()
        finally:
            copier.close()
        return refused

    def counters(self, rows: int, refused: int) -> tuple[int, ...]:
        if self.name == "stream":
            return (0, rows, rows - refused, 0, 0, refused)
        return (rows - refused, 0, 0, 0, 0, refused)


def _claimed(copier: PostgresCopier) -> Chunk:
    chunk = copier.claim(TABLE)
    assert chunk is not None
    return chunk


@pytest.fixture
def owner(postgres_uri: str) -> Iterator[PostgresDestination]:
    with opened(postgres_uri, TABLE) as made:
        yield made


@pytest.fixture(params=["stream", "copy"])
def way(request: pytest.FixtureRequest, owner: PostgresDestination) -> Way:
    return Way(request.param, owner)


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_only_the_refused_row_becomes_a_dead_letter(
    postgres_uri: str, way: Way, constraint: str
) -> None:
    ddl, said = CONSTRAINTS[constraint]
    fetch(postgres_uri, ddl)
    theirs = orders(postgres_uri)
    rows = [good(0), bad(1), good(2), good(3)]
    with pytest.raises(RowsRefused) as caught:
        way.bring(rows, careful=False)
    assert said[0] in str(caught.value)
    assert "canary" not in str(caught.value)
    assert orders(postgres_uri) == theirs
    assert marker(postgres_uri)[1:] == (1, b"token-1")
    assert fetch(postgres_uri, LETTERS) == []
    refused = way.bring(rows, careful=True)
    assert keys(refused) == ['"00001"']
    assert sorted(orders(postgres_uri)) == sorted([good(0), good(2), good(3), *theirs])
    assert fetch(postgres_uri, LETTERS) == [('"00001"', written(bad(1)), *said)]
    assert fetch(postgres_uri, COUNTERS) == [way.counters(4, 1)]


@pytest.mark.parametrize(
    ("rows", "poison"),
    [
        (1, [0]),
        (5000, [0]),
        (5000, [4999]),
        (5000, [2500]),
        (5000, [0, 1, 2499, 2500, 4998, 4999]),
        (5000, range(5000)),
        (1000, range(0, 1000, 2)),
    ],
    ids=str,
)
def test_wherever_the_poison_is(
    postgres_uri: str, way: Way, rows: int, poison: Sequence[int]
) -> None:
    fetch(postgres_uri, CONSTRAINTS["check"][0])
    chosen = set(poison)
    given = [bad(n) if n in chosen else good(n) for n in range(rows)]
    refused = way.bring(given, careful=True)
    assert keys(refused) == [f'"{n:05}"' for n in sorted(chosen)]
    assert orders(postgres_uri) == [good(n) for n in range(rows) if n not in chosen]
    letters = fetch(postgres_uri, LETTERS)
    assert [(key, raw) for key, raw, *_ in letters] == [
        (f'"{n:05}"', written(bad(n))) for n in sorted(chosen)
    ]
    assert fetch(postgres_uri, COUNTERS) == [way.counters(rows, len(chosen))]


def test_a_key_that_no_index_takes(postgres_uri: str, way: Way) -> None:
    long = "".join(map(chr, random.Random(3).choices(range(0x100, 0x2000), k=5000)))
    rows = [good(0), (long, 1, None), good(2)]
    with pytest.raises(RowsRefused, match="54000"):
        way.bring(rows, careful=False)
    assert len(way.bring(rows, careful=True)) == 1
    assert orders(postgres_uri) == [good(0), good(2)]


def test_the_row_of_a_refused_document_goes(
    postgres_uri: str, owner: PostgresDestination
) -> None:
    """It is not what the document is any more; the letter has that."""
    apply(owner, Batch(position(2), (changes_of(owner, [good(0), good(1)]),)))
    fetch(postgres_uri, CONSTRAINTS["check"][0])
    batch = Batch(position(3), (changes_of(owner, [bad(0), good(2)]),), careful=True)
    assert keys(apply(owner, batch)["orders"]) == ['"00000"']
    assert orders(postgres_uri) == [good(1), good(2)]
    # A later good event resolves the letter, and a delete does.
    apply(owner, Batch(position(4), (changes_of(owner, [good(0)]),)))
    assert orders(postgres_uri) == [good(0), good(1), good(2)]
    assert fetch(postgres_uri, LETTERS) == []
    batch = Batch(position(5), (changes_of(owner, [bad(0)]),), careful=True)
    apply(owner, batch)
    apply(owner, Batch(position(6), (changes_of(owner, [], ("00000",)),)))
    assert fetch(postgres_uri, LETTERS) == []
    assert orders(postgres_uri) == [good(1), good(2)]


def test_a_row_that_others_refer_to_has_to_stay(
    postgres_uri: str, owner: PostgresDestination
) -> None:
    apply(owner, Batch(position(2), (changes_of(owner, [good(0), good(1)]),)))
    fetch(postgres_uri, CONSTRAINTS["check"][0])
    fetch(
        postgres_uri,
        "CREATE TABLE shop.theirs AS SELECT '00000' COLLATE \"C\" AS o;"
        "ALTER TABLE shop.theirs ADD FOREIGN KEY (o) REFERENCES shop.orders",
    )
    changes = changes_of(owner, [bad(0), bad(1), good(2)])
    refused = apply(owner, Batch(position(3), (changes,), careful=True))["orders"]
    assert keys(refused) == ['"00000"', '"00001"']
    assert orders(postgres_uri) == [good(0), good(2)]
    gone = Batch(position(4), (changes_of(owner, [], ("00000",)),))
    with pytest.raises(RowsRefused, match="23503"):
        apply(owner, gone)
    gone = Batch(position(4), gone.tables, careful=True)
    with pytest.raises(DestinationError, match="23503") as caught:
        apply(owner, gone)
    assert not isinstance(caught.value, RowsRefused)
    assert "theirs_o_fkey" in caught.value.hint
    assert marker(postgres_uri)[1:] == (3, b"token-3")


def test_what_one_row_takes_from_another(
    postgres_uri: str, owner: PostgresDestination
) -> None:
    """A value that is taken in the middle of a batch may be free at its end."""
    fetch(postgres_uri, "ALTER TABLE shop.orders ADD UNIQUE (note)")
    first: list[Row] = [("a", 1, "x"), ("b", 2, "y"), ("c", 3, "z")]
    apply(owner, Batch(position(2), (changes_of(owner, first),)))
    # c's goes to d, in a batch that is no trouble at all.
    changes = changes_of(owner, [("d", 4, "z")], ("c",))
    apply(owner, Batch(position(3), (changes,)))
    swap: list[Row] = [("a", 1, "y"), ("b", 2, "x")]
    with pytest.raises(RowsRefused, match="23505"):
        apply(owner, Batch(position(4), (changes_of(owner, swap),)))
    batch = Batch(position(4), (changes_of(owner, swap),), careful=True)
    assert apply(owner, batch) == {}
    assert orders(postgres_uri) == [*swap, ("d", 4, "z")]
    taken: list[Row] = [("e", 5, "z"), ("f", 6, "w")]
    batch = Batch(position(5), (changes_of(owner, taken),), careful=True)
    assert keys(apply(owner, batch)["orders"]) == ['"e"']
    assert orders(postgres_uri) == [*swap, ("d", 4, "z"), ("f", 6, "w")]


def test_children_and_parents_in_any_order(
    postgres_uri: str, owner: PostgresDestination
) -> None:
    child = Table("shop", "children", "children", "string", TABLE.columns)
    owner.ensure(child)
    fetch(
        postgres_uri,
        "ALTER TABLE shop.children ADD FOREIGN KEY (note) REFERENCES shop.orders (_id)",
    )
    children: list[Row] = [("k1", 1, "p"), ("k2", 2, "nobody"), ("k3", 3, "p")]
    both = (
        changes_of(owner, children, table=child),
        changes_of(owner, [("p", 1, None)]),
    )
    with pytest.raises(RowsRefused, match="23503"):
        apply(owner, Batch(position(2), both))
    refused = apply(owner, Batch(position(2), both, careful=True))
    assert list(refused) == ["children"]
    assert keys(refused["children"]) == ['"k2"']
    query = "SELECT _id FROM shop.children ORDER BY 1"
    assert fetch(postgres_uri, query) == [("k1",), ("k3",)]
    # And away: the parent is named before its children.
    both = (
        changes_of(owner, [], ("p",)),
        changes_of(owner, [("k1", 1, None)], ("k3",), table=child),
    )
    with pytest.raises(RowsRefused, match="23503"):
        apply(owner, Batch(position(3), both))
    assert apply(owner, Batch(position(3), both, careful=True)) == {}
    assert fetch(postgres_uri, query) == [("k1",)]
    assert orders(postgres_uri) == []


def test_a_letter_that_postgresql_refuses_as_a_row_stays_a_letter(
    postgres_uri: str, owner: PostgresDestination
) -> None:
    """When its key's encoding changes at last, and a constraint is in the way."""
    table = Table("shop", "keyed", "keyed", "bigint", TABLE.columns)
    owner.ensure(table)
    encoder = owner.encoder(table)
    for row in (bad(0), good(1)):
        encoder.add_document(written(row), READ)
    changes = TableChanges(table, (encoder.take(),), (), 2)
    apply(owner, Batch(position(2), (changes,)))
    fetch(postgres_uri, "ALTER TABLE shop.keyed ADD CONSTRAINT low CHECK (n >= 0)")
    key = Column("_id", ("_id",), "canonical")
    owner.evolve(table, [SchemaChange("rewrite_key", key, "RISKY")])
    query = f"SELECT key, reason, state FROM {META}.dead_letter_queue ORDER BY key"
    assert fetch(postgres_uri, query) == [
        ('"00000"', "key_kind", "pending"),
        ('"00001"', "key_kind", "resolved"),
    ]
    assert fetch(postgres_uri, "SELECT _id, n FROM shop.keyed") == [('"00001"', 1)]


def test_an_encoder_that_kept_nothing_is_a_mistake(
    postgres_uri: str, owner: PostgresDestination
) -> None:
    batch = Batch(position(2), (upserts(order("a", 1)),), careful=True)
    with pytest.raises(DestinationError, match="without their documents"):
        apply(owner, batch)
    assert marker(postgres_uri)[1] == 1


def test_a_careful_batch_counts_once_when_its_answer_is_lost(
    postgres_uri: str,
) -> None:
    proxy = CommitCutter(postgres_uri)
    try:
        with opened(proxy.uri, TABLE) as owner:
            fetch(postgres_uri, CONSTRAINTS["check"][0])
            changes = changes_of(owner, [bad(0), good(1)])
            batch = Batch(position(2), (changes,), careful=True)
            proxy.cut = "after"
            assert keys(apply(owner, batch)["orders"]) == ['"00000"']
    finally:
        proxy.close()
    assert fetch(postgres_uri, COUNTERS) == [(0, 2, 1, 0, 0, 1)]
    assert orders(postgres_uri) == [good(1)]
