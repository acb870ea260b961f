"""A worker's life: a process that helps the owner of a schema with its first copies.

It owns nothing. What it may not do by itself, to change a table or to make a dead
letter of a row that PostgreSQL refuses, it leaves to the owner, with the chunk.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from functools import partial

from msgspec.structs import replace

from cwarp_core import EncodedBatch

from ..errors import (
    ConfigError,
    Fenced,
    MisfitError,
    PreconditionError,
    RowsRefused,
    SourceError,
    StructureChanged,
    Unowned,
    WarpError,
)
from ..model import Chunk, ClusterTime, Committed, SourceIdentity, Table
from ..powers import ConfirmsTime
from ..protocols import Membership, SharedCopier, TakesHelp
from ..retry import Stopped
from .beside import Beside
from .chunkwork import copy_chunk
from .heartbeat import BEAT_SECONDS
from .line import Line
from .listing import followable
from .shape import Shape
from .tables import as_set
from .views import Phase

log = logging.getLogger(__name__)

#: A worker that waits, for an owner or for a chunk, looks this often, in seconds.
LOOK_SECONDS = 0.5

#: How long the end waits for a connection that waits for a server.
_CLOSE_SECONDS = 5.0


def run(line: Line) -> None:
    """Copy chunks for the schema's owner until none is left, or the stop comes.

    Waits for an owner, and for the next one when it changes. Closes both ends. Raises
    WarpError.
    """
    with contextlib.closing(line.source), contextlib.closing(line.destination):
        try:
            identity = _identity(line)
            while not _Help(line, identity).run():
                line = line.renewed()
            line.progress.phase(Phase.DONE)
            log.info("no chunk is left")
        except Stopped:
            line.progress.phase(Phase.STOPPED)
            log.info("stopped")
        except Exception as error:
            line.progress.failed(error)
            raise


def _identity(line: Line) -> SourceIdentity:
    """Check what can be checked without an owner."""
    if not isinstance(line.destination, TakesHelp):
        raise PreconditionError("this destination shares no copy among processes")
    if not line.schema.has_stream:
        raise ConfigError(
            f"schema {line.schema.name} has no table that is streamed, and a worker "
            "helps with the first copies of those alone"
        )
    try:
        identity = line.source.validate(new=False)
    except WarpError as error:
        if not error.retryable:
            raise
        raise PreconditionError(str(error), hint=error.hint) from error
    line.progress.connected(True, "source")
    return identity


def _nothing(read_until: ClusterTime, committed: Committed) -> None:
    """The owner learns from the destination what became of a chunk."""


class _Left(Exception):
    """The table should change for these rows, which is the owner's to do."""


class _Lent(Shape):
    """A table as a worker has it: for one chunk."""

    def evolve(self, batch: EncodedBatch) -> Table:
        if self.changes(batch):
            raise _Left
        return self.table


class _Beats(Beside):
    """Signs of life, while the block runs."""

    name = "beats"

    def __init__(self, line: Line, member: Membership) -> None:
        super().__init__(line)
        self._member = member

    def work(self) -> None:
        while not self.over.wait(BEAT_SECONDS):
            try:
                self._member.beat()
            except Fenced as error:
                self.line.fatal = error
                return
            except WarpError as error:
                log.debug("no sign of life could be given: %s", error)


