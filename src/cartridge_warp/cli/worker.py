"""``cwarp worker``: help a running sync with its first copies."""

from __future__ import annotations

import click

from cartridge_warp import logs
from cartridge_warp.engine import runner

from . import progress as views
from .running import Given, run_options, running


@click.command(short_help="Help a running sync with its first copies.")
@click.option(
    "--schema",
    metavar="NAME",
    help="The schema to help with; with --config, one of its schemas.  "
    "[default: all that cwarp sync would sync]",
)
@click.option(
    "--tables", metavar="A,B", help="As it was given to cwarp sync, if it was."
)
@run_options
def worker(given: Given, schema: str | None, tables: str | None) -> int:
    """Take chunks of the first copies that a `cwarp sync` has under way.

    On this machine or another one, with the arguments or the configuration of that
    sync, and the same version: anything else is refused. It opens `snapshot_workers`
    connections. Without a sync it waits for one, and it ends with 0 when no chunk is
    left; changes are applied by the sync alone. Start and stop as many as you like at
    any time: one that is killed or frozen costs the chunks that it was copying.

    /metrics and the probes are served on 127.0.0.1. A port that is in use is a warning,
    and an error where an option asks for it.
    """
    overrides = {"single_schema_name": schema, "global_table_whitelist": tables}
    with (
        running(given, overrides, ports_required=False) as run,
        views.shown(run.progress, given.style),
    ):
        code = runner.help_copies(run.settings, progress=run.progress, stop=run.stop)
        if code == 0:
            logs.release()
        return code
