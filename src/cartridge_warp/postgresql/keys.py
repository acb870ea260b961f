"""Keys in SQL: from one encoding of ``_id`` to another. Pure, as ``ddl``.

Every expression gives exactly what ``cwarp_core.key_text`` gives for the same id.
"""

from __future__ import annotations

from psycopg import sql

from cwarp_core import KeyKindError, key_text

from ..errors import DestinationError
from ..model import ChunkRange

#: The canonical text of a key cell. to_json escapes as the core does: the quote, the
#: backslash, and what is below U+0020. uuid_send gives the 16 bytes.
_CANONICAL = {
    "objectId": sql.SQL("""('{{"$oid":"' || {key} || '"}}')"""),
    "string": sql.SQL("to_json({key})::text"),
    "uuid": sql.SQL(
        """('{{"$binary":{{"base64":"' || encode(uuid_send({key}), 'base64')"""
        """ || '","subType":"04"}}}}')"""
    ),
    "bigint": sql.SQL("{key}::text"),
    "numeric": sql.SQL(
        "CASE WHEN {key} IN ('NaN', 'Infinity', '-Infinity')"
        """ THEN '{{"$numberDouble":"' || {key}::text || '"}}'"""
        " ELSE trim_scale({key})::text END"
    ),
    "canonical": sql.SQL("{key}"),
}


def canonical(encoding: str, key: sql.Composable) -> sql.Composed:
    """The canonical text of the key ``key``, which is in ``encoding``."""
    try:
        return _CANONICAL[encoding].format(key=key)
    except KeyError:
        raise DestinationError(f"no key encoding is called {encoding!r}") from None


def converted(before: str, after: str, key: sql.Composable) -> sql.Composed:
    """The key ``key`` of encoding ``before`` in encoding ``after``.

    Raises DestinationError for a pair that ``schema.infer.key_encoding_of`` never
    makes.
    """
    if after == "canonical":
        return canonical(before, key)
    if (before, after) == ("bigint", "numeric"):
        return sql.SQL("{}::numeric").format(key)
    raise DestinationError(f"a key of {before} never becomes one of {after}")


#: Encodings whose cells sort as their ids do in MongoDB, and the type of the cells.
#: Text keys are of the collation "C". The one exception is NaN: see ``within``.
_ORDERED = {
    "objectId": sql.SQL("text"),
    "string": sql.SQL("text"),
    "uuid": sql.SQL("uuid"),
    "bigint": sql.SQL("bigint"),
    "numeric": sql.SQL("numeric"),
}
_NAN = "NaN"


def ordered(encoding: str) -> bool:
    """Do cells of this encoding sort as their ids do?"""
    return encoding in _ORDERED


def divides(encoding: str, element: bytes) -> bool:
    """Are the cells below this ``_id`` element exactly those of the ids below it?"""
    if not ordered(encoding):
        return False
    try:
        text = key_text(element, encoding)
    except KeyKindError:
        return False
    return (encoding, text) != ("numeric", _NAN)


def within(encoding: str, key: sql.Composable, chunk: ChunkRange) -> list[sql.Composed]:
    """The conditions under which ``key`` is in a range whose bounds divide its cells.

    Each bound there is is one parameter, a key text, the lower one first.
    """
    lower, upper = chunk.lower is not None, chunk.upper is not None
    if not lower and not upper:
        return []
    bound = sql.SQL("%s::text::") + _ORDERED[encoding]
    conditions: list[sql.Composed] = []
    if lower:
        conditions.append(key + sql.SQL(" >= ") + bound)
    if upper:
        conditions.append(key + sql.SQL(" < ") + bound)
    if encoding == "numeric" and lower != upper:
        # To MongoDB NaN is the least of all numbers, to PostgreSQL the greatest.
        nan = key + sql.SQL(" = ") + sql.Literal(_NAN)
        if upper:
            return [sql.SQL("({} OR {})").format(conditions[0], nan)]
        conditions.append(sql.SQL("NOT {}").format(nan))
    return conditions
