"""The servers of the demo and the tests: found, started, and never left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pymongo
import pytest

from cartridge_warp import embedded
from cartridge_warp.errors import PreconditionError


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/status").read_text().find("State:\tZ") < 0


def eventually(condition: Callable[[], bool], seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_wheels_alone_suffice_for_mongodb() -> None:
    with embedded.mongod(own=True, hide_installed=True) as server:
        assert server.pid
        command = Path(f"/proc/{server.pid}/cmdline").read_bytes().split(b"\0")[0]
        assert b"fiftyone" in command
        with pymongo.MongoClient(server.uri) as client:
            assert client.admin.command("hello")["isWritablePrimary"] is True
            client.test.things.insert_one({"_id": 1})
            assert client.test.things.count_documents({}) == 1
        directory = server.directory
    assert not alive(server.pid)
    assert directory
    assert not directory.exists()


def test_wheels_alone_suffice_for_postgresql() -> None:
    with embedded.postgres(own=True, hide_installed=True) as server:
        assert server.pid
        command = Path(f"/proc/{server.pid}/cmdline").read_bytes().split(b"\0")[0]
        assert b"pginstall" in command or b"postgresql-programs" in command
        assert os.stat(f"/proc/{server.pid}").st_uid != 0
        with psycopg.connect(server.uri) as connection:
            row = connection.execute("SHOW server_encoding").fetchone()
            assert row == ("UTF8",)
        directory = server.directory
    assert not alive(server.pid)
    assert directory
    assert not directory.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root drops to nobody")
def test_programs_that_only_root_can_reach_are_copied(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # As in a virtual environment under /root. pytest's own directory is 0700 as well.
    tmp_path.chmod(0o700)
    bindir = embedded.find_postgres(hide_installed=True)
    package = bindir.parents[1]
    for part in (bindir.parent, package.with_name(f"{package.name}.libs")):
        there = tmp_path / part.relative_to(package.parent)
        shutil.copytree(part, there, symlinks=True)
    bindir = tmp_path / bindir.relative_to(package.parent)
    monkeypatch.setattr(embedded, "find_postgres", lambda _: bindir)
    with embedded.postgres(own=True) as server, psycopg.connect(server.uri) as there:
        assert there.execute("SELECT 1").fetchone() == (1,)


def test_installed_servers_come_before_the_wheels() -> None:
    hidden = embedded.find_postgres(hide_installed=True)
    assert "pginstall" in str(hidden)
    shown = embedded.find_postgres(hide_installed=False)
    assert (shown / "initdb").is_file()


def test_a_uri_in_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    uri = "mongodb://user@one.example:27099,two.example:27018/?replicaSet=rs"
    monkeypatch.setenv("CWARP_TEST_MONGODB_URI", uri)
    with embedded.mongod() as server:
        assert server == (uri, None, 27099, None)
    monkeypatch.setenv("CWARP_TEST_POSTGRES_URI", "postgresql://there/db")
    with embedded.postgres() as other:
        assert other == ("postgresql://there/db", None, 5432, None)


def test_data_in_a_given_directory_outlives_the_server_and_its_port() -> None:
    with embedded.mongod(own=True) as first, embedded.postgres(own=True) as second:
        # Beside the temporary directories, so that `nobody` can enter as well.
        assert first.directory
        home = first.directory.with_name(f"{first.directory.name}-kept")
        del second
    try:
        with embedded.mongod(home) as server, pymongo.MongoClient(server.uri) as client:
            client.test.things.insert_one({"_id": 1})
        with embedded.postgres(home) as server:
            with psycopg.connect(server.uri, autocommit=True) as connection:
                connection.execute("CREATE TABLE things AS SELECT 1 AS a")
        with embedded.mongod(home) as again, pymongo.MongoClient(again.uri) as client:
            assert list(client.test.things.find()) == [{"_id": 1}]
        with embedded.postgres(home) as again:
            with psycopg.connect(again.uri) as connection:
                assert connection.execute("TABLE things").fetchall() == [(1,)]
        assert (home / "mongodb.log").exists()
    finally:
        subprocess.run(["rm", "-rf", home], check=True)


SCRIPT = """
import sys
from cartridge_warp import embedded
with embedded.mongod(own=True) as m, embedded.postgres(own=True) as p:
    print(m.pid, p.pid, m.directory, p.directory, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_servers_die_with_their_parent(how: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout
        mongo, postgres, *directories = process.stdout.readline().split()
        assert alive(int(mongo))
        assert alive(int(postgres))
        # The whole foreground group, as a terminal does on Ctrl-C.
        os.killpg(process.pid, how)
        process.wait()
        assert eventually(lambda: not alive(int(mongo)) and not alive(int(postgres)))
        assert eventually(lambda: not any(Path(d).exists() for d in directories))


def test_nothing_found_names_three_remedies(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(PreconditionError) as caught:
        embedded.find_mongod()
    assert caught.value.exit_code == 3
    for remedy in ("cartridge-warp[demo]", "CWARP_TEST_MONGODB_URI", "docker compose"):
        assert remedy in caught.value.hint


def test_a_missing_library_is_named_with_its_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # What the loader of glibc prints, by a program that really runs.
    binary = tmp_path / "mongod"
    binary.write_text(
        "#!/bin/sh\n"
        "echo 'mongod: error while loading shared libraries: libcurl.so.4:"
        " cannot open shared object file: No such file or directory' >&2\n"
        "exit 127\n"
    )
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(PreconditionError, match=r"libcurl\.so\.4") as caught:
        embedded.find_mongod(hide_installed=False)
    assert "apt-get install libcurl4" in caught.value.hint


def test_a_server_that_does_not_start_says_why() -> None:
    with (
        pytest.raises(PreconditionError, match=r"did not start.*no_such_setting"),
        embedded.postgres(extra_args=("-c", "no_such_setting=1")),
    ):
        pytest.fail("it started")
