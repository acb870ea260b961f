"""Can MongoDB be read and followed? Each failure in one line, with its fix."""

from __future__ import annotations

import hashlib
import logging
from typing import Any

from pymongo.errors import OperationFailure, PyMongoError

from ..errors import PreconditionError, SourceError
from ..model import SourceIdentity
from .changes import position_now
from .errors import CREDENTIALS, UNAUTHORIZED
from .link import Link
from .stage import IMAGES_WIRE, Stage

log = logging.getLogger(__name__)

_MIN_WIRE = 9
_BAD_VALUE = 2
_COMMAND_NOT_FOUND = 59

#: The driver's words for a server that has not answered, and for one that was started
#: with --replSet and never initiated.
_UNKNOWN = "Unknown"
_GHOST = "RSGhost"
_NOT_INITIATED = "{} is of a replica set that was never initiated"
_INITIATE = "run rs.initiate() once"

#: MongoDB's own databases, and how many others a hint names.
_OWN = frozenset({"admin", "config", "local"})
_SHOWN = 10


def check(link: Link, full_document: str | None, *, new: bool = True) -> SourceIdentity:
    """Raise PreconditionError for the first thing that is missing.

    full_document: the setting; None where no change stream is wanted.  new: the
    database has to exist; the position of an earlier start outlives it.
    """
    try:
        hello = link.ask({"hello": 1}, admin=True)
        version = str(link.ask({"buildInfo": 1}, admin=True)["version"])
        _check_server(hello, version, streams=full_document is not None)
        if not _has_collections(link) and new:
            raise PreconditionError(
                f"the database {link.name} does not exist, or has no collection",
                hint="check the database's name (capital letters count), or make a "
                f"collection in it{_databases(link)}",
            )
        if full_document is not None:
            _check_stream(link, hello, full_document)
        return SourceIdentity(_identity(link, hello), version)
    except SourceError as error:
        raise _precondition(link, error) from error


def _check_server(hello: dict[str, Any], version: str, *, streams: bool) -> None:
    if hello["maxWireVersion"] < _MIN_WIRE:
        raise PreconditionError(
            f"the server is MongoDB {version}; 4.4 or newer is needed",
            hint="upgrade the server, or name another in the connection string",
        )
    if hello.get("msg") == "isdbgrid":
        return
    if hello.get("isreplicaset"):
        raise PreconditionError(_NOT_INITIATED.format("the server"), hint=_INITIATE)
    if _is_standalone(hello):
        if not streams:
            return
        raise PreconditionError(
            "the server is a standalone and no member of a replica set: "
            "it keeps no history to follow",
            hint="restart it with --replSet rs0 and run rs.initiate() once, or read "
            "it in batch mode: source.change_detection_strategy: timestamp",
        )
    if not hello.get("isWritablePrimary"):
        raise PreconditionError(
            "the connection leads to one member that is not the primary",
            hint="take directConnection out of the connection string, and name the "
            "set: ?replicaSet=" + str(hello["setName"]),
        )


def _is_standalone(hello: dict[str, Any]) -> bool:
    return hello.get("msg") != "isdbgrid" and "setName" not in hello


def _check_stream(link: Link, hello: dict[str, Any], full_document: str) -> None:
    """A stream like the one that will be read opens."""
    images = full_document == "post_image"
    old = hello["maxWireVersion"] < IMAGES_WIRE
    try:
        if not (images and old):
            position_now(link, Stage.of(link, full_document))
            return
    except SourceError as error:
        # A server of 6.0 that still behaves like an older one does not know the word.
        cause = error.__cause__
        known = isinstance(cause, OperationFailure) and cause.code == _BAD_VALUE
        if not (images and known):
            raise
    raise PreconditionError(
        "full_document: post_image needs MongoDB 6.0 with the feature compatibility "
        "version 6.0",
        hint="take `full_document: lookup`, which needs nothing",
    )


def _has_collections(link: Link) -> bool:
    command = {"listCollections": 1, "nameOnly": True, "cursor": {"batchSize": 1}}
    return bool(link.ask(command)["cursor"]["firstBatch"])


def _databases(link: Link) -> str:
    """Which databases there are, for a hint; nothing when the user may not know."""
    command = {"listDatabases": 1, "nameOnly": True, "authorizedDatabases": True}
    try:
        listed = link.ask(command, admin=True)["databases"]
    except SourceError:
        return ""
    names = sorted(each["name"] for each in listed if each["name"] not in _OWN)
    shown = ", ".join([*names[:_SHOWN], *(["..."] if len(names) > _SHOWN else [])])
    return f"; there are: {shown}" if shown else ""


