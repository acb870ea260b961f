"""What a file, the environment and the command line make together."""

from __future__ import annotations

import pickle
from pathlib import Path

import msgspec
import pytest

from cartridge_warp import config
from cartridge_warp.config import Settings
from cartridge_warp.errors import ConfigError
from cartridge_warp.model import TableOptions

ROOT = Path(__file__).resolve().parents[2]
MONGO = "mongodb://reader:wordofmongo@db1,db2/?replicaSet=rs0"
POSTGRES = "postgresql://writer:wordofpg@pg/warehouse"
SERVERS = f"source: {{connection_string: '{MONGO}'}}\n" + (
    f"destination: {{connection_string: '{POSTGRES}'}}\n"
)
COMMAND_LINE = {
    "source.connection_string": MONGO,
    "destination.connection_string": POSTGRES,
    "single_schema_name": "shop",
}


def load(
    tmp_path: Path,
    text: str,
    environ: dict[str, str] | None = None,
    overrides: dict[str, object] | None = None,
) -> Settings:
    file = tmp_path / "warp.yaml"
    file.write_text(SERVERS + text, "utf-8")
    return config.load(file, overrides or {}, environ or {})


def refused(tmp_path: Path, text: str, **more: dict[str, str]) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, **more)
    return caught.value


def test_the_command_line_alone_is_enough() -> None:
    settings = config.load(None, COMMAND_LINE, {})
    (schema,) = settings.schemas
    assert (settings.mode, schema.name, schema.database) == ("single", "shop", "shop")
    assert settings.source.connection_string == MONGO
    assert settings.destination.connection_string == POSTGRES


def test_the_environment_alone_is_enough() -> None:
    settings = config.load(
        None,
        environ={
            "CARTRIDGE_WARP_SOURCE__CONNECTION_STRING": MONGO,
            "CARTRIDGE_WARP_DESTINATION__CONNECTION_STRING": POSTGRES,
            "CARTRIDGE_WARP_SINGLE_SCHEMA_NAME": "shop",
            "CARTRIDGE_WARP_SOURCE__DATABASE": "shop_db",
            "CARTRIDGE_WARP_MONITORING__PROMETHEUS__PORT": "9100",
            "CARTRIDGE_WARP_MONITORING__HEALTH__ENABLED": "false",
            "CARTRIDGE_WARP_GLOBAL_TABLE_WHITELIST": "orders, items_*",
        },
    )
    (schema,) = settings.schemas
    assert schema.database == "shop_db"
    assert settings.monitoring.prometheus.port == 9100
    assert settings.monitoring.health.enabled is False
    assert schema.global_table_whitelist == ("orders", "items_*")


def test_the_defaults_of_the_design(tmp_path: Path) -> None:
    settings = load(tmp_path, "schemas: [{name: shop}]")
    (schema,) = settings.schemas
    assert settings.source.change_batch_size == 2000
    assert settings.source.schema_sample_size == 1000
    assert settings.source.full_document == "lookup"
    assert settings.destination.metadata_schema == "cartridge_warp_metadata"
    assert settings.monitoring.host == "127.0.0.1"
    assert settings.monitoring.prometheus.port == 8080
    assert settings.monitoring.health.port == 8081
    assert settings.error_handling.on_misfit == "rescue"
    assert (schema.snapshot_workers, schema.stream_batch_size) == (3, 2000)
    assert schema.table("any").options == TableOptions()


def test_written_defaults_are_those_of_the_resolved_structs() -> None:
    """One value in two structs must not drift apart."""
    from cartridge_warp.config import SchemaSettings, TableSettings, written

    resolved = {
        **msgspec.structs.asdict(TableOptions()),
        **{
            field.name: field.default
            for struct in (SchemaSettings, TableSettings)
            for field in msgspec.structs.fields(struct)
            if not field.required
        },
    }
    for struct in (written.Written, written.WrittenSchema, written.WrittenTable):
        for field in msgspec.structs.fields(struct):
            if not field.required and field.name in resolved and field.name != "tables":
                assert field.default == resolved[field.name], field.name


@pytest.mark.parametrize(
    ("file", "environ", "overrides", "expected"),
    [
        (None, None, None, "INFO"),
        ("ERROR", None, None, "ERROR"),
        ("ERROR", "WARNING", None, "WARNING"),
        ("ERROR", "WARNING", "DEBUG", "DEBUG"),
        ("ERROR", None, "DEBUG", "DEBUG"),
        (None, "debug", None, "DEBUG"),
    ],
)
def test_precedence(
    tmp_path: Path,
    file: str | None,
    environ: str | None,
    overrides: str | None,
    expected: str,
) -> None:
    text = "schemas: [{name: shop}]\n"
    text += f"monitoring: {{log_level: {file}}}" if file else ""
    variables = {"CARTRIDGE_WARP_MONITORING__LOG_LEVEL": environ} if environ else {}
    settings = load(tmp_path, text, variables, {"monitoring.log_level": overrides})
    assert settings.monitoring.log_level == expected


