"""Which change events commit together: the last one of each key, transactions whole.

Pure and step-driven: no clock, no thread, no I/O. There is no waiting for a batch to
fill; a batch is whatever queued while the last one was committed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from cwarp_core import ChangeEvent

#: Events of one document. Every other kind speaks of structure, and ends a batch.
DOCUMENT_OPERATIONS = frozenset({"insert", "update", "replace", "delete"})


class CollectionChanges(Struct):
    """The batch's part for one collection.

    last: the last event of each key, by ``ChangeEvent.identity``.  events: how many
    there were in all.  unkeyed: those whose id cannot be read; they are in ``events``
    and not in ``last``.
    """

    last: dict[bytes | str, ChangeEvent] = {}
    events: int = 0
    unkeyed: int = 0


class Pending(Struct, frozen=True):
    """A batch not yet encoded.

    token: the resume token of the place after it.  cluster_time: of its newest event,
    0 without any.  settled: the source has nothing more up to the time of ``token``.
    cuts: a source transaction may go on behind it.  transactions: it holds one.
    joint: one of them has keys of several lanes.
    """

    token: bytes
    collections: dict[str, CollectionChanges]
    cluster_time: int
    settled: bool
    cuts: bool = False
    transactions: bool = False
    joint: bool = False


class Batcher:
    """Collects events until a batch should be committed.

    max_keys: distinct keys of a full batch.  max_bytes: size of the events taken, the
    only bound that may cut a source transaction in two.  lane_of: the lane of an
    event, where there are several.
    """

    def __init__(
        self,
        max_keys: int,
        max_bytes: int,
        lane_of: Callable[[ChangeEvent], int] | None = None,
    ) -> None:
        self._max_keys = max_keys
        self._max_bytes = max_bytes
        self._lane_of = lane_of
        self._clear()

    def _clear(self) -> None:
        self._collections: dict[str, CollectionChanges] = {}
        self._keys = 0
        self._nbytes = 0
        self._token: bytes | None = None
        self._transaction: bytes | None = None
        self._transactions = False
        self._lane = -1
        self._joint = False
        self._cluster_time = 0
        self._settled = False

    @property
    def token(self) -> bytes | None:
        """The place reached so far; None before any."""
        return self._token

    @property
    def settled(self) -> bool:
        """As in ``Pending``."""
        return self._settled

    @property
    def empty(self) -> bool:
        """No event is held (a place without events may be)."""
        return self._cluster_time == 0

    @property
    def inside_transaction(self) -> bool:
        """The events held may be only the beginning of a source transaction."""
        return self._transaction is not None

    @property
    def full(self) -> bool:
        return self._keys >= self._max_keys or self._nbytes >= self._max_bytes

    def extend(self, events: Sequence[ChangeEvent], start: int = 0) -> int:
        """Take events from ``start`` on; return the index of the first one not taken.

        Stops before an event that belongs to the next batch, which is when the batch
        is full and the event opens something new, and before an event of structure.
        """
        # This runs for every change there is, so the state is held in local names.
        keys, nbytes = self._keys, self._nbytes
        transaction = self._transaction
        collection = ""
        changes: CollectionChanges | None = None
        index = start
        for index in range(start, len(events)):
            event = events[index]
            if event.operation not in DOCUMENT_OPERATIONS:
                # A transaction may make the collection that it writes to.
                transaction = event.transaction
                break
            its = event.transaction
            goes_on = its is not None and its == transaction
            if nbytes >= self._max_bytes or (keys >= self._max_keys and not goes_on):
                if not goes_on:
                    transaction = None
                break
            if its is not None:
                self._transact(event, begins=not goes_on)
            transaction = its
            if changes is None or event.collection != collection:
                collection = event.collection
                changes = self._changes(collection)
            changes.events += 1
            # Superseded ones count too: a reply lives as long as one of its events.
            nbytes += event.nbytes
            identity = event.identity
            if identity is None:
                changes.unkeyed += 1
                continue
            if identity not in changes.last:
                keys += 1
            changes.last[identity] = event
        else:
            index = len(events)
        self._keys, self._nbytes = keys, nbytes
        self._transaction = transaction
        if index > start:
            # A stream never goes back in time: the last event is the newest.
            last = events[index - 1]
            self._token = last.token
            self._cluster_time = max(self._cluster_time, last.cluster_time)
            self._settled = False
        return index

    def _transact(self, event: ChangeEvent, *, begins: bool) -> None:
        """An event of a source transaction is taken."""
        self._transactions = True
        if self._lane_of is not None:
            lane = self._lane_of(event)
            self._joint |= not begins and lane != self._lane
            self._lane = lane

    def _changes(self, collection: str) -> CollectionChanges:
        changes = self._collections.get(collection)
        if changes is None:
            changes = self._collections[collection] = CollectionChanges()
        return changes

    def passed(self, token: bytes) -> None:
        """An event that asks for no row lies behind; the batch reaches to it."""
        self._token = token
        self._settled = False

    def reply_used_up(self, token: bytes | None, *, settled: bool) -> None:
        """The reply's last event was taken, or passed.

        token: the reply's post-batch token.  settled: the source had nothing more to
        give up to there, so no transaction is open.
        """
        if token is None:
            return
        if settled:
            self._transaction = None
            self._settled = True
        self._token = token

    def take(self) -> Pending | None:
        """The batch, and start the next one. None when no place was reached."""
        if self._token is None:
            return None
        pending = Pending(
            token=self._token,
            collections=self._collections,
            cluster_time=self._cluster_time,
            settled=self._settled,
            cuts=self.inside_transaction,
            transactions=self._transactions,
            joint=self._joint,
        )
        self._clear()
        return pending
