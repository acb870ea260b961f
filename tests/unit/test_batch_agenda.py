"""When passes begin: intervals, cron texts, time zones, and what was missed."""

from __future__ import annotations

import math
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from cartridge_warp.config import TableSettings
from cartridge_warp.engine.batch_agenda import Agenda, Timetable


def at(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def test_an_interval_begins_where_a_pass_ended() -> None:
    assert Timetable(interval=5.0).due(1000.0) == 1005.0


def test_the_first_pass_does_not_wait() -> None:
    assert Timetable(cron="0 2 * * *").due(0.0) == 0.0
    assert Timetable(interval=3600.0).due(0.0) == 0.0


@pytest.mark.parametrize(
    ("cron", "zone", "ended", "due"),
    [
        ("0 2 * * *", "UTC", "2024-03-10T14:00", "2024-03-11T02:00"),
        ("0 2 * * *", "Europe/Berlin", "2024-03-10T14:00", "2024-03-11T02:00"),
        ("0 2 * * *", "America/New_York", "2024-03-09T14:00", "2024-03-10T03:00"),
        ("30 2 * * *", "Europe/Berlin", "2024-03-30T14:00", "2024-03-31T03:00"),
        # 02:30 comes twice on that day; the pass is made once.
        ("30 2 * * *", "Europe/Berlin", "2024-10-26T14:00", "2024-10-27T02:30"),
        ("*/15 8-17 * * MON-FRI", "UTC", "2024-03-08T17:46", "2024-03-11T08:00"),
        ("0 0 29 2 *", "UTC", "2024-03-01T00:00", "2028-02-29T00:00"),
        # What came while the pass ran is not made up for, one after the other.
        ("* * * * *", "UTC", "2024-03-10T14:30:20", "2024-03-10T14:31:00"),
    ],
)
def test_a_cron_text_is_read_in_its_time_zone(
    cron: str, zone: str, ended: str, due: str
) -> None:
    assert Timetable(cron, zone).due(at(ended, zone)) == at(due, zone)


def test_half_past_two_after_the_first_of_two_is_tomorrow() -> None:
    zone = ZoneInfo("Europe/Berlin")
    first = datetime(2024, 10, 27, 2, 30, 5, tzinfo=zone, fold=0)
    due = Timetable("30 2 * * *", "Europe/Berlin").due(first.timestamp())
    assert datetime.fromtimestamp(due, zone).strftime("%d %H:%M") == "28 02:30"


def test_a_timetable_is_that_of_the_settings() -> None:
    settings = TableSettings(name="t", schedule="0 2 * * *", polling_interval_seconds=9)
    assert Timetable.of(settings, "Asia/Tokyo") == Timetable(
        "0 2 * * *", "Asia/Tokyo", 9
    )


def test_what_is_due_for_longest_comes_first_and_once() -> None:
    agenda = Agenda()
    for name, due in (("a", 20.0), ("b", 10.0), ("c", 30.0)):
        agenda.set(name, due)
    assert agenda.take(9.9) is None
    assert agenda.wait(4.0) == 6.0
    assert [agenda.take(25.0) for _ in range(3)] == ["b", "a", None]
    assert len(agenda) == 1
    assert agenda.wait(40.0) == 0.0


def test_an_empty_agenda_never_has_anything() -> None:
    agenda = Agenda()
    assert agenda.take(1e12) is None
    assert agenda.wait(0.0) == math.inf


def test_an_entry_has_one_time() -> None:
    agenda = Agenda()
    agenda.set("a", 10.0)
    agenda.set("a", 50.0)
    assert agenda.take(20.0) is None
    assert agenda.take(50.0) == "a"
    assert agenda.take(50.0) is None
