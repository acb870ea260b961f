"""A standby of a test's own PostgreSQL, to be promoted."""

from __future__ import annotations

import shutil
import subprocess
from typing import Self
from urllib.parse import urlsplit

from cartridge_warp import embedded
from cartridge_warp.embedded.process import unprivileged
from own_postgres import OwnPostgres
from waiting import wait_until


class Standby(OwnPostgres):
    """Follows ``primary``, a step behind, while both run; until ``promote``.

    uri: of the same database as the primary's.
    """

    def __init__(self, primary: OwnPostgres) -> None:
        super().__init__()
        self._primary = primary

    def __enter__(self) -> Self:
        try:
            self._copy()
            self.start()
            port = urlsplit(self._primary.uri).port
            self.uri = self._primary.uri.replace(str(port), str(self.server.port))
        except BaseException:
            self.__exit__()
            raise
        return self

    def _copy(self) -> None:
        """With ``standby.signal`` and the way to the primary."""
        data = self._directory / "postgresql"
        subprocess.run(
            [
                *(embedded.find_postgres() / "pg_basebackup", "--pgdata", data),
                *("--dbname", self._primary.server.uri, "--write-recovery-conf"),
                *("--checkpoint=fast", "--wal-method=stream", "--no-sync"),
            ],
            check=True,
            capture_output=True,
        )
        if (user := unprivileged()) is not None:
            for path in (data, *data.rglob("*")):
                shutil.chown(path, user.uid, user.gid)

    def follows(self) -> None:
        """Wait until it has everything that the primary has committed by now."""
        ((place,),) = self._primary.run("SELECT pg_current_wal_insert_lsn()::text")
        query = f"SELECT pg_last_wal_replay_lsn() >= '{place}'"
        wait_until(lambda: self.run(query) == [(True,)], "the standby follows")

    def promote(self) -> None:
        """It is the primary from now on, and follows nobody."""
        # A call that waited would stand, with what it may see, in the way of the rows
        # that are still to be removed, and be cancelled for it.
        assert self.run("SELECT pg_promote(wait => false)") == [(True,)]
        wait_until(
            lambda: self.run("SELECT pg_is_in_recovery()") == [(False,)], "promoted"
        )
