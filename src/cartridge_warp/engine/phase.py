"""The phases of a schema's life, and of a table's."""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """Where a schema or a table is in its life."""

    STARTING = "starting"
    #: Another process owns the schema; this one takes over when that ends.
    STANDBY = "standby"
    #: A collection without a document: its table comes with the first one.
    EMPTY = "empty"
    #: A kind of collection that cannot be followed; ``last_error`` says why.
    UNSUPPORTED = "unsupported"
    COPYING = "copying"
    #: Compared with its collection, chunk by chunk; the stream goes on.
    RESYNCING = "resyncing"
    #: Every document is there; the stream has not passed the time of the copy yet.
    COPIED = "copied"
    STREAMING = "streaming"
    #: Its collection is there no more; the table is as that left it.
    GONE = "gone"
    #: A pass of batch mode is under way; and the next one is waited for.
    READING = "reading"
    WAITING = "waiting"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"
