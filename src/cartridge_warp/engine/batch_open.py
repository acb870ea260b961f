"""How a collection becomes a table of batch mode, and which cannot."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

from ..errors import PreconditionError
from ..model import Chunk, Collection
from ..powers import EnrollsTables, Increments, ReadsIncrements
from .batch_agenda import Timetable
from .batch_pass import BatchTable
from .line import Line
from .listing import UNSUPPORTED
from .tables import Tables

#: Documents in which fields with times are looked for, to name them in an error.
_SAMPLE: Final = 1000
#: And at most so many are named.
_NAMED: Final = 10


def refuse_unusable(line: Line, listed: Iterable[Collection]) -> None:
    """Raises PreconditionError for a collection in which no pass would see a change."""
    for each in listed:
        if line.batches(each.name):
            _check_column(line, each.name, _reader(line, each.name))


def open_table(
    line: Line, tables: Tables, name: str, kind: str
) -> tuple[BatchTable, Sequence[Chunk]] | None:
    """Find or make the table of a collection, and the chunks of its first copy.

    kind: the collection's, as ``Collection`` has it. None when it has no document. The
    marker is stored before the first chunk is read: what is written meanwhile lies
    behind it. Raises PreconditionError.
    """
    schema, destination = line.schema, line.destination
    if not isinstance(destination, EnrollsTables):
        raise PreconditionError(
            "the destination keeps no markers of batch mode", hint="set mode: stream"
        )
    reader, settings = _reader(line, name), schema.table(name)
    state = tables.states.get(name)
    timestamp = settings.change_detection_strategy == "timestamp"
    if state is None:
        line.retry(partial(_check_column, line, name, reader))
    shape = tables.create(name) if state is None else tables.known(state)
    if shape is None:
        return None
    # The kinds that no stream covers have no chunks either.
    ordinary = kind not in UNSUPPORTED
    batch = None if state is None else state.batch
    copies = ordinary and (state is None or not state.planned)
    column = settings.change_detection_column if timestamp else ""
    if batch is None or batch.column != column:
        marker = line.retry(reader.newest) if copies and timestamp else None
        with line.structure:
            batch = line.retry(lambda: destination.enroll(shape.table, column, marker))
    chunks: Sequence[Chunk] = () if state is None else state.chunks
    if state is None or not state.planned:
        ranges = line.retry(partial(line.source.plan_chunks, name)) if copies else []
        chunks = tables.plan(shape, ranges)
    timetable = Timetable.of(settings, schema.timezone)
    table = BatchTable(shape, settings, reader, batch, timetable, ordinary=ordinary)
    return table, chunks


def _reader(line: Line, name: str) -> Increments:
    if not isinstance(line.source, ReadsIncrements):
        raise PreconditionError(
            "the source cannot be read in batch mode", hint="set mode: stream"
        )
    column = line.schema.table(name).change_detection_column
    return line.source.increments(name, column)


def _check_column(line: Line, name: str, reader: Increments) -> None:
    settings = line.schema.table(name)
    column = settings.change_detection_column
    if settings.change_detection_strategy != "timestamp" or reader.usable():
        return
    if line.source.key_bounds(name) is None:
        return  # an empty collection
    found = sorted(reader.times(_SAMPLE))
    near = difflib.get_close_matches(column, found, 1)
    seen = (
        f"fields with times: {', '.join(found[:_NAMED])}"
        if found
        else ("no field with times was seen in a sample")
    )
    raise PreconditionError(
        f"{line.schema.database}.{name}: no document has a time in "
        f"change_detection_column: {column}",
        hint=f"{f'did you mean {near[0]}? ' if near else ''}{seen}; set "
        "change_detection_column to one of them, or change_detection_strategy: hash",
    )
