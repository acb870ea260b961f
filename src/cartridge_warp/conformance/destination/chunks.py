"""A first copy: chunks are claimed, copied, split, handed back; never doubled."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

from ...errors import DestinationError
from ...model import ChunkRange
from ..documents import document
from ..promise import Promise
from .hooks import (
    EVERYTHING,
    READ,
    TABLE,
    DestinationHooks,
    claimed,
    deletes,
    encoded,
    halves,
    key,
    position,
    state_of,
    upserts,
)

_COMMIT = Promise(
    "Copier.commit", "Commit rows, dead letters, counters and ``done`` together."
)
_ABORT = Promise(
    "Copier.abort",
    "Roll back and hand the chunk back as ``pending``. Safe to call twice.",
)
_CLAIM = Promise(
    "Copier.claim",
    "Make a pending chunk ``copying``, committed, before its range is read.",
)
_SPLIT = Promise(
    "Copier.commit",
    "split_at: the chunk ends before this ``_id`` element, and the rest of its range"
    " becomes a new pending chunk.",
)


class Chunks(DestinationHooks):
    def test_a_table_is_copied_chunk_by_chunk(self) -> None:
        owner = self.owner(TABLE)
        owner.plan(TABLE, halves("m"))
        copier = self.copier(owner)
        for name in ("a", "z"):
            copier.begin(claimed(copier, TABLE), TABLE, READ)
            copier.write(encoded(owner, TABLE, document(name, 1)))
            copier.write(encoded(owner, TABLE, document(name * 2, 2, "second")))
            _COMMIT.equal(copier.commit().rest, None)
        _CLAIM.equal(copier.claim(TABLE), None)
        stored = [document(n, 1) for n in "az"]
        self.compare(
            _COMMIT, TABLE, *stored, *(document(n * 2, 2, "second") for n in "az")
        )
        state = state_of(owner, TABLE)
        _COMMIT.equal((state.complete, state.documents), (True, 4))
        _COMMIT.equal([each.range for each in state.chunks], halves("m"))
        _COMMIT.equal(self.standing(), [position(1)])

    def test_a_claim_is_seen_by_everybody(self) -> None:
        owner = self.owner(TABLE)
        owner.plan(TABLE, halves("m"))
        copier = self.copier(owner)
        chunk = claimed(copier, TABLE)
        _CLAIM.equal(chunk.state, "copying")
        found = {each.chunk_id: each.state for each in state_of(owner, TABLE).chunks}
        _CLAIM.equal(found.pop(chunk.chunk_id), "copying")
        _CLAIM.equal([*found.values()], ["pending"])

    def test_nothing_is_seen_before_the_commit(self) -> None:
        owner = self.owner(TABLE)
        owner.plan(TABLE, [EVERYTHING])
        copier = self.copier(owner)
        copier.begin(claimed(copier, TABLE), TABLE, READ)
        copier.write(encoded(owner, TABLE, document("a", 1)))
        self.compare(_COMMIT, TABLE)
        copier.commit()
        self.compare(_COMMIT, TABLE, document("a", 1))

    def test_a_chunk_tells_when_it_was_read(self) -> None:
        promise = Promise(
            "Copier.commit", "read_until: no row is newer than it, or the read time."
        )
        owner = self.owner(TABLE)
        owner.plan(TABLE, halves("m"))
        copier = self.copier(owner)
        for until in (READ + 7, 0):
            copier.begin(claimed(copier, TABLE), TABLE, READ)
            copier.commit(read_until=until)
        owner.close()
        chunks = state_of(self.owner(), TABLE).chunks
        promise.equal([each.read_time for each in chunks], [READ, READ])
        promise.equal([each.read_until for each in chunks], [READ + 7, READ])

    def test_a_chunk_without_documents_is_done_too(self) -> None:
        owner = self.owner(TABLE)
        owner.plan(TABLE, [EVERYTHING])
        copier = self.copier(owner)
        copier.begin(claimed(copier, TABLE), TABLE, READ)
        copier.commit()
        _COMMIT.equal(state_of(owner, TABLE).complete, True)
        self.compare(_COMMIT, TABLE)

    def test_a_rejected_document_counts_as_read(self) -> None:
        promise = Promise("Chunk", "documents: read so far, rejects included.")
        owner = self.owner(TABLE)
        owner.plan(TABLE, [EVERYTHING])
        copier = self.copier(owner)
        copier.begin(claimed(copier, TABLE), TABLE, READ)
        copier.write(encoded(owner, TABLE, document("a", 1), document(5, 2)))
        copier.commit()
        state = state_of(owner, TABLE)
        promise.equal((state.documents, state.pending_letters), (2, 1))

    # --- splits -----------------------------------------------------------------

    def test_a_chunk_can_end_early(self) -> None:
        owner = self.owner(TABLE)
        owner.plan(TABLE, [ChunkRange(None, key("m"))])
        copier = self.copier(owner)
        copier.begin(claimed(copier, TABLE), TABLE, READ)
        copier.write(encoded(owner, TABLE, document("a", 1)))
        rest = copier.commit(split_at=key("f")).rest
        _SPLIT.kept(rest is not None, "commit told of no rest")
        assert rest is not None
        _SPLIT.equal(
            (rest.range, rest.state), (ChunkRange(key("f"), key("m")), "pending")
        )
        copier.begin(claimed(copier, TABLE), TABLE, READ + 1)
        _SPLIT.kept(copier.commit(split_at=key("h")).rest is not None)
        expected = [
            (ChunkRange(None, key("f")), "done", READ),
            (ChunkRange(key("f"), key("h")), "done", READ + 1),
            (ChunkRange(key("h"), key("m")), "pending", 0),
        ]
        owner.close()
        chunks = state_of(self.owner(), TABLE).chunks
        _SPLIT.equal([(e.range, e.state, e.read_time) for e in chunks], expected)
        self.compare(_SPLIT, TABLE, document("a", 1))

    def test_the_last_chunk_can_end_early(self) -> None:
        owner = self.owner(TABLE)
        owner.plan(TABLE, [EVERYTHING])
        copier = self.copier(owner)
        for at, name in enumerate("bdf"):
            copier.begin(claimed(copier, TABLE), TABLE, READ + at)
            rest = copier.commit(split_at=key(name)).rest
            _SPLIT.equal(rest and rest.range, ChunkRange(key(name), None))
        bounds = [
            (each.range.lower, each.range.upper)
            for each in state_of(owner, TABLE).chunks
        ]
        cuts = [None, *map(key, "bdf"), None]
        _SPLIT.equal(bounds, [*pairwise(cuts)])

    # --- giving up --------------------------------------------------------------

    def test_what_is_aborted_is_as_if_it_never_was(self) -> None:
        owner = self.owner(TABLE)
        owner.plan(TABLE, [EVERYTHING])
        copier = self.copier(owner)
        chunk = claimed(copier, TABLE)
        copier.begin(chunk, TABLE, READ)
        copier.write(encoded(owner, TABLE, document("a", 1), document(5)))
        copier.abort()
        copier.abort()
        self.compare(_ABORT, TABLE)
        state = state_of(owner, TABLE)
        _ABORT.equal([each.state for each in state.chunks], ["pending"])
        _ABORT.equal((state.documents, state.pending_letters), (0, 0))
        _ABORT.equal(claimed(self.copier(owner), TABLE).chunk_id, chunk.chunk_id)

    def test_a_claim_alone_can_be_aborted(self) -> None:
        owner = self.owner(TABLE)
        owner.plan(TABLE, [EVERYTHING])
        copier = self.copier(owner)
        claimed(copier, TABLE)
        copier.abort()
        _ABORT.equal([e.state for e in state_of(owner, TABLE).chunks], ["pending"])

    def test_whoever_closes_hands_back(self) -> None:
        promise = Promise("Copier.close", "``abort``, and end the connection.")
        owner = self.owner(TABLE)
        owner.plan(TABLE, [EVERYTHING])
        copier = self.copier(owner)
        copier.begin(claimed(copier, TABLE), TABLE, READ)
        copier.write(encoded(owner, TABLE, document("a", 1)))
        copier.close()
        self.compare(promise, TABLE)
        promise.equal([e.state for e in state_of(owner, TABLE).chunks], ["pending"])

    def test_a_chunk_that_was_given_up_is_copied_as_any_other(self) -> None:
        owner = self.owner(TABLE)
        owner.plan(TABLE, [EVERYTHING])
        copier = self.copier(owner)
        for n in range(3):
            copier.begin(claimed(copier, TABLE), TABLE, READ)
            copier.write(encoded(owner, TABLE, document("a", n)))
            if n < 2:
                copier.abort()
        copier.commit()
        self.compare(_COMMIT, TABLE, document("a", 2))
        _COMMIT.equal(state_of(owner, TABLE).documents, 1)

    def test_nothing_is_written_or_committed_without_a_chunk(self) -> None:
        promise = Promise(
            "Copier", "``begin`` opens a transaction; ``commit`` or ``abort`` ends it."
        )
        owner = self.owner(TABLE)
        owner.plan(TABLE, [EVERYTHING])
        copier = self.copier(owner)
        with promise.raises(DestinationError):
            copier.write(encoded(owner, TABLE, document("a")))
        with promise.raises(DestinationError):
            copier.commit()
        self.compare(promise, TABLE)

    def test_a_crash_costs_what_was_being_copied(self) -> None:
        promise = Promise(
            "Destination.open", "Chunks left ``copying`` are pending again."
        )
        owner = self.owner(TABLE)
        owner.plan(
            TABLE,
            [
                ChunkRange(None, key("f")),
                ChunkRange(key("f"), key("m")),
                ChunkRange(key("m"), None),
            ],
        )
        done, begun, only_claimed = (self.copier(owner) for _ in range(3))
        chunks = [claimed(each, TABLE) for each in (done, begun, only_claimed)]
        done.begin(chunks[0], TABLE, READ)
        done.write(encoded(owner, TABLE, document("a", 1)))
        done.commit()
        begun.begin(chunks[1], TABLE, READ)
        begun.write(encoded(owner, TABLE, document("g", 1)))
        heir = self.heir()
        found = {e.chunk_id: e.state for e in state_of(heir, TABLE).chunks}
        promise.equal(
            [found[each.chunk_id] for each in chunks], ["done", "pending", "pending"]
        )
        self.compare(promise, TABLE, document("a", 1))

    # --- side by side -----------------------------------------------------------

    def test_no_two_copiers_have_one_chunk(self) -> None:
        owner = self.owner(TABLE)
        names = [f"{n:02}" for n in range(1, 24)]
        cuts = [None, *map(key, names), None]
        ranges = [ChunkRange(*each) for each in pairwise(cuts)]
        owner.plan(TABLE, ranges)

        def work(_: int) -> list[int]:
            mine = []
            copier = owner.copier()
            while (chunk := copier.claim(TABLE)) is not None:
                mine.append(chunk.chunk_id)
                at = ranges.index(chunk.range)
                copier.begin(chunk, TABLE, READ)
                copier.write(encoded(owner, TABLE, document(f"{at:02} x", at)))
                copier.commit()
            copier.close()
            return mine

        with _CLAIM.allows(), ThreadPoolExecutor(4) as threads:
            found = [one for mine in threads.map(work, range(4)) for one in mine]
        _CLAIM.equal((len(found), len(set(found))), (24, 24))
        stored = [document(f"{at:02} x", at) for at in range(24)]
        self.compare(_COMMIT, TABLE, *stored)
        Promise(
            "Destination.copier", "One more connection that copies chunks, beside any"
        ).equal(state_of(owner, TABLE).documents, 24)

    def test_the_stream_goes_on_beside_the_copy(self) -> None:
        promise = Promise(
            "Destination",
            "copiers and appliers run beside them, each in its own thread.",
        )
        owner = self.owner(TABLE)
        owner.plan(TABLE, halves("m"))
        copier = self.copier(owner)
        copier.begin(claimed(copier, TABLE), TABLE, READ)
        copier.write(encoded(owner, TABLE, document("a", 1)))
        changes = upserts(owner, TABLE, document("z", 1))
        for call in (
            lambda: self.apply(owner, 2, changes),
            lambda: self.apply(owner, 3, deletes(TABLE, "z")),
            owner.beat,
        ):
            thread = threading.Thread(target=call, daemon=True)
            thread.start()
            thread.join(30)
            promise.kept(not thread.is_alive(), "it waits for the chunk that is open")
        copier.write(encoded(owner, TABLE, document("b", 1)))
        copier.commit()
        self.compare(promise, TABLE, document("a", 1), document("b", 1))
        promise.equal(self.standing(), [position(3)])
