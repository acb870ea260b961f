"""What one seed is: every choice that is made before the run, as plain values."""

from __future__ import annotations

import random

from msgspec import Struct
from msgspec.structs import replace

Faults = tuple["Fault", ...]


class Fault(Struct, frozen=True):
    """Something that happens to a process or to an end.

    at: virtual seconds; behind them it waits for some more ``switches``.
    kind: "kill", "stop" (as by SIGTERM), "freeze", "source" or "destination" (away),
    "resync" (somebody asks for one), "rollover" (the source forgets its history) or
    "promote" (a standby takes the destination's place).
    process: which; seconds: for how long, until the process is started again, or what
    the standby lacks.
    helper: it is one of those that help.
    """

    at: float
    kind: str
    process: int = 0
    seconds: float = 1.0
    switches: int = 0
    helper: bool = False


class Launch(Struct, frozen=True):
    """How a process is started, each time anew. first: lanes of the first table.

    deletion: the strategy of all tables.  leaves: a collection that is not followed.
    """

    workers: int
    lanes: int
    first: int
    batch_size: int
    batch_bytes: int
    deletion: str
    leaves: str = ""


class Plan(Struct, frozen=True):
    """One run. shrinking takes away from ``operations`` and ``faults`` alone.

    families: of the ids of each collection, see ``workload``.  initial: documents at
    the start.  pause: virtual seconds between two operations of a writer.
    structure: drops and renames happen.  expanded: the stream tells of collections
    that are made.  on_drop: of all tables.  anew: the chance that a process is started
    with the wish for a full resync.  transactions: the chance of one.
    noise: the chance that a call of an end fails, while faults last.
    hidden: a collection is left out.  refuses: no key is rewritten while faults last.
    helpers: processes that help with copies.
    unknown: the chance that a COMMIT's answer is lost.  by_time: the chance that a
    stream is opened by its time.  once: every process is started with ``once``.
    small_reply: bytes under which a reply is one of a source that is followed closely.
    """

    seed: int
    operations: int
    faults: Faults
    launches: tuple[Launch, ...]
    families: tuple[str, ...]
    processes: int = 1
    helpers: int = 0
    initial: int = 10
    pause: float = 0.1
    writers: int = 2
    structure: bool = False
    poison: bool = False
    misfits: bool = False
    hidden: bool = False
    refuses: bool = False
    transactions: float = 0.2
    source_noise: float = 0.0
    destination_noise: float = 0.0
    unknown: float = 0.0
    locks: float = 0.0
    by_time: float = 0.0
    slow: float = 0.02
    sticky: float = 0.0
    lag: float = 0.1
    once: bool = False
    expanded: bool = True
    on_drop: str = "keep"
    anew: float = 0.0
    small_reply: int = 0


#: Of faults; a kill is the most telling.
KINDS = ("kill", "kill", "stop", "freeze", "source", "destination")

FAMILIES = ("numbers", "integers", "texts", "objects", "zoo", "late", "compound")


