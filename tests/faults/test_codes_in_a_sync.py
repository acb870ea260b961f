"""Every code of MongoDB's table, thrown at a sync: it goes on, or says why not."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from bson import Int64

import totals
from cartridge_warp.mongodb.errors import TABLE, Verdict
from kit import Scene, wait_until
from mongodb_kit import Client, cursors, failing

pytestmark = [pytest.mark.faults, pytest.mark.slow]

#: ``failCommand`` cannot throw these, which need more than a code.
NOT_BY_FAIL_COMMAND = frozenset({249, 13388})

#: A stream mends these; the rest of a sync only the first two.
STREAM = (Verdict.RESUME, Verdict.RETRY, Verdict.TIME, Verdict.SLIM)
ANYWHERE = (Verdict.RESUME, Verdict.RETRY)

FAILED, HISTORY_LOST = 1, 6


def codes(*verdicts: Verdict) -> list[int]:
    return [
        code
        for code, verdict in sorted(TABLE.items())
        if verdict in verdicts and code not in NOT_BY_FAIL_COMMAND
    ]


def throw(
    client: Client,
    code: int,
    command: str,
    prompt: Callable[[], None] = lambda: None,
) -> None:
    """Once, when this command comes next; wait until it came.

    prompt: done until then, so that it comes.
    """
    before = thrown(client)

    def came() -> bool:
        prompt()
        return thrown(client) > before

    with failing(client, {"times": 1}, failCommands=[command], errorCode=code):
        wait_until(came, f"{code} is thrown", pause=0.02)
    totals.count("codes", str(code))


def thrown(client: Client) -> int:
    """How often the fail point has failed a command."""
    found = client.admin.command("getParameter", 1, **{"failpoint.failCommand": 1})
    return int(found["failpoint.failCommand"]["timesEntered"])


@pytest.mark.parametrize("command", ["getMore", "aggregate"])
def test_codes_that_the_stream_mends(
    scene: Scene, mongo_client: Client, command: str
) -> None:
    def prompt() -> None:
        """A stream that ends is opened anew, with the only ``aggregate`` there is."""
        if command == "aggregate":
            numbers = [Int64(each) for each in cursors(mongo_client, scene.db.name)]
            kill = {"killCursors": "$cmd.aggregate", "cursors": numbers}
            assert not numbers or scene.db.command(kill)["ok"]

    scene.writers.fill(100)
    sync = scene.start()
    scene.streaming()
    with scene.writers.writing():
        for code in codes(*STREAM):
            throw(mongo_client, code, command, prompt)
            assert sync.code() is None, sync.tail()
    scene.recovers(sync)


@pytest.mark.parametrize("command", ["find", "getMore"])
def test_codes_that_a_copy_mends(
    scene: Scene, mongo_client: Client, command: str
) -> None:
    """Also where the stream looks documents up, which are ``find`` too."""
    scene.writers.fill(20_000)
    sync = scene.start()
    wait_until(lambda: scene.has_table("items"), "the copy begins", pause=0.01)
    with scene.writers.writing():
        for code in codes(*ANYWHERE):
            throw(mongo_client, code, command)
            assert sync.code() is None, sync.tail()
    scene.recovers(sync)


@pytest.mark.parametrize("code", codes(Verdict.FATAL, Verdict.HISTORY))
def test_a_code_that_nobody_mends(
    scene: Scene, mongo_client: Client, code: int
) -> None:
    """One line, its exit code, nothing lost: the next start goes on."""
    scene.writers.fill(50)
    sync = scene.start()
    scene.streaming()
    with scene.writers.writing():
        throw(mongo_client, code, "getMore")
        time.sleep(0.5)
    history = TABLE[code] is Verdict.HISTORY
    assert sync.wait() == (HISTORY_LOST if history else FAILED), sync.tail()
    (error,) = [line for line in sync.said() if line.startswith("error: ")]
    assert f"({code})" in error
    assert "Traceback" not in sync.log()
    scene.once()
    scene.check()
