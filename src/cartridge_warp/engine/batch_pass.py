"""One pass of batch mode over one table: what changed is read and committed."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterator, Sequence

from msgspec.structs import replace

from cwarp_core import Reject, Reply, key_text

from ..config import TableSettings
from ..errors import PreconditionError, SourceError
from ..model import (
    Batch,
    BatchMarker,
    BatchState,
    BatchStep,
    ClusterTime,
    Keys,
    PassEnd,
    TableChanges,
)
from ..powers import FindsAbsent, Increments, KnowsUntouched
from ..protocols import Applier
from ..retry import Stopped
from .batch_agenda import Timetable
from .batch_window import Window
from .commit import Encoded, commit
from .line import Line
from .part import Slice, held_text
from .shape import Shape
from .views import Counts

log = logging.getLogger(__name__)

#: Rows deleted in one commit.
_DELETES = 5000

#: What changes with every pass is told this often, in seconds.
_TELL_SECONDS = 60.0


class BatchTable:
    """A table of batch mode, between its passes.

    ordinary: it is copied first, chunk by chunk, and no two of its documents have one
    id; neither holds for a view and for a time-series collection.
    """

    def __init__(
        self,
        shape: Shape,
        settings: TableSettings,
        reader: Increments,
        state: BatchState,
        timetable: Timetable,
        *,
        ordinary: bool,
    ) -> None:
        self.shape = shape
        self.settings = settings
        self.reader = reader
        self.state = state
        self.timetable = timetable
        self.ordinary = ordinary
        # A comparison trusts nothing that it has not read now.
        self.window = Window(0) if self.compares else Window()
        self._told: object = None
        self._told_at = -math.inf

    @property
    def name(self) -> str:
        """The collection's."""
        return self.shape.collection

    @property
    def compares(self) -> bool:
        """Its passes read every document."""
        return self.settings.change_detection_strategy == "hash"

    def is_news(self, what: object, now: float) -> bool:
        """Is this something else than was told last, and not too soon after that?"""
        if what == self._told or now - self._told_at < _TELL_SECONDS:
            return False
        self._told, self._told_at = what, now
        return True


class BatchPass:
    """Reads a table's changes, in commits that each move its marker along.

    A pass that ends early, for whatever reason, is gone on with at the marker. Raises
    Stopped, and what its ends raise.
    """

    def __init__(self, line: Line, table: BatchTable) -> None:
        self._line = line
        self._table = table
        self._reader = table.reader
        self._after: ClusterTime = 0
        self._applier: Applier

    def run(self) -> PassEnd:
        """Returns its end, which is committed."""
        line, table = self._line, self._table
        began = line.runtime.now()
        unread = 0
        with contextlib.closing(line.retry(line.destination.applier)) as self._applier:
            if line.retry(self._reader.exists):
                self._after = line.retry(line.source.newest_time)
                self._read()
                if table.compares or table.settings.detect_deletes:
                    line.retry(self._compare)
                if not table.compares:
                    unread = line.retry(self._reader.count_unseen)
            else:
                self._gone()
            ended = line.runtime.now()
            news = unread > 0 and table.is_news(unread, line.clock())
            end = PassEnd(began, ended, table.timetable.due(ended), unread, news)
            self._commit(_Nothing(BatchStep(table.shape.table.name, end=end)))
        if news:
            self._tell(unread)
        table.state = replace(
            table.state,
            passes=table.state.passes + 1,
            began=began,
            ended=ended,
            unread=unread,
        )
        return end

    # --- reading ----------------------------------------------------------------

    def _read(self) -> None:
        line, table = self._line, self._table
        if table.compares:
            line.retry(lambda: self._all(self._reader.whole(self._after)))
            return
        if not table.ordinary and not table.state.passes:
            # No chunks were copied, and these are in no increment.
            line.retry(lambda: self._all(self._reader.unseen(self._after)))
        line.retry(self._since)

    def _since(self) -> None:
        overlap = self._table.settings.change_detection_overlap_seconds
        marker = self._table.state.marker
        for reply, place in self._reader.since(marker, overlap, self._after):
            self._bring(reply, self._ahead(place))

    def _all(self, replies: Iterator[Reply]) -> None:
        for reply in replies:
            self._bring(reply, None)

    def _ahead(self, place: BatchMarker | None) -> BatchMarker | None:
        """The place, unless the marker is there, or past it, already."""
        marker = self._table.state.marker
        if place is None or marker is None:
            return place
        return place if place.time >= marker.time and place != marker else None

    def _bring(self, reply: Reply, marker: BatchMarker | None) -> None:
        """Commit what is new in a reply, and how far the pass is with it."""
        line, table = self._line, self._table
        line.progress.turn()
        if line.stop.requested:
            raise Stopped
        fresh = table.window.sift(reply)
        if fresh.twice and not table.ordinary:
            raise SourceError(
                f"{line.schema.database}.{table.name} gives several documents with one "
                "_id, and a table has one row for each",
                hint="give the documents of a view an _id of their own ($project, "
                "$group), and those of a time-series collection too",
            )
        step = BatchStep(table.shape.table.name, marker)
        if fresh.reply is not None:
            self._commit(_Rows(line, table.shape, fresh.reply, step))
        elif marker is not None:
            self._commit(_Nothing(step))
        table.window.committed(fresh)
        if marker is not None:
            table.state = replace(table.state, marker=marker)

    # --- deletes ----------------------------------------------------------------

    def _compare(self) -> None:
        """Delete the rows whose documents are gone, by their keys."""
        line, table = self._line, self._table
        destination = line.destination
        if not isinstance(destination, FindsAbsent):
            raise PreconditionError(
                "the destination cannot compare keys, as detect_deletes and the "
                "strategy hash need it",
                hint="use the strategy timestamp without detect_deletes",
            )
        more = True
        while more:
            # No member that is read may be behind one that was read before.
            after = line.source.newest_time()
            found = destination.absent(table.shape.table, self._present(after))
            if (found.rows or found.letters) and not self._reader.exists():
                self._gone()
                return
            step = BatchStep(table.shape.table.name)
            for first in range(0, len(found.rows), _DELETES):
                some = found.rows[first : first + _DELETES]
                self._commit(_Removal(table.shape, some, step))
            if found.letters:
                self._commit(_Removal(table.shape, (), step, found.letters))
            if found.rows:
                table.window.clear()
            more = found.more

    def _present(self, after: ClusterTime) -> Iterator[Keys]:
        encoding = self._table.shape.table.key
        for reply in self._reader.keys(after):
            self._line.progress.turn()
            if self._line.stop.requested:
                raise Stopped
            texts: list[str] = []
            unheld: list[str] = []
            for key in filter(None, map(reply.key, range(len(reply)))):
                if (text := held_text(key, encoding)) is not None:
                    texts.append(text)
                else:
                    unheld.append(key_text(key, "canonical"))
            yield Keys(tuple(texts), tuple(unheld))

    def _gone(self) -> None:
        if self._table.is_news("gone", self._line.clock()):
            log.warning(
                "the collection is gone; the rows that were read from it are kept",
                extra={"table": self._table.shape.table.name},
            )

    # --- committing -------------------------------------------------------------

    def _commit(self, work: _Work) -> None:
        line, table = self._line, self._table
        refused = commit(line, self._applier, work)
        applier = self._applier
        untouched = applier.untouched() if isinstance(applier, KnowsUntouched) else 0
        counts = work.counts(len(refused.get(table.shape.table.name, ())))
        line.progress.committed(
            table.name,
            replace(
                counts,
                applied=counts.applied - untouched,
                superseded=counts.superseded + untouched,
            ),
        )
        for name, rejects in (*work.rejects(), *refused.items()):
            line.letters.committed(name, rejects)

    def _tell(self, unread: int) -> None:
        column = self._table.settings.change_detection_column
        log.warning(
            "documents hold no time in the change detection column, and passes do not "
            "see their changes",
            extra={
                "table": self._table.shape.table.name,
                "column": column,
                "documents": unread,
                "hint": f"set {column} in them, take another change_detection_column, "
                "or change_detection_strategy: hash",
            },
        )


