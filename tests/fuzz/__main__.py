"""``make fuzz``: libFuzzer over the core, compiled with ASan and UBSan, for a time.

Exits 1 on a finding and prints where its input is kept; ``--input FILE`` runs one
input again. What was learned stays in ``build/fuzz/corpus`` for the next run.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "fuzz"
LEARNED, SEEDS, FINDINGS = (BUILD / name for name in ("corpus", "seeds", "findings"))
#: Set in the process that runs under the sanitizers.
INSIDE = "CWARP_FUZZ_INSIDE"


def run_inside(arguments: list[str]) -> int:
    """The fuzzer itself; libFuzzer ends the process on a finding."""
    driver = importlib.import_module("cwarp_fuzz")
    import cwarp_core
    from tests.fuzz.target import one_input

    if not str(cwarp_core.__file__).startswith(str(BUILD)):
        raise SystemExit(f"not the instrumented core: {cwarp_core.__file__}")
    given: int = driver.run([b"cwarp", *map(os.fsencode, arguments)], one_input)
    return given


def environment() -> dict[str, str]:
    """Both runtimes preloaded, libFuzzer's first: ASan has stubs of its counters."""
    found = subprocess.run(
        ["clang", f"-print-file-name=libclang_rt.asan-{os.uname().machine}.so"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    return os.environ | {
        INSIDE: "1",
        "LD_PRELOAD": f"{BUILD / 'libfuzzer.so'} {found}",
        "PYTHONPATH": os.pathsep.join([str(BUILD), str(ROOT)]),
        # Each bytes object gets an allocation, and so a red zone, of its own.
        "PYTHONMALLOC": "malloc",
        "ASAN_OPTIONS": "detect_leaks=0:verify_asan_link_order=0:handle_abort=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--input", type=Path, help="run this one input and no other")
    options = parser.parse_args()
    command = [sys.executable, "-P", "-m", "tests.fuzz"]
    if options.input:
        given = [*command, str(options.input.resolve())]
        return subprocess.run(given, cwd=BUILD, env=environment()).returncode

    from tests.fix_data import CORPUS
    from tests.fuzz import seeds

    for directory in (LEARNED, FINDINGS):
        directory.mkdir(parents=True, exist_ok=True)
    print(f"{seeds.write(CORPUS, SEEDS)} seeds, {options.seconds} s", flush=True)
    command += [
        f"-max_total_time={options.seconds}",
        f"-artifact_prefix={FINDINGS}/",
        *("-timeout=30", "-rss_limit_mb=3000", "-max_len=4096"),
        *("-use_value_profile=1", "-print_final_stats=1", "-verbosity=1"),
        *(str(LEARNED), str(SEEDS)),
    ]
    with subprocess.Popen(
        command, cwd=BUILD, env=environment(), stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        runs = 0
        for line in process.stderr:
            if found := re.match(r"(?:#|Done )(\d+)", line):
                runs = int(found[1])
            if not re.match(r"#\d+\s+(?:NEW|REDUCE|RELOAD)|\tNEW_FUNC", line):
                print(line, end="", flush=True)
    failed = process.returncode != 0
    print(f"executions {runs}, findings {int(failed)}")
    if failed:
        newest = max(FINDINGS.iterdir(), key=lambda file: file.stat().st_mtime)
        print(f"run it again: {sys.executable} -m tests.fuzz --input {newest}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(run_inside(sys.argv[1:]) if os.environ.get(INSIDE) else main())
