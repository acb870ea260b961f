"""The process: one pipeline for each schema, and the exit code of them all."""

from __future__ import annotations

import logging
from functools import partial

from .. import logs, memory, registry
from ..config import SchemaSettings, Settings
from ..errors import WarpError
from . import pipeline
from .line import Line
from .progress import Progress
from .signals import StopSignal

log = logging.getLogger(__name__)

#: What the process returns after an error that is no WarpError.
FAILED = 1


def run(settings: Settings, *, once: bool, progress: Progress, stop: StopSignal) -> int:
    """Sync every schema of the settings; return the exit code.

    One schema runs in the calling thread, and its error is the caller's: WarpError.
    Several run in a thread each; one that fails is logged and never stops another,
    and the highest of their exit codes is returned. The caller has installed ``stop``.
    """
    memory.settle()
    if len(settings.schemas) == 1:
        line = _line(settings, settings.schemas[0], progress, stop)
        with logs.context(schema=line.schema.name):
            pipeline.run(line, once=once)
        return 0
    codes: list[int] = []
    lines = [_line(settings, each, progress, stop) for each in settings.schemas]
    threads = [
        line.thread(partial(_guarded, line, once, codes), "schema") for line in lines
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return max(codes, default=0)


def _guarded(line: Line, once: bool, codes: list[int]) -> None:
    """Run a schema whose failure is its own; its exit code goes into ``codes``."""
    code = 0
    try:
        pipeline.run(line, once=once)
    except WarpError as error:
        log.error("schema failed: %s", error, extra={"hint": error.hint})
        code = error.exit_code
    except Exception:
        log.exception("schema failed")
        code = FAILED
    codes.append(code)


def _line(
    settings: Settings, schema: SchemaSettings, progress: Progress, stop: StopSignal
) -> Line:
    return Line(
        registry.source(settings.source, schema),
        registry.destination(settings.destination, schema),
        schema,
        progress.schema(schema.name, schema.database),
        stop,
        errors=settings.error_handling,
    )
