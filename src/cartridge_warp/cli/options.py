"""Options that several verbs share, and what they resolve to."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

import click

from cartridge_warp import config, logs, registry
from cartridge_warp.config import MonitoringSettings
from cartridge_warp.config.environment import read_file
from cartridge_warp.errors import ConfigError

F = TypeVar("F", bound=Callable[..., Any])

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
FILE = click.Path(dir_okay=False, path_type=Path)


def log_options(command: F) -> F:
    """``--log-format`` and ``--log-level``."""
    command = click.option(
        "--log-level",
        type=click.Choice(LEVELS, case_sensitive=False),
        help="The least severe log line to write. DEBUG adds tracebacks and may show "
        "ids and values; credentials are never shown.  [default: INFO]",
    )(command)
    return click.option(
        "--log-format",
        type=click.Choice(("auto", "text", "json")),
        help="How log lines look on stderr; auto is text on a terminal, JSON "
        "elsewhere.  [default: auto]",
    )(command)


def configure_logs(
    monitoring: MonitoringSettings,
    log_format: str | None,
    log_level: str | None,
    *,
    hold: bool = False,
) -> str:
    """Set the process' logging up, options before settings. Returns the run's id.

    hold: as ``logs.configure`` has it.
    """
    run_id = uuid.uuid4().hex[:12]
    written = {True: "json", False: "text", None: "auto"}
    logs.configure(
        level=log_level or monitoring.log_level,
        style=log_format or written[monitoring.structured_logging],
        run_id=run_id,
        hold=hold,
    )
    return run_id


def env_file_option(command: F) -> F:
    """``--env-file``."""
    return click.option(
        "--env-file",
        type=FILE,
        help="Read variables (NAME=value lines) from this file; those of the "
        "environment win.",
    )(command)


#: How the command line calls the settings that it can give.
OPTIONS: Final = MappingProxyType(
    {
        "source.connection_string": "SRC",
        "source.database": "SRC",
        "destination.connection_string": "DST",
        "single_schema_name": "--schema",
        "mode": "--mode",
        "global_table_whitelist": "--tables",
        "monitoring.prometheus.port": "--metrics-port",
        "monitoring.health.port": "--health-port",
    }
)


def load(
    path: Path | None, overrides: dict[str, object], env_file: Path | None
) -> config.Settings:
    """The settings: command line > environment > env file > file > defaults.

    Their passwords are hidden from everything this process shows from here on. Raises
    ConfigError, also for a connector that is not installed.
    """
    variables = {**(read_file(env_file) if env_file else {}), **os.environ}
    settings = config.load(path, overrides, variables, OPTIONS)
    for end in (settings.source, settings.destination):
        logs.hide(end.connection_string)
        for secret in config.secrets(end):
            logs.hide_word(secret)
    with placing(settings.places):
        registry.check(settings)
    return settings


@contextlib.contextmanager
def placing(places: Mapping[str, str]) -> Iterator[None]:
    """Name the place where a setting was written that the block finds wrong."""
    try:
        yield
    except ConfigError as error:
        if error.setting not in places:
            raise
        place = places[error.setting]
        raise ConfigError(f"{place}: {error.fault}", hint=error.hint) from error
