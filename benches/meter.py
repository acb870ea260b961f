"""What is measured with, and the form in which it is told."""

from __future__ import annotations

import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg
import pymongo
from psycopg import pq

import cartridge_warp
from cartridge_warp import embedded
from cartridge_warp.embedded import MongoServer, PostgresServer

_PROC = Path("/proc")
#: Seconds for PostgreSQL to reap a backend whose connection has just ended; before
#: that its CPU time is in nobody's account.
_REAP_SECONDS = 0.3
_POLL_SECONDS = 0.05


class Report(NamedTuple):
    """One benchmark's outcome.

    setup: what was measured, a sentence each.  header, rows: the table.
    ratios: name -> figure.  observations: sentences.
    """

    name: str
    setup: list[str]
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    ratios: dict[str, float]
    observations: list[str]


class Servers(NamedTuple):
    mongod: MongoServer
    postgres: PostgresServer


class Cost(NamedTuple):
    """Seconds: wall time, and CPU of the client and of each server.

    A server's is NaN where there is no /proc.  rss_mib: the client's peak; NaN where it
    was not measured.
    """

    wall: float
    client: float
    mongod: float
    postgres: float
    rss_mib: float = float("nan")


@contextmanager
def servers() -> Iterator[Servers]:
    """A mongod and a PostgreSQL of our own, durable as in production."""
    settings = (
        *("-c", "shared_buffers=512MB", "-c", "max_wal_size=4GB"),
        # WAL files are used again, as those of a server that has run for a while.
        *("-c", "min_wal_size=4GB"),
        # For the latency of a change: when did its row's transaction commit?
        *("-c", "track_commit_timestamp=on"),
    )
    with (
        embedded.mongod(own=True) as mongod,
        embedded.postgres(own=True, extra_args=settings) as postgres,
    ):
        yield Servers(mongod, postgres)


def best_and_median(work: Callable[[], object], times: int) -> tuple[float, float]:
    """CPU seconds of this process for one run of ``work``."""
    taken = []
    for _ in range(times):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    taken.sort()
    return taken[0], taken[len(taken) // 2]


def here(running: Servers, work: Callable[[], object]) -> Cost:
    """What ``work`` costs; its client is this process."""
    before = _server_cpu(running)
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Cost(wall, cpu, *_since(running, before))


def sync(running: Servers, database: str, schema: str, **settings: str) -> Cost:
    """What ``cartridge_warp sync --once`` costs, start-up included.

    settings: more of them, as the environment has them.
    """
    before = _server_cpu(running)
    wall = time.perf_counter()
    child = _start(running, database, schema, settings, "--once")
    peak = float("nan")
    while True:
        # Not ru_maxrss: exec hands a child its parent's peak, and ours is large.
        peak = _peak_rss(child.pid, peak)
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        if pid:
            break
        time.sleep(_POLL_SECONDS)
    wall = time.perf_counter() - wall
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"sync ended with exit code {child.returncode}")
    cpu = usage.ru_utime + usage.ru_stime
    return Cost(wall, cpu, *_since(running, before), peak)


@contextmanager
def following(
    running: Servers, database: str, schema: str, **settings: str
) -> Iterator[Callable[[], float]]:
    """A ``cartridge_warp sync`` that follows the stream; gives its CPU seconds."""
    child = _start(running, database, schema, settings)
    ticks = os.sysconf("SC_CLK_TCK")

    def cpu() -> float:
        stat = (_PROC / str(child.pid) / "stat").read_text().rpartition(")")[2].split()
        return sum(map(int, stat[11:13])) / ticks

    try:
        yield cpu
    finally:
        child.terminate()
        if child.wait(30):
            raise SystemExit(f"sync ended with exit code {child.returncode}")


def _start(
    running: Servers,
    database: str,
    schema: str,
    settings: Mapping[str, str],
    *options: str,
) -> subprocess.Popen[bytes]:
    command = [
        *(sys.executable, "-m", "cartridge_warp", "sync"),
        embedded.with_database(running.mongod.uri, database),
        running.postgres.uri,
        *("--schema", schema, *options, "--progress", "none"),
        *("--log-level", "warning", "--metrics-port", "0", "--health-port", "0"),
    ]
    ours = {f"CARTRIDGE_WARP_{name.upper()}": text for name, text in settings.items()}
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, env={**os.environ, **ours}
    )


def middle(costs: Iterable[Cost]) -> Cost:
    """The one with the middle wall time."""
    ordered = sorted(costs)
    return ordered[len(ordered) // 2]


def start_up(running: Servers, database: str) -> Cost:
    """A sync of a database without documents; the cheaper of two, files cached."""
    return min(sync(running, database, f"{database}_{again}") for again in (1, 2))


def beyond(whole: float, start: float) -> float:
    """What is left of ``whole`` without ``start``.

    NaN where that is too little to say anything: there was too little work.
    """
    left = whole - start
    return left if left > 0.1 * start else float("nan")


def judged(figure: float, goal: str, reached: bool) -> str:
    """Whether a goal is reached, in words."""
    if math.isnan(figure):
        return f"too little work to tell (goal: {goal})"
    return f"the goal is {'reached' if reached else 'missed'} ({goal})"


def _since(running: Servers, before: tuple[float, float]) -> tuple[float, float]:
    time.sleep(_REAP_SECONDS)
    after = _server_cpu(running)
    return after[0] - before[0], after[1] - before[1]


def _server_cpu(running: Servers) -> tuple[float, float]:
    return _tree_cpu(running.mongod.pid), _tree_cpu(running.postgres.pid)


def _tree_cpu(root: int | None) -> float:
    """CPU seconds of a process, its children, and the children it has waited for."""
    if root is None or not (_PROC / str(root) / "stat").exists():
        return float("nan")
    ticks = 0
    for entry in _PROC.iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            stat = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        # Fields of proc(5) from the third on: state, ppid, ..., utime is the 14th.
        if int(entry.name) == root:
            ticks += sum(map(int, stat[11:15]))
        elif int(stat[1]) == root:
            ticks += sum(map(int, stat[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _peak_rss(pid: int, otherwise: float) -> float:
    """VmHWM in MiB."""
    try:
        for line in (_PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return otherwise


def machine() -> str:
    """Processor, memory and system, in one line."""
    model, memory = platform.machine(), ""
    try:
        for line in (_PROC / "cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
        kib = int((_PROC / "meminfo").read_text().split()[1])
        memory = f", {kib / 2**20:.0f} GiB"
    except OSError:
        pass
    system = f"{platform.system()} {platform.release()}"
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} x {model}{memory}, {system}, load {load:.1f} at the end"


def versions() -> str:
    """Everything whose version moves a figure, in one line."""
    libpq = pq.version()
    parts = [
        f"cartridge-warp {cartridge_warp.__version__}",
        f"Python {platform.python_version()}",
        f"pymongo {pymongo.version}",
        f"psycopg {psycopg.__version__} ({pq.__impl__}, libpq {libpq // 10000})",
        embedded.version(embedded.find_mongod()),
        embedded.version(embedded.find_postgres() / "postgres"),
    ]
    return ", ".join(parts)
