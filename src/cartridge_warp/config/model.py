"""The settings as the rest of the product sees them: complete, checked, frozen.

Names, types, limits, defaults and descriptions stand here once; the loader, the
reference page and the error messages are made from them.
"""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from cartridge_warp.model import TableOptions

from .patterns import Patterns, is_plain, passes
from .uri import redact

Depth = Annotated[
    int,
    Meta(
        ge=1,
        le=32,
        description="Levels of fields that become columns; the root's fields are"
        " level 1, and a sub-document at this level becomes one JSON column.",
    ),
]
SampleSize = Annotated[
    int,
    Meta(
        ge=1,
        le=1_000_000,
        description="Documents read from a collection to choose its columns.",
    ),
]
Streams = Annotated[
    int,
    Meta(
        ge=1,
        le=64,
        description="Lanes that apply a table's changes at the same time, each with a"
        " connection of its own and always the same keys; 1 keeps the order of the"
        " whole table.",
    ),
]
Misfit = Annotated[
    Literal["rescue", "dead_letter", "fail"],
    Meta(
        description="A value that does not fit its column: `rescue` keeps it in"
        " `_cwarp_extra`, `dead_letter` puts the whole document aside, `fail` ends"
        " the sync."
    ),
]
Deletion = Annotated[
    Literal["hard", "soft", "both"],
    Meta(
        description="The row of a deleted document: `hard` removes it, `soft` keeps it"
        " and marks it, `both` removes it and keeps its last state in"
        " `deletion_audit`."
    ),
]
SoftColumn = Annotated[
    str,
    Meta(
        min_length=1,
        description="The column that is true in rows marked by `deletion_strategy:"
        " soft`, beside `deleted_at`. A field of this name gets another column; a"
        " table keeps the one that it has.",
    ),
]
OnDrop = Annotated[
    Literal["keep", "truncate", "drop"],
    Meta(
        description="The table of a collection that was dropped: `keep` keeps its rows"
        " until the collection comes back, `truncate` removes them, `drop` removes the"
        " table. Tables of batch mode always keep their rows."
    ),
]
OnHistoryLost = Annotated[
    Literal["fail", "resync"],
    Meta(
        description="When MongoDB no longer has the changes behind the position: `fail`"
        " ends with exit code 6, `resync` compares every streamed table with its"
        " collection and mends it in place."
    ),
]
Port = Annotated[int, Meta(ge=0, le=65535)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Mode = Annotated[
    Literal["", "stream", "batch"],
    Meta(
        description="`stream` follows the change stream, `batch` reads the collection"
        " again and again. Unset, `change_detection_strategy` decides."
    ),
]
Strategy = Annotated[
    Literal["log", "timestamp", "hash", "change_stream"],
    Meta(
        description="How changes are found: `log` (or `change_stream`) in the change"
        " stream; in batch mode `timestamp` by `change_detection_column`, `hash` by"
        " comparing every document with its row."
    ),
]
ChangeColumn = Annotated[
    str,
    Meta(
        min_length=1,
        description="The field that every write sets to its time: a date, a BSON"
        " timestamp or an ObjectId. Dots lead into sub-documents. Strategy `timestamp`"
        " needs it.",
    ),
]
Overlap = Annotated[
    float,
    Meta(
        ge=0,
        le=604_800,
        description="A pass reads again what lies this many seconds before the end of"
        " the last one: writes that become visible later than they are dated, and"
        " writers whose clocks differ.",
    ),
]
Schedule = Annotated[
    str,
    Meta(
        description="When passes begin: five fields of cron, in `source.timezone`."
        " Unset, the polling interval decides."
    ),
]
Interval = Annotated[
    Seconds, Meta(description="Seconds between the end of a pass and the next one.")
]
DetectDeletes = Annotated[
    bool,
    Meta(
        description="Compare the ids after each pass, and delete the rows whose"
        " documents are gone. Strategy `hash` always does."
    ),
]
Options = Annotated[
    dict[str, Any],
    Meta(
        description="The connector's own settings, as its page names them; the"
        " connectors that are shipped have none."
    ),
]

#: The connectors whose settings these classes hold.
MONGODB: Final = "mongodb"
POSTGRESQL: Final = "postgresql"


class SourceSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the documents come from."""

    type: Annotated[
        str,
        Meta(
            min_length=1,
            description="The kind of source: `mongodb`, or the name of an installed"
            " connector. `full_document`, `read_preference`, `connection_timeout`,"
            " `snapshot_batch_bytes` and `change_batch_size` are `mongodb`'s alone.",
        ),
    ] = MONGODB
    connection_string: Annotated[
        str,
        Meta(
            description="`mongodb://` or `mongodb+srv://` URI of a replica set or a"
            " sharded cluster; for another connector what it says. Take it from"
            " `${VAR}` or a file."
        ),
    ]
    database: Annotated[
        str,
        Meta(
            description="The database, when one schema is configured and does not"
            " name its own. Without `schemas` the one there is has this name too,"
            " unless `single_schema_name` is set."
        ),
    ] = ""
    full_document: Annotated[
        Literal["lookup", "post_image", "update_lookup"],
        Meta(
            description="How the document of an update is fetched: `lookup` reads the"
            " changed keys of a batch at once, `post_image` takes the one that MongoDB"
            " keeps with the change and looks up where it keeps none,"
            " `update_lookup` has MongoDB look up each by itself."
        ),
    ] = "lookup"
    read_preference: Annotated[
        Literal[
            "primary",
            "primaryPreferred",
            "secondary",
            "secondaryPreferred",
            "nearest",
        ],
        Meta(description="Which members of the replica set are read."),
    ] = "primary"
    connection_timeout: Annotated[
        Seconds, Meta(description="Seconds to wait for a server that can be used.")
    ] = 10.0
    snapshot_batch_bytes: Annotated[
        int,
        Meta(
            ge=65_536,
            le=1 << 30,
            description="Rows gathered before they are sent, while a table is first"
            " copied, in bytes.",
        ),
    ] = 4 << 20
    change_batch_size: Annotated[
        int, Meta(ge=1, le=100_000, description="Change events asked for at once.")
    ] = 2000
    schema_sample_size: SampleSize = 1000
    max_document_depth: Depth = TableOptions().max_document_depth
    on_history_lost: OnHistoryLost = "fail"
    change_detection_strategy: Strategy = "log"
    change_detection_column: ChangeColumn = "updated_at"
    change_detection_overlap_seconds: Overlap = 60.0
    timezone: Annotated[
        str, Meta(description="The time zone of schedules, as `Europe/Berlin`.")
    ] = "UTC"
    options: Options = {}

    def __repr__(self) -> str:
        return f"SourceSettings({redact(self.connection_string)})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("connection_string", redact(self.connection_string))]


class DestinationSettings(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """Where the rows go."""

    type: Annotated[
        str,
        Meta(
            min_length=1,
            description="The kind of destination: `postgresql`, or the name of an"
            " installed connector. `metadata_schema`, `connection_timeout` and"
            " `command_timeout` are `postgresql`'s alone.",
        ),
    ] = POSTGRESQL
    connection_string: Annotated[
        str,
        Meta(
            description="`postgresql://` or `postgres://` URI; for another connector"
            " what it says. Take it from `${VAR}` or a file."
        ),
    ]
    metadata_schema: Annotated[
        str,
        Meta(
            description="PostgreSQL schema of markers, registry and dead letters;"
            " created when missing."
        ),
    ] = "cartridge_warp_metadata"
    connection_timeout: Annotated[
        Seconds, Meta(description="Seconds to wait for a connection.")
    ] = 10.0
    command_timeout: Annotated[
        Seconds, Meta(description="Seconds that one statement may take.")
    ] = 300.0
    deletion_strategy: Deletion = "hard"
    soft_delete_column: SoftColumn = TableOptions().soft_delete_column
    options: Options = {}

    def __repr__(self) -> str:
        return f"DestinationSettings({redact(self.connection_string)})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("connection_string", redact(self.connection_string))]


class PrometheusSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The figures for Prometheus."""

    enabled: Annotated[bool, Meta(description="Serve them.")] = True
    port: Annotated[Port, Meta(description="TCP port; 0 takes a free one.")] = 8080
    path: Annotated[
        str, Meta(pattern="^/", description="Path of the figures, from `/`.")
    ] = "/metrics"


class HealthSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answers for probes: `/health`, `/ready`, `/status.json`."""

    enabled: Annotated[bool, Meta(description="Serve them.")] = True
    port: Annotated[Port, Meta(description="TCP port; 0 takes a free one.")] = 8081


class MonitoringSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the process is seen from outside."""

    host: Annotated[
        str, Meta(min_length=1, description="Address that the HTTP servers bind to.")
    ] = "127.0.0.1"
    prometheus: PrometheusSettings = PrometheusSettings()
    health: HealthSettings = HealthSettings()
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"],
        Meta(description="The least severe log line to write."),
    ] = "INFO"
    structured_logging: Annotated[
        bool | None,
        Meta(
            description="`true` writes logs as JSON, `false` as text; unset means text"
            " on a terminal and JSON elsewhere."
        ),
    ] = None


class ErrorSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens when something fails. What may pass is tried again for ever."""

    backoff_factor: Annotated[
        float,
        Meta(ge=1, le=10, description="Each wait is this many times the last one."),
    ] = 2.0
    max_backoff_seconds: Annotated[
        float,
        Meta(ge=0.1, le=3600, description="The longest wait between two attempts."),
    ] = 10.0
    on_misfit: Misfit = "rescue"


class TableSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table, the cascade resolved. name: a collection, or a glob of several.

    change_detection_strategy: "log" (the change stream), or one of batch mode,
    "timestamp" or "hash".
    """

    name: str
    options: TableOptions = TableOptions()
    schema_sample_size: int = 1000
    max_parallel_streams: int = 1
    on_drop: OnDrop = "keep"
    change_detection_strategy: str = "log"
    change_detection_column: str = "updated_at"
    change_detection_overlap_seconds: float = 60.0
    schedule: str = ""
    polling_interval_seconds: float = 5.0
    detect_deletes: bool = False

    @property
    def batch(self) -> bool:
        """It is read pass by pass, and not by the change stream."""
        return self.change_detection_strategy != "log"


class SchemaSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One schema, the cascade resolved.

    name: the PostgreSQL schema.  database: the MongoDB database.  tables: settings of
    named tables; ``table`` finds them.  defaults: those of every other table.
    """

    name: str
    database: str
    table_whitelist: Patterns = ()
    table_blacklist: Patterns = ()
    global_table_whitelist: Patterns = ()
    global_table_blacklist: Patterns = ()
    snapshot_workers: int = 3
    stream_batch_size: int = 2000
    stream_batch_bytes: int = 16 << 20
    timezone: str = "UTC"
    on_history_lost: OnHistoryLost = "fail"
    tables: tuple[TableSettings, ...] = ()
    defaults: TableSettings = TableSettings(name="*")

    @property
    def has_stream(self) -> bool:
        """Some collection may be streamed; where the filters are globs or none, it is
        enough that one which is not there yet would be."""
        return self._has(self.streams, batch=False)

    @property
    def has_batch(self) -> bool:
        """Some collection may be read pass by pass, in the same sense."""
        return self._has(self.batches, batch=True)

    def _has(self, chosen: Callable[[str], bool], *, batch: bool) -> bool:
        for names in (self.table_whitelist, self.global_table_whitelist):
            if names and all(map(is_plain, names)):
                return any(map(chosen, names))
        return any(each.batch == batch for each in (*self.tables, self.defaults))

    @property
    def lanes(self) -> int:
        """Lanes of the schema's stream: what its most parallel table asks for."""
        return max(each.max_parallel_streams for each in (*self.tables, self.defaults))

    def selects(self, collection: str) -> bool:
        """Is this collection synced? Both levels have to agree."""
        return passes(
            collection, self.global_table_whitelist, self.global_table_blacklist
        ) and passes(collection, self.table_whitelist, self.table_blacklist)

    def streams(self, collection: str) -> bool:
        """Is this collection followed by the change stream?"""
        return self.selects(collection) and not self.table(collection).batch

    def batches(self, collection: str) -> bool:
        """Is this collection read pass by pass?"""
        return self.selects(collection) and self.table(collection).batch

    def table(self, collection: str) -> TableSettings:
        """The collection's settings: its own, else the first glob's, else defaults."""
        for table in self.tables:
            if table.name == collection:
                return table
        for table in self.tables:
            if fnmatchcase(collection, table.name):
                return replace(table, name=collection)
        return replace(self.defaults, name=collection)


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything one process needs to know.

    places: what to call a setting whose fault shows only when it is used, by path:
    ``SRC``, ``warp.yaml:3 source.connection_string``.
    """

    mode: Literal["single", "multi"]
    source: SourceSettings
    destination: DestinationSettings
    schemas: tuple[SchemaSettings, ...]
    monitoring: MonitoringSettings = MonitoringSettings()
    error_handling: ErrorSettings = ErrorSettings()
    places: dict[str, str] = {}
