"""How the process holds memory: what a batch has freed, the next one takes again."""

from __future__ import annotations

import ctypes
import gc

#: glibc's own numbers (malloc.h); and the largest threshold it takes.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_LARGEST = 32 << 20


def settle() -> None:
    """Call once, when everything is imported and before the work begins.

    Each batch needs some buffers of megabytes and frees them. glibc gives such memory
    back to the system at once, which then clears every page of it for the next batch:
    a quarter of a first copy's CPU. Other C libraries are left as they are.

    The objects that exist now stay, so the collector needs not look at them again.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST)
        mallopt(_M_TRIM_THRESHOLD, _LARGEST)
    gc.collect()
    gc.freeze()
