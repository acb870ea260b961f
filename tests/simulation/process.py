"""A sync process: the real engine between both ends, started again and again."""

from __future__ import annotations

import random
from collections.abc import Callable

from cartridge_warp.config import SchemaSettings, TableSettings
from cartridge_warp.engine import pipeline, worker
from cartridge_warp.engine.line import Line
from cartridge_warp.engine.progress import Progress
from cartridge_warp.engine.signals import StopSignal
from cartridge_warp.engine.views import SchemaView
from cartridge_warp.errors import (
    DestinationUnavailable,
    Fenced,
    OutcomeUnknown,
    PreconditionError,
    SourceUnavailable,
    WarpError,
)
from cartridge_warp.model import TableOptions

from .destination import SimulatedDestination
from .gate import Gate, Weather
from .invariants import check_counts
from .plan import Launch, Plan
from .scheduler import Owner, Scheduler, Task, Virtual
from .source import DATABASE, SimulatedSource
from .store import Store
from .tablerows import Broken
from .workload import HIDDEN, NAMES
from .world import World

#: Seconds after which a supervisor starts a process again that has failed.
_RESTART = 1.0


def settings_of(launch: Launch, plan: Plan) -> SchemaSettings:
    """The schema's settings of one start."""
    options = TableOptions(
        on_misfit="dead_letter" if plan.misfits else "rescue",
        deletion_strategy=launch.deletion,
    )
    left = (launch.leaves,) if launch.leaves else ()

    def table(name: str, lanes: int) -> TableSettings:
        return TableSettings(
            name=name,
            options=options,
            schema_sample_size=3,
            max_parallel_streams=lanes,
            on_drop=plan.on_drop,
        )

    return SchemaSettings(
        name="copy",
        database=DATABASE,
        snapshot_workers=launch.workers,
        stream_batch_size=launch.batch_size,
        stream_batch_bytes=launch.batch_bytes,
        on_history_lost="resync",
        table_blacklist=(HIDDEN, *left),
        tables=(table(NAMES[0], launch.first),),
        defaults=table("*", launch.lanes),
    )


class Life:
    """One start of a process, to its end.

    leaves: the collection that it does not follow.
    """

    def __init__(
        self, process: Process, number: int, *, once: bool, last: bool = False
    ) -> None:
        plan, scheduler = process.plan, process.scheduler
        self.owner = Owner(f"{process.name}.{number}")
        self.error: Exception | None = None
        self.over = False
        self.runtime = Virtual(scheduler, self.owner)
        self.stop = StopSignal(self.runtime)
        last = last or process.helps
        launch = plan.launches[0 if last else number % len(plan.launches)]
        self.leaves = launch.leaves
        rng = random.Random(f"{plan.seed} {self.owner.name}")
        self.progress = Progress(clock=self.runtime.clock)
        gates = process.gates(self.owner, rng)
        self.destination = SimulatedDestination(
            process.store,
            gates[1],
            self.owner.name,
            unknown=plan.unknown,
            locks=plan.locks,
            refuses=plan.refuses,
            settings=settings_of(launch, plan),
            cuts=any(each.batch_bytes < 1 << 20 for each in plan.launches),
        )
        self.line = Line(
            SimulatedSource(
                process.world,
                gates[0],
                by_time=plan.by_time,
                chunks=10 if plan.helpers else 4,
            ),
            self.destination,
            settings_of(launch, plan),
            self.progress.schema("copy", DATABASE),
            self.stop,
            rng=rng,
            runtime=self.runtime,
        )
        self._once = once
        self._helps = process.helps
        self._anew = gates[1].chance(plan.anew)
        self.task: Task = scheduler.start(self.owner, self._run, "main")

    def view(self) -> SchemaView:
        """What it says of itself."""
        return self.line.progress.now()

    def _run(self) -> None:
        try:
            if self._helps:
                worker.run(self.line)
            else:
                pipeline.run(self.line, once=self._once, anew=self._anew)
                self._check_end()
        except WarpError as error:
            self.error = error
        self.over = True
        check_counts(self.progress)

    def _check_end(self) -> None:
        """A sync that caught up has copied everything, whoever helped it."""
        store = self.destination.store
        if (
            self._once
            and not self.stop.requested
            and store.epoch == self.destination.epoch
            # A standby that was promoted since may lack what was committed.
            and store.history == self.destination.history
        ):
            for stored in store.tables.values():
                if not stored.left and any(
                    each.state != "done" for each in stored.chunks.values()
                ):
                    raise Broken(f"{stored.table.name}: `once` ends before its copy")


