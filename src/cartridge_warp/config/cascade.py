"""From what was written to complete settings: table over schema over global."""

from __future__ import annotations

from typing import Any, Final

from msgspec import convert

from cartridge_warp.model import TableOptions

from .check import Values
from .detection import CASCADING as _DETECTION
from .detection import TOP, Detection
from .model import (
    DestinationSettings,
    ErrorSettings,
    MonitoringSettings,
    SchemaSettings,
    Settings,
    SourceSettings,
    TableSettings,
)
from .written import Flow, Shape, WrittenSchema

#: Settings of a schema that stand at the top of the file too.
_FLOW: Final = set(Flow.__struct_fields__) - set(Shape.__struct_fields__)
_OPTIONS: Final = set(TableOptions.__struct_fields__)
#: Settings that cascade down to a table.
_TABLE: Final = _OPTIONS | {"schema_sample_size", "max_parallel_streams", "on_drop"}
#: Every setting that may stand at more than one level.
CASCADING: Final = frozenset(_TABLE | _FLOW | _DETECTION)
#: Settings of the whole process that each schema acts on.
_ABOVE: Final = {"global_table_whitelist", "global_table_blacklist", "on_history_lost"}
#: Settings a schema has for itself alone.
_OWN: Final = (
    set(WrittenSchema.__struct_fields__)
    - set(Flow.__struct_fields__)
    - _TABLE
    - _DETECTION
    - {"mode", "default_max_parallel_streams", "default_polling_interval"}
)


def resolve(
    top: Values, chosen: list[Values], mode: str, places: dict[str, str]
) -> Settings:
    """The settings for the chosen schemas, which have their databases by now."""
    source = convert(top["source"], SourceSettings)
    destination = convert(top["destination"], DestinationSettings)
    errors = convert(top.get("error_handling", {}), ErrorSettings)
    # These settings have their global value in a group, where people look for it.
    above = {
        **top,
        "max_document_depth": source.max_document_depth,
        "schema_sample_size": source.schema_sample_size,
        "on_misfit": errors.on_misfit,
        "deletion_strategy": destination.deletion_strategy,
        "soft_delete_column": destination.soft_delete_column,
        "max_parallel_streams": top.get("global_max_parallel_streams", 1),
        "on_history_lost": source.on_history_lost,
    }
    detection = TOP.below(top["source"])
    return Settings(
        mode="single" if mode == "single" else "multi",
        source=source,
        destination=destination,
        schemas=tuple(
            _schema(above, schema, detection, source.timezone) for schema in chosen
        ),
        monitoring=convert(top.get("monitoring", {}), MonitoringSettings),
        error_handling=errors,
        places=places,
    )


def _schema(
    top: Values, schema: Values, detection: Detection, timezone: str
) -> SchemaSettings:
    above = {**_some(top, _TABLE), **_some(schema, _TABLE)}
    above["max_parallel_streams"] = schema.get(
        "default_max_parallel_streams", above["max_parallel_streams"]
    )
    here = detection.below(schema)
    tables = [*schema.get("tables", ()), {"name": "*"}]
    *named, defaults = (_table(above, here, table) for table in tables)
    fields: dict[str, Any] = {
        **_some(top, _FLOW | _ABOVE),
        **_some(schema, _FLOW | _OWN),
        "timezone": timezone,
        "tables": tuple(named),
        "defaults": defaults,
    }
    return SchemaSettings(**fields)


def _table(above: Values, detection: Detection, table: Values) -> TableSettings:
    values = {**above, **table}
    return TableSettings(
        name=values["name"],
        options=TableOptions(**_some(values, _OPTIONS)),
        **_some(values, _TABLE - _OPTIONS),
        **detection.below(table).settings(),
    )


def _some(values: Values, names: set[str]) -> Values:
    return {name: value for name, value in values.items() if name in names}
