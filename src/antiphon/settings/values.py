"""What can be configured, with its defaults: plain values.

Sizes are bytes, durations seconds; the configuration file may write them as `64KiB` and `10s`.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from antiphon.settings.quantities import Duration, Secret, Size, Timeout

PositiveInt = Annotated[int, Meta(gt=0)]

ProviderType = Literal[
    "openai",
    "openai-chat",
    "openai-completions",
    "anthropic",
    "gemini",
    "ollama",
    "azure",
    "vllm",
    "llamacpp",
    "lmstudio",
    "groq",
    "deepseek",
    "mistral",
    "openrouter",
    "xai",
    "together",
    "playback",
]
Role = Literal["api,worker", "api", "worker"]


class Server(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The HTTP server."""

    host: str = "127.0.0.1"
    """Address to bind; other than loopback only with `keys`."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    """0 takes a free one."""
    workers: PositiveInt = 1
    """Processes that share the port."""
    role: Role = "api,worker"
    """What they do: `api` answers clients and begins no background answer, `worker` answers no client and runs what
    is queued, `api,worker` does both."""
    header_timeout: Timeout = Timeout(10)
    """Seconds from the first byte of a request to the end of its head."""
    body_timeout: Timeout = Timeout(30)
    """Seconds from the end of a head to the end of its body."""
    keep_alive_timeout: Timeout = Timeout(75)
    """Seconds that a connection may be idle: between requests, or because an answer is not being read."""
    shutdown_timeout: Duration = Duration(30)
    """Seconds that open streams have to end when the server is told to stop."""
    stream_keep_alive: Timeout = Timeout(15)
    """Seconds of silence after which a translated stream gets a comment, so that nobody in between hangs up."""
    max_header_bytes: Size = Size(64 * 1024)
    """Bound of a request's head."""
    max_headers: PositiveInt = 100
    """Bound of the number of headers."""
    max_body_bytes: Size = Size(32 * 1024 * 1024)
    """Bound of a request's body."""
    max_connections: PositiveInt = 10_000
    """Clients connected at a time, for each worker."""
    websocket_lifetime: Timeout = Timeout(3600)
    """Seconds after which a WebSocket is closed; answers under way are finished."""

    @property
    def is_api(self) -> bool:
        """Whether clients are answered."""
        return self.role != "worker"

    @property
    def is_worker(self) -> bool:
        """Whether background answers are run."""
        return self.role != "api"

    @property
    def has_others(self) -> bool:
        """Whether other processes must be there that use the same storage."""
        return self.workers > 1 or not (self.is_api and self.is_worker)


