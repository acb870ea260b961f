"""Tasks on greenlets, one at a time: who goes on is drawn at every switch."""

from __future__ import annotations

import heapq
import random
import sys
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any

from greenlet import greenlet

#: Virtual seconds that one switch takes, so that time passes for busy tasks too.
SWITCH_SECONDS = 0.0002


class Killed(BaseException):
    """The process of this task is dead: nothing it does has an effect any more."""


class Stuck(Exception):
    """Nobody can go on, or the run takes longer than any run should."""


class Owner:
    """Whose tasks these are. dead: they never run again.  frozen: not for now."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.frozen = False


class Task:
    """One flow of control. waits_for: what it is blocked on, None when it can run."""

    def __init__(
        self, scheduler: Scheduler, owner: Owner, name: str, work: Callable[[], None]
    ) -> None:
        self.owner = owner
        self.name = f"{owner.name}:{name}"
        self.done = False
        self.waits_for: object = None
        self.deadline: float | None = None
        self.place = "start"
        self.weight = scheduler.weight()
        self._scheduler = scheduler
        self._work = work
        self.greenlet = greenlet(self._run, scheduler.hub)

    def _run(self) -> None:
        try:
            if not self.owner.dead:
                self._work()
        except Killed:
            pass
        except BaseException as error:
            self._scheduler.escaped(self, error)
        finally:
            self.done = True
            self._scheduler.wake(self)

    def join(self, timeout: float | None = None) -> None:
        scheduler = self._scheduler
        end = None if timeout is None else scheduler.now + timeout
        while not self.done and (end is None or scheduler.now < end):
            scheduler.block(self, end, f"join {self.name}")


class Scheduler:
    """Runs one task after the other until ``until`` holds.

    rng: draws the next task.  sticky: the chance that a task goes on by itself at a
    switch where it could; high values find what low ones do not.
    """

    def __init__(self, rng: random.Random, *, sticky: float = 0.0) -> None:
        self.now = 0.0
        self.switches = 0
        self.hub = greenlet.getcurrent()
        self.current: Task | None = None
        self.trace: deque[str] = deque(maxlen=4000)
        self.failure: BaseException | None = None
        self._rng = rng
        self._sticky = sticky
        self._uneven = rng.random() < 0.3
        self._tasks: list[Task] = []
        self._timed: list[tuple[float, int, Task]] = []
        self._number = 0

    def weight(self) -> float:
        """How often a task is drawn, beside others: in some runs tasks are unequal."""
        return self._rng.choice((1.0, 1.0, 0.2, 0.03)) if self._uneven else 1.0

    def start(self, owner: Owner, work: Callable[[], None], name: str) -> Task:
        task = Task(self, owner, name, work)
        self._tasks.append(task)
        return task

    def escaped(self, task: Task, error: BaseException) -> None:
        """A task ended with an error that nobody caught."""
        if self.failure is None:
            self.failure = error
            self.note(f"{task.name} died: {error!r}")

    def note(self, text: str) -> None:
        """A line of the trace."""
        who = self.current.name if self.current is not None else "-"
        self.trace.append(f"{self.now:9.4f} {who:24} {text}")

    # --- from inside a task -----------------------------------------------------

    def switch(self, place: str = "") -> None:
        """Let others go on, perhaps."""
        task = self._me(place)
        if self._sticky and self._rng.random() < self._sticky:
            return
        self.hub.switch()
        self._alive(task)

    def sleep(self, seconds: float, place: str = "") -> None:
        self.block(None, self.now + seconds, place)

    def block(self, what: object, deadline: float | None, place: str) -> None:
        """Wait until somebody wakes ``what``, or until the deadline."""
        task = self._me(place)
        task.waits_for = what if what is not None else task
        task.deadline = deadline
        if deadline is not None:
            self._number += 1
            heapq.heappush(self._timed, (deadline, self._number, task))
        self.hub.switch()
        self._alive(task)

    def wake(self, what: object) -> None:
        """Everybody who waits for ``what`` can go on."""
        for task in self._tasks:
            if task.waits_for is what:
                task.waits_for = task.deadline = None

    def _me(self, place: str) -> Task:
        task = self.current
        if task is None:
            raise AssertionError("not inside a task")
        self._alive(task)
        if place:
            task.place = place
        return task

    def _alive(self, task: Task) -> None:
        if task.owner.dead:
            raise Killed

    # --- from outside -----------------------------------------------------------

    def kill(self, owner: Owner) -> None:
        """The owner's tasks are gone, wherever they were."""
        owner.dead = True

    def _bury(self) -> None:
        for task in self._tasks:
            if task.owner.dead and not task.done:
                self.current = task
                while task.greenlet:
                    task.greenlet.throw(Killed)
                task.done = True
        self._tasks = [task for task in self._tasks if not task.done]
        self.current = None

    def run(self, until: Callable[[], bool], *, switches: int) -> None:
        """Raises Stuck, or what escaped from a task."""
        try:
            while not until():
                self._step()
                if self.failure is not None:
                    raise self.failure
                if self.switches > switches:
                    raise Stuck(f"no end after {switches} switches{self.dump()}")
        finally:
            for task in self._tasks:
                task.owner.dead = True
            self._bury()

    def _step(self) -> None:
        self._expire()
        if any(task.done or task.owner.dead for task in self._tasks):
            self._bury()
        ready = self._ready()
        while not ready:
            self._pass_time()
            ready = self._ready()
        task = self._draw(ready)
        self.switches += 1
        self.now += SWITCH_SECONDS
        self.current = task
        task.greenlet.switch()
        self.current = None

    def _ready(self) -> list[Task]:
        return [
            task
            for task in self._tasks
            if task.waits_for is None and not task.owner.frozen
        ]

    def _draw(self, ready: list[Task]) -> Task:
        if len(ready) == 1:
            return ready[0]
        if not self._uneven:
            return ready[int(self._rng.random() * len(ready))]
        return self._rng.choices(ready, [task.weight for task in ready])[0]

    def _expire(self) -> None:
        while self._timed and self._timed[0][0] <= self.now:
            deadline, _, task = heapq.heappop(self._timed)
            if task.deadline == deadline:
                task.waits_for = task.deadline = None

    def _pass_time(self) -> None:
        """Nobody can go on now: go to the next moment at which somebody can."""
        if not self._timed:
            raise Stuck(f"a deadlock{self.dump()}")
        self.now = max(self.now, self._timed[0][0])
        self._expire()

    def dump(self) -> str:
        """Where every task is."""
        lines = [
            f"  {task.name:28} at {task.place}"
            f"{' (frozen)' if task.owner.frozen else ''}"
            for task in self._tasks
            if not task.done
        ]
        return "\n".join(["", f"at {self.now:.3f} s:", *lines])


