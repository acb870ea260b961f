"""Destinations that are broken on purpose, each in one way: the suite has to notice."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

import test_drain
from cartridge_warp.errors import PreconditionError
from cartridge_warp.ledger import Ledger, LedgerDestination
from cartridge_warp.ledger.applier import LedgerApplier
from cartridge_warp.ledger.book import Entry
from cartridge_warp.ledger.copier import LedgerCopier
from cartridge_warp.model import SourceIdentity
from mutation import Mutations, mutants, noticed_by

Patch = pytest.MonkeyPatch

MUTATIONS: Mutations = {}


@noticed_by(MUTATIONS, "test_no_call_of_a_former_owner_changes_anything")
def nobody_is_fenced(patch: Patch) -> None:
    patch.setattr(Ledger, "check", lambda *_: None)


@noticed_by(MUTATIONS, "test_no_batch_of_a_former_owner_is_kept")
def batches_are_not_fenced(patch: Patch) -> None:
    def begin(self: LedgerApplier[None], there: LedgerDestination[None]) -> None:
        self._destination = there
        type(self)._epoch = property(lambda _: there.look().epoch)

    patch.setattr(LedgerApplier, "__init__", begin)
    patch.setattr(LedgerApplier, "_epoch", None, raising=False)


@noticed_by(MUTATIONS, "test_a_living_owner_is_left_alone")
def everybody_is_an_owner(patch: Patch) -> None:
    patch.setattr("cartridge_warp.ledger.book.SILENT_SECONDS", -1.0)


@noticed_by(MUTATIONS, "test_a_sign_of_life_keeps_the_ownership")
def a_sign_of_life_is_not_kept(patch: Patch) -> None:
    patch.setattr(Ledger, "beat", lambda self, epoch, _: self.check(epoch))


@noticed_by(MUTATIONS, "test_whoever_closes_lets_the_next_one_in_at_once")
def whoever_closes_stays_the_owner(patch: Patch) -> None:
    patch.setattr(Ledger, "release", lambda *_: None)


@noticed_by(MUTATIONS, "test_another_source_is_refused")
def any_source_will_do(patch: Patch) -> None:
    former = Ledger.take

    def take(self: Ledger, identity: SourceIdentity, *more: Any) -> int:
        return former(self, SourceIdentity(self.source, "1"), *more)

    patch.setattr(Ledger, "take", take)


@noticed_by(MUTATIONS, "test_a_chunk_that_was_handed_on_is_not_committed_twice")
def chunks_stay_with_who_is_gone(patch: Patch) -> None:
    former = Ledger.take

    def take(self: Ledger, *given: Any) -> int:
        held = [(each, each.chunk, each.copier) for each in self._held()]
        epoch = former(self, *given)
        for each, chunk, copier in held:
            each.chunk, each.copier = chunk, copier
        return epoch

    patch.setattr(Ledger, "take", take)


@noticed_by(MUTATIONS, "test_another_number_of_lanes")
def lanes_are_only_added(patch: Patch) -> None:
    def begin(self: Ledger, epoch: int, position: Any, lanes: int) -> None:
        self.check(epoch)
        number = max(lanes, len(self.positions))
        self.positions = [position] * number

    patch.setattr(Ledger, "begin", begin)


@noticed_by(MUTATIONS, "test_lanes_commit_at_the_same_time")
def every_lane_moves(patch: Patch) -> None:
    former = Ledger.move

    def move(self: Ledger, lanes: Any, position: Any) -> None:
        former(self, range(len(self.positions)), position)

    patch.setattr(Ledger, "move", move)


@noticed_by(MUTATIONS, "test_a_batch_that_is_not_kept_leaves_no_letter")
def a_position_may_go_back(patch: Patch) -> None:
    def move(self: Ledger, lanes: Any, position: Any) -> None:
        for lane in lanes:
            self.positions[lane] = position or self.positions[lane]

    patch.setattr(Ledger, "move", move)


@noticed_by(MUTATIONS, "test_a_claim_alone_can_be_aborted")
def what_is_aborted_stays_claimed(patch: Patch) -> None:
    patch.setattr(Ledger, "hand_back", lambda *_, **__: None)


@noticed_by(MUTATIONS, "test_no_two_copiers_have_one_chunk")
def one_chunk_for_everybody(patch: Patch) -> None:
    def claim(self: Ledger, epoch: int, table: Any, copier: str) -> Any:
        self.check(epoch)
        for held in self.entry(table).chunks:
            if held.chunk.state != "done":
                held.chunk, held.copier = replace(held.chunk, state="copying"), copier
                return held.chunk
        return None

    patch.setattr(Ledger, "claim", claim)


@noticed_by(MUTATIONS, "test_a_claim_is_seen_by_everybody")
def a_claim_is_a_secret(patch: Patch) -> None:
    former = Ledger.claim

    def claim(self: Ledger, epoch: int, table: Any, copier: str) -> Any:
        chunk = former(self, epoch, table, copier)
        for held in self._held():
            held.chunk = replace(held.chunk, state="pending")
        return chunk

    patch.setattr(Ledger, "claim", claim)


@noticed_by(MUTATIONS, "test_the_last_chunk_can_end_early")
def a_split_chunk_keeps_its_range(patch: Patch) -> None:
    former = Ledger.finish

    def finish(self: Ledger, *given: Any) -> Any:
        rest = former(self, *given)
        if rest is not None:
            held = self.entry(given[1]).chunks
            at = [each.chunk.chunk_id for each in held].index(rest.chunk_id) - 1
            held[at].chunk = replace(held[at].chunk, range=given[3].range)
        return rest

    patch.setattr(Ledger, "finish", finish)


@noticed_by(MUTATIONS, "test_a_table_is_copied_chunk_by_chunk")
def what_is_split_off_comes_last(patch: Patch) -> None:
    former = Ledger.finish

    def finish(self: Ledger, *given: Any) -> Any:
        rest = former(self, *given)
        self.entry(given[1]).chunks.sort(key=lambda each: -each.chunk.chunk_id)
        return rest

    patch.setattr(Ledger, "finish", finish)


@noticed_by(MUTATIONS, "test_a_chunk_tells_when_it_was_read")
def the_time_of_a_read_is_forgotten(patch: Patch) -> None:
    former = Ledger.finish

    def finish(
        self: Ledger, epoch: int, table: Any, copier: str, done: Any, at: Any
    ) -> Any:
        done = replace(done, read_until=done.read_time)
        return former(self, epoch, table, copier, done, at)

    patch.setattr(Ledger, "finish", finish)


@noticed_by(MUTATIONS, "test_a_rejected_document_counts_as_read")
def rejects_do_not_count_as_read(patch: Patch) -> None:
    former = LedgerCopier.write

    def write(self: LedgerCopier[None], batch: Any) -> Any:
        return former(self, batch._replace(documents=batch.rows))

    patch.setattr(LedgerCopier, "write", write)


@noticed_by(MUTATIONS, "test_nothing_is_seen_before_the_commit")
def a_chunks_rows_are_written_at_once(patch: Patch) -> None:
    former = LedgerCopier.write

    def write(self: LedgerCopier[None], batch: Any) -> Any:
        job = self._current()
        if job.open is not None:
            return former(self, batch)
        job.documents += batch.documents
        with self._there.transaction() as (store, book):
            entry = book.entry(job.table)
            self._there.bring(store, entry, job.table, batch, careful=False)
        return ()

    patch.setattr(LedgerCopier, "write", write)


@noticed_by(MUTATIONS, "test_a_table_without_chunks_is_complete")
def a_second_plan_is_a_new_one(patch: Patch) -> None:
    former = Ledger.plan

    def plan(self: Ledger, epoch: int, table: Any, ranges: Any) -> Any:
        self.entry(table).planned = False
        return former(self, epoch, table, ranges)

    patch.setattr(Ledger, "plan", plan)


@noticed_by(MUTATIONS, "test_the_same_changes_again_change_nothing")
def a_change_is_not_remembered(patch: Patch) -> None:
    former = Ledger.evolve

    def evolve(self: Ledger, epoch: int, table: Any, changes: Any) -> Any:
        after, new = former(self, epoch, table, changes)
        self.entry(table).table = table
        return after, new

    patch.setattr(Ledger, "evolve", evolve)


@noticed_by(MUTATIONS, "test_a_table_is_left_for_good")
def nobody_is_left(patch: Patch) -> None:
    patch.setattr(Ledger, "leave", lambda self, epoch, _: self.check(epoch))


@noticed_by(MUTATIONS, "test_a_chunk_for_the_former_key_is_not_taken")
def rows_of_the_former_key_are_taken(patch: Patch) -> None:
    patch.setattr(Ledger, "hold", lambda self, _, table: self.entry(table))


@noticed_by(MUTATIONS, "test_letters_of_ids_that_it_holds_now_are_rows")
def a_rewritten_key_keeps_its_letters(patch: Patch) -> None:
    patch.setattr(LedgerDestination, "_readmit", lambda *_: None)


@noticed_by(MUTATIONS, "test_a_key_is_rewritten_or_that_is_refused_and_nothing_changed")
def the_rows_keep_their_former_keys(patch: Patch) -> None:
    patch.setattr(test_drain.Bucket, "alter", lambda *_: None)


@noticed_by(MUTATIONS, "test_its_count_is_that_of_its_tables")
def letters_are_thrown_away(patch: Patch) -> None:
    patch.setattr(Entry, "reject", lambda *_: None)


@noticed_by(MUTATIONS, "test_ids_that_the_key_does_not_hold_are_known_by_their_kind")
def letters_stay_for_ever(patch: Patch) -> None:
    patch.setattr(Entry, "resolve", lambda *_: None)


@noticed_by(MUTATIONS, "test_ids_that_the_key_does_not_hold_are_known_by_their_kind")
def letters_of_other_ids_stay(patch: Patch) -> None:
    former = Entry.resolve
    patch.setattr(Entry, "resolve", lambda self, texts, *_: former(self, texts))


@noticed_by(MUTATIONS, "test_the_same_reject_again_is_one_letter")
def a_letter_for_each_attempt(patch: Patch) -> None:
    former = Entry.reject

    def reject(self: Entry, rejects: Any) -> None:
        kept = list(self.letters)
        former(self, rejects)
        self.letters = [*kept, *self.letters[len(self.letters) - len(rejects) :]]

    patch.setattr(Entry, "reject", reject)


@noticed_by(MUTATIONS, "test_a_row_that_is_gone_may_be_deleted_and_come_back")
def rows_are_never_deleted(patch: Patch) -> None:
    patch.setattr(test_drain.Bucket, "delete", lambda *_: None)


@noticed_by(MUTATIONS, "test_a_refused_row_keeps_its_batch_from_being_applied")
def a_failed_batch_leaves_its_rows(patch: Patch) -> None:
    former = test_drain.Bucket.upsert

    def upsert(self: Any, store: None, table: Any, batch: Any) -> Any:
        refused = former(self, store, table, batch)
        self._kept.clear()
        self._kept.update(self._now)
        return refused

    patch.setattr(test_drain.Bucket, "upsert", upsert)


@noticed_by(MUTATIONS, "test_a_refused_row_keeps_its_batch_from_being_applied")
def refused_rows_are_passed_over(patch: Patch) -> None:
    former = test_drain.Bucket.upsert

    def upsert(self: Any, *given: Any) -> Any:
        former(self, *given)
        return ()

    patch.setattr(test_drain.Bucket, "upsert", upsert)


@noticed_by(MUTATIONS, "test_a_value_that_does_not_fit_is_kept_beside")
def what_does_not_fit_is_lost(patch: Patch) -> None:
    former = test_drain.TestBucket.rows

    def rows(self: Any, table: Any) -> Any:
        return {
            key: {**cells, "_cwarp_extra": None}
            for key, cells in former(self, table).items()
        }

    patch.setattr(test_drain.TestBucket, "rows", rows)


@noticed_by(MUTATIONS, "test_telling_an_error_raises_nothing")
def telling_an_error_is_one(patch: Patch) -> None:
    def failed(*_: Any) -> None:
        raise PreconditionError("no")

    patch.setattr(LedgerDestination, "failed", failed)


globals().update(mutants(test_drain.TestBucket, MUTATIONS))
