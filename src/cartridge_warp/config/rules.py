"""What no single setting shows: schemes, names that servers refuse, contradictions."""

from __future__ import annotations

from typing import Final

from msgspec.structs import asdict, fields

from cartridge_warp.model import (
    DELETED_AT,
    DOCUMENT,
    OWN_COLUMNS,
    RESERVED_PREFIX,
    SYSTEM_COLUMNS,
    TableOptions,
)

from . import detection, filters
from .check import Checked, Values, nearest, variable
from .model import (
    MONGODB,
    POSTGRESQL,
    DestinationSettings,
    HealthSettings,
    PrometheusSettings,
)
from .node import NOWHERE, Problem
from .uri import DESTINATION_SCHEMES, SOURCE_SCHEMES

#: Databases MongoDB keeps for itself; change streams do not work there.
_SYSTEM_DATABASES: Final = frozenset({"admin", "config", "local"})
#: "Naming Restrictions" in MongoDB's manual, for servers on any platform.
_NOT_IN_DATABASE: Final = frozenset('/\\. "$\0*<>:|?')
_MAX_NAME_BYTES: Final = 63
#: Names that rows have for something else.
_TAKEN_COLUMNS: Final = (OWN_COLUMNS | SYSTEM_COLUMNS | {DELETED_AT, DOCUMENT}) - {
    TableOptions().soft_delete_column
}

#: What only its use can prove wrong: a URI's parts, a port that is taken, a collection
#: that is not there, and all that is a connector's own.
USED_LATER: Final = (
    "source.type",
    "source.connection_string",
    "source.options",
    "destination.type",
    "destination.connection_string",
    "destination.options",
    "monitoring.prometheus.port",
    "monitoring.health.port",
    "global_table_whitelist",
    "global_table_blacklist",
)

#: The connector that a group is made for, and the settings that no other looks at.
_OWN: Final = {"source": MONGODB, "destination": POSTGRESQL}
_ALONE: Final = {
    "source": {
        *("full_document", "read_preference", "connection_timeout"),
        *("snapshot_batch_bytes", "change_batch_size"),
    },
    "destination": {"metadata_schema", "connection_timeout", "command_timeout"},
}

_PROMETHEUS: Final = asdict(PrometheusSettings())
_HEALTH: Final = asdict(HealthSettings())
_METADATA: Final = {field.name: field.default for field in fields(DestinationSettings)}[
    "metadata_schema"
]


def apply(checked: Checked) -> tuple[list[Values], str]:
    """The schemas to run, each with its database, and the mode.

    Records a problem in ``checked`` for everything that cannot be meant.
    """
    _connectors(checked)
    _uris(checked)
    _ports(checked)
    detection.check(checked)
    top = checked.values
    _soft_column(checked, "destination", top.get("destination", {}))
    metadata = top.get("destination", {}).get("metadata_schema", _METADATA)
    _schema_name(checked, "destination.metadata_schema", metadata)
    configured = top.get("schemas", [])
    name, mode = top.get("single_schema_name", ""), top.get("mode")
    if name and mode == "multi":
        checked.blame(
            "single_schema_name",
            "contradicts mode: multi",
            "leave one of the two out",
        )
    if configured:
        schemas = _listed(checked, configured, metadata)
    else:
        schemas = _implied(checked, name, metadata)
    chosen = _chosen(checked, schemas, name)
    if mode == "single" and len(chosen) > 1:
        checked.blame(
            "mode",
            f"single takes one schema, {len(chosen)} are configured",
            "name one with --schema (or single_schema_name), or take mode multi",
        )
    filters.check(checked, chosen)
    return chosen, mode or ("single" if len(chosen) == 1 else "multi")


def _connectors(checked: Checked) -> None:
    """No setting that the connector would not look at."""
    for group, own in _OWN.items():
        values = checked.values.get(group, {})
        if _is_own(checked, group):
            if values.get("options"):
                checked.blame(f"{group}.options", f"{own} has none", "remove them")
            continue
        for name in values:
            if name in _ALONE[group]:
                checked.blame(
                    f"{group}.{name}",
                    f"a setting of {own} alone",
                    f"the connector's own settings stand under {group}.options",
                )


def _is_own(checked: Checked, group: str) -> bool:
    """Is the connector one of the two that are shipped?"""
    own = _OWN[group]
    return bool(checked.values.get(group, {}).get("type", own) == own)


def _uris(checked: Checked) -> None:
    for group, schemes, other in (
        ("source", SOURCE_SCHEMES, DESTINATION_SCHEMES),
        ("destination", DESTINATION_SCHEMES, SOURCE_SCHEMES),
    ):
        uri = checked.values.get(group, {}).get("connection_string")
        if uri is None or not _is_own(checked, group) or uri.startswith(schemes):
            continue
        swapped = uri.startswith(other)
        checked.blame(
            f"{group}.connection_string",
            f"must start with {' or '.join(schemes)}",
            _swapped(checked) if swapped else "",
        )


def _swapped(checked: Checked) -> str:
    ends = "source.connection_string", "destination.connection_string"
    source, destination = (checked.option(end) or end.partition(".")[0] for end in ends)
    return f"{source} and {destination} look swapped"


def _ports(checked: Checked) -> None:
    monitoring = checked.values.get("monitoring", {})
    prometheus = _PROMETHEUS | monitoring.get("prometheus", {})
    health = _HEALTH | monitoring.get("health", {})
    both = prometheus["enabled"] and health["enabled"]
    if both and prometheus["port"] == health["port"] != 0:
        checked.blame(
            "monitoring.health.port",
            f"the same port as {checked.name('monitoring.prometheus.port')}",
            "give them two ports, or 0 for free ones",
        )


