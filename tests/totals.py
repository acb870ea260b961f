"""What a session of fault tests stands for, counted where it happens."""

from __future__ import annotations

import threading
from collections import Counter

_lock = threading.Lock()
_counts: dict[str, Counter[str]] = {}


def count(group: str, name: str, number: int = 1) -> None:
    """Add to one figure: of a group (``kills``, ``codes``, ``toxics``), by name."""
    with _lock:
        _counts.setdefault(group, Counter())[name] += number


def lines() -> list[str]:
    """One line a group: its sum, and its parts, the most frequent first."""
    with _lock:
        return [
            f"{group}: {sum(parts.values()):,} ("
            + ", ".join(f"{name} {number:,}" for name, number in parts.most_common())
            + ")"
            for group, parts in sorted(_counts.items())
        ]
