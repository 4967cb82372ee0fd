"""Real processes that are killed and frozen while answers are made: every answer ends once, and truthfully.

`make chaos` does the same for longer.
"""

import asyncio
import os
from random import SystemRandom

import pytest

from chaos.storm import Weather, storm

_SEED = "ANTIPHON_SEED"


@pytest.fixture(params=["sqlite", "postgres"])
def storage(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/antiphon.db"
    return request.getfixturevalue("postgres_url")


def test_answers_survive_the_death_and_the_sleep_of_workers(tmp_path, storage):
    seed = int(os.environ.get(_SEED, "0")) or SystemRandom().randrange(1, 1 << 32)
    print(f"{_SEED}={seed} brings the same weather")
    weather = Weather(seconds=15, runs=40, seed=seed, frames=20, gap=0.25, gateways=(1, 2))

    outcome = asyncio.run(storm(tmp_path, storage, weather, print))
    print(outcome)

    assert outcome.violations == []
    assert outcome.counts["accepted"] == weather.runs
    assert outcome.counts["completed"] > 0
