"""``cwarp worker``: help a running sync with its first copies."""

from __future__ import annotations

from pathlib import Path

import click

from cartridge_warp import logs
from cartridge_warp.engine import runner
from cartridge_warp.engine.progress import Progress
from cartridge_warp.engine.signals import StopSignal

from . import progress as views
from .options import FILE, configure_logs, env_file_option, load, log_options, placing
from .servers import serving
from .sync import connections


@click.command(short_help="Help a running sync with its first copies.")
@click.argument("src", required=False, metavar="[SRC")
@click.argument("dst", required=False, metavar="DST]")
@click.option(
    "--schema",
    metavar="NAME",
    help="The schema to help with; with --config, one of its schemas.  "
    "[default: all that cwarp sync would sync]",
)
@click.option(
    "--tables", metavar="A,B", help="As it was given to cwarp sync, if it was."
)
@click.option("--config", "config_file", type=FILE, metavar="FILE", help="A YAML file.")
@env_file_option
@click.option(
    "--progress",
    "style",
    type=click.Choice(views.STYLES),
    default="auto",
    show_default=True,
    help="As for cwarp sync.",
)
@click.option(
    "--metrics-port",
    type=int,
    metavar="PORT",
    help="Port of /metrics; 0 takes a free one.  [default: 8080]",
)
@click.option(
    "--health-port",
    type=int,
    metavar="PORT",
    help="Port of /health, /ready, /startup and /status.json; 0 takes a free one.  "
    "[default: 8081]",
)
@log_options
def worker(
    src: str | None,
    dst: str | None,
    schema: str | None,
    tables: str | None,
    config_file: Path | None,
    env_file: Path | None,
    style: str,
    metrics_port: int | None,
    health_port: int | None,
    log_format: str | None,
    log_level: str | None,
) -> int:
    """Take chunks of the first copies that a `cwarp sync` has under way.

    On this machine or another one, with the arguments or the configuration of that
    sync, and the same version: anything else is refused. It opens `snapshot_workers`
    connections. Without a sync it waits for one, and it ends with 0 when no chunk is
    left; changes are applied by the sync alone. Start and stop as many as you like at
    any time: one that is killed or frozen costs the chunks that it was copying.

    /metrics and the probes are served on 127.0.0.1. A port that is in use is a warning,
    and an error where an option asks for it.
    """
    if (src is None) != (dst is None):
        raise click.UsageError("SRC and DST belong together: give both or neither")
    if schema == "":
        raise click.BadParameter("no schema is named", param_hint="'--schema'")
    settings = load(
        config_file,
        {
            **connections(src, dst),
            "single_schema_name": schema,
            "global_table_whitelist": tables,
            "monitoring.prometheus.port": metrics_port,
            "monitoring.health.port": health_port,
        },
        env_file,
    )
    configure_logs(settings.monitoring, log_format, log_level, hold=True)
    asked_for = (metrics_port, health_port) != (None, None)
    progress, stop = Progress(began=logs.release), StopSignal()
    with (
        placing(settings.places),
        serving(settings.monitoring, progress, required=asked_for),
        stop.install(),
        views.shown(progress, style),
    ):
        code = runner.help_copies(settings, progress=progress, stop=stop)
        if code == 0:
            logs.release()
        return code
