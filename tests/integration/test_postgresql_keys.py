"""A key in another encoding: PostgreSQL's own conversion against the core's."""

from __future__ import annotations

import random
from collections.abc import Iterator

import msgspec
import psycopg
import pytest

from cartridge_warp.errors import (
    DestinationError,
    LockTimeout,
    StructureChanged,
    StructureRefused,
)
from cartridge_warp.model import (
    Batch,
    ChunkRange,
    Column,
    SchemaChange,
    Table,
    TableChanges,
)
from cartridge_warp.postgresql import keys, merge
from cartridge_warp.postgresql.destination import PostgresDestination
from cwarp_core import EncodedBatch, KeyKindError, key_text
from postgresql_kit import META, READ, apply, fetch, opened, order, position, upserts
from tests.core.build import Raw, decimal, document, int32, oid, string
from tests.core.samples import SAMPLES

AWKWARD = [
    "",
    "plain",
    'say "hi" \\ back \\u0041 \\" \\\\',
    "\b\f\n\r\t",
    "".join(map(chr, range(1, 0x20))),
    "\x7f\x80\x9f\xa0",
    "\u2028\u2029 \ufeff \uffff",
    "ä 雪 🚀 é",
    "{'a': %s} %% {0} $1 ${x}",
    "/</script>",
    "'; DROP TABLE t; --",
    "9" * 2600,
]
NUMBERS = [
    *("0", "1", "-1", "10", "1.10", "-0.50", "100E-2", "1E+3", "-1.5E+3", "0E+3"),
    *("0.00001", "-1E-7", "12345.6789", "99999999", "10000", "0.0001", "1E+34"),
    *("9223372036854775808", "-1234567890123456789012345678901234E-17"),
    *("9.999999999999999999999999999999999E+600", "1E-600"),
    *("NaN", "Infinity", "-Infinity"),
]
REWRITES = [
    *((before, "canonical") for before in ("objectId", "string", "uuid")),
    *((before, "canonical") for before in ("bigint", "numeric")),
    ("bigint", "numeric"),
]


def table_of(key: str) -> Table:
    return Table("shop", "keyed", "keyed", key, ())


def rewrite(key: str) -> SchemaChange:
    return SchemaChange("rewrite_key", Column("_id", ("_id",), key), "RISKY")


def encode(destination: PostgresDestination, table: Table, *ids: Raw) -> EncodedBatch:
    encoder = destination.encoder(table)
    for each in ids:
        encoder.add_document(document(("_id", each)), 7 << 32)
    return encoder.take()


def texts(ids: list[Raw], encoding: str) -> dict[str, Raw]:
    """The ids that an encoding holds, by their text in it; one of each."""
    found: dict[str, Raw] = {}
    for each in ids:
        try:
            text = key_text(each.key, encoding)
        except KeyKindError:
            continue
        # PostgreSQL's index takes no key past a third of a page, as text or before.
        if len(text.encode()) < 2600:
            found[text] = each
    return found


def all_ids() -> list[Raw]:
    ids = [each for values in SAMPLES.values() for each in values]
    return [*ids, *map(string, AWKWARD), *map(decimal, NUMBERS)]


def stored(uri: str) -> set[str]:
    return {text for (text,) in fetch(uri, "SELECT _id::text FROM shop.keyed")}


@pytest.fixture
def destination(postgres_uri: str) -> Iterator[PostgresDestination]:
    with opened(postgres_uri) as made:
        yield made


@pytest.mark.parametrize(("before", "after"), REWRITES)
def test_every_row_gets_the_text_that_the_core_gives(
    postgres_uri: str, destination: PostgresDestination, before: str, after: str
) -> None:
    table, ids = table_of(before), texts(all_ids(), before)
    assert len(ids) > 1
    destination.ensure(table)
    batch = encode(destination, table, *ids.values())
    apply(
        destination, Batch(position(2), (TableChanges(table, (batch,), (), len(ids)),))
    )
    assert stored(postgres_uri) == set(ids)
    wide = destination.evolve(table, [rewrite(after)])
    assert wide == msgspec.structs.replace(table, key=after, version=2)
    assert stored(postgres_uri) == {key_text(i.key, after) for i in ids.values()}
    # And each is found again: by an upsert, which adds no row, and by a delete.
    batch = encode(destination, wide, *ids.values())
    apply(destination, Batch(position(3), (TableChanges(wide, (batch,), (), 1),)))
    assert len(stored(postgres_uri)) == len(ids)
    deletes = tuple(key_text(i.key, after) for i in ids.values())
    apply(destination, Batch(position(4), (TableChanges(wide, (), deletes, 1),)))
    assert stored(postgres_uri) == set()


