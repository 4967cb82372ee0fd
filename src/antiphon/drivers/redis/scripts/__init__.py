"""What is done on the server in one step."""

import hashlib
from importlib.resources import files

from redis.exceptions import ResponseError

from antiphon.drivers.redis.pipe import Reply
from antiphon.drivers.redis.pipes import Pipes


class Script:
    """One of the files of this folder."""

    def __init__(self, name: str) -> None:
        """Read the file `name.lua`."""
        self._text = files(__name__).joinpath(f"{name}.lua").read_bytes()
        self._digest = hashlib.sha1(self._text, usedforsecurity=False).hexdigest().encode()

    async def run(self, pipes: Pipes, keys: tuple[bytes, ...], *values: bytes) -> Reply:
        """Run it on `keys`, which have one hash tag. Raises one of FAULTS; a refusal is ResponseError."""
        words = (b"%d" % len(keys), *keys, *values)
        try:
            return await pipes.ask(keys[0], b"EVALSHA", self._digest, *words)
        except ResponseError as refusal:
            if not str(refusal).startswith("NOSCRIPT"):
                raise
        return await pipes.ask(keys[0], b"EVAL", self._text, *words)
