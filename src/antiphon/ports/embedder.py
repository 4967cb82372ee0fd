"""The port to a model that makes vectors of texts in this process."""

from typing import Protocol


class Embedder(Protocol):
    """Makes vectors, off the event loop."""

    async def vector(self, text: str) -> bytes | None:
        """Return the vector of a text (little-endian float32); None where it is too long for the model. Never raises."""

    def close(self) -> None:
        """Forget the model."""
