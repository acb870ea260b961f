"""The compiled core's extensions and the switches of its build, nothing else.

CWARP_DEBUG=1     bounds checks inside Cython, symbols for gdb, no optimisation
CWARP_COVERAGE=1  line tracing, for coverage of the .pyx files
CWARP_SANITIZE=1  AddressSanitizer and UndefinedBehaviorSanitizer; "fuzzer" instead of
                  1 adds libFuzzer's counters (clang alone)
CWARP_SKIP_CORE=1 no extension at all: the Makefile installs the package once and
                  compiles the core in place, module by module, as it changes

A debug, coverage or sanitize build has its own directory of generated C and always
compiles afresh; a plain build after it needs ``make clean``.
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

SWITCHES = ("debug", "coverage", "sanitize")
chosen = [s for s in SWITCHES if os.environ.get(f"CWARP_{s.upper()}", "0") != "0"]

directives: dict[str, object] = {
    "auto_pickle": False,
    "boundscheck": False,
    "cdivision": True,
    "embedsignature": False,
    "initializedcheck": False,
    "language_level": 3,
    "wraparound": False,
}
compile_args = ["-O3", "-g0"]
link_args: list[str] = []
macros: list[tuple[str, str | None]] = []

if "debug" in chosen:
    directives |= {"boundscheck": True, "initializedcheck": True}
    compile_args = ["-O0", "-g3"]
if "coverage" in chosen:
    directives["linetrace"] = True
    macros += [("CYTHON_TRACE_NOGIL", "1"), ("CYTHON_USE_SYS_MONITORING", "0")]
if "sanitize" in chosen:
    sanitize = "-fsanitize=address,undefined"
    compile_args += [
        sanitize,
        "-fno-sanitize-recover=all",
        "-fno-omit-frame-pointer",
        "-g1",
    ]
    if os.environ["CWARP_SANITIZE"] == "fuzzer":
        compile_args.append("-fsanitize=fuzzer-no-link")
    link_args.append(sanitize)

sources = sorted(Path("cwarp_core").glob("*.pyx"))
if os.environ.get("CWARP_SKIP_CORE", "0") != "0":
    sources = []

extensions = [
    Extension(
        f"cwarp_core.{source.stem}",
        [str(source)],
        define_macros=macros,
        extra_compile_args=compile_args,
        extra_link_args=link_args,
    )
    for source in sources
]

setup(
    ext_modules=cythonize(
        extensions,
        build_dir="/".join(["build", "-".join(["cython", *chosen])]),
        compiler_directives=directives,
        force=bool(chosen),
    ),
    options={"build_ext": {"force": bool(chosen), "parallel": os.cpu_count() or 1}},
)
