"""What an SQLSTATE means for the work: the one table, and the one translation.

retry: waiting may mend it (a lock, a restart, no room). row: PostgreSQL refused a
value, not the work. fatal: somebody has to act; what is not listed is fatal.
"""

from __future__ import annotations

from enum import StrEnum

import psycopg
from psycopg import errors as pg

from ..errors import (
    DestinationError,
    DestinationUnavailable,
    LockTimeout,
    RowsRefused,
    StructureRefused,
    WarpError,
)


class Verdict(StrEnum):
    RETRY = "retry"
    ROW = "row"
    FATAL = "fatal"


_CODES: dict[Verdict, str] = {
    Verdict.RETRY: """
        08000 08001 08003 08004 08006 08007
        25006 25P03 25P04
        40001 40002 40003 40P01
        53000 53100 53200 53300 53400
        55006 55P03
        57014 57P01 57P02 57P03 57P05
    """,
    Verdict.ROW: """
        09000
        22000 22001 22002 22003 22004 22005 22007 22008 22009 2200B 2200C 2200D 2200F
        2200G 2200H 2200L 2200M 2200N 2200S 2200T 22010 22011 22012 22013 22014 22015
        22016 22018 22019 2201B 2201E 2201F 2201G 2201W 2201X 22021 22022 22023 22024
        22025 22026 22027 2202E 2202G 2202H 22030 22031 22032 22033 22034 22035 22036
        22037 22038 22039 2203A 2203B 2203C 2203D 2203E 2203F 2203G
        22P01 22P02 22P03 22P05 22P06
        23000 23001 23502 23503 23505 23514 23P01
        27000
        38000 38001 38002 38003 38004
        44000
        54000 54001
        P0000 P0001 P0002 P0003 P0004
    """,
    Verdict.FATAL: """
        08P01 0A000 21000 22P04 25P02 28000 28P01
        3D000 3F000 42501 42601 42703 42804 42P01 42P07
        54011 57P04 58030 XX000 XX001 XX002
    """,
}

#: SQLSTATE -> verdict. 25006: a former primary, read-only until it is replaced.
#: 22P04: our COPY framing is wrong, never a document's fault. 54011: too many columns.
#: 08P01: a cell is shorter than its type, which is ours as well. 09, 27, 38, P0: what a
#: user's trigger raises.
TABLE: dict[str, Verdict] = {
    code: verdict for verdict, codes in _CODES.items() for code in codes.split()
}

#: After these (or none at all) the outcome of a COMMIT is not known.
_UNRESOLVED = frozenset({"08007", "40003"})

#: Classes whose message may quote a value of a document; a user's trigger writes its
#: own.
_QUOTING_CLASSES = frozenset({"09", "22", "23", "27", "38", "44", "P0"})

#: Classes that speak of the statement itself, or of what the table holds: feature not
#: supported, data, constraints, dependent objects, syntax or access rule, limits, and
#: what an event trigger raises.
_REFUSING_CLASSES = frozenset({"0A", "22", "23", "2B", "42", "54", "P0"})

#: Of these, the classes whose detail names objects and never holds a value.
_NAMING_CLASSES = frozenset({"0A", "2B"})

_LOCK_NOT_AVAILABLE = "55P03"

#: An empty table in the place of a lost one would lack what was in it.
RECOPY = (
    "a table was changed outside: change it back, or let it be copied again "
    '("Copy one table again" in docs/troubleshooting.md)'
)

#: An empty column lacks it too, but a resync sees that.
REFILL = (
    "let the table be copied again, or add the column again and then run `cwarp resync`"
    ' for the table, which fills it ("A lost column" in docs/troubleshooting.md)'
)

_HINTS = {
    "25006": "the server is read-only: name the primary in the connection string",
    "42501": "grant the destination's role the right that is named here",
    "42P01": RECOPY,
    "42703": REFILL,
    "42804": RECOPY,
    "54000": "an id is longer than an index can hold as a key of another encoding",
    "53100": "the server's disk is full: free some room; the work goes on by itself",
    "53300": "raise max_connections, or end connections that are not needed",
}


def classify(sqlstate: str | None) -> Verdict:
    """The verdict on a code; on none at all, which is a broken connection: retry."""
    return Verdict.RETRY if sqlstate is None else TABLE.get(sqlstate, Verdict.FATAL)


def unresolved(error: psycopg.Error, *, lost: bool) -> bool:
    """Does this error of a COMMIT leave its outcome open? ``lost``: the connection."""
    return lost or error.sqlstate in _UNRESOLVED


def translated(error: psycopg.Error) -> WarpError:
    """Our error for one of the driver's: by SQLSTATE, and by class where it has none.

    The message holds the server's words only where they cannot hold a value.
    """
    code = error.sqlstate
    if code is None:
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            return DestinationUnavailable("the connection to PostgreSQL was lost")
        return DestinationError(f"the PostgreSQL driver refused: {_kind(error)}")
    message = _message(code, error)
    hint = _HINTS.get(code, "")
    if code == _LOCK_NOT_AVAILABLE:
        return LockTimeout(message, hint=hint)
    if classify(code) is Verdict.RETRY:
        return DestinationUnavailable(message, hint=hint)
    return DestinationError(message, hint=hint)


def refused(error: psycopg.Error) -> RowsRefused | None:
    """The error of a statement that moves rows when it is about a row, else None."""
    code = error.sqlstate
    if code is None or classify(code) is not Verdict.ROW:
        return None
    return RowsRefused(_message(code, error), hint=_HINTS.get(code, ""))


def refusal(error: psycopg.Error) -> StructureRefused | None:
    """The error of DDL that PostgreSQL will never run as things are, else None."""
    code = error.sqlstate or ""
    if code[:2] not in _REFUSING_CLASSES:
        return None
    message = _message(code, error)
    if code[:2] in _NAMING_CLASSES and error.diag.message_detail:
        message += f": {error.diag.message_detail}"
    return StructureRefused(message, hint=_HINTS.get(code, ""))


def _message(code: str, error: psycopg.Error) -> str:
    diag = error.diag
    words = [f"PostgreSQL: {_kind(error)} ({code})"]
    words += [
        f'{name} "{value}"'
        for name, value in (
            ("table", diag.table_name),
            ("column", diag.column_name),
            ("constraint", diag.constraint_name),
        )
        if value
    ]
    if code[:2] not in _QUOTING_CLASSES and diag.message_primary:
        words.append(diag.message_primary)
    return ", ".join(words)


def _kind(error: psycopg.Error) -> str:
    """The condition's name; for a code the driver does not know, its class's."""
    try:
        name = pg.lookup(error.sqlstate or "").__name__
    except KeyError:
        name = type(error).__name__
    return name
