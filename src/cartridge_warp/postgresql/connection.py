"""One connection to PostgreSQL, opened again when it was lost, and its transactions."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
from psycopg import Connection, Cursor
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

from ..config import DestinationSettings
from ..errors import ConfigError, DestinationUnavailable, Fenced
from ..metadata.history import TIMELINE
from . import refusal
from .sqlstate import refused, translated, unresolved

#: A backend whose client fell silent inside a transaction gives up its locks after
#: this time, so that another owner never waits longer.
_ABANDONED_SECONDS = 30

#: SET LOCAL alone, so that it works behind a transaction pooler too. Dead peers are
#: noticed by the server within a minute, even in the middle of a COPY.
_BEGIN = f"""
BEGIN ISOLATION LEVEL {{mode}};
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL client_min_messages = warning;
SET LOCAL idle_in_transaction_session_timeout = '{_ABANDONED_SECONDS}s';
SET LOCAL tcp_keepalives_idle = 30;
SET LOCAL tcp_keepalives_interval = 10;
SET LOCAL tcp_keepalives_count = 3;
SET LOCAL lock_timeout = '{{lock_ms:d}}ms';
SET LOCAL statement_timeout = '{{statement_ms:d}}ms';
"""

#: Where the role need not wait for the disk: a crash of the server must not take back
#: what this process knows to be done. Other settings of it are the user's choice.
_DURABLE = "SET LOCAL synchronous_commit = on;"

#: What work happens in, and what looks at it: one moment for all queries, and a
#: promise to write nothing that the server itself keeps.
_WORK = "READ COMMITTED"
_LOOK = "REPEATABLE READ, READ ONLY"

#: For a peer that is gone without a word, where the connection string has none.
_KEEPALIVES = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}

_APPLICATION_NAME_BYTES = 63

#: Where the connection string stands in the settings.
SETTING = "destination.connection_string"


class CommitUnknown(DestinationUnavailable):
    """The connection broke during COMMIT: only the stored rows know how it ended."""


def application_name(role: str, schema: str) -> str:
    """What pg_stat_activity shows; PostgreSQL keeps 63 bytes of printable ASCII."""
    text = f"cartridge-warp {role} {schema}"
    printable = "".join(c if " " <= c <= "~" else "?" for c in text)
    return printable[:_APPLICATION_NAME_BYTES]


def connect(settings: DestinationSettings, application: str) -> Connection[TupleRow]:
    """A new connection in autocommit mode; transactions are begun by ``Link``.

    Raises ConfigError for a connection string that cannot be read (its text is not
    repeated: it holds a password), DestinationUnavailable when nothing answers.
    """
    timeout = max(2, round(settings.connection_timeout))
    defaults = {**_KEEPALIVES, "connect_timeout": timeout}
    ours = {"application_name": application, "client_encoding": "UTF8"}
    try:
        parts = conninfo_to_dict(settings.connection_string)
        conninfo = make_conninfo("", **{**defaults, **parts, **ours})
    except psycopg.Error:
        raise ConfigError(
            "not a PostgreSQL connection string",
            hint="write postgresql://USER:PASSWORD@HOST:5432/DATABASE, with special "
            "characters of the password written as %XX",
            setting=SETTING,
        ) from None
    try:
        return psycopg.connect(conninfo, autocommit=True, prepare_threshold=None)
    except psycopg.OperationalError as error:
        reason = refusal.reason(error, parts.get("password"))
        raise DestinationUnavailable(
            f"cannot connect to PostgreSQL: {reason}", hint=refusal.hint(reason, parts)
        ) from None


class Link:
    """One connection and at most one open transaction. One thread at a time.

    timeline: of the server that the owner wrote to, see ``metadata.history``. Where it
    is known, a transaction on any other raises Fenced before it does anything.
    """

    def __init__(
        self,
        settings: DestinationSettings,
        application: str,
        timeline: str | None = None,
    ) -> None:
        self.timeline = timeline
        self._settings = settings
        self._application = application
        self._connection: Connection[TupleRow] | None = None
        self._durable = True

    def begin(
        self,
        *,
        lock_ms: int = 0,
        statement_ms: int | None = None,
        read_only: bool = False,
    ) -> Cursor[TupleRow]:
        """Open a transaction. 0 means no limit; without a value, command_timeout.

        read_only: for several queries about one moment, which write nothing.

        A connection that the server closed while it was idle is opened again.
        """
        if statement_ms is None:
            statement_ms = round(self._settings.command_timeout * 1000)
        mode = _LOOK if read_only else _WORK
        text = _BEGIN.format(mode=mode, lock_ms=lock_ms, statement_ms=statement_ms)
        reused = self._connection is not None
        cur = self._cursor()
        if not self._durable:
            text += _DURABLE
        if self.timeline is not None:
            text += f"SELECT {TIMELINE}"
        try:
            cur.execute(text.encode())
        except psycopg.Error as error:
            self.drop()
            if not reused:
                raise translated(error) from error
        else:
            self._check_timeline(cur)
            return cur
        return self.begin(
            lock_ms=lock_ms, statement_ms=statement_ms, read_only=read_only
        )

    def _check_timeline(self, cur: Cursor[TupleRow]) -> None:
        if self.timeline is None:
            return
        while cur.nextset():
            pass
        row = cur.fetchone()
        if row is not None and row[0] not in (None, self.timeline):
            self.drop()
            raise Fenced(
                "PostgreSQL is not what this process wrote to: a standby was promoted, "
                "or a backup was restored; what was committed last may be missing",
                hint="start it again: it goes on from the position that is stored",
            )

    def commit(self, *, refusable: bool = False) -> None:
        """COMMIT. Raises CommitUnknown when its answer was lost.

        Never on a new connection, which would agree without having done anything.
        refusable: an error about a row, which a deferred constraint may have, is
        RowsRefused.
        """
        connection = self._connection
        if connection is None or (
            connection.info.transaction_status != TransactionStatus.INTRANS
        ):
            self.rollback()
            raise DestinationUnavailable("the transaction was lost before COMMIT")
        try:
            connection.execute("COMMIT")
        except psycopg.Error as error:
            lost = connection.closed
            self.rollback()
            if unresolved(error, lost=lost):
                raise CommitUnknown(
                    "the connection to PostgreSQL was lost during COMMIT"
                ) from error
            found = refused(error) if refusable else None
            raise found or translated(error) from error

    def rollback(self) -> None:
        """Leave no transaction open, and close a connection that cannot do that.

        Also one that has just been refused for being read-only: a session keeps what
        it was told at its beginning, whatever its role may do by now.
        """
        connection = self._connection
        if connection is None:
            return
        if _is_read_only(sys.exception()):
            self.drop()
            return
        try:
            if connection.info.transaction_status == TransactionStatus.ACTIVE:
                self.drop()
            elif connection.info.transaction_status != TransactionStatus.IDLE:
                connection.execute("ROLLBACK")
        except psycopg.Error:
            self.drop()

    @contextmanager
    def transaction(
        self,
        *,
        lock_ms: int = 0,
        statement_ms: int | None = None,
        read_only: bool = False,
    ) -> Iterator[Cursor[TupleRow]]:
        """A transaction around the block: COMMIT after it, ROLLBACK on any error."""
        cur = self.begin(
            lock_ms=lock_ms, statement_ms=statement_ms, read_only=read_only
        )
        try:
            with translating(), cur:
                yield cur
        except BaseException:
            self.rollback()
            raise
        self.commit()

    def drop(self) -> None:
        """Close the connection; the server rolls back what was open."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()

    def _cursor(self) -> Cursor[TupleRow]:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._settings, self._application)
            try:
                row = self._connection.execute("SHOW synchronous_commit").fetchone()
            except psycopg.Error as error:
                self.drop()
                raise translated(error) from error
            self._durable = row != ("off",)
        return self._connection.cursor()


def _is_read_only(error: BaseException | None) -> bool:
    """Is this our error for PostgreSQL's 25006, or that itself?"""
    cause = error if isinstance(error, psycopg.Error) else error and error.__cause__
    return isinstance(cause, psycopg.Error) and cause.sqlstate == "25006"


@contextmanager
def translating() -> Iterator[None]:
    """Driver errors of the block become ours."""
    try:
        yield
    except psycopg.Error as error:
        raise translated(error) from error


@contextmanager
def refusing() -> Iterator[None]:
    """A driver error of the block that is about a row becomes RowsRefused."""
    try:
        yield
    except psycopg.Error as error:
        found = refused(error)
        if found is None:
            raise
        raise found from error
