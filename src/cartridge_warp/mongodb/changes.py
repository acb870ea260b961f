"""The change stream of one database, and how it is opened again."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bson.raw_bson import RawBSONDocument
from bson.timestamp import Timestamp
from pymongo.errors import AutoReconnect, PyMongoError, ServerSelectionTimeoutError

from cwarp_core import Reply

from ..errors import SourceError
from ..model import ClusterTime, Position
from . import token as tokens
from .errors import FOREIGN_HINT, Verdict, classify, translating
from .link import Link
from .portion import Portion
from .reader import RawCursor
from .stage import Stage

log = logging.getLogger(__name__)

#: A stream that breaks again this soon after it was reopened is left to the caller,
#: who waits longer and longer; seconds.
REOPEN_SECONDS = 1.0

#: A position may be this much newer than the source, in seconds: by one step where
#: nothing was written since, by more while the clock of a new primary is behind.
#: A server opens a stream at any later time, and says nothing until that has come.
AHEAD_SECONDS = 60


class MongoChanges:
    """The stream of every change after ``position``. One thread at a time.

    It starts behind a token where it can: ``startAfter`` takes every token, also that
    of an ``invalidate``, which ``resumeAfter`` refuses. A token of another kind of
    stream, and one that MongoDB does not find, gives only its time. The changes of
    that time come again then, and so do tokens that sort before the position. Nothing
    ever starts from now.

    An event that is too large for a reply comes without its document, whatever its
    operation; see ``Portion``.

    stage: what the stream tells.  batch_size: events asked for at once.
    """

    def __init__(
        self, link: Link, position: Position, stage: Stage, batch_size: int
    ) -> None:
        self._link = link
        self._stage = stage
        self._portion = Portion(batch_size)
        self._token = position.token
        self._by_time = False
        self._unknown: ClusterTime | None = None
        self._reopened = -REOPEN_SECONDS
        self._cursor: RawCursor | None = None
        _check_age(position.token, link)
        if position.stream != stage.fingerprint:
            self._begin_by_time("its token is one of a stream with other settings")
        with translating("change stream"):
            self._first: Reply | None = self._open()

    def read(self, patience: float = 1.0) -> Reply:
        """The next reply; see ``protocols.Changes``."""
        reply, self._first = self._first, None
        if reply is None:
            reply = self._next(patience)
        if (token := reply.post_batch_resume_token) is not None:
            self._token, self._by_time = token, False
        elif len(reply):
            raise SourceError(
                "MongoDB sent change events without a post-batch resume token",
                hint="check that the server is MongoDB 4.4 or newer",
            )
        if self._portion.received(len(reply)):
            self.close()
        return reply

    def _next(self, patience: float) -> Reply:
        with translating("change stream"):
            # An invalidate ends the cursor, and history goes on behind it.
            if self._cursor is None or not self._cursor.alive:
                return self._open()
            try:
                return self._cursor.more(
                    batchSize=self._portion.size,
                    maxTimeMS=max(round(patience * 1000), 1),
                )
            except PyMongoError as error:
                verdict = classify(error)
                if self._adapts(verdict):
                    return self._open()
                if verdict not in (Verdict.RESUME, Verdict.RETRY):
                    raise
                if isinstance(error, ServerSelectionTimeoutError):
                    raise  # a whole timeout was waited already
                now = time.monotonic()
                if now - self._reopened < REOPEN_SECONDS:
                    raise
                self._reopened = now
                return self._open()

    def _open(self) -> Reply:
        """A new cursor on the primary, after the last token that was read."""
        while True:
            self.close()
            self._cursor = RawCursor(self._link, primary=True)
            portion = self._portion
            command = self._stage.opening(
                self._start(), portion.size, slim=portion.slim
            )
            try:
                return self._cursor.open(command)
            except PyMongoError as error:
                # A server that cannot build its reply closes the connection (seen on
                # 6.0, where event and token together are larger than 16 MB).
                cut = type(error) is AutoReconnect
                if not self._adapts(Verdict.SLIM if cut else classify(error)):
                    raise

    def _start(self) -> Mapping[str, Any]:
        if not self._by_time:
            return {"startAfter": RawBSONDocument(self._token)}
        when = tokens.cluster_time(self._token)
        return {"startAtOperationTime": Timestamp(when >> 32, when & 0xFFFF_FFFF)}

    def _adapts(self, verdict: Verdict) -> bool:
        """Whether opening the stream in another way may help, which is prepared."""
        if verdict is Verdict.SLIM:
            return self._portion.smaller()
        return verdict is Verdict.TIME and self._begin_by_time(
            "MongoDB does not find the change that its token names"
        )

    def _begin_by_time(self, reason: str) -> bool:
        """Begin with the time of the token. False when that was tried already."""
        when = tokens.cluster_time(self._token)
        if when == self._unknown:
            return False
        self._by_time, self._unknown = True, when
        log.warning(
            "the change stream begins with the time of the position (%s), because %s",
            datetime.fromtimestamp(when >> 32, UTC).isoformat(),
            reason,
        )
        return True

    def position_of(self, token: bytes) -> Position:
        """The position of a token; only decodes."""
        return tokens.position(token, self._stage.fingerprint)

    def close(self) -> None:
        """Free the cursor; safe to call twice."""
        cursor, self._cursor = self._cursor, None
        if cursor is not None:
            cursor.close()


def position_now(link: Link, stage: Stage) -> Position:
    """The newest place in history: what a stream opened now begins behind."""
    with translating("change stream"):
        cursor = RawCursor(link, primary=True)
        try:
            reply = cursor.open(stage.opening({}, 0))
            # A reply without a token (a database mongos does not know yet) has none
            # later either, so there is nothing to wait for.
            if (token := reply.post_batch_resume_token) is None:
                raise SourceError(
                    "MongoDB gives no position for the database",
                    hint="make a collection in it first",
                )
        finally:
            cursor.close()
    return tokens.position(token, stage.fingerprint)


def _check_age(token: bytes, link: Link) -> None:
    """Refuse a token of the future: it is of another history."""
    ahead = (tokens.cluster_time(token) >> 32) - (link.newest_time() >> 32)
    if ahead > AHEAD_SECONDS:
        raise SourceError(
            f"the stored position is {ahead} seconds newer than anything in the source",
            hint=FOREIGN_HINT,
        )
