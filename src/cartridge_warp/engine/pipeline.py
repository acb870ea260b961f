"""One schema's life: take ownership, copy what is not copied, follow the stream."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable

from ..errors import HistoryLost, Owned, PreconditionError, WarpError
from ..killpoint import reached
from ..model import ClusterTime, Position
from ..powers import SharesCopies
from ..retry import Stopped
from .batch_mode import BatchMode
from .batch_open import refuse_unusable
from .copy import Copy
from .heartbeat import Heartbeat
from .helpers import Helpers
from .history import told
from .line import Line
from .prepare import prepare, refuse_unsupported, warn_uncompared
from .requests import Requests
from .stream import Stream
from .tables import Tables
from .views import Phase
from .watch import Watch

log = logging.getLogger(__name__)

#: A process that waits for the ownership asks for it this often, in seconds.
STANDBY_SECONDS = 1.0


def run(line: Line, *, once: bool, anew: bool = False) -> None:
    """Sync one schema until it is stopped, or with ``once`` until it caught up.

    The position is stored before anything is read, and the stream begins there, beside
    the copy. With ``once`` the end is the source's time when the last copy was done:
    the tables are then as the source was at that moment. anew: the position is a new
    one, and every table is resynced; so it is too when the history behind the position
    is lost, where the settings say so. Tables of batch mode are read beside that, with
    ``once`` by one pass each. A schema that never had any others has no position, and
    opens no change stream; one that has a position follows it, whatever is selected
    now, so that it can be used when the selection changes again.
    Closes both ends. Raises WarpError.
    """
    with contextlib.closing(line.source), contextlib.closing(line.destination):
        backoff, start = line.backoff(), _start
        try:
            while True:
                try:
                    positions = start(line, anew=anew)
                    with Heartbeat(line), Watch(line):
                        _sync(line, positions, once=once)
                except HistoryLost as error:
                    _accept(line, error)
                    # Nothing of this attempt may write any more: the next one is
                    # another owner.
                    line, anew, start = line.renewed(), True, _start_again
                    if line.stop.wait(backoff.delay()):
                        raise Stopped from error
                else:
                    break
            line.progress.phase(Phase.DONE)
        except Stopped:
            line.progress.phase(Phase.STOPPED)
            log.info("stopped")
        except Exception as error:
            line.progress.failed(error)
            line.destination.failed(error)
            raise


def _accept(line: Line, error: HistoryLost) -> None:
    """Raises the error with its words, unless there is a way on."""
    if not line.schema.has_stream and line.resyncs is not None:
        # Every table that was streamed is left, and resynced if it is selected again.
        log.warning("the position is lost and a new one is taken: no table needs it")
        return
    if line.schema.on_history_lost == "fail":
        raise told(line, error) from error
    log.warning("%s; every table is resynced", told(line, error))
    line.destination.failed(error)


def _start(line: Line, *, anew: bool) -> list[Position]:
    """Open both ends.

    A server that cannot be reached now is an error: whoever starts a sync wants to
    hear of a wrong address, and a supervisor will start it again.
    """
    try:
        positions = _open(line, anew=anew and line.schema.has_stream)
        if anew:
            warn_uncompared(line.schema, line.destination.tables())
        return positions
    except WarpError as error:
        if not error.retryable:
            raise
        raise PreconditionError(str(error), hint=error.hint) from error


def _start_again(line: Line, *, anew: bool) -> list[Position]:
    """The same later on, where a server that is away is waited for."""
    return line.retry(lambda: _open(line, anew=anew))


def _open(line: Line, *, anew: bool) -> list[Position]:
    """Check both ends, own the schema and know where each lane goes on.

    No position if the schema does not stream, and never did.
    """
    source, destination = line.source, line.destination
    started = destination.validate()
    identity = source.validate(new=not started)
    listed = source.discover()
    refuse_unsupported(line.schema, listed)
    refuse_unusable(line, listed)
    line.progress.connected(True, "source")
    positions = _owned(line, lambda: destination.open(identity))
    line.progress.connected(True, "destination")
    reached("marker_read")
    if not positions and not line.schema.has_stream:
        return []
    if not positions:
        first = source.position_now()
        positions = [first] * line.schema.lanes
        destination.begin(first, line.schema.lanes)
        log.info("starting with a first copy")
    elif anew:
        positions = _restart(line)
    else:
        log.info("going on where the last run ended")
    if not line.schema.has_stream:
        log.info("no table is streamed now; the position moves on all the same")
    line.progress.moved(min(each.cluster_time for each in positions))
    return positions


def _restart(line: Line) -> list[Position]:
    """Begin at a new position, with the wish that every streamed table be resynced.

    Both are stored at once. What happened before is in what is read for the resyncs.
    """
    if line.resyncs is None:
        raise PreconditionError(
            "this destination cannot resync its tables",
            hint="copy into an empty one",
        )
    place = line.source.position_now()
    line.resyncs.restart(place, line.schema.lanes)
    if line.schema.has_stream:
        log.info("starting anew: every table is resynced")
    return [place] * line.schema.lanes


def _owned(line: Line, attempt: Callable[[], list[Position]]) -> list[Position]:
    """Open the destination, after waiting for its owner to end or to fall silent.

    Who has begun to stand by outlives whatever the owner would.
    """
    waits = False
    while True:
        try:
            return attempt()
        except Owned as error:
            if not waits:
                line.progress.phase(Phase.STANDBY)
                log.info("standing by: %s", error)
            waits = True
        except WarpError as error:
            if not waits or not error.retryable:
                raise
            line.trouble(error)
        line.progress.turn()
        if line.stop.wait(STANDBY_SECONDS):
            raise Stopped


def _sync(line: Line, positions: list[Position], *, once: bool) -> None:
    destination = line.destination
    sharing = destination.sharing() if isinstance(destination, SharesCopies) else None
    tables, copy = Tables(line), Copy(line, sharing=sharing)
    batches = BatchMode(line, tables, once=once, alone=not positions)
    try:
        place = min((each.cluster_time for each in positions), default=0)
        copied = prepare(line, tables, place)
        batches.start()
        if not positions:
            batches.run()
            return
        line.progress.phase(Phase.STREAMING)
        copy.start(copied)
        with Requests(line, tables), Helpers(line, copy):
            if len(positions) != line.schema.lanes:
                positions = _levelled(line, tables, copy, positions)
            end = _End(line, copy, batches) if once else None
            Stream(line, tables, copy, positions, end).run()
        batches.check()
    finally:
        line.stop.request()
        copy.join()
        batches.join()


def _levelled(
    line: Line, tables: Tables, copy: Copy, positions: list[Position]
) -> list[Position]:
    """Another number of lanes is wanted: begin it where all the present ones stand.

    A key may belong to another lane then, and no lane knows what another has done.
    """
    place = positions[0]
    if any(each != place for each in positions):
        last = max(each.cluster_time for each in positions)
        place = Stream(line, tables, copy, positions, lambda: last).run()
    line.retry(lambda: line.destination.begin(place, line.schema.lanes))
    log.info("lanes changed", extra={"lanes": line.schema.lanes})
    return [place] * line.schema.lanes


class _End:
    """The end of a sync that catches up: the source's time when the copy is done, and
    the passes of batch mode are."""

    def __init__(self, line: Line, copy: Copy, batches: BatchMode) -> None:
        self._line = line
        self._copy = copy
        self._batches = batches
        self._time: ClusterTime | None = None

    def __call__(self) -> ClusterTime | None:
        copying = self._copy.working or self._copy.waiting
        working = copying or self._batches.working
        if working or self._line.asked:
            # Also a copy that was begun since.
            self._time = None
        elif self._time is None:
            reached("handover")
            self._time = self._line.retry(self._line.source.time_now)
        return self._time