class Provider(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A configured upstream."""

    type: ProviderType
    """What it speaks: `openai` has the Responses API, `openai-chat` has not, `openai-completions` has nothing but
    text completions, `playback` is a cassette; the others are named after who they are."""
    base_url: str | None = None
    """Everything before `/chat/completions`, without a slash at the end; for `anthropic` `/v1` may be left out, for
    `azure` `/openai/v1`, and `ollama` takes what `OLLAMA_HOST` does."""
    api_key: Secret | None = None
    """Sent as bearer token, or in the header that the provider has for it."""
    headers: dict[str, Secret] = field(default_factory=dict)
    """Sent with every request; values are not shown, since they often authenticate."""
    models: tuple[str, ...] | None = None
    """Models to list; without it the upstream is asked."""
    state: Literal["gateway", "upstream"] = "gateway"
    """Who keeps responses; with `upstream` ids, chains, conversations and background are passed on."""
    background: bool = False
    """Whether it carries background answers in its own background mode, with `store: true`: then a gateway that was
    restarted goes on with them where it was. Only for those with the Responses API."""
    usage_in_streams: bool = True
    """Whether chat streams are asked for usage on behalf of clients that did not ask."""
    cassette: str | None = None
    """Playback: a cassette file or folder, or `builtin:NAME`."""
    strict: bool = False
    """Playback: whether the whole request must match, not only its meaning."""
    pace: str = "recorded"
    """Playback: `instant`, `recorded`, `x2` (times as fast) or `50/s` (frames a second)."""
    rerank_documents: Literal["together", "independent"] = "together"
    """Whether the score of a document depends on the others that it is ranked with; `independent` ones are cached one
    by one."""
    connect_timeout: Timeout = Timeout(10)
    """Seconds until there is a connection."""
    first_byte_timeout: Timeout = Timeout(300)
    """Seconds from the request's last byte to the answer's first."""
    idle_timeout: Timeout = Timeout(120)
    """Seconds between two reads of an answer."""
    total_timeout: Timeout = Timeout(3600)
    """Seconds for a whole answer."""
    max_connections: PositiveInt = 1000
    """Connections to it at a time, for each worker; as many requests wait."""
    max_frame_bytes: Size = Size(16 * 1024 * 1024)
    """Bound of one event of a stream."""
    max_answer_bytes: Size = Size(64 * 1024 * 1024)
    """Bound of a whole answer."""


class ModelCache(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What the cache does otherwise with the answers of one model."""

    ttl: Duration | None = None
    """As `cache.ttl`, and in its place."""
    stale_while_revalidate: Duration | None = None
    """As `cache.stale_while_revalidate`, and in its place."""
    stale_if_error: Duration | None = None
    """As `cache.stale_if_error`, and in its place."""


class Model(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A model alias."""

    target: str
    """`provider/model`. The alias `*` is whatever else is asked for, and in its target `*` is that name."""
    reasoning_events: Literal["openai", "open"] = "openai"
    """What raw reasoning is called in streams of the Responses API: `response.reasoning_text.delta` as OpenAI has it,
    or `response.reasoning.delta` as Open Responses does."""
    cache: ModelCache | None = None
    """What the cache does otherwise for this name of the model."""


class MemoryLevel(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The first level of the cache, in each worker's memory."""

    max_bytes: Size = Size(256 * 1024 * 1024)
    """Bound of entries and of the forms made of them; the least used go first."""


class Semantic(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Answers to requests whose last user text means the same as one that was asked before. See docs/semantic-cache.md."""

    enabled: bool = False
    """Whether there is such a level."""
    mode: Literal["on", "shadow"] = "on"
    """Whether anything is served from it, or only what would have been is compared with what the upstream says."""
    embedding_model: str = "local/all-minilm"
    """`provider/model` or an alias, asked like any embeddings model; `local/NAME`, where no provider is named `local`,
    is a model in this process."""
    threshold: Literal["learned"] | Annotated[float, Meta(ge=0, le=1)] = "learned"
    """How alike two texts must be: a cosine, or what was learned for each model to keep `max_error`."""
    max_error: Annotated[float, Meta(gt=0, lt=1)] = 0.01
    """The share of wrong answers among hits that is accepted."""
    verify: Annotated[float, Meta(ge=0, le=1)] = 0.02
    """The share of would-be hits for which the upstream is asked all the same, so that it goes on learning."""
    gates: bool = True
    """Whether texts must agree in numbers, names, negations, code and the like, however alike they are."""
    max_turns: PositiveInt = 1
    """Requests in which the user has said more take no part."""
    max_characters: PositiveInt = 1000
    """Bound of the last user text."""
    timeout: Timeout = Timeout(0.5)
    """Seconds that a request may be held up by the look-up."""
    max_vectors: PositiveInt = 1_000_000
    """Bound of the texts in storage; the oldest go first."""
    memory: Size = Size(256 * 1024 * 1024)
    """Bound of what each worker has at hand to compare with."""


class Cache(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The response cache."""

    ttl: Duration = Duration(3600)
    """Seconds for which an answer is fresh."""
    stale_while_revalidate: Duration = Duration(0)
    """Seconds for which an expired answer is still given at once, while a fresh one is fetched in the background."""
    stale_if_error: Duration = Duration(0)
    """Seconds for which an expired answer is given where the upstream cannot be reached, fails, or refuses for now."""
    mode: Literal["on", "opt-in"] = "on"
    """Whether every request takes part, or only those that ask for it."""
    scope: Literal["key", "project", "global"] = "key"
    """Who shares entries."""
    stream: Literal["shared", "separate"] = "shared"
    """Whether JSON and streams serve each other."""
    ids: Literal["fresh", "original"] = "fresh"
    """Whether a Responses hit gets an id and `created_at` of its own."""
    memory: MemoryLevel = MemoryLevel()
    store: Literal["none", "storage", "redis"] = "storage"
    """The second level: what outlives a restart, and what several workers share. `storage` is that of `storage.url`,
    `redis` that of `redis.url`."""
    lookup_timeout: Timeout = Timeout(0.05)
    """Seconds that a request waits for the second level at most; then it is a miss."""
    explain_bytes: Size = Size(8 * 1024 * 1024)
    """Bound of the last requests and answers that each worker remembers, to explain what the cache did with them."""
    in_flight: Literal["shared", "worker"] = "shared"
    """Whether equal requests in flight share one upstream call across all workers and hosts that share a second level,
    or only within each worker."""
    max_bytes: Size = Size(1024 * 1024 * 1024)
    """Bound of the second level in `storage`; the oldest entries go first. Redis has its own: `maxmemory`."""
    max_entry_bytes: Size = Size(16 * 1024 * 1024)
    """Larger answers are passed on but not kept."""
    semantic: Semantic = Semantic()


class Cassette(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What is asked of upstreams, recorded into files or played from them."""

    record: str | None = None
    """A folder: every exchange with an upstream is recorded into it, one file each."""
    mode: Literal["append", "record", "once", "new", "replay", "strict"] = "append"
    """Whether what the folder holds already is added to (`append`), replaced (`record`), or answers instead of the
    upstreams: all of it, if there is any (`once`), or all that is there, and the rest is recorded (`new`), or
    refused (`replay`); with `strict` each recording answers only once."""
    pace: str = "instant"
    """How fast recordings answer: `instant`, `recorded`, `x2` (times as fast) or `50/s` (frames a second)."""
    redact: tuple[str, ...] = ()
    """Paths in the bodies of requests, like `metadata.email` or `messages[*].name`: what stands there is not written,
    and does not count when requests are compared."""
    redact_text: tuple[str, ...] = ()
    """Regular expressions: what they find in requests and answers is not written."""
    faults: tuple[str, ...] = ()
    """What is to go wrong, for tests: `break@3`, `stall@3` or `end@3` after three frames, `503` at once; with
    `2:` in front only with the second request."""


class Admin(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Who may look into the gateway."""

    key: Secret | None = None
    """Opens `/admin`, which is closed without it, and `/metrics`, where without it only this host may look."""


class Storage(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Where answers, cache entries and the ledger are kept."""

    url: str = "sqlite:///antiphon.db"
    """`sqlite:///FILE`, relative to the working directory (a fourth slash makes it absolute), or
    `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`, which several hosts may share."""
    pool_size: Annotated[int, Meta(ge=2)] = 10
    """Connections of one worker to PostgreSQL, beside the one that listens."""


class Redis(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Where processes tell each other at once what has moved on, and the cache's second level with `cache.store: redis`.

    What it loses is found in storage a little later, or asked for again.
    """

    url: str | tuple[str, ...]
    """`redis://USER:PASSWORD@HOST:PORT`, with TLS `rediss://`, or `unix://PATH`; `valkey://` is the same. A list
    names nodes of a cluster: one of them must be there, and it knows the others."""
    cluster: bool = False
    """Whether it is a cluster although `url` names but one of its nodes."""
    prefix: str = "antiphon:"
    """What all keys and channels begin with: gateways with another prefix know nothing of each other."""
    ca_file: str | None = None
    """Certificates of the authorities that a server's own must come from (PEM); without it those of the system."""
    certificate_file: str | None = None
    """A certificate for the server to know this client by (PEM)."""
    key_file: str | None = None
    """Its key, if it is not in the same file."""

    @property
    def urls(self) -> tuple[str, ...]:
        """All addresses."""
        return (self.url,) if isinstance(self.url, str) else self.url

    @property
    def is_cluster(self) -> bool:
        """Whether it is a cluster."""
        return self.cluster or not isinstance(self.url, str)


class Webhook(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Who is told when a background answer has ended, as Standard Webhooks has it."""

    url: Secret
    """Where it is told, by POST; not shown, since such addresses often authenticate."""
    secret: Secret
    """`whsec_` and the base64 of 24 to 64 random bytes: signs what is told, so that the receiver can be sure."""
    events: tuple[
        Literal["response.completed", "response.incomplete", "response.failed", "response.cancelled"], ...
    ] = ()
    """What is told of; without any everything."""


class Key(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A key that a client may use: exactly one of `key` and `key_sha256`."""

    name: str
    """What the ledger and the log call it."""
    project: str = "default"
    """A group of keys; `cache.scope: project` lets it share entries."""
    key: Secret | None = None
    """The key itself."""
    key_sha256: Secret | None = None
    """64 hexadecimal digits."""
    webhooks: tuple[Webhook, ...] = ()
    """Told of the background answers of this key, beside those at the top of the file; each has the same members."""


class Background(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Answers that are made while nobody waits for them."""

    providers: Literal["off", "all"] | tuple[str, ...] = "all"
    """Whose models the gateway runs in the background itself: of no provider, of all, or of those in a list of their
    names or types. An entry that is the name of a type means the type."""
    native_models: tuple[str, ...] = ()
    """Models, named exactly as clients write them, whose provider has a background mode of its own and keeps their
    background answers; this goes before `providers`."""
    concurrency: PositiveInt = 64
    """Runs at a time, for each worker; others are queued."""
    concurrency_per_key: PositiveInt | None = None
    """Runs of one key at a time, over all workers."""
    max_queued: PositiveInt = 10_000
    """Runs that may wait, over all workers; more are refused."""
    max_queued_per_key: PositiveInt | None = None
    """Runs of one key that may wait."""
    lease: Timeout = Timeout(15)
    """Seconds after which a run whose worker says nothing belongs to another."""
    max_attempts: PositiveInt = 3
    """How often an answer of which nothing was shown is begun, if its workers die."""
    queue_timeout: Timeout = Timeout(600)
    """Seconds that a run may wait to be begun."""
    timeout: Timeout = Timeout(3600)
    """Seconds from the request to the end of its answer."""
    ttl: Timeout | None = None
    """Seconds for which a background answer can be read again after its last update; without it `responses.retention`."""
    on_unterminated: Literal["failed", "completed"] = "failed"
    """What becomes of an answer whose stream ended without saying how, as some upstreams' do."""


class Responses(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Kept responses."""

    retention: Timeout = Timeout(30 * 86400)
    """Seconds for which a response can be read again."""
    conversation_retention: Timeout | None = None
    """Seconds after which a conversation is forgotten that has not changed; without it none is."""
    max_bytes: Size = Size(8 * 1024**3)
    """Bound of all that is kept, with what models were shown; the oldest go first."""
    max_history_items: PositiveInt = 10_000
    """Bound of the items that a request continues, with its own."""
    max_history_bytes: Size = Size(32 * 1024 * 1024)
    """Bound of their bytes."""
    on_disconnect: Literal["cancel", "finish"] = "cancel"
    """What becomes of a `store: true` answer whose client leaves: given up, with nothing kept, or finished and kept;
    a request chooses with `X-Antiphon-On-Disconnect`."""
    history_memory: Size = Size(64 * 1024 * 1024)
    """Bound of the histories that each worker has at hand, so that it need not read them to continue them."""
    background: Background = Background()
    secret: Secret | None = None
    """Seals what clients carry back as `encrypted_content`: 32 characters or more; without it `storage` keeps one."""
    old_secrets: tuple[Secret, ...] = ()
    """Earlier secrets, whose seals are still accepted."""


class Idempotency(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Requests with the header `Idempotency-Key`."""

    enabled: bool = True
    """Whether the header means anything."""
    ttl: Timeout = Timeout(24 * 3600)
    """Seconds for which the outcome of a request belongs to its key."""
    max_entry_bytes: Size = Size(16 * 1024 * 1024)
    """Larger answers are passed on but not kept: who asks again is told so."""
    max_bytes: Size = Size(1024 * 1024 * 1024)
    """Bound of all outcomes in storage; the oldest go first."""
    max_live_bytes: Size = Size(256 * 1024 * 1024)
    """Bound of the requests and answers under way in each worker's memory; beyond it new ones are refused."""
    lease: Timeout = Timeout(15)
    """Seconds after which a request whose worker says nothing may be begun again."""
    wait: Duration = Duration(60)
    """Seconds for which a request waits for the outcome of the first, where that is answered by another worker."""


class Downloads(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Images and files that a request names by URL, fetched for upstreams that cannot do it themselves."""

    enabled: bool = True
    """Whether anything is fetched; otherwise such a request is refused."""
    max_bytes: Size = Size(20 * 1024 * 1024)
    """Bound of one file."""
    max_request_bytes: Size = Size(64 * 1024 * 1024)
    """Bound of all files of one request."""
    timeout: Timeout = Timeout(10)
    """Seconds for a file, from the look-up of its server's name to its last byte."""
    allow: tuple[str, ...] = ()
    """Hosts, addresses and networks (`10.1.0.0/16`) to be reached although they are not public, at any port."""


class Log(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The log: one JSON object a line, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe that is shown."""
    requests: bool = True
    """Whether each request gets a line."""


class Settings(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The whole configuration."""

    server: Server = Server()
    providers: dict[str, Provider] = field(default_factory=dict)
    models: dict[str, Model] = field(default_factory=dict)
    cache: Cache | None = None
    """A file without this section has no cache; an empty one (`cache: {}`) takes the defaults."""
    cassette: Cassette = Cassette()
    admin: Admin = Admin()
    storage: Storage = Storage()
    redis: Redis | None = None
    """Redis or Valkey, which is only of use to several processes. Without it hints come through storage."""
    keys: tuple[Key, ...] = ()
    """Without any there is no authentication, and only loopback addresses may be bound."""
    responses: Responses = Responses()
    webhooks: tuple[Webhook, ...] = ()
    """Told of the background answers of all keys."""
    idempotency: Idempotency = Idempotency()
    downloads: Downloads = Downloads()
    log: Log = Log()