def _precondition(link: Link, error: SourceError) -> PreconditionError:
    """The same fault, said as something to mend before the start."""
    cause = error.__cause__
    code = cause.code if isinstance(cause, OperationFailure) else None
    if code in CREDENTIALS:
        return PreconditionError(
            "authentication failed: MongoDB refused the credentials", hint=error.hint
        )
    if code == UNAUTHORIZED and link.anonymous:
        return PreconditionError(
            "MongoDB requires authentication, and the connection string names no user",
            hint="write mongodb://USER:PASSWORD@HOST:27017/DATABASE?authSource=admin, "
            "where authSource is the database that knows the user",
        )
    if code == UNAUTHORIZED:
        return PreconditionError(
            f"the user may not read or follow the database {link.name}",
            hint=f'db.grantRolesToUser(USER, [{{role: "read", db: "{link.name}"}}])',
        )
    if error.retryable and code is None:
        return _unreachable(link)
    return PreconditionError(str(error), hint=error.hint)


def _unreachable(link: Link) -> PreconditionError:
    """By what the driver's monitor heard: nothing, a stranger, or no primary."""
    hosts, kinds = link.hosts(), link.kinds()
    if not kinds:
        return PreconditionError(
            "no server is a member of the replica set that is named",
            hint="correct replicaSet in the connection string: rs.conf()._id has it; a "
            "standalone server is in none: restart it with --replSet and "
            f"{_INITIATE}, or read it in batch mode, without replicaSet",
        )
    if _GHOST in kinds:
        return PreconditionError(_NOT_INITIATED.format(hosts), hint=_INITIATE)
    if kinds == {_UNKNOWN}:
        return PreconditionError(
            f"MongoDB cannot be reached at {hosts}",
            hint="check that it is running there and that no firewall is between, and "
            "host, port and tls in the connection string",
        )
    return PreconditionError(
        f"MongoDB answers and has no primary: {hosts}",
        hint="wait for the election, and check that the names its members have for "
        "each other (rs.conf().members) can be reached from here",
    )


def _identity(link: Link, hello: dict[str, Any]) -> str:
    """What tells this deployment from every other.

    The id that MongoDB gave the replica set or the sharded cluster, when the user may
    read it (role ``clusterMonitor``). A standalone has none; it is known by that of a
    collection which every server makes at its first start, and keeps. Else the set's
    name and a digest of its hosts, which every user may read: two deployments that live
    at once never share a host. That one changes when members come or go, which then has
    to be confirmed by a person: a false stop, never a false pass.
    """
    sharded, alone = hello.get("msg") == "isdbgrid", _is_standalone(hello)
    try:
        if alone:
            known = _made_at_first_start(link)
        elif sharded:
            found = link.client["config"]["version"].find_one({}, {"clusterId": 1})
            known = (found or {}).get("clusterId")
        else:
            config = link.ask({"replSetGetConfig": 1}, admin=True)["config"]
            known = config.get("settings", {}).get("replicaSetId")
    except (PyMongoError, SourceError) as error:
        cause = error.__cause__ if isinstance(error, SourceError) else error
        refused = isinstance(cause, OperationFailure) and cause.code in (
            UNAUTHORIZED,
            _COMMAND_NOT_FOUND,
        )
        if not refused:
            raise
        known = None
    if known is not None:
        return f"standalone/{known}" if alone else str(known)
    log.warning(
        "the user may not read the cluster's id, so it is known by its hosts; "
        "after a change of members the stored marker will not be recognised",
        extra={
            "hint": "grant the role read on the database admin before the first start"
            if alone
            else "grant the role clusterMonitor before the first start"
        },
    )
    hosts = sorted(
        [*hello.get("hosts", ()), *hello.get("passives", ())]
        or link.hosts().split(", ")
    )
    digest = hashlib.sha256("\n".join(hosts).encode()).hexdigest()[:24]
    kind = "sharded" if sharded else hello.get("setName", "standalone")
    return f"{kind}/{digest}"


def _made_at_first_start(link: Link) -> str | None:
    """The id of ``admin.system.version``."""
    listed = link.ask(
        {"listCollections": 1, "filter": {"name": "system.version"}}, admin=True
    )
    for each in listed["cursor"]["firstBatch"]:
        if (known := each.get("info", {}).get("uuid")) is not None:
            return bytes(known).hex()
    return None
