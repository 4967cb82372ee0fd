"""The official client library, in its two forms with one face: each call is made as its users would make it."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from openai import AsyncOpenAI, DefaultAsyncHttpxClient, DefaultHttpxClient, OpenAI

Use = Callable[[Any], Any]
"""What is asked of the client: `lambda client: client.models.list()`."""

# Not used, and too slow to be made for each client anew.
_TLS = ssl.create_default_context()


class AsyncCaller:
    """`openai.AsyncOpenAI`."""

    def __init__(self, base_url: str, api_key: str = "any") -> None:
        self._options: dict[str, Any] = {"base_url": base_url, "api_key": api_key, "max_retries": 0}

    def _client(self) -> AsyncOpenAI:
        return AsyncOpenAI(**self._options, http_client=DefaultAsyncHttpxClient(verify=_TLS))

    async def result(self, use: Use) -> Any:
        async with self._client() as client:
            return await use(client)

    async def listed(self, use: Use) -> list[Any]:
        """Collect the chunks of a stream, or the entries of a page."""
        async with self._client() as client:
            stream = await use(client)
            return [each async for each in stream]

    async def helped(self, use: Use, final: str) -> tuple[list[Any], Any]:
        """Collect the events of a streaming helper, and what its method `final` gives at the end."""
        async with self._client() as client, use(client) as stream:
            events = [event async for event in stream]
            return events, await getattr(stream, final)()


class SyncCaller:
    """`openai.OpenAI`, on a thread of its own."""

    def __init__(self, base_url: str, api_key: str = "any") -> None:
        self._options: dict[str, Any] = {"base_url": base_url, "api_key": api_key, "max_retries": 0}

    def _client(self) -> OpenAI:
        return OpenAI(**self._options, http_client=DefaultHttpxClient(verify=_TLS))

    async def result(self, use: Use) -> Any:
        def run() -> Any:
            with self._client() as client:
                return use(client)

        return await asyncio.to_thread(run)

    async def listed(self, use: Use) -> list[Any]:
        def run() -> list[Any]:
            with self._client() as client:
                return list(use(client))

        return await asyncio.to_thread(run)

    async def helped(self, use: Use, final: str) -> tuple[list[Any], Any]:
        def run() -> tuple[list[Any], Any]:
            with self._client() as client, use(client) as stream:
                return list(stream), getattr(stream, final)()

        return await asyncio.to_thread(run)


CALLERS = [AsyncCaller, SyncCaller]
