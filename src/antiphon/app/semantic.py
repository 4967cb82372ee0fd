"""The semantic level of the cache, made from the settings."""

from collections.abc import Callable
from importlib.util import find_spec

from antiphon.drivers.memory import MemoryCache
from antiphon.engine.incoming import Incoming, Route
from antiphon.engine.semantic.embedding import AskedEmbedding, Embedding, LocalEmbedding
from antiphon.engine.semantic.level import SemanticLevel
from antiphon.engine.tasks import Tasks
from antiphon.ports.storage import Storage
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
    tasks: Tasks,
    wall_clock: Callable[[], float],
) -> SemanticLevel | None:
    """Return the level, not yet at work; None where the settings want none."""
    cache = settings.cache
    if cache is None or not cache.semantic.enabled or storage.vectors is None or storage.cache is None:
        return None
    return SemanticLevel(
        cache.semantic,
        vectors=storage.vectors,
        memory=memory,
        level=storage.cache,
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


def _is_local(settings: Settings, semantic: Semantic) -> bool:
    return semantic.embedding_model.startswith(_LOCAL) and _LOCAL.rstrip("/") not in settings.providers
