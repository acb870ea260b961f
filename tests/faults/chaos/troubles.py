"""What goes wrong, one thing after the other and several at once, drawn from a seed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import NamedTuple

from pymongo.errors import PyMongoError
from stage import Stage

import totals
import toxics
from cartridge_warp.killpoint import POINTS
from own_postgres import OwnPostgres
from proxy import Proxy
from syncing import Sync

_TOXICS: tuple[Callable[[], toxics.Toxic], ...] = (
    lambda: toxics.Latency(0.05, 0.1),
    toxics.Down,
    lambda: toxics.Bandwidth(100_000),
    lambda: toxics.SlowClose(1.0),
    lambda: toxics.Timeout(1.5),
    lambda: toxics.ResetPeer(0.3),
    lambda: toxics.Slicer(300, 0.001),
    lambda: toxics.LimitData(30_000),
)

#: Codes of MongoDB after which an attempt is made again.
_CODES = (6, 11602, 189, 13436, 43, 262, 91, 10107)
_COMMANDS = ("find", "aggregate", "getMore")

#: A supervisor gives a process so long to end well.
_DRAIN = 30.0


class _Due(NamedTuple):
    at: float
    what: str
    end: Callable[[], object]


class Troubles:
    """Each call of ``next`` does one thing; what lasts ends by itself, later."""

    def __init__(
        self, stage: Stage, server: OwnPostgres, mongodb: Proxy, postgres: Proxy
    ) -> None:
        self._stage = stage
        self._random = stage.random
        self._server = server
        self._mongodb, self._postgres = mongodb, postgres
        self._due: list[_Due] = []
        #: A third of the acts never happens, or a restart heals what others did.
        self._acts = [each for each in self._all() if self._random.random() < 0.67]
        self._acts = self._acts or self._all()

    def next(self) -> None:
        """Something that the seed wishes."""
        weights = [weight for weight, _ in self._acts]
        ((_, act),) = self._random.choices(self._acts, weights)
        self._stage.tell(act())

    def last(self) -> None:
        """Collections change once more, while nothing is wrong and nobody ends."""
        for _ in range(3):
            self._stage.tell(self._upheaval())
            self.pass_time(0.5)

    def _all(self) -> list[tuple[int, Callable[[], str]]]:
        return [
            (24, self._upheaval),
            (8, self._kill),
            (6, self._end),
            (6, self._freeze),
            (5, self._second),
            (12, self._toxic),
            (5, self._cut),
            (4, self._terminate),
            (3, self._crash),
            (2, self._lock),
            (5, self._fail),
            (2, self._step_down),
            (8, self._stage.resync),
            (5, self._edit),
            (2, self._anew),
            (4, self._poison),
        ]

    def pass_time(self, seconds: float) -> None:
        """Wait, and end what is due meanwhile."""
        until = time.monotonic() + seconds
        while (now := time.monotonic()) < until:
            for each in [each for each in self._due if each.at <= now]:
                self._finish(each)
            time.sleep(0.05)

    def heal(self) -> None:
        """Everything that lasts ends."""
        for each in list(self._due):
            self._finish(each)

    def _finish(self, due: _Due) -> None:
        self._due.remove(due)
        due.end()
        self._stage.tell(f"end of {due.what}")
        self._stage.trouble = bool(self._due)

    def _lasting(self, what: str, end: Callable[[], object], most: float = 4.0) -> str:
        """What ends later; one of a kind at a time."""
        seconds = self._random.uniform(0.2, most)
        self._due.append(_Due(time.monotonic() + seconds, what, end))
        self._stage.hampered()
        return f"{what} for {seconds:.1f} s"

    def _lasts(self, what: str) -> bool:
        return any(each.what == what for each in self._due)

    def _some(self) -> Sync | None:
        running = [sync for sync in self._stage.running() if not sync.frozen]
        return self._random.choice(running) if running else None

    # --- the collections --------------------------------------------------------

    def _upheaval(self) -> str:
        times = self._random.choice([1, 1, 1, 3])
        return "; ".join(self._stage.crowd.upheaval() for _ in range(times))

    def _poison(self) -> str:
        # A primary that steps down may take the first attempt with it.
        with contextlib.suppress(PyMongoError):
            self._stage.scene.plant_poison(1)
        return "poison"

    # --- the processes ----------------------------------------------------------

    def _kill(self) -> str:
        if (sync := self._some()) is None:
            return "nobody to kill"
        sync.kill()
        point = self._random.choice(sorted(POINTS))
        kill = f"{point}:{self._random.choice([1, 2, 7])}"
        if self._random.random() < 0.4:
            self._stage.start(kill)
            return f"kill -9, and start with {kill}"
        return "kill -9"

    def _end(self) -> str:
        if (sync := self._some()) is None:
            return "nobody to end"
        return f"SIGTERM: exit {sync.stop(_DRAIN)}"

    def _freeze(self) -> str:
        if (sync := self._some()) is None:
            return "nobody to freeze"
        sync.freeze()
        totals.count("freezes", "SIGSTOP")
        return self._lasting("SIGSTOP", sync.thaw, 9.0)

    def _second(self) -> str:
        if len(self._stage.running()) > 1:
            return "two run already"
        self._stage.contest()
        return "a second process"

    def _edit(self) -> str:
        """Other settings, for which every process ends."""
        for sync in self._stage.running():
            if sync.frozen or self._random.random() < 0.5:
                sync.kill()
            else:
                sync.stop(_DRAIN)
        what = self._stage.edit()
        self._stage.start()
        return f"restart with other settings, {what}"

    def _anew(self) -> str:
        for sync in self._stage.running():
            sync.kill()
        self._stage.start(anew=True)
        return "--full-resync"

    # --- the links and the servers ----------------------------------------------

    def _toxic(self) -> str:
        side = self._random.choice(["mongodb", "postgresql"])
        if self._lasts(f"toxic before {side}"):
            return f"a toxic is before {side} already"
        proxy = self._mongodb if side == "mongodb" else self._postgres
        toxic = self._random.choice(_TOXICS)()
        proxy.use(toxic)
        lasting = self._lasting(f"toxic before {side}", proxy.clear)
        return f"{type(toxic).__name__}: {lasting}"

    def _cut(self) -> str:
        what = "toxic before postgresql"
        if self._lasts(what):
            return "a toxic is before postgresql already"
        cut = self._random.choice(list(toxics.Cut))
        self._postgres.use(toxics.CommitCut(cut, every=self._random.randrange(1, 6)))
        return f"COMMIT cut {cut.value}: {self._lasting(what, self._postgres.clear)}"

    def _terminate(self) -> str:
        if self._lasts("PostgreSQL away"):
            return "PostgreSQL is away"
        self._stage.hampered()
        number = self._server.terminate()
        self._stage.trouble = bool(self._due)
        totals.count("backends terminated", "by SQL", number)
        return f"{number} backends terminated"

    def _crash(self) -> str:
        if self._due:
            return "enough is broken"
        self._stage.hampered()
        self._server.crash()
        totals.count("servers killed", "postgresql crash")
        return self._lasting("PostgreSQL away", self._server.start, 2.0)

    def _lock(self) -> str:
        if self._due:
            return "enough is broken"
        stack = ExitStack()
        try:
            stack.enter_context(self._server.locked("shop", "counters"))
        except Exception as error:
            return f"no lock: {type(error).__name__}"
        return self._lasting("lock on shop.counters", stack.close)

    def _fail(self) -> str:
        code = self._random.choice(_CODES)
        command = self._random.choice(_COMMANDS)
        times = self._random.randrange(1, 4)
        self._stage.hampered()
        self._stage.scene.client.admin.command(
            {
                "configureFailPoint": "failCommand",
                "mode": {"times": times},
                "data": {
                    "appName": "cartridge-warp",
                    "failCommands": [command],
                    "errorCode": code,
                },
            }
        )
        totals.count("codes", str(code), times)
        return self._lasting("failCommand", self._unfail)

    def _unfail(self) -> None:
        self._stage.scene.client.admin.command(
            "configureFailPoint", "failCommand", mode="off"
        )

    def _step_down(self) -> str:
        self._stage.hampered()
        with contextlib.suppress(PyMongoError):
            self._stage.scene.client.admin.command(
                {"replSetStepDown": 1, "force": True}
            )
        return self._lasting("stepDown", lambda: None, 2.0)
