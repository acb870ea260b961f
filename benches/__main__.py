"""``python -m benches``: run the benchmarks and tell what they found."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from pathlib import Path

from . import (
    bench_encode,
    bench_isolation,
    bench_snapshot,
    bench_stream,
    bench_workers,
    meter,
)
from .meter import Report

_RESULTS = Path(__file__).with_name("results")
_BENCHES: dict[str, tuple[Callable[[int], Report], int]] = {
    "encode": (bench_encode.run, bench_encode.DOCUMENTS),
    "snapshot": (bench_snapshot.run, bench_snapshot.DOCUMENTS),
    "stream": (bench_stream.run, bench_stream.DOCUMENTS),
    "isolation": (bench_isolation.run, bench_isolation.DOCUMENTS),
    "workers": (bench_workers.run, bench_workers.DOCUMENTS),
}


def main() -> None:
    parser = argparse.ArgumentParser("python -m benches", description=__doc__)
    parser.add_argument("bench", nargs="*", choices=[[], *_BENCHES], metavar="BENCH")
    parser.add_argument(
        "--documents", type=int, metavar="N", help="instead of each one's own number"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument(
        "--write", action="store_true", help="write benches/results/BENCH.md"
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="measure encode over these .json, .jsonl and .bson files too",
    )
    args = parser.parse_args()
    if args.documents is not None and args.documents < 1_000:
        parser.error("--documents: at least 1000, or there is nothing to measure")
    told = []
    for name in args.bench or _BENCHES:
        run, documents = _BENCHES[name]
        if name == "encode" and args.data is not None:
            run = partial(bench_encode.run, directory=args.data)
        report = run(args.documents or documents)
        facts = _facts(name, args.documents)
        told.append(_plain(report, facts))
        text = _markdown(report, facts)
        if not args.json:
            print(text, flush=True)
        if args.write:
            _RESULTS.mkdir(exist_ok=True)
            (_RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
    if args.json:
        print(json.dumps(told, indent=2))


def _facts(name: str, documents: int | None) -> dict[str, str]:
    chosen = f" --documents {documents}" if documents else ""
    return {
        "machine": meter.machine(),
        "versions": meter.versions(),
        "command": f"python -m benches {name}{chosen}",
        "date": date.today().isoformat(),
    }


def _plain(report: Report, facts: dict[str, str]) -> dict[str, object]:
    """The report for machines; a ratio that is not known is null."""
    return {
        "bench": report.name,
        **facts,
        "rows": [dict(zip(report.header, row, strict=True)) for row in report.rows],
        "ratios": {
            name: value if math.isfinite(value) else None
            for name, value in report.ratios.items()
        },
        "observations": report.observations,
    }


def _markdown(report: Report, facts: dict[str, str]) -> str:
    lines = [f"# {report.name}", ""]
    lines += [f"- {name}: {value}" for name, value in facts.items()]
    lines += ["", *report.setup, ""]
    lines += _table(report.header, report.rows)
    lines += ["", "## Ratios", ""]
    ratios = [(name, f"{value:,.2f}") for name, value in report.ratios.items()]
    lines += _table(("ratio", "figure"), ratios)
    lines += ["", "## Observations", ""]
    lines += [f"- {observation}" for observation in report.observations]
    return "\n".join(lines) + "\n"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    rules = ["---", *("---:" for _ in header[1:])]
    return [f"| {' | '.join(row)} |" for row in (header, rules, *rows)]


if __name__ == "__main__":
    main()
