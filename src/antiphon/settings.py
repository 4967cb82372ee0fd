"""What can be configured, with its defaults: plain values, checked when they are made.

Sizes are bytes, durations seconds; the configuration file may write them as `64KiB` and `10s`.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

PositiveInt = Annotated[int, Meta(gt=0)]


class Size(int):
    """Bytes."""


class Duration(float):
    """Seconds."""


class Server(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The HTTP server."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    workers: PositiveInt = 1
    header_timeout: Duration = Duration(10)
    body_timeout: Duration = Duration(30)
    keep_alive_timeout: Duration = Duration(75)
    shutdown_timeout: Duration = Duration(30)
    max_header_bytes: Size = Size(64 * 1024)
    max_headers: PositiveInt = 100
    max_body_bytes: Size = Size(32 * 1024 * 1024)
    max_connections: PositiveInt = 10_000


class Provider(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A configured upstream."""

    type: Literal["openai", "openai-chat", "playback"]
    base_url: str | None = None
    api_key: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    models: tuple[str, ...] | None = None
    """Models to list; None asks the upstream."""
    state: Literal["gateway", "upstream"] = "gateway"
    usage_in_streams: bool = True
    """Whether chat streams are asked for usage on behalf of clients that did not ask."""
    cassette: str | None = None
    strict: bool = False
    pace: str = "recorded"
    connect_timeout: Duration = Duration(10)
    first_byte_timeout: Duration = Duration(300)
    idle_timeout: Duration = Duration(120)
    total_timeout: Duration = Duration(3600)
    max_connections: PositiveInt = 1000
    max_frame_bytes: Size = Size(16 * 1024 * 1024)
    max_answer_bytes: Size = Size(64 * 1024 * 1024)


class Model(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A model alias."""

    target: str | None = None
    targets: tuple[str, ...] = ()
    strategy: Literal["failover"] = "failover"


class MemoryLevel(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The first level of the cache."""

    max_bytes: Size = Size(256 * 1024 * 1024)


class Cache(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The response cache."""

    ttl: Duration = Duration(3600)
    mode: Literal["on", "opt-in"] = "on"
    scope: Literal["key", "project", "global"] = "key"
    stream: Literal["shared", "separate"] = "shared"
    ids: Literal["fresh", "original"] = "fresh"
    memory: MemoryLevel = MemoryLevel()
    store: Literal["none", "storage"] = "storage"
    max_bytes: Size = Size(1024 * 1024 * 1024)
    """Bound of the second level."""
    max_entry_bytes: Size = Size(16 * 1024 * 1024)


class Admin(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Who may look into the gateway."""

    key: str | None = None


class Storage(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Where answers, cache entries and the ledger are kept."""

    url: str = "sqlite:///antiphon.db"


class Key(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A key that a client may use."""

    name: str
    project: str = "default"
    key: str | None = None
    key_sha256: str | None = None


class Responses(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Kept responses."""

    retention: Duration = Duration(30 * 86400)


class Log(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The log: one JSON object a line, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    requests: bool = True


class Settings(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The whole configuration."""

    server: Server = Server()
    providers: dict[str, Provider] = field(default_factory=dict)
    models: dict[str, Model] = field(default_factory=dict)
    cache: Cache | None = None
    admin: Admin = Admin()
    storage: Storage = Storage()
    keys: tuple[Key, ...] = ()
    responses: Responses = Responses()
    log: Log = Log()
