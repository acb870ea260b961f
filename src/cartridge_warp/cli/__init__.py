"""The command line. ``main`` is the entry point and returns the exit code.

Light to import: until ``main`` has taken Ctrl-C, one would end in a traceback.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from types import FrameType

#: What the process returns after a Ctrl-C that finds nothing begun.
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (default: that of the process); return the exit code."""
    before = signal.getsignal(signal.SIGINT)
    takes = before is signal.default_int_handler
    if takes:
        signal.signal(signal.SIGINT, _leave)
    # Half a second of modules.
    from .verbs import run

    def ready() -> None:
        if takes:
            signal.signal(signal.SIGINT, before)

    code = run(arguments, ready)
    if takes and arguments is None:
        # Only the interpreter's own end is left; nobody needs a traceback out of that.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return code


def _leave(_signum: int, _frame: FrameType | None) -> None:
    os._exit(_INTERRUPTED)
