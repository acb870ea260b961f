"""What is said when the settings are wrong: the place, the fix, never a secret."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cartridge_warp import config
from cartridge_warp.config import catalog, written
from cartridge_warp.errors import ConfigError

Refused = Callable[..., ConfigError]

SERVERS = """\
source: {connection_string: "mongodb://u:s3cr3t@h"}
destination: {connection_string: "postgresql://u:s3cr3t@h/d"}
"""


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Refused:
    """The error of a file called warp.yaml, whose third line is the text's first."""
    monkeypatch.chdir(tmp_path)

    def load(text: str, servers: str = SERVERS, **environ: str) -> ConfigError:
        Path("warp.yaml").write_text(servers + text, "utf-8")
        with pytest.raises(ConfigError) as caught:
            config.load(Path("warp.yaml"), environ=environ)
        assert caught.value.exit_code == 2
        assert "s3cr3t" not in f"{caught.value} {caught.value.hint}"
        assert caught.value.__cause__ is None
        return caught.value

    return load


def test_the_line_of_the_design(refused: Refused) -> None:
    text = """\
mode: single
schemas:
  - name: shop
    database: shop_db
    table_blacklist:
      - tmp
      - junk
    tables:
      - name: orders

        # a comment
        max_parallel_steams: 4
"""
    assert str(refused(text)) == (
        "warp.yaml:14 schemas[0].tables[0].max_parallel_steams: unknown field,"
        " did you mean max_parallel_streams?"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mode: singles", "mode: must be single or multi, did you mean single?"),
        ("mode: 7", "mode: must be single or multi"),
        ("naming: [a]", "naming: must be preserve or snake"),
        ("max_columns: many", "max_columns: must be a whole number from 1 to 1500"),
        ("max_columns: 0", "max_columns: must be a whole number from 1 to 1500"),
        ("max_columns: 1.5", "max_columns: must be a whole number from 1 to 1500"),
        ("max_columns: true", "max_columns: must be a whole number from 1 to 1500"),
        ("source_ts: maybe", "source_ts: must be true or false"),
        ("source_ts: {}", "source_ts: must be true or false"),
        (
            "global_table_whitelist: 5",
            "global_table_whitelist: must be a list of names",
        ),
        (
            "global_table_whitelist: [a, 5]",
            "global_table_whitelist: must be a list of names",
        ),
        (
            "global_table_whitelist: {a: b}",
            "global_table_whitelist: must be a list of names",
        ),
        ("single_schema_name: 2024", "single_schema_name: must be text"),
        ("single_schema_name: 2024-01-01", "single_schema_name: must be text"),
        (
            "monitoring: {prometheus: {path: metrics}}",
            "monitoring.prometheus.path: must be text that starts with /",
        ),
        (
            "monitoring: {prometheus: {port: 65536}}",
            "monitoring.prometheus.port: must be a whole number from 0 to 65535",
        ),
        ("monitoring: {host: ''}", "monitoring.host: must be text, not empty"),
        (
            "error_handling: {max_backoff_seconds: 0}",
            "error_handling.max_backoff_seconds: must be a number from 0.1 to 3600",
        ),
        (
            "error_handling: {max_backoff_seconds: .nan}",
            "error_handling.max_backoff_seconds: must be a number from 0.1 to 3600",
        ),
        (
            "error_handling: {backoff_factor: .inf}",
            "error_handling.backoff_factor: must be a number from 1 to 10",
        ),
        (
            "monitoring: loud",
            "monitoring: must be a group of settings, as `name: value` lines",
        ),
        ("schemas: shop", "schemas: must be a list"),
        (
            "schemas: [shop]",
            "schemas[0]: must be a group of settings, as `name: value` lines",
        ),
        (
            "schemas: {shop: yes}",
            "schemas[0]: must be a group of settings, as `name: value` lines",
        ),
        ("schemas: [{database: d}]", "schemas[0].name: missing"),
        ("schemas: [{name: }]", "schemas[0].name: missing"),
        ("schemas: [{name: ''}]", "schemas[0].name: must be text, not empty"),
        (
            "layuot: both",
            "layuot: unknown field, did you mean layout?",
        ),
        ("zzz: 1", "zzz: unknown field"),
        ("mode.single: 1", "mode.single: unknown field"),
        (
            "monitoring: {prometheus: {prot: 1}}",
            "monitoring.prometheus.prot: unknown field, did you mean port?",
        ),
        ("'mongodb://u:s3cr3t@h': 1", "<name not shown>: unknown field"),
        ("performance: {}", "performance: not supported yet by this version"),
        ("dry_run: true", "dry_run: not supported yet by this version"),
    ],
)
def test_each_setting_is_checked(refused: Refused, text: str, message: str) -> None:
    lines = [line.partition(" (")[0] for line in str(refused(text)).splitlines()]
    assert f"warp.yaml:3 {message}" in lines


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "warp.yaml schemas: none configured"),
        ("schemas: []", "warp.yaml:3 schemas: none configured"),
        (
            "mode: single\nschemas: [{name: a}, {name: b}]",
            "warp.yaml:3 mode: single takes one schema, 2 are configured",
        ),
        (
            "mode: multi\nsingle_schema_name: a\nschemas: [{name: a}, {name: b}]",
            "warp.yaml:4 single_schema_name: contradicts mode: multi",
        ),
        (
            "single_schema_name: shpo\nschemas: [{name: shop}, {name: b}]",
            "warp.yaml:3 single_schema_name: no schema of this name is configured,"
            " did you mean shop?",
        ),
        (
            "schemas:\n- name: a\n- name: a",
            "warp.yaml:5 schemas[1].name: a second schema of this name",
        ),
        (
            "schemas:\n- name: a\n  tables:\n  - name: t\n  - name: t",
            "warp.yaml:7 schemas[0].tables[1].name: a second table of this name",
        ),
        (
            "schemas: [{name: cartridge_warp_metadata}]",
            "warp.yaml:3 schemas[0].name: the schema of the metadata",
        ),
        (
            "schemas: [{name: pg_mine}]",
            "warp.yaml:3 schemas[0].name: a schema that belongs to PostgreSQL itself",
        ),
        (
            "schemas: [{name: information_schema, database: d}]",
            "warp.yaml:3 schemas[0].name: a schema that belongs to PostgreSQL itself",
        ),
        (
            f"schemas: [{{name: {'x' * 64}, database: d}}]",
            "warp.yaml:3 schemas[0].name: must have 1 to 63 bytes",
        ),
        (
            'schemas: [{name: "a\\0b", database: d}]',
            "warp.yaml:3 schemas[0].name: must not hold a NUL",
        ),
        (
            "schemas: [{name: local}]",
            "warp.yaml:3 schemas[0].name: a database of MongoDB's own,"
            " which has no changes",
        ),
        (
            "schemas: [{name: a, database: admin}]",
            "warp.yaml:3 schemas[0].database: a database of MongoDB's own,"
            " which has no changes",
        ),
        (
            "schemas: [{name: a, database: 'b.c d'}]",
            "warp.yaml:3 schemas[0].database: no MongoDB database has a name with"
            " ' ' '.'",
        ),
        (
            "single_schema_name: a b",
            "warp.yaml:3 single_schema_name: no MongoDB database has a name with ' '",
        ),
        (
            "schemas: [{name: a}]\n"
            "monitoring: {prometheus: {port: 1}, health: {port: 1}}",
            "warp.yaml:4 monitoring.health.port: the same port as"
            " monitoring.prometheus.port",
        ),
        (
            "schemas: [{name: a}]\nmonitoring: {prometheus: {port: 8081}}",
            "warp.yaml:4 monitoring.health.port: the same port as"
            " monitoring.prometheus.port",
        ),
        (
            "on_misfit: rescue\nschemas: [{name: a}]",
            "warp.yaml:3 on_misfit: unknown field",
        ),
        (
            "schemas: [{name: a, tables: {t: {mask: {x: hash}}}}]",
            "warp.yaml:3 schemas[0].tables[0].mask: not supported yet by this version",
        ),
    ],
)
def test_what_cannot_be_meant(refused: Refused, text: str, message: str) -> None:
    assert str(refused(text)) == message