@pytest.mark.parametrize("text", AWKWARD)
def test_a_string_is_quoted_as_the_core_quotes_it(postgres_uri: str, text: str) -> None:
    expression = keys.canonical(
        "string", psycopg.sql.Literal(text) + psycopg.sql.SQL("::text")
    )
    with psycopg.connect(postgres_uri) as connection:
        row = connection.execute(
            psycopg.sql.SQL("SELECT {}").format(expression)
        ).fetchone()
    assert row == (key_text(string(text).key, "canonical"),)


@pytest.mark.parametrize("key", ["objectId", "string", "uuid", "bigint", "numeric"])
def test_a_later_good_event_finds_the_letter_whatever_the_key(
    postgres_uri: str, destination: PostgresDestination, key: str
) -> None:
    """Letters carry the canonical text, rows the text of the table's own encoding."""
    one, two, *_ = texts(all_ids(), key).items()
    table = table_of(key)
    narrow = msgspec.structs.replace(
        table,
        columns=(Column("n", ("n",), "boolean"),),
        options=msgspec.structs.replace(table.options, on_misfit="dead_letter"),
    )
    destination.ensure(narrow)
    encoder = destination.encoder(narrow)
    for _, each in (one, two):
        encoder.add_document(document(("_id", each), ("n", int32(1))), 7 << 32)
    poison = encoder.take()
    assert len(poison.rejects) == 2
    apply(destination, Batch(position(2), (TableChanges(narrow, (poison,), (), 2),)))
    good = encode(destination, narrow, one[1])
    apply(
        destination, Batch(position(3), (TableChanges(narrow, (good,), (two[0],), 2),))
    )
    letters = fetch(postgres_uri, f"SELECT state FROM {META}.dead_letter_queue")
    assert letters == [("resolved",), ("resolved",)]


def test_the_structure_and_its_rows_change_in_one_transaction(
    postgres_uri: str, destination: PostgresDestination
) -> None:
    table = table_of("objectId")
    destination.ensure(table)
    first = encode(destination, table, oid(b"\1" * 12), string("x"), string("y"))
    assert len(first.rejects) == 2
    apply(destination, Batch(position(2), (TableChanges(table, (first,), (), 3),)))
    wide = destination.evolve(table, [rewrite("canonical")])
    assert stored(postgres_uri) == {'{"$oid":"' + "01" * 12 + '"}', '"x"', '"y"'}
    letters = fetch(postgres_uri, f"SELECT state FROM {META}.dead_letter_queue")
    assert letters == [("resolved",), ("resolved",)]
    assert [state.table for state in destination.tables()] == [wide]
    [(kind, collation)] = fetch(
        postgres_uri,
        "SELECT format_type(atttypid, atttypmod), collname FROM pg_attribute"
        " JOIN pg_collation c ON c.oid = attcollation"
        " WHERE attrelid = 'shop.keyed'::regclass AND attname = '_id'",
    )
    assert (kind, collation) == ("text", "C")
    assert fetch(
        postgres_uri,
        f"SELECT safety FROM {META}.schema_registry WHERE version = 2",
    ) == [("RISKY",)]


def test_a_letter_that_is_no_row_for_another_reason_stays(
    postgres_uri: str, destination: PostgresDestination
) -> None:
    options = msgspec.structs.replace(
        table_of("bigint").options, on_misfit="dead_letter"
    )
    table = Table(
        "shop", "keyed", "keyed", "bigint", (Column("n", ("n",), "boolean"),), options
    )
    destination.ensure(table)
    encoder = destination.encoder(table)
    encoder.add_document(document(("_id", string("x")), ("n", int32(1))), 0)
    encoder.add_document(document(("_id", string("y"))), 0)
    batch = encoder.take()
    apply(destination, Batch(position(2), (TableChanges(table, (batch,), (), 2),)))
    destination.evolve(table, [rewrite("canonical")])
    assert stored(postgres_uri) == {'"y"'}
    query = f"SELECT key, state FROM {META}.dead_letter_queue ORDER BY key"
    assert fetch(postgres_uri, query) == [('"x"', "pending"), ('"y"', "resolved")]


