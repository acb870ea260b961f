"""The kinds seen at every path, for inference."""

from __future__ import annotations

import pytest

from cwarp_core import BatchEncoder, Observation, Reply, RowPlan
from tests.core.build import (
    array,
    binary,
    document,
    double,
    int32,
    null,
    obj,
    string,
)
from tests.core.samples import SAMPLES, SIXTEEN
from tests.oracle import kind_of, read_element

FIRST = document(
    ("_id", obj(("k", int32(1)))),
    ("a", int32(1)),
    ("s", obj(("b", obj(("c", obj(("d", int32(1)))), ("e", null()))), ("f", obj()))),
    ("l", array(obj(("x", int32(1))))),
)
SECOND = document(
    ("new.field", double(1.0)),
    ("a", string("x")),
    ("_id", int32(1)),
    ("s", obj()),
    ("l", null()),
)


def seen(observation: Observation) -> dict[tuple[str, ...], dict[str, int]]:
    return {each.path: each.counts for each in observation.paths()}


def test_paths_are_those_that_flattening_makes() -> None:
    observation = Observation(3)
    observation.add_document(FIRST)
    observation.add_document(SECOND)
    assert list(seen(observation).items()) == [
        (("_id",), {"object": 1, "int": 1}),
        (("a",), {"int": 1, "string": 1}),
        (("s", "b", "c"), {"object": 1}),
        (("s", "b", "e"), {"null": 1}),
        (("s", "f"), {"emptyObject": 1}),
        (("l",), {"array": 1, "null": 1}),
        (("new.field",), {"double": 1}),
        (("s",), {"emptyObject": 1}),
    ]
    assert (observation.documents, observation.corrupt) == (2, 0)


@pytest.mark.parametrize(
    ("depth", "paths"),
    [
        (1, {("s",)}),
        (2, {("s", "b"), ("s", "f")}),
        (4, {("s", "b", "c", "d"), ("s", "b", "e"), ("s", "f")}),
    ],
)
def test_depth_is_the_plans(depth: int, paths: set[tuple[str, ...]]) -> None:
    observation = Observation(depth)
    observation.add_document(FIRST)
    assert {path for path in seen(observation) if path[0] == "s"} == paths


@pytest.mark.parametrize("depth", [0, 33, -1])
def test_senseless_depth_is_refused(depth: int) -> None:
    with pytest.raises(ValueError, match="depth"):
        Observation(depth)


@pytest.mark.parametrize("kind", SAMPLES)
def test_every_kind_has_its_name(kind: str) -> None:
    observation = Observation(1)
    for value in SAMPLES[kind]:
        observation.add_document(document(("v", value)))
        assert kind_of(read_element(value.key)) == kind
    assert seen(observation) == {("v",): {kind: len(SAMPLES[kind])}}


def test_subtypes_are_gathered() -> None:
    observation = Observation()
    for subtype in (0, 128, 4, 3, 0):
        observation.add_document(document(("v", binary(SIXTEEN, subtype))))
    (path,) = observation.paths()
    assert path.subtypes == {0, 3, 4, 128}
    assert path.counts == {"binData": 3, "uuid": 1, "uuidLegacy": 1}


def test_corrupt_document_counts_nowhere_else() -> None:
    observation = Observation()
    observation.add_document(SECOND)
    before = seen(observation)
    broken = FIRST[:-2] + b"\1\0"
    for raw in (broken, b"", FIRST[:-1], document((b"\xff", int32(1)))):
        observation.add_document(raw)
    assert (observation.documents, observation.corrupt) == (1, 4)
    assert seen(observation) == before


def test_reply_is_its_documents() -> None:
    one, many = Observation(), Observation()
    many.add_reply(Reply.of_documents([FIRST, SECOND, FIRST]))
    for raw in (FIRST, SECOND, FIRST):
        one.add_document(raw)
    assert many.paths() == one.paths()
    assert many.documents == 3


@pytest.mark.parametrize(("size", "told"), [(4094, True), (4095, False)])
def test_drift_of_a_path_of_some_kilobytes_is_not_told(size: int, told: bool) -> None:
    """It is kept in ``_cwarp_extra`` all the same, and makes no column."""
    raw = document(("_id", int32(7)), ("n" * size, obj(("x", int32(1)))))
    encoder = BatchEncoder(RowPlan("bigint", []))
    assert encoder.add_document(raw, 0) is True
    batch = encoder.take()
    assert batch.rescued == 1
    assert f'"{"n" * size}.x":{{"$numberInt":"1"}}'.encode() in batch.payload
    path = ("n" * size, "x")
    assert [each.path for each in batch.drift] == [path] * told
    observation = Observation()
    observation.add_document(raw)
    found = [each.path for each in observation.paths()]
    assert found == [("_id",), *[path] * told]
