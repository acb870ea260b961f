"""Prometheus' view of the progress: read at every scrape, kept nowhere twice.

``METRICS`` is the whole list; the reference page is made from it. What is not known
yet has no sample: a figure that is missing is honest, a zero would not be.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from .engine.views import BATCH_SECONDS, Phase, SchemaView, TableView, View
from .errors import Fenced

PREFIX: Final = "cartridge_warp_"
#: Tables of one schema that get samples of their own; the rest are one ``(others)``,
#: so that a source with a collection per customer cannot flood the monitoring.
MAX_TABLES: Final = 500
OTHERS: Final = "(others)"

_SCHEMA: Final = ("database", "schema")
_TABLE: Final = ("database", "schema", "table")


class Metric(Struct, frozen=True):
    """One metric. name: without the prefix.  kind: counter, gauge or histogram."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str

    @property
    def full_name(self) -> str:
        return PREFIX + self.name


METRICS: Final = (
    Metric(
        "records_processed_total",
        "counter",
        (*_TABLE, "operation"),
        "Documents and change events that are committed, by what became of them: "
        "copy (earlier runs included), upsert, delete, superseded, ignored, "
        "dead_letter.",
    ),
    Metric(
        "processing_rate",
        "gauge",
        _TABLE,
        "Committed documents and change events a second between the last two scrapes.",
    ),
    Metric(
        "lag_seconds",
        "gauge",
        _SCHEMA,
        "How far the committed position is behind the source, by the source's clock; "
        "0 when idle, absent until known.",
    ),
    Metric(
        "sync_status",
        "gauge",
        _SCHEMA,
        "1 copying, streaming, or reading in batch mode, 0 starting, done or stopped, "
        "-1 failed.",
    ),
    Metric(
        "last_successful_sync",
        "gauge",
        _SCHEMA,
        "When something was last committed, in seconds since 1970.",
    ),
    Metric(
        "error_count_total",
        "counter",
        (*_SCHEMA, "error_type"),
        "Errors met, those that were tried again included.",
    ),
    Metric(
        "retries_total",
        "counter",
        _SCHEMA,
        "Calls to a server that were made again after an error.",
    ),
    Metric(
        "batch_processing_duration_seconds",
        "histogram",
        _SCHEMA,
        "Time that committing a batch of changes took, in buckets from 1 ms to 60 s.",
    ),
    Metric(
        "queue_size",
        "gauge",
        _SCHEMA,
        "Replies that are read from the source and not yet taken.",
    ),
    Metric(
        "memory_usage_bytes",
        "gauge",
        (),
        "Resident memory of the process; absent where the system does not tell.",
    ),
    Metric(
        "schema_changes_total",
        "counter",
        (*_TABLE, "change_type"),
        "Structure changes made to a table; the one type there is: add_column.",
    ),
    Metric(
        "dead_letters_total",
        "counter",
        _TABLE,
        "Documents kept raw by this process because they fit no row.",
    ),
    Metric(
        "dead_letters_pending",
        "gauge",
        _TABLE,
        "Dead letters that wait in the destination, those of earlier runs included; "
        "looked up every 15 s, absent until known.",
    ),
    Metric(
        "type_conversion_warnings_total",
        "counter",
        _TABLE,
        "Values kept in _cwarp_extra because they do not fit their column.",
    ),
    Metric(
        "snapshot_progress_ratio",
        "gauge",
        _TABLE,
        "Part of the table's first copy that is committed, 0 to 1, against the "
        "source's estimate; absent where nothing is to be copied.",
    ),
    Metric(
        "batch_lag_seconds",
        "gauge",
        _TABLE,
        "Age of a batch table's last complete pass, from its beginning: how old its "
        "rows may be; absent before the first.",
    ),
    Metric(
        "batch_next_pass",
        "gauge",
        _TABLE,
        "When a batch table's next pass is due, in seconds since 1970.",
    ),
    Metric(
        "batch_passes_total",
        "counter",
        _TABLE,
        "Complete passes over a batch table, those of earlier runs included.",
    ),
    Metric(
        "batch_unread_documents",
        "gauge",
        _TABLE,
        "Documents in which passes see no change, because the change detection column "
        "holds no time.",
    ),
    Metric(
        "oplog_headroom_seconds",
        "gauge",
        _SCHEMA,
        "How much older the oldest entry of MongoDB's oplog is than the committed "
        "position: below 0 the history is lost. Looked up every 15 s; absent when the "
        "user may not read local.oplog.rs.",
    ),
    Metric(
        "fenced_total",
        "counter",
        _SCHEMA,
        "Times that another process took the schema over from this one.",
    ),
)

