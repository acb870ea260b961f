"""Settings from variables, and connection strings as they may be shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartridge_warp import config
from cartridge_warp.config import catalog, environment
from cartridge_warp.config.check import variable
from cartridge_warp.config.uri import redact
from cartridge_warp.errors import ConfigError

SERVERS = {
    "CARTRIDGE_WARP_SOURCE__CONNECTION_STRING": "mongodb://u:s3cr3t@h",
    "CARTRIDGE_WARP_DESTINATION__CONNECTION_STRING": "postgres://u:s3cr3t@h/d",
    "CARTRIDGE_WARP_SINGLE_SCHEMA_NAME": "shop",
}


def refused(**environ: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        config.load(None, environ=SERVERS | environ)
    assert "s3cr3t" not in f"{caught.value} {caught.value.hint}"
    return caught.value


def test_every_setting_outside_lists_has_its_variable() -> None:
    for setting in catalog.settings():
        if "[" not in setting.path:
            root = environment.tree({variable(setting.path): "x"}, problems := [])
            assert not problems
            for name in setting.path.split("."):
                assert root.fields is not None
                root = root.fields[name]
            assert root.value == "x"
            assert root.origin == f"environment {variable(setting.path)}"


def test_values_are_literal() -> None:
    uri = "mongodb://u:${HOME}@h"
    settings = config.load(
        None, environ=SERVERS | {"CARTRIDGE_WARP_SOURCE__CONNECTION_STRING": uri}
    )
    assert settings.source.connection_string == uri


def test_other_variables_are_nobodys_business() -> None:
    others = {
        "PATH": "/bin",
        "CARTRIDGE_WARPED": "1",
        "cartridge_warp_mode": "x",
        # What Kubernetes adds for a Service of this name.
        "CARTRIDGE_WARP_SERVICE_HOST": "10.0.0.1",
        "CARTRIDGE_WARP_SERVICE_PORT": "8080",
        "CARTRIDGE_WARP_SERVICE_PORT_METRICS": "8080",
        "CARTRIDGE_WARP_PORT": "tcp://10.0.0.1:8080",
        "CARTRIDGE_WARP_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        "CARTRIDGE_WARP_PORT_8080_TCP_ADDR": "10.0.0.1",
    }
    assert config.load(None, environ=SERVERS | others) == config.load(
        None, environ=SERVERS
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "CARTRIDGE_WARP_SOURCE__DATABSE",
            "unknown setting, did you mean CARTRIDGE_WARP_SOURCE__DATABASE?",
        ),
        ("CARTRIDGE_WARP_", "unknown setting"),
        ("CARTRIDGE_WARP_SOURCE", "unknown setting"),
        ("CARTRIDGE_WARP_DRY_RUN", "not supported yet by this version"),
        (
            "CARTRIDGE_WARP_MONITORING__WEBHOOK_URL",
            "not supported yet by this version",
        ),
        ("CARTRIDGE_WARP_SCHEMAS", "schemas are set in the file"),
        ("CARTRIDGE_WARP_SCHEMAS__0__NAME", "schemas are set in the file"),
        ("CARTRIDGE_WARP_QQ_FILE", "unknown setting"),
    ],
)
def test_unknown_variables(name: str, message: str) -> None:
    error = refused(**{name: "s3cr3t"})
    assert str(error).startswith(f"environment {name}: {message}")


def test_a_wrong_value_is_blamed_on_its_variable() -> None:
    assert str(refused(CARTRIDGE_WARP_MODE="s3cr3t")) == (
        "environment CARTRIDGE_WARP_MODE mode: must be single or multi"
    )
    assert str(refused(CARTRIDGE_WARP_MONITORING__HEALTH__PORT="")) == (
        "environment CARTRIDGE_WARP_MONITORING__HEALTH__PORT monitoring.health.port:"
        " must be a whole number from 0 to 65535"
    )


def test_a_file_of_its_own_for_a_secret(tmp_path: Path) -> None:
    file = tmp_path / "uri"
    file.write_text("mongodb://u:fromfile@h\n")
    name = "CARTRIDGE_WARP_SOURCE__CONNECTION_STRING"
    environ = {**SERVERS, f"{name}_FILE": str(file)}
    assert str(refused(**{f"{name}_FILE": str(file)})) == (
        f"environment {name}_FILE: contradicts {name}"
    )
    del environ[name]
    settings = config.load(None, environ=environ)
    assert settings.source.connection_string == "mongodb://u:fromfile@h"
    file.unlink()
    with pytest.raises(ConfigError, match=f"{name}_FILE: file .* cannot be read"):
        config.load(None, environ=environ)


def test_env_files(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(
        '\ufeff# comment\n\nA=1\nexport B = two words \nC=\'q="uoted"\'\nD="x y"\n'
        "E=\nF=a#b\nA=last\nG='\n",
        "utf-8",
    )
    assert environment.read_file(file) == {
        "A": "last",
        "B": "two words",
        "C": 'q="uoted"',
        "D": "x y",
        "E": "",
        "F": "a#b",
        "G": "'",
    }


@pytest.mark.parametrize("line", ["s3cr3t", "1A=s3cr3t", "A B=s3cr3t", "=s3cr3t"])
def test_a_broken_line_of_an_env_file(tmp_path: Path, line: str) -> None:
    file = tmp_path / ".env"
    file.write_text(f"A=1\n{line}\n")
    with pytest.raises(ConfigError) as caught:
        environment.read_file(file)
    assert str(caught.value) == f"{file}:2 not a NAME=value line"


def test_env_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        environment.read_file(tmp_path)
    (tmp_path / ".env").write_bytes(b"A=\xff")
    with pytest.raises(ConfigError, match="cannot be read: not UTF-8"):
        environment.read_file(tmp_path / ".env")


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("mongodb://h/d", "mongodb://h/d"),
        ("mongodb://u@h/d", "mongodb://u@h/d"),
        ("mongodb://u:p@h1:1,h2:2/d?a=b", "mongodb://u:***@h1:1,h2:2/d?a=b"),
        ("mongodb+srv://u:p@h", "mongodb+srv://u:***@h"),
        ("postgresql://u:@h", "postgresql://u:***@h"),
        ("postgresql://:p@h", "postgresql://:***@h"),
        ("postgresql://u:p@ss/w?rd@h/d", "postgresql://u:***@h/d"),
        ("postgres://h/d?user=u&password=p", "postgres://h/d?user=u&password=***"),
        ("postgres://h?sslpassword=p;a=b", "postgres://h?sslpassword=***;a=b"),
        (
            "mongodb://h/?authMechanismProperties=AWS_SESSION_TOKEN:t&tls=true",
            "mongodb://h/?authMechanismProperties=***&tls=true",
        ),
        ("mongodb://h/?tlsCertificateKeyFilePassword=p", None),
        ("host=h password=p", "***"),
        ("u:p@h", "***"),
        ("", ""),
    ],
)
def test_redact(uri: str, shown: str | None) -> None:
    assert redact(uri) == (shown or uri.replace("=p", "=***"))


@given(st.text(min_size=1))
def test_no_password_is_ever_shown(tail: str) -> None:
    """Whatever a password holds, and however it should have been escaped."""
    password = f"s3cr3t{tail}s3cr3t"
    for uri in (
        f"mongodb://user:{password}@host/db?replicaSet=rs0",
        f"postgresql://user:{password}@host/db",
    ):
        assert "s3cr3t" not in redact(uri)
        assert redact(uri).startswith(uri.partition(":")[0] + "://user:***@host/db")
