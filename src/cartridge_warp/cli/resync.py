"""``cwarp resync``: make tables equal to their collections again, in place."""

from __future__ import annotations

import difflib
import os
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from cartridge_warp.config.uri import DESTINATION_SCHEMES
from cartridge_warp.errors import (
    ConfigError,
    DestinationUnavailable,
    PreconditionError,
)

from .options import FILE, env_file_option, load, placing
from .status import SETTING, URI_VARIABLE, destination_of, read, refuse_others

if TYPE_CHECKING:
    from cartridge_warp.config import DestinationSettings
    from cartridge_warp.metadata.status import SchemaStatus


@click.command(short_help="Compare tables with their collections, and mend them.")
@click.argument("words", nargs=-1, required=True, metavar="TABLE... [POSTGRES_URI]")
@click.option("--config", "config_file", type=FILE, help="Take the URI from here.")
@env_file_option
@click.option(
    "--schema", help="The schema of the tables; needed where there are several."
)
@click.option("--metadata-schema", help="Where the metadata is, if not the default.")
def resync(
    words: tuple[str, ...],
    config_file: Path | None,
    env_file: Path | None,
    schema: str | None,
    metadata_schema: str | None,
) -> None:
    """Ask that each TABLE be compared with its collection and mended in place.

    Rows that differ are written, missing ones inserted, those of documents that are
    gone deleted; equal rows are not touched. The table is never dropped or emptied,
    and the stream goes on. TABLE may be a glob.

    This writes a request into the metadata, and needs the PostgreSQL URI alone: as
    the last argument, from --config, or from
    CARTRIDGE_WARP_DESTINATION__CONNECTION_STRING. The process that owns the schema
    takes it up within seconds, else the next `cwarp sync` does.
    """
    uris = [each for each in words if each.startswith(DESTINATION_SCHEMES)]
    patterns = [each for each in words if each not in uris]
    if len(uris) > 1 or not patterns:
        raise click.UsageError("give at least one TABLE, and at most one POSTGRES_URI")
    if config_file is not None:
        settings = load(config_file, {}, env_file)
        refuse_others("resync", settings)
        destination, places = settings.destination, settings.places
        if schema is None and len(settings.schemas) == 1:
            schema = settings.schemas[0].name
    elif uri := (uris[0] if uris else os.environ.get(URI_VARIABLE)):
        destination, places = destination_of(uri), {SETTING: "POSTGRES_URI"}
    else:
        raise click.UsageError(f"give a POSTGRES_URI, --config, or {URI_VARIABLE}")
    if metadata_schema is not None:
        destination = msgspec.structs.replace(
            destination, metadata_schema=metadata_schema
        )
    with placing(places):
        found = _schema(destination, schema)
        tables = _tables(found, patterns)
        _ask(destination, found.schema, tables)
    names = ", ".join(f"{found.schema}.{name}" for name in tables)
    who = (
        f"the process that owns the schema ({found.instance}) begins within seconds"
        if found.run_status == "running"
        else "no process owns the schema now; the next cwarp sync begins with it"
    )
    click.echo(f"resync of {names} is asked for: {who}")


def _schema(destination: DestinationSettings, name: str | None) -> SchemaStatus:
    found = read(destination, name).schemas
    if len(found) > 1:
        names = ", ".join(each.schema for each in found)
        raise ConfigError(
            "several schemas are synced into this database",
            hint=f"name the one of the tables with --schema; there are: {names}",
        )
    return found[0]


def _tables(schema: SchemaStatus, patterns: list[str]) -> list[str]:
    """The tables that these names or globs mean. Raises ConfigError for one that means
    none, or names one that is not streamed."""
    names = {each.name for each in schema.tables if each.passes is None}
    for table in schema.tables:
        if table.passes is not None and table.name in patterns:
            raise ConfigError(
                f"{schema.schema}.{table.name} is read in batch mode, and only tables "
                "that are streamed are resynced",
                hint="its next pass brings what changed; detect_deletes: true, or "
                "change_detection_strategy: hash, removes what is gone",
            )
    chosen: dict[str, None] = {}
    for pattern in patterns:
        matching = sorted(name for name in names if fnmatchcase(name, pattern))
        if not matching:
            close = difflib.get_close_matches(pattern, names, n=1)
            some = ", ".join(sorted(names)[:10]) or "none"
            raise ConfigError(
                f"schema {schema.schema} has no table {pattern}",
                hint=f"did you mean {close[0]}?" if close else f"there are: {some}",
            )
        chosen.update(dict.fromkeys(matching))
    return list(chosen)


def _ask(destination: DestinationSettings, schema: str, tables: list[str]) -> None:
    # Imported here: the driver needs libpq, and `cwarp --help` should not.
    from cartridge_warp.postgresql import requests

    try:
        requests.ask_resync(destination, schema, tables)
    except DestinationUnavailable as error:
        raise PreconditionError(str(error), hint=error.hint) from None
