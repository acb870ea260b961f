"""The process: one pipeline for each schema, and the exit code of them all."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from .. import memory, registry
from ..config import SchemaSettings, Settings
from ..errors import ConfigError, WarpError
from . import pipeline, worker
from .line import Line
from .names import Names
from .prepare import HEALING
from .progress import Progress
from .signals import StopSignal

log = logging.getLogger(__name__)

#: What the process returns after an error that is no WarpError.
FAILED = 1

#: The main thread wakes up so often, in seconds. Python handles a signal in that thread
#: alone, and a signal that the system gave to another one does not wake it.
_TURN_SECONDS = 1.0


def run(
    settings: Settings,
    *,
    once: bool,
    progress: Progress,
    stop: StopSignal,
    full_resync: bool = False,
) -> int:
    """Sync every schema of the settings; return the exit code.

    full_resync: each begins at a new position, with a resync of every table. Raises
    ConfigError where none has a table that is streamed.
    """
    if full_resync and not any(each.has_stream for each in settings.schemas):
        names = ", ".join(each.name for each in settings.schemas)
        raise ConfigError(
            f"--full-resync: {names} is read in batch mode, and only tables that are "
            "streamed are resynced",
            hint=HEALING,
        )
    life = partial(pipeline.run, once=once, anew=full_resync)
    return _run(settings, life, progress, stop)


def help_copies(settings: Settings, *, progress: Progress, stop: StopSignal) -> int:
    """Help whoever syncs the schemas of the settings; return the exit code."""
    return _run(settings, worker.run, progress, stop)


def _run(
    settings: Settings,
    life: Callable[[Line], None],
    progress: Progress,
    stop: StopSignal,
) -> int:
    """Live for every schema.

    Each runs in a thread of its own. The error of a single one is the caller's:
    WarpError. Of several, one that fails is logged and never stops another, and the
    highest of their exit codes is returned. The caller has installed ``stop``.
    """
    memory.settle()
    names = Names(len(settings.schemas), settings.places)
    lines = [_line(settings, each, progress, stop, names) for each in settings.schemas]
    outcomes: list[Exception | None] = []
    alone = len(lines) == 1
    # Never in the calling thread: it has to be free for the stop's signals.
    tasks = [
        line.start(partial(_guarded, line, life, outcomes, alone), "schema")
        for line in lines
    ]
    while len(outcomes) < len(lines):
        for task in tasks:
            task.join(_TURN_SECONDS)
    failures = [each for each in outcomes if each is not None]
    if failures and alone:
        raise failures[0]
    return max(map(_exit_code, failures), default=0)


def _guarded(
    line: Line,
    life: Callable[[Line], None],
    outcomes: list[Exception | None],
    alone: bool,
) -> None:
    """Run a schema whose failure is its own; one of several tells it in the log."""
    failure: Exception | None = None
    try:
        life(line)
    except Exception as error:
        failure = error
        if alone:
            return
        if isinstance(error, WarpError):
            log.error("schema failed: %s", error, extra={"hint": error.hint})
        else:
            log.exception("schema failed")
    finally:
        outcomes.append(failure)


def _exit_code(error: Exception) -> int:
    return error.exit_code if isinstance(error, WarpError) else FAILED


def _line(
    settings: Settings,
    schema: SchemaSettings,
    progress: Progress,
    stop: StopSignal,
    names: Names,
) -> Line:
    return Line(
        registry.source(settings.source, schema),
        registry.destination(settings.destination, schema),
        schema,
        progress.schema(schema.name, schema.database),
        stop,
        errors=settings.error_handling,
        names=names,
    )
