"""``cwarp resync``: make tables equal to their collections again, in place."""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
import msgspec

from cartridge_warp.config.patterns import likely
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
    from cartridge_warp.metadata.status import SchemaStatus, TableStatus


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
    takes it up within seconds, else the next `cwarp sync` does. A table that nobody
    follows is refused: one of batch mode, one that the filters leave out, and one whose
    collection is gone.
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
        tables, left_out = _tables(found, patterns)
        _ask(destination, found.schema, tables)
    names = ", ".join(f"{found.schema}.{name}" for name in tables)
    who = (
        f"the process that owns the schema ({found.instance}) begins within seconds"
        if found.run_status == "running"
        else "no process owns the schema now; the next cwarp sync begins with it"
    )
    click.echo(f"resync of {names} is asked for: {who}")
    if left_out:
        click.echo(f"not asked for: {', '.join(left_out)}")


def _schema(destination: DestinationSettings, name: str | None) -> SchemaStatus:
    found = read(destination, name).schemas
    if len(found) > 1:
        names = ", ".join(each.schema for each in found)
        raise ConfigError(
            "several schemas are synced into this database",
            hint=f"name the one of the tables with --schema; there are: {names}",
        )
    return found[0]


def _tables(schema: SchemaStatus, patterns: list[str]) -> tuple[list[str], list[str]]:
    """The tables that these names or globs mean, and those that a glob means beside
    them and that cannot be resynced, each with the reason.

    Raises ConfigError for a name or a glob that means none which can be.
    """
    chosen: dict[str, None] = {}
    left_out: dict[str, None] = {}
    for pattern in patterns:
        named = [each for each in schema.tables if each.name == pattern]
        matching = named or [
            each for each in schema.tables if fnmatchcase(each.name, pattern)
        ]
        if not matching:
            names = [each.name for each in schema.tables]
            some = ", ".join(sorted(names)) or "none"
            raise ConfigError(
                f"schema {schema.schema} has no table {pattern}",
                hint=likely(pattern, names) or f"there are: {some}",
            )
        refused = [
            (each, why) for each in matching if (why := _refused(each)) is not None
        ]
        if len(refused) == len(matching):
            raise _none_of(schema.schema, pattern, refused)
        left_out.update((f"{each.name} ({why.short})", None) for each, why in refused)
        able = {each.name for each in matching} - {each.name for each, _ in refused}
        chosen.update(dict.fromkeys(sorted(able)))
    return list(chosen), list(left_out)


class _Why(NamedTuple):
    """Why a table cannot be resynced: in brackets, as a sentence, and the way out."""

    short: str
    full: str
    hint: str


_BATCH = _Why(
    "read in batch mode",
    "is read in batch mode, and only tables that are streamed are resynced",
    "its next pass brings what changed; detect_deletes: true, or "
    "change_detection_strategy: hash, removes what is gone",
)
_GONE = _Why(
    "its collection is gone",
    "has no collection any more to be compared with",
    "on_drop says what becomes of its rows; if the collection comes back, the table is "
    "resynced by itself",
)
_LEFT = _Why(
    "not followed",
    "is not followed: the filters of the last run leave it out",
    "select its collection again; the sync that does so resyncs the table by itself",
)


def _refused(table: TableStatus) -> _Why | None:
    """Nothing would ever take the wish up."""
    if table.passes is not None:
        return _BATCH
    # One that is selected again while its collection is gone stays as it is.
    if table.gone:
        return _GONE
    return _LEFT if table.left else None


def _none_of(
    schema: str, pattern: str, refused: list[tuple[TableStatus, _Why]]
) -> ConfigError:
    (table, why), *more = refused
    if not more:
        return ConfigError(f"{schema}.{table.name} {why.full}", hint=why.hint)
    each = ", ".join(f"{table.name} ({why.short})" for table, why in refused)
    reasons = {why for _, why in refused}
    return ConfigError(
        f"no table of schema {schema} that {pattern} means can be resynced: {each}",
        hint=why.hint if len(reasons) == 1 else "name one of them to see what to do",
    )


def _ask(destination: DestinationSettings, schema: str, tables: list[str]) -> None:
    # Imported here: the driver needs libpq, and `cwarp --help` should not.
    from cartridge_warp.postgresql import requests

    try:
        requests.ask_resync(destination, schema, tables)
    except DestinationUnavailable as error:
        raise PreconditionError(str(error), hint=error.hint) from None
