"""libFuzzer as a Python module: ``run(arguments, function)``.

The engine's library is linked into this module, which must be loaded with its symbols
global before the instrumented core is imported: that is how the core finds the
counters. No Python is embedded, so that any interpreter will do.
"""

from libc.stdint cimport uint8_t
from libc.stdlib cimport abort

import sys
import traceback

cdef extern from *:
    """
    int LLVMFuzzerRunDriver(
        int *argc, char ***argv, int (*call)(const uint8_t *data, size_t size));
    """
    int LLVMFuzzerRunDriver(
        int *argc, char ***argv, int (*call)(const uint8_t *data, size_t size)
    )

cdef object function = None


cdef int call(const uint8_t *data, size_t size) noexcept:
    """One input. A Python exception ends the run as a crash does: input kept."""
    try:
        function(data[:size] if size else b"")
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        abort()
    return 0


def run(list arguments, target):
    """Feed ``target`` until the time is up; ends the process on a finding."""
    global function
    cdef char *argv[64]
    cdef char **pointer = argv
    cdef int argc = 0
    function = target
    if len(arguments) > 63:
        raise ValueError("too many arguments")
    for argument in arguments:
        argv[argc] = argument
        argc += 1
    argv[argc] = NULL
    return LLVMFuzzerRunDriver(&argc, &pointer, call)
