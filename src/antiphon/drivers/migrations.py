"""Steps that bring a schema forward: the files `0001_….sql`, `0002_….sql`, … in the folder `migrations` of a driver.

A step's first line says which program may still use what it has made: `-- oldest program: 1`. So a step that only
adds leaves older workers at work beside newer ones, and one that does not lets them say why they stop. A step that was
released is never changed. (No maintained library fits: yoyo wants a second, blocking driver for PostgreSQL,
asyncpg-trek and pogo-migrate know no SQLite, alembic brings SQLAlchemy, and none of them knows of older programs.)
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

_NAME: Final = re.compile(r"(\d{4})_\w+\.sql", re.ASCII)
_OLDEST: Final = re.compile(r"-- oldest program: (\d+)\n")


class SchemaError(RuntimeError):
    """What is stored was written by a program that this one does not understand."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step forward."""

    number: int
    """The version of the schema when it is done, and of the programs that know it."""
    oldest: int
    """The oldest program that may be at work afterwards."""
    sql: str


def steps_of(package: str) -> tuple[Step, ...]:
    """Return the steps of a driver, in order."""
    found = []
    for file in files(package).joinpath("migrations").iterdir():
        if name := _NAME.fullmatch(file.name):
            sql = file.read_text("utf-8")
            oldest = _OLDEST.match(sql)
            assert oldest is not None, f"{file.name} does not say what may use it"
            found.append(Step(int(name[1]), int(oldest[1]), sql))
    found.sort(key=lambda step: step.number)
    assert [step.number for step in found] == list(range(1, len(found) + 1))
    return tuple(found)


def missing(steps: Sequence[Step], version: int, oldest: int) -> Sequence[Step]:
    """Return the steps to be done on a schema of `version`, which programs from `oldest` on may use.

    Raises SchemaError if this program is too old for it.
    """
    known = len(steps)
    if oldest > known:
        raise SchemaError(
            f"the database has schema version {max(version, oldest)} and wants a program that knows {oldest} "
            f"or later; this release of Antiphon knows {known}"
        )
    return steps[version:]
