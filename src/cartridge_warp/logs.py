"""Logging: one handler on stderr, text or JSON, with run id and schema, redacted.

Library modules use ``logging.getLogger(__name__)`` with ``%s`` arguments and
``extra``; only the command line calls ``configure``. Credentials never leave this
module in any level; resume tokens, ``_id`` values and other data never at INFO or
above.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import sys
from collections.abc import Iterator, MutableMapping
from typing import Any, TextIO
from urllib.parse import unquote

import structlog

#: Fields of ``extra`` that hold data or places in history: shown at DEBUG only.
DATA_FIELDS = frozenset(
    {"_id", "id", "key", "keys", "value", "values", "row", "document", "raw"}
    | {"token", "resume_token", "post_batch_resume_token", "position"}
)
#: Fields that are never shown.
SECRET_FIELDS = frozenset({"password", "passwd", "pwd", "secret"})
HIDDEN = "***"

# The user information of a URI. Greedy up to the last "@" of the word, because a
# password with an unescaped "@" or "/" must not be cut in half and shown. What stays is
# a name without a password, so that a command can be run as it is told, and a hint's
# USER:PASSWORD@HOST, and nothing but that.
_URI_USER = re.compile(
    r"(\b[a-z][a-z0-9+.-]*://)"
    r"(?!(?:[^\s'\":/?#@]*@|USER:PASSWORD@HOST)[^\s'\"@]*(?:[\s'\"]|$))[^\s'\"]*@",
    re.IGNORECASE,
)
_URI_PASSWORD = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)([^\s'\"]*)@", re.I)
# password=... of a libpq string or a URI's query; "password": ... of JSON or a dict.
_ASSIGNMENT = re.compile(
    r"\b(\w*(?:password|passwd|pwd))(['\"]?\s*=\s*|['\"]\s*:\s*)"
    r"('[^']*'|\"[^\"]*\"|[^\s&,;}]+)",
    re.IGNORECASE,
)
# MongoDB's resume tokens are hexadecimal key strings that start with type 0x82.
_TOKEN = re.compile(r"\b82[0-9A-Fa-f]{30,}\b")
_OBJECT_ID = re.compile(r"ObjectId\(\s*['\"][0-9a-fA-F]{24}['\"]\s*\)")
# PostgreSQL puts rows and values into these parts of an error: "Key (id)=(7) ...".
_SERVER_DETAIL = re.compile(r"\n?\s*\b(?:DETAIL|CONTEXT):.*", re.DOTALL)

_secrets: set[str] = set()


def hide(uri: str) -> None:
    """Never show the password of this connection string, in whatever form it comes.

    A password of fewer than four characters is left to the patterns alone: replacing
    it everywhere would make the log unreadable without hiding anything.
    """
    if (match := _URI_PASSWORD.search(uri)) is not None:
        for password in {match[2], unquote(match[2])}:
            hide_word(password)


def hide_word(secret: str) -> None:
    """Never show this word; one of fewer than four characters is not looked for."""
    if len(secret) >= 4:
        _secrets.add(secret)


def forget() -> None:
    """Forget what ``hide`` was given: a process that runs one job after another."""
    _secrets.clear()


def redact(text: str) -> str:
    """The text without credentials. For everything a person or a file will see."""
    text = _URI_USER.sub(rf"\1{HIDDEN}@", text)
    text = _ASSIGNMENT.sub(rf"\1\2{HIDDEN}", text)
    # Longest first, so that a password inside another one leaves no remainder.
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def redact_data(text: str) -> str:
    """The text without credentials, resume tokens and values a server quoted."""
    text = _SERVER_DETAIL.sub("", redact(text))
    return _OBJECT_ID.sub("ObjectId(***)", _TOKEN.sub("<token>", text))


def _clean(name: str, value: object, *, data: bool) -> object:
    """One field as it may be shown; ``data`` says whether data may be."""
    lowered = name.lower()
    if lowered in SECRET_FIELDS or (not data and lowered in DATA_FIELDS):
        return HIDDEN
    if isinstance(value, str):
        return redact(value) if data else redact_data(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if isinstance(value, dict):
        return {k: _clean(str(k), v, data=data) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(name, item, data=data) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return _clean(name, str(value), data=data)


def _redacted(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """The last processor before rendering: nothing passes it unseen."""
    data = event.get("level") == "debug"
    for name, value in event.items():
        if not name.startswith("_"):  # structlog's own record and flags
            event[name] = _clean(name, value, data=data)
        elif name == "_id":
            event[name] = value if data else HIDDEN
    return event


def _with_run(run_id: str) -> structlog.typing.Processor:
    """Add the run id in every thread; context variables end where a thread starts."""

    def add(
        _logger: object, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        event.setdefault("run_id", run_id)
        return event

    return add


@contextlib.contextmanager
def context(**fields: str) -> Iterator[None]:
    """Add fields (``schema=...``) to every log line of this thread inside the block."""
    with structlog.contextvars.bound_contextvars(**fields):
        yield


class _Handler(logging.StreamHandler[TextIO | io.TextIOBase]):
    """Keeps lines back while ``holding``; an error is never kept back."""

    def __init__(self, stream: TextIO | io.TextIOBase, holding: bool) -> None:
        super().__init__(stream)
        self.holding = holding
        self._held: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if self.holding and record.levelno < logging.ERROR:
            # Formatted now: the time and the thread's fields are those of the event.
            self._held.append(self.format(record) + self.terminator)
        else:
            super().emit(record)

    def let_go(self) -> None:
        with self.lock or contextlib.nullcontext():
            self.holding, held, self._held = False, self._held, []
            self.stream.write("".join(held))
            self.flush()


def release() -> None:
    """Write the lines that were held, and hold none from here on."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _Handler):
            handler.let_go()


class _Stderr(io.TextIOBase):
    """Whatever ``sys.stderr`` is at the moment: the live table stands in for it."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()

    def isatty(self) -> bool:
        return sys.stderr.isatty()


def configure(
    *,
    level: str = "INFO",
    style: str = "auto",
    run_id: str = "",
    stream: TextIO | None = None,
    hold: bool = False,
) -> None:
    """Send every log line of the process to ``stream`` (stderr).

    hold: keep lines below ERROR back until ``release``, so that of a start that fails
    nothing is seen but why; level DEBUG holds nothing.

    level: a name of ``logging``.  style: "text", "json" or "auto" (text on a
    terminal).  Calling it again replaces the handler.
    """
    out = _Stderr() if stream is None else stream
    as_text = style == "text" or (style == "auto" and out.isatty())
    common: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _with_run(run_id),
        structlog.processors.format_exc_info,
        _redacted,
    ]
    renderer: structlog.typing.Processor
    if as_text:
        renderer = structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0)
    else:
        renderer = structlog.processors.JSONRenderer(ensure_ascii=False)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=common,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            renderer,
        ],
    )
    handler = _Handler(out, hold and level.upper() != "DEBUG")
    handler.setFormatter(formatter)
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    # The driver logs every command and server event below WARNING; those records
    # hold documents.
    for driver in ("pymongo", "psycopg"):
        logging.getLogger(driver).setLevel(max(root.level, logging.WARNING))
