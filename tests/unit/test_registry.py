"""Connectors are found by name; a wrong name is told what there is; a broken one is
named with its distribution, and the others work."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cartridge_warp import config, registry
from cartridge_warp.config import DestinationSettings, SchemaSettings, SourceSettings
from cartridge_warp.errors import ConfigError, PreconditionError, WarpError

SCHEMA = SchemaSettings(name="shop", database="shop")
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a distribution: its module's text, and its entry points."""
    monkeypatch.syspath_prepend(tmp_path)

    def installed(name: str, points: str, module: str = "") -> None:
        info = tmp_path / f"{name}-1.2.dist-info"
        info.mkdir()
        info.joinpath("METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n"
        )
        info.joinpath("entry_points.txt").write_text(textwrap.dedent(points))
        tmp_path.joinpath(f"{name}.py").write_text(textwrap.dedent(module))

    yield installed
    for name in [name for name in sys.modules if name.startswith("acme_")]:
        del sys.modules[name]


def source(name: str) -> object:
    return registry.source(SourceSettings(type=name, connection_string="x"), SCHEMA)


def test_an_unknown_source_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"source\.type: no connector") as caught:
        source("cobol")
    assert caught.value.hint == "installed: mongodb"
    assert caught.value.setting == "source.type"


def test_a_name_that_is_close_is_guessed() -> None:
    with pytest.raises(ConfigError, match="called mongo, did you mean mongodb"):
        source("mongo")


def test_an_unknown_destination_lists_the_known_ones() -> None:
    settings = DestinationSettings(type="cobol", connection_string="cobol://localhost")
    with pytest.raises(ConfigError, match=r"destination\.type: no conn") as caught:
        registry.destination(settings, SCHEMA)
    assert "postgresql" in caught.value.hint


def test_ours_are_made_without_a_connection() -> None:
    """Nothing listens at port 1: making a connector must not reach for a server."""
    source = registry.source(
        SourceSettings(connection_string="mongodb://127.0.0.1:1/shop"), SCHEMA
    )
    source.close()
    destination = registry.destination(
        DestinationSettings(connection_string="postgresql://127.0.0.1:1/x"), SCHEMA
    )
    destination.close()


def test_a_factory_gets_the_settings_as_ours_do(install: Install) -> None:
    install(
        "acme_whole",
        "[cartridge_warp.sources]\nacme = acme_whole:make",
        """
        from cartridge_warp.mongodb.source import MongoSource

        def make(settings, schema):
            assert settings.options == {"depth": 2}
            return MongoSource(settings, schema)
        """,
    )
    settings = SourceSettings(
        type="acme", connection_string="mongodb://127.0.0.1:1/x", options={"depth": 2}
    )
    registry.source(settings, SCHEMA).close()


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("import acme_driver", "ModuleNotFoundError: No module named 'acme_driver'"),
        ("raise RuntimeError('no')", "RuntimeError: no"),
        ("def other(): ...", "AttributeError: module"),
        ("def make(): ...", "TypeError: make\\(\\) takes 0 positional"),
        ("def make(settings, schema): return 5", "AttributeError: it has no validate"),
        ("def make(", "SyntaxError"),
    ],
)
def test_a_broken_one_is_named_and_the_others_work(
    install: Install, module: str, reason: str
) -> None:
    install("acme_broken", "[cartridge_warp.sources]\nacme = acme_broken:make", module)
    with pytest.raises(PreconditionError, match=reason) as caught:
        source("acme")
    assert "the connector acme of acme-broken 1.2 cannot be used" in str(caught.value)
    with pytest.raises(ConfigError) as unknown:
        source("cobol")
    assert unknown.value.hint == "installed: acme, mongodb"
    test_ours_are_made_without_a_connection()


def test_what_a_connector_says_itself_goes_through(install: Install) -> None:
    install(
        "acme_says",
        "[cartridge_warp.sources]\nacme = acme_says:make",
        """
        from cartridge_warp.errors import ConfigError

        def make(settings, schema):
            raise ConfigError("no such place", setting="source.connection_string")
        """,
    )
    with pytest.raises(ConfigError, match=r"source\.connection_string: no such place"):
        source("acme")


def test_entry_points_that_cannot_be_read_break_no_other(install: Install) -> None:
    install("acme_torn", "[cartridge_warp.sources]\nno equals sign")
    test_ours_are_made_without_a_connection()
    with pytest.raises(ConfigError) as caught:
        source("acme")
    assert "the entry points of acme-torn cannot be read" in caught.value.hint


def test_a_name_that_two_distributions_have_is_refused(install: Install) -> None:
    for name in ("acme_one", "acme_two"):
        install(name, f"[cartridge_warp.sources]\nacme = {name}:make")
    with pytest.raises(ConfigError, match=r"called acme: acme-\w+ 1.2, acme-\w+ 1.2"):
        source("acme")


def loaded(text: str, tmp_path: Path) -> config.Settings:
    file = tmp_path / "warp.yaml"
    file.write_text(textwrap.dedent(text))
    return config.load(file, environ={})


def test_the_check_of_a_file_needs_no_plug_in_to_work(
    install: Install, tmp_path: Path
) -> None:
    install("acme_raises", "[cartridge_warp.sources]\nacme = acme_raises:make", "1 / 0")
    text = """
        source: {type: acme, connection_string: /var/acme, database: shop}
        destination: {connection_string: "postgresql://127.0.0.1:1/x"}
        """
    settings = loaded(text, tmp_path)
    registry.check(settings)
    with pytest.raises(WarpError, match="ZeroDivisionError"):
        registry.source(settings.source, settings.schemas[0])
    with pytest.raises(ConfigError, match=r"source\.type: no connector is called acne"):
        registry.check(loaded(text.replace("type: acme", "type: acne"), tmp_path))
