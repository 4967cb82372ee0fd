"""Looking at the beginnings of all entries, to find those that are meant."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from antiphon.cache.entry import Entry
from antiphon.cache.selecting import Selector
from antiphon.drivers.redis.entries import (
    BEGINNING,
    TooShort,
    Unreadable,
    may_match,
    needles_of,
    read_attributes,
    read_head,
)
from antiphon.drivers.redis.pipe import Pipe
from antiphon.drivers.redis.pipes import Pipes

_AT_ONCE: Final = b"500"
"""Keys that the server looks at before it does anything else."""


class Scan:
    """The entries whose keys begin with one prefix."""

    def __init__(self, pipes: Pipes, prefix: bytes) -> None:
        """Look through `pipes`."""
        self._pipes = pipes
        self._prefix = prefix

    def key(self, digest: bytes) -> bytes:
        """Return the key of an entry."""
        return self._prefix + digest.hex().encode()

    async def meant(self, selector: Selector) -> AsyncIterator[Entry]:
        """Yield of each entry that is meant what `Attributes.stub` makes of it, at least once. Raises one of FAULTS."""
        if selector.digest is not None:
            key = self.key(selector.digest)
            value = await self._pipes.ask(key, *_beginning(key, BEGINNING))
            if value is not None and (stub := await self._read(key, value, selector)) is not None:
                yield stub
            return
        pattern, needles = _escaped(self._prefix) + b"*", needles_of(selector)
        for server in await self._pipes.servers():
            place = b""
            while place != b"0":
                place, keys = await server.ask(b"SCAN", place or b"0", b"MATCH", pattern, b"COUNT", _AT_ONCE)
                for key, value in zip(keys, await _beginnings(server, keys), strict=True):
                    if not may_match(value, needles):
                        continue
                    stub = await self._read(key, value, selector)
                    if stub is not None:
                        yield stub

    async def _read(self, key: bytes, value: bytes, selector: Selector) -> Entry | None:
        try:
            try:
                head, attributes = read_attributes(value)
            except TooShort:
                value = await self._pipes.ask(key, *_beginning(key, read_head(value).end))
                head, attributes = read_attributes(value)
        except Unreadable:
            return None  # nobody is answered from it
        stub = attributes.stub(head)
        return stub if selector.matches(stub) else None


async def _beginnings(server: Pipe, keys: list[bytes]) -> list[bytes]:
    return list(await asyncio.gather(*(server.ask(*_beginning(key, BEGINNING)) for key in keys)))


def _beginning(key: bytes, length: int) -> tuple[bytes, ...]:
    return (b"GETRANGE", key, b"0", b"%d" % (length - 1))


def _escaped(text: bytes) -> bytes:
    """Write what means itself in a pattern."""
    return b"".join(b"\\" + bytes((byte,)) if byte in b"*?[]^\\" else bytes((byte,)) for byte in text)
