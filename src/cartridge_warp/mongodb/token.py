"""What time a resume token stands for. The token itself stays opaque."""

from __future__ import annotations

import struct

import bson
from bson.errors import InvalidBSON

from ..errors import SourceError
from ..model import ClusterTime, Position

#: KeyString's first byte of a timestamp; eight bytes of it follow, big-endian.
_TIMESTAMP = 0x82
_TIME = struct.Struct(">xQ")


def cluster_time(token: bytes) -> ClusterTime:
    """The cluster time in a resume token, one BSON document.

    Every token, of an event or of none, is ``{_data: <hex>}``, where the hex is a
    KeyString that begins with the cluster time (MongoDB's ``resume_token.h``; so
    since 4.0.7). Raises SourceError on anything else.
    """
    try:
        data = bytes.fromhex(bson.decode(token)["_data"])
        if data[0] != _TIMESTAMP:
            raise ValueError
        (time,) = _TIME.unpack_from(data)
    except (InvalidBSON, LookupError, TypeError, ValueError, struct.error) as error:
        raise SourceError(
            "the resume token has a form that is not known",
            hint="check that the server is MongoDB 4.4 or newer, and report this",
        ) from error
    return int(time)


def position(token: bytes) -> Position:
    """The position that a resume token stands for."""
    return Position(token, cluster_time(token))
