"""Usage for the hub: as the upstream counted it, or counted here where it did not."""

from collections.abc import Sequence
from dataclasses import asdict

from antiphon.dialects.translation import Telling
from antiphon.turn.events import Item
from antiphon.turn.response import usage_of
from antiphon.turn.usage import Usage


def hub_usage(usage: Usage | None, telling: Telling, said: Sequence[str]) -> Item:
    """Return the `usage` of a response; without one from the upstream, what was asked and `said` is counted."""
    if usage is not None:
        return usage_of(**asdict(usage))
    return usage_of(
        input_tokens=telling.count_input(telling.request), output_tokens=telling.count_tokens(said)
    )
