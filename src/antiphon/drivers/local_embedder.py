"""A model in this process that makes vectors of texts, with fastembed: ONNX or static, downloaded or from a folder.

Implements `ports.embedder.Embedder`. The model works on a thread of its own.
"""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from fastembed import TextEmbedding

_log = logging.getLogger(__name__)

_SHORT: Final = {
    "all-minilm": "sentence-transformers/all-MiniLM-L6-v2",
    "multilingual-minilm": "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2",
    "bge-small": "BAAI/bge-small-en-v1.5",
    "potion": "minishlab/potion-base-8M",
}
"""Names that are short, for those that fastembed has."""
_STATIC: Final = "minishlab/potion-base-8M"
"""Any static model in a folder is read like this one."""
_PIECE: Final = 800
"""Characters: what is longer is read in pieces, since models read no more than some hundred tokens."""


class LocalEmbedder:
    """One model."""

    def __init__(self, name: str) -> None:
        """Begin to load a model by its name, or from the folder that it is in; what is wrong with it stands in the log."""
        self._name = name
        self._model: TextEmbedding | None = None
        self._is_broken = False
        self._is_closed = False
        self._pool = ThreadPoolExecutor(1, "antiphon-embed")
        # So that the first who asks does not wait for the model, and what is wrong with it is told at the start.
        self._pool.submit(self._vector, "begin")

    async def vector(self, text: str) -> bytes | None:
        """Return the vector of a text; None if the model cannot be used."""
        if self._is_closed:
            return None
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._vector, text)

    def close(self) -> None:
        """Forget the model."""
        self._is_closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _vector(self, text: str) -> bytes | None:
        if self._is_broken:
            return None
        import numpy as np

        try:
            if self._model is None:
                self._model = _load(self._name)
            vectors = list(self._model.embed(_pieces(text)))
        except (
            Exception
        ) as error:  # whatever fastembed, onnxruntime and the hub raise: nobody's answer hangs on it
            self._is_broken = self._model is None
            _log.error("the local embeddings model '%s' cannot be used: %s", self._name, error)
            return None
        mean: np.ndarray = np.mean(vectors, axis=0)
        return mean.astype("<f4").tobytes()


def _load(name: str) -> "TextEmbedding":
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    folder = Path(name).expanduser()
    if not folder.is_dir():
        return TextEmbedding(_SHORT.get(name.lower(), name))
    found = sorted(folder.glob("**/*.onnx"))
    if not found:
        return TextEmbedding(_STATIC, specific_model_path=str(folder))
    known = str(folder.resolve())
    if known not in {each["model"] for each in TextEmbedding.list_supported_models()}:
        TextEmbedding.add_custom_model(
            model=known,
            pooling=PoolingType.MEAN,
            normalization=True,
            sources=ModelSource(url="file://" + known),
            dim=0,
            model_file=str(found[0].relative_to(folder)),
        )
    return TextEmbedding(known, specific_model_path=str(folder))


def _pieces(text: str) -> list[str]:
    return [text[start : start + _PIECE] for start in range(0, len(text), _PIECE)] or [text]
