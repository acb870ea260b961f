"""``cwarp sync``: the main job."""

from __future__ import annotations

import contextlib
import shlex
import sys

import click

from cartridge_warp import logs, registry
from cartridge_warp.config import SchemaSettings, Settings
from cartridge_warp.config.patterns import is_plain, likely
from cartridge_warp.engine import runner
from cartridge_warp.errors import (
    ConfigError,
    DestinationUnavailable,
    HistoryLost,
    PreconditionError,
    SourceUnavailable,
)

from . import progress as views
from .running import Given, run_options, running


@click.command(short_help="Copy everything, then apply every change.")
@click.option(
    "--schema",
    metavar="NAME",
    help="The PostgreSQL schema to sync into; with --config, the one of its schemas to "
    "sync.  [default: the database's name in SRC]",
)
@click.option(
    "--tables",
    metavar="A,B",
    help="Sync these collections alone; globs are allowed.",
)
@click.option(
    "--once",
    is_flag=True,
    help="Copy, catch up to now (in batch mode: one pass), and end.",
)
@click.option(
    "--full-resync",
    is_flag=True,
    help="Begin at a new position, and compare every streamed table with its "
    "collection: what differs is mended in place. The way out of lost history "
    "(exit 6). Tables of batch mode are not compared.",
)
@click.option(
    "--mode",
    type=click.Choice(("single", "multi")),
    help="Sync one schema of the configuration or all of them in this process.",
)
@run_options
def sync(
    given: Given,
    schema: str | None,
    tables: str | None,
    once: bool,
    full_resync: bool,
    mode: str | None,
) -> int:
    """Copy every document of SRC into DST, then apply every change until stopped.

    SRC is a mongodb:// URI with a database, DST a postgresql:// URI; or both come
    from --config FILE or from CARTRIDGE_WARP_SOURCE__CONNECTION_STRING and
    CARTRIDGE_WARP_DESTINATION__CONNECTION_STRING. Prefer these where others can list
    processes: a password in an argument is visible to them.

    Run it again and it goes on where it was, whatever ended it. SIGTERM and Ctrl-C
    commit what is complete and end with 0; a second Ctrl-C ends at once.

    /metrics and the probes are served on 127.0.0.1. A port that is in use is an error
    with --config or a --...-port option, and only a warning without.
    """
    if mode == "multi" and schema is not None:
        raise click.UsageError("--schema takes one schema, --mode multi takes all")
    overrides = {
        "single_schema_name": schema,
        "mode": mode,
        "global_table_whitelist": tables,
    }
    with running(given, overrides, ports_required=given.config_file is not None) as run:
        if tables is not None:
            _check_tables(run.settings, _names(tables))
        with views.shown(run.progress, given.style):
            try:
                code = runner.run(
                    run.settings,
                    once=once,
                    progress=run.progress,
                    stop=run.stop,
                    full_resync=full_resync,
                )
            except HistoryLost as error:
                hint = error.hint
                if "--full-resync" in hint:
                    hint = _healing(hint)
                raise HistoryLost(str(error), hint=hint) from error
            if code == 0:
                logs.release()
            return code


def _healing(hint: str) -> str:
    """The hint, with the very command that helps."""
    words = [word for word in sys.argv[1:] if word != "--full-resync"]
    command = shlex.join(["cwarp", *map(logs.redact, words), "--full-resync"])
    return f"run: {command}; {hint}"


def _names(tables: str) -> list[str]:
    names = [name.strip() for name in tables.split(",") if name.strip()]
    if not names:
        raise click.BadParameter("no collection is named", param_hint="'--tables'")
    return names


def _check_tables(settings: Settings, names: list[str]) -> None:
    """Every name of ``--tables`` is a collection of some schema. Raises ConfigError.

    A glob may match nothing yet; a name that matches nothing is a slip of the pen,
    unless it was synced before and has been dropped since.
    """
    plain = filter(is_plain, names)
    found: set[str] = set()
    for schema in settings.schemas:
        found |= _collections(settings, schema)
    for name in plain:
        if name not in found:
            some = ", ".join(sorted(found)[:10]) or "none"
            raise ConfigError(
                f"--tables: no collection is called {name}",
                hint=likely(name, found) or f"there are: {some}",
            )


def _collections(settings: Settings, schema: SchemaSettings) -> set[str]:
    """Those there are, and those that have a table already."""
    with (
        contextlib.closing(registry.source(settings.source, schema)) as source,
        contextlib.closing(
            registry.destination(settings.destination, schema)
        ) as destination,
    ):
        try:
            started = destination.validate()
            source.validate(new=not started)
            synced = destination.tables() if started else []
            return {each.name for each in source.discover()} | {
                each.table.collection for each in synced
            }
        except (SourceUnavailable, DestinationUnavailable) as error:
            raise PreconditionError(str(error), hint=error.hint) from None
