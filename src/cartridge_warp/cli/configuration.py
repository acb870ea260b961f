"""``cwarp config``: configuration files, without a server."""

from __future__ import annotations

from pathlib import Path

import click

from .options import FILE, env_file_option, load


@click.group()
def config() -> None:
    """Work with configuration files."""


@config.command(short_help="Check a file.")
@click.argument("file", type=FILE)
@env_file_option
def validate(file: Path, env_file: Path | None) -> None:
    """Check FILE as `sync --config FILE` would, without reaching for a server."""
    settings = load(file, {}, env_file)
    schemas = ", ".join(f"{each.name} <- {each.database}" for each in settings.schemas)
    click.echo(f"{file}: valid ({settings.mode}: {schemas})")
