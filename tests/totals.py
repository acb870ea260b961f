"""What a session of tests stands for, counted where it happens."""

from __future__ import annotations

import threading
from collections import Counter

_lock = threading.Lock()
_counts: dict[str, Counter[str]] = {}
_most: dict[str, Counter[str]] = {}


def count(group: str, name: str, number: int = 1) -> None:
    """Add to one figure: of a group (``kills``, ``codes``, ``toxics``), by name."""
    with _lock:
        _counts.setdefault(group, Counter())[name] += number


def most(group: str, name: str, number: int) -> None:
    """Keep the greatest of all that are told."""
    with _lock:
        parts = _most.setdefault(group, Counter())
        parts[name] = max(parts[name], number)


def lines() -> list[str]:
    """One line a group, its parts with the greatest first; the last line is a sum.

    Nothing when nothing was counted.
    """
    with _lock:
        if not _counts:
            return []
        return [
            *(f"{group}: {_parts(parts)}" for group, parts in sorted(_most.items())),
            *(
                f"{group}: {parts.total():,} ({_parts(parts)})"
                for group, parts in sorted(_counts.items())
            ),
            _sum(),
        ]


def _parts(parts: Counter[str]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in parts.most_common())


def _sum() -> str:
    def number(group: str) -> int:
        return _counts.get(group, Counter()).total()

    def kinds(group: str) -> int:
        return len(_counts.get(group, ()))

    return (
        f"in all {number('kills'):,} kills, "
        f"{kinds('codes')} codes thrown {number('codes'):,} times, "
        f"{kinds('toxics')} toxics in force {number('toxics'):,} times, "
        f"{number('seeds'):,} seeds, "
        f"{number('documents compared'):,} documents compared, "
        f"{number('divergences'):,} divergences"
    )
