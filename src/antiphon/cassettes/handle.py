"""What a test is given of a gateway that records or plays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from antiphon.drivers.deck import Deck

if TYPE_CHECKING:
    import anthropic as anthropic_package  # type: ignore[import-not-found,unused-ignore]
    import openai as openai_package


@dataclass(slots=True)
class CassetteGateway:
    """A gateway that serves; its clients are those of the official libraries, where they are installed."""

    url: str
    """Without a path: `http://127.0.0.1:PORT`, which is what Anthropic's client takes."""
    environ: Mapping[str, str]
    """The variables by which programs find it."""
    deck: Deck | None
    _clients: list[Any] = field(default_factory=list)

    @property
    def base_url(self) -> str:
        """What OpenAI's client takes: with `/v1`."""
        return f"{self.url}/v1"

    @property
    def recorded(self) -> int:
        """How many exchanges were written so far."""
        return self.deck.recorded if self.deck else 0

    @property
    def played(self) -> int:
        """How many requests were answered from the cassette so far."""
        return self.deck.played if self.deck else 0

    @property
    def misses(self) -> Sequence[str]:
        """What was said to requests that the cassette does not answer."""
        return tuple(self.deck.misses) if self.deck else ()

    @property
    def unplayed(self) -> Sequence[str]:
        """The files of the cassette that have answered nothing so far."""
        return tuple(self.deck.unplayed()) if self.deck else ()

    def openai(self, **options: Any) -> "openai_package.OpenAI":
        """Return OpenAI's client for this gateway; `options` are its own."""
        import openai

        client = openai.OpenAI(**{"base_url": self.base_url, "api_key": "unused", **options})
        self._clients.append(client)
        return client

    def async_openai(self, **options: Any) -> "openai_package.AsyncOpenAI":
        """Return OpenAI's asynchronous client, which is to be closed by whoever asks for it."""
        import openai

        return openai.AsyncOpenAI(**{"base_url": self.base_url, "api_key": "unused", **options})

    def anthropic(self, **options: Any) -> "anthropic_package.Anthropic":
        """Return Anthropic's client for this gateway; `options` are its own."""
        import anthropic

        client = anthropic.Anthropic(**{"base_url": self.url, "api_key": "unused", **options})
        self._clients.append(client)
        return client

    def async_anthropic(self, **options: Any) -> "anthropic_package.AsyncAnthropic":
        """Return Anthropic's asynchronous client, which is to be closed by whoever asks for it."""
        import anthropic

        return anthropic.AsyncAnthropic(**{"base_url": self.url, "api_key": "unused", **options})

    def close_clients(self) -> None:
        """Close the clients that were handed out, but for the asynchronous ones."""
        for client in self._clients:
            client.close()
        self._clients.clear()
