"""When the log warns that history may be lost."""

from __future__ import annotations

import pytest

from cartridge_warp.engine.headroom import Headroom
from cartridge_warp.engine.views import Counts, Phase, SchemaView, TableView


def view(
    oldest: int | None = 100,
    position: int | None = 990,
    newest: int = 1000,
    copied: int = 0,
    phase: Phase = Phase.COPYING,
) -> SchemaView:
    """Times in seconds."""
    table = TableView(
        "orders", phase=phase, expected=10_000, counts=Counts(copied=copied)
    )
    return SchemaView(
        "shop",
        "shop",
        tables=(table,),
        source_time=newest << 32,
        position_time=None if position is None else position << 32,
        oldest_time=None if oldest is None else oldest << 32,
    )


@pytest.fixture
def headroom() -> Headroom:
    """It has seen that the oplog is rolled over."""
    made = Headroom()
    made.judge(view(oldest=50), 0.0)
    return made


def test_a_position_near_the_end_of_history(headroom: Headroom) -> None:
    assert headroom.judge(view(position=300), 10.0) == ""
    warning = headroom.judge(view(position=150), 20.0)
    assert "reaches back 900 s" in warning
    assert "only 50 s from its end" in warning
    # Not with every look.
    assert headroom.judge(view(position=150), 30.0) == ""
    assert headroom.judge(view(position=150), 700.0) != ""


def test_a_copy_that_takes_longer_than_history_reaches_back(
    headroom: Headroom,
) -> None:
    # 900 more at 10 a second: less than 900 s.
    assert headroom.judge(view(copied=1_000), 100.0) == ""
    warning = headroom.judge(view(copied=1_010), 110.0)
    assert "about 8990 s more" in warning
    assert "reaches back 900 s" in warning


@pytest.mark.parametrize("phase", [Phase.STREAMING, Phase.COPIED])
def test_nothing_is_copied(headroom: Headroom, phase: Phase) -> None:
    headroom.judge(view(copied=1_000, phase=phase), 100.0)
    assert headroom.judge(view(copied=1_010, phase=phase), 110.0) == ""


def test_a_copy_beyond_its_estimate_is_nearly_done(headroom: Headroom) -> None:
    seen = view(copied=19_000, phase=Phase.RESYNCING)

    headroom.judge(seen, 100.0)
    assert headroom.judge(view(copied=19_010, phase=Phase.RESYNCING), 110.0) == ""


@pytest.mark.parametrize("unknown", [{"oldest": None}, {"position": None}])
def test_what_is_not_known_is_no_warning(
    headroom: Headroom, unknown: dict[str, None]
) -> None:
    assert headroom.judge(view(**{"position": 150, **unknown}), 10.0) == ""


def test_a_history_that_is_whole_has_room_left() -> None:
    headroom = Headroom()
    for now in (0.0, 20.0, 40.0):
        assert headroom.judge(view(position=101, copied=int(now)), now) == ""
