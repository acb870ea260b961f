"""The change stream's reader: one thread that reads ahead, within bounds."""

from __future__ import annotations

import collections
import contextlib
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from cwarp_core import Reply

from ..errors import WarpError
from ..killpoint import reached
from ..model import Position
from ..protocols import Changes
from ..retry import Stopped
from .line import Line

#: A reply waiting is read ahead; more would only be memory.
MAX_REPLIES = 4
MAX_BYTES = 64 << 20

#: How long ``close`` waits for a read that is under way.
CLOSE_SECONDS = 5.0


class Feed:
    """Replies of the change stream after ``position``, in order, one at a time.

    Lives through every outage of the source: it reopens the stream after the last
    reply it read. Use as a context manager.
    """

    def __init__(self, line: Line, position: Position) -> None:
        self._line = line
        self._after = position
        self._changes: Changes | None = None
        self._decode: Callable[[bytes], Position]
        self._replies: collections.deque[Reply] = collections.deque()
        self._nbytes = 0
        self._failure: BaseException | None = None
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._thread = line.thread(self._read_all, "reader")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closed.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(CLOSE_SECONDS)

    @property
    def queued(self) -> int:
        """Replies read and not yet taken."""
        return len(self._replies)

    def next(self, timeout: float) -> Reply | None:
        """The next reply; None when there is none after ``timeout`` seconds.

        Raises what ended the reading, once the replies before it are taken.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._replies or self._failure is not None, timeout
            )
            if self._replies:
                reply = self._replies.popleft()
                self._nbytes -= reply.nbytes
                self._changed.notify_all()
                return reply
            if self._failure is not None:
                raise self._failure
            return None

    def position_of(self, token: bytes) -> Position:
        """The position of a token that came with one of the replies."""
        return self._decode(token)

    def _read_all(self) -> None:
        try:
            while not self._closed.is_set():
                reply = self._line.retry(self._read, wait=self._closed.wait)
                if not self._put(reply):
                    return
        except Stopped:
            pass
        except BaseException as error:
            with self._changed:
                self._failure = error
                self._changed.notify_all()
        finally:
            self._close_changes()

    def _read(self) -> Reply:
        if self._changes is None:
            changes = self._line.source.changes(self._after)
            self._changes, self._decode = changes, changes.position_of
            reached("stream_open")
        try:
            reply = self._changes.read()
        except BaseException:
            self._close_changes()
            raise
        if (token := reply.post_batch_resume_token) is not None:
            self._after = self._decode(token)
        return reply

    def _put(self, reply: Reply) -> bool:
        """Queue a reply as soon as there is room; False when nobody wants it."""
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._closed.is_set()
                    or not self._replies
                    or (
                        len(self._replies) < MAX_REPLIES
                        and self._nbytes + reply.nbytes <= MAX_BYTES
                    )
                )
            )
            if self._closed.is_set():
                return False
            self._replies.append(reply)
            self._nbytes += reply.nbytes
            self._changed.notify_all()
            return True

    def _close_changes(self) -> None:
        changes, self._changes = self._changes, None
        if changes is not None:
            with contextlib.suppress(WarpError):
                changes.close()
