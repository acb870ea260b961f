"""Ctrl-C in the first second, when nothing has begun yet."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pymongo.database import Database

from cartridge_warp import embedded
from tests.command import environment

#: The console script, and the module.
_WAYS = {
    "script": [str(Path(sys.executable).with_name("cwarp"))],
    "module": [sys.executable, "-m", "cartridge_warp"],
}


@pytest.mark.parametrize("verb", ["sync", "status"])
@pytest.mark.parametrize("way", _WAYS)
def test_an_early_ctrl_c_shows_no_traceback(
    mongo_db: Database[dict[str, object]],
    mongo_uri: str,
    postgres_uri: str,
    way: str,
    verb: str,
) -> None:
    source = embedded.with_database(mongo_uri, mongo_db.name)
    ports = ["--metrics-port=0", "--health-port=0"]
    rest = [*ports, source, postgres_uri] if verb == "sync" else [postgres_uri]
    for seconds in (0.15, 0.25, 0.4, 0.6, 0.9):
        process = subprocess.Popen(
            [*_WAYS[way], verb, *rest],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert "Traceback" not in out + err, f"after {seconds} s: {err}"
        # A status, or a sync that has its own handlers, may have got to its end; a sync
        # that is stopped before it found its (empty) database, or after it.
        assert process.returncode in (0, 3, 130), f"after {seconds} s: {err}"
        if seconds < 0.2:
            assert process.returncode == 130
