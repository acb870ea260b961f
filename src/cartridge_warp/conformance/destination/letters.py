"""Dead letters: kept with their transaction, resolved by what makes them needless."""

from __future__ import annotations

import bson
from msgspec.structs import replace

from ...model import Batch, TableChanges, TableOptions
from ...protocols import Destination
from ..documents import canonical, document
from ..promise import Promise
from .hooks import (
    TABLE,
    DestinationHooks,
    deletes,
    encoded,
    position,
    state_of,
    upserts,
)

_LETTERS = Promise(
    "TableState", "pending_letters: its dead letters that nothing has resolved."
)

#: Its column ``n`` takes integers alone, and another value rejects the document.
_STRICT = replace(TABLE, options=TableOptions(on_misfit="dead_letter"))
_BROKEN = document("broken")[:-1] + b"\1"


def _misfit(key: str) -> bytes:
    return bson.encode({"_id": key, "n": "no number"})


class Letters(DestinationHooks):
    def pending(self, destination: Destination) -> int:
        return state_of(destination, _STRICT).pending_letters

    def test_a_reject_is_kept_with_its_batch(self) -> None:
        owner = self.owner(_STRICT)
        raw = document("a", 1), _misfit("b"), document(5, 1), _BROKEN
        self.apply(owner, 2, upserts(owner, _STRICT, *raw))
        self.compare(_LETTERS, _STRICT, raw[0])
        _LETTERS.equal(self.pending(owner), 3)
        owner.close()
        _LETTERS.equal(self.pending(self.owner()), 3)

    def test_the_same_reject_again_is_one_letter(self) -> None:
        owner = self.owner(_STRICT)
        for second in (2, 3):
            self.apply(
                owner, second, upserts(owner, _STRICT, _misfit("b"), document(5))
            )
        _LETTERS.equal(self.pending(owner), 2)

    def test_a_batch_that_is_not_kept_leaves_no_letter(self) -> None:
        owner = self.owner(_STRICT)
        applier = self.applier(owner)
        applier.commit(Batch(position(5)))
        changes = upserts(owner, _STRICT, _misfit("b"))
        try:
            applier.commit(Batch(position(4), (changes,)))
        except Exception:
            _LETTERS.equal(self.pending(owner), 0)
        else:
            _LETTERS.broken("a batch that goes back in time was taken")

    def test_a_good_document_resolves_its_letter(self) -> None:
        owner = self.owner(_STRICT)
        rejected = _misfit("a"), _misfit("b"), _misfit("c"), document(5), document(6)
        self.apply(owner, 2, upserts(owner, _STRICT, *rejected))
        _LETTERS.equal(self.pending(owner), 5)
        self.apply(owner, 3, upserts(owner, _STRICT, document("a", 1)))
        _LETTERS.equal(self.pending(owner), 4)
        self.apply(owner, 4, deletes(_STRICT, "b"))
        _LETTERS.equal(self.pending(owner), 3)
        unheld = TableChanges(_STRICT, unheld=(canonical(document(5)),), events=1)
        self.apply(owner, 5, unheld)
        _LETTERS.equal(self.pending(owner), 2)
        owner.close()
        owner = self.owner()
        self.apply(owner, 6, upserts(owner, _STRICT, document("c", 1)))
        _LETTERS.equal(self.pending(owner), 1)
        self.compare(_LETTERS, _STRICT, document("a", 1), document("c", 1))

    def test_the_row_of_a_rejected_document_goes(self) -> None:
        promise = Promise(
            "TableChanges",
            "stale: key texts of documents that are rejects now: what the table has"
            " under them is an older state. It is removed,",
        )
        owner = self.owner(_STRICT)
        self.copy(owner, _STRICT, document("a", 1), document("b", 1))
        parts = (encoded(owner, _STRICT, _misfit("a")),)
        self.apply(owner, 2, TableChanges(_STRICT, parts, stale=("a",), events=1))
        self.compare(promise, _STRICT, document("b", 1))
        promise.equal(self.pending(owner), 1)

    def test_ids_that_the_key_does_not_hold_are_known_by_their_kind(self) -> None:
        promise = Promise(
            "Destination.waiting_keys",
            "``cwarp_core.key_encoding`` of the ids that are pending dead letters"
            " because the table's key did not hold them.",
        )
        owner = self.owner(_STRICT)
        promise.equal(owner.waiting_keys(_STRICT), set())
        raw = document(5), document(6), document({"a": 1}), _misfit("a"), _BROKEN
        self.apply(owner, 2, upserts(owner, _STRICT, *raw))
        promise.equal(owner.waiting_keys(_STRICT), {"bigint", "canonical"})
        gone = tuple(canonical(each) for each in raw[:2])
        self.apply(owner, 3, TableChanges(_STRICT, unheld=gone, events=2))
        promise.equal(owner.waiting_keys(_STRICT), {"canonical"})
