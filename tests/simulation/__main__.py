"""``python -m tests.simulation --seed N [--trace]``, or ``--seeds A-B``."""

from __future__ import annotations

import argparse
import logging
import sys
import time

from .plan import plan_of
from .run import run
from .shrink import report, shrink


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--seeds", default="", help="A-B, both included")
    parser.add_argument("--trace", action="store_true", help="print every switch")
    parser.add_argument(
        "--shrink", action="store_true", help="print the shortest failing run"
    )
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    first, _, last = given.seeds.partition("-")
    seeds = [given.seed] if given.seed is not None else range(int(first), int(last) + 1)
    failed = 0
    started = time.process_time()
    for seed in seeds:
        outcome = run(plan_of(seed))
        if outcome.failure:
            failed += 1
            print(f"seed {seed}: {outcome.failure}", flush=True)
        if given.trace:
            print(report(outcome, lines=len(outcome.trace)))
        elif given.shrink and outcome.failure:
            print(report(shrink(outcome)))
    print(f"{failed} failed of {len(seeds)}; {time.process_time() - started:.1f} s CPU")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
