"""Who owns a schema, who is fenced, and where each lane goes on."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from ...errors import (
    DestinationError,
    DestinationUnavailable,
    Fenced,
    Owned,
    PreconditionError,
)
from ...model import Batch, Column, SchemaChange, SourceIdentity
from ...protocols import Applier, Copier, Destination
from ..documents import document
from ..promise import Promise
from .hooks import (
    EVERYTHING,
    IDENTITY,
    READ,
    TABLE,
    DestinationHooks,
    claimed,
    encoded,
    halves,
    position,
    state_of,
    upserts,
)

_FENCED = Promise("Destination.open", "From here on every other owner is fenced.")

_OTHER = replace(TABLE, name="other", collection="other")
_ADDED = SchemaChange("add_column", Column("more", ("more",), "text", "string"))

#: What an owner does to the store, besides committing batches and chunks.
_CALLS: dict[str, Callable[[Destination], object]] = {
    "beat": lambda owner: owner.beat(),
    "begin": lambda owner: owner.begin(position(9), 1),
    "ensure": lambda owner: owner.ensure(replace(TABLE, name="t", collection="t")),
    "evolve": lambda owner: owner.evolve(TABLE, [_ADDED]),
    "leave": lambda owner: owner.leave([TABLE]),
    "plan": lambda owner: owner.plan(_OTHER, [EVERYTHING]),
}


class Ownership(DestinationHooks):
    # --- positions --------------------------------------------------------------

    def test_nothing_is_there_at_first(self) -> None:
        promise = Promise(
            "Destination.validate",
            "Changes nothing. True when the schema has a position to go on from.",
        )
        destination = self.made()
        promise.equal([destination.validate(), destination.validate()], [False, False])
        Promise("Destination.open", "Empty when nothing was ever started.").equal(
            destination.open(IDENTITY), []
        )
        promise.equal(self.made().validate(), False)

    def test_the_position_is_stored_before_anything_is_read(self) -> None:
        promise = Promise(
            "Destination.begin",
            "Store this many markers, all at ``position``, and no other. At the very"
            " start, before anything is read",
        )
        owner = self.made()
        owner.open(IDENTITY)
        owner.begin(position(7), 3)
        promise.equal(self.made().validate(), True)
        promise.equal(self.standing(), [position(7)] * 3)

    def test_another_number_of_lanes(self) -> None:
        promise = Promise(
            "Destination.begin",
            "Store this many markers, all at ``position``, and no other.",
        )
        owner = self.owner(lanes=2)
        for second, lanes in ((3, 4), (5, 1), (5, 2)):
            owner.begin(position(second), lanes)
            last = lanes - 1
            self.apply(owner, second, lanes=(last,))
        promise.equal(self.standing(), [position(5)] * 2)

    def test_a_lane_that_was_never_begun_has_no_marker(self) -> None:
        promise = Promise(
            "Destination.begin",
            "Store this many markers, all at ``position``, and no other.",
        )
        owner = self.owner()
        with promise.raises(DestinationError):
            self.apply(owner, 5, lanes=(1,))
        promise.equal(self.standing(), [position(1)])

    def test_another_source_is_refused(self) -> None:
        promise = Promise(
            "Destination.open",
            "PreconditionError when the stored marker belongs to another cluster.",
        )
        self.owner().close()
        with promise.raises(PreconditionError):
            self.made().open(SourceIdentity("another source", "1"))
        promise.equal(self.standing(silent=False), [position(1)])

    def test_a_new_version_of_the_source_is_the_same_source(self) -> None:
        promise = Promise(
            "SourceIdentity",
            "Which cluster this is. Two deployments never share a ``replica_set_id``.",
        )
        self.owner().close()
        newer = SourceIdentity(IDENTITY.replica_set_id, "2")
        promise.equal(self.made().open(newer), [position(1)])

    # --- one owner at a time ----------------------------------------------------

    def test_a_living_owner_is_left_alone(self) -> None:
        promise = Promise(
            "Destination.open",
            "Raises Owned when the owner is another process that has given a sign of"
            " life within some seconds",
        )
        owner = self.owner(TABLE)
        for _ in range(2):
            with promise.raises(Owned):
                self.made().open(IDENTITY)
        self.apply(owner, 2, upserts(owner, TABLE, document("a", 1)))
        self.compare(promise, TABLE, document("a", 1))

    def test_a_sign_of_life_keeps_the_ownership(self) -> None:
        promise = Promise("Destination.beat", "Give a sign of life.")
        owner = self.owner()
        self.silence()
        owner.beat()
        with promise.raises(Owned):
            self.made().open(IDENTITY)

    def test_whoever_closes_lets_the_next_one_in_at_once(self) -> None:
        promise = Promise(
            "Destination.close",
            "Give up the ownership; a process that waits for it goes on at once.",
        )
        owner, next_ = self.owner(), self.made()
        with promise.raises(Owned):
            next_.open(IDENTITY)
        owner.close()
        with promise.allows():
            promise.equal(next_.open(IDENTITY), [position(1)])
            owner.close()  # is nobody's owner any more
            next_.beat()

    def test_an_owner_may_open_again(self) -> None:
        promise = Promise(
            "Destination.open",
            "Raises Owned when the owner is another process",
        )
        owner = self.owner(TABLE)
        promise.equal(owner.open(IDENTITY), [position(1)])
        self.apply(owner, 2, upserts(owner, TABLE, document("a", 1)))
        self.compare(promise, TABLE, document("a", 1))

    # --- the former owner -------------------------------------------------------

    def test_no_call_of_a_former_owner_changes_anything(self) -> None:
        former = self.owner(TABLE, _OTHER)
        heir = self.heir()
        before = heir.tables()
        for name, call in _CALLS.items():
            try:
                call(former)
            except Fenced:
                continue
            except DestinationUnavailable:
                # Its connection was ended; nothing happened yet.
                with _FENCED.raises(Fenced):
                    call(former)
                continue
            _FENCED.broken(f"{name} of a former owner did not raise Fenced")
        _FENCED.equal(heir.tables(), before)
        former.close()
        heir.beat()
        _FENCED.equal(self.standing(), [position(1)])

    def test_no_batch_of_a_former_owner_is_kept(self) -> None:
        former = self.owner(TABLE)
        changes = upserts(former, TABLE, document("a", 1))
        applier, unused = self.applier(former), self.applier(former)
        applier.commit(Batch(position(2)))
        heir = self.heir()
        for each in (applier, unused):
            self.is_fenced(each, Batch(position(3), (changes,)))
        self.compare(_FENCED, TABLE)
        self.apply(heir, 3, upserts(heir, TABLE, document("b", 1)))
        self.compare(_FENCED, TABLE, document("b", 1))
        _FENCED.equal(self.standing(), [position(3)])

    def is_fenced(self, applier: Applier, batch: Batch) -> None:
        try:
            applier.commit(batch)
        except (Fenced, DestinationUnavailable):
            with _FENCED.raises(Fenced):
                applier.commit(batch)
            return
        _FENCED.broken("a former owner committed a batch")

    def test_no_chunk_of_a_former_owner_is_kept(self) -> None:
        former = self.owner(TABLE)
        former.plan(TABLE, halves("m"))
        copier, idle = self.copier(former), self.copier(former)
        chunk = claimed(copier, TABLE)
        copier.begin(chunk, TABLE, READ)
        copier.write(encoded(former, TABLE, document("a", 1)))
        heir = self.heir()
        promise = Promise(
            "Destination.open", "Chunks left ``copying`` are pending again."
        )
        states = [each.state for each in state_of(heir, TABLE).chunks]
        promise.equal(states, ["pending", "pending"])
        # With its connection ended it is told that nothing was kept.
        with _FENCED.raises(Fenced, DestinationUnavailable):
            copier.commit()
        copier.abort()
        for each in (copier, idle):
            self.may_not_claim(each)
        self.compare(_FENCED, TABLE)
        states = [each.state for each in state_of(heir, TABLE).chunks]
        _FENCED.equal(states, ["pending", "pending"])

    def may_not_claim(self, copier: Copier) -> None:
        try:
            copier.claim(TABLE)
        except (Fenced, DestinationUnavailable):
            with _FENCED.raises(Fenced):
                copier.claim(TABLE)
            return
        _FENCED.broken("a former owner claimed a chunk")

    def test_a_chunk_that_was_handed_on_is_not_committed_twice(self) -> None:
        promise = Promise(
            "Copier.commit",
            "Raises Fenced when the schema or the chunk has another owner by now",
        )
        former = self.owner(TABLE)
        former.plan(TABLE, [EVERYTHING])
        copier = self.copier(former)
        copier.begin(claimed(copier, TABLE), TABLE, READ)
        copier.write(encoded(former, TABLE, document("a", 1, "former")))
        heir = self.heir()
        other = self.copier(heir)
        other.begin(claimed(other, TABLE), TABLE, READ)
        other.write(encoded(heir, TABLE, document("a", 2, "heir")))
        other.commit()
        with promise.raises(Fenced, DestinationUnavailable):
            copier.commit()
        copier.abort()
        self.compare(promise, TABLE, document("a", 2, "heir"))
        promise.equal([each.state for each in state_of(heir, TABLE).chunks], ["done"])

    # --- errors and ends --------------------------------------------------------

    def test_telling_an_error_raises_nothing(self) -> None:
        promise = Promise(
            "Destination.failed", "Raises nothing. Telling the same error again does"
        )
        error = PreconditionError("the source is gone")
        unopened, former = self.made(), self.owner(TABLE)
        with promise.allows():
            unopened.failed(error)
            for _ in range(2):
                former.failed(error)
                former.failed(ValueError("not ours"), TABLE)
        heir = self.heir()
        with promise.allows():
            former.failed(DestinationError("another one"))
            former.close()
            former.failed(error)
            heir.failed(error, TABLE)
        promise.equal(heir.open(IDENTITY), [position(1)])

    def test_it_may_be_closed_twice(self) -> None:
        promise = Promise("Destination.close", "Safe to call twice.")
        applies = Promise("Applier.close", "End the connection. Safe to call twice.")
        unopened, owner = self.made(), self.owner(TABLE)
        owner.plan(TABLE, [EVERYTHING])
        applier, copier = owner.applier(), owner.copier()
        copier.begin(claimed(copier, TABLE), TABLE, READ)
        for _ in range(2):
            applier.close()
            copier.close()
        changes = upserts(owner, TABLE, document("a", 1))
        self.apply(owner, 2, changes)
        self.compare(applies, TABLE, document("a", 1))
        for _ in range(2):
            owner.close()
            unopened.close()
        promise.equal(self.standing(silent=False), [position(2)])

    def test_what_needs_an_owner_asks_for_one(self) -> None:
        promise = Promise("Destination.open", "take ownership")
        destination = self.made()
        with promise.raises(DestinationError):
            destination.begin(position(1), 1)
        with promise.raises(DestinationError):
            destination.applier().commit(Batch(position(2)))
