"""A first copy that several processes share. The suite is both of them."""

from __future__ import annotations

import time

from ...errors import Fenced, PreconditionError, Unowned
from ...model import SourceIdentity
from ...powers import SharesCopies, Sharing
from ...protocols import Destination, Membership, SharedCopier, TakesHelp
from ..documents import document, element
from ..promise import Promise
from .hooks import IDENTITY, READ, TABLE, DestinationHooks, encoded, halves

_ASKING = Promise("Sharing.asking", "The processes that wait to be admitted.")
_ADMIT = Promise("Sharing.admit", "Whoever waits may claim chunks from now on.")
_RELEASE = Promise("Sharing.release", "What they wake up to commit is refused.")
_STANDING = Promise(
    "Sharing.standing",
    "These chunks of a table, and what was split off them, as they are now.",
)
_SHARING = Promise("SharesCopies.sharing", "For the owner, once it is one.")
_TAKE = Promise(
    "SharedCopier.take", "Claim a chunk of any table; None while there is none for it."
)
_FORGOTTEN = Promise(
    "SharedCopier.take", "Raises Fenced when it may claim nothing any more"
)
_JOIN = Promise("TakesHelp.join", "Ask the present owner to be admitted")
_BEAT = Promise("Membership.beat", "Give a sign of life, every two seconds.")
_ADMITTED = Promise("Membership.admitted", "May it claim chunks?")
_COPIERS = Promise("Membership.copiers", "Its connections.")
_LEFT = Promise("Membership.left", "Chunks of first copies that are not done")
_CLOSE = Promise("Membership.close", "Give up what is claimed, and leave.")


