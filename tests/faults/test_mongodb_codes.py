"""Every code of the table, thrown by a real server: nothing lost, nothing twice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import bson
import pytest
from pymongo.database import Database

import totals
from cartridge_warp.errors import HistoryLost, SourceError
from cartridge_warp.mongodb import changes as changes_module
from cartridge_warp.mongodb.errors import RESUMABLE_LABEL, TABLE, Verdict
from cartridge_warp.mongodb.source import MongoSource
from mongodb_kit import (
    EVERYTHING,
    Client,
    Reader,
    cursors,
    element,
    failing,
    follow,
    ids,
    make,
    reading,
)

pytestmark = pytest.mark.faults

Mongo = Database[dict[str, Any]]

#: ``failCommand`` cannot throw these, which need more than a code.
NOT_BY_FAIL_COMMAND = frozenset({249, 13388})
CODES = sorted(set(TABLE) - NOT_BY_FAIL_COMMAND)

#: What the stream, or its caller, mends without anybody.
MENDED = (Verdict.RESUME, Verdict.RETRY, Verdict.TIME, Verdict.SLIM)


@pytest.fixture
def source(mongo_db: Mongo, mongo_uri: str) -> Iterator[MongoSource]:
    mongo_db.c.insert_one({"_id": "before"})
    # After "not primary" the driver waits for the next word of the server's state,
    # which a server that only says so does not send before its time.
    often = f"{mongo_uri}&heartbeatFrequencyMS=500"
    made = make(often, mongo_db.name, change_batch_size=4)
    yield made
    made.close()


@pytest.fixture
def reader(source: MongoSource) -> Iterator[Reader]:
    made = Reader(source)
    yield made
    made.close()


def insert(database: Mongo, *numbers: int) -> None:
    database.c.insert_many([{"_id": number} for number in numbers])


def all_came(reader: Reader, count: int) -> None:
    reader.until(count)
    assert [each.key for each in reader.events] == [element(n) for n in range(count)]


def thrown(code: int, label: bool, *commands: str) -> dict[str, Any]:
    labels = [RESUMABLE_LABEL] if label else []
    totals.count("codes", str(code))
    return {"failCommands": list(commands), "errorCode": code, "errorLabels": labels}


#: The half with the label is what MongoDB promises, and the longer one.
LABELS = [pytest.param(True, id="label", marks=pytest.mark.slow), False]


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("command", ["getMore", "aggregate"])
@pytest.mark.parametrize("code", CODES)
def test_a_code_is_mended_or_raised(
    mongo_db: Mongo,
    mongo_client: Client,
    source: MongoSource,
    reader: Reader,
    code: int,
    command: str,
    label: bool,
) -> None:
    insert(mongo_db, *range(6))
    reader.until(4)
    if command == "aggregate":
        reader.close()
    verdict = TABLE[code]
    mended = verdict in MENDED or (label and verdict is not Verdict.HISTORY)
    with failing(mongo_client, {"times": 1}, **thrown(code, label, command)):
        if mended:
            all_came(reader, 6)
        else:
            with pytest.raises(SourceError) as raised:
                reader.read()
            assert not raised.value.retryable
            kind = HistoryLost if verdict is Verdict.HISTORY else SourceError
            assert type(raised.value) is kind
    # Whatever it was, the place is known: a new stream goes on there.
    all_came(reader, 6)


@pytest.mark.slow
@pytest.mark.parametrize("times", [2, 5])
@pytest.mark.parametrize("label", [True, False], ids=["label", "bare"])
@pytest.mark.parametrize("command", ["getMore", "aggregate"])
@pytest.mark.parametrize("code", [43, 91, 189, 11601, 280, 10334])
def test_one_that_comes_again_and_again(
    mongo_db: Mongo,
    mongo_client: Client,
    reader: Reader,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    command: str,
    label: bool,
    times: int,
) -> None:
    # How long to wait between two is another test's.
    monkeypatch.setattr(changes_module, "REOPEN_SECONDS", 0.0)
    insert(mongo_db, *range(6))
    reader.until(4)
    if command == "aggregate":
        reader.close()
    stays = command == "aggregate" and not label
    fatal = stays and times > {280: 1, 10334: 2}.get(code, times)
    with failing(mongo_client, {"times": times}, **thrown(code, label, command)):
        if fatal:
            with pytest.raises(SourceError) as raised:
                reader.read()
            assert not raised.value.retryable
        else:
            all_came(reader, 6)
    insert(mongo_db, *range(6, 10))
    all_came(reader, 10)


def aggregates(client: Client) -> int:
    """How often the server was asked for one, by anybody."""
    commands = client.admin.command("serverStatus")["metrics"]["commands"]
    return int(commands["aggregate"]["total"])


def test_a_stream_that_keeps_breaking_is_not_reopened_all_the_time(
    mongo_db: Mongo, mongo_client: Client, reader: Reader
) -> None:
    reader.read()
    before = aggregates(mongo_client)
    started = time.monotonic()
    with failing(mongo_client, {"times": 1000}, **thrown(189, True, "getMore")):
        while time.monotonic() - started < 4:
            reader.read()
    lasted = time.monotonic() - started
    opened = aggregates(mongo_client) - before
    assert opened >= 2
    assert reader.failures + opened < 6 * lasted
    insert(mongo_db, 0, 1)
    all_came(reader, 2)


@pytest.mark.parametrize("code", CODES)
def test_a_chunk_says_whether_reading_it_again_may_help(
    mongo_db: Mongo, mongo_client: Client, source: MongoSource, code: int
) -> None:
    insert(mongo_db, *range(1000))
    replies = reading(source, "c")
    next(replies)
    retryable = TABLE[code] in (Verdict.RESUME, Verdict.RETRY)
    broken = thrown(code, False, "getMore")
    with failing(mongo_client, {"times": 1}, **broken), pytest.raises(SourceError) as e:
        list(replies)
    assert e.value.retryable is retryable
    assert len(ids(reading(source, "c"))) == 1001


def kill_cursors(database: Mongo, collection: str) -> None:
    numbers = [bson.Int64(each) for each in cursors(database.client, database.name)]
    assert numbers
    database.command({"killCursors": collection, "cursors": numbers})


def kill_sessions(database: Mongo, collection: str) -> None:
    """What half an hour without a request does to a session, and its cursors."""
    assert cursors(database.client, database.name)
    database.client.admin.command({"killAllSessions": []})


@pytest.mark.parametrize("kill", [kill_cursors, kill_sessions])
def test_a_cursor_that_was_killed(
    mongo_db: Mongo, source: MongoSource, reader: Reader, kill: Any
) -> None:
    insert(mongo_db, *range(6))
    reader.until(4)
    kill(mongo_db, "$cmd.aggregate")
    all_came(reader, 6)
    reader.close()

    mongo_db.d.insert_many([{"_id": number} for number in range(1000)])
    replies = source.snapshot("d", EVERYTHING, source.newest_time())
    next(replies)
    kill(mongo_db, "d")
    with pytest.raises(SourceError) as raised:
        list(replies)
    assert raised.value.retryable
    assert len(ids(reading(source, "d"))) == 1000


def test_a_stream_follows_a_killed_session_at_once(
    mongo_db: Mongo, source: MongoSource
) -> None:
    changes = source.changes(source.position_now())
    changes.read()
    kill_sessions(mongo_db, "c")
    insert(mongo_db, 0)
    assert [each.key for each in follow(changes, bool)] == [element(0)]
    changes.close()
