"""What a process has: memory, descriptors, threads, as Linux tells."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import NamedTuple

#: Elsewhere nothing is known, and nothing is judged.
KNOWN = Path("/proc/self/fd").is_dir()

MEBIBYTE = 1 << 20


class Usage(NamedTuple):
    """rss, peak: bytes in memory, now and at most so far."""

    rss: int = 0
    peak: int = 0
    descriptors: int = 0
    threads: int = 0

    def most(self, other: Usage) -> Usage:
        """The greater of each figure."""
        return Usage(*map(max, self, other))

    def times(self, number: int) -> Usage:
        """Each figure so many times."""
        return Usage(*(number * each for each in self))

    def __str__(self) -> str:
        return (
            f"{self.rss / MEBIBYTE:.0f} MiB (at most {self.peak / MEBIBYTE:.0f}), "
            f"{self.descriptors} descriptors, {self.threads} threads"
        )


def usage(pid: int) -> Usage:
    """Of a process; nothing of one that is gone."""
    found: dict[str, int] = {}
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in ("VmRSS", "VmHWM", "Threads"):
                found[name] = int(value.split()[0])
        found["descriptors"] = len(os.listdir(f"/proc/{pid}/fd"))
    return Usage(
        1024 * found.get("VmRSS", 0),
        1024 * found.get("VmHWM", 0),
        found.get("descriptors", 0),
        found.get("Threads", 0),
    )
