"""The small HTTP servers: is the process alive, is it working, what are its figures.

They answer from what the process knows already; a probe never reaches a database.
"""

from __future__ import annotations

import errno
import http.server
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from . import __version__, logs
from .engine.views import Phase, SchemaView, View
from .errors import ConfigError

log = logging.getLogger(__name__)

#: A loop of the engine that has not turned for this long is stuck.
HEARTBEAT_SECONDS = 30.0
#: Behind the source and at one position for this long: not ready, however alive.
STUCK_SECONDS = 60.0

_ACTIVE = frozenset(
    {Phase.STARTING, Phase.STANDBY, Phase.COPYING, Phase.STREAMING}
    | {Phase.READING, Phase.WAITING}
)


class Answer(msgspec.Struct, frozen=True):
    """One reply: HTTP status, media type and body."""

    status: int
    content_type: str
    body: bytes


Route = Callable[[], Answer]


def as_json(value: object, *, ok: bool = True) -> Answer:
    """200 when ``ok``, else 503, as probes expect it."""
    status = HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE
    return Answer(status, "application/json", msgspec.json.encode(value) + b"\n")


class Endpoint:
    """One HTTP server in a thread of its own, GET and HEAD only.

    setting: where the port was configured, for the error.  port: 0 takes a free one;
    the attribute says which.  Raises ConfigError when the port cannot be had.
    """

    def __init__(
        self, setting: str, host: str, port: int, routes: Mapping[str, Route]
    ) -> None:
        try:
            self._server = _server(host, port, routes)
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"cannot listen on {host}:{port}: {_reason(error)}",
                hint="take another port, or 0 for a free one",
                setting=setting,
            ) from error
        self.host = host
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.1},
            name=f"http-{self.port}",
            daemon=True,
        )
        self._thread.start()
        log.info(
            "serving http",
            extra={"setting": setting, "host": host, "port": self.port}
            | {"paths": sorted(routes)},
        )

    def close(self) -> None:
        """Stop answering and give the port back."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def routes(read: Callable[[], View]) -> dict[str, Route]:
    """What is answered about the schemas of this process.

    ``/health``: the loops turn; a server that is away does not change that, because a
    restart would not bring it back.  ``/ready``: both ends are connected, the schema
    is ours and moving.  ``/startup``: every schema has begun its work.
    ``/status.json``: the whole progress; always 200.
    """

    def probe(problem: Callable[[SchemaView, float], str]) -> Route:
        def answer() -> Answer:
            view = read()
            found = {
                each.name: text
                for each in view.schemas
                if (text := problem(each, view.taken))
            }
            return as_json({"ok": not found, "problems": found}, ok=not found)

        return answer

    def answer_ready() -> Answer:
        if not read().schemas:
            problems = {"": "no schema has been started"}
            return as_json({"ok": False, "problems": problems}, ok=False)
        return probe(not_ready)()

    return {
        "/health": probe(not_healthy),
        "/ready": answer_ready,
        "/startup": probe(not_started),
        "/status.json": lambda: as_json(status(read())),
    }


def not_healthy(schema: SchemaView, now: float) -> str:
    """Why this schema's loops are not alive; "" when they are."""
    silent = now - schema.turned
    if schema.phase in _ACTIVE and silent > HEARTBEAT_SECONDS:
        return f"no loop has turned for {silent:.0f} s"
    return ""


def not_started(schema: SchemaView, _now: float) -> str:
    """Why this schema has not begun; "" once it has."""
    return "still starting" if schema.phase is Phase.STARTING else ""


def not_ready(schema: SchemaView, now: float) -> str:
    """Why this schema's rows are not being kept up to date; "" when they are."""
    if schema.phase is Phase.FAILED:
        return "failed"
    if schema.phase is Phase.STANDBY:
        return "standing by: another process owns the schema"
    if schema.phase not in _ACTIVE:
        return ""
    if not schema.connected:
        return "not connected"
    if problem := not_started(schema, now) or not_healthy(schema, now):
        return problem
    # Not the last commit: a copy goes on beside a stream that stands still.
    still = now - (schema.moved or schema.turned)
    if (schema.lag_seconds or 0.0) > STUCK_SECONDS and still > STUCK_SECONDS:
        return f"behind the source, and the position stands still for {still:.0f} s"
    return _overdue(schema, now)


def _overdue(schema: SchemaView, now: float) -> str:
    """Why a table of batch mode is not read when it should be; "" when all are."""
    for table in schema.tables:
        if table.phase is Phase.WAITING and table.next_pass is not None:
            late = now - table.next_pass
            if late > STUCK_SECONDS:
                return f"a pass over {table.collection} is {late:.0f} s late"
    return ""


def status(view: View) -> dict[str, Any]:
    """The view as plain data; errors without credentials and values."""
    plain: dict[str, Any] = msgspec.to_builtins(view)
    for schema in plain["schemas"]:
        for part in (schema, *schema["tables"]):
            part["last_error"] = logs.redact_data(part["last_error"])
    return {"version": __version__, **plain}


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return "the port is in use"
    if isinstance(error, OverflowError):
        return "not a port number"
    return getattr(error, "strerror", None) or str(error)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    # A client that holds its connection open must not hold up the end of the process.
    block_on_close = False

    def server_bind(self) -> None:
        # Not HTTPServer's: that one asks the name service for our own name.
        super(http.server.HTTPServer, self).server_bind()


def _server(host: str, port: int, routes: Mapping[str, Route]) -> _Server:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET

    class Server(_Server):
        address_family = family

    return Server((host, port), _handler(routes))


def _handler(
    routes: Mapping[str, Route],
) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version = "cartridge-warp"
        sys_version = ""
        timeout = 10

        def do_GET(self) -> None:
            answer = _answer(routes, self.path.partition("?")[0])
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            log.debug(format, *args)

    return Handler


def _answer(routes: Mapping[str, Route], path: str) -> Answer:
    route = routes.get(path)
    if route is None:
        known = "".join(f"{each}\n" for each in sorted(routes))
        return Answer(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", known.encode())
    try:
        return route()
    except Exception:
        log.exception("a probe failed", extra={"path": path})
        return as_json({"error": "see the log"}, ok=False)
