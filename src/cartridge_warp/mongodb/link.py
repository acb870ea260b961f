"""The connections to one MongoDB deployment, and how a command becomes raw bytes."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pymongo
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from bson.timestamp import Timestamp
from pymongo import MongoClient
from pymongo.client_session import ClientSession
from pymongo.errors import ConfigurationError, InvalidURI
from pymongo.read_preferences import ReadPreference, read_pref_mode_from_name
from pymongo.read_preferences import make_read_preference as preference
from pymongo.server_description import ServerDescription
from pymongo.uri_parser import split_options

from ..config import SourceSettings
from ..errors import ConfigError, SourceError
from ..model import ClusterTime
from .errors import translating

#: Nothing inside a reply is decoded.
_RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)

#: Servers this many seconds slower than the nearest are left alone, as drivers do.
_NEAR_SECONDS = 0.015

#: A server that says nothing for this long in the middle of an exchange is given up,
#: in milliseconds. Long, because the first reply of a cursor with a majority read
#: concern may wait for a slow secondary, and a large chunk for a cold disk; a server
#: that is gone, and not only slow, is noticed by the driver's monitor within seconds.
_SOCKET_MS = 120_000

#: How long the majority may take to confirm the primary, in milliseconds.
_CONFIRM_MS = 10_000

#: How long closing the connections may take.
_CLOSE_SECONDS = 1.0

#: Where the connection string stands in the settings.
_SETTING = "source.connection_string"

Client = MongoClient[dict[str, Any]]

#: A command; its name comes first.
Command = MutableMapping[str, Any]


class Pin:
    """The server that holds a cursor; None until its first command chose one."""

    def __init__(self) -> None:
        self.address: tuple[str, int | None] | None = None


class _Selector:
    """Sends a pinned cursor's commands to its server, from whatever thread.

    The driver asks it in the thread that sends the command. When the server is gone
    the command goes elsewhere, where it fails with CursorNotFound at once, which is
    quicker than to wait for a server that may not return.
    """

    def __init__(self) -> None:
        self._local = threading.local()

    @contextmanager
    def pinned(self, pin: Pin) -> Iterator[None]:
        self._local.pin = pin
        try:
            yield
        finally:
            self._local.pin = None

    def __call__(self, servers: Sequence[ServerDescription]) -> list[ServerDescription]:
        pin: Pin | None = getattr(self._local, "pin", None)
        if pin is None or not servers:
            return list(servers)
        for server in servers:
            if server.address == pin.address:
                return [server]
        limit = min(each.round_trip_time or 0.0 for each in servers) + _NEAR_SECONDS
        near = [each for each in servers if (each.round_trip_time or 0.0) <= limit]
        chosen = random.choice(near)
        pin.address = chosen.address
        return [chosen]


class Link:
    """One database, by raw commands. Any thread may call anything.

    reading: the read preference of everything but the change stream.  anonymous: the
    connection string names no user.  silence_ms: how long a server may be silent in the
    middle of an exchange.
    """

    def __init__(
        self,
        settings: SourceSettings,
        database: str,
        *,
        silence_ms: int = _SOCKET_MS,
    ) -> None:
        milliseconds = int(settings.connection_timeout * 1000)
        self._selector = _Selector()
        try:
            _check_options(settings.connection_string)
            self.client: Client = MongoClient(
                settings.connection_string,
                connect=False,
                appname="cartridge-warp",
                serverSelectionTimeoutMS=milliseconds,
                connectTimeoutMS=milliseconds,
                socketTimeoutMS=silence_ms,
                server_selector=self._selector,
            )
        except (InvalidURI, ConfigurationError, ValueError, OSError) as error:
            # The driver's words may quote the password.
            raise ConfigError(
                f"not a MongoDB URI ({type(error).__name__})",
                hint="write mongodb://USER:PASSWORD@HOST:27017/DATABASE?replicaSet=rs0,"
                " with special characters of the password written as %XX",
                setting=_SETTING,
            ) from None
        self.anonymous = _anonymous(settings.connection_string)
        self.name = database
        self.database = self.client[database]
        self._oplog_readable = True
        mode = read_pref_mode_from_name(settings.read_preference)
        self.reading = preference(mode, None)

    def ask(self, command: Command, *, admin: bool = False) -> dict[str, Any]:
        """The primary's reply to a small command, decoded."""
        database = self.client.admin if admin else self.database
        with translating(next(iter(command))):
            return database.command(command, read_preference=ReadPreference.PRIMARY)

    def newest_time(self) -> ClusterTime:
        """The newest time in the primary's oplog, committed or not; 0 for a standalone,
        which has no such time and no other member that could be behind."""
        time = self.ask({"ping": 1}, admin=True).get("operationTime")
        return 0 if time is None else _number(time)

    def confirmed_time(self) -> ClusterTime:
        """The same, of a primary that no other one has replaced when this was asked."""
        # The collection needs not exist: the server asks the majority all the same.
        self.ask(
            {
                "find": "cartridge_warp",
                "limit": 1,
                "singleBatch": True,
                "projection": {"_id": 1},
                "readConcern": {"level": "linearizable"},
                "maxTimeMS": _CONFIRM_MS,
            }
        )
        return self.newest_time()

    def oldest_time(self) -> ClusterTime | None:
        """The oldest time in the primary's oplog.

        None, and not asked for again, when that may not be read: it takes the role
        ``read`` on the database ``local``, and a mongos has no oplog to show.
        """
        if not self._oplog_readable:
            return None
        command = {
            "find": "oplog.rs",
            "sort": {"$natural": 1},
            "limit": 1,
            "singleBatch": True,
            "projection": {"ts": 1},
        }
        try:
            with translating("find"):
                reply = self.client["local"].command(command)
        except SourceError as error:
            if error.retryable:
                raise
            self._oplog_readable = False
            return None
        return next(
            (_number(each["ts"]) for each in reply["cursor"]["firstBatch"]), None
        )

    def committed_time(self) -> ClusterTime:
        """The same, once it is committed.

        A token of no event can have the very time of a write that is not committed
        yet, and comes without it. A stream read after this call holds everything up
        to the time that it returns.
        """
        time = self.newest_time()
        # The collection needs not exist: the server waits before it looks.
        self.ask(
            {
                "find": "cartridge_warp",
                "limit": 1,
                "singleBatch": True,
                "projection": {"_id": 1},
                "readConcern": majority(time),
            }
        )
        return time

    def wire_version(self) -> int:
        """The primary's wire protocol: 9 is MongoDB 4.4, 17 is 6.0.

        As the driver's monitor last heard it, so that reopening a stream does not wait
        for a server that is gone twice: here and for the command itself.
        """
        for each in self.client.topology_description.server_descriptions().values():
            if each.is_writable:
                return int(each.max_wire_version)
        return int(self.ask({"hello": 1}, admin=True)["maxWireVersion"])

    def command(
        self,
        command: Command,
        *,
        session: ClientSession,
        pin: Pin,
        primary: bool,
    ) -> bytes:
        """The raw reply of the pinned server. Raises the driver's errors."""
        with self._selector.pinned(pin):
            reply = self.database.command(
                command,
                session=session,
                codec_options=_RAW,
                read_preference=ReadPreference.PRIMARY if primary else self.reading,
            )
        return bytes(reply.raw)

    def hosts(self) -> str:
        """The servers that are known, as ``host:port, host:port``."""
        known = self.client.topology_description.server_descriptions()
        return ", ".join(sorted(f"{host}:{port}" for host, port in known))

    def kinds(self) -> set[str]:
        """What those servers are, in the driver's words: ``RSPrimary``, ``Unknown``."""
        known = self.client.topology_description.server_descriptions()
        return {each.server_type_name for each in known.values()}

    def close(self) -> None:
        # The driver tells a server of its sessions' end, and would wait for one that
        # is away; it forgets them by itself.
        with pymongo.timeout(_CLOSE_SECONDS):
            self.client.close()