_STATUS: Final = {
    **dict.fromkeys((Phase.COPYING, Phase.STREAMING, Phase.READING, Phase.WAITING), 1),
    Phase.FAILED: -1,
}
#: A table's first copy is over.
_COPIED: Final = frozenset(
    {Phase.COPIED, Phase.STREAMING, Phase.READING, Phase.WAITING, Phase.DONE}
)

#: A metric's name, with "/_count", "/_sum" or "/_bucket" where it has several samples;
#: the values of its labels, a bucket's with its bound after them; the figure.
Sample = tuple[str, tuple[str, ...], float]


class Exporter(Collector):
    """Samples of ``read()``, taken anew at every scrape."""

    def __init__(self, read: Callable[[], View]) -> None:
        self._read = read
        self._rates = Rates()

    def collect(self) -> Iterator[Family]:
        view = self._read()
        families = {each.name: (each, _family(each)) for each in METRICS}
        for key, labels, value in _samples(view, self._rates.between(view)):
            name, _, suffix = key.partition("/")
            metric, family = families[name]
            names = (*metric.labels, "le") if suffix == "_bucket" else metric.labels
            family.add_sample(
                metric.full_name + suffix,
                dict(zip(names, labels, strict=True)),
                value,
            )
        for _, family in families.values():
            yield family

    def describe(self) -> Iterable[Family]:
        """Nothing: registering must not read the progress."""
        return ()


class Rates:
    """Committed documents and events a second, between one view and the one before.

    Views less than ``at_least`` seconds apart repeat the answer: two that scrape the
    same process must not spoil each other's figure. Empty until there are two views.
    """

    def __init__(self, at_least: float = 1.0) -> None:
        self._at_least = at_least
        self._lock = threading.Lock()
        self._taken: float | None = None
        self._totals: dict[tuple[str, str], int] = {}
        self._rates: dict[tuple[str, str], float] = {}

    def between(self, view: View) -> dict[tuple[str, str], float]:
        """By (schema, collection)."""
        with self._lock:
            if self._taken is not None and view.taken - self._taken < self._at_least:
                return self._rates
            totals = {
                (schema.name, table.collection): table.counts.read
                for schema in view.schemas
                for table in schema.tables
            }
            if self._taken is not None:
                span = view.taken - self._taken
                self._rates = {
                    # A table that is new in this view may have rows of earlier runs.
                    key: (total - self._totals[key]) / span
                    for key, total in totals.items()
                    if key in self._totals
                }
            self._taken, self._totals = view.taken, totals
            return self._rates


def exposition(read: Callable[[], View]) -> Callable[[], tuple[str, bytes]]:
    """A function that returns the media type and the text of a scrape."""
    registry = CollectorRegistry()
    registry.register(Exporter(read))
    return lambda: (CONTENT_TYPE_PLAIN_0_0_4, generate_latest(registry))


def progress_ratio(table: TableView) -> float | None:
    """Part of the copy or resync that is done, 0 to 1; None where there is none.

    ``expected`` is an estimate, so the count stops short of 1 until the copy is over.
    """
    if table.expected <= 0 or table.phase in (Phase.EMPTY, Phase.UNSUPPORTED):
        return None
    if table.phase in _COPIED:
        return 1.0
    return min(table.copied / table.expected, 0.999)


def _family(metric: Metric) -> Family:
    # A counter's family is named without the _total of its samples.
    return Family(metric.full_name.removesuffix("_total"), metric.help, metric.kind)


