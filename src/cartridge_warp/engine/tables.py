"""The tables of one schema: which there are, and how a collection gets one."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from msgspec.structs import replace

from cwarp_core import ChangeEvent, Observation, key_encoding

from ..config import SchemaSettings, TableSettings
from ..errors import PreconditionError, StructureRefused
from ..model import Chunk, ChunkRange, ClusterTime, Collection, Table, TableState
from ..schema.evolve import soft_delete
from ..schema.infer import infer_table, key_encoding_of
from .line import Line
from .progress import Counts, Phase
from .shape import Shape

log = logging.getLogger(__name__)

#: Kinds that no change stream covers, and why. Batch mode reads them.
UNSUPPORTED = {
    "view": "a view has no documents of its own to follow",
    "timeseries": "MongoDB has no change stream for time-series collections",
}


def refuse_unsupported(schema: SchemaSettings, listed: Iterable[Collection]) -> None:
    """Raises PreconditionError for a collection that is asked for by its name and can
    never be followed; one that only a glob or nothing chooses is left out later."""
    asked = {*schema.table_whitelist, *schema.global_table_whitelist}
    for each in listed:
        reason = UNSUPPORTED.get(each.kind)
        if reason is not None and each.name in asked and schema.streams(each.name):
            raise PreconditionError(
                f"{schema.database}.{each.name} cannot be streamed: {reason}",
                hint=f"read it in batch mode: set mode: batch for the table "
                f"{each.name}, or leave it out of --tables and of the whitelist",
            )


class Tables:
    """The synced tables by collection. Any thread, once they are prepared.

    states: what the destination had at the start.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._making = line.runtime.condition()
        self._shapes: dict[str, Shape] = {}
        self._names: set[str] = set()
        self.states: Mapping[str, TableState] = {}

    def get(self, collection: str) -> Shape | None:
        return self._shapes.get(collection)

    def prepare(
        self, position_time: ClusterTime
    ) -> list[tuple[Shape, Sequence[Chunk]]]:
        """Find or make the table of every collection that is streamed.

        Returns those whose copy is not complete, or has read what the position has not
        passed. A collection without documents gets none yet: its key's type is not
        known before the first document, and that one will come with the stream.
        """
        line = self._line
        states = {
            state.table.collection: state
            for state in line.retry(line.destination.tables)
        }
        self.states = states
        self._names = {state.table.name for state in states.values()}
        self._check_modes(states)
        self._check_left(states)
        # Whoever owned the schema before has read nothing newer than this.
        newest = line.retry(line.source.newest_time) if states else 0
        listed = [
            each
            for each in line.retry(line.source.discover)
            if line.schema.streams(each.name) and self._can_follow(each)
        ]
        sizes = {each.name: each.documents for each in listed}
        # A table whose collection is gone stays, and follows it if it comes back.
        kept = [name for name in states if line.schema.streams(name)]
        copied = []
        for name in dict.fromkeys([*sizes, *kept]):
            state = states.get(name)
            if state is not None:
                shape = self.known(state, newest)
            elif (made := self._create(name)) is not None:
                shape = made
            else:
                line.progress.table(name, Phase.EMPTY)
                continue
            if state is not None and state.planned:
                chunks: Sequence[Chunk] = state.chunks
            else:
                chunks = self.plan(shape, self._chunks(name))
            phase = _phase(chunks, position_time)
            if phase is not Phase.STREAMING:
                copied.append((shape, chunks))
            documents = sum(each.documents for each in chunks)
            if phase is Phase.STARTING and documents:
                done = sum(each.state == "done" for each in chunks)
                log.info(
                    "copy goes on",
                    extra={"table": shape.table.name, "documents_copied": documents}
                    | {"chunks_done": done, "chunks_left": len(chunks) - done},
                )
            line.progress.table(
                name,
                phase,
                table=shape.table.name,
                expected=max(sizes.get(name, 0), documents),
                counts=Counts(read=documents, copied=documents),
            )
        return copied

    def known(self, state: TableState, read_until: ClusterTime = 0) -> Shape:
        """A table that an earlier run made. read_until: as ``Shape`` has it."""
        line = self._line
        table = self._able_to_delete(self._as_set(state.table))
        shape = self._add(table, read_until)
        if state.pending_letters:
            waiting = partial(line.destination.waiting_keys, state.table)
            shape.make_up(line.retry(waiting))
        return shape

    def create(self, collection: str) -> Shape | None:
        """Make the table of a collection that has none; None without a document."""
        with self._making:
            return self._create(collection)

    def plan(self, shape: Shape, ranges: Sequence[ChunkRange]) -> Sequence[Chunk]:
        """Store the chunks of a table's first copy, once."""
        line = self._line
        with line.structure:
            return line.retry(lambda: line.destination.plan(shape.table, ranges))

    def renamed(self, collection: str) -> tuple[Shape, Sequence[Chunk]] | None:
        """A collection got this name, documents and all: its table, ready to be copied.

        None when it has one already, is not selected, or is empty or gone by now.
        """
        with self._making:
            if collection in self._shapes or not self._line.schema.streams(collection):
                return None
            shape = self._create(collection)
            if shape is None:
                return None
            return shape, self.plan(shape, self._chunks(collection))

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
            self.plan(shape, [])
            self._line.progress.table(
                collection, Phase.STREAMING, table=shape.table.name
            )
        return shape

    def _can_follow(self, collection: Collection) -> bool:
        reason = UNSUPPORTED.get(collection.kind)
        if reason is None:
            return True
        log.warning(
            "not synced: %s",
            reason,
            extra={
                "collection": collection.name,
                "hint": "to read it pass by pass, set mode: batch for the table",
            },
        )
        self._line.progress.table(collection.name, Phase.UNSUPPORTED, reason=reason)
        return False

    def _check_modes(self, states: Mapping[str, TableState]) -> None:
        """Neither the stream nor passes know what a table has from the other.

        Raises PreconditionError for one that is to go over.
        """
        schema = self._line.schema
        for name, state in states.items():
            streamed = state.planned and state.batch is None
            if streamed and schema.batches(name):
                before, now = "streamed", "batch"
            elif state.batch is not None and schema.streams(name):
                before, now = "read in batch mode", "stream"
            else:
                continue
            raise PreconditionError(
                f"{schema.name}.{state.table.name} was {before} so far, and mode "
                f"{now} does not know which changes it has",
                hint='let it be copied again ("Copy one table again" in '
                "docs/troubleshooting.md), or leave its mode as it was",
            )

    def _check_left(self, states: Mapping[str, TableState]) -> None:
        """A table that a run did not follow lacks that run's changes, for ever.

        Raises PreconditionError when one of those is selected again.
        """
        line = self._line
        back = [name for name, state in states.items() if state.left]
        back = [name for name in back if line.schema.selects(name)]
        if back:
            raise PreconditionError(
                f"{line.schema.name}: an earlier run did not follow "
                f"{', '.join(sorted(back))}, and its changes are missing",
                hint='let it be copied again ("Copy one table again" in '
                "docs/troubleshooting.md), or leave it out",
            )
        leaves = [
            state.table
            for name, state in states.items()
            # A table of batch mode goes on at its marker, whenever that is.
            if not state.left and state.batch is None and not line.schema.selects(name)
        ]
        if leaves:
            line.retry(lambda: line.destination.leave(leaves))
            log.warning(
                "not followed from now on; to follow them again they have to be copied "
                "again",
                extra={"tables": sorted(table.name for table in leaves)},
            )

    def _as_set(self, table: Table) -> Table:
        """A table made by an earlier run, with the settings that need no structure."""
        wanted = self._line.schema.table(table.collection).options
        options = replace(
            table.options,
            on_misfit=wanted.on_misfit,
            deletion_strategy=wanted.deletion_strategy,
            soft_delete_column=table.deleted_column or wanted.soft_delete_column,
        )
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

    def _add(self, table: Table, known: ClusterTime = 0) -> Shape:
        shape = self._shapes[table.collection] = Shape(self._line, table, known)
        self._names.add(table.name)
        return shape

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
        return self._add(table)

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

    def _chunks(self, collection: str) -> list[ChunkRange]:
        return self._line.retry(lambda: self._line.source.plan_chunks(collection))


def _phase(chunks: Sequence[Chunk], position_time: ClusterTime) -> Phase:
    """Where the copy of a table stands."""
    if any(each.state != "done" for each in chunks):
        return Phase.STARTING
    # The position may be one of several places of its time.
    if any(each.read_until >= position_time for each in chunks):
        return Phase.COPIED
    return Phase.STREAMING
