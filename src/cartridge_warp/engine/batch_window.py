"""The documents that were read last: a pass reads those of the overlap again."""

from __future__ import annotations

import hashlib
from itertools import islice
from typing import Final

from msgspec import Struct

from cwarp_core import CorruptBSON, Reply, key_text

#: Documents remembered, about 2 MB of memory. What a larger overlap has beyond them is
#: compared with its rows by the destination.
SIZE: Final = 10_000


class Fresh(Struct, frozen=True):
    """What a reply has beyond the window.

    reply: None when there is nothing.  seen: what to remember once it is committed.
    read: documents of it, ``reply``'s and others.  twice: an id that two different
    documents have; the last of them is in ``reply``.
    """

    reply: Reply | None
    seen: dict[str | bytes, bytes]
    read: int
    twice: bool = False


class Window:
    """One table's, of one process. After a start everything is new."""

    def __init__(self, size: int = SIZE) -> None:
        self._size = size
        self._seen: dict[str | bytes, bytes] = {}

    def sift(self, reply: Reply) -> Fresh:
        """The documents that are not known in this very form."""
        last: dict[str | bytes, int] = {}
        seen: dict[str | bytes, bytes] = {}
        twice = False
        for index in range(len(reply)):
            digest = hashlib.blake2b(reply.document(index), digest_size=16).digest()
            name = _name(reply, index) or digest
            twice |= seen.get(name, digest) != digest
            last[name], seen[name] = index, digest
        new = [
            index for name, index in last.items() if self._seen.get(name) != seen[name]
        ]
        if len(new) == len(reply):
            return Fresh(reply, seen, len(reply))
        some = [reply.document(index) for index in new]
        made = Reply.of_documents(some, reply.operation_time) if some else None
        return Fresh(made, seen, len(reply), twice)

    def committed(self, fresh: Fresh) -> None:
        """The documents that ``sift`` found are rows, or dead letters, now."""
        for name, digest in fresh.seen.items():
            self._seen.pop(name, None)
            self._seen[name] = digest
        for name in [*islice(self._seen, max(len(self._seen) - self._size, 0))]:
            del self._seen[name]

    def clear(self) -> None:
        """Rows were deleted: what was read is not all there any more."""
        self._seen.clear()


def _name(reply: Reply, index: int) -> str | None:
    """What tells a document's id from others, as MongoDB compares them."""
    try:
        key = reply.key(index)
        return None if key is None else key_text(key, "canonical")
    except CorruptBSON:
        return None
