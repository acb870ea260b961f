"""From an exception to one line on stderr and the exit code of the process."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import Final

import click

from cartridge_warp import logs
from cartridge_warp.errors import ConfigError, WarpError

log = logging.getLogger(__name__)

#: What the process may return, as ``--help`` prints it.
EXIT_CODES: Final = (
    (0, "ok"),
    (1, "failed"),
    (2, "usage or configuration"),
    (3, "precondition: a server does not offer what the work needs"),
    (6, "history lost: the source no longer has the changes to go on with"),
    (7, "fenced: another process owns the schema now"),
    (130, "second Ctrl-C, nothing more was written"),
)


def say(message: str, hint: str = "") -> None:
    """``error: ...`` for each line and ``hint: ...``, without credentials."""
    for line in message.splitlines():
        click.echo(f"error: {_line(line)}", err=True)
    if hint:
        click.echo(f"hint: {_line(hint)}", err=True)


def guarded(call: Callable[[], object]) -> int:
    """Run a command line; return the exit code and let no exception through."""
    try:
        result = call()
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.Abort:
        return 130
    except click.exceptions.NoArgsIsHelpError as nothing:
        nothing.show()
        return 2
    except click.ClickException as wrong:
        say(wrong.format_message(), _usage_hint(wrong))
        return 2
    except WarpError as error:
        log.debug("the error in full", exc_info=True)
        # Several settings may be wrong at once, and each has its line. Elsewhere the
        # lines are a driver's and belong together.
        several = isinstance(error, ConfigError)
        say(str(error) if several else _line(str(error)), error.hint)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output went away (`cwarp status | head`). Without this
        # the interpreter complains once more when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if _of_the_installation(error):
            log.debug("the error in full", exc_info=True)
            first = str(error).partition("\n")[0]
            say(
                f"a part of the installation is missing: {first}",
                "pip install 'cartridge-warp[binary]', or with [demo] for the demo",
            )
            return 3
        log.exception("internal error")
        say(
            _line(f"internal error: {type(error).__name__}: {error}"),
            "this is a bug in cartridge-warp; the traceback is in the log above",
        )
        return 1
    return result if isinstance(result, int) else 0


def _line(text: str) -> str:
    return " ".join(logs.redact(text).split())


def _of_the_installation(error: Exception) -> bool:
    """psycopg without libpq, or an extra that is not there; not a module of ours."""
    ours = ("cartridge_warp", "cwarp_core")
    return isinstance(error, ImportError) and not (error.name or "").startswith(ours)


def _usage_hint(wrong: click.ClickException) -> str:
    context = wrong.ctx if isinstance(wrong, click.UsageError) else None
    return "" if context is None else f"see {context.command_path} --help"
