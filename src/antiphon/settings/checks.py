"""What settings must be together: rules that no single type can hold, and defaults that depend on other values."""

import base64
import hashlib
import ipaddress
import re
from collections.abc import Iterator
from typing import Final, NamedTuple, get_args
from urllib.parse import urlsplit

from msgspec.structs import replace

from antiphon.settings.faults import ConfigurationError
from antiphon.settings.ollama_host import ollama_url
from antiphon.settings.quantities import Secret
from antiphon.settings.values import Key, Model, Provider, ProviderType, Redis, Responses, Settings, Webhook

BASE_URLS: Final = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com/v1",
    "gemini": "https://generativelanguage.googleapis.com/v1beta",
    "ollama": "http://127.0.0.1:11434",
    "vllm": "http://127.0.0.1:8000/v1",
    "llamacpp": "http://127.0.0.1:8080/v1",
    "lmstudio": "http://127.0.0.1:1234/v1",
    "groq": "https://api.groq.com/openai/v1",
    "deepseek": "https://api.deepseek.com/v1",
    "mistral": "https://api.mistral.ai/v1",
    "openrouter": "https://openrouter.ai/api/v1",
    "xai": "https://api.x.ai/v1",
    "together": "https://api.together.xyz/v1",
}
"""Where a provider type is found when the configuration does not say."""

_PACE: Final = re.compile(r"instant|recorded|x\d+(\.\d+)?|\d+(\.\d+)?/s", re.ASCII)
_REDACTED_PATH: Final = re.compile(r"[^.\[\]]+(?:\.[^.\[\]]+|\[(?:\*|\d+)\])*", re.ASCII)
_FAULT: Final = re.compile(r"(?:\d+:)?(?:(?:break|stall|end)@\d+|[45]\d\d)", re.ASCII)
_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_SENDABLE: Final = re.compile(r"[\x21-\x7e]+", re.ASCII)
_HOST: Final = re.compile(r"[0-9A-Za-z_-]+(\.[0-9A-Za-z_-]+)*", re.ASCII)
_STORAGE_URL: Final = re.compile(r"sqlite:///.+|postgres(ql)?://.+", re.DOTALL)
_REDIS_URL: Final = re.compile(r"(redis|valkey)s?://.+|unix:///.+", re.DOTALL)
_SECRET_LENGTH: Final = 32
_WEBHOOK_PREFIX: Final = "whsec_"
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e]*", re.ASCII)


class Problem(NamedTuple):
    """Something that is wrong, and the path of the value that makes it so."""

    path: tuple[str | int, ...]
    message: str


def completed(settings: Settings) -> Settings:
    """Fill in the defaults that depend on other values, and write what is the same in the same way."""
    providers = {name: _completed_provider(provider) for name, provider in settings.providers.items()}
    keys = tuple(
        replace(key, key_sha256=type(key.key_sha256)(key.key_sha256.lower())) if key.key_sha256 else key
        for key in settings.keys
    )
    return replace(settings, providers=providers, keys=keys)


def problems(settings: Settings) -> Iterator[Problem]:
    """Find what makes completed settings unusable."""
    for name, provider in settings.providers.items():
        yield from _of_provider(name, provider)
    for name, model in settings.models.items():
        yield from _of_model(name, model, settings.providers)
    yield from _of_keys(settings.keys)
    yield from _of_responses(settings.responses)
    yield from _of_background(settings)
    yield from _of_semantic(settings)
    yield from _of_cassette(settings)
    for i, webhook in enumerate(settings.webhooks):
        yield from _of_webhook(("webhooks", i), webhook)
    for i, key in enumerate(settings.keys):
        for j, webhook in enumerate(key.webhooks):
            yield from _of_webhook(("keys", i, "webhooks", j), webhook)
    for i, entry in enumerate(settings.downloads.allow):
        if not _is_host_or_network(entry):
            yield Problem(
                ("downloads", "allow", i),
                f"downloads.allow[{i}]: expected a host name, an address or a network such as 10.1.0.0/16, "
                "without scheme and port",
            )
    if _STORAGE_URL.fullmatch(settings.storage.url) is None:
        yield Problem(
            ("storage", "url"), "storage.url: expected sqlite:///FILE or postgresql://HOST/DATABASE"
        )
    if settings.redis is None and settings.cache is not None and settings.cache.store == "redis":
        yield Problem(("cache", "store"), "cache.store: `redis` needs the section `redis` with its `url`")
    if settings.redis is not None:
        yield from _of_redis(settings.redis)
    if not settings.keys and not is_loopback(settings.server.host):
        yield Problem(
            ("server", "host"),
            "server.host: without `keys` anybody who reaches this address could spend your money; "
            "bind 127.0.0.1 or configure keys",
        )