def test_overrides_may_be_nested_and_none_is_not_given(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        "schemas: [{name: shop}]",
        overrides={
            "monitoring": {"prometheus": {"port": 1}, "host": None},
            "monitoring.health.port": 2,
            "mode": None,
        },
    )
    monitoring = settings.monitoring
    assert (monitoring.prometheus.port, monitoring.health.port) == (1, 2)
    assert monitoring.host == "127.0.0.1"


def test_an_overridden_reference_need_not_resolve(tmp_path: Path) -> None:
    file = tmp_path / "warp.yaml"
    file.write_text(
        "source: {connection_string: '${GONE}'}\n"
        f"destination: {{connection_string: '{POSTGRES}'}}\n"
        "schemas: [{name: shop}]\n"
    )
    settings = config.load(file, {"source.connection_string": MONGO}, {})
    assert settings.source.connection_string == MONGO


def test_json_is_yaml(tmp_path: Path) -> None:
    file = tmp_path / "warp.json"
    file.write_bytes(
        msgspec.json.encode(
            {
                "source": {"connection_string": MONGO},
                "destination": {"connection_string": POSTGRES},
                "schemas": [{"name": "shop", "tables": {"orders": {"layout": "both"}}}],
            }
        )
    )
    (schema,) = config.load(file, environ={}).schemas
    assert schema.table("orders").options.layout == "both"


def test_nothing_after_the_colon_is_the_default(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        "schemas:\n - name: shop\n   database:\n   tables: {orders: }\n"
        "monitoring:\nerror_handling: {backoff_factor: }\n",
    )
    assert settings.schemas[0].database == "shop"
    assert settings.schemas[0].tables[0].name == "orders"
    assert settings.monitoring == config.MonitoringSettings()
    assert settings.error_handling.backoff_factor == 2.0


# --- the cascade --------------------------------------------------------------------

CASCADE = """
naming: snake
layout: both
max_columns: 100
snapshot_workers: 4
source: {connection_string: "mongodb://h", max_document_depth: 5, schema_sample_size: 7}
error_handling: {on_misfit: dead_letter}
destination: {connection_string: "postgres://h", deletion_strategy: soft}
schemas:
  - name: a
    soft_delete_column: gone
    layout: columns
    max_document_depth: 4
    snapshot_workers: 8
    tables:
      - name: t
        naming: preserve
        max_document_depth: 2
        on_misfit: rescue
        deletion_strategy: both
      - {name: "log_*", schema_sample_size: 99}
      - {name: "log_x*", layout: document}
  - name: b
    deletion_strategy: hard
    tables: {log_exact: {json_columns: json}, "log_*": {json_columns: text}}
"""


@pytest.fixture
def cascade(tmp_path: Path) -> Settings:
    file = tmp_path / "warp.yaml"
    file.write_text(CASCADE)
    return config.load(file, environ={})


def test_table_over_schema_over_global(cascade: Settings) -> None:
    a, b = cascade.schemas
    assert a.table("t").options == TableOptions(
        layout="columns",
        naming="preserve",
        max_document_depth=2,
        max_columns=100,
        on_misfit="rescue",
        deletion_strategy="both",
        soft_delete_column="gone",
    )
    assert a.table("other").options == TableOptions(
        layout="columns",
        naming="snake",
        max_document_depth=4,
        max_columns=100,
        on_misfit="dead_letter",
        deletion_strategy="soft",
        soft_delete_column="gone",
    )
    assert b.table("other").options == TableOptions(
        layout="both",
        naming="snake",
        max_document_depth=5,
        max_columns=100,
        on_misfit="dead_letter",
    )
    assert (a.snapshot_workers, b.snapshot_workers) == (8, 4)


def test_tables_are_found_by_name_then_by_the_first_glob(cascade: Settings) -> None:
    a, b = cascade.schemas
    found = a.table("log_x1")
    assert (found.name, found.schema_sample_size) == ("log_x1", 99)
    assert found.options.layout == "columns"
    assert a.table("t").schema_sample_size == 7
    assert b.table("log_exact").options.json_columns == "json"
    assert b.table("log_other").options.json_columns == "text"


def test_a_collection_named_like_a_glob_is_found_by_its_name(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        "schemas: [{name: s, tables: {'*': {layout: both}, 'a*': {layout: document}}}]",
    )
    assert settings.schemas[0].table("a*").options.layout == "document"