def test_ports_may_be_equal_when_it_means_nothing(tmp_path: Path) -> None:
    for monitoring in (
        "{prometheus: {port: 0}, health: {port: 0}}",
        "{prometheus: {port: 1}, health: {port: 1, enabled: false}}",
    ):
        file = tmp_path / "warp.yaml"
        file.write_text(
            f"{SERVERS}schemas: [{{name: a}}]\nmonitoring: {monitoring}", "utf-8"
        )
        config.load(file, environ={})


@pytest.mark.parametrize(
    ("source", "destination", "messages"),
    [
        ("mysql://u:s3cr3t@h", "postgres://h", ["source"]),
        ("u:s3cr3t@h", "postgres://h", ["source"]),
        ("", "postgres://h", ["source"]),
        ("MONGODB://u:s3cr3t@h", "postgres://h", ["source"]),
        ("mongodb+srv://u:s3cr3t@h", "host=h password=s3cr3t", ["destination"]),
        ("postgres://u:s3cr3t@h", "mongodb://u:s3cr3t@h", ["source", "destination"]),
    ],
)
def test_the_scheme_of_a_connection_string(
    refused: Refused, source: str, destination: str, messages: list[str]
) -> None:
    servers = (
        f"source: {{connection_string: '{source}'}}\n"
        f"destination: {{connection_string: '{destination}'}}\n"
    )
    lines = str(refused("schemas: [{name: a}]", servers)).splitlines()
    schemes = {
        "source": "mongodb:// or mongodb+srv://",
        "destination": "postgresql:// or postgres://",
    }
    assert len(lines) == len(messages)
    for line, name in zip(lines, messages, strict=True):
        number = 1 if name == "source" else 2
        assert line.startswith(
            f"warp.yaml:{number} {name}.connection_string:"
            f" must start with {schemes[name]}"
        )
        assert ("look swapped" in line) == (len(messages) == 2)


