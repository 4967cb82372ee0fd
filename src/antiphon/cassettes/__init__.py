"""Cassettes for tests: a program's traffic with models is recorded once, and played back without a network.

with antiphon.cassettes.use("cassettes/weather", mode="once") as gateway:
    answer = gateway.openai().responses.create(model="gpt-5.2", input="Will it rain?")
"""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from antiphon.cassettes.handle import CassetteGateway

__all__ = ["use"]


@contextlib.contextmanager
def use(
    cassette: str | os.PathLike[str] | None,
    mode: str = "once",
    *,
    config: str | os.PathLike[str] | None = None,
    pace: str | None = None,
    redact: Sequence[str] = (),
    redact_text: Sequence[str] = (),
    faults: Sequence[str] = (),
    environ: bool = True,
) -> "Iterator[CassetteGateway]":
    """Serve on a free port of this host until the block ends, in a thread with an event loop of its own.

    `mode` is `once`, `new`, `replay`, `strict`, `record` or `append`; `config` a configuration file in place of what
    the environment gives. `environ` is whether the variables that clients read lead to the gateway meanwhile.
    Raises antiphon.settings.ConfigurationError for what cannot be used.
    """
    from antiphon.cassettes.composing import Wanted
    from antiphon.cassettes.serving import ServingThread

    wanted = Wanted(
        None if cassette is None else str(cassette),
        mode,
        None if config is None else Path(config),
        pace,
        tuple(redact),
        tuple(redact_text),
        tuple(faults),
    )
    with ServingThread() as thread:
        gateway = thread.open(wanted, dict(os.environ))
        with variables_set(gateway.environ if environ else {}):
            try:
                yield gateway
            finally:
                thread.close_gateway()


@contextlib.contextmanager
def variables_set(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables until the block ends."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
