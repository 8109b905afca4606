"""
What `arrowetl bench` recommends next to the best of an exhaustive sweep, re-measured in turn.

    nox -s benchmark -- sweep [--share 0.4] [--seconds 60]

For procedurelog and securitylog, to the warehouse alone and to both targets: `bench` first, then every size of
partition with every number of workers, twice; then the best two, the recommended one and the default, in turn. Shows
the recommended one's share of the best, by medians, and of the default, by the median of pairs.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import bench as next_to

import arrowetl
from arrowetl import bench
from arrowetl.bench import Trial, Trials
from arrowetl.config import env
from arrowetl.planning.pacing import Pace
from arrowetl.sandbox import servers

WORKERS_MAX = 4
TURNS, FINAL_TURNS, FINALISTS = 2, 7, 2
TRIAL_SECONDS = 2.0


def rate(at: Trials, pace: Pace) -> float:
    """Rows a second of one more trial."""
    # One trial's share of what is left is to be this long.
    at.deadline = time.monotonic() + TRIAL_SECONDS
    return at.trial(pace, left=1).rows_per_second


def in_turn(at: Trials, paces: list[Pace], turns: int) -> dict[Pace, list[float]]:
    found: dict[Pace, list[float]] = defaultdict(list)
    for _ in range(turns):
        for pace in paces:
            found[pace].append(rate(at, pace))
    return found


def swept(
    environment: Mapping[str, str], config_file: Path, table: str, to: str, seconds: float
) -> tuple[float, float]:
    """The recommended one's share of the best, and of the default."""
    settings = env.settings_from_environment(environment, config_file)
    tried = bench.bench(settings, table, to, seconds, lambda trial: None)
    recommended, default = _pace(tried.best), _pace(tried.default)
    with bench.trials(settings, table, to, time.monotonic() + seconds, lambda trial: None) as at:
        sizes = sorted({*at.sizes(), default.partition_bytes})
        # Beyond those, partitions would wait for each other's memory.
        grid = [Pace(size, count) for size in sizes for count in at.counts(size) if count <= WORKERS_MAX]
        rate(at, default)  # the first one finds cold caches
        rates = in_turn(at, grid, TURNS)
        best = sorted(grid, key=lambda pace: -statistics.median(rates[pace]))[:FINALISTS]
        final = in_turn(at, list(dict.fromkeys([*best, recommended, default])), FINAL_TURNS)
    top = max((*best, recommended), key=lambda pace: statistics.median(final[pace]))
    of_best = statistics.median(final[recommended]) / statistics.median(final[top])
    of_default = statistics.median(a / b for a, b in zip(final[recommended], final[default], strict=True))
    print(
        f"{table} to {to}: recommended {_reported(recommended)}, best {_reported(top)} of {len(grid)}: "
        f"{of_best:.2f} of it; {of_default:.2f} of the default, {_reported(default)}",
        flush=True,
    )
    return of_best, of_default


def _pace(trial: Trial) -> Pace:
    return Pace(trial.partition_bytes, trial.workers)


def _reported(pace: Pace) -> str:
    return f"{pace.at_a_time} × {pace.partition_bytes / 2**20:.1f} MiB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=0.4, help="of a million rows")
    parser.add_argument("--seconds", type=float, default=60, help="that bench has for a table")
    asked = parser.parse_args()
    shares = []
    with servers.sandbox("sweep") as sandbox, tempfile.TemporaryDirectory() as directory:
        environment, config_file = sandbox.environment(), Path(directory) / "tables.yml"
        for name in ("wide", "narrow"):
            next_to.fill(sandbox, next_to.SCENARIOS[name], asked.share)
            with arrowetl.open(environment, config_file) as etl:
                etl.analyze()
            for to in ("warehouse", "both"):
                shares.append(swept(environment, config_file, next_to.SCENARIOS[name].table, to, asked.seconds))
    print(f"within 10% of the best: {sum(of_best >= 0.9 for of_best, _ in shares)} of {len(shares)}")


if __name__ == "__main__":
    main()
