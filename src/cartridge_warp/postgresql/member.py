"""A process that helps the owner of a schema with its first copies."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress

from ..config import DestinationSettings
from ..config.agreed import differing
from ..errors import ConfigError, Fenced, Unowned, WarpError
from ..metadata import history, layout, store, workers
from ..metadata.lease import Terms
from ..model import Chunk, SourceIdentity, Table
from .connection import Link, application_name
from .copier import PostgresCopier
from .instance import Instance
from .sharing import role
from .tenure import Tenure


def join(
    settings: DestinationSettings,
    schema: str,
    database: str,
    identity: SourceIdentity,
    terms: Terms,
    connections: int,
) -> PostgresMember:
    """See ``powers.TakesHelp.join``."""
    meta = settings.metadata_schema
    link = Link(settings, application_name("member", schema))
    try:
        with link.transaction() as cur:
            known = layout.check(cur, meta, older=False) is not None
            owner = workers.owner(cur, meta, schema) if known else None
            if owner is None:
                raise Unowned(
                    f"no process owns schema {schema} now",
                    hint="start cwarp sync; this one helps it as soon as it runs",
                )
            _compare(schema, owner, terms)
            store.check_source(cur, meta, schema, database, identity)
            store.check_owner(cur, meta, schema, owner.epoch)
            instance = Instance.of_this_process().text
            numbers = [
                workers.join(cur, meta, schema, owner.epoch, instance)
                for _ in range(connections)
            ]
            timeline = history.timeline(cur)
    except Fenced as error:
        link.drop()
        raise Unowned(f"the owner of schema {schema} has just changed") from error
    except BaseException:
        link.drop()
        raise
    link.timeline = timeline
    tenure = Tenure(meta, schema, owner.epoch, set(), timeline)
    return PostgresMember(settings, tenure, link, numbers)


def _compare(schema: str, owner: workers.Owner, terms: Terms) -> None:
    """Raises ConfigError when the owner would copy otherwise."""
    label = _label(owner.instance)
    if owner.terms.version != terms.version:
        raise ConfigError(
            f"the owner of schema {schema} ({label}) is cartridge-warp "
            f"{owner.terms.version or 'of an older version'}, this is {terms.version}",
            hint="run the same version on both",
        )
    if owner.terms.settings != terms.settings:
        found = differing(terms.settings, owner.terms.settings)
        raise ConfigError(
            f"the owner of schema {schema} ({label}) has other settings: "
            + "; ".join(found),
            hint="give cwarp worker the arguments and the configuration of cwarp sync",
        )


def _label(instance: str) -> str:
    found = Instance.parse(instance)
    return instance if found is None else found.label


class PostgresMember:
    """See ``powers.Membership``."""

    def __init__(
        self,
        settings: DestinationSettings,
        tenure: Tenure,
        link: Link,
        numbers: Sequence[int],
    ) -> None:
        self._own = tenure
        self._link = link
        self._lock = threading.Lock()
        self._numbers = numbers
        self._copiers = [SharedPostgresCopier(settings, tenure, n) for n in numbers]

    def beat(self) -> None:
        own = self._own
        with self._lock, self._link.transaction() as cur:
            if not workers.beat(cur, own.meta, self._numbers):
                raise _forgotten(own.schema)

    def admitted(self) -> bool:
        own = self._own
        with self._lock, self._link.transaction() as cur:
            store.check_owner(cur, own.meta, own.schema, own.epoch)
            return all(workers.admitted(cur, own.meta, n) for n in self._numbers)

    def copiers(self) -> Sequence[SharedPostgresCopier]:
        return self._copiers

    def left(self) -> int:
        own = self._own
        with self._lock, self._link.transaction() as cur:
            return workers.left(cur, own.meta, own.schema)

    def close(self) -> None:
        own = self._own
        for each in self._copiers:
            each.close()
        with self._lock, suppress(WarpError):
            with self._link.transaction() as cur:
                workers.remove(cur, own.meta, own.schema, own.epoch, self._numbers)
        self._link.drop()


class SharedPostgresCopier(PostgresCopier):
    """See ``powers.SharedCopier``. number: its ``worker_id``."""

    def __init__(
        self, settings: DestinationSettings, tenure: Tenure, number: int
    ) -> None:
        super().__init__(settings, tenure, role=role(number), slot=-number)
        self._number = number

    def take(self) -> tuple[Table, Chunk] | None:
        own = self._tenure
        with self._link.transaction() as cur:
            store.check_owner(cur, own.meta, own.schema, own.epoch)
            if not workers.admitted(cur, own.meta, self._number):
                raise _forgotten(own.schema)
            found = workers.claim(cur, own.meta, own.schema, own.epoch, self._slot)
        self._claimed = None if found is None else found[1]
        return found


def _forgotten(schema: str) -> Fenced:
    return Fenced(f"the owner of schema {schema} has taken this worker for dead")