class SharedCopies(DestinationHooks):
    """It is a ``powers.SharesCopies`` and a ``protocols.TakesHelp``."""

    def silence_workers(self) -> None:
        """Make their last signs of life old ones; without a better way, wait."""
        time.sleep(7)

    def sharing(self, owner: Destination) -> Sharing:
        _SHARING.kept(isinstance(owner, SharesCopies), "it has no sharing")
        assert isinstance(owner, SharesCopies)
        return owner.sharing()

    def member(self, connections: int = 1) -> Membership:
        """Another process, which asks to be admitted."""
        other = self.made()
        _JOIN.kept(isinstance(other, TakesHelp), "it has no join")
        assert isinstance(other, TakesHelp)
        member = other.join(IDENTITY, connections)
        self._open.append(member)  # type: ignore[arg-type]  # it is closed alike
        return member

    def shared(self) -> tuple[Destination, Sharing, Membership, SharedCopier]:
        """A copy of two chunks, and a worker that is admitted."""
        owner = self.owner(TABLE)
        owner.plan(TABLE, halves("m"))
        sharing, member = self.sharing(owner), self.member()
        sharing.admit()
        _ADMIT.kept(member.admitted(), "it is not admitted")
        (copier,) = member.copiers()
        return owner, sharing, member, copier

    def states(self, sharing: Sharing, owner: Destination) -> list[str]:
        numbers = [each.chunk_id for each in owner.plan(TABLE, [])]
        return sorted(each.state for each in sharing.standing(TABLE, numbers))

    def copied(self, owner: Destination, copier: SharedCopier, *raw: bytes) -> None:
        taken = copier.take()
        _TAKE.kept(taken is not None, "there is a pending chunk, and it returned None")
        assert taken is not None
        table, chunk = taken
        copier.begin(chunk, table, READ)
        copier.write(encoded(owner, TABLE, *raw))
        copier.commit()

    def test_nobody_claims_before_it_is_admitted(self) -> None:
        owner = self.owner(TABLE)
        owner.plan(TABLE, halves("m"))
        sharing = self.sharing(owner)
        _ASKING.equal(len(sharing.asking()), 0)
        member = self.member(connections=2)
        _COPIERS.equal(len(member.copiers()), 2)
        _ASKING.equal(len(sharing.asking()), 1)
        _ADMITTED.equal(member.admitted(), False)
        with _FORGOTTEN.raises(Fenced):
            member.copiers()[0].take()
        sharing.admit()
        _ASKING.equal(len(sharing.asking()), 0)
        _ADMITTED.equal(member.admitted(), True)
        _TAKE.kept(member.copiers()[0].take() is not None, "it has no chunk")

    def test_two_processes_copy_a_table(self) -> None:
        owner, sharing, member, copier = self.shared()
        _LEFT.equal(member.left(), 2)
        self.copied(owner, copier, document("a", 1))
        _STANDING.equal(self.states(sharing, owner), ["done", "pending"])
        _LEFT.equal(member.left(), 1)
        own = self.copier(owner)
        chunk = own.claim(TABLE)
        assert chunk is not None
        _STANDING.equal(self.states(sharing, owner), ["copying", "done"])
        _TAKE.equal(copier.take(), None)
        own.begin(chunk, TABLE, READ)
        own.write(encoded(owner, TABLE, document("z", 2)))
        own.commit()
        _LEFT.equal(member.left(), 0)
        self.compare(_TAKE, TABLE, document("a", 1), document("z", 2))

    def test_what_was_split_off_is_told(self) -> None:
        owner, sharing, _, copier = self.shared()
        numbers = [each.chunk_id for each in owner.plan(TABLE, [])]
        taken = copier.take()
        assert taken is not None
        table, chunk = taken
        copier.begin(chunk, table, READ)
        copier.write(encoded(owner, TABLE, document("a", 1)))
        split = element(document("c" if chunk.range.lower is None else "x"))
        rest = copier.commit(split_at=split).rest
        assert rest is not None
        found = {each.chunk_id: each for each in sharing.standing(TABLE, numbers)}
        _STANDING.kept(rest.chunk_id in found, f"{rest} is missing in {found}")
        _STANDING.equal(found[chunk.chunk_id].range.upper, split)
        _STANDING.equal(found[chunk.chunk_id].read_time, READ)

    def test_what_it_gives_up_is_the_owners(self) -> None:
        promise = Promise("SharedCopier", "What it hands back is left to the owner.")
        owner, sharing, _, copier = self.shared()
        first = copier.take()
        copier.abort()
        promise.equal(self.states(sharing, owner), ["pending", "pending"])
        second = copier.take()
        assert first is not None
        assert second is not None
        promise.kept(first[1].chunk_id != second[1].chunk_id, "it has it again")
        own = self.copier(owner).claim(TABLE)
        promise.equal(own and own.chunk_id, first[1].chunk_id)

    def test_a_silent_worker_loses_what_it_has(self) -> None:
        owner, sharing, member, copier = self.shared()
        taken = copier.take()
        assert taken is not None
        table, chunk = taken
        member.beat()
        _BEAT.equal(len(sharing.release()), 0)
        self.silence_workers()
        _RELEASE.equal(len(sharing.release()), 1)
        _RELEASE.equal(len(sharing.release()), 0)
        _RELEASE.equal(self.states(sharing, owner), ["pending", "pending"])
        own = self.copier(owner)
        mine = own.claim(TABLE)
        _RELEASE.kept(mine is not None, "the owner has no chunk")
        with _RELEASE.raises(Fenced):
            copier.begin(chunk, table, READ)
            copier.write(encoded(owner, TABLE, document("a", 1)))
            copier.commit()
        copier.abort()
        with _FORGOTTEN.raises(Fenced):
            copier.take()
        with _BEAT.raises(Fenced):
            member.beat()
        self.compare(_RELEASE, TABLE)

    def test_a_new_owner_is_joined_anew(self) -> None:
        owner, _, member, copier = self.shared()
        self.copied(owner, copier, document("a", 1))
        taken = copier.take()
        assert taken is not None
        table, chunk = taken
        copier.begin(chunk, table, READ)
        copier.write(encoded(owner, TABLE, document("z", 2)))
        heir = self.heir()
        with _FORGOTTEN.raises(Fenced):
            try:
                copier.commit()
            except Fenced:
                raise
            except Exception:
                # Its connection was ended; then it learns it here.
                copier.abort()
                copier.take()
        copier.abort()
        with _ADMITTED.raises(Fenced):
            member.admitted()
        sharing, again = self.sharing(heir), self.member()
        _STANDING.equal(self.states(sharing, heir), ["done", "pending"])
        sharing.admit()
        self.copied(heir, again.copiers()[0], document("z", 3))
        self.compare(_JOIN, TABLE, document("a", 1), document("z", 3))

    def test_whoever_leaves_gives_up_its_chunk(self) -> None:
        owner, sharing, member, copier = self.shared()
        copier.take()
        for _ in range(2):
            member.close()
        _CLOSE.equal(self.states(sharing, owner), ["pending", "pending"])

    def test_without_an_owner_there_is_nobody_to_join(self) -> None:
        promise = Promise("TakesHelp.join", "Raises Unowned")
        with promise.raises(Unowned):
            self.member()
        owner = self.owner(TABLE)
        self.sharing(owner)
        owner.close()
        with promise.raises(Unowned):
            self.member()

    def test_another_source_is_not_helped_with(self) -> None:
        promise = Promise(
            "TakesHelp.join", "PreconditionError where it copies another source."
        )
        self.sharing(self.owner(TABLE))
        other = self.made()
        assert isinstance(other, TakesHelp)
        with promise.raises(PreconditionError):
            other.join(SourceIdentity("another source", "1"), 1)
