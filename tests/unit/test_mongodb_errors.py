"""What an error of MongoDB means, by code, label and class; and what it never says."""

from __future__ import annotations

import pytest
from bson.errors import InvalidBSON
from pymongo.errors import (
    AutoReconnect,
    InvalidOperation,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from cartridge_warp.errors import HistoryLost, SourceError, SourceUnavailable
from cartridge_warp.mongodb.errors import (
    RESUMABLE_LABEL,
    Verdict,
    classify,
    translated,
    translating,
)


def failure(code: int, *labels: str) -> OperationFailure:
    details = {"ok": 0, "code": code, "codeName": "Name", "errorLabels": list(labels)}
    return OperationFailure("secret-id", code, details)


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (failure(43), Verdict.RESUME),
        (failure(8, RESUMABLE_LABEL), Verdict.RESUME),
        (failure(280, RESUMABLE_LABEL), Verdict.RESUME),
        (failure(286, RESUMABLE_LABEL), Verdict.HISTORY),
        (failure(136), Verdict.RESUME),
        (failure(280), Verdict.TIME),
        (failure(10334), Verdict.SLIM),
        (failure(260), Verdict.FATAL),
        (failure(13), Verdict.FATAL),
        (failure(8), Verdict.FATAL),
        (failure(8, "SystemOverloadedError"), Verdict.RETRY),
        (failure(189), Verdict.RETRY),
        (failure(11600), Verdict.RETRY),
        (AutoReconnect("x"), Verdict.RETRY),
        (NetworkTimeout("x"), Verdict.RETRY),
        (ServerSelectionTimeoutError("x"), Verdict.RETRY),
        (InvalidOperation("x"), Verdict.FATAL),
    ],
)
def test_the_verdict(error: PyMongoError, verdict: Verdict) -> None:
    assert classify(error) is verdict


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (failure(43), SourceUnavailable),
        (failure(189), SourceUnavailable),
        (AutoReconnect("secret-id"), SourceUnavailable),
        (failure(286), HistoryLost),
        (failure(136), SourceUnavailable),
        (failure(280), SourceError),
        (failure(10334), SourceError),
        (failure(18), SourceError),
        (InvalidOperation("secret-id"), SourceError),
    ],
)
def test_our_error_never_quotes_the_server(
    error: PyMongoError, kind: type[SourceError]
) -> None:
    ours = translated(error, "find")
    assert type(ours) is kind
    assert "find" in str(ours)
    assert "secret-id" not in str(ours) + ours.hint


def test_history_lost_says_what_to_do() -> None:
    assert "oplog" in translated(failure(286), "getMore").hint


def test_a_reply_that_is_no_bson_is_an_error_of_the_source() -> None:
    with pytest.raises(SourceError, match="find cannot be read"), translating("find"):
        raise InvalidBSON("secret-id")