def _anonymous(uri: str) -> bool:
    """The URI holds nothing by which the server could know us."""
    parts = urlsplit(uri)
    return parts.username is None and "authmechanism" not in parts.query.lower()


def _check_options(uri: str) -> None:
    """Refuse the options of a URI that the driver would only warn about.

    The option is named, unless the query may be part of a password that should have
    been written as %XX. The driver's words do not always name it.
    """
    query = urlsplit(uri).query
    if (fault := _fault(query)) is None:
        return
    if "@" in query:
        raise fault
    alone = (part for part in query.split("&") if _fault(part))
    name = next(alone, "").partition("=")[0]
    words = str(fault).partition(". Did you mean")[0]
    raise ConfigError(
        f"the option {name} of the URI is not usable: {words}"
        if name
        else f"an option of the URI is not usable: {words}",
        hint="correct it or take it out",
        setting=_SETTING,
    )


def _fault(query: str) -> Exception | None:
    """What the driver says against options of a URI; None to those that it takes."""
    try:
        if query:
            split_options(query, warn=False)
    except (ConfigurationError, ValueError, OSError) as error:
        return error
    return None


def _number(time: Timestamp) -> ClusterTime:
    return (int(time.time) << 32) | int(time.inc)


def majority(after: ClusterTime) -> dict[str, Any]:
    """The read concern: committed, and not older than ``after`` (0: any age)."""
    concern: dict[str, Any] = {"level": "majority"}
    if after:
        concern["afterClusterTime"] = Timestamp(after >> 32, after & 0xFFFF_FFFF)
    return concern
