"""What a PostgreSQL client says, cut into pieces of which each COMMIT is one.

Protocol 3.0: after the start-up packets, which have no type, each message is a type
byte and a length that counts itself. Only what may hold a COMMIT is kept back until it
is whole; the data of a COPY passes as it comes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

#: Packets instead of a start-up, after which the client asks again: TLS, GSSAPI.
_NEGOTIATIONS = frozenset({80877103, 80877104})

#: Query, Parse, Bind, Describe, Execute, Close, Flush, Sync: small, and whole here.
_KEPT = frozenset(b"QPBDECHS")

_HEADER = 5


class Piece(NamedTuple):
    """Bytes to be sent on together. ``commit``: they are a COMMIT, nothing else."""

    data: bytes
    commit: bool = False


class Frontend:
    """Follows one client from its first byte."""

    def __init__(self) -> None:
        self._started = False
        self._held = bytearray()
        #: Bytes still to come of a message that is not kept.
        self._passing = 0
        #: Extended protocol: prepared COMMITs by name, and whether one is under way.
        self._prepared: set[bytes] = set()
        self._committing = bytearray()

    def feed(self, data: bytes) -> Iterator[Piece]:
        """The pieces that are whole now; together, over time, exactly the input."""
        self._held += data
        loose = bytearray()
        while self._held:
            taken, kind = self._take()
            if not taken:
                break
            if kind in _KEPT and self._is_commit(kind, taken):
                if loose:
                    yield Piece(bytes(loose))
                    loose.clear()
                if kind == ord("Q"):
                    yield Piece(bytes(taken), commit=True)
                    continue
                self._committing += taken
            elif self._committing:
                self._committing += taken
                if kind == ord("S"):
                    yield Piece(bytes(self._committing), commit=True)
                    self._committing.clear()
            else:
                loose += taken
        if loose:
            yield Piece(bytes(loose))

    def _take(self) -> tuple[bytearray, int]:
        """The next bytes that may go on, and the type of their message; maybe none."""
        held = self._held
        if self._passing:
            return self._cut(min(self._passing, len(held)), passing=True), 0
        if not self._started:
            return self._take_start(), 0
        if len(held) < _HEADER:
            return bytearray(), 0
        kind = held[0]
        size = 1 + struct.unpack_from("!I", held, 1)[0]
        if kind in _KEPT:
            return (self._cut(size), kind) if len(held) >= size else (bytearray(), 0)
        self._passing = size
        return self._cut(min(size, len(held)), passing=True), 0

    def _take_start(self) -> bytearray:
        held = self._held
        if len(held) < 8:
            return bytearray()
        size, code = struct.unpack_from("!II", held)
        if len(held) < size:
            return bytearray()
        self._started = code not in _NEGOTIATIONS
        return self._cut(size)

    def _cut(self, size: int, *, passing: bool = False) -> bytearray:
        taken = self._held[:size]
        del self._held[:size]
        if passing:
            self._passing -= size
        return taken

    def _is_commit(self, kind: int, message: bytearray) -> bool:
        body = bytes(message[_HEADER:])
        if kind == ord("Q"):
            return _says_commit(body)
        if kind == ord("P"):
            name, text, *_ = body.split(b"\0", 2)
            found = _says_commit(text)
            (self._prepared.add if found else self._prepared.discard)(name)
            return found
        if kind == ord("B"):
            return body.split(b"\0", 2)[1] in self._prepared and not self._committing
        return False


def _says_commit(text: bytes) -> bool:
    return text.strip(b" \t\r\n\0;").upper() in (b"COMMIT", b"COMMIT WORK", b"END")
