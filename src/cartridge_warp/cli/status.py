"""``cwarp status``: what the destination knows, from any machine that reaches it."""

from __future__ import annotations

import difflib
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from cartridge_warp import logs
from cartridge_warp.config import DestinationSettings, Settings
from cartridge_warp.config.model import POSTGRESQL
from cartridge_warp.config.uri import DESTINATION_SCHEMES
from cartridge_warp.engine.views import Phase
from cartridge_warp.errors import (
    ConfigError,
    DestinationUnavailable,
    PreconditionError,
)

from .options import FILE, env_file_option, load, placing
from .progress import console
from .tables import grid, phase

if TYPE_CHECKING:
    from cartridge_warp.metadata.status import SchemaStatus, TableStatus

URI_VARIABLE = "CARTRIDGE_WARP_DESTINATION__CONNECTION_STRING"
SETTING = "destination.connection_string"
_WATCH_SECONDS = 2.0


class Seen(msgspec.Struct, frozen=True):
    """The metadata at one moment."""

    at: datetime
    schemas: tuple[SchemaStatus, ...]


@click.command(short_help="Show positions, tables, dead letters and errors.")
@click.argument("uri", required=False, metavar="[POSTGRES_URI]", envvar=URI_VARIABLE)
@click.option("--config", "config_file", type=FILE, help="Take the URI from here.")
@env_file_option
@click.option("--schema", help="This schema alone.")
@click.option("--metadata-schema", help="Where the metadata is, if not the default.")
@click.option("--watch", is_flag=True, help="Look again every 2 s until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def status(
    uri: str | None,
    config_file: Path | None,
    env_file: Path | None,
    schema: str | None,
    metadata_schema: str | None,
    watch: bool,
    as_json: bool,
) -> None:
    """Show position and age, tables and their copy, dead letters and last errors.

    Needs the PostgreSQL URI alone: as an argument, from --config, or from
    CARTRIDGE_WARP_DESTINATION__CONNECTION_STRING. Writes nothing.
    """
    if config_file is not None:
        settings = load(config_file, {}, env_file)
        destination, places = settings.destination, settings.places
        refuse_others("status", settings)
    elif uri is not None:
        destination, places = destination_of(uri), {SETTING: "POSTGRES_URI"}
    else:
        raise click.UsageError(f"give a POSTGRES_URI, --config, or {URI_VARIABLE}")
    if metadata_schema is not None:
        destination = msgspec.structs.replace(
            destination, metadata_schema=metadata_schema
        )
    try:
        with placing(places):
            _show(destination, schema, as_json=as_json)
            while watch:
                time.sleep(_WATCH_SECONDS)
                if not as_json:
                    console().clear()
                _show(destination, schema, as_json=as_json)
    except KeyboardInterrupt:
        if not watch:
            raise


def read(destination: DestinationSettings, schema: str | None = None) -> Seen:
    """The metadata, of one schema or of all.

    Raises PreconditionError when the server cannot be reached or nothing was ever
    synced into it, ConfigError when there is no such schema.
    """
    # Imported here: the driver needs libpq, and `cwarp --help` should not.
    from cartridge_warp.postgresql import status as postgresql

    try:
        found = postgresql.read(destination)
    except DestinationUnavailable as error:
        raise PreconditionError(str(error), hint=error.hint) from None
    if not found:
        raise PreconditionError(
            f"nothing was ever synced into this database: it has no "
            f"{destination.metadata_schema} with a schema in it",
            hint="start with cwarp sync, or name the right database",
        )
    if schema is not None:
        found = (named(schema, found),)
    return Seen(datetime.now(UTC), found)


def refuse_others(verb: str, settings: Settings) -> None:
    """Raises ConfigError for a destination whose metadata this verb cannot know."""
    if (found := settings.destination.type) != POSTGRESQL:
        raise ConfigError(
            f"{settings.places['destination.type']}: cwarp {verb} works on PostgreSQL, "
            f"and this destination is {found}"
        )


def destination_of(uri: str) -> DestinationSettings:
    """The settings that a URI alone makes. Raises ConfigError."""
    if not uri.startswith(DESTINATION_SCHEMES):
        raise ConfigError(
            f"POSTGRES_URI must start with {' or '.join(DESTINATION_SCHEMES)}",
            hint="write postgresql://USER:PASSWORD@HOST:5432/DATABASE",
        )
    logs.hide(uri)
    return DestinationSettings(connection_string=uri)


