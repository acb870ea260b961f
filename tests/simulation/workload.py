"""The writers: a seeded life of documents, with few ids, so that they meet again."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import bson
from bson import Decimal128, Int64

from .plan import Plan
from .source import PASSING
from .world import World, Writing

#: Names of the collections at the start.
NAMES = ("orders", "users", "items")

#: One that is not synced.
HIDDEN = "hidden"


def identities(family: str, rng: random.Random) -> list[list[object]]:
    """The ids of a collection; each with the forms in which a client may write it."""
    numbers: list[list[object]] = [
        [number, Int64(number), float(number), Decimal128(str(number))]
        for number in range(-2, 6)
    ]
    integers: list[list[object]] = [[number] for number in range(10)]
    texts: list[list[object]] = [[text] for text in ("", "a", "b", "ba", "é", "z", "1")]
    objects: list[list[object]] = [
        [bson.ObjectId(bytes([number]) * 12)] for number in range(8)
    ]
    compound: list[list[object]] = [
        [{"a": 1, "b": 2}],
        [{"b": 2, "a": 1}],
        [{"a": 1}, {"a": 1.0}],
        [{"a": "x", "b": {"c": 1}}],
        [{}],
    ]
    if family == "numbers":
        return [*numbers, [float("nan")], [0.5], [-7.25]]
    if family == "zoo":
        rare: list[list[object]] = [[None], [True], [b"\x00\x01"], [bson.MinKey()]]
        some = [*numbers, *texts, *objects, *compound, *rare]
        return rng.sample(some, 12)
    return {
        "integers": integers,
        "texts": texts,
        "objects": objects,
        "compound": compound,
        "late": [*integers[:6], ["late"], [2.5], ["later"]],
    }[family]


class Writers:
    """Changes documents until the plan's operations are used up."""

    def __init__(self, world: World, plan: Plan, rng: random.Random) -> None:
        self.running = 0
        self.renames = 0
        self._world = world
        self._plan = plan
        self._rng = rng
        self._left = plan.operations
        self._ids = {
            name: identities(family, rng)
            for name, family in zip(NAMES, plan.families, strict=False)
        }
        self._families = dict(zip(NAMES, plan.families, strict=False))
        if plan.hidden:
            self._families[HIDDEN] = "integers"
            self._ids[HIDDEN] = identities("integers", rng)

    def begin(self) -> None:
        """The documents of the start, and the writers' tasks."""
        for _ in range(self._plan.initial):
            self._world.write([self._change()])
        self._world.commit(self._world.newest)
        for number in range(self._plan.writers):
            self.running += 1
            self._world.scheduler.start(self._world.owner, self._go_on, f"w{number}")

    def _go_on(self) -> None:
        while self._left > 0:
            self._left -= 1
            pause = self._plan.pause * 2 * self._rng.random()
            self._world.scheduler.sleep(pause, "between two writes")
            self._one()
        self.running -= 1

    def _one(self) -> None:
        rng = self._rng
        if self._plan.structure and rng.random() < 0.05:
            self._structure()
            return
        number = rng.choice((2, 3, 5)) if rng.random() < self._plan.transactions else 1
        self._world.write([self._change() for _ in range(number)])
        last = self._world.history[-1:]
        for entry in last:
            self._world.scheduler.note(f"{entry.operation} {entry.collection}")

    def _structure(self) -> None:
        name = self._rng.choice(list(self._ids))
        chance = self._rng.random()
        if chance < 0.05:
            self._world.drop_all()
            return
        if chance < 0.45:
            self._world.drop(name)
            return
        if chance < 0.6:
            self._replace(name)
            return
        self.renames += 1
        to = f"{name}_{self.renames}"
        if name == HIDDEN or self._world.collection(name, self._world.newest) is None:
            return
        self._world.rename(name, to)
        if self._rng.random() < 0.5:
            self._ids[to] = self._ids[name]
            self._families[to] = self._families[name]

    def _replace(self, name: str) -> None:
        """Another collection takes the name, as by ``$out``."""
        others = [each for each in self._ids if each not in (name, HIDDEN)]
        if others and self._rng.random() < 0.5:
            self._world.rename(self._rng.choice(others), name)
            return
        self.renames += 1
        passing = f"{PASSING}{self.renames}"
        for _ in range(self._rng.choice((1, 3))):
            self._world.write([self._change(name, passing)])
        self._world.rename(passing, name)

    def _change(self, like: str = "", name: str = "") -> Callable[[Writing], None]:
        """like, name: of a document like one of a collection, in another one."""
        rng = self._rng
        if not name:
            like = name = rng.choice(list(self._ids))
        forms = self._ids[like]
        if self._families[like] == "late" and self._left > self._plan.operations // 2:
            forms = forms[:6]
        form = rng.choice(rng.choice(forms))
        fields = self._fields()
        return partial(_change, name=name, identity=form, fields=fields, rng=rng)

    def _fields(self) -> dict[str, Any]:
        rng = self._rng
        fields: dict[str, Any] = {"name": rng.choice(("ann", "bob", "eve"))}
        if rng.random() < 0.2:
            fields[f"f{rng.randrange(6)}"] = rng.choice((1, "text", 2.5, True))
        if rng.random() < 0.1:
            fields["deep"] = {"x": rng.randrange(3), "y": [1, 2]}
        if self._plan.misfits and rng.random() < 0.15:
            fields["n_text"] = rng.choice((1, "misfit"))
        if self._plan.poison and rng.random() < 0.08:
            fields["poison"] = True
        return fields


def _change(
    writing: Writing,
    *,
    name: str,
    identity: object,
    fields: dict[str, Any],
    rng: random.Random,
) -> None:
    now = writing.current(name, identity)
    if now is None:
        writing.put("insert", name, identity, fields)
        return
    identity = now.pop("_id")
    now.pop("n")
    chance = rng.random()
    if chance < 0.3:
        writing.delete(name, identity)
    elif chance < 0.5:
        writing.put("replace", name, identity, fields)
    else:
        writing.put("update", name, identity, {**now, **fields})
