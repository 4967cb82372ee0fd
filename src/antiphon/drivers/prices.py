"""What a turn costs, by the public prices that come with the `genai-prices` library. No network.

The library takes tens of microseconds for each price and a fifth of a second to load, so it is asked only for the
rates of a model, when one is first seen; costs are then a few multiplications. To be used off the event loop.
"""

import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from antiphon.turn.usage import Usage

if TYPE_CHECKING:
    from genai_prices import types

_LIMIT: Final = 512
_LONGEST_NAME: Final = 200
_VALIDITY: Final = 900
"""Seconds for which rates are kept: some providers are cheaper at certain hours, which begin at full quarters."""

_TYPE_PROVIDERS: Final = {
    "openai": "openai",
    "anthropic": "anthropic",
    "gemini": "google",
    "azure": "azure",
    "groq": "groq",
    "deepseek": "deepseek",
    "mistral": "mistral",
    "openrouter": "openrouter",
    "xai": "x-ai",
    "together": "together",
}
"""Whose prices are taken for a provider type at an address that the library does not know, such as a proxy."""


@dataclass(frozen=True, slots=True)
class _Tier:
    """US dollars for one token of each kind, while there are more input tokens than `above`."""

    above: int
    input: float
    output: float
    cached: float
    cache_write: float
    audio_input: float
    audio_output: float


@dataclass(frozen=True, slots=True)
class _Rates:
    """The price of a model: a fee for each request, and tiers from the lowest."""

    fee: float
    tiers: tuple[_Tier, ...]


@dataclass(frozen=True, slots=True)
class _Counts:
    """Tokens as the library counts them."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    input_audio_tokens: int = 0
    output_audio_tokens: int = 0


class Prices:
    """Remembers the rates of the models that were used last."""

    def __init__(self) -> None:
        """Load nothing yet."""
        self._rates: OrderedDict[tuple[str, str | None, str], tuple[int, _Rates | None]] = OrderedDict()

    def cost(
        self, provider_type: str, base_url: str | None, model: str, usage: Usage, at: float
    ) -> float | None:
        """US dollars for `usage` at the time `at`; None where the price, or what was used, is not known.

        The price is that of the provider whose address `base_url` is, else the usual one of the provider type;
        played-back answers have the price of the model's own maker.
        """
        if (not usage.input_tokens and not usage.output_tokens) or len(model) > _LONGEST_NAME:
            return None
        key = (provider_type, base_url, model)
        validity = int(at) // _VALIDITY
        known = self._rates.get(key)
        if known is not None and known[0] == validity:
            self._rates.move_to_end(key)
            rates = known[1]
        else:
            rates = _ask(provider_type, base_url, model, validity * _VALIDITY)
            self._rates[key] = (validity, rates)
            self._rates.move_to_end(key)
            if len(self._rates) > _LIMIT:
                self._rates.popitem(last=False)
        return None if rates is None else _cost(rates, usage)


def _cost(rates: _Rates, usage: Usage) -> float:
    tier = rates.tiers[0]
    for higher in rates.tiers[1:]:
        if usage.input_tokens > higher.above:
            tier = higher
    # Upstreams have been seen to report details that exceed their total.
    text_input = max(
        0, usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens - usage.audio_input_tokens
    )
    text_output = max(0, usage.output_tokens - usage.audio_output_tokens)
    return (
        rates.fee
        + text_input * tier.input
        + text_output * tier.output
        + usage.cached_tokens * tier.cached
        + usage.cache_write_tokens * tier.cache_write
        + usage.audio_input_tokens * tier.audio_input
        + usage.audio_output_tokens * tier.audio_output
    )


def _ask(provider_type: str, base_url: str | None, model: str, at: int) -> _Rates | None:
    from datetime import UTC, datetime

    timestamp = datetime.fromtimestamp(at, UTC)
    found = _find(provider_type, base_url, model.lower())
    if found is None:
        return None
    provider, info = found
    prices = info.get_prices(timestamp)
    kinds = (prices.input_mtok, prices.output_mtok, prices.input_audio_mtok, prices.output_audio_mtok)
    if all(price is None for price in kinds):
        return None  # paid by the hour, the character or the page

    def price(counts: _Counts) -> Decimal:
        return info.calc_price(counts, provider, genai_request_timestamp=timestamp).total_price

    fee = price(_Counts())
    starts = {tier.start for value in vars(prices).values() for tier in getattr(value, "tiers", ())}
    return _Rates(float(fee), tuple(_tier(above, price) for above in (0, *sorted(starts - {0}))))


def _tier(above: int, price: Callable[[_Counts], Decimal]) -> _Tier:
    # Within a tier the price is linear in each count, so one sample of each kind gives its rate.
    n = above + 1
    nothing, only_input = price(_Counts()), price(_Counts(input_tokens=n))

    def rate(counts: _Counts, beside: Decimal) -> float:
        return float((price(counts) - beside) / n)

    return _Tier(
        above=above,
        input=float((only_input - nothing) / n),
        output=rate(_Counts(input_tokens=n, output_tokens=n), only_input),
        cached=rate(_Counts(input_tokens=n, cache_read_tokens=n), nothing),
        cache_write=rate(_Counts(input_tokens=n, cache_write_tokens=n), nothing),
        audio_input=rate(_Counts(input_tokens=n, input_audio_tokens=n), nothing),
        audio_output=rate(_Counts(input_tokens=n, output_tokens=n, output_audio_tokens=n), only_input),
    )


def _find(
    provider_type: str, base_url: str | None, model: str
) -> "tuple[types.Provider, types.ModelInfo] | None":
    # The library's own look-up remembers every name that it was ever asked for; these names come from clients.
    from genai_prices.data_snapshot import find_provider_by_id, get_snapshot

    snapshot = get_snapshot()
    provider = None
    if provider_type == "playback":
        makers = (
            p for p in snapshot.providers if p.model_match is not None and p.model_match.is_match(model)
        )
        provider = next(makers, None)
    elif base_url:
        at_address = (p for p in snapshot.providers if re.match(p.api_pattern, base_url))
        provider = next(at_address, None)
    if provider is None and provider_type in _TYPE_PROVIDERS:
        provider = find_provider_by_id(snapshot.providers, _TYPE_PROVIDERS[provider_type])
    if provider is None:
        return None
    info = provider.find_model(model, all_providers=snapshot.providers)
    return None if info is None else (provider, info)
