"""``protocols.Destination`` over the store, for one process and one of its lives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from cartridge_warp.config import SchemaSettings
from cartridge_warp.engine.lanes import lane_chooser
from cartridge_warp.errors import (
    DestinationError,
    DestinationUnavailable,
    Fenced,
    LockTimeout,
    Owned,
    StructureChanged,
    StructureRefused,
    Unowned,
)
from cartridge_warp.model import (
    Chunk,
    ChunkRange,
    Origin,
    Position,
    SchemaChange,
    SourceIdentity,
    Table,
    TableState,
)
from cartridge_warp.schema.evolve import apply, same_structure
from cwarp_core import BatchEncoder, KeyKindError, key_encoding, key_text

from .apply import SimulatedApplier
from .chunkcopy import SimulatedCopier, public
from .gate import Gate
from .sharing import SimulatedMember, SimulatedSharing
from .source import parsed
from .store import Holder, LaneOf, Marker, Store, StoredTable
from .tablerows import Broken, encoder_of

T = TypeVar("T")

#: Seconds without a sign of life after which an owner is taken for dead.
LEASE = 6.0

#: Seconds a structure change waits for a table's lock.
LOCK_SECONDS = 2.0


class SimulatedDestination:
    """unknown: the chance that a COMMIT's answer is lost.  locks: that a structure
    change meets a foreign lock.  refuses: no key is rewritten.  cuts: transactions may
    be cut for their size."""

    def __init__(
        self,
        store: Store,
        gate: Gate,
        name: str,
        *,
        unknown: float,
        locks: float,
        refuses: bool,
        settings: SchemaSettings,
        cuts: bool,
    ) -> None:
        self.store = store
        self.gate = gate
        self.name = name
        self.unknown = unknown
        self._settings = settings
        self._cuts = cuts
        self.epoch = 0
        self.history = 0
        self._seqs: list[int] = []
        self._locks = locks
        self._refuses = refuses
        self._in_structure = False

    # --- life -------------------------------------------------------------------

    def validate(self) -> bool:
        self.gate.before("validate")
        return bool(self.store.markers)

    def open(self, identity: SourceIdentity) -> list[Position]:
        self.gate.before("open")
        store, now = self.store, self.gate.scheduler.now
        if store.owner is not None and now - store.alive_at < LEASE:
            raise Owned(f"{store.owner} owns the schema")
        store.takeovers += store.owner is not None
        if store.process is not None and self.gate.chance(0.5):
            store.disconnect(store.process)
        store.epoch += 1
        store.owner = self.name
        store.alive_at = now
        self.epoch, self.history = store.epoch, store.history
        self._seqs = [marker.seq for marker in store.markers]
        store.counted = 0
        store.process = self
        store.workers.clear()
        for stored in store.tables.values():
            for chunk in stored.chunks.values():
                if chunk.state == "copying":
                    chunk.state, chunk.claim, chunk.worker = "pending", None, 0
        self.gate.after("open")
        return [marker.position for marker in store.markers]

    def begin(self, position: Position, lanes: int) -> None:
        self.transaction("begin")
        self.check_owner()
        store = self.store
        if store.markers:
            if any(marker.position != position for marker in store.markers):
                raise Broken("I4: lanes change while they stand at several places")
        seq = max((marker.seq for marker in store.markers), default=0) + 1
        store.counted = 0
        store.markers = [Marker(seq, position) for _ in range(lanes)]
        self._seqs = [seq] * lanes
        self.gate.after("begin")

    def beat(self) -> None:
        self.transaction("beat")
        self.check_owner()
        self.store.alive_at = self.gate.scheduler.now
        self.gate.after("beat")

    def failed(self, error: Exception, table: Table | None = None) -> None:
        self.gate.touch("failed")

    def close(self) -> None:
        self.gate.touch("destination.close")
        owns = (self.epoch, self.history) == (self.store.epoch, self.store.history)
        if owns and self.store.process is self:
            self.store.owner = None

    def lane_of(self, lanes: int) -> LaneOf | None:
        """Which of so many lanes an event is of; None where transactions are cut."""
        if self._cuts:
            return None
        choose = lane_chooser(self._settings, lanes)
        return lambda entry: choose(parsed(entry))

    def transaction(self, call: str) -> None:
        """One begins; what it finds is of the history that this process knows."""
        self.gate.before(call)
        self.check_history()

    def check_history(self) -> None:
        if self.history != self.store.history:
            raise Fenced("a standby was promoted")

    def selects(self, collection: str) -> bool:
        """Do its settings follow a collection?"""
        return self._settings.selects(collection)

    def strategy(self, table: Table) -> str:
        """What its settings say of a table's deletes."""
        return self._settings.table(table.collection).options.deletion_strategy

    def check_owner(self) -> None:
        self.check_history()
        if self.epoch != self.store.epoch:
            raise Fenced("another process owns the schema")

    def check_seqs(self, lanes: Sequence[int]) -> None:
        """The markers are where this process has left them."""
        markers = self.store.markers
        for lane in lanes:
            if lane >= len(markers) or markers[lane].seq != self._seqs[lane]:
                raise Fenced("a marker was moved by another process")

    def moved(self, lanes: Sequence[int]) -> None:
        for lane in lanes:
            self._seqs[lane] += 1

    # --- structure --------------------------------------------------------------

    def tables(self) -> list[TableState]:
        self.transaction("tables")
        return [
            TableState(
                stored.table,
                stored.planned,
                _chunks(stored),
                len(stored.letters),
                left=stored.left,
                asked=stored.asked,
                gone=stored.gone,
                origin=stored.origin,
            )
            for stored in self.store.tables.values()
        ]

    def ensure(self, table: Table) -> None:
        def ensured() -> None:
            self.check_owner()
            known = self.store.tables.get(table.name)
            if known is None:
                self.store.tables[table.name] = StoredTable(table)
            elif known.table.collection != table.collection:
                raise Broken(f"{table.name} is the table of another collection")

        self._alone("ensure", ensured)

    def evolve(self, table: Table, changes: Sequence[SchemaChange]) -> Table:
        def evolved() -> Table:
            self.check_owner()
            stored = self.stored(table)
            after = apply(table, list(changes))
            if same_structure(stored.table, after):
                return after
            if not same_structure(stored.table, table):
                raise DestinationError(f"{table.name} is not at {table.version}")
            if after.key != table.key and self._refuses and self.gate.chance(1.0):
                raise StructureRefused("a view depends on the key")
            self._lock(stored)
            try:
                self.check_owner()
                stored.evolve(after)
                return after
            finally:
                stored.altering = None
                self.gate.scheduler.wake(stored)

        return self._alone("evolve", evolved)

    def waiting_keys(self, table: Table) -> set[str]:
        self.transaction("waiting_keys")
        letters = self.stored(table).letters.values()
        return {key_encoding(each.key) for each in letters if each.code == "key_kind"}

    def plan(self, table: Table, ranges: Sequence[ChunkRange]) -> list[Chunk]:
        def planned() -> list[Chunk]:
            self.check_owner()
            stored = self.stored(table)
            if not stored.planned:
                stored.plan(ranges, self.store.numbers())
            return list(_chunks(stored))

        return self._alone("plan", planned)

    def leave(self, tables: Sequence[Table]) -> None:
        self.transaction("leave")
        self.check_owner()
        for table in tables:
            self.stored(table).left = True
        self.gate.after("leave")

    # --- resyncs ----------------------------------------------------------------

    def ordered(self, table: Table) -> bool:
        self.gate.touch("ordered")
        return table.key != "canonical"

    def divides(self, table: Table, key: bytes) -> bool:
        self.gate.touch("divides")
        try:
            text = key_text(key, table.key)
        except KeyKindError:
            return False
        return table.key != "canonical" and (table.key, text) != ("numeric", "NaN")

    def asked(self) -> list[str]:
        self.transaction("asked")
        return [name for name, stored in self.store.tables.items() if stored.asked]

    def restart(self, position: Position, lanes: int) -> None:
        self.transaction("restart")
        self.check_owner()
        store = self.store
        for stored in store.tables.values():
            stored.asked = True
        seq = max((marker.seq for marker in store.markers), default=0) + 1
        # A place of no event sorts before the events of its time: these come again, to
        # tables that are all resynced.
        if any(
            each.position.cluster_time > position.cluster_time for each in store.markers
        ):
            raise Broken("I4: a restart goes back")
        store.counted = 0
        store.markers = [Marker(seq, position) for _ in range(lanes)]
        self._seqs = [seq] * lanes
        self.gate.after("restart")

    def replan(
        self, table: Table, ranges: Sequence[ChunkRange], origin: Origin
    ) -> list[Chunk]:
        def replanned() -> list[Chunk]:
            self.check_owner()
            stored = self.stored(table)
            stored.plan(ranges, self.store.numbers(), resync=True)
            stored.unseen = set(stored.letters)
            stored.left = stored.asked = stored.gone = False
            stored.origin = origin
            return list(_chunks(stored))

        return self._alone("replan", replanned)

    def retire(self, table: Table, policy: str, origin: Origin) -> None:
        def retired() -> None:
            self.check_owner()
            stored = self.store.tables.get(table.name)
            if stored is None:
                return
            if policy != "keep":
                self._lock(stored)
                try:
                    self.check_owner()
                    stored.empty()
                finally:
                    stored.altering = None
                    self.gate.scheduler.wake(stored)
            stored.plan((), self.store.numbers())
            stored.left = stored.asked = False
            stored.gone = policy == "keep"
            stored.origin = origin
            if policy == "drop":
                self.store.tables.pop(table.name, None)

        self._alone(f"retire: {policy}", retired)

    def know(self, table: Table, origin: Origin) -> None:
        def known() -> None:
            self.check_owner()
            self.stored(table).origin = origin

        self._alone("know", known)

    def pending_letters(self) -> dict[str, int]:
        self.gate.before("pending_letters")
        return {name: len(stored.letters) for name, stored in self.store.tables.items()}

    def _alone(self, call: str, effect: Callable[[], T]) -> T:
        """The engine promises that calls that change structure come one at a time."""
        if self._in_structure:
            raise Broken(f"{call} beside another call that changes structure")
        self._in_structure = True
        try:
            self.transaction(call)
            result = effect()
            self.gate.after(call)
            return result
        finally:
            self._in_structure = False

    def _lock(self, stored: StoredTable) -> None:
        """Take the table's lock; who asks for it later waits behind."""
        scheduler = self.gate.scheduler
        end = scheduler.now + LOCK_SECONDS
        foreign = self.gate.chance(self._locks)
        stored.altering = self
        while stored.holders or foreign or stored.altering is not self:
            if scheduler.now >= end:
                stored.altering = None
                scheduler.wake(stored)
                raise LockTimeout(f"{stored.table.name} is locked")
            scheduler.block(stored, end, "evolve waits for its lock")

    # --- workers of other processes ---------------------------------------------

    def sharing(self) -> SimulatedSharing:
        self.gate.touch("sharing")
        return SimulatedSharing(self)

    def join(self, identity: SourceIdentity, connections: int) -> SimulatedMember:
        self.gate.before("join")
        store, now = self.store, self.gate.scheduler.now
        if store.owner is None or now - store.alive_at >= LEASE:
            raise Unowned("nobody owns the schema")
        self.epoch, self.history = store.epoch, store.history
        member = SimulatedMember(self, connections)
        self.gate.after("join")
        return member

    # --- data -------------------------------------------------------------------

    def encoder(self, table: Table, *, keep: bool = False) -> BatchEncoder:
        self.gate.touch("encoder")
        return encoder_of(table)

    def copier(self) -> SimulatedCopier:
        self.gate.before("copier")
        return SimulatedCopier(self)

    def applier(self) -> SimulatedApplier:
        self.gate.before("applier")
        return SimulatedApplier(self)

    def hold(self, holder: Holder, table: Table) -> StoredTable:
        """Keep the table's structure as it is until ``release``."""
        self.check_history()
        stored = self.stored(table)
        while stored.altering is not None:
            self.gate.scheduler.block(stored, None, "waits for a structure change")
        if stored.table.key != table.key:
            raise StructureChanged(f"the key of {table.name} is another now")
        stored.holders.add(holder)
        return stored

    def stored(self, table: Table) -> StoredTable:
        if table.name not in self.store.tables:
            raise DestinationError(f"there is no table {table.name}")
        return self.store.tables[table.name]

    def release(self, holder: Holder) -> None:
        for stored in self.store.tables.values():
            if holder in stored.holders:
                stored.holders.discard(holder)
                self.gate.scheduler.wake(stored)

    def lost(self, what: str) -> bool:
        """Was this COMMIT's answer lost?"""
        lost = self.gate.chance(self.unknown)
        if lost:
            self.gate.scheduler.note(f"the answer to {what} is lost")
        return lost

    def unreachable(self, what: str) -> DestinationUnavailable:
        return DestinationUnavailable(f"{what}: the connection was cut")


def _chunks(stored: StoredTable) -> tuple[Chunk, ...]:
    return tuple(public(each) for each in stored.chunks.values())
