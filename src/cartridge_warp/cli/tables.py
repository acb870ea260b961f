"""A view of the progress as tables for people. Pure: a view in, a renderable out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from cartridge_warp import logs
from cartridge_warp.engine.views import Counts, Phase, SchemaView, TableView, View

#: Events a second by (schema, collection), as ``metrics.Rates`` gives them.
Rates = Mapping[tuple[str, str], float]

STYLES = {
    Phase.STANDBY: "yellow",
    Phase.COPYING: "cyan",
    Phase.RESYNCING: "cyan",
    Phase.COPIED: "cyan",
    Phase.STREAMING: "green",
    Phase.READING: "cyan",
    Phase.WAITING: "green",
    Phase.DONE: "green",
    Phase.FAILED: "bold red",
    Phase.UNSUPPORTED: "yellow",
    Phase.GONE: "yellow",
    Phase.LEFT: "yellow",
}
_COPYING = (Phase.COPYING, Phase.RESYNCING)
# What a person watches comes first when the terminal is too short for all tables.
_ORDER = {
    **{Phase.FAILED: 0, Phase.COPYING: 1, Phase.RESYNCING: 1, Phase.STARTING: 2},
    **{Phase.READING: 3, Phase.STREAMING: 4, Phase.WAITING: 5},
}
_RIGHT = {"rows", "rate", "lag", "ETA", "dead letters", "copied", "upserted"} | {
    *("deleted", "rescued", "chunks")
}


def grid(*columns: str) -> Table:
    """An empty table in the house's style; figures stand on the right."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(
            name, justify="right" if name in _RIGHT else "left", overflow="fold"
        )
    return table


def live(view: View, rates: Rates) -> RenderableType:
    """Every table with its phase, rows, rate, lag, time to go and dead letters.

    The lag of a table of batch mode is its own: the age of its last complete pass.
    """
    table = grid("table", "phase", "rows", "rate", "lag", "ETA", "dead letters")
    rows = sorted(
        ((schema, each) for schema in view.schemas for each in schema.tables),
        key=lambda pair: _ORDER.get(pair[1].phase, 9),
    )
    for schema, each in rows:
        rate = rates.get((schema.name, each.collection))
        table.add_row(
            escape(_name(schema, each)),
            phase(each.phase),
            _rows(each),
            "" if rate is None else f"{rate:,.0f}/s",
            _seconds(_lag(schema, each, view.taken)),
            _eta(each, rate, view.taken),
            _count(each.counts.dead_letters, "red"),
        )
    return Group(table, *_troubles(view))


def summary(view: View) -> RenderableType:
    """What is done, table by table and in all; a copy counts its earlier runs."""
    table = grid(
        *("table", "phase", "copied", "upserted", "deleted"),
        *("dead letters", "rescued"),
    )
    total, letters = Counts(), 0
    for schema in view.schemas:
        for each in schema.tables:
            total += each.counts
            pending = each.pending_letters or 0
            letters += pending
            name = escape(_name(schema, each))
            figures = _figures(each.counts, pending)
            table.add_row(name, phase(each.phase), *figures)
    table.add_section()
    table.add_row("total", "", *_figures(total, letters))
    took = Text(f"this run took {_seconds(view.taken - view.started)}")
    return Group(table, *_troubles(view), *_pending(letters), took)


def phase(name: str) -> Text:
    """A phase in its colour."""
    return Text(str(name), style=STYLES.get(Phase(name), ""))


def _troubles(view: View) -> Iterator[Text]:
    """One line for everything that is not as it should be."""
    for schema in view.schemas:
        if schema.last_error and (not schema.connected or schema.phase is Phase.FAILED):
            yield _trouble(schema.name, schema.last_error)
        for table in schema.tables:
            if table.last_error:
                yield _trouble(_name(schema, table), table.last_error)
            if table.unread:
                yield _trouble(_name(schema, table), _unread(table.unread))


def _unread(number: int) -> str:
    """Never silent: what passes cannot see."""
    return (
        f"{number:,} document{'s' * (number != 1)} without a time in the "
        "change_detection_column: passes do not see their changes"
    )


def _trouble(name: str, error: str) -> Text:
    first = " ".join(logs.redact_data(error).split())
    return Text(f"{name}: {first}", style="yellow", overflow="ellipsis")


def _pending(letters: int) -> Iterator[Text]:
    """Where to look for the documents that are no rows."""
    if letters:
        yield Text(
            f"{letters:,} dead letter{'s' * (letters != 1)} pending, each a document "
            "that is no row: cwarp status counts them by table, and dead_letter_queue "
            "in the metadata schema holds them",
            style="red",
        )


def _figures(counts: Counts, letters: int) -> Iterator[RenderableType]:
    yield f"{counts.copied:,}"
    yield f"{counts.applied - counts.deleted:,}"
    yield f"{counts.deleted:,}"
    yield _count(letters, "red")
    yield _count(counts.rescued, "yellow")


def _name(schema: SchemaView, table: TableView) -> str:
    return f"{schema.name}.{table.table or table.collection}"


def _rows(table: TableView) -> str:
    if table.phase in (*_COPYING, Phase.STARTING) and table.expected:
        return f"{table.copied:,} / {table.expected:,}"
    return f"{table.counts.copied + table.counts.applied:,}"


def _lag(schema: SchemaView, table: TableView, now: float) -> float | None:
    if table.next_pass is None:
        return schema.lag_seconds
    return table.batch_lag(now)


def _eta(table: TableView, rate: float | None, now: float) -> str:
    """Until the copy is over, or the next pass begins."""
    if table.phase is Phase.WAITING and table.next_pass is not None:
        return _seconds(max(table.next_pass - now, 0.0))
    left = table.expected - table.copied
    if table.phase not in _COPYING or not rate or left <= 0:
        return ""
    return _seconds(left / rate)


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _count(number: int, style: str) -> Text:
    return Text(f"{number:,}", style=style if number else "")