@pytest.mark.parametrize(
    "theirs",
    [
        "CREATE VIEW shop.theirs AS SELECT _id FROM shop.keyed",
        "CREATE TABLE shop.theirs (r bigint REFERENCES shop.keyed)",
    ],
)
def test_what_depends_on_the_key_forbids_the_rewrite(
    postgres_uri: str, destination: PostgresDestination, theirs: str
) -> None:
    table = table_of("bigint")
    destination.ensure(table)
    fetch(postgres_uri, theirs)
    with pytest.raises(StructureRefused) as caught:
        destination.evolve(table, [rewrite("canonical")])
    assert not caught.value.retryable
    assert "VIEW" not in theirs or "theirs" in str(caught.value)
    assert [state.table for state in destination.tables()] == [table]
    apply(
        destination,
        Batch(
            position(2),
            (TableChanges(table, (encode(destination, table, int32(1)),), (), 1),),
        ),
    )
    assert stored(postgres_uri) == {"1"}


def test_a_key_too_long_for_the_index_is_no_crash(
    postgres_uri: str, destination: PostgresDestination
) -> None:
    table = table_of("string")
    destination.ensure(table)
    letters = [*map(chr, range(0x21, 0x7F)), *('"' * 20)]
    long = "".join(random.Random(7).choices(letters, k=2650))
    batch = encode(destination, table, string(long))
    apply(destination, Batch(position(2), (TableChanges(table, (batch,), (), 1),)))
    with pytest.raises(StructureRefused, match="54000") as caught:
        destination.evolve(table, [rewrite("canonical")])
    assert long[:50] not in str(caught.value)
    assert stored(postgres_uri) == {long}


def test_a_locked_table_keeps_its_key(
    postgres_uri: str, destination: PostgresDestination
) -> None:
    table = table_of("bigint")
    destination.ensure(table)
    with psycopg.connect(postgres_uri) as reader:
        reader.execute("SELECT * FROM shop.keyed")
        with pytest.raises(LockTimeout):
            destination.evolve(table, [rewrite("numeric")])
    assert destination.evolve(table, [rewrite("numeric")]).key == "numeric"


def test_rows_of_an_older_key_never_reach_a_newer_one(
    postgres_uri: str, destination: PostgresDestination
) -> None:
    """The hex text of an ObjectId would fit a canonical key without an error."""
    table = table_of("objectId")
    destination.ensure(table)
    destination.plan(table, [ChunkRange(None, None)])
    old = encode(destination, table, oid(b"\1" * 12))
    copier = destination.copier()
    chunk = copier.claim(table)
    assert chunk is not None
    wide = destination.evolve(table, [rewrite("canonical")])
    with pytest.raises(StructureChanged):
        copier.begin(chunk, table, READ)
    copier.abort()
    batch = Batch(position(2), (TableChanges(table, (old,), (), 1),))
    with pytest.raises(StructureChanged):
        apply(destination, batch)
    assert stored(postgres_uri) == set()
    assert copier.claim(wide) == chunk
    copier.begin(chunk, wide, READ)
    copier.write(encode(destination, wide, oid(b"\1" * 12)))
    copier.commit()
    copier.close()
    assert stored(postgres_uri) == {'{"$oid":"' + "01" * 12 + '"}'}


def test_a_copier_in_its_transaction_keeps_the_key_as_it_is(
    postgres_uri: str, destination: PostgresDestination
) -> None:
    table = table_of("objectId")
    destination.ensure(table)
    destination.plan(table, [ChunkRange(None, None)])
    copier = destination.copier()
    chunk = copier.claim(table)
    assert chunk is not None
    copier.begin(chunk, table, READ)
    with pytest.raises(LockTimeout):
        destination.evolve(table, [rewrite("canonical")])
    copier.write(encode(destination, table, oid(b"\1" * 12)))
    copier.commit()
    copier.close()
    assert stored(postgres_uri) == {"01" * 12}


def test_a_column_added_meanwhile_does_no_harm(
    postgres_uri: str, destination: PostgresDestination
) -> None:
    table = Table(
        "shop",
        "orders",
        "orders",
        "string",
        (Column("n", ("n",), "bigint"), Column("note", ("note",), "text")),
    )
    destination.ensure(table)
    destination.evolve(table, [SchemaChange("add_column", Column("x", ("x",), "text"))])
    apply(destination, Batch(position(2), (upserts(order("a", 1), table=table),)))
    assert fetch(postgres_uri, "SELECT _id, x FROM shop.orders") == [("a", None)]


def test_no_other_rewrite_is_known() -> None:
    key = psycopg.sql.Identifier("_id")
    for before, after in (("numeric", "bigint"), ("canonical", "uuid")):
        with pytest.raises(DestinationError, match="never becomes"):
            keys.converted(before, after, key)
    with pytest.raises(DestinationError, match="is called"):
        keys.canonical("hex", key)
    assert merge.given_keys(table_of("uuid")).as_string(None).endswith("::uuid[]) AS k")