def named(name: str, found: tuple[SchemaStatus, ...]) -> SchemaStatus:
    by_name = {each.schema: each for each in found}
    if name in by_name:
        return by_name[name]
    close = difflib.get_close_matches(name, by_name, n=1)
    raise ConfigError(
        f"no schema {name} was ever synced into this database",
        hint=f"did you mean {close[0]}?"
        if close
        else f"there are: {', '.join(by_name)}",
    )


def _show(
    destination: DestinationSettings, schema: str | None, *, as_json: bool
) -> None:
    seen = read(destination, schema)
    if as_json:
        click.echo(msgspec.json.encode(_plain(seen)))
    else:
        console().print(_page(seen))


def _phase(schema: SchemaStatus, table: TableStatus) -> Phase:
    if table.gone:
        return Phase.GONE
    if table.left:
        return Phase.LEFT
    if not table.complete:
        copying = Phase.RESYNCING if table.resync else Phase.COPYING
        return copying if table.planned else Phase.STARTING
    if schema.run_status != "running":
        return Phase.STOPPED
    return Phase.STREAMING if table.passes is None else Phase.WAITING


def _age(seen: Seen, schema: SchemaStatus) -> float | None:
    """Seconds between the source's time of the position and now; None without one."""
    if schema.wall_time is None:
        return None
    return max(0.0, (seen.at - schema.wall_time).total_seconds())


def _plain(seen: Seen) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(seen)
    for schema, each in zip(seen.schemas, plain["schemas"], strict=True):
        each["position_age_seconds"] = _age(seen, schema)
        for table, line in zip(schema.tables, each["tables"], strict=True):
            line["phase"] = _phase(schema, table)
            line["complete"] = table.complete
        for error in each["errors"]:
            error["message"] = logs.redact_data(error["message"])
    return plain


def _passes(table: TableStatus, now: datetime) -> Iterator[Text]:
    """What is special about a table of batch mode."""
    text = f"{table.name}: {table.passes:,} passes"
    if table.last_pass is not None:
        text += f", the last one {(now - table.last_pass).total_seconds():,.0f} s ago"
    if table.next_pass is not None:
        due = table.next_pass.astimezone(UTC)
        text += f", the next one due {due:%Y-%m-%d %H:%M:%S} UTC"
    yield Text(text)
    if table.unread:
        yield Text(
            f"{table.name}: {table.unread:,} documents without a time in the "
            "change_detection_column, whose changes passes do not see",
            style="yellow",
        )


def _page(seen: Seen) -> RenderableType:
    return Group(*(part for each in seen.schemas for part in _section(seen, each)))


def _section(seen: Seen, schema: SchemaStatus) -> Iterator[RenderableType]:
    run = schema.run_status or "never ran"
    if schema.instance:
        run += f" ({schema.instance})"
    yield Text(f"{schema.schema} <- {schema.database}: {run}", style="bold")
    age = _age(seen, schema)
    passes = any(each.passes is not None for each in schema.tables)
    if schema.wall_time is None or age is None:
        yield Text(
            "position: none, read in batch mode" if passes else "position: none yet"
        )
    else:
        when = schema.wall_time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        yield Text(
            f"position: {when}, {age:,.0f} s old"
            f" (epoch {schema.epoch}, seq {schema.seq:,})"
        )
    table = grid(
        *("table", "phase", "chunks", "copied", "upserted", "deleted"),
        *("dead letters", "rescued"),
    )
    for each in schema.tables:
        table.add_row(
            escape(each.name),
            phase(_phase(schema, each)),
            f"{each.chunks_done:,} / {each.chunks:,}",
            f"{each.copied:,}",
            f"{each.applied - each.deleted:,}",
            f"{each.deleted:,}",
            Text(f"{each.dead_letters:,}", style="red" if each.dead_letters else ""),
            f"{each.rescued:,}",
        )
    yield table
    for each in schema.tables:
        if each.passes is not None:
            yield from _passes(each, seen.at)
    for chunk in schema.copying:
        who = "the owner" if chunk.owner else "a worker"
        yield Text(
            f"{chunk.table}: chunk {chunk.chunk} is copied by {who}"
            f" ({chunk.instance or 'gone'}), for {chunk.seconds:,.0f} s"
        )
    for error in schema.errors:
        place = f" {error.table}" if error.table else ""
        times = f" ({error.count} times)" if error.count > 1 else ""
        words = " ".join(logs.redact_data(error.message).split())
        yield Text(
            f"{error.logged_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
            f" {error.kind}{place}: {words}{times}",
            style="yellow",
        )
    yield Text("")
