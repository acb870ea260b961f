"""``cwarp sync`` and ``cwarp status`` between real servers, as a person runs them."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from cartridge_warp import embedded, metrics
from tests.command import command, count, cwarp, environment, schemas_in, sync

_SECONDS = 60


@pytest.fixture
def shop(mongo_db: Database[dict[str, Any]]) -> Database[dict[str, Any]]:
    mongo_db.orders.insert_many([{"_id": n, "total": n * 2} for n in range(500)])
    mongo_db.users.insert_many([{"_id": n, "name": f"u{n}"} for n in range(20)])
    return mongo_db


@pytest.fixture
def shop_uri(shop: Database[dict[str, Any]], mongo_uri: str) -> str:
    return embedded.with_database(mongo_uri, shop.name)


def until(true: Callable[[], object], what: str) -> None:
    end = time.monotonic() + _SECONDS
    while not true():
        if time.monotonic() > end:
            pytest.fail(f"waited in vain for {what}")
        time.sleep(0.1)


class Running:
    """A sync that goes on until it is stopped."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self._log = log

    def lines(self) -> list[dict[str, Any]]:
        """The log so far; a line that is being written is left for later."""
        whole = self._log.read_text().rpartition("\n")[0]
        return [json.loads(x) for x in whole.splitlines() if x.startswith("{")]

    def port(self, setting: str) -> int:
        def found() -> list[int]:
            return [x["port"] for x in self.lines() if x.get("setting") == setting]

        until(found, f"{setting} in the log")
        return found()[0]

    def get(self, setting: str, path: str) -> tuple[int, str]:
        url = f"http://127.0.0.1:{self.port(setting)}{path}"
        try:
            with urllib.request.urlopen(url, timeout=10) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as reply:
            with reply:
                return reply.code, reply.read().decode()


@contextmanager
def running(log: Path, *arguments: str) -> Iterator[Running]:
    with log.open("w") as err:
        process = subprocess.Popen(
            command("sync", "--metrics-port=0", "--health-port=0", *arguments),
            stdout=subprocess.PIPE,
            stderr=err,
            text=True,
            env=environment(),
        )
        try:
            yield Running(process, log)
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()


def test_once_copies_everything_and_says_so(
    shop: Database[dict[str, Any]], shop_uri: str, postgres_uri: str
) -> None:
    ended = sync(shop_uri, postgres_uri, "--schema", "shop", "--once")
    assert ended.code == 0, ended.err
    assert count(postgres_uri, "shop", "orders") == 500
    assert count(postgres_uri, "shop", "users") == 20
    assert re.search(r"shop\.orders +\w+ +500 ", ended.out), ended.out
    assert re.search(r"total +520 ", ended.out)
    assert "Traceback" not in ended.err
    shop.orders.delete_many({"_id": {"$lt": 100}})
    shop.orders.update_one({"_id": 100}, {"$set": {"total": -1}})
    again = sync(shop_uri, postgres_uri, "--schema", "shop", "--once")
    assert again.code == 0, again.err
    assert count(postgres_uri, "shop", "orders") == 400


def test_without_a_name_the_schema_is_called_like_the_database(
    shop: Database[dict[str, Any]], shop_uri: str, postgres_uri: str
) -> None:
    assert sync(shop_uri, postgres_uri, "--once").code == 0
    assert count(postgres_uri, shop.name, "users") == 20


def test_tables_are_the_only_ones(shop_uri: str, postgres_uri: str) -> None:
    ended = sync(
        *(shop_uri, postgres_uri, "--schema=shop", "--once", "--tables=us*"),
        "--progress=json",
    )
    assert ended.code == 0, ended.err
    summary = json.loads(ended.out.splitlines()[-1])
    assert summary["type"] == "summary"
    (schema,) = summary["schemas"]
    assert [each["collection"] for each in schema["tables"]] == ["users"]
    assert count(postgres_uri, "shop", "users") == 20


def test_connections_from_the_environment(shop_uri: str, postgres_uri: str) -> None:
    ended = sync(
        *("--schema=shop", "--once"),
        env={
            "CARTRIDGE_WARP_SOURCE__CONNECTION_STRING": shop_uri,
            "CARTRIDGE_WARP_SOURCE__DATABASE": shop_uri.rpartition("/")[2].partition(
                "?"
            )[0],
            "CARTRIDGE_WARP_DESTINATION__CONNECTION_STRING": postgres_uri,
        },
    )
    assert ended.code == 0, ended.err
    assert count(postgres_uri, "shop", "orders") == 500


