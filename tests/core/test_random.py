"""Random documents against random plans: the core is the oracle, byte for byte."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cwarp_core
from tests import oracle
from tests.core.build import Raw, document
from tests.core.differential import assert_same
from tests.core.strategies import NUMBERS, VALUES, documents, plans

_SETTINGS = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@settings(_SETTINGS, max_examples=300)
@given(st.data())
def test_rows_are_the_oracles(data: st.DataObject) -> None:
    batch = data.draw(st.lists(documents(), min_size=1, max_size=4))
    plan = data.draw(plans(batch))
    assert_same(batch, plan, data.draw(st.sampled_from([0, 1_700_000_000 << 32 | 1])))


@settings(_SETTINGS, max_examples=100)
@given(documents())
def test_json_text_is_the_oracles(raw: bytes) -> None:
    for mode in ("plain", "canonical"):
        assert cwarp_core.json_text(raw, mode) == oracle.json_text(raw, mode)


@settings(_SETTINGS, max_examples=100)
@given(VALUES)
def test_keys_are_the_oracles(value: Raw) -> None:
    tree = oracle.read_element(value.key)
    encoding = cwarp_core.key_encoding(value.key)
    assert encoding == oracle.key_encoding(tree)
    for each in (encoding, "canonical"):
        assert cwarp_core.key_text(value.key, each) == oracle.key_text(tree, each)


@settings(_SETTINGS, max_examples=300)
@given(NUMBERS)
def test_numbers_are_the_oracles(number: Raw) -> None:
    """Every bit pattern of every number in every column that takes numbers."""
    types = ("integer", "bigint", "double precision", "numeric", "text", "jsonb")
    columns = tuple(oracle.Column((name,), name) for name in types)
    fields = [("_id", number), *((name, number) for name in types)]
    assert_same([document(*fields)], oracle.Plan("numeric", columns))
