"""Every verb of the command line, and how one is run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import click

from cartridge_warp import __version__, logs

from .configuration import config
from .demo import demo
from .failures import EXIT_CODES, guarded
from .resync import resync
from .status import status
from .sync import sync
from .worker import worker


class _Verbs(click.Group):
    """A group that says what the exit codes mean."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), text) for code, text in EXIT_CODES])
        super().format_epilog(ctx, formatter)


@click.group(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 88},
    epilog="Start with `cwarp demo`: real servers, real data, nothing to set up.",
)
@click.version_option(__version__, prog_name="cwarp", message="%(prog)s %(version)s")
def cwarp() -> None:
    """Keep PostgreSQL exactly equal to MongoDB: a first copy, then every change."""


for _verb in (sync, worker, resync, status, demo, config):
    cwarp.add_command(_verb)


def run(arguments: Sequence[str] | None, ready: Callable[[], None]) -> int:
    """Run one command line; return the exit code.

    ready: called where a KeyboardInterrupt may come from then on.
    """
    logs.configure(level="WARNING")

    def call() -> object:
        ready()
        return cwarp.main(
            args=None if arguments is None else list(arguments),
            prog_name="cwarp",
            standalone_mode=False,
        )

    return guarded(call)
