"""The shape of what people write: which setting may stand at which level.

The classes are never instantiated; the loader reads their fields. A setting of a
lower level overrides the same name above it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from cartridge_warp.model import TableOptions

from .model import (
    ChangeColumn,
    Deletion,
    Depth,
    DestinationSettings,
    DetectDeletes,
    ErrorSettings,
    HealthSettings,
    Interval,
    Misfit,
    Mode,
    MonitoringSettings,
    OnDrop,
    Overlap,
    PrometheusSettings,
    SampleSize,
    Schedule,
    SoftColumn,
    SourceSettings,
    Strategy,
    Streams,
)
from .patterns import Patterns

_OPTIONS: Final = TableOptions()


class Shape(Struct, kw_only=True):
    """How collections become tables. At every level."""

    layout: Annotated[
        Literal["columns", "document", "both"],
        Meta(
            description="`columns` flattens a document into columns, `document` keeps"
            " it in one JSON column, `both` does both."
        ),
    ] = "columns"
    naming: Annotated[
        Literal["preserve", "snake"],
        Meta(
            description="`preserve` keeps names as they are, `snake` makes"
            " `createdAt` into `created_at`."
        ),
    ] = "preserve"
    json_columns: Annotated[
        Literal["jsonb", "json", "text"],
        Meta(
            description="The type of JSON columns. `json` and `text` load faster and"
            " keep key order; only `jsonb` can be indexed inside."
        ),
    ] = "jsonb"
    json_mode: Annotated[
        Literal["plain", "canonical"],
        Meta(
            description="JSON for people, or canonical Extended JSON v2, which keeps"
            " every BSON type."
        ),
    ] = "plain"
    legacy_uuid: Annotated[
        Literal["", "standard", "java", "csharp"],
        Meta(
            description="The byte order of binary subtype 3, which makes it a `uuid`;"
            " unset, it stays `bytea`."
        ),
    ] = ""
    max_columns: Annotated[
        int,
        Meta(
            ge=1,
            le=1500,
            description="Columns a table may have; further fields stay in"
            " `_cwarp_extra`.",
        ),
    ] = _OPTIONS.max_columns
    source_ts: Annotated[
        bool, Meta(description="Have the column `_cwarp_source_ts`.")
    ] = _OPTIONS.source_ts
    synced_at: Annotated[
        bool, Meta(description="Have the column `_cwarp_synced_at`.")
    ] = _OPTIONS.synced_at


class WrittenTable(Shape, kw_only=True):
    """One table, or all that match a glob."""

    name: Annotated[str, Meta(min_length=1, description="The collection, or a glob.")]
    max_document_depth: Depth = _OPTIONS.max_document_depth
    schema_sample_size: SampleSize = 1000
    max_parallel_streams: Streams = 1
    on_drop: OnDrop = "keep"
    on_misfit: Misfit = "rescue"
    deletion_strategy: Deletion = "hard"
    soft_delete_column: SoftColumn = _OPTIONS.soft_delete_column
    mode: Mode = ""
    change_detection_strategy: Strategy = "log"
    change_detection_column: ChangeColumn = "updated_at"
    change_detection_overlap_seconds: Overlap = 60.0
    schedule: Schedule = ""
    detect_deletes: DetectDeletes = False
    polling_interval_seconds: Interval = 5.0


class Flow(Shape, kw_only=True):
    """How rows travel. At the top and in a schema."""

    snapshot_workers: Annotated[
        int,
        Meta(ge=1, le=64, description="Connections that copy at the same time."),
    ] = 3
    stream_batch_size: Annotated[
        int,
        Meta(ge=1, le=100_000, description="Change events committed at once, at most."),
    ] = 2000
    stream_batch_bytes: Annotated[
        int,
        Meta(
            ge=65_536,
            le=1 << 30,
            description="Bytes of changes committed at once, at most.",
        ),
    ] = 16 << 20


class WrittenSchema(Flow, kw_only=True):
    """One schema: a MongoDB database and the PostgreSQL schema it goes to."""

    name: Annotated[str, Meta(min_length=1, description="The PostgreSQL schema.")]
    database: Annotated[
        str,
        Meta(
            description="The MongoDB database; unset, `source.database` when this is"
            " the only schema, else the schema's name."
        ),
    ] = ""
    table_whitelist: Annotated[
        Patterns,
        Meta(
            description="Sync these collections alone; an empty list selects"
            " everything. Globs."
        ),
    ] = ()
    table_blacklist: Annotated[
        Patterns,
        Meta(description="Do not sync these; moot beside a whitelist. Globs."),
    ] = ()
    tables: Annotated[
        tuple[WrittenTable, ...],
        Meta(description="Settings of single tables, as a list or by name."),
    ] = ()
    max_document_depth: Depth = _OPTIONS.max_document_depth
    schema_sample_size: SampleSize = 1000
    default_max_parallel_streams: Streams = 1
    on_drop: OnDrop = "keep"
    on_misfit: Misfit = "rescue"
    deletion_strategy: Deletion = "hard"
    soft_delete_column: SoftColumn = _OPTIONS.soft_delete_column
    mode: Mode = ""
    change_detection_strategy: Strategy = "log"
    change_detection_column: ChangeColumn = "updated_at"
    change_detection_overlap_seconds: Overlap = 60.0
    schedule: Schedule = ""
    detect_deletes: DetectDeletes = False
    default_polling_interval: Interval = 5.0


class Written(Flow, kw_only=True):
    """The whole configuration."""

    mode: Annotated[
        Literal["single", "multi"] | None,
        Meta(
            description="One schema a process, or all of them; unset, `single` when"
            " there is one or `single_schema_name` is set."
        ),
    ] = None
    single_schema_name: Annotated[
        str, Meta(description="The schema that mode `single` takes.")
    ] = ""
    source: SourceSettings
    destination: DestinationSettings
    schemas: Annotated[
        tuple[WrittenSchema, ...],
        Meta(
            description="The schemas. There may be none: then the one there is has the"
            " name `single_schema_name`, or else that of `source.database`."
        ),
    ] = ()
    global_table_whitelist: Annotated[
        Patterns,
        Meta(
            description="In every schema, sync these collections alone; an empty list"
            " selects everything. Globs."
        ),
    ] = ()
    global_table_blacklist: Annotated[
        Patterns,
        Meta(
            description="In no schema sync these; moot beside a global whitelist."
            " Globs."
        ),
    ] = ()
    global_max_parallel_streams: Streams = 1
    on_drop: OnDrop = "keep"
    monitoring: MonitoringSettings = MonitoringSettings()
    error_handling: ErrorSettings = ErrorSettings()


#: Settings that the design knows and this version does not honour: refused by name,
#: because a setting that is read and ignored would be a lie.
LATER: Final[Mapping[type[Struct], frozenset[str]]] = MappingProxyType(
    {
        Written: frozenset("dry_run full_resync performance schema_evolution".split()),
        SourceSettings: frozenset(
            "auth_source connection_pool_size replica_set ssl_enabled"
            " use_change_streams".split()
        ),
        DestinationSettings: frozenset(
            "database max_connections max_retries min_connections"
            " pool_size schema upsert_mode".split()
        ),
        WrittenSchema: frozenset("default_batch_size schema_evolution".split()),
        WrittenTable: frozenset(
            "enable_schema_evolution exclude_fields"
            " filter full_load_batch_size full_load_enabled include_fields mask"
            " stream_batch_size write_batch_size".split()
        ),
        MonitoringSettings: frozenset({"heartbeat_url", "webhook_url"}),
        PrometheusSettings: frozenset[str](),
        HealthSettings: frozenset[str](),
        ErrorSettings: frozenset(
            "dead_letter_queue ignore_type_conversion_errors"
            " log_conversion_warnings max_retries".split()
        ),
    }
)
