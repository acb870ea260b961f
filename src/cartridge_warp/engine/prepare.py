"""The start of a run: what both ends have, and what has to be copied or resynced."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

from ..config import SchemaSettings
from ..errors import PreconditionError
from ..model import Chunk, ClusterTime, Collection, Origin, TableState
from .line import Line
from .listing import UNSUPPORTED
from .shape import Shape
from .tables import Planned, Tables
from .views import Counts, Phase

log = logging.getLogger(__name__)

#: What makes a table of batch mode equal to its collection.
HEALING = (
    "one run with change_detection_strategy: hash compares every document with its row"
)


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


def warn_uncompared(schema: SchemaSettings, states: Iterable[TableState]) -> None:
    """Whoever asks for a resync of every table hears which of them get none."""
    names = [
        state.table.name
        for state in states
        if schema.batches(name := state.table.collection)
        # A pass of this strategy compares as much.
        and schema.table(name).change_detection_strategy != "hash"
    ]
    if names:
        log.warning(
            "tables of batch mode are not compared: only those that are streamed are "
            "resynced",
            extra={"tables": sorted(names), "hint": HEALING},
        )


def prepare(line: Line, tables: Tables, position_time: ClusterTime) -> list[Planned]:
    """Find or make the table of every collection that is streamed.

    Returns those whose copy is not complete, or has read what the position has not
    passed. Nobody applies events yet. Raises PreconditionError, and what the ends do.
    """
    return _Preparation(line, tables, position_time).run()


class _Preparation:
    def __init__(self, line: Line, tables: Tables, position_time: ClusterTime) -> None:
        self._line = line
        self._tables = tables
        self._position_time = position_time
        self._newest = self._since = 0

    def run(self) -> list[Planned]:
        line = self._line
        states = self._tables.open()
        self._check_modes(states)
        self._leave(states)
        streams = line.schema.has_stream
        if states and streams:
            # Whoever owned the schema before has read nothing newer than this.
            self._newest = line.retry(line.source.newest_time)
            # Before the look: what ends a collection that is there then is newer.
            self._since = line.retry(line.source.time_now)
        found = line.retry(line.source.discover)
        line.names.check(line.schema, [each.name for each in found], states)
        if not streams:
            return []
        listed = {
            each.name: each
            for each in found
            if line.streams(each.name) and self._can_follow(each)
        }
        # A table whose collection is gone stays, and follows it if it comes back.
        kept = [name for name in states if line.streams(name)]
        tables = [
            self._table(name, states.get(name), listed.get(name))
            for name in dict.fromkeys([*listed, *kept])
        ]
        return [each for each in tables if each is not None]

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

    def _leave(self, states: Mapping[str, TableState]) -> None:
        """A table that a run does not follow lacks that run's changes."""
        line = self._line
        leaves = [
            state.table
            for name, state in states.items()
            # A table of batch mode goes on at its marker, whenever that is.
            if not state.left and state.batch is None and not line.schema.selects(name)
        ]
        if leaves:
            line.retry(lambda: line.destination.leave(leaves))
            log.warning(
                "not followed from now on; a run that follows them again resyncs them",
                extra={"tables": sorted(table.name for table in leaves)},
            )

    def _table(
        self, name: str, state: TableState | None, listed: Collection | None
    ) -> Planned | None:
        """The table of one collection; None when there is nothing to copy."""
        tables, identity = self._tables, listed.identity if listed else ""
        if state is None:
            made = tables.copied(name, identity)
            if made is None:
                # Its key's type is not known before the first document.
                self._line.progress.table(name, Phase.EMPTY)
                return None
            return self._told(*made, listed)
        shape = tables.known(state, self._newest)
        if reason := _resync_for(state, listed):
            return self._resynced(shape, reason, listed)
        if not state.planned:
            return self._told(shape, tables.planned(shape, identity), listed)
        if identity and not state.origin.identity and not state.gone:
            self._know(shape, identity)
        return self._told(shape, state.chunks, listed)

    def _resynced(
        self, shape: Shape, reason: str, listed: Collection | None
    ) -> Planned | None:
        if listed is None:
            self._tables.retired(shape, shape.since)
            if self._tables.get(shape.collection) is shape:
                self._told(shape, (), None)
            return None
        log.info("resync", extra={"table": shape.table.name, "reason": reason})
        origin = Origin(self._since, listed.identity)
        planned = self._tables.resynced(shape, origin)
        return self._told(*planned, listed)

    def _know(self, shape: Shape, identity: str) -> None:
        """A table made by an older version, or from the stream."""
        line, origin = self._line, Origin(shape.since, identity)
        if (resyncs := line.resyncs) is not None:
            with line.structure:
                line.retry(lambda: resyncs.know(shape.table, origin))

    def _told(
        self, shape: Shape, chunks: Sequence[Chunk], listed: Collection | None
    ) -> Planned | None:
        """Tell the progress of the table; None when its copy lies behind."""
        phase = Phase.GONE if shape.gone else _phase(chunks, self._position_time)
        documents = sum(each.documents for each in chunks)
        if phase is Phase.STARTING and documents:
            done = sum(each.state == "done" for each in chunks)
            log.info(
                "copy goes on",
                extra={"table": shape.table.name, "documents_copied": documents}
                | {"chunks_done": done, "chunks_left": len(chunks) - done},
            )
        self._line.progress.table(
            shape.collection,
            phase,
            table=shape.table.name,
            expected=max(listed.documents if listed else 0, documents),
            counts=Counts(read=documents, copied=documents),
        )
        return None if phase in (Phase.STREAMING, Phase.GONE) else (shape, chunks)


def _resync_for(state: TableState, listed: Collection | None) -> str:
    """Why a table has to be resynced before any change is applied; "": it need not."""
    if state.asked:
        return "asked for"
    if state.left:
        return "an earlier run did not follow it"
    if listed is None:
        return ""
    if state.gone:
        return "its collection has come back"
    identities = {state.origin.identity, listed.identity}
    if len(identities) == 2 and "" not in identities:
        return "its collection is another one now"
    return ""


def _phase(chunks: Sequence[Chunk], position_time: ClusterTime) -> Phase:
    """Where the copy of a table stands."""
    if any(each.state != "done" for each in chunks):
        return Phase.STARTING
    # The position may be one of several places of its time.
    if any(each.read_until >= position_time for each in chunks):
        return Phase.COPIED
    return Phase.STREAMING
