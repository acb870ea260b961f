"""PgBouncer in transaction mode, where it is installed: every transaction may run on
another connection than the one before.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from cartridge_warp.embedded.process import guarded, unprivileged
from syncing import free_port

_PATIENCE = 30.0

#: None where it is not installed.
BINARY = shutil.which(
    "pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"
)

_CONFIG = """
[databases]
* = host={host} port={server}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 100
server_lifetime = 2
server_idle_timeout = 2
server_login_retry = 1
query_wait_timeout = 60
"""


class PgBouncer:
    """Runs within the block, before the server of ``uri``.

    size: connections to the server, of each user and database. They are replaced every
    two seconds, between two transactions.
    """

    def __init__(self, uri: str, *, size: int) -> None:
        parts = urlsplit(uri)
        self.port = free_port()
        self._directory = Path(tempfile.mkdtemp(prefix="cwarp-"))
        # It runs as another user where we are root, who has to pass through.
        self._directory.chmod(0o711)
        self._config = _CONFIG.format(
            host=parts.hostname,
            server=parts.port,
            port=self.port,
            users=self._directory / "users",
            size=size,
        )
        self._life = ExitStack()
        self._pid = 0

    def __enter__(self) -> Self:
        (self._directory / "users").write_text('"postgres" ""\n')
        (self._directory / "pgbouncer.ini").write_text(self._config)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Again, too."""
        self._life.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def start(self) -> None:
        """The first time, or again after ``kill``."""
        assert BINARY is not None
        config = self._directory / "pgbouncer.ini"
        running = self._life.enter_context(
            guarded(
                [BINARY, "--quiet", str(config)],
                log=self._directory / "log",
                stop=signal.SIGTERM,
                user=unprivileged(),
            )
        )
        self._pid = running.pid
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1.0).close()
            except OSError:
                log = (self._directory / "log").read_text()
                assert running.exit_code() is None, log
                assert time.monotonic() < deadline, log
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        """``kill -9``: every connection is cut, on both sides."""
        os.kill(self._pid, signal.SIGKILL)
        self._life.close()