class Process:
    """Starts a life, and another one when it ends, as a supervisor does.

    helps: it is a worker, which owns nothing.
    """

    def __init__(
        self,
        name: str,
        plan: Plan,
        scheduler: Scheduler,
        world: World,
        store: Store,
        weather: Weather,
        *,
        helps: bool = False,
    ) -> None:
        self.helps = helps
        self.name = name
        self.plan = plan
        self.scheduler = scheduler
        self.world = world
        self.store = store
        self.life: Life | None = None
        self.lives = 0
        self.finished = 0
        self._weather = weather
        self._ended = False
        self._wanted_at = 0.0

    def gates(self, owner: Owner, rng: random.Random) -> tuple[Gate, Gate]:
        plan = self.plan

        def gate(end: str, error: Callable[[str], WarpError], noise: float) -> Gate:
            return Gate(
                *(end, self.scheduler, owner, self._weather, rng, error),
                noise=noise,
                slow=plan.slow,
            )

        return (
            gate("source", SourceUnavailable, plan.source_noise),
            gate("destination", DestinationUnavailable, plan.destination_noise),
        )

    def supervise(self) -> None:
        """Keep it alive until ``end``."""
        while not self._ended:
            self.scheduler.sleep(
                max(self._wanted_at - self.scheduler.now, 0.0), "supervisor"
            )
            if not self._ended:
                self.start(once=self.plan.once)
                if self._ended:
                    # It came while the life was being made.
                    self.stop(0.0)
                self.watch()

    def start(self, *, once: bool, last: bool = False) -> None:
        """last: after which everything has to be equal."""
        self.lives += 1
        self.life = Life(self, self.lives - 1, once=once, last=last)
        self.scheduler.note(f"{self.name} started, life {self.lives}")

    def watch(self) -> None:
        """Wait for the end of its life; what it raised must be of the known kinds."""
        life = self.life
        assert life is not None
        while not life.over and not life.owner.dead:
            self.scheduler.block(life.task, None, "supervisor watches")
        if life.owner.dead:
            return
        # What is left of its tasks ends with the process.
        self._bury(life)
        self.scheduler.note(f"{self.name} ended: {life.error!r}")
        if life.error is None:
            self.finished += 1
        elif not _expected(life.error):
            raise life.error
        self._wanted_at = max(self._wanted_at, self.scheduler.now + _RESTART)

    def kill(self, seconds: float) -> None:
        """As by ``kill -9``; started again so much later."""
        self._wanted_at = self.scheduler.now + seconds
        if (life := self.life) is not None and not life.owner.dead:
            self._bury(life)
            self.scheduler.note(f"{self.name} killed")
            self.scheduler.wake(life.task)

    def _bury(self, life: Life) -> None:
        self.scheduler.kill(life.owner)
        self.store.disconnect(life.destination)

    def stop(self, seconds: float) -> None:
        """As by SIGTERM; started again so much after."""
        self._wanted_at = self.scheduler.now + seconds
        if self.life is not None:
            self.life.stop.request()

    def freeze(self, seconds: float) -> None:
        """As by SIGSTOP, and SIGCONT so much later."""
        if (life := self.life) is not None:
            life.owner.frozen = True
            self.scheduler.note(f"{self.name} frozen")
            self.scheduler.sleep(seconds, "frozen")
            life.owner.frozen = False
            self.scheduler.note(f"{self.name} thawed")

    def end(self) -> None:
        """Stop it, and do not start it again."""
        self._ended = True
        self.stop(0.0)


def _expected(error: Exception) -> bool:
    if isinstance(error, PreconditionError):
        cause = error.__cause__
        return isinstance(cause, WarpError) and cause.retryable
    return isinstance(error, Fenced | OutcomeUnknown)
