"""What every part of one schema's sync works with."""

from __future__ import annotations

import random
from typing import Any, cast

from cartridge_warp.config import ErrorSettings, SchemaSettings
from cartridge_warp.engine.line import Line
from cartridge_warp.engine.progress import Progress
from cartridge_warp.engine.signals import StopSignal

#: Neither end is reached for here.
_NO_END = cast(Any, None)


def test_the_waits_grow_to_the_longest_that_is_configured() -> None:
    line = Line(
        *(_NO_END, _NO_END, SchemaSettings(name="s", database="d")),
        *(Progress().schema("s"), StopSignal()),
        errors=ErrorSettings(max_backoff_seconds=300, backoff_factor=3),
        rng=random.Random(1),
    )
    backoff = line.backoff()
    waits = [backoff.delay() for _ in range(50)]
    assert waits[0] <= 0.1
    assert 150 <= max(waits) <= 300
    assert min(waits[20:]) >= 150
