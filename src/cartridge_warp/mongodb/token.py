"""What time a resume token stands for, and its place in the stream's order."""

from __future__ import annotations

import struct

import bson
from bson.errors import InvalidBSON

from ..errors import SourceError
from ..model import ClusterTime, Position

#: KeyString's first byte of a timestamp; eight bytes of it follow, big-endian.
_TIMESTAMP = 0x82
_TIME = struct.Struct(">xQ")

#: KeyString's first byte of a small positive number; one byte of it follows. That is
#: the token's version, which stands behind the time.
_SMALL_NUMBER = 0x2B
_VERSION = slice(_TIME.size, _TIME.size + 2)


def cluster_time(token: bytes) -> ClusterTime:
    """The cluster time in a resume token, one BSON document.

    Every token, of an event or of none, is ``{_data: <hex>}``, where the hex is a
    KeyString that begins with the cluster time (MongoDB's ``resume_token.h``; so
    since 4.0.7). Raises SourceError on anything else.
    """
    (time,) = _TIME.unpack_from(_data(token))
    return int(time)


def order(token: bytes) -> bytes:
    """Bytes that sort tokens as the stream has them. Raises as ``cluster_time``.

    They are the KeyString itself, which MongoDB sorts its streams by: the time, then a
    token of no event before those of events, then the place inside a transaction.
    Without the version, for it comes before all but the time: after a downgrade the
    rest of a transaction would seem to be past already.
    """
    data = _data(token)
    if data[_VERSION.start :][:1] != bytes((_SMALL_NUMBER,)):
        return data
    return data[: _VERSION.start] + data[_VERSION.stop :]


def position(token: bytes, stream: str) -> Position:
    """The position that a resume token of a stream stands for."""
    return Position(token, cluster_time(token), stream)


def _data(token: bytes) -> bytes:
    try:
        data = bytes.fromhex(bson.decode(token)["_data"])
        if data[0] != _TIMESTAMP or len(data) < _TIME.size:
            raise ValueError
    except (InvalidBSON, LookupError, TypeError, ValueError) as error:
        raise SourceError(
            "the resume token has a form that is not known",
            hint="a stored one was edited or damaged: copy into a new schema; one that "
            "MongoDB has just given: check that the server is 4.4 or newer",
        ) from error
    return data
