"""Filters that no collection can ever pass, whatever the source has one day."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from .check import Checked, Values
from .patterns import Patterns, is_plain, passes

#: Names that a message shows, at most.
_SHOWN: Final = 5


class _Level(Struct, frozen=True):
    """The two lists of one level, and their paths."""

    whitelist: str
    blacklist: str
    white: Patterns
    black: Patterns

    @classmethod
    def of(cls, values: Values, base: str) -> _Level:
        white, black = f"{base}table_whitelist", f"{base}table_blacklist"
        return cls(white, black, _names(values, white), _names(values, black))

    @property
    def decides(self) -> str:
        """The list that counts."""
        return self.whitelist if self.white else self.blacklist

    def passes(self, name: str) -> bool:
        return passes(name, self.white, self.black)


def check(checked: Checked, chosen: list[Values]) -> None:
    """Records a problem for every filter by which nothing can be selected.

    chosen: the schemas to run, as they were written.
    """
    everywhere = _Level.of(checked.values, "global_")
    if not _selects(checked, everywhere):
        return
    for at, schema in enumerate(checked.values.get("schemas", [])):
        if not any(each.get("name") == schema.get("name") for each in chosen):
            continue
        own = _Level.of(schema, f"schemas[{at}].")
        if _selects(checked, own):
            _agree(checked, own, everywhere)


def _selects(checked: Checked, level: _Level) -> bool:
    """Can a name pass this level alone? Records a problem where none can."""
    if level.white or not any(name and not name.strip("*") for name in level.black):
        return True
    checked.blame(
        level.blacklist,
        "'*' leaves every collection out, so nothing can be synced",
        f"name the collections to sync in {checked.name(level.whitelist)} instead",
    )
    return False


def _agree(checked: Checked, own: _Level, everywhere: _Level) -> None:
    """Can a name pass both levels? As far as plain names tell."""
    for level, other in ((own, everywhere), (everywhere, own)):
        names = level.white
        if not names or not all(map(is_plain, names)):
            continue
        if any(map(other.passes, names)):
            continue
        here, there = checked.name(level.whitelist), checked.name(other.decides)
        shown = ", ".join(names[:_SHOWN]) + ", ..." * (len(names) > _SHOWN)
        if other.white:
            reason, hint = "does not name", f"add one of them to {there}"
        else:
            reason, hint = "leaves out", f"take one of them out of {there}"
        if len(names) == 1:
            hint = hint.replace("one of them", names[0])
        checked.blame(
            level.whitelist,
            f"selects {shown} alone, which {there} {reason}, so nothing can be synced",
            f"both levels have to agree: {hint}, or change {here}",
        )
        return


def _names(values: Values, path: str) -> Patterns:
    return tuple(values.get(path.rpartition(".")[2], ()))