def test_missing_connection_strings(refused: Refused) -> None:
    error = refused("schemas: [{name: a}]", "source: {database: d}\n")
    assert str(error) == (
        "warp.yaml:1 source.connection_string: missing (or set"
        " CARTRIDGE_WARP_SOURCE__CONNECTION_STRING in the environment)\n"
        "warp.yaml destination.connection_string: missing (or set"
        " CARTRIDGE_WARP_DESTINATION__CONNECTION_STRING in the environment)"
    )


def test_one_problem_has_its_hint_apart(refused: Refused) -> None:
    error = refused("schemas: [{name: a}]\nlog_level: INFO")
    assert str(error) == "warp.yaml:4 log_level: unknown field"
    assert error.hint == "it belongs to monitoring"


def test_every_problem_is_named_at_once(refused: Refused) -> None:
    error = refused("schemas: [{name: a, naem: b}]\nlayout: x\nmax_columns: y\n")
    assert [line.split()[0] for line in str(error).splitlines()] == [
        "warp.yaml:3",
        "warp.yaml:4",
        "warp.yaml:5",
    ]


def test_the_command_line_is_named_as_the_place() -> None:
    servers = {
        "source.connection_string": "mysql://u:s3cr3t@h",
        "destination.connection_string": "postgres://h",
        "single_schema_name": "a",
        "sources.x": 1,
    }
    with pytest.raises(ConfigError) as caught:
        config.load(None, servers, {})
    assert str(caught.value).splitlines() == [
        "command line sources: unknown field, did you mean source?",
        "command line source.connection_string: must start with mongodb://"
        " or mongodb+srv://",
    ]


def test_nothing_at_all_says_what_is_needed() -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(None, environ={})
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == [
        "settings source.connection_string",
        "settings destination.connection_string",
        "settings source.database",
    ]


def test_no_setting_is_both_known_and_later() -> None:
    for shape, names in written.LATER.items():
        assert not names & set(shape.__struct_fields__)
    known = {setting.path for setting in catalog.settings()}
    assert not known & set(catalog.later())


def test_every_setting_is_described() -> None:
    for setting in catalog.settings():
        assert setting.description.endswith("."), setting.path
        assert setting.type, setting.path


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("''", "must be text, not empty"),
        ("deleted_at", "a column that tables have for something else"),
        ("document", "a column that tables have for something else"),
        ("_id", "a column that tables have for something else"),
        ("ctid", "a column that tables have for something else"),
        ("_cwarp_gone", "a column that tables have for something else"),
        ("é" * 32, "must have 1 to 63 bytes"),
        (r'"a\0"', "must not hold a NUL"),
    ],
)
@pytest.mark.parametrize(
    ("place", "path"),
    [
        (
            "destination: {{connection_string: 'postgresql://h', {}}}",
            "warp.yaml:1 destination",
        ),
        ("schemas: [{{name: a, {}}}]", "warp.yaml:1 schemas[0]"),
        (
            "schemas: [{{name: a, tables: {{t: {{{}}}}}}}]",
            "warp.yaml:1 schemas[0].tables[0]",
        ),
    ],
)
def test_what_soft_deletes_cannot_call_their_column(
    refused: Refused, name: str, reason: str, place: str, path: str
) -> None:
    text = place.format(f"soft_delete_column: {name}") + "\n"
    for group, line in zip(
        ("source", "destination"), SERVERS.splitlines(), strict=True
    ):
        if not text.startswith(group):
            text += line + "\n"
    if not text.startswith("schemas"):
        text += "schemas: [{name: a}]\n"
    expected = f"{path}.soft_delete_column: {reason}"
    assert str(refused(text, "")) == expected


def test_a_strategy_that_is_none(refused: Refused) -> None:
    text = "schemas: [{name: a, tables: {t: {deletion_strategy: softly}}}]"
    assert str(refused(text)) == (
        "warp.yaml:3 schemas[0].tables[0].deletion_strategy: must be hard, soft or "
        "both, did you mean soft?"
    )