def _samples(view: View, rates: dict[tuple[str, str], float]) -> Iterator[Sample]:
    if (resident := _resident_bytes()) is not None:
        yield "memory_usage_bytes", (), resident
    for schema in view.schemas:
        yield from _schema_samples(schema)
        for name, tables in _by_label(schema.tables):
            yield from _table_samples(schema, name, tables, rates)
            if len(tables) == 1:
                yield from _batch_samples(schema, name, tables[0], view.taken)


def _by_label(
    tables: tuple[TableView, ...],
) -> Iterator[tuple[str, tuple[TableView, ...]]]:
    """Tables by the label they share: a second sample with the same labels would make
    Prometheus refuse the whole scrape."""
    named: dict[str, tuple[TableView, ...]] = {}
    for table in tables:
        name = table.table or table.collection
        if name not in named and len(named) >= MAX_TABLES:
            name = OTHERS
        named[name] = (*named.get(name, ()), table)
    yield from named.items()


def _schema_samples(schema: SchemaView) -> Iterator[Sample]:
    labels = (schema.database, schema.name)
    yield "sync_status", labels, _STATUS.get(schema.phase, 0)
    yield "queue_size", labels, schema.queued
    yield "retries_total", labels, schema.retries
    if schema.lag_seconds is not None:
        yield "lag_seconds", labels, schema.lag_seconds
    if schema.last_commit is not None:
        yield "last_successful_sync", labels, schema.last_commit
    for kind, count in schema.errors:
        yield "error_count_total", (*labels, kind), count
    yield "fenced_total", labels, dict(schema.errors).get(Fenced.__name__, 0)
    if schema.oldest_time is not None and schema.position_time is not None:
        # Cluster times count whole seconds in their upper half.
        headroom = (schema.position_time >> 32) - (schema.oldest_time >> 32)
        yield "oplog_headroom_seconds", labels, headroom
    batches, count = "batch_processing_duration_seconds", 0
    for bound, inside in zip(BATCH_SECONDS, schema.batches, strict=True):
        count += inside
        le = "+Inf" if bound == math.inf else str(bound)
        yield f"{batches}/_bucket", (*labels, le), count
    yield f"{batches}/_count", labels, count
    yield f"{batches}/_sum", labels, schema.batch_seconds


def _table_samples(
    schema: SchemaView,
    name: str,
    tables: tuple[TableView, ...],
    rates: dict[tuple[str, str], float],
) -> Iterator[Sample]:
    labels = (schema.database, schema.name, name)
    counts = tables[0].counts
    for table in tables[1:]:
        counts += table.counts
    for operation, count in (
        ("copy", counts.copied),
        ("upsert", counts.applied - counts.deleted),
        ("delete", counts.deleted),
        ("superseded", counts.superseded),
        ("ignored", counts.ignored),
        ("dead_letter", counts.dead_letters),
    ):
        yield "records_processed_total", (*labels, operation), count
    yield "dead_letters_total", labels, counts.dead_letters
    yield "type_conversion_warnings_total", labels, counts.rescued
    pending = [each.pending_letters for each in tables]
    if None not in pending:
        yield "dead_letters_pending", labels, sum(filter(None, pending))
    changes = sum(table.structure_changes for table in tables)
    yield "schema_changes_total", (*labels, "add_column"), changes
    known = [
        rates[key]
        for table in tables
        if (key := (schema.name, table.collection)) in rates
    ]
    if known:
        yield "processing_rate", labels, sum(known)
    if len(tables) == 1 and (ratio := progress_ratio(tables[0])) is not None:
        yield "snapshot_progress_ratio", labels, ratio


def _batch_samples(
    schema: SchemaView, name: str, table: TableView, now: float
) -> Iterator[Sample]:
    labels = (schema.database, schema.name, name)
    if table.next_pass is None:
        return  # it is streamed
    yield "batch_next_pass", labels, table.next_pass
    yield "batch_passes_total", labels, table.passes
    yield "batch_unread_documents", labels, table.unread
    if (lag := table.batch_lag(now)) is not None:
        yield "batch_lag_seconds", labels, lag


def _resident_bytes() -> int | None:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