class Condition:
    """As ``threading.Condition`` with a reentrant lock; both ends are switch points."""

    def __init__(self, scheduler: Scheduler, owner: Owner) -> None:
        self._scheduler = scheduler
        self._owner = owner
        self._holder: Task | None = None
        self._depth = 0
        self._waiters = object()

    def __enter__(self) -> Condition:
        scheduler = self._scheduler
        if self._owner.dead or scheduler.current is None:
            return self
        if self._holder is not scheduler.current:
            scheduler.switch()
            self._acquire(1)
        else:
            self._depth += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._owner.dead or self._scheduler.current is None:
            return
        self._depth -= 1
        if self._depth == 0:
            self._release()

    def _acquire(self, depth: int) -> None:
        scheduler = self._scheduler
        while self._holder is not None:
            scheduler.block(self, None, f"lock held by {self._holder.name}")
        self._holder = scheduler.current
        self._depth = depth

    def _release(self) -> None:
        self._holder = None
        self._depth = 0
        self._scheduler.wake(self)

    def wait_for(
        self, predicate: Callable[[], object], timeout: float | None = None
    ) -> Any:
        scheduler = self._scheduler
        end = None if timeout is None else scheduler.now + timeout
        while not (result := predicate()):
            if end is not None and scheduler.now >= end:
                break
            depth = self._depth
            self._release()
            scheduler.block(self._waiters, end, f"wait_for in {_caller()}")
            self._acquire(depth)
        return result

    def notify_all(self) -> None:
        if self._owner.dead:
            return
        if self._holder is not self._scheduler.current:
            raise AssertionError("notified without the lock")
        self._scheduler.wake(self._waiters)


def _caller() -> str:
    """Who waits, for the list of a deadlock."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_name in ("wait", "wait_for"):
        frame = frame.f_back
    code = frame.f_code
    return f"{code.co_filename.rpartition('/')[2]}:{frame.f_lineno} {code.co_name}"


class Virtual:
    """The engine's runtime for one process: ``engine.runtime.Runtime``."""

    def __init__(self, scheduler: Scheduler, owner: Owner) -> None:
        self._scheduler = scheduler
        self._owner = owner

    def start(self, work: Callable[[], None], name: str) -> Task:
        if self._owner.dead:
            raise Killed
        return self._scheduler.start(self._owner, work, name)

    def condition(self) -> Condition:
        return Condition(self._scheduler, self._owner)

    def clock(self) -> float:
        return self._scheduler.now

    def now(self) -> float:
        return self._scheduler.now
