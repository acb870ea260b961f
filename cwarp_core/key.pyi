from collections.abc import Sequence

def key_encoding(key: bytes) -> str:
    """The encoding for a table of ids of this one's kind.

    key: one type byte, then the value's bytes. Returns "objectId", "string" (symbols
    too), "uuid" (binary subtype 4), "bigint" (int32, int64), "numeric" (double,
    decimal128) or "canonical". A narrower one may hold this very id: 3.0 fits
    "bigint", but where one id is a double, the next may be 3.5. Raises CorruptBSON.
    """

def key_text(key: bytes, encoding: str) -> str:
    """The text form of the key cell, exactly what PostgreSQL prints for it.

    In every encoding that holds them, two ids have one text exactly when MongoDB holds
    them equal, under the simple collation: 1, 1L and 1.0; 0 and -0.0; every NaN; a
    symbol and the string of its text; DBPointers whose namespaces are equal up to their
    first U+0000; all of these also inside documents, arrays and scopes of code. Raises
    KeyKindError when the id does not fit the encoding, CorruptBSON when its bytes are
    not sound, ValueError for an unknown encoding.
    """

def in_filter(keys: Sequence[bytes]) -> bytes:
    """The BSON document ``{"_id": {"$in": [...]}}`` of these ``_id`` elements.

    One that is ``asked_alone`` has to be the only one. Raises CorruptBSON for a key
    that is not sound: it names the key, from 0, and ``offset`` counts from its start.
    Raises ValueError for more than 2 GiB (the server takes 16 MiB).
    """

class KeyKindError(ValueError):
    """An ``_id`` of a kind that the encoding asked for does not hold."""
