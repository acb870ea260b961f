"""Progress as lines and tables: what goes to stdout, what to the log, and when."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from cartridge_warp import logs
from cartridge_warp.cli import progress as views
from cartridge_warp.engine.progress import Progress
from cartridge_warp.engine.views import Counts, Phase
from cartridge_warp.errors import SourceUnavailable


@pytest.fixture(autouse=True)
def _untouched_root() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logs.configure(level="INFO", style="json", run_id="run-1")
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def progress() -> Progress:
    made = Progress()
    shop = made.schema("shop", "shop_db")
    shop.phase(Phase.COPYING)
    shop.table("orders", Phase.COPYING, table="orders", expected=10)
    shop.committed("orders", Counts(read=4, copied=4))
    return made


def test_auto_off_a_terminal_is_the_log() -> None:
    assert views.chosen("auto") == "log"
    assert views.chosen("live") == "live"


def test_log_lines_go_to_the_log_and_the_summary_to_stdout(
    progress: Progress, capsys: pytest.CaptureFixture[str]
) -> None:
    with views.shown(progress, "log"):
        pass
    out, err = capsys.readouterr()
    (line,) = [json.loads(each) for each in err.splitlines()]
    assert line["event"] == "progress"
    assert line["run_id"] == "run-1"
    assert line["schema"] == "shop"
    assert (line["copied"], line["expected"], line["phase"]) == (4, 10, "copying")
    assert line["lag_seconds"] is None
    assert "shop.orders" in out
    assert "total" in out


def test_json_is_lines_and_ends_with_the_summary(
    progress: Progress, capsys: pytest.CaptureFixture[str]
) -> None:
    progress.schema("shop").retrying(SourceUnavailable("mongodb://u:canary@h/"))
    with views.shown(progress, "json"):
        progress.schema("shop").committed("orders", Counts(read=6, copied=6))
    out, err = capsys.readouterr()
    assert err == ""
    assert "canary" not in out
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["type"] for line in lines] == ["progress", "summary"]
    assert lines[-1]["schemas"][0]["tables"][0]["counts"]["copied"] == 10


def test_none_is_quiet_until_the_summary(
    progress: Progress, capsys: pytest.CaptureFixture[str]
) -> None:
    with views.shown(progress, "none"):
        assert capsys.readouterr() == ("", "")
    assert "shop.orders" in capsys.readouterr().out


def test_the_summary_comes_after_an_error_too(
    progress: Progress, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SourceUnavailable), views.shown(progress, "none"):
        raise SourceUnavailable("away")
    assert "shop.orders" in capsys.readouterr().out


def test_no_table_no_summary(capsys: pytest.CaptureFixture[str]) -> None:
    with views.shown(Progress(), "none"):
        pass
    assert capsys.readouterr() == ("", "")


def test_no_color_is_honoured(
    progress: Progress,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with views.shown(progress, "none"):
        pass
    assert "\x1b[36m" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    with views.shown(progress, "none"):
        pass
    assert "\x1b[36m" not in capsys.readouterr().out


def test_a_reader_that_goes_away_does_not_stop_the_work(
    progress: Progress,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(_kind: str, _view: object) -> None:
        raise BrokenPipeError("nobody reads")

    with monkeypatch.context() as patch:
        patch.setattr(views, "_write_json", broken)
        with views._running(progress, "json"):
            pass
    assert "no longer shown" in capsys.readouterr().err