class _Help:
    """Under one owner."""

    def __init__(self, line: Line, identity: SourceIdentity) -> None:
        self._line = line
        self._identity = identity
        self._news = line.runtime.condition()
        self._failure: Exception | None = None
        #: The collections of whose copies it had a part.
        self._tables: set[str] = set()
        self._working = 0

    def run(self) -> bool:
        """True when no chunk is left; False when the owner changed. Raises Stopped."""
        line = self._line
        member = self._joined()
        try:
            with contextlib.closing(member), _Beats(line, member):
                self._wait(member.admitted)
                line.progress.phase(Phase.COPYING)
                log.info("admitted by the owner; copying")
                self._copy(member)
            for name in self._tables:
                line.progress.table(name, Phase.COPIED)
        except Fenced as error:
            log.info("joining anew: %s", error)
            line.stop.request()
            line.progress.phase(Phase.STANDBY)
            return False
        finally:
            line.stop.request()
        return True

    def _joined(self) -> Membership:
        line, destination = self._line, self._line.destination
        assert isinstance(destination, TakesHelp)
        member: Membership | None = None
        said = ""

        def attempt() -> bool:
            nonlocal member, said
            try:
                connections = line.schema.snapshot_workers
                member = destination.join(self._identity, connections)
            except Unowned as error:
                if str(error) != said:
                    said = str(error)
                    log.info("waiting: %s", said, extra={"hint": error.hint})
                line.progress.phase(Phase.STANDBY)
            return member is not None

        self._wait(attempt)
        assert member is not None
        line.progress.connected(True, "destination")
        return member

    def _wait(self, ready: Callable[[], bool]) -> None:
        line = self._line
        while not line.retry(ready):
            line.progress.turn()
            line.check()
            if line.stop.wait(LOOK_SECONDS):
                raise Stopped

    # --- the connections --------------------------------------------------------

    def _copy(self, member: Membership) -> None:
        """Until every connection has ended. Raises what one of them did, or Stopped."""
        line, copiers = self._line, member.copiers()
        self._working = len(copiers)
        for number, copier in enumerate(copiers):
            line.start(partial(self._work, member, copier), f"copy-{number}")
        patience = _CLOSE_SECONDS
        with self._news:
            while self._working and patience > 0:
                line.progress.turn()
                if line.fatal is not None:
                    line.stop.request()
                if line.stop.requested:
                    patience -= LOOK_SECONDS
                self._news.wait_for(lambda: not self._working, LOOK_SECONDS)
        line.check()
        if self._failure is not None:
            raise self._failure
        if self._working:
            raise Stopped

    def _work(self, member: Membership, copier: SharedCopier) -> None:
        try:
            with contextlib.closing(copier):
                self._chunks(member, copier)
        except Exception as error:
            with self._news:
                self._failure = self._failure or error
            # The others end what they have begun.
            self._line.stop.request()
        finally:
            with self._news:
                self._working -= 1
                self._news.notify_all()

    def _chunks(self, member: Membership, copier: SharedCopier) -> None:
        line, backoff = self._line, self._line.backoff()
        while not line.stop.requested:
            try:
                taken = copier.take()
                if taken is not None:
                    self._chunk(copier, *taken)
                elif not member.left():
                    return
                elif line.stop.wait(LOOK_SECONDS):
                    break
            except WarpError as error:
                if not error.retryable:
                    raise
                line.trouble(error)
                line.stop.wait(backoff.delay())
            else:
                backoff.reset()
                line.progress.connected(True)
        if line.fatal is None:
            raise Stopped

    def _chunk(self, copier: SharedCopier, table: Table, chunk: Chunk) -> None:
        line, source = self._line, self._line.source
        wanted = line.schema.table(table.collection).options
        shape = _Lent(line, replace(table, options=as_set(table, wanted)))
        self._tables.add(shape.collection)
        line.progress.table(shape.collection, Phase.COPYING, table=table.name)

        try:
            # Only now, behind the claim: what the owner's stream was told of while it
            # found the chunk unclaimed is older.
            read_time = (
                source.confirmed_time()
                if isinstance(source, ConfirmsTime)
                else source.newest_time()
            )
            copy_chunk(
                *(line, copier, shape, chunk, read_time), careful=False, done=_nothing
            )
        except (_Left, RowsRefused, StructureChanged, MisfitError) as error:
            reason = str(error) or "the table has to change for it"
            log.info(
                "a chunk is left to the owner",
                extra={"table": table.name, "reason": reason},
            )
        except SourceError as error:
            # A collection that was dropped is the owner's to deal with.
            if error.retryable or followable(line, shape.collection) is not None:
                raise
        finally:
            with contextlib.suppress(WarpError):
                copier.abort()
