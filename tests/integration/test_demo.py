"""``cwarp demo`` as a person runs it, and what is left when it ends, in any way."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pymongo
import pytest

from cartridge_warp import embedded
from tests.command import command, environment

_SECONDS = 120
_TABLE_LINE = re.compile(r"^ +(\S+) +([\d,]+) +([\d,]+) .* ([\d,]+) *$", re.MULTILINE)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory for everything of one demo; `nobody` may pass through it."""
    directory = Path(tempfile.mkdtemp(prefix="demo-test-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def files(place: Path) -> Path:
    """Two small collections: one a document a line, one as an array."""
    directory = place / "files"
    directory.mkdir()
    people = (
        f'{{"_id": {n}, "name": "p{n}", "at": {{"x": {n}.5}}}}' for n in range(99)
    )
    (directory / "people.jsonl").write_text("\n".join(people))
    things = (f'{{"_id": "t{n}", "tags": [1, "a", null]}}' for n in range(40))
    (directory / "things.json").write_text(f"[{','.join(things)}]")
    return directory


class Demo:
    """One run. Its temporary files are under its own directory, and so is the proof:
    every process of it names that directory in its command line or environment.
    """

    def __init__(self, place: Path, *arguments: str, **env: str) -> None:
        self.temporary = place / "tmp"
        self.temporary.mkdir(exist_ok=True)
        self.out = place / "out"
        with self.out.open("w") as out:
            self.process = subprocess.Popen(
                command("demo", *arguments),
                stdout=out,
                stderr=out,
                env=environment({"TMPDIR": str(self.temporary), **env}),
                start_new_session=True,
            )

    def text(self) -> str:
        return self.out.read_text()

    def wait(self) -> int:
        return self.process.wait(_SECONDS)

    def until(self, true: Callable[[str], object], what: str) -> None:
        end = time.monotonic() + _SECONDS
        while not true(self.text()):
            if time.monotonic() > end or self.process.poll() is not None:
                pytest.fail(f"waited in vain for {what}:\n{self.text()}")
            time.sleep(0.05)

    def left(self) -> list[str]:
        """Processes and files that are still there."""
        mark = os.fsencode(self.temporary)
        found = [str(path) for path in self.temporary.iterdir()]
        for process in Path("/proc").glob("[0-9]*"):
            try:
                facts = (process / "environ").read_bytes()
                facts += (process / "cmdline").read_bytes()
            except OSError:
                continue
            if mark in facts:
                found.append(facts.decode(errors="replace"))
        return found

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def run(place: Path) -> Iterator[Callable[..., Demo]]:
    demos: list[Demo] = []

    def start(*arguments: str, **env: str) -> Demo:
        demos.append(Demo(place, *arguments, **env))
        return demos[-1]

    yield start
    for demo in demos:
        demo.end()


def verified(text: str) -> dict[str, tuple[int, int, int]]:
    """Collection -> documents, rows, differences, as the table shows them."""
    table = text.partition("Verified: ")[2].partition("\n\n")[0]
    return {
        name: tuple(int(number.replace(",", "")) for number in numbers)
        for name, *numbers in _TABLE_LINE.findall(table)
    }


def test_the_catalogue_of_this_machine(run: Callable[..., Demo]) -> None:
    # On a machine that has nothing but the wheels.
    demo = run("--seconds", "4", CWARP_HIDE_INSTALLED_SERVERS="1")
    code = demo.wait()
    text = demo.text()
    assert code == 0, text
    found = verified(text)
    assert found.keys() == {"dependencies", "distributions", "files", "modules"}
    assert found["files"][0] > 5000
    for documents, rows, differences in found.values():
        assert rows == documents > 0
        assert differences == 0
    for line in (
        "ok kill -9",
        "a new field appeared",
        "SELECT distribution",
        "cwarp s",
    ):
        assert line in text
    assert re.search(r"mongodb://127\.0\.0\.1:\d+/demo\?replicaSet=rs0", text)
    assert re.search(r"postgresql://postgres@127\.0\.0\.1:\d+/demo", text)
    assert demo.left() == []


def test_files_of_ones_own(run: Callable[..., Demo], real_data: Path) -> None:
    demo = run("--seconds", "3", "--data", str(real_data))
    code = demo.wait()
    assert code == 0, demo.text()
    found = verified(demo.text())
    assert found.keys() == {path.stem for path in real_data.glob("*.json")}
    for documents, rows, differences in found.values():
        assert rows == documents > 0
        assert differences == 0
    assert demo.left() == []


@pytest.mark.parametrize(
    ("how", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)],
)
def test_nothing_is_left_however_it_ends(
    run: Callable[..., Demo], files: Path, how: signal.Signals, code: int
) -> None:
    demo = run("--seconds", "60", "--data", str(files))
    demo.until(lambda text: "ok copy" in text, "the copy")
    assert demo.left()
    os.killpg(demo.process.pid, how)
    assert demo.wait() == code
    end = time.monotonic() + 30
    while (left := demo.left()) and time.monotonic() < end:
        # After SIGKILL there are only the guards to clean up.
        assert how == signal.SIGKILL, left
        time.sleep(0.1)
    assert left == []


def test_serve_goes_on_until_ctrl_c(run: Callable[..., Demo], files: Path) -> None:
    demo = run("--serve", "--seconds", "1", "--data", str(files))
    demo.until(lambda text: "Ctrl-C ends them" in text, "the end of the story")
    mongo, postgres = re.findall(r"(?:mongodb|postgresql)://\S+", demo.text())[:2]
    with pymongo.MongoClient[dict[str, Any]](mongo) as client:
        client.get_default_database().people.insert_one({"_id": -1, "name": "late"})
    with psycopg.connect(postgres, autocommit=True) as connection:

        def arrived(_: str) -> bool:
            query = "SELECT name FROM demo.people WHERE _id = -1"
            return connection.execute(query).fetchall() == [("late",)]

        demo.until(arrived, "a row for a document inserted by hand")
    os.killpg(demo.process.pid, signal.SIGINT)
    assert demo.wait() == 0
    assert demo.left() == []


def test_a_kept_demo_goes_on_and_a_planted_difference_is_found(
    run: Callable[..., Demo], files: Path, place: Path
) -> None:
    kept = place / "kept"
    arguments = ("--seconds", "1", "--data", str(files), "--keep", str(kept))
    first = run(*arguments)
    assert first.wait() == 0, first.text()
    assert f"--keep {kept}" in first.text()
    second = run(*arguments)
    assert second.wait() == 0, second.text()
    assert "from the last time" in second.text()
    with embedded.postgres(kept) as server:
        uri = embedded.with_database(server.uri, "demo")
        with psycopg.connect(uri) as connection:
            # Enough of them that the live traffic cannot mend them all.
            connection.execute("UPDATE demo.people SET name = name || '?'")
    third = run(*arguments)
    assert third.wait() == 1, third.text()
    assert "NOT equal" in third.text()
    assert re.search(r"^people .+ name: the document has", third.text(), re.MULTILINE)
    assert third.left() == []


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", '[{"_id": 1},\n{"_id": 2}\n{"_id": 3}]', "a.json:3: Expecting ','"),
        ("a.jsonl", '{"_id": 1}\n{"_id": 1}', "two documents have the _id 1"),
        ("a.txt", "{}", "no .json, .jsonl or .bson file"),
        ("a.json", "", "no documents in"),
        ("a.json", "[]", "no documents in"),
    ],
)
def test_bad_files_are_named(
    run: Callable[..., Demo], place: Path, name: str, text: str, said: str
) -> None:
    directory = place / "files"
    directory.mkdir()
    (directory / name).write_text(text)
    demo = run("--data", str(directory))
    assert demo.wait() == 2
    assert said in demo.text()
    assert "Traceback" not in demo.text()
    assert demo.left() == []


