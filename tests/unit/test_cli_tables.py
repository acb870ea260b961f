"""What people see of the progress, rendered as in a pipe: no colour, fixed width."""

from __future__ import annotations

import io

import pytest
from rich.console import Console, RenderableType

from cartridge_warp.cli import tables
from cartridge_warp.engine.progress import Progress
from cartridge_warp.engine.views import Counts, Phase
from cartridge_warp.errors import SourceUnavailable
from cartridge_warp.model import BatchState


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def rendered(what: RenderableType, width: int = 120) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(what)
    return [line.rstrip() for line in out.getvalue().splitlines() if line.strip()]


def words(lines: list[str], first: str) -> list[str]:
    (line,) = [line for line in lines if line.strip().startswith(first)]
    return line.split()


@pytest.fixture
def progress() -> Progress:
    clock = Clock()
    made = Progress(clock)
    shop = made.schema("shop", "shop_db")
    shop.connected(True)
    shop.phase(Phase.COPYING)
    shop.table("users", Phase.STREAMING, table="users", expected=10)
    shop.committed("users", Counts(read=15, copied=10, applied=4, deleted=1, ignored=1))
    shop.table("Orders", Phase.COPYING, table="orders", expected=10_000)
    shop.committed("Orders", Counts(read=2500, copied=2499, dead_letters=1, rescued=3))
    shop.heard(107 << 32, queued=0)
    shop.moved(100 << 32)
    clock.now += 10
    return made


def test_the_live_table_has_every_figure(progress: Progress) -> None:
    rates = {("shop", "Orders"): 250.0, ("shop", "users"): 0.0}
    lines = rendered(tables.live(progress.snapshot(), rates))
    assert words(lines, "table") == [
        *("table", "phase", "rows", "rate", "lag", "ETA", "dead", "letters"),
    ]
    assert words(lines, "shop.orders") == [
        *("shop.orders", "copying", "2,499", "/", "10,000"),
        *("250/s", "17", "s", "30", "s", "1"),
    ]
    assert words(lines, "shop.users") == [
        *("shop.users", "streaming", "14", "0/s", "17", "s", "0"),
    ]


def test_what_is_being_copied_stands_above_what_follows(progress: Progress) -> None:
    lines = rendered(tables.live(progress.snapshot(), {}))
    names = [line.split()[0] for line in lines if line.strip().startswith("shop.")]
    assert names == ["shop.orders", "shop.users"]


def test_a_batch_table_has_its_own_lag_and_the_time_to_its_next_pass(
    progress: Progress,
) -> None:
    shop = progress.schema("shop")
    shop.table("days", Phase.WAITING, table="days", expected=5)
    shop.committed("days", Counts(read=5, copied=5))
    shop.passed("days", BatchState(passes=2, began=950.0, unread=1), 1_100.0)
    lines = rendered(tables.live(progress.snapshot(), {}))
    assert words(lines, "shop.days ") == [
        *("shop.days", "waiting", "5", "60", "s", "90", "s", "0")
    ]
    assert any("1 document without a time" in line for line in lines)
    summary = rendered(tables.summary(progress.snapshot()))
    assert any("1 document without a time" in line for line in summary)


def test_what_is_not_known_is_blank(progress: Progress) -> None:
    fresh = Progress(Clock())
    fresh.schema("s", "d").table("c", Phase.STARTING)
    lines = rendered(tables.live(fresh.snapshot(), {}))
    assert words(lines, "s.c") == ["s.c", "starting", "0", "0"]


def test_the_summary_adds_up(progress: Progress) -> None:
    lines = rendered(tables.summary(progress.snapshot()))
    assert words(lines, "shop.orders") == [
        *("shop.orders", "copying", "2,499", "0", "0", "0", "3"),
    ]
    assert words(lines, "shop.users") == [
        *("shop.users", "streaming", "10", "3", "1", "0", "0"),
    ]
    assert words(lines, "total") == ["total", "2,509", "3", "1", "0", "3"]
    assert lines[-1] == "this run took 10 s"
    assert "dead letters pending" not in "".join(lines)


def test_the_summary_counts_letters_and_not_attempts(progress: Progress) -> None:
    shop = progress.schema("shop")
    shop.committed("Orders", Counts(read=1, dead_letters=1))
    shop.looked(None, {"orders": 1, "never seen": 7})
    lines = rendered(tables.summary(progress.snapshot()))
    assert words(lines, "shop.orders")[-2:] == ["1", "3"]
    assert words(lines, "total")[-2:] == ["1", "3"]
    assert any(line.startswith("1 dead letter pending") for line in lines)
    shop.looked(None, {"orders": 1200})
    assert "1,200 dead letters pending" in "".join(
        rendered(tables.summary(progress.snapshot()))
    )


def test_a_trouble_is_one_line_without_credentials_and_values(
    progress: Progress,
) -> None:
    shop = progress.schema("shop")
    shop.retrying(SourceUnavailable("mongodb://u:canary@h/\nis away"))
    shop.failed(ValueError("bad\nDETAIL:  Key (_id)=(canary)"), "Orders")
    for show in (tables.summary(progress.snapshot()),):
        lines = rendered(show)
        assert "shop: mongodb://***@h/ is away" not in lines
        assert "shop.orders: bad" in lines
        assert "canary" not in "".join(lines)


def test_a_lost_connection_is_told(progress: Progress) -> None:
    progress.schema("shop").retrying(SourceUnavailable("the source\nis away"))
    lines = rendered(tables.live(progress.snapshot(), {}))
    assert "shop: the source is away" in lines


def test_a_hostile_name_is_shown_as_it_is() -> None:
    progress = Progress(Clock())
    progress.schema("s", "d").table("[red]x[/red]", Phase.STREAMING)
    lines = rendered(tables.live(progress.snapshot(), {}))
    assert any("s.[red]x[/red]" in line for line in lines)


@pytest.mark.parametrize(
    ("left", "rate", "shown"),
    [(60, 1.0, "60 s"), (600, 1.0, "10:00"), (7322, 1.0, "2:02:02"), (60, 0.0, None)],
)
def test_the_time_to_go(left: int, rate: float, shown: str | None) -> None:
    progress = Progress(Clock())
    progress.schema("s", "d").table("c", Phase.COPYING, expected=left)
    lines = rendered(tables.live(progress.snapshot(), {("s", "c"): rate}))
    (line,) = [line for line in lines if line.strip().startswith("s.c")]
    assert (shown in line) if shown else line.split()[-1] == "0"
