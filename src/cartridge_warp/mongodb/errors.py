"""What an error of MongoDB means for the work: the one table, and the translation.

By code, by label and by the driver's class; never by text, and never showing the
server's text, which may quote ids out of a refused command.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from bson.errors import BSONError
from pymongo.errors import (
    ConfigurationError,
    ConnectionFailure,
    OperationFailure,
    PyMongoError,
)

from cwarp_core import CorruptBSON

from ..errors import HistoryLost, SourceError, SourceUnavailable


class Verdict(StrEnum):
    """resume: an open stream is reopened after its last token; others try again.

    retry: waiting may mend it.  time: the token is of no use, the stream is opened at
    its time.  slim: a change event is too large, it is read without its document.
    history: the oplog no longer holds the position.  fatal: somebody has to act; what
    is not listed is fatal. Where there is no stream, ``time`` and ``slim`` are fatal.
    """

    RESUME = "resume"
    RETRY = "retry"
    TIME = "time"
    SLIM = "slim"
    HISTORY = "history"
    FATAL = "fatal"


#: The server sets it on every error after which a change stream may be resumed.
RESUMABLE_LABEL = "ResumableChangeStreamError"

#: Labels with which a server says that it only has too much to do.
_RETRY_LABELS = ("RetryableError", "SystemOverloadedError")

#: What the stages of a resume token's parser say to one that is cut, empty, of another
#: make or of a later version (seen on 6.0): FailedToParse Overflow InvalidResumeToken,
#: and places in the code without a name.
_FOREIGN = (9, 15, 260, 40647, 40649, 50795, 50796, 50811)

#: Numbers and names are those of MongoDB's ``error_codes.yml``.
TABLE: dict[int, Verdict] = {
    # CursorNotFound, CappedPositionLost: a cursor that fell behind the oplog. Whether
    # the position fell behind it too is what reopening the stream shows.
    **dict.fromkeys((43, 136), Verdict.RESUME),
    # HostUnreachable HostNotFound NetworkTimeout ShutdownInProgress SocketException
    # NetworkInterfaceExceededTimeLimit ConnectionPoolExpired
    **dict.fromkeys((6, 7, 89, 91, 9001, 202, 317), Verdict.RETRY),
    # NotWritablePrimary PrimarySteppedDown NotPrimaryNoSecondaryOk
    # NotPrimaryOrSecondary InterruptedDueToReplStateChange LegacyNotPrimary
    # ElectionInProgress
    **dict.fromkeys(
        (10107, 189, 13435, 13436, 11602, 10058, 216),
        Verdict.RETRY,
    ),
    # MaxTimeMSExpired ExceededTimeLimit Interrupted InterruptedAtShutdown
    # ClientMarkedKilled
    **dict.fromkeys((50, 262, 11601, 11600, 46841), Verdict.RETRY),
    # LockTimeout WriteConflict QueryPlanKilled CursorKilled CursorInUse
    # TemporarilyUnavailable
    **dict.fromkeys((24, 112, 175, 237, 12051, 365), Verdict.RETRY),
    # ReadConcernMajorityNotAvailableYet SnapshotUnavailable SnapshotTooOld
    # RetryChangeStream FailedToSatisfyReadPreference
    **dict.fromkeys((134, 246, 239, 234, 133), Verdict.RETRY),
    # StaleShardVersion StaleEpoch StaleConfig StaleDbVersion ShardNotFound
    **dict.fromkeys((63, 150, 13388, 249, 70), Verdict.RETRY),
    # ChangeStreamFatalError: the token's event was not found.
    280: Verdict.TIME,
    # BSONObjectTooLarge, and a string too large inside one
    **dict.fromkeys((10334, 16493), Verdict.SLIM),
    # ChangeStreamHistoryLost
    286: Verdict.HISTORY,
    # Unauthorized AuthenticationFailed AtlasError
    **dict.fromkeys((13, 18, 8000), Verdict.FATAL),
    **dict.fromkeys(_FOREIGN, Verdict.FATAL),
    # NamespaceNotFound NoMatchingDocument CommandNotSupportedOnView, and a stream of a
    # collection that is not there: nothing that we ask for can end so.
    **dict.fromkeys((26, 47, 166, 40615), Verdict.FATAL),
}

#: Codes that say "not with these credentials".
CREDENTIALS = frozenset({18, 8000})
UNAUTHORIZED = 13

_RIGHTS = "check the user, the password and authSource in the connection string"
FOREIGN_HINT = (
    "the stored position does not fit this source's history; "
    "check that it is the same cluster, or copy into a new schema"
)
_LARGE_HINT = (
    "a document whose _id is larger than about 3 MB was written, and no change stream "
    "can tell of it; delete it and copy into a new schema"
)
_HINTS = {
    13: "grant the user the role `read` on the database",
    18: _RIGHTS,
    8000: _RIGHTS,
    280: FOREIGN_HINT,
    **dict.fromkeys(_FOREIGN, FOREIGN_HINT),
    **dict.fromkeys((10334, 16493), _LARGE_HINT),
}
_HISTORY_HINT = (
    "make the oplog longer, so that it does not happen again (replSetResizeOplog, "
    "minRetentionHours)"
)


def classify(error: PyMongoError) -> Verdict:
    """The verdict on an error of the driver."""
    if isinstance(error, OperationFailure) and error.code is not None:
        known = TABLE.get(error.code, Verdict.FATAL)
        if known is not Verdict.HISTORY and error.has_error_label(RESUMABLE_LABEL):
            return Verdict.RESUME
        if any(map(error.has_error_label, _RETRY_LABELS)):
            return Verdict.RETRY
        return known
    return Verdict.RETRY if isinstance(error, ConnectionFailure) else Verdict.FATAL


def translated(error: PyMongoError, doing: str) -> SourceError:
    """Our error for one of the driver's. doing: the command's name."""
    verdict = classify(error)
    if not isinstance(error, OperationFailure) or error.code is None:
        kind = type(error).__name__
        if verdict is Verdict.RETRY:
            return SourceUnavailable(
                f"MongoDB cannot be reached ({doing}: {kind})",
                hint="check that a primary is up and can be reached from here",
            )
        return SourceError(
            f"the MongoDB driver refused {doing}: {kind}",
            hint="check the connection string; the name of a mongodb+srv:// URI has to "
            "be one that the name service knows"
            if isinstance(error, ConfigurationError)
            else "",
        )
    name = (error.details or {}).get("codeName", "error")
    message = f"MongoDB refused {doing}: {name} ({error.code})"
    if verdict is Verdict.HISTORY:
        return HistoryLost(message, hint=_HISTORY_HINT)
    if verdict in (Verdict.RESUME, Verdict.RETRY):
        return SourceUnavailable(message, hint="this passes by itself")
    return SourceError(message, hint=_HINTS.get(error.code, ""))


@contextmanager
def translating(doing: str) -> Iterator[None]:
    """Turn what the driver raises, and replies that are not sound, into our errors."""
    try:
        yield
    except PyMongoError as error:
        raise translated(error, doing) from error
    except (BSONError, CorruptBSON) as error:
        raise SourceError(
            f"MongoDB's reply to {doing} cannot be read",
            hint="check the network and the server's log, and report this",
        ) from error
