"""Embeddings (`/v1/embeddings`)."""

from typing import Final

from antiphon.dialects.chat.watcher import JsonWatcher
from antiphon.dialects.unstreamed import Unstreamed

EMBEDDINGS: Final = Unstreamed("embeddings", "Embeddings", lambda: JsonWatcher("data"))
