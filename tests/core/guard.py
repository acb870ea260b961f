"""A ``bytes`` object whose last byte is the last one before a page nobody may touch.

CPython has no way to allocate one, so the object is laid by hand: the header of a real
``bytes`` object of the same size, then the data, ending where the guarded page begins.
Its own terminating NUL would be the first guarded byte. A read past the end is a
segmentation fault, in the very build that users run.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Callable
from typing import cast

_HEADER = bytes.__basicsize__ - 1
_LIBC = ctypes.CDLL(None, use_errno=True)
_PROT_NONE = 0


class GuardedPages:
    """Room for one object at a time, of up to ``size`` bytes with its header."""

    def __init__(self, size: int = 1 << 20) -> None:
        self._room = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        self._map = mmap.mmap(-1, self._room + mmap.PAGESIZE)
        self._start = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        self.end = self._start + self._room
        given = _LIBC.mprotect(
            ctypes.c_void_p(self.end), ctypes.c_size_t(mmap.PAGESIZE), _PROT_NONE
        )
        if given:
            raise OSError(ctypes.get_errno(), "mprotect")

    def hand(self, data: bytes, function: Callable[[bytes], object]) -> None:
        """Call ``function`` with ``data`` at the guarded page; it may not keep it."""
        if len(data) + _HEADER > self._room:
            raise ValueError(f"{len(data)} bytes do not fit")
        real = bytes(bytearray(data))
        address = self.end - len(data) - _HEADER
        ctypes.memmove(address, id(real), _HEADER)
        ctypes.memmove(address + _HEADER, data, len(data))
        # The copied count is above zero, so that nothing ever frees this object.
        guarded = cast(bytes, ctypes.cast(address, ctypes.py_object).value)
        before = sys.getrefcount(guarded)
        function(guarded)
        kept = sys.getrefcount(guarded) - before
        assert kept == 0, f"{kept} references to the bytes were kept"