def test_a_sync_is_seen_from_outside_and_drains_on_sigterm(
    shop: Database[dict[str, Any]],
    shop_uri: str,
    postgres_uri: str,
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"
    with running(log, shop_uri, postgres_uri, "--schema=shop") as job:
        until(
            lambda: (
                "shop" in schemas_in(postgres_uri)
                and job.get("monitoring.health.port", "/ready")[0] == 200
            ),
            "ready",
        )
        assert job.get("monitoring.health.port", "/health")[0] == 200
        assert job.get("monitoring.health.port", "/startup")[0] == 200

        def figure(name: str) -> float | None:
            text = job.get("monitoring.prometheus.port", "/metrics")[1]
            for line in text.splitlines():
                if line.startswith(f"{metrics.PREFIX}{name} "):
                    return float(line.split()[-1])
            return None

        # Labels come in alphabetical order.
        labels = f'database="{shop.name}",operation="%s",schema="shop",table="orders"'
        copied = f"records_processed_total{{{labels % 'copy'}}}"
        upserts = f"records_processed_total{{{labels % 'upsert'}}}"
        until(lambda: figure(copied) == 500, "the copy in /metrics")
        shop.orders.insert_many([{"_id": n, "total": 1} for n in range(1000, 1010)])
        until(lambda: figure(upserts) == 10, "the inserts in /metrics")
        # What a counter says is committed.
        assert count(postgres_uri, "shop", "orders") == 510
        status = json.loads(job.get("monitoring.health.port", "/status.json")[1])
        assert status["schemas"][0]["name"] == "shop"

        job.process.send_signal(signal.SIGTERM)
        out, _ = job.process.communicate(timeout=_SECONDS)
        assert job.process.returncode == 0
        assert "shop.orders" in out
        lines = job.lines()
    assert {line["run_id"] for line in lines} == {lines[0]["run_id"]}
    assert {line.get("schema", "shop") for line in lines} == {"shop"}
    assert any(line["event"] == "progress" for line in lines)


def test_status_needs_only_postgresql(
    shop: Database[dict[str, Any]], shop_uri: str, postgres_uri: str
) -> None:
    assert sync(shop_uri, postgres_uri, "--schema=shop", "--once").code == 0
    ended = cwarp("status", postgres_uri, "--json")
    assert ended.code == 0, ended.err
    (schema,) = json.loads(ended.out)["schemas"]
    assert schema["schema"] == "shop"
    assert schema["database"] == shop.name
    assert 0 <= schema["position_age_seconds"] < 3600
    orders, users = schema["tables"]
    assert (orders["name"], orders["copied"], orders["complete"]) == (
        *("orders", 500),
        True,
    )
    assert orders["chunks"] == orders["chunks_done"] >= 1
    assert users["dead_letters"] == 0
    page = cwarp("status", postgres_uri, "--schema=shop")
    assert page.code == 0, page.err
    assert f"shop <- {shop.name}" in page.out
    assert re.search(r"orders +\w+ +1 / 1 +500 ", page.out), page.out
    wrong = cwarp("status", postgres_uri, "--schema=shpo")
    assert wrong.code == 2
    assert "did you mean shop?" in wrong.err


def test_no_credential_reaches_log_or_page(shop_uri: str, postgres_uri: str) -> None:
    """PostgreSQL trusts here, so it accepts any password, and so may be the canary."""
    canary = "canary-pa55word"
    uri = postgres_uri.replace("postgres@", f"postgres:{canary}@")
    assert canary in uri
    ended = sync(shop_uri, uri, "--schema=shop", "--once", "--log-level=debug")
    assert ended.code == 0, ended.err
    shown = cwarp("status", uri)
    assert canary not in ended.out + ended.err + shown.out + shown.err


def test_a_terminal_gets_the_live_table(shop_uri: str, postgres_uri: str) -> None:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        command(
            *("sync", shop_uri, postgres_uri, "--schema=shop"),
            *("--metrics-port=0", "--health-port=0"),
        ),
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=environment({"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}),
    )
    os.close(follower)
    seen, asked = b"", False
    try:
        end = time.monotonic() + _SECONDS
        # The table is drawn again and again until Ctrl-C, then the summary comes.
        while process.poll() is None and time.monotonic() < end:
            seen += _read(leader)
            if b"streaming" in seen and not asked:
                asked = True
                process.send_signal(signal.SIGINT)
        while more := _read(leader):
            seen += more
        assert process.wait(_SECONDS) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(leader)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())
    assert "dead letters" in text
    assert "shop.orders" in text
    assert "total" in text
    # Logs on a terminal are text, above the table.
    assert "serving http" in text
    assert '"event"' not in text


def _read(descriptor: int) -> bytes:
    """What is there within half a second; nothing at the end of a terminal."""
    if not select.select([descriptor], [], [], 0.5)[0]:
        return b""
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""
