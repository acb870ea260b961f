"""Dead letters in the log: at once, then once a minute."""

from __future__ import annotations

import logging

import pytest

from cartridge_warp.engine.letters import LetterLog
from cwarp_core import Reject


def reject(code: str, key: str = "canary") -> Reject:
    return Reject(b"canary", code, -1, key, -1)


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, int]]:
    """Table, reason and number of each warning since the last call."""
    found = [
        (each.table, each.reason, each.documents)  # type: ignore[attr-defined]
        for each in caplog.records
        if each.levelno == logging.WARNING
    ]
    caplog.clear()
    return found


def test_the_first_of_each_table_and_reason_then_one_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 100.0
    log = LetterLog(lambda: now)
    log.committed("orders", [])
    assert said(caplog) == []
    log.committed("orders", [reject("corrupt"), reject("corrupt"), reject("misfit")])
    assert said(caplog) == [("orders", "corrupt", 2), ("orders", "misfit", 1)]
    log.committed("orders", [reject("corrupt")])
    assert said(caplog) == []
    log.committed("items", [reject("corrupt")])
    assert said(caplog) == [("items", "corrupt", 1)]
    now += 59.9
    log.committed("orders", [reject("corrupt")] * 3)
    assert said(caplog) == []
    now += 0.1
    log.committed("orders", [reject("corrupt")])
    assert said(caplog) == [("orders", "corrupt", 5)]


def test_no_value_of_a_document_is_in_the_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    LetterLog(lambda: 0.0).committed("orders", [reject("corrupt")])
    (record,) = caplog.records
    assert "canary" not in str(vars(record))