# --- filters ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("everywhere", "schema", "selected"),
    [
        ("", "", "orders items tmp_a"),
        ("global_table_whitelist: [orders]", "", "orders"),
        ("global_table_blacklist: ['tmp_*']", "", "orders items"),
        ("", "table_whitelist: ['*s']", "orders items"),
        ("", "table_blacklist: [orders]", "items tmp_a"),
        ("", "table_whitelist: [orders], table_blacklist: [orders]", "orders"),
        (
            "global_table_whitelist: [orders, items]",
            "table_whitelist: [items]",
            "items",
        ),
        ("global_table_whitelist: 'orders, items'", "", "orders items"),
        ("global_table_whitelist: ''", "", "orders items tmp_a"),
        ("global_table_whitelist: ['[oi]*']", "", "orders items"),
        ("global_table_whitelist: [ORDERS]", "", ""),
    ],
)
def test_filters(tmp_path: Path, everywhere: str, schema: str, selected: str) -> None:
    settings = load(tmp_path, f"{everywhere}\nschemas: [{{name: s, {schema}}}]")
    names = ["orders", "items", "tmp_a"]
    passing = [name for name in names if settings.schemas[0].selects(name)]
    assert passing == selected.split()


# --- schemas, databases, modes --------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("schemas: [{name: s}]", "single s<-s"),
        ("schemas: [{name: s, database: d}]", "single s<-d"),
        ("schemas: [{name: s}, {name: t, database: u}]", "multi s<-s t<-u"),
        ("mode: multi\nschemas: [{name: s}]", "multi s<-s"),
        ("mode: single\nschemas: [{name: s}]", "single s<-s"),
        ("single_schema_name: t\nschemas: [{name: s}, {name: t}]", "single t<-t"),
        ("single_schema_name: s", "single s<-s"),
    ],
)
def test_modes(tmp_path: Path, text: str, expected: str) -> None:
    settings = load(tmp_path, text)
    pairs = [f"{schema.name}<-{schema.database}" for schema in settings.schemas]
    assert " ".join([settings.mode, *pairs]) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("schemas: [{name: s}]", ["d"]),
        ("schemas: [{name: s, database: own}]", ["own"]),
        ("schemas: [{name: s}, {name: t, database: own}]", ["s", "own"]),
        ("single_schema_name: s", ["d"]),
        ("single_schema_name: s\nschemas: [{name: s}, {name: t}]", ["s"]),
    ],
)
def test_the_database_of_the_source(
    tmp_path: Path, text: str, expected: list[str]
) -> None:
    settings = load(tmp_path, text, {"CARTRIDGE_WARP_SOURCE__DATABASE": "d"})
    assert [schema.database for schema in settings.schemas] == expected


def test_a_schema_on_the_command_line_means_mode_single(tmp_path: Path) -> None:
    text = "mode: multi\nschemas: [{name: s}, {name: t}]"
    settings = load(tmp_path, text, overrides={"single_schema_name": "t"})
    assert (settings.mode, settings.schemas[0].name) == ("single", "t")
    with pytest.raises(ConfigError, match="contradicts mode: multi"):
        load(tmp_path, text, overrides={"single_schema_name": "t", "mode": "multi"})


# --- secrets --------------------------------------------------------------------------


def test_settings_never_show_a_password() -> None:
    settings = config.load(None, COMMAND_LINE, {})
    for shown in (repr(settings), str(settings), repr(settings.source)):
        assert "wordof" not in shown
        assert "reader:***@db1,db2" in shown
    assert "wordof" not in repr(settings.source.__rich_repr__())
    assert "wordof" not in repr(settings.destination.__rich_repr__())


def test_settings_are_values() -> None:
    settings = config.load(None, COMMAND_LINE, {})
    assert config.load(None, COMMAND_LINE, {}) == settings
    assert pickle.loads(pickle.dumps(settings)) == settings
    with pytest.raises(AttributeError):
        settings.mode = "multi"  # type: ignore[misc]


# --- the examples ---------------------------------------------------------------------

EXAMPLES = {"MONGODB_URI": MONGO, "POSTGRES_URI": POSTGRES}


def test_the_single_schema_example() -> None:
    file = ROOT / "examples" / "single-schema.yaml"
    settings = config.load(file, environ=EXAMPLES)
    (schema,) = settings.schemas
    assert (settings.mode, schema.name, schema.database) == ("single", "shop", "shop")
    assert schema.selects("orders")
    assert not schema.selects("tmp_import")
    assert schema.table("orders").options.json_columns == "json"
    assert schema.table("items").options.json_columns == "jsonb"


def test_the_multi_schema_example() -> None:
    file = ROOT / "examples" / "multi-schema.yaml"
    settings = config.load(file, environ=EXAMPLES | {"SALES_DATABASE": "sales_eu"})
    sales, support = settings.schemas
    assert settings.mode == "multi"
    assert (sales.database, support.database) == ("sales_eu", "support")
    assert sales.table("orders").options.max_document_depth == 1
    assert sales.table("orders").options.naming == "snake"
    assert sales.table("orders").schema_sample_size == 500
    assert support.table("tickets").options.layout == "document"
    assert not sales.selects("tickets")
    assert settings.monitoring.prometheus.port == 8080
