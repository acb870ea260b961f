"""One schema's life: take ownership, copy what is not copied, follow the stream."""

from __future__ import annotations

import contextlib
import logging

from ..errors import PreconditionError, WarpError
from ..killpoint import reached
from ..model import Position
from ..retry import Stopped
from .copy import copy_tables
from .line import Line
from .progress import Phase
from .stream import Stream
from .tables import Tables
from .watch import Watch

log = logging.getLogger(__name__)


def run(line: Line, *, once: bool) -> None:
    """Sync one schema until it is stopped, or with ``once`` until it caught up.

    The position is stored before anything is read, so every change after it comes
    again with the stream, whatever the copy saw of it. With ``once`` the end is the
    source's time when the last copy was done: the tables are then as the source was
    at that moment. Closes both ends. Raises WarpError.
    """
    progress = line.progress
    with (
        contextlib.closing(line.source),
        contextlib.closing(line.destination),
        Watch(line),
    ):
        try:
            position = _start(line)
            tables = Tables(line)
            progress.phase(Phase.COPYING)
            copy_tables(line, tables.prepare())
            reached("handover")
            until = line.retry(line.source.time_now) if once else None
            tables.streaming()
            progress.phase(Phase.STREAMING)
            Stream(line, tables, position, until).run()
            progress.phase(Phase.DONE)
        except Stopped:
            progress.phase(Phase.STOPPED)
            log.info("stopped")
        except Exception as error:
            progress.failed(error)
            line.destination.failed(error)
            raise


def _start(line: Line) -> Position:
    """Check both ends, own the schema and know where to go on.

    A server that cannot be reached now is an error: whoever starts a sync wants to
    hear of a wrong address, and a supervisor will start it again.
    """
    source, destination = line.source, line.destination
    try:
        started = destination.validate()
        identity = source.validate(new=not started)
        line.progress.connected(True, "source")
        position = destination.open(identity)
        line.progress.connected(True, "destination")
        reached("marker_read")
        if position is None:
            position = source.position_now()
            destination.begin(position)
            log.info("starting with a first copy")
        else:
            log.info("going on where the last run ended")
    except WarpError as error:
        if not error.retryable:
            raise
        raise PreconditionError(str(error), hint=error.hint) from error
    line.progress.moved(position.cluster_time)
    return position
