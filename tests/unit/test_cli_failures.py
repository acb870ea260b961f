"""Every way a command can end: exit code, one line, no traceback, no secret."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator

import click
import pytest

from cartridge_warp import logs
from cartridge_warp.cli.failures import EXIT_CODES, guarded
from cartridge_warp.errors import (
    ConfigError,
    DestinationUnavailable,
    Fenced,
    HistoryLost,
    PreconditionError,
    WarpError,
)


@pytest.fixture(autouse=True)
def _untouched_root() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logs.configure(level="WARNING", style="json")
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def raising(error: BaseException) -> Callable[[], object]:
    def call() -> object:
        raise error

    return call


@pytest.mark.parametrize(
    ("result", "code"), [(None, 0), (0, 0), (5, 5), (130, 130), ("text", 0)]
)
def test_the_result_is_the_exit_code(result: object, code: int) -> None:
    assert guarded(lambda: result) == code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (WarpError("no"), 1),
        (ConfigError("no"), 2),
        (PreconditionError("no"), 3),
        (DestinationUnavailable("no"), 1),
        (HistoryLost("no"), 6),
        (Fenced("no"), 7),
        (click.UsageError("no"), 2),
        (click.FileError("f", "no"), 2),
        (click.exceptions.Exit(0), 0),
        (click.Abort(), 130),
        (KeyboardInterrupt(), 130),
        (ImportError("no pq wrapper available.\nAttempts made:"), 3),
        (ImportError("no module", name="cartridge_warp.x"), 1),
        (ValueError("no"), 1),
    ],
)
def test_every_error_has_its_code(error: BaseException, code: int) -> None:
    assert guarded(raising(error)) == code
    assert code in {code for code, _ in EXIT_CODES}


def test_an_error_is_one_line_and_its_hint_another(
    capsys: pytest.CaptureFixture[str],
) -> None:
    guarded(raising(PreconditionError("two\n  lines", hint="do\nthis")))
    assert capsys.readouterr().err == "error: two lines\nhint: do this\n"


def test_each_wrong_setting_has_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    guarded(raising(ConfigError("one\ntwo", hint="fix")))
    assert capsys.readouterr().err == "error: one\nerror: two\nhint: fix\n"


def test_without_a_hint_there_is_no_hint_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    guarded(raising(ConfigError("wrong")))
    assert capsys.readouterr().err == "error: wrong\n"


def test_credentials_are_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    guarded(
        raising(
            ConfigError(
                "cannot use mongodb://u:canary1@h/",
                hint="not postgresql://u:canary2@h/",
            )
        )
    )
    guarded(raising(ValueError("in mongodb://u:canary3@h/")))
    err = capsys.readouterr().err
    assert "canary" not in err
    assert "mongodb://***@h/" in err


def test_debug_shows_the_traceback_of_an_expected_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    guarded(raising(ConfigError("wrong")))
    assert "Traceback" not in capsys.readouterr().err
    logs.configure(level="DEBUG", style="json")
    guarded(raising(ConfigError("wrong")))
    assert "Traceback" in capsys.readouterr().err


def test_an_unexpected_error_is_one_line_and_a_logged_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    guarded(raising(ValueError("surprise")))
    logged, error, hint = capsys.readouterr().err.splitlines()
    assert "Traceback" in logged
    assert '"level": "error"' in logged
    assert error == "error: internal error: ValueError: surprise"
    assert hint.startswith("hint: this is a bug")


def test_help_needs_no_driver() -> None:
    """Neither libpq nor a server has to be there to read the help."""
    code = (
        "import sys; sys.modules.update(psycopg=None, pymongo=None);"
        "from cartridge_warp.cli import main; sys.exit(main(['--help']))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    assert "Exit codes:" in shown.stdout