def _of_redis(redis: Redis) -> Iterator[Problem]:
    path = ("redis", "url")
    if not redis.urls or any(_REDIS_URL.fullmatch(url) is None for url in redis.urls):
        yield Problem(path, "redis.url: expected redis://HOST:PORT, rediss://HOST:PORT or unix://PATH")
    elif redis.is_cluster and any(url.startswith("unix:") for url in redis.urls):
        yield Problem(path, "redis.url: the nodes of a cluster have hosts and ports")
    elif len({url.partition(":")[0] for url in redis.urls}) > 1:
        yield Problem(path, "redis.url: either all nodes of a cluster speak TLS, or none")
    if redis.key_file is not None and redis.certificate_file is None:
        yield Problem(("redis", "key_file"), "redis.key_file: it is of no use without `certificate_file`")


def checked(settings: Settings) -> Settings:
    """Complete settings that were made in Python or changed by the command line; ConfigurationError if unusable."""
    settings = completed(settings)
    for problem in problems(settings):
        raise ConfigurationError(problem.message)
    return settings


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address; names other than `localhost` are not trusted to be it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _completed_provider(provider: Provider) -> Provider:
    base_url = (provider.base_url or BASE_URLS.get(provider.type, "")).rstrip("/")
    if provider.type == "anthropic" and base_url and not base_url.endswith("/v1"):
        base_url += "/v1"  # Anthropic's own clients take it without
    if provider.type == "ollama":
        base_url = ollama_url(base_url)
    if provider.type == "azure" and base_url and not base_url.endswith("/v1"):
        base_url += "/openai/v1"  # as the portal shows it: https://NAME.openai.azure.com
    return replace(provider, base_url=base_url or None)


def _of_provider(name: str, provider: Provider) -> Iterator[Problem]:
    path = ("providers", name)
    at = f"providers.{name}"
    if not name or "/" in name:
        yield Problem(
            path, f"{at}: a provider's name has no slash in it, since `provider/model` names a model"
        )
    if provider.type == "playback":
        if not provider.cassette:
            yield Problem(path, f"{at} needs `cassette`: a file or folder of recordings, or builtin:demo")
    elif provider.base_url is None:
        yield Problem(path, f"{at} needs `base_url`, for example http://127.0.0.1:8000/v1")
    elif not _is_base_url(provider.base_url):
        # The value may hold a password: it is not shown.
        yield Problem(
            (*path, "base_url"),
            f"{at}.base_url: expected http(s)://HOST[:PORT][/PATH] without query and password",
        )
    if provider.api_key and not _SENDABLE.fullmatch(provider.api_key):
        yield Problem(
            (*path, "api_key"), f"{at}.api_key has a space, line end or other unsendable character in it"
        )
    for header, value in provider.headers.items():
        if not _TOKEN.fullmatch(header) or not _HEADER_VALUE.fullmatch(value):
            yield Problem((*path, "headers", header), f"{at}.headers: not a header that HTTP can carry")
    if provider.background and provider.state == "upstream":
        yield Problem(
            (*path, "background"),
            f"{at}.background: with `state: upstream` background answers are passed on as they are",
        )
    if not _PACE.fullmatch(provider.pace):
        yield Problem(
            (*path, "pace"), f"{at}.pace: expected instant, recorded, a factor like x2 or a rate like 50/s"
        )


def _is_base_url(url: str) -> bool:
    return _is_address(url) and "?" not in url


def _is_address(url: str) -> bool:
    if not _SENDABLE.fullmatch(url):
        return False
    try:
        parts = urlsplit(url)
        has_port = parts.port != 0
    except ValueError:
        return False
    whole = parts.scheme in ("http", "https") and bool(parts.hostname) and has_port
    return whole and "@" not in parts.netloc and "#" not in url


def _of_model(name: str, model: Model, providers: dict[str, Provider]) -> Iterator[Problem]:
    path = ("models", name)
    at = f"models.{name}"
    provider, _, upstream_model = model.target.partition("/")
    if not provider or not upstream_model:
        yield Problem((*path, "target"), f"{at}: a target is written provider/model")
    elif provider not in providers:
        known = ", ".join(providers) or "none"
        yield Problem(
            (*path, "target"), f"{at}: the target names a provider that is not configured; there is {known}"
        )


def _of_responses(responses: Responses) -> Iterator[Problem]:
    secrets: list[tuple[tuple[str | int, ...], str, Secret | None]] = [
        (("responses", "secret"), "responses.secret", responses.secret)
    ]
    for i, old in enumerate(responses.old_secrets):
        secrets.append((("responses", "old_secrets", i), f"responses.old_secrets[{i}]", old))
    for path, at, secret in secrets:
        if secret is not None and len(secret) < _SECRET_LENGTH:
            yield Problem(
                path,
                f"{at} is shorter than {_SECRET_LENGTH} characters; `openssl rand -base64 32` makes a good one",
            )


