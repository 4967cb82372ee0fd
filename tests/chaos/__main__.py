"""The long form: `make chaos ARGS="--seconds 300 --runs 1000 --store postgres"`."""

import argparse
import asyncio
import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import SystemRandom

from chaos.storm import Weather, storm
from postgres import running_postgres


def main() -> int:
    """Return 0 if everything promised was kept."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300, help="how long workers are killed and frozen")
    parser.add_argument("--runs", type=int, default=1000, help="answers that are asked for")
    parser.add_argument("--seed", type=int, default=0, help="of the weather; 0 takes any")
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="sqlite")
    chosen = parser.parse_args()
    seed = chosen.seed or SystemRandom().randrange(1, 1 << 32)
    weather = Weather(
        seconds=chosen.seconds,
        runs=chosen.runs,
        seed=seed,
        frames=40,
        gap=0.5,
        gateways=(1, 1, 1, 2),
        concurrency=250,
        pause=(1.0, 6.0),
    )
    with (
        tempfile.TemporaryDirectory(prefix="antiphon-chaos-") as folder,
        _storage(chosen.store, folder) as url,
    ):
        outcome = asyncio.run(storm(Path(folder), url, weather, lambda told: print(told, flush=True)))
    print(outcome)
    print(f"seed {seed}: {len(outcome.violations)} promises were broken")
    return int(bool(outcome.violations) or outcome.counts["accepted"] < weather.runs)


@contextlib.contextmanager
def _storage(store: str, folder: str) -> Iterator[str]:
    if store == "sqlite":
        yield f"sqlite:///{folder}/antiphon.db"
        return
    with running_postgres() as server:
        yield server.create_database()


if __name__ == "__main__":
    sys.exit(main())
