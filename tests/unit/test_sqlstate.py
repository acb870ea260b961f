"""The classification of SQLSTATEs, and the one translation of driver errors."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors as pg

from cartridge_warp.errors import (
    DestinationError,
    DestinationUnavailable,
    LockTimeout,
)
from cartridge_warp.postgresql import sqlstate
from cartridge_warp.postgresql.sqlstate import Verdict, classify, refusal, translated


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (None, Verdict.RETRY),
        ("08006", Verdict.RETRY),
        ("25006", Verdict.RETRY),
        ("40001", Verdict.RETRY),
        ("40P01", Verdict.RETRY),
        ("53100", Verdict.RETRY),
        ("53300", Verdict.RETRY),
        ("55P03", Verdict.RETRY),
        ("57014", Verdict.RETRY),
        ("57P01", Verdict.RETRY),
        ("57P03", Verdict.RETRY),
        ("22003", Verdict.ROW),
        ("22P02", Verdict.ROW),
        ("22P05", Verdict.ROW),
        ("23514", Verdict.ROW),
        ("54000", Verdict.ROW),
        ("22P04", Verdict.FATAL),
        ("28P01", Verdict.FATAL),
        ("42501", Verdict.FATAL),
        ("54011", Verdict.FATAL),
        ("XX001", Verdict.FATAL),
        ("ZZ999", Verdict.FATAL),
        ("", Verdict.FATAL),
    ],
)
def test_verdicts(code: str | None, verdict: Verdict) -> None:
    assert classify(code) is verdict


def test_every_listed_code_is_one_of_postgresql() -> None:
    unknown = []
    for code in sqlstate.TABLE:
        try:
            pg.lookup(code)
        except KeyError:
            unknown.append(code)
    assert unknown == []


def test_no_code_is_listed_twice() -> None:
    listed = " ".join(sqlstate._CODES.values()).split()
    assert len(listed) == len(set(listed)) == len(sqlstate.TABLE)


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (psycopg.OperationalError("server closed"), DestinationUnavailable),
        (psycopg.InterfaceError("closed"), DestinationUnavailable),
        (psycopg.ProgrammingError("wrong use"), DestinationError),
        (psycopg.DataError("no NUL"), DestinationError),
        (pg.LockNotAvailable("x"), LockTimeout),
        (pg.AdminShutdown("x"), DestinationUnavailable),
        (pg.DiskFull("x"), DestinationUnavailable),
        (pg.CheckViolation("x"), DestinationError),
        (pg.DeadlockDetected("x"), DestinationUnavailable),
        (pg.ReadOnlySqlTransaction("x"), DestinationUnavailable),
        (pg.TooManyConnections("x"), DestinationUnavailable),
        (pg.InsufficientPrivilege("x"), DestinationError),
    ],
)
def test_translation(error: psycopg.Error, ours: type[DestinationError]) -> None:
    result = translated(error)
    assert type(result) is ours
    assert result.retryable is issubclass(ours, DestinationUnavailable)


@pytest.mark.parametrize("code", ["08007", "40003"])
def test_codes_that_leave_a_commit_open(code: str) -> None:
    assert sqlstate.unresolved(pg.lookup(code)("x"), lost=False)


def test_a_refused_commit_is_not_open() -> None:
    assert not sqlstate.unresolved(pg.SerializationFailure("x"), lost=False)
    assert sqlstate.unresolved(pg.AdminShutdown("x"), lost=True)


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (pg.FeatureNotSupported, True),
        (pg.DatatypeMismatch, True),
        (pg.ProgramLimitExceeded, True),
        (pg.RaiseException, True),
        (pg.LockNotAvailable, False),
        (pg.QueryCanceled, False),
        (pg.AdminShutdown, False),
        (pg.DiskFull, False),
        (pg.DataCorrupted, False),
        (psycopg.OperationalError, False),
    ],
)
def test_what_ddl_is_refused_for_good(
    error: type[psycopg.Error], refused: bool
) -> None:
    found = refusal(error("canary"))
    assert (found is not None) is refused
    assert found is None or (not found.retryable and "canary" not in str(found))


def test_every_code_of_the_classes_about_values_is_about_a_row() -> None:
    """But one: a COPY that is not framed as it should be is our own fault."""
    known = {
        error.sqlstate
        for error in vars(pg).values()
        if isinstance(error, type) and issubclass(error, psycopg.Error)
    }
    about_values = {code for code in known if code and code[:2] in ("22", "23", "P0")}
    assert len(about_values) > 60
    fatal = {code for code in about_values if classify(code) is not Verdict.ROW}
    assert fatal == {"22P04"}


def test_what_may_mend_itself_is_never_about_a_row() -> None:
    for code in sqlstate.TABLE:
        if code[:2] in ("08", "25", "40", "53", "57"):
            assert classify(code) is not Verdict.ROW, code


@pytest.mark.parametrize(
    ("error", "about_a_row"),
    [
        (pg.CheckViolation, True),
        (pg.RaiseException, True),
        (pg.ProgramLimitExceeded, True),
        (pg.DiskFull, False),
        (pg.DeadlockDetected, False),
        (pg.InsufficientPrivilege, False),
        (pg.BadCopyFileFormat, False),
        (psycopg.OperationalError, False),
    ],
)
def test_a_refused_row_says_nothing_of_its_values(
    error: type[psycopg.Error], about_a_row: bool
) -> None:
    found = sqlstate.refused(error("canary"))
    assert (found is not None) is about_a_row
    assert found is None or (not found.retryable and "canary" not in str(found))