def _implied(checked: Checked, name: str, metadata: str) -> list[Values]:
    """Without a list of schemas there is one.

    It is called by ``single_schema_name``, else like ``source.database``.
    """
    path, source = "single_schema_name", checked.values.get("source", {})
    if not name and (name := source.get("database", "")):
        path = "source.database"
    if name:
        _schema_name(checked, path, name, metadata)
        return [{"name": name, "database": _database(checked, path, name)}]
    _nameless(checked)
    return []


def _nameless(checked: Checked) -> None:
    """Nothing names a schema or a database."""
    if option := checked.option("source.connection_string"):
        hint = "write mongodb://HOST/DATABASE, or name it with --schema NAME"
        # A source that is missing altogether has its own line already.
        if "connection_string" in checked.values.get("source", {}):
            problem = Problem(option, "", "the URI names no database", hint)
            checked.problems.append(problem)
    elif checked.origins[""] == NOWHERE:
        hint = f"set {variable('source.database')}, or name it with --schema NAME"
        checked.problems.append(Problem(NOWHERE, "source.database", "missing", hint))
    else:
        checked.blame(
            "schemas",
            "none configured",
            "list one, or name the one there is by source.database (--schema)",
        )


def _listed(checked: Checked, schemas: list[Values], metadata: str) -> list[Values]:
    complete: list[Values] = []
    seen: set[str] = set()
    for at, schema in enumerate(schemas):
        path, name = f"schemas[{at}]", schema.get("name")
        if name is None:  # reported as missing, or as no text
            continue
        _schema_name(checked, f"{path}.name", name, metadata)
        if name in seen:
            checked.blame(f"{path}.name", "a second schema of this name")
        seen.add(name)
        if own := schema.get("database"):
            _database_name(checked, f"{path}.database", own)
        elif len(schemas) == 1:
            own = _database(checked, f"{path}.name", name)
        else:
            _database_name(checked, f"{path}.name", name)
        complete.append({**schema, "database": own or name})
        _soft_column(checked, path, schema)
        _tables(checked, path, schema.get("tables", []))
    return complete


def _chosen(checked: Checked, schemas: list[Values], name: str) -> list[Values]:
    if not name:
        return schemas
    names = [schema["name"] for schema in schemas]
    if name not in names:
        checked.blame(
            "single_schema_name",
            f"no schema of this name is configured{nearest(name, names)}",
            f"configured: {', '.join(names)}" if names else "",
        )
    return [schema for schema in schemas if schema["name"] == name]


def _tables(checked: Checked, path: str, tables: list[Values]) -> None:
    seen: set[str] = set()
    for at, table in enumerate(tables):
        name = table.get("name")
        if name is not None and name in seen:
            checked.blame(f"{path}.tables[{at}].name", "a second table of this name")
        seen.add(name or "")
        _soft_column(checked, f"{path}.tables[{at}]", table)


def _soft_column(checked: Checked, path: str, group: Values) -> None:
    """A column's name by PostgreSQL's rules, and none that rows have already."""
    name, path = group.get("soft_delete_column", ""), f"{path}.soft_delete_column"
    if len(name.encode(errors="replace")) > _MAX_NAME_BYTES:
        checked.blame(path, f"must have 1 to {_MAX_NAME_BYTES} bytes")
    elif "\0" in name:
        checked.blame(path, "must not hold a NUL")
    elif name in _TAKEN_COLUMNS or name.startswith(RESERVED_PREFIX):
        checked.blame(path, "a column that tables have for something else")


def _database(checked: Checked, path: str, schema: str) -> str:
    """The database of the only schema, when it names none itself."""
    if database := checked.values.get("source", {}).get("database"):
        _database_name(checked, "source.database", database)
        return str(database)
    _database_name(checked, path, schema)
    return schema


def _schema_name(checked: Checked, path: str, name: str, metadata: str = "") -> None:
    """PostgreSQL's rules: 63 bytes, no NUL, nothing of the server's own."""
    # A schema is called like its database unless it has a name of its own.
    hint = "name the schema with --schema" if path == "source.database" else ""
    if not 0 < len(name.encode(errors="replace")) <= _MAX_NAME_BYTES:
        checked.blame(path, f"must have 1 to {_MAX_NAME_BYTES} bytes", hint)
    elif "\0" in name:
        checked.blame(path, "must not hold a NUL", hint)
    elif name.startswith("pg_") or name == "information_schema":
        checked.blame(path, "a schema that belongs to PostgreSQL itself", hint)
    elif name == metadata:
        checked.blame(path, "the schema of the metadata", hint)


def _database_name(checked: Checked, path: str, name: str) -> None:
    """MongoDB's rules, said so that a name taken from the schema's makes sense."""
    if not _is_own(checked, "source"):
        return
    if checked.option(path):
        hint = (
            "name the database in SRC: mongodb://HOST/DATABASE?authSource=admin, where"
            " authSource is the database that knows the user"
        )
    else:
        hint = "set schemas[].database (or source.database) to the database's name"
    if name in _SYSTEM_DATABASES:
        checked.blame(path, "a database of MongoDB's own, which has no changes", hint)
    elif not 0 < len(name.encode(errors="replace")) <= _MAX_NAME_BYTES:
        checked.blame(
            path, f"as a MongoDB database, must have 1 to {_MAX_NAME_BYTES} bytes", hint
        )
    elif bad := sorted(_NOT_IN_DATABASE.intersection(name)):
        shown = " ".join(ascii(letter) for letter in bad)
        checked.blame(path, f"no MongoDB database has a name with {shown}", hint)
