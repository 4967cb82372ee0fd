"""Vectors of texts: from a model of some provider, asked as clients ask it, or from one in this process."""

import array
import asyncio
import itertools
import logging
import sys
import time
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from antiphon.engine.incoming import Incoming, Route
from antiphon.engine.inner import InnerReply
from antiphon.engine.turn import Owner
from antiphon.ports.embedder import Embedder
from antiphon.wire.errors import GatewayError

_log = logging.getLogger(__name__)
_HEADERS: Final = {b"x-antiphon-cache": b"on"}
"""Where the cache is only for those who ask for it, this asks."""
_MOST_SECONDS: Final = 60.0


class Embedding(Protocol):
    """Makes vectors."""

    async def vector(self, text: str, owner: Owner) -> bytes | None:
        """Return the vector of a text, as in `ports.vectors`; None if it cannot be had now. Never raises."""

    def close(self) -> None:
        """Make no more."""


class _Item(msgspec.Struct):
    embedding: list[float]


class _Answer(msgspec.Struct):
    data: list[_Item]


_ANSWER: Final = msgspec.json.Decoder(_Answer)


class AskedEmbedding:
    """Asks for embeddings in turns like any other: cached, counted and paid for by whoever asked."""

    def __init__(self, model: str, route: Route, answer: Callable[[Incoming], None]) -> None:
        """Ask `model` through `answer`, on `route`."""
        self._model = model
        self._route = route
        self._answer = answer
        self._numbers = itertools.count(1)

    async def vector(self, text: str, owner: Owner) -> bytes | None:
        """Return the vector of a text; None if it cannot be had now."""
        body = msgspec.json.encode({"model": self._model, "input": text})
        request_id = b"semantic-%d-%x" % (next(self._numbers), time.time_ns())
        reply = InnerReply()
        try:
            self._answer(Incoming(self._route, owner, request_id, _HEADERS, body, reply, time.monotonic()))
            async with asyncio.timeout(_MOST_SECONDS):
                told = await reply.told
            if told.status != 200:
                _log.warning("the embeddings model '%s' answered with status %d", self._model, told.status)
                return None
            return _little_endian(_ANSWER.decode(told.body).data[0].embedding)
        except (GatewayError, ConnectionAbortedError, TimeoutError, msgspec.DecodeError, IndexError) as error:
            _log.warning("the embeddings model '%s' could not be asked: %s", self._model, error)
            return None
        finally:
            if not reply.told.done():
                reply.leave()

    def close(self) -> None:
        """Make no more: turns end by themselves."""


class LocalEmbedding:
    """A model in this process, on a thread of its own."""

    def __init__(self, embedder: Embedder) -> None:
        """Let `embedder` make the vectors."""
        self._embedder = embedder

    async def vector(self, text: str, owner: Owner) -> bytes | None:  # noqa: ARG002 - it costs nobody anything
        """Return the vector of a text; None if it cannot be had now."""
        return await self._embedder.vector(text)

    def close(self) -> None:
        """Forget the model."""
        self._embedder.close()


def _little_endian(numbers: list[float]) -> bytes:
    vector = array.array("f", numbers)
    if sys.byteorder == "big":
        vector.byteswap()
    return vector.tobytes()
