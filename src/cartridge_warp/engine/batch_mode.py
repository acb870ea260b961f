"""The tables of one schema that are read pass by pass, beside the stream or alone."""

from __future__ import annotations

import logging

from ..config import SchemaSettings
from ..errors import MisfitError, PreconditionError, SourceError
from ..retry import Stopped
from .batch_agenda import Agenda
from .batch_open import open_table
from .batch_pass import BatchPass, BatchTable
from .chunks import ChunkState
from .copy import Copy
from .line import Line
from .runtime import Task
from .shape import Shape
from .tables import Tables
from .views import Counts, Phase

log = logging.getLogger(__name__)

#: The loops turn at least this often, in seconds.
TURN_SECONDS = 1.0

#: The collections are listed, to find new ones, as often as the most frequent passes
#: begin, and within these bounds, in seconds.
LOOK_SECONDS = 1.0
SELDOM_SECONDS = 60.0

#: But the lists take no more than one part in so many of the time: each costs the
#: source a command a collection.
_LOOK_SHARE = 10

#: What stands for that on the agenda; no collection has this name.
_LOOK = ""

#: How long the end waits for a pass that waits for a server.
_CLOSE_SECONDS = 1.5

#: Ends one table's pass, and leaves the others alone.
_ITS_OWN = (SourceError, PreconditionError, MisfitError)


