"""A PostgreSQL that stops, dies, freezes, or has nothing left to give."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest

import totals
from kit import META, MakeScene, Scene, wait_until
from own_postgres import ROLE, OwnPostgres, on_own

pytestmark = pytest.mark.faults


@pytest.fixture
def scene(make_scene: MakeScene, server: OwnPostgres) -> Scene:
    return on_own(make_scene, server)


@pytest.mark.parametrize("seconds", [3.0, pytest.param(15.0, marks=pytest.mark.slow)])
def test_terminated_backends_while_streaming(
    scene: Scene, server: OwnPostgres, seconds: float
) -> None:
    scene.writers.fill(200)
    sync = scene.start()
    scene.streaming()
    with scene.writers.writing():
        terminate(server, seconds)
    scene.recovers(sync)


@pytest.mark.slow
def test_terminated_backends_while_copying(scene: Scene, server: OwnPostgres) -> None:
    scene.writers.fill(4000)
    sync = scene.start()
    with scene.writers.writing():
        terminate(server, 15.0)
    scene.recovers(sync)


def terminate(server: OwnPostgres, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        totals.count("backends terminated", "by SQL", server.terminate())
        time.sleep(0.35)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["crash", "kill"])
@pytest.mark.parametrize("phase", ["copy", "stream"])
def test_the_server_dies_and_is_started_again(
    scene: Scene, server: OwnPostgres, way: str, phase: str
) -> None:
    scene.writers.fill(3000 if phase == "copy" else 200)
    sync = scene.start()
    if phase == "stream":
        scene.streaming()
    else:
        scene.runs(sync)
    with scene.writers.writing():
        for away in (0.0, 4.0, 1.0):
            time.sleep(0.7)
            (server.crash if way == "crash" else server.kill)()
            totals.count("servers killed", f"postgresql {way}")
            time.sleep(away)
            server.start()
    scene.recovers(sync)


@pytest.mark.slow
def test_a_commit_does_not_end_with_a_crash(make_scene: MakeScene) -> None:
    """Where the role need not wait for the disk: the last chunk would be gone, and the
    table taken for complete."""
    with OwnPostgres("-c", "wal_writer_delay=10s") as server:
        scene = on_own(make_scene, server)
        server.run(f"ALTER ROLE {ROLE} SET synchronous_commit = off")
        scene.writers.fill(500)
        sync = scene.start()
        scene.runs(sync)
        query = f"SELECT bool_and(state = 'done') FROM {META}.snapshot_chunks"
        wait_until(lambda: server.run(query) == [(True,)], "copied", pause=0)
        server.crash()
        totals.count("servers killed", "postgresql crash")
        server.start()
        scene.recovers(sync)


@pytest.mark.slow
def test_the_server_freezes(scene: Scene, server: OwnPostgres) -> None:
    scene.writers.fill(200)
    sync = scene.start()
    scene.streaming()
    with scene.writers.writing():
        server.freeze()
        time.sleep(15)
        server.thaw()
    scene.recovers(sync)


@pytest.mark.slow
def test_no_connection_is_left(scene: Scene, server: OwnPostgres) -> None:
    scene.writers.fill(200)
    sync = scene.start()
    scene.streaming()
    with scene.writers.writing():
        with exhausted(server):
            server.terminate()
            wait_until(lambda: not sync.ready(), "it is not ready")
            time.sleep(5)
            assert not sync.ready()
    scene.recovers(sync)


@contextmanager
def exhausted(server: OwnPostgres) -> Iterator[None]:
    """Other clients have every connection that is not the superuser's own.

    Whatever becomes free within the block is theirs at once.
    """
    uri = server.uri.replace("postgres@", f"{ROLE}@")
    with ExitStack() as theirs:

        def take() -> None:
            with contextlib.suppress(psycopg.OperationalError):
                while True:
                    theirs.enter_context(psycopg.connect(uri))

        take()
        while server.terminate():
            take()
        yield


def can_mount() -> bool:
    """Whether a file system of 1 MB can be mounted here."""
    place = tempfile.mkdtemp(prefix="cwarp-")
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "cwarp", place],
            capture_output=True,
            check=False,
        )
        if done.returncode == 0:
            subprocess.run(["umount", place], check=True)
        return done.returncode == 0
    except OSError:
        return False
    finally:
        os.rmdir(place)


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """A directory that holds no more than this, for everybody."""
    above = Path(tempfile.mkdtemp(prefix="cwarp-"))
    above.chmod(0o711)
    place = above / "disk"
    place.mkdir()
    options = f"size={megabytes}m,mode=0777"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "cwarp", place], check=True)
    try:
        (place / "data").mkdir(mode=0o700)
        # As embedded.postgres chooses its user where we are root.
        shutil.chown(place / "data", "nobody")
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)
        shutil.rmtree(above, ignore_errors=True)


if can_mount():

    @pytest.mark.slow
    def test_the_disk_is_full(scene: Scene, server: OwnPostgres) -> None:
        """Nothing is thrown away; with room again the work goes on by itself."""
        with small_disk(64) as disk, server.stored_in(disk / "data"):
            scene.writers.fill(100)
            sync = scene.start()
            scene.streaming()
            filler = disk / "filler"
            with (
                filler.open("wb", buffering=0) as file,
                contextlib.suppress(OSError),
            ):
                while True:
                    file.write(bytes(4096))
            scene.writers.swell(4000)
            wait_until(lambda: not sync.ready(), "it is not ready")
            for _ in range(10):
                scene.writers.burst(20)
                assert not sync.ready()
                time.sleep(0.5)
            assert sync.code() is None, sync.tail()
            filler.unlink()
            scene.recovers(sync)

else:
    totals.count("left out", "disk full: no tmpfs can be mounted here")
