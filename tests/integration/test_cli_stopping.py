"""How long a stop takes while a server is away: not longer than it takes to commit."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pymongo
import pytest

from cartridge_warp import embedded
from tests.command import count, schemas_in
from tests.integration.test_cli_sync import running, until


@pytest.mark.parametrize("away", [signal.SIGKILL, signal.SIGSTOP])
def test_a_stop_does_not_wait_for_a_mongodb_that_is_away(
    postgres_uri: str, tmp_path: Path, away: signal.Signals
) -> None:
    with embedded.mongod(own=True) as server:
        assert server.pid is not None
        with pymongo.MongoClient(server.uri) as client:
            client.shop.orders.insert_one({"_id": 1})
        uri = embedded.with_database(server.uri, "shop")
        with running(tmp_path / "log", uri, postgres_uri) as job:
            until(
                lambda: (
                    "shop" in schemas_in(postgres_uri)
                    and job.get("monitoring.health.port", "/ready")[0] == 200
                    and count(postgres_uri, "shop", "orders") == 1
                ),
                "the copy",
            )
            os.kill(server.pid, away)
            try:
                time.sleep(5)
                began = time.monotonic()
                job.process.send_signal(signal.SIGTERM)
                try:
                    job.process.communicate(timeout=10)
                except subprocess.TimeoutExpired:
                    pytest.fail("the stop takes longer than ten seconds")
                assert job.process.returncode == 0
                assert time.monotonic() - began < 10
            finally:
                if away == signal.SIGSTOP:
                    os.kill(server.pid, signal.SIGCONT)