class BatchMode:
    """All tables of batch mode: as many passes at once as there are copy workers.

    A pass that fails for a reason of its table's is made again when the next one is
    due; with ``once`` it is the failure that ``check`` raises. Any other failure is the
    line's. alone: nothing follows the stream beside it.
    """

    def __init__(self, line: Line, tables: Tables, *, once: bool, alone: bool) -> None:
        self._line = line
        self._all = tables
        self._once = once
        self._alone = alone
        self._failure: Exception | None = None
        self._changed = line.runtime.condition()
        self._agenda = Agenda()
        self._tables: dict[str, BatchTable] = {}
        self._copying: set[str] = set()
        self._copy = Copy(
            line,
            after=Phase.WAITING if self._alone else Phase.STREAMING,
            completed=self._copied,
        )
        self._busy = self._reading = 0
        self._told: dict[str, str] = {}
        self._look_pause = _pause(line.schema)
        #: Collections whose table could not be opened, and when to try again.
        self._later: dict[str, float] = {}
        self._tasks: list[Task] = []

    def start(self) -> None:
        """Begin, where there is a table of batch mode at all."""
        schema = self._line.schema
        if not schema.has_batch:
            return
        if self._alone:
            log.info("reading in batch mode")
        self._agenda.set(_LOOK, 0.0)
        for number in range(schema.snapshot_workers):
            self._tasks.append(self._line.start(self._work, f"batch-{number}"))

    @property
    def working(self) -> bool:
        """Something is still to be done; with ``once`` that ends."""
        with self._changed:
            return bool(self._tasks) and not self._over

    def run(self) -> None:
        """The main loop of a schema without a stream, to the end of ``once``.

        Raises Stopped when the stop came, and what ``check`` raises.
        """
        line = self._line
        while self.working:
            line.progress.turn()
            if line.stop.requested:
                raise Stopped
            with self._changed:
                self._changed.wait_for(lambda: self._over, TURN_SECONDS)
        self.check()

    def check(self) -> None:
        """Raises what failed."""
        self._line.check()
        if self._failure is not None:
            raise self._failure

    def join(self) -> None:
        """Wait for the passes, which the stop has reached; not long for a server."""
        with self._changed:
            self._changed.notify_all()
        self._copy.join()
        for task in self._tasks:
            task.join(_CLOSE_SECONDS)

    # --- the workers ------------------------------------------------------------

    @property
    def _over(self) -> bool:
        """Nothing more is to be begun. Inside ``changed``."""
        if self._line.fatal is not None:
            return True
        return self._once and not (self._busy or self._agenda or self._copying)

    def _work(self) -> None:
        """One worker's life: whatever is due, one after the other."""
        try:
            while (name := self._next()) is not None:
                try:
                    if name == _LOOK:
                        self._look()
                    else:
                        self._pass(self._tables[name])
                finally:
                    with self._changed:
                        self._busy -= 1
                        self._changed.notify_all()
        except Stopped:
            pass
        except Exception as error:
            with self._changed:
                self._line.fatal = self._line.fatal or error
                self._changed.notify_all()

    def _next(self) -> str | None:
        """What is due, as soon as something is; None at the end."""
        line = self._line
        while not line.stop.requested:
            if self._copy.failure is not None and not self._copy.working:
                raise self._copy.failure
            with self._changed:
                now = line.runtime.now()
                if self._over:
                    return None
                if (name := self._agenda.take(now)) is not None:
                    self._busy += 1
                    return name
                wait = min(self._agenda.wait(now), TURN_SECONDS)
                self._changed.wait_for(lambda: self._over or self._due, wait)
        return None

    @property
    def _due(self) -> bool:
        return not self._agenda.wait(self._line.runtime.now())

    # --- passes -----------------------------------------------------------------

    def _pass(self, table: BatchTable) -> None:
        line = self._line
        line.progress.table(table.name, Phase.READING)
        self._reads(+1)
        try:
            end = BatchPass(line, table).run()
        except _ITS_OWN as error:
            self._failed(error, table.name, table.shape)
            due = table.timetable.due(line.runtime.now())
        else:
            self._told.pop(table.name, None)
            due = end.due
            line.progress.passed(table.name, table.state, due)
            line.progress.table(table.name, Phase.WAITING, reason="")
        finally:
            self._reads(-1)
        if not self._once:
            self._set(table.name, due)

    def _reads(self, change: int) -> None:
        """Keep the phase of a schema that has nothing but passes."""
        with self._changed:
            self._reading += change
            phase = Phase.READING if self._reading else Phase.WAITING
            copies = bool(self._copying)
        if self._alone and not copies:
            self._line.progress.phase(phase)

    def _set(self, name: str, due: float) -> None:
        with self._changed:
            self._agenda.set(name, due)
            self._changed.notify_all()

    def _failed(self, error: Exception, name: str, shape: Shape | None = None) -> None:
        """A table's own failure; told once while it stays the same."""
        line = self._line
        if self._once:
            self._failure = self._failure or error
        line.progress.failed(error, name)
        if self._told.get(name) == str(error):
            return
        self._told[name] = str(error)
        log.error(
            "a pass failed: %s",
            error,
            extra={"collection": name, "hint": getattr(error, "hint", "")},
        )
        if shape is not None:
            with line.structure:
                line.destination.failed(error, shape.table)

    # --- which tables there are -------------------------------------------------

    def _look(self) -> None:
        """Find the tables that are not known yet, and begin with them."""
        line, began = self._line, self._line.runtime.now()
        kinds = {each.name: each for each in line.retry(line.source.discover)}
        known = [name for name, state in self._all.states.items() if state.batch]
        copies = []
        for name in dict.fromkeys([*kinds, *known]):
            if name in self._tables or not line.batches(name):
                continue
            if self._later.get(name, began) > began:
                continue
            if line.stop.requested:
                raise Stopped
            found = kinds.get(name)
            kind = "collection" if found is None else found.kind
            try:
                opened = open_table(line, self._all, name, kind)
            except _ITS_OWN as error:
                self._failed(error, name)
                # It may have cost the source a look at every document.
                self._later[name] = line.runtime.now() + SELDOM_SECONDS
                continue
            if opened is None:
                line.progress.table(name, Phase.EMPTY)
                continue
            table, chunks = opened
            copied = sum(each.documents for each in chunks)
            pending = any(each.state != ChunkState.DONE for each in chunks)
            line.progress.table(
                name,
                Phase.STARTING if pending else Phase.WAITING,
                table=table.shape.table.name,
                expected=max(0 if found is None else found.documents, copied),
                counts=Counts(read=copied, copied=copied),
            )
            due = 0.0 if self._once else table.timetable.due(table.state.ended)
            line.progress.passed(name, table.state, max(due, line.runtime.now()))
            with self._changed:
                self._tables[name] = table
                if pending:
                    self._copying.add(name)
                    copies.append((table.shape, chunks))
                else:
                    self._agenda.set(name, due)
                self._changed.notify_all()
        if copies:
            self._copy.start(copies)
        if self._alone and not copies:
            self._reads(0)
        if not self._once:
            now = line.runtime.now()
            pause = max(self._look_pause, (now - began) * _LOOK_SHARE)
            self._set(_LOOK, now + min(pause, SELDOM_SECONDS))

    def _copied(self, collection: str) -> None:
        """The first copy of a table is complete: its first pass is due."""
        with self._changed:
            self._copying.discard(collection)
            self._agenda.set(collection, 0.0)
            self._changed.notify_all()


def _pause(schema: SchemaSettings) -> float:
    """Between two lists of the collections, in seconds."""
    every = (*schema.tables, schema.defaults)
    intervals = [
        each.polling_interval_seconds
        for each in every
        if each.batch and not each.schedule
    ]
    return max(min(intervals, default=SELDOM_SECONDS), LOOK_SECONDS)
