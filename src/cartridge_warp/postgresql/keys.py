"""Keys in SQL: from one encoding of ``_id`` to another. Pure, as ``ddl``.

Every expression gives exactly what ``cwarp_core.key_text`` gives for the same id.
"""

from __future__ import annotations

from psycopg import sql

from ..errors import DestinationError

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
