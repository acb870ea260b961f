"""Objects that two threads share, or that are begun again."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from cwarp_core import (
    BatchEncoder,
    ChangeEvent,
    KeyRanges,
    Observation,
    PlanColumn,
    Reply,
    RowPlan,
    parse_events,
)
from tests.core.allocation_probe import EVENT
from tests.core.build import document, int32, obj, string

PLAN = RowPlan("bigint", [PlanColumn(("a", "b"), "text", "string")])
#: Long enough that a second thread comes while the first is inside.
NUMBER = 20_000
DOCUMENTS = [
    document(("_id", int32(at)), ("a", obj(("b", string("x" * 100))))) for at in (1, 2)
]
MANY = Reply.of_documents(DOCUMENTS * (NUMBER // 2))


def refused(first: Callable[[], object], second: Callable[[], object]) -> str:
    """What the second is told while the first is at work in another thread."""
    for _ in range(200):
        thread = threading.Thread(target=first)
        thread.start()
        try:
            while thread.is_alive():
                second()
        except RuntimeError as error:
            return str(error)
        finally:
            thread.join()
    return "nothing"


@pytest.mark.parametrize("second", ["add_document", "add_reply", "add_events", "take"])
def test_a_second_thread_in_an_encoder_is_refused(second: str) -> None:
    encoder = BatchEncoder(PLAN)
    rows: list[int] = []

    def first() -> None:
        rows.append(encoder.add_reply(MANY, 0))

    calls: dict[str, Callable[[], object]] = {
        "add_document": lambda: encoder.add_document(DOCUMENTS[0], 0),
        "add_reply": lambda: encoder.add_reply(Reply.of_documents(DOCUMENTS), 0),
        "add_events": lambda: encoder.add_events([]),
        "take": encoder.take,
    }
    assert refused(first, calls[second]) == "another thread is using this BatchEncoder"
    assert rows[-1] == NUMBER
    # The first was not disturbed, and the encoder can be used again.
    encoder.take()
    assert encoder.add_reply(MANY, 0) == NUMBER
    assert encoder.take().rows == NUMBER


def test_an_encoder_is_free_again_after_a_call_that_failed() -> None:
    encoder = BatchEncoder(PLAN)
    with pytest.raises(TypeError):
        encoder.add_events([None])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        encoder.add_events(["x"])  # type: ignore[list-item]
    assert encoder.add_document(DOCUMENTS[0], 0) is True
    assert encoder.take().rows == 1


def test_a_second_thread_in_an_observation_is_refused() -> None:
    wide = document(*((f"field {at}", int32(at)) for at in range(4000)))
    many = Reply.of_documents([wide] * 50)
    observation = Observation()
    told = refused(lambda: observation.add_reply(many), observation.paths)
    assert told == "another thread is using this Observation"
    assert len(observation.paths()) == 4000


def test_events_outlive_their_list() -> None:
    events = parse_events(Reply.of_documents([EVENT] * 1000))
    encoder = BatchEncoder(RowPlan("canonical", []))
    assert encoder.add_events(events) == 1000
    # One that nobody parsed has no document.
    assert encoder.add_events([ChangeEvent.__new__(ChangeEvent)]) == 0


@pytest.mark.parametrize(
    "final", [Reply, RowPlan, BatchEncoder, ChangeEvent, Observation, KeyRanges]
)
def test_a_final_class_has_no_subclasses(final: type) -> None:
    with pytest.raises(TypeError):
        type("Sub", (final,), {})


def test_what_is_begun_again_stays_what_it_is() -> None:
    plan = RowPlan("bigint", [PlanColumn(("a",), "text")])
    encoder, observation = BatchEncoder(plan), Observation(2)
    ranges = KeyRanges([None, int32(5).key])
    (event,) = parse_events(Reply.of_documents([EVENT]))
    encoder.add_document(DOCUMENTS[0], 0)
    observation.add_document(DOCUMENTS[0])
    for each in (plan, encoder, observation, ranges):
        type(each).__init__(each)
    with pytest.raises(TypeError):
        ChangeEvent.__init__(event)
    assert (plan.key, plan.width) == ("bigint", 4)
    assert encoder.take().rows == 1
    assert observation.documents == 1
    assert ranges.find(int32(6).key) == 1
    assert event.nbytes == len(EVENT)
