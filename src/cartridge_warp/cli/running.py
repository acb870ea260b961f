"""What the verbs that run until they are stopped have in common: sync and worker."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import click

from cartridge_warp import logs
from cartridge_warp.config import Settings
from cartridge_warp.engine.progress import Progress
from cartridge_warp.engine.signals import StopSignal

from . import progress as views
from .options import FILE, configure_logs, env_file_option, load, log_options, placing
from .servers import serving


class Given(NamedTuple):
    """What the command line gave for ``run_options``; None where it was silent."""

    src: str | None
    dst: str | None
    config_file: Path | None
    env_file: Path | None
    style: str
    metrics_port: int | None
    health_port: int | None
    log_format: str | None
    log_level: str | None


class Run(NamedTuple):
    """A run that may begin."""

    settings: Settings
    progress: Progress
    stop: StopSignal


_OPTIONS = (
    click.argument("src", required=False, metavar="[SRC"),
    click.argument("dst", required=False, metavar="DST]"),
    click.option(
        "--config", "config_file", type=FILE, metavar="FILE", help="A YAML file."
    ),
    env_file_option,
    click.option(
        "--progress",
        "style",
        type=click.Choice(views.STYLES),
        default="auto",
        show_default=True,
        help="live: a table on the terminal. log: a log line every 10 s. json: a JSON "
        "line a second on stdout. auto: live on a terminal, else log.",
    ),
    click.option(
        "--metrics-port",
        type=int,
        metavar="PORT",
        help="Port of /metrics; 0 takes a free one.  [default: 8080]",
    ),
    click.option(
        "--health-port",
        type=int,
        metavar="PORT",
        help="Port of /health, /ready, /startup and /status.json; 0 takes a free one.  "
        "[default: 8081]",
    ),
    log_options,
)


def run_options(command: Callable[..., int]) -> Callable[..., int]:
    """SRC, DST and the options of a run; ``command`` gets them as one ``Given``."""

    @functools.wraps(command)
    def collecting(**words: Any) -> int:
        given = Given(**{name: words.pop(name) for name in Given._fields})
        return command(given, **words)

    for option in reversed(_OPTIONS):
        collecting = option(collecting)
    return collecting


@contextlib.contextmanager
def running(
    given: Given, overrides: Mapping[str, object], *, ports_required: bool
) -> Iterator[Run]:
    """Load the settings, open the ports and take the signals for the block.

    overrides: settings that the verb's own options give; None where they are silent.
    ports_required: a port that cannot be had is an error, not a warning, as it is
    anyway where an option asks for one.
    """
    if (given.src is None) != (given.dst is None):
        raise click.UsageError("SRC and DST belong together: give both or neither")
    if overrides["single_schema_name"] == "":
        raise click.BadParameter("no schema is named", param_hint="'--schema'")
    settings = load(
        given.config_file,
        {
            "source.connection_string": given.src,
            "source.database": None if given.src is None else _database_of(given.src),
            "destination.connection_string": given.dst,
            "monitoring.prometheus.port": given.metrics_port,
            "monitoring.health.port": given.health_port,
            **overrides,
        },
        given.env_file,
    )
    configure_logs(settings.monitoring, given.log_format, given.log_level, hold=True)
    ports_asked_for = (given.metrics_port, given.health_port) != (None, None)
    run = Run(settings, Progress(began=logs.release), StopSignal())
    with (
        placing(settings.places),
        serving(
            settings.monitoring,
            run.progress,
            required=ports_required or ports_asked_for,
        ),
        run.stop.install(),
    ):
        yield run


def _database_of(uri: str) -> str | None:
    """The database in a MongoDB URI: after the hosts, before the options."""
    place = uri.partition("://")[2].rpartition("@")[2]
    name = place.partition("?")[0].partition("/")[2]
    return unquote(name) or None
