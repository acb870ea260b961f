"""The HTTP servers: real sockets on the loopback, a free port each."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from cartridge_warp.engine.progress import Progress
from cartridge_warp.engine.views import Counts, Phase
from cartridge_warp.errors import ConfigError, SourceUnavailable
from cartridge_warp.health import Answer, Endpoint, as_json, routes
from cartridge_warp.model import BatchState

SETTING = "monitoring.health.port"


def broken() -> Answer:
    raise RuntimeError("canary-detail")


ROUTES = {
    "/ok": lambda: as_json({"ok": True}),
    "/no": lambda: as_json({"ok": False}, ok=False),
    "/broken": broken,
}


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    server = Endpoint(SETTING, "127.0.0.1", 0, ROUTES)
    yield server
    server.close()


def fetch(endpoint: Endpoint, path: str, method: str = "GET") -> tuple[int, bytes]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{endpoint.port}{path}", method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as reply:
        with reply:
            return reply.code, reply.read()


def test_a_route_answers(endpoint: Endpoint) -> None:
    status, body = fetch(endpoint, "/ok?verbose=1")
    assert status == 200
    assert json.loads(body) == {"ok": True}


def test_what_is_not_ok_is_503(endpoint: Endpoint) -> None:
    assert fetch(endpoint, "/no")[0] == 503


def test_an_unknown_path_names_the_known_ones(endpoint: Endpoint) -> None:
    assert fetch(endpoint, "/nothing") == (404, b"/broken\n/no\n/ok\n")


def test_a_failing_probe_is_503_and_shows_nothing_of_the_error(
    endpoint: Endpoint,
) -> None:
    status, body = fetch(endpoint, "/broken")
    assert status == 503
    assert b"canary" not in body


def test_head_has_no_body(endpoint: Endpoint) -> None:
    assert fetch(endpoint, "/ok", "HEAD") == (200, b"")


def test_nothing_can_be_written(endpoint: Endpoint) -> None:
    assert fetch(endpoint, "/ok", "POST")[0] == 501


def test_a_port_in_use_names_setting_and_port(endpoint: Endpoint) -> None:
    with pytest.raises(ConfigError) as caught:
        Endpoint(SETTING, "127.0.0.1", endpoint.port, ROUTES)
    assert SETTING in str(caught.value)
    assert f"127.0.0.1:{endpoint.port}: the port is in use" in str(caught.value)
    assert caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 70000), ("203.0.113.1", 0)])
def test_what_cannot_be_bound_is_a_configuration_error(host: str, port: int) -> None:
    with pytest.raises(ConfigError, match="cannot listen on"):
        Endpoint(SETTING, host, port, ROUTES)


def test_a_closed_port_can_be_had_again() -> None:
    first = Endpoint(SETTING, "127.0.0.1", 0, ROUTES)
    fetch(first, "/ok")
    first.close()
    again = Endpoint(SETTING, "127.0.0.1", first.port, ROUTES)
    try:
        assert fetch(again, "/ok")[0] == 200
    finally:
        again.close()


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def ask(progress: Progress, path: str) -> tuple[int, dict[str, str]]:
    answer = routes(progress.snapshot)[path]()
    return answer.status, json.loads(answer.body)["problems"]


def following(clock: Clock) -> Progress:
    progress = Progress(clock)
    schema = progress.schema("shop", "shop_db")
    schema.connected(True)
    schema.phase(Phase.STREAMING)
    schema.heard(100 << 32, queued=0, idle=True)
    schema.moved(100 << 32)
    return progress


def test_a_process_without_a_schema_yet_is_alive_and_not_ready() -> None:
    progress = Progress()
    assert ask(progress, "/health") == (200, {})
    assert ask(progress, "/ready") == (503, {"": "no schema has been started"})


def test_a_schema_at_work_is_all_of_it() -> None:
    progress = following(Clock())
    for path in ("/health", "/ready", "/startup"):
        assert ask(progress, path) == (200, {}), path


def test_a_starting_schema_is_alive_only() -> None:
    progress = Progress()
    progress.schema("shop").connected(True)
    assert ask(progress, "/health")[0] == 200
    assert ask(progress, "/startup") == (503, {"shop": "still starting"})
    assert ask(progress, "/ready") == (503, {"shop": "still starting"})


def test_a_loop_that_does_not_turn_is_neither_alive_nor_ready() -> None:
    clock = Clock()
    progress = following(clock)
    clock.now += 31
    for path in ("/health", "/ready"):
        assert ask(progress, path) == (503, {"shop": "no loop has turned for 31 s"})
    progress.schema("shop").turn()
    assert ask(progress, "/health")[0] == 200


def test_an_end_that_is_away_is_not_ready_and_alive() -> None:
    progress = following(Clock())
    progress.schema("shop").retrying(SourceUnavailable("away"))
    assert ask(progress, "/ready") == (503, {"shop": "not connected"})
    assert ask(progress, "/health")[0] == 200


def test_green_but_stuck_is_not_ready() -> None:
    """The source goes on, the loops turn, and the position stands still."""
    clock = Clock()
    progress = following(clock)
    for _ in range(7):
        clock.now += 10
        progress.schema("shop").heard(int(clock.now) << 32, queued=5)
        # A copy beside it, whose commits move no position.
        progress.schema("shop").committed("orders", Counts(read=1, copied=1))
    assert ask(progress, "/health")[0] == 200
    status, problems = ask(progress, "/ready")
    assert status == 503
    assert "the position stands still for 70 s" in problems["shop"]
    progress.schema("shop").moved(int(clock.now) << 32)
    assert ask(progress, "/ready")[0] == 200


def test_a_pass_that_does_not_come_is_not_ready() -> None:
    clock = Clock()
    progress = Progress(clock)
    schema = progress.schema("shop", "shop_db")
    schema.connected(True)
    schema.phase(Phase.WAITING)
    schema.table("orders", Phase.WAITING, table="orders")
    schema.passed("orders", BatchState(passes=1, began=990.0), 1_010.0)
    for late in (-10, 60):
        clock.now = 1_010.0 + late
        schema.turn()
        assert ask(progress, "/ready") == (200, {})
    clock.now += 30
    schema.turn()
    assert ask(progress, "/ready") == (503, {"shop": "a pass over orders is 90 s late"})
    assert ask(progress, "/health")[0] == 200
    # However long a pass takes, it is at work.
    schema.table("orders", Phase.READING)
    assert ask(progress, "/ready") == (200, {})


def test_one_failed_schema_of_two_is_named() -> None:
    progress = following(Clock())
    progress.schema("users", "u").failed(ValueError("no"))
    assert ask(progress, "/ready") == (503, {"users": "failed"})
    assert ask(progress, "/health")[0] == 200


def test_a_schema_that_is_done_stays_ready() -> None:
    clock = Clock()
    progress = following(clock)
    progress.schema("shop").phase(Phase.DONE)
    clock.now += 3600
    assert ask(progress, "/ready")[0] == 200


def test_status_has_the_figures_and_no_secret() -> None:
    progress = following(Clock())
    schema = progress.schema("shop")
    schema.committed("orders", Counts(read=3, copied=3))
    schema.failed(SourceUnavailable("mongodb://u:canary@h/ is away"), "orders")
    answer = routes(progress.snapshot)["/status.json"]()
    assert answer.status == 200
    assert b"canary" not in answer.body
    (shop,) = json.loads(answer.body)["schemas"]
    assert shop["phase"] == "streaming"
    assert shop["tables"][0]["counts"]["copied"] == 3
    assert shop["tables"][0]["phase"] == "failed"
    assert "is away" in shop["tables"][0]["last_error"]
