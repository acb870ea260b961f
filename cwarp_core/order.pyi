from collections.abc import Sequence
from typing import Self, final

def compare_keys(a: bytes, b: bytes) -> int:
    """-1, 0 or 1 as MongoDB orders two ``_id`` elements under the simple collation.

    Types by their canonical order, numbers of the four types by exact value (NaN the
    lowest, -0.0 is 0), texts by bytes, binary by length, subtype, bytes, the namespace
    of a DBPointer up to its first U+0000; objects field by field: type, name, value;
    arrays likewise without the names. Raises CorruptBSON where either is broken, at any
    depth.
    """

def asked_alone(key: bytes) -> bool:
    """Whether a look-up must not ask for this ``_id`` beside others.

    True when a DBPointer in it has U+0000 inside its namespace. MongoDB's index ends
    the namespace there and its ``$in`` does not: of several ids it misses some, or
    looks for them without end (seen on 6.0). One alone is found. Raises CorruptBSON.
    """

@final
class KeyRanges:
    """Half-open ranges of ``_id`` that together hold every key there is.

    lowers: the lower bound of each range, an ``_id`` element, ascending; each range
    ends where the next begins. The first range holds what lies below its bound too,
    so that bound may be None. Raises ValueError when there is no bound or they do not
    ascend, CorruptBSON for a broken one. Immutable, shareable.
    """

    def __new__(cls, lowers: Sequence[bytes | None]) -> Self: ...
    def __len__(self) -> int: ...
    def find(self, key: bytes) -> int:
        """Index of the range that holds the key. Raises CorruptBSON."""
