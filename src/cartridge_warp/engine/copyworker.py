"""One connection that copies chunks, whatever comes between."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from ..errors import OutcomeUnknown, RowsRefused, SourceError, WarpError
from ..model import Chunk, ClusterTime, Committed
from ..protocols import Copier
from .chunkwork import copy_chunk
from .line import Line
from .listing import followable
from .shape import Shape
from .views import Phase

if TYPE_CHECKING:
    from .copy import Copy


class CopyWorker:
    """Copies tables, one after the other; one task. ``copy`` is told of each chunk."""

    def __init__(self, copy: Copy, line: Line, copier: Copier) -> None:
        self._copy = copy
        self._line = line
        self._copier = copier
        self._troubled = False

    def table(self, shape: Shape) -> None:
        """Copy chunks of this table until none can be claimed, or the stop comes."""
        backoff = self._line.backoff()
        while not self._line.stop.requested and not shape.withdrawn:
            try:
                chunk = self._copier.claim(shape.table)
                if chunk is None:
                    return
                phase = Phase.RESYNCING if chunk.resync else Phase.COPYING
                self._line.progress.table(shape.collection, phase)
                self._chunk(shape, chunk)
            except WarpError as error:
                if not self._mends(error, shape):
                    raise
                self._troubled = True
                self._line.trouble(error)
                self._line.stop.wait(backoff.delay())
            else:
                backoff.reset()
                self._troubled = False
                self._line.progress.connected(True)

    def confirm(self) -> None:
        """Tell that both ends are there again, where no further chunk has told it.

        Raises Stopped.
        """
        if self._troubled:
            self._line.retry(self._line.source.newest_time)
            self._line.retry(self._line.destination.beat)
            self._line.progress.connected(True)

    def _mends(self, error: WarpError, shape: Shape) -> bool:
        """Will the chunk succeed later? Yes too when its collection is gone.

        A collection dropped under an open cursor is an error; the next read finds no
        document, which is the truth.
        """
        if error.retryable or not isinstance(error, SourceError):
            return error.retryable
        return followable(self._line, shape.collection) is None

    def _chunk(self, shape: Shape, chunk: Chunk) -> None:
        """Copy one chunk, or its beginning, and tell the map how it ended."""
        copy, line, copier = self._copy, self._line, self._copier
        careful = copy.claimed(shape, chunk)
        batch = None

        def done(read_until: ClusterTime, committed: Committed) -> None:
            copy.done(shape, chunk, read_time, read_until, committed)

        try:
            # Only now, behind the claim: what a stream has told of before is older.
            read_time = line.source.newest_time()
            batch = copy_chunk(
                line, copier, shape, chunk, read_time, careful=careful, done=done
            )
        except OutcomeUnknown:
            copy.lost(shape, chunk)
            raise
        except RowsRefused:
            careful = True
        finally:
            # Nothing happens to a chunk that is committed, or lost. The map comes
            # first: behind the abort another worker may claim the chunk.
            copy.handed_back(shape, chunk, careful=careful)
            with contextlib.suppress(WarpError):
                copier.abort()
        if batch is not None:
            # Not before: the table was held by the chunk's transaction.
            shape.evolve(batch)