def plan_of(seed: int, *, helped: bool = True) -> Plan:
    """The plan of a seed. helped: others may help with its copies."""
    rng = random.Random(f"plan {seed}")
    deletes = random.Random(f"deletes {seed}")
    strategies = deletes.choice((("hard",), ("soft",), ("hard", "soft", "both")))
    processes = rng.choice((1, 1, 1, 2, 2, 3))
    noisy = rng.random() < 0.5
    operations = rng.choice((20, 40, 80, 120))
    pause = rng.choice((0.02, 0.1, 0.3))
    writers = rng.choice((1, 2, 3))
    lasts = operations * pause / writers + 8.0
    faults = [
        Fault(
            at=round(rng.uniform(0.0, lasts), 3),
            kind=rng.choice(KINDS),
            process=rng.randrange(processes),
            seconds=rng.choice((0.1, 1.0, 5.0, 15.0)),
            switches=rng.randrange(20),
        )
        for _ in range(rng.choice((0, 1, 2, 3, 5)))
    ]
    resyncs = random.Random(f"resyncs {seed}")
    faults += [
        Fault(
            at=round(resyncs.uniform(0.0, lasts), 3),
            kind=resyncs.choice(("resync", "resync", "rollover")),
            switches=resyncs.randrange(20),
        )
        for _ in range(resyncs.choice((0, 0, 1, 2, 4)))
    ]
    helping = random.Random(f"helpers {seed}")
    helpers = helping.choice((0, 0, 1, 2)) if helped else 0
    faults += [
        Fault(
            at=round(helping.uniform(0.0, lasts), 3),
            kind=helping.choice(("kill", "freeze", "stop")),
            process=helping.randrange(helpers),
            seconds=helping.choice((0.1, 1.0, 8.0)),
            switches=helping.randrange(20),
            helper=True,
        )
        for _ in range(helping.choice((0, 1, 2, 3)) if helpers else 0)
    ]
    leaves = resyncs.choice(("", "", "", "users", "orders"))
    plan = Plan(
        seed=seed,
        operations=operations,
        faults=tuple(sorted(faults, key=lambda each: each.at)),
        launches=(
            # The first is that of the last run too, which has to follow everything.
            _launch(rng, deletes.choice(strategies)),
            _launch(rng, deletes.choice(strategies), leaves),
            _launch(rng, deletes.choice(strategies)),
        ),
        families=tuple(rng.choice(FAMILIES) for _ in range(rng.choice((1, 2, 3)))),
        processes=processes,
        helpers=helpers,
        initial=rng.choice((0, 5, 15, 30)) + 30 * bool(helpers),
        pause=pause,
        writers=writers,
        structure=rng.random() < 0.3 or resyncs.random() < 0.3,
        poison=rng.random() < 0.25,
        misfits=rng.random() < 0.25,
        hidden=rng.random() < 0.2,
        refuses=rng.random() < 0.1,
        transactions=rng.choice((0.0, 0.2, 0.6)),
        source_noise=rng.choice((0.01, 0.05)) if noisy else 0.0,
        destination_noise=rng.choice((0.0, 0.01, 0.05)) if noisy else 0.0,
        unknown=rng.choice((0.0, 0.05)) if noisy else 0.0,
        locks=rng.choice((0.0, 0.2)),
        by_time=rng.choice((0.0, 0.5, 1.0)),
        # Else a copy is over before anybody can help.
        slow=rng.choice((0.0, 0.02, 0.1)) + 0.1 * bool(helpers),
        sticky=rng.choice((0.0, 0.0, 0.5, 0.9)),
        lag=rng.choice((0.0, 0.1, 1.0)),
        once=rng.random() < 0.1,
        expanded=resyncs.random() < 0.7,
        on_drop=resyncs.choice(("keep", "keep", "truncate", "drop")),
        anew=resyncs.choice((0.0, 0.0, 0.0, 0.3)),
        small_reply=random.Random(f"replies {seed}").choice((0, 1_000, 1 << 20)),
    )
    if rng.random() < 0.2:
        seconds = rng.choice((0.02, 0.2, 1.0, 5.0))
        fault = Fault(round(rng.uniform(0.0, lasts), 3), "promote", seconds=seconds)
        plan = replace(plan, faults=(*plan.faults, fault))
    return plan


def _launch(rng: random.Random, deletion: str, leaves: str = "") -> Launch:
    return Launch(
        workers=rng.choice((1, 2, 3)),
        lanes=rng.choice((1, 1, 2, 3, 4)),
        first=rng.choice((1, 1, 2, 3, 4)),
        batch_size=rng.choice((1, 2, 3, 5, 20)),
        batch_bytes=rng.choice((200, 1000, 1 << 24, 1 << 24, 1 << 24)),
        deletion=deletion,
        leaves=leaves,
    )
