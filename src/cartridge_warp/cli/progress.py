"""Shows the progress while the work goes on, and a summary when it is over."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator

import msgspec
from rich.console import Console, RenderableType
from rich.live import Live

from cartridge_warp import health
from cartridge_warp.engine.progress import Progress
from cartridge_warp.engine.views import Counts, View
from cartridge_warp.metrics import Rates

from . import tables

log = logging.getLogger(__name__)

STYLES = ("auto", "live", "log", "json", "none")
_LOG_SECONDS = 10.0
_JSON_SECONDS = 1.0
_FRAMES_A_SECOND = 4
#: A table is at least this wide where no terminal tells its width.
_PIPE_WIDTH = 140


def console() -> Console:
    """Stdout. Colours as the terminal and NO_COLOR want them."""
    wide = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _PIPE_WIDTH
    return Console(file=sys.stdout, width=wide, highlight=False, soft_wrap=False)


def chosen(style: str) -> str:
    """What ``auto`` means here: the live table needs a terminal it can redraw."""
    if style != "auto":
        return style
    out = console()
    return "live" if out.is_terminal and not out.is_dumb_terminal else "log"


@contextlib.contextmanager
def shown(progress: Progress, style: str) -> Iterator[None]:
    """Show the progress during the block and the summary after it, errors or not.

    style: one of ``STYLES``. ``live`` and ``json`` write to stdout, ``log`` to the
    log. The summary is a table, or with ``json`` the last line. Nothing is shown
    before the work has begun: an error of the start stands alone.
    """
    style = chosen(style)
    try:
        with _running(progress, style):
            yield
    finally:
        view = progress.snapshot()
        if any(schema.tables for schema in view.schemas):
            if style == "json":
                _write_json("summary", view)
            else:
                console().print(tables.summary(view))


def _running(
    progress: Progress, style: str
) -> contextlib.AbstractContextManager[object]:
    if style == "live":
        return _live(progress)
    if style == "log":
        rates = Rates()
        return _every(progress, _LOG_SECONDS, lambda view: _log(view, rates))
    if style == "json":
        return _every(
            progress, _JSON_SECONDS, lambda view: _write_json("progress", view)
        )
    return contextlib.nullcontext()


def _live(progress: Progress) -> Live:
    # Figures jump with every committed chunk; three seconds make a rate readable.
    rates = Rates(at_least=3.0)

    def frame() -> RenderableType:
        view = progress.snapshot()
        return tables.live(view, rates.between(view)) if progress.begun else ""

    return Live(
        get_renderable=frame,
        console=console(),
        refresh_per_second=_FRAMES_A_SECOND,
        transient=True,
        redirect_stdout=False,
        # Log lines go above the table, unless they go elsewhere anyway.
        redirect_stderr=sys.stderr.isatty(),
    )


@contextlib.contextmanager
def _every(
    progress: Progress, seconds: float, show: Callable[[View], None]
) -> Iterator[None]:
    """``show`` every so many seconds in a thread of its own, and at the end."""
    over = threading.Event()

    def loop() -> None:
        try:
            going_on = True
            while going_on:
                going_on = not over.wait(seconds)
                if progress.begun:
                    show(progress.snapshot())
        except OSError as error:
            # Nobody reads any more. The work is worth more than its display.
            log.warning("the progress is no longer shown: %s", error)

    thread = threading.Thread(target=loop, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _log(view: View, rates: Rates) -> None:
    by_table = rates.between(view)
    for schema in view.schemas:
        counts = sum((table.counts for table in schema.tables), Counts())
        pace = sum(rate for (name, _), rate in by_table.items() if name == schema.name)
        log.info(
            "progress",
            extra={
                "schema": schema.name,
                "phase": schema.phase.value,
                "tables": len(schema.tables),
                "copied": counts.copied,
                "expected": sum(table.expected for table in schema.tables),
                "applied": counts.applied,
                "dead_letters": counts.dead_letters,
                "rate": round(pace, 1),
                "lag_seconds": schema.lag_seconds,
                "connected": schema.connected,
            },
        )


def _write_json(kind: str, view: View) -> None:
    line = msgspec.json.encode({"type": kind, **health.status(view)})
    sys.stdout.write(line.decode() + "\n")
    sys.stdout.flush()
