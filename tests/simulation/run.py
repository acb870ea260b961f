"""One seed's run, from the first write to the last comparison."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from unittest import mock

from msgspec import Struct

from cartridge_warp.engine import feed
from cartridge_warp.engine.views import Phase
from cartridge_warp.health import not_ready

from .gate import Weather
from .invariants import differences
from .plan import Fault, Plan
from .process import Process
from .scheduler import Scheduler, Stuck
from .store import Store
from .tablerows import Broken
from .workload import Writers
from .world import World

#: Virtual seconds in which all is equal once nothing changes and nothing fails.
CONVERGES = 60.0

#: More switches than any run takes.
SWITCHES = 400_000


class Outcome(Struct):
    """How a run ended. failure: "" for a good one."""

    plan: Plan
    failure: str
    trace: list[str]
    switches: int = 0
    seconds: float = 0.0
    commits: int = 0
    lives: int = 0
    takeovers: int = 0
    events: int = 0


class Run:
    """Everything of one run."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.rng = random.Random(f"run {plan.seed}")
        self.scheduler = Scheduler(
            random.Random(f"switches {plan.seed}"), sticky=plan.sticky
        )
        self.world = World(self.scheduler, expanded=plan.expanded)
        self.weather = Weather()
        self.store = Store(self.world)
        self.writers = Writers(self.world, plan, random.Random(f"writes {plan.seed}"))
        self.processes = [
            Process(
                f"p{number}",
                plan,
                self.scheduler,
                self.world,
                self.store,
                self.weather,
            )
            for number in range(plan.processes)
        ]
        self.helpers = [
            Process(
                f"w{number}",
                plan,
                self.scheduler,
                self.world,
                self.store,
                self.weather,
                helps=True,
            )
            for number in range(plan.helpers)
        ]
        self._faults = len(plan.faults)
        self._over = False

    def go(self) -> Outcome:
        failure = ""
        try:
            self._start(self._replicate, "replication")
            self.writers.begin()
            for process in (*self.processes, *self.helpers):
                self._start(process.supervise, f"supervisor of {process.name}")
            for fault in self.plan.faults:
                self._start(partial(self._happen, fault), f"{fault.kind} fault")
            self._start(self._direct, "director")
            with mock.patch.object(feed, "SMALL_REPLY", self.plan.small_reply):
                self.scheduler.run(lambda: self._over, switches=SWITCHES)
        except (Exception, Broken) as error:
            failure = f"{type(error).__name__}: {error}"
            if not isinstance(error, Broken | Stuck):
                failure += _where(error)
        return Outcome(
            self.plan,
            failure,
            list(self.scheduler.trace),
            self.scheduler.switches,
            self.scheduler.now,
            self.store.commits,
            sum(process.lives for process in self.processes),
            self.store.takeovers,
            len(self.world.history),
        )

    def _start(self, work: Callable[[], None], name: str) -> None:
        self.scheduler.start(self.world.owner, work, name)

    # --- the tasks of the world -------------------------------------------------

    def _replicate(self) -> None:
        """A majority follows, and the oplog has entries that are no events."""
        world, rng = self.world, self.rng
        while True:
            self.scheduler.sleep(0.01 + self.plan.lag * rng.random(), "replication")
            if rng.random() < 0.2:
                world.tick()
            waiting = [each.time for each in world.after_committed()]
            world.commit(rng.choice([world.newest, world.newest, *waiting[:3]]))

    def _happen(self, fault: Fault) -> None:
        scheduler = self.scheduler
        scheduler.sleep(fault.at, "fault to come")
        for _ in range(fault.switches):
            scheduler.switch()
        among = self.helpers if fault.helper else self.processes
        if fault.process >= len(among):
            # A smaller plan has fewer of them.
            self._faults -= 1
            return
        process = among[fault.process]
        if fault.kind == "rollover":
            scheduler.note("history is forgotten")
            self.world.forget()
        elif fault.kind == "resync":
            self.store.ask(self.rng)
        elif fault.kind in ("source", "destination"):
            scheduler.note(f"{fault.kind} away")
            self.weather.away[fault.kind] = scheduler.now + fault.seconds
        elif fault.kind == "promote":
            image = self.store.image()
            scheduler.sleep(fault.seconds, "a standby falls behind")
            self.store.promote(image)
            scheduler.note("the standby is promoted")
        else:
            getattr(process, fault.kind)(fault.seconds)
        self._faults -= 1

    def _direct(self) -> None:
        """Wait for quiet, then for equality, then for the end of everybody."""
        self._await(lambda: not self.writers.running and not self._faults, 600.0)
        self.weather.calm = True
        self.weather.away = dict.fromkeys(self.weather.away, 0.0)
        self.scheduler.note("calm from now on")
        if not self.plan.once:
            self._await(self._converged, CONVERGES, "converged")
        everybody = (*self.processes, *self.helpers)
        for process in everybody:
            process.end()
        self._await(
            lambda: all(
                process.life is None or process.life.over or process.life.owner.dead
                for process in everybody
            ),
            CONVERGES,
            "every process stopped",
        )
        self._finish()
        self._over = True

    def _converged(self) -> bool:
        left = {each.life.leaves for each in self.processes if each.life is not None}
        return not (
            differences(
                self.world,
                self.store,
                strict=False,
                without=left,
                on_drop=self.plan.on_drop,
            )
            or self._problems()
        )

    def _problems(self) -> list[str]:
        """Why processes that run say that they are not ready; standing by is well."""
        views = [each.life.view() for each in self.processes if each.life is not None]
        return [
            f"{view.name}: {problem}"
            for view in views
            if view.phase is not Phase.STANDBY
            and (problem := not_ready(view, self.scheduler.now))
        ]

    def _finish(self) -> None:
        """A last run with ``once``, after which nothing may be left to do."""
        last = self.processes[0]
        before = last.finished
        last.start(once=True, last=True)
        self._start(last.watch, "watch of the last run")
        self._await(lambda: last.finished > before, CONVERGES, "the last run ended")
        wrong = differences(
            self.world, self.store, strict=True, on_drop=self.plan.on_drop
        )
        if len({marker.position for marker in self.store.markers}) != 1:
            wrong.append("I4: the lanes stand at several places after `once`")
        if wrong:
            raise Broken("\n".join(wrong))

    def _await(self, ready: Callable[[], bool], seconds: float, what: str = "") -> None:
        end = self.scheduler.now + seconds
        while not ready():
            if self.scheduler.now > end:
                wrong = differences(
                    self.world, self.store, strict=False, on_drop=self.plan.on_drop
                )
                wrong += self._problems()
                raise Stuck(
                    f"not {what} after {seconds} s:\n"
                    + "\n".join(wrong)
                    + self.scheduler.dump()
                )
            self.scheduler.sleep(0.5, f"director waits: {what}")


def _where(error: BaseException) -> str:
    """The last places of a traceback."""
    import traceback

    return "\n" + "".join(traceback.format_exception(error)[-12:])


def run(plan: Plan) -> Outcome:
    return Run(plan).go()
