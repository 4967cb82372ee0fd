"""The semantic level of the cache, made from the settings."""

from collections.abc import Callable, Iterator
from importlib.util import find_spec

from antiphon.drivers.memory import MemoryCache
from antiphon.engine.incoming import Incoming, Route
from antiphon.engine.semantic.embedding import AskedEmbedding, Embedding, LocalEmbedding
from antiphon.engine.semantic.level import SemanticLevel
from antiphon.engine.tasks import Tasks
from antiphon.gateway.gateway import Handler
from antiphon.gateway.metrics import Gauge
from antiphon.gateway.semantic_admin import SemanticAdmin
from antiphon.ports.storage import Storage
from antiphon.ports.stores import CacheLevel
from antiphon.settings import ConfigurationError, Semantic, Settings

_LOCAL = "local/"


def check_semantic(settings: Settings) -> None:
    """Raise ConfigurationError if what the level needs is not installed."""
    if settings.cache is None or not settings.cache.semantic.enabled:
        return
    needed = ["numpy"]
    if _is_local(settings, settings.cache.semantic):
        needed.append("fastembed")
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"cache.semantic: {' and '.join(missing)} missing; `pip install 'antiphon[semantic]'` brings what is needed"
        )


def semantic_level(
    settings: Settings,
    storage: Storage,
    memory: MemoryCache,
    level: CacheLevel | None,
    tasks: Tasks,
    wall_clock: Callable[[], float],
) -> SemanticLevel | None:
    """Return the level, not yet at work; None where the settings want none."""
    cache = settings.cache
    if cache is None or not cache.semantic.enabled or storage.vectors is None or level is None:
        return None
    return SemanticLevel(
        cache.semantic,
        vectors=storage.vectors,
        memory=memory,
        level=level,
        tasks=tasks,
        wall_clock=wall_clock,
    )


def embedding_of(
    settings: Settings, semantic: Semantic, route: Route, answer: Callable[[Incoming], None]
) -> Embedding:
    """Return what makes vectors: a model in this process, or one that is asked through `answer` on `route`."""
    if _is_local(settings, semantic):
        from antiphon.drivers.local_embedder import LocalEmbedder  # it needs what not everybody has

        return LocalEmbedding(LocalEmbedder(semantic.embedding_model.removeprefix(_LOCAL)))
    return AskedEmbedding(semantic.embedding_model, route, answer)


def semantic_routes(
    semantic: SemanticLevel | None, settings: Settings, tasks: Tasks
) -> dict[tuple[str, str], Handler]:
    """Return the routes for those who look after the level."""
    return {} if semantic is None else SemanticAdmin(semantic, settings.admin.key, tasks).handlers()


def semantic_gauges(semantic: SemanticLevel | None) -> Iterator[Gauge]:
    """Return what `/metrics` says of the level."""
    if semantic is None:
        return
    counts = semantic.counts
    for name, told, value in (
        ("cache_semantic_looked_up", "Requests whose text was looked for.", counts.asked),
        ("cache_semantic_hits", "Answers served to a request in other words.", counts.hits),
        (
            "cache_semantic_would_hit",
            "Answers that would have been served, but were compared with fresh ones.",
            counts.would_hit,
        ),
        ("cache_semantic_compared", "Pairs of answers that were compared.", counts.compared),
        ("cache_semantic_agreed", "Pairs of answers that were the same.", counts.agreed),
        ("cache_semantic_late", "Look-ups that took too long.", counts.late),
        ("cache_semantic_failed", "Look-ups without a vector, or without storage.", counts.failed),
    ):
        yield Gauge(name, told, value)
    for gate, refused in counts.refused.items():
        yield Gauge(
            "cache_semantic_refused", "Near texts that a gate did not let pass.", refused, {"gate": gate}
        )
    for model, learned in semantic.thresholds.models().items():
        if learned.threshold is not None:
            yield Gauge(
                "cache_semantic_threshold",
                "The learned threshold of a model.",
                learned.threshold,
                {"model": model},
                across="max",
            )


def _is_local(settings: Settings, semantic: Semantic) -> bool:
    return semantic.embedding_model.startswith(_LOCAL) and _LOCAL.rstrip("/") not in settings.providers
