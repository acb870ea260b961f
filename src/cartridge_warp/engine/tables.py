"""The tables of one schema: which there are, and how a collection gets one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import pairwise

from msgspec.structs import replace

from cwarp_core import ChangeEvent, Observation, key_encoding

from ..config import TableSettings
from ..errors import PreconditionError, StructureRefused
from ..model import (
    Chunk,
    ChunkRange,
    ClusterTime,
    Origin,
    Table,
    TableOptions,
    TableState,
)
from ..powers import Resyncs
from ..schema.evolve import soft_delete
from ..schema.infer import infer_table, key_encoding_of
from .line import Line
from .shape import Shape
from .views import Phase

log = logging.getLogger(__name__)

#: A table, and the chunks by which it is copied.
Planned = tuple[Shape, Sequence[Chunk]]

#: What the log says of a table whose collection is gone, by ``on_drop``.
_RETIRED = {
    "keep": "the rows that were copied from it are kept",
    "truncate": "its rows were removed (on_drop: truncate)",
    "drop": "the table was dropped (on_drop: drop)",
}


class Tables:
    """The synced tables by collection. Any thread, once they are prepared.

    states: what the destination had at the start.  gone: streamed collections that are
    there no more, and whose tables are.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._making = line.runtime.condition()
        self._shapes: dict[str, Shape] = {}
        self._names: set[str] = set()
        self.states: Mapping[str, TableState] = {}
        self.gone: set[str] = set()

    def get(self, collection: str) -> Shape | None:
        return self._shapes.get(collection)

    @property
    def streamed(self) -> list[Shape]:
        """Those that the change stream feeds."""
        shapes = list(self._shapes.values())
        return [each for each in shapes if self._line.streams(each.collection)]

    def named(self, table: str) -> Shape | None:
        """A streamed one by the name of its table."""
        named = (each for each in self.streamed if each.table.name == table)
        return next(named, None)

    def open(self) -> Mapping[str, TableState]:
        """Ask the destination which tables there are, by collection."""
        found = self._line.retry(self._line.destination.tables)
        self._names = {state.table.name for state in found}
        self.states = {state.table.collection: state for state in found}
        return self.states

    def known(self, state: TableState, read_until: ClusterTime = 0) -> Shape:
        """A table made by an earlier run, as the settings are now.

        read_until: as ``Shape`` has it.
        """
        line = self._line
        table = self._able_to_delete(self._as_set(state.table))
        shape = self._shapes[table.collection] = Shape(
            line, table, read_until, since=state.origin.since
        )
        self._set_gone(shape, state.gone)
        if state.pending_letters:
            waiting = partial(line.destination.waiting_keys, table)
            shape.make_up(line.retry(waiting))
        return shape

    def create(self, collection: str) -> Shape | None:
        """Make the table of a collection that has none; None without a document."""
        with self._making:
            return self._create(collection)

    # --- copies -----------------------------------------------------------------

    def plan(
        self,
        shape: Shape,
        ranges: Sequence[ChunkRange],
        origin: Origin | None = None,
    ) -> Sequence[Chunk]:
        """Store the chunks of a table's first copy, once.

        origin: of a table that is streamed.
        """
        line, table, resyncs = self._line, shape.table, self._line.resyncs
        with line.structure:
            chunks = line.retry(lambda: line.destination.plan(table, ranges))
            if resyncs is not None and origin is not None:
                line.retry(lambda: resyncs.know(table, origin))
                shape.since = origin.since
        return chunks

    def copied(self, collection: str, identity: str = "") -> Planned | None:
        """A collection without a table: its new one, ready to be copied.

        identity: as in ``Collection``. None while there is no document to learn from;
        the first one will come with the stream.
        """
        shape = self.create(collection)
        if shape is None:
            return None
        return shape, self.planned(shape, identity)

    def planned(self, shape: Shape, identity: str = "") -> Sequence[Chunk]:
        """The chunks of a table's first copy."""
        source = self._line.source
        since = self._line.retry(source.newest_time)
        ranges = self._line.retry(lambda: source.plan_chunks(shape.collection))
        return self.plan(shape, ranges, Origin(since, identity))

    def resynced(self, shape: Shape, origin: Origin) -> Planned:
        """A table that has rows: it is compared with its collection, in new chunks.

        Nobody may be copying it or applying events.
        """
        line, resyncs, table = self._line, self._resyncs, shape.table
        ranges = _divided(
            line.retry(lambda: line.source.plan_chunks(shape.collection)),
            partial(resyncs.divides, table),
        )
        with line.structure:
            chunks = line.retry(lambda: resyncs.replan(table, ranges, origin))
        shape.since = origin.since
        self._set_gone(shape, False)
        return shape, chunks

    def retired(self, shape: Shape, time: ClusterTime, *, keep: bool = False) -> None:
        """A table whose collection is gone: ``on_drop`` says what becomes of it.

        keep: whatever that says. Nobody may be copying it or applying events.
        """
        line, table, resyncs = self._line, shape.table, self._resyncs
        policy = "keep" if keep else line.schema.table(shape.collection).on_drop
        try:
            with line.structure:
                line.retry(lambda: resyncs.retire(table, policy, Origin(time)))
        except StructureRefused as error:
            log.warning(
                "on_drop: %s cannot be done, and the rows are kept: %s",
                *(policy, error),
                extra={"table": table.name},
            )
            policy = "keep"
            with line.structure:
                line.retry(lambda: resyncs.retire(table, policy, Origin(time)))
        shape.since = time
        self._set_gone(shape, policy != "drop")
        line.progress.table(shape.collection, Phase.GONE)
        if policy == "drop":
            del self._shapes[shape.collection]
            self._names.discard(table.name)
        log.warning(
            "its collection is gone; %s",
            _RETIRED[policy],
            extra={"table": table.name},
        )

    def _set_gone(self, shape: Shape, gone: bool) -> None:
        shape.gone = gone
        (self.gone.add if gone else self.gone.discard)(shape.collection)

    @property
    def _resyncs(self) -> Resyncs:
        if (resyncs := self._line.resyncs) is None:
            raise PreconditionError(
                "this destination cannot resync a table",
                hint="let the table be copied again into an empty destination",
            )
        return resyncs

    def found(self, collection: str, events: Iterable[ChangeEvent]) -> Shape | None:
        """The table of a collection; made, when it is first met in the stream.

        Then it did not exist, or held nothing, when the collections were listed, after
        the position was taken. So its whole history is in the stream, and there is
        nothing to copy. None while there is no document to learn from.
        """
        shape = self._shapes.get(collection)
        if shape is not None:
            return shape
        with self._making:
            return self._shapes.get(collection) or self._born(collection, list(events))

    def _born(self, collection: str, events: Sequence[ChangeEvent]) -> Shape | None:
        shape = self._create(
            collection,
            documents=[each.document for each in events if each.document],
            keys=[each.key for each in events if each.key],
        )
        if shape is not None:
            # Its rows come with these events, so what happened since is not behind.
            since = min(each.cluster_time for each in events)
            self.plan(shape, [], Origin(since))
            self._line.progress.table(
                collection, Phase.STREAMING, table=shape.table.name
            )
        return shape

    def _as_set(self, table: Table) -> Table:
        """A table made by an earlier run, with the settings that need no structure."""
        wanted = self._line.schema.table(table.collection).options
        options = as_set(table, wanted)
        kept = [
            name
            for name in options.__struct_fields__
            if getattr(options, name) != getattr(wanted, name)
        ]
        if kept:
            log.warning(
                "settings were changed after the table was made; it keeps those it was "
                "made with",
                extra={"table": table.name, "settings": kept}
                | {
                    "hint": 'for the new ones, let it be copied again ("Copy one table '
                    'again" in docs/troubleshooting.md)'
                },
            )
        return replace(table, options=options)

    def _able_to_delete(self, table: Table) -> Table:
        """The table, changed where its deletion strategy asks for columns.

        Waits while it is locked. Raises PreconditionError when a name is taken.
        """
        line, changes = self._line, soft_delete(table)
        if not changes:
            return table
        name = changes[0].column.name
        where = f"{table.schema}.{table.name}"
        if any(column.name == name for column in table.columns):
            raise PreconditionError(
                f"the column {name} of {where} holds a field of the documents, and "
                "soft deletes cannot use it",
                hint="set soft_delete_column to another name",
            )
        try:
            with line.structure:
                newest = line.retry(lambda: line.destination.evolve(table, changes))
        except StructureRefused as error:
            raise PreconditionError(
                f"{where} cannot have the columns {name} and deleted_at for soft "
                f"deletes: {error}",
                hint="mend that, or set soft_delete_column to another name",
            ) from error
        log.info(
            "structure changed",
            extra={"table": newest.name, "version": newest.version, "columns": [name]},
        )
        return newest

    def _create(
        self,
        collection: str,
        *,
        documents: Sequence[bytes] = (),
        keys: Sequence[bytes] = (),
    ) -> Shape | None:
        """Make a table from a sample, and from what is known otherwise.

        None when there is no document.
        """
        line = self._line
        settings = line.schema.table(collection)
        seen, encodings = line.retry(lambda: self._sample(collection, settings))
        for document in documents:
            seen.add_document(document)
        encodings.update(key_encoding(key) for key in keys)
        if not seen.documents and not seen.corrupt:
            return None
        table = infer_table(
            line.schema.name,
            collection,
            key_encoding_of(encodings),
            seen,
            settings.options,
            taken=self._names,
        )
        with line.structure:
            line.retry(lambda: line.destination.ensure(table))
        log.info(
            "table created",
            extra={"table": table.name, "columns": len(table.columns)},
        )
        shape = self._shapes[collection] = Shape(line, table)
        self._names.add(table.name)
        return shape

    def _sample(
        self, collection: str, settings: TableSettings
    ) -> tuple[Observation, set[str]]:
        """Observe a sample; the kinds of its ids, and of the smallest and greatest."""
        source = self._line.source
        seen = Observation(settings.options.max_document_depth)
        encodings: set[str] = set()
        for reply in source.sample(collection, settings.schema_sample_size):
            seen.add_reply(reply)
            keys = (reply.key(index) for index in range(len(reply)))
            encodings.update(key_encoding(key) for key in keys if key is not None)
        if (bounds := source.key_bounds(collection)) is not None:
            encodings.update(key_encoding(key) for key in bounds)
        return seen, encodings


def as_set(table: Table, wanted: TableOptions) -> TableOptions:
    """A table's options, those that need no structure as the settings have them."""
    return replace(
        table.options,
        on_misfit=wanted.on_misfit,
        deletion_strategy=wanted.deletion_strategy,
        soft_delete_column=table.deleted_column or wanted.soft_delete_column,
    )


def _divided(
    ranges: Sequence[ChunkRange], divides: Callable[[bytes], bool]
) -> list[ChunkRange]:
    """The same ranges, joined where a bound does not divide rows as it divides ids."""
    inner = [each.lower for each in ranges if each.lower and divides(each.lower)]
    whole = any(each.whole for each in ranges)
    return [ChunkRange(*pair, whole) for pair in pairwise([None, *inner, None])]
