"""What settings name outside of this process: upstreams, receivers of webhooks, Redis."""

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from antiphon.drivers.cassette_upstream import CassetteUpstream
from antiphon.drivers.deck import Deck
from antiphon.drivers.http import http_upstream
from antiphon.drivers.playback import playback
from antiphon.engine.error_answers import secrets_of
from antiphon.engine.source import Source
from antiphon.engine.variant import ANTHROPIC_VERSION
from antiphon.engine.webhooks import Hook
from antiphon.ports.flights import Flights
from antiphon.ports.hints import Hints
from antiphon.ports.storage import Storage
from antiphon.ports.upstream import Upstream
from antiphon.settings import ConfigurationError, Provider, Settings
from antiphon.wire.errors import GatewayError

if TYPE_CHECKING:
    from antiphon.drivers.redis.cache import RedisCache

KEY_HEADERS: Final = {
    "anthropic": (b"x-api-key", b""),
    "azure": (b"api-key", b""),
    "gemini": (b"x-goog-api-key", b""),
}
"""The header that carries the key, and what stands before it, by provider type; the others take a bearer token."""


def hints_of(settings: Settings) -> Hints | None:
    """Return the Redis that carries hints, if there is one. Raises ConfigurationError."""
    if settings.redis is None:
        return None
    with _told_of_redis():
        from antiphon.drivers.redis.hints import RedisHints

        return RedisHints(settings.redis)


def redis_cache_of(settings: Settings, wall_clock: Callable[[], float]) -> "RedisCache | None":
    """Return the second level of the cache, if it is in Redis. Raises ConfigurationError."""
    if settings.redis is None or settings.cache is None or settings.cache.store != "redis":
        return None
    with _told_of_redis():
        from antiphon.drivers.redis.cache import RedisCache

        return RedisCache(settings.redis, wall_clock)


@contextlib.contextmanager
def _told_of_redis() -> Iterator[None]:
    """Say what is wrong with the settings. Raises ConfigurationError."""
    try:
        yield
    except ImportError as error:
        raise ConfigurationError("redis.url: antiphon[redis] is not installed") from error
    except ValueError as error:
        # Not the error itself: it may quote a piece of a password.
        raise ConfigurationError("redis.url: it is no address") from error
    except OSError as error:
        raise ConfigurationError(
            f"redis: its certificates cannot be used: {error.strerror or error}"
        ) from error


def flights_of(settings: Settings, storage: Storage) -> Flights | None:
    """Return where equal requests in flight are shared with other processes, if they are."""
    cache = settings.cache
    if cache is None or cache.store == "none" or cache.in_flight == "worker":
        return None
    if cache.store != "redis" or settings.redis is None:
        return storage.flights
    with _told_of_redis():
        from antiphon.drivers.redis.flights import RedisFlights

        return RedisFlights(settings.redis)


def hooks_of(settings: Settings, environ: Mapping[str, str]) -> dict[str, Hook]:
    """Return who is told of background answers, by a name that lasts as long as it is configured."""
    of_keys = ((key.name, webhook) for key in settings.keys for webhook in key.webhooks)
    hooks: dict[str, Hook] = {}
    for owner, webhook in (*((None, webhook) for webhook in settings.webhooks), *of_keys):
        parts = urlsplit(webhook.url)
        base_url = f"{parts.scheme}://{parts.netloc}"
        provider = Provider(type="openai-chat", base_url=base_url, max_connections=16)
        upstream = http_upstream(provider, base_url=base_url, environ=environ)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        name = hashlib.blake2b(f"{owner}\0{webhook.url}".encode(), digest_size=16).hexdigest()
        hooks[name] = Hook(owner, upstream, path, webhook.secret, frozenset(webhook.events))
    return hooks


def deck_of(settings: Settings) -> Deck | None:
    """Return the cassette that everything is recorded into or played from, if there is one. Raises ConfigurationError."""
    if settings.cassette.record is None:
        return None
    secrets = [
        secret
        for provider in settings.providers.values()
        for secret in secrets_of(provider.api_key, provider.headers)
    ]
    names: dict[str, list[str]] = {}
    for alias, model in settings.models.items():
        names.setdefault(model.target, []).append(alias)
    try:
        return Deck(settings.cassette, secrets=secrets, names=names)
    except (GatewayError, ValueError, OSError) as error:
        raise ConfigurationError(f"cassette: {error}") from error


def sources_of(settings: Settings, environ: Mapping[str, str], deck: Deck | None) -> dict[str, Source]:
    """Return the providers as they are asked, those with a network through `deck`. Raises ConfigurationError."""

    def upstream(name: str, provider: Provider) -> Upstream:
        if deck is None or provider.type == "playback":
            return upstream_of(name, provider, environ)
        return CassetteUpstream(name, provider, deck, lambda: upstream_of(name, provider, environ))

    return {
        name: Source(name, provider, upstream(name, provider))
        for name, provider in settings.providers.items()
    }


def upstream_of(name: str, provider: Provider, environ: Mapping[str, str]) -> Upstream:
    """Return what a configured provider is asked through. Raises ConfigurationError."""
    if provider.type == "playback":
        try:
            return playback(provider)
        except (GatewayError, ValueError, OSError) as error:
            raise ConfigurationError(f"providers.{name}: {error}") from error
    assert provider.base_url is not None
    headers = tuple(_headers_of(provider))
    try:
        return http_upstream(provider, base_url=provider.base_url, headers=headers, environ=environ)
    except ValueError as error:
        raise ConfigurationError(f"providers.{name}: {error}") from error


def _headers_of(provider: Provider) -> Iterator[tuple[bytes, bytes]]:
    """Yield what is sent with every request beside the configured headers."""
    if provider.api_key:
        header, scheme = KEY_HEADERS.get(provider.type, (b"authorization", b"Bearer "))
        yield header, scheme + provider.api_key.encode()
    if provider.type == "anthropic" and "anthropic-version" not in {
        name.lower() for name in provider.headers
    }:
        yield b"anthropic-version", ANTHROPIC_VERSION