class _Work(Encoded):
    """What a pass commits at once, and what it counts for."""

    def __init__(self, build: Callable[[bool], Batch]) -> None:
        self._build = build
        self.encode()

    def encode(self, *, careful: bool = False) -> None:
        self.batch = self._build(careful)

    def counts(self, _refused: int) -> Counts:
        return Counts()

    def rejects(self) -> Sequence[tuple[str, Sequence[Reject]]]:
        return ()


class _Nothing(_Work):
    """A step alone."""

    def __init__(self, step: BatchStep) -> None:
        super().__init__(lambda careful: _batch((), step, careful))


class _Rows(_Work):
    """Documents, as the stream commits those that it has looked up."""

    def __init__(self, line: Line, shape: Shape, reply: Reply, step: BatchStep) -> None:
        self._slice = Slice(line, shape, overlaps=True)
        self._slice.found.append(reply)
        self._slice.close()
        super().__init__(lambda careful: self._encoded(step, careful))

    def _encoded(self, step: BatchStep, careful: bool) -> Batch:
        self._slice.encode(keep=careful)
        return _batch((self._slice.table_changes(),), step, careful)

    def counts(self, refused: int) -> Counts:
        return self._slice.counts(refused=refused)

    def rejects(self) -> Sequence[tuple[str, Sequence[Reject]]]:
        return [(self._slice.table.name, self._slice.rows.rejects)]


class _Removal(_Work):
    """Documents that are gone: rows by key text, dead letters by canonical text."""

    def __init__(
        self,
        shape: Shape,
        rows: Sequence[str],
        step: BatchStep,
        letters: Sequence[str] = (),
    ) -> None:
        changes = TableChanges(
            shape.table, deletes=tuple(rows), events=len(rows), unheld=tuple(letters)
        )
        self._rows = len(rows)
        super().__init__(lambda careful: _batch((changes,), step, careful))

    def counts(self, _refused: int) -> Counts:
        return Counts(read=self._rows, applied=self._rows, deleted=self._rows)


def _batch(changes: tuple[TableChanges, ...], step: BatchStep, careful: bool) -> Batch:
    return Batch(None, changes, (), guarded=True, careful=careful, step=step)