def test_servers_that_run_already_are_left_as_they_were(
    run: Callable[..., Demo],
    files: Path,
    mongo_client: pymongo.MongoClient[dict[str, Any]],
    mongo_uri: str,
    postgres_uri: str,
) -> None:
    def databases() -> tuple[set[str], set[str]]:
        with psycopg.connect(postgres_uri) as connection:
            rows = connection.execute("SELECT datname FROM pg_database").fetchall()
        return {name for (name,) in rows}, set(mongo_client.list_database_names())

    before = databases()
    demo = run(
        *("--seconds", "1", "--data", str(files)),
        CWARP_TEST_MONGODB_URI=mongo_uri,
        CWARP_TEST_POSTGRES_URI=postgres_uri,
    )
    assert demo.wait() == 0, demo.text()
    assert f"{mongo_uri.split('?')[0]}demo_" in demo.text()
    assert databases() == before
    assert demo.left() == []


def test_keep_refuses_a_directory_of_somebody_else(
    run: Callable[..., Demo], place: Path
) -> None:
    (place / "mine").mkdir()
    (place / "mine" / "thesis.txt").touch()
    demo = run("--keep", str(place / "mine"))
    assert demo.wait() == 2
    assert "not empty" in demo.text()


def test_keep_refuses_what_can_be_no_directory(
    run: Callable[..., Demo], place: Path
) -> None:
    (place / "file").touch()
    demo = run("--keep", str(place / "file" / "under"))
    assert demo.wait() == 2
    assert "Not a directory" in demo.text()
    assert "Traceback" not in demo.text()


def test_keep_refuses_a_directory_in_use(run: Callable[..., Demo], place: Path) -> None:
    with embedded.mongod(place / "kept") as mongod:
        demo = run("--keep", str(place / "kept"))
        assert demo.wait() == 2
        assert (
            f"in use by another demo (its mongod has pid {mongod.pid})" in demo.text()
        )