def _of_background(settings: Settings) -> Iterator[Problem]:
    listed = settings.responses.background.providers
    known = {*settings.providers, *get_args(ProviderType)}
    for i, name in enumerate(() if isinstance(listed, str) else listed):
        if name not in known:
            at = f"responses.background.providers[{i}]"
            yield Problem(
                ("responses", "background", "providers", i),
                f"{at}: neither a provider that is configured nor a type of provider; "
                f"there is {', '.join(settings.providers) or 'none'}",
            )


def _of_semantic(settings: Settings) -> Iterator[Problem]:
    cache = settings.cache
    if cache is None or not cache.semantic.enabled:
        return
    path, at = ("cache", "semantic"), "cache.semantic"
    if cache.store == "none":
        yield Problem(
            (*path, "enabled"), f"{at}: it finds answers in the second level, and `cache.store` is none"
        )
    model = cache.semantic.embedding_model
    provider = model.partition("/")[0]
    if provider != "local" and provider not in settings.providers and model not in settings.models:
        known = ", ".join(settings.providers) or "none"
        yield Problem(
            (*path, "embedding_model"),
            f"{at}.embedding_model: neither an alias, nor a model of a provider that is configured (there is {known}), "
            "nor local/NAME",
        )


def _of_cassette(settings: Settings) -> Iterator[Problem]:
    cassette = settings.cassette
    if cassette.record is not None and settings.server.has_others:
        yield Problem(
            ("cassette", "record"),
            "cassette.record: a cassette is recorded by one process, which needs `server.workers: 1`",
        )
    if not _PACE.fullmatch(cassette.pace):
        yield Problem(
            ("cassette", "pace"),
            "cassette.pace: expected instant, recorded, a factor like x2 or a rate like 50/s",
        )
    for i, path in enumerate(cassette.redact):
        if not _REDACTED_PATH.fullmatch(path):
            yield Problem(
                ("cassette", "redact", i),
                f"cassette.redact[{i}]: expected a path such as metadata.email or messages[*].name",
            )
    for i, pattern in enumerate(cassette.redact_text):
        try:
            re.compile(pattern)
        except re.error as error:
            yield Problem(
                ("cassette", "redact_text", i),
                f"cassette.redact_text[{i}] is no regular expression: {error}",
            )
    for i, fault in enumerate(cassette.faults):
        if not _FAULT.fullmatch(fault):
            yield Problem(
                ("cassette", "faults", i),
                f"cassette.faults[{i}]: expected break@3, stall@3, end@3 or a status such as 503, "
                "with the number of a request in front (2:503) or without",
            )


def _of_webhook(path: tuple[str | int, ...], webhook: Webhook) -> Iterator[Problem]:
    at = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")
    if not _is_address(webhook.url):
        # The value may hold a password: it is not shown.
        yield Problem((*path, "url"), f"{at}.url: expected http(s)://HOST[:PORT]/PATH without a password")
    try:
        key = base64.b64decode(webhook.secret.removeprefix(_WEBHOOK_PREFIX), validate=True)
    except ValueError:
        key = b""
    if not webhook.secret.startswith(_WEBHOOK_PREFIX) or not 24 <= len(key) <= 64:
        yield Problem(
            (*path, "secret"),
            f"{at}.secret: expected whsec_ and the base64 of 24 to 64 bytes; "
            '`echo "whsec_$(openssl rand -base64 32)"` makes one',
        )


def _is_host_or_network(entry: str) -> bool:
    try:
        ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return bool(_HOST.fullmatch(entry)) and not entry.replace(".", "").isdigit()
    return True


def _of_keys(keys: tuple[Key, ...]) -> Iterator[Problem]:
    names: set[str] = set()
    digests: set[str] = set()
    for i, key in enumerate(keys):
        path = ("keys", i)
        at = f"keys[{i}]"
        if not key.name:
            yield Problem((*path, "name"), f"{at}.name is empty")
        elif key.name in names:
            yield Problem((*path, "name"), f"{at}.name: '{key.name}' is the name of an earlier key")
        names.add(key.name)
        if bool(key.key) == bool(key.key_sha256):
            yield Problem(path, f"{at} needs exactly one of `key` and `key_sha256`")
            continue
        if key.key_sha256 and not _SHA256.fullmatch(key.key_sha256):
            yield Problem((*path, "key_sha256"), f"{at}.key_sha256: expected 64 hexadecimal digits")
        if key.key and not _SENDABLE.fullmatch(key.key):
            yield Problem(
                (*path, "key"), f"{at}.key has a space, line end or other unsendable character in it"
            )
        digest = key.key_sha256 or hashlib.sha256((key.key or "").encode()).hexdigest()
        if digest in digests:
            yield Problem(path, f"{at} is the same secret as an earlier key")
        digests.add(digest)
