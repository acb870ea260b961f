"""``cwarp demo``: everything at once, with nothing to set up."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from .progress import console

DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(short_help="Real servers, real data: copy, stream, kill, verify.")
@click.option(
    "--data",
    type=DIRECTORY,
    metavar="DIR",
    help="Load your own .json, .jsonl (Extended JSON) and .bson files instead: one "
    "collection a file.",
)
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep both servers' data in this directory, or go on with what is there.",
)
@click.option("--serve", is_flag=True, help="Leave all running until Ctrl-C.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=1, max=3600),
    default=12.0,
    show_default=True,
    help="How long the live changes last.",
)
def demo(data: Path | None, keep: Path | None, serve: bool, seconds: float) -> int:
    """Start a real MongoDB and a real PostgreSQL and keep one equal to the other.

    Loads the catalogue of this machine's Python distributions, copies it with
    `cwarp sync`, changes documents all the while, kills the sync and starts it again,
    and compares every row with its document. Exits with 0 when all are equal, else 1.

    Needs both servers: installed, in the wheels of `pip install cartridge-warp[demo]`,
    or named by CWARP_TEST_MONGODB_URI and CWARP_TEST_POSTGRES_URI. They listen on
    127.0.0.1, and nothing of them is left afterwards without --keep.
    """
    # Imported here: the other verbs need no driver to show their help.
    from cartridge_warp.demo import ending, screen, story

    signal.signal(signal.SIGTERM, _leave)
    options = ending.Options(data, keep, serve, seconds)
    return story.tell(options, screen.Screen(console()))


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    """End through every context manager, so that nothing is left behind."""
    sys.exit(128 + number)
