"""Telling receivers that background answers have ended, as Standard Webhooks has it (specification, section 14).

Notices lie in an outbox that the transaction fills which ends a run, so none is lost and none is told of what did not
happen. Any worker tells them; who dies in between leaves them to another, so a receiver may be told twice, under one id.
"""

import asyncio
import hmac
import logging
import secrets
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from antiphon.engine.asking import ask
from antiphon.engine.tasks import Tasks
from antiphon.ports.upstream import Upstream, UpstreamRequest
from antiphon.ports.webhooks import Notice, Outbox
from antiphon.wire.errors import StoreFault, UpstreamFault

_log = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 0.5
_AT_ONCE: Final = 16
_ANSWER_SECONDS: Final = 20.0
_HELD_SECONDS: Final = 60.0
"""For which a worker has a notice to itself."""
_AGAIN_SECONDS: Final = (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
"""After each attempt that failed, as the standard recommends; after the last there is no other."""
_GONE: Final = 410


@dataclass(frozen=True, slots=True)
class Hook:
    """A receiver."""

    owner: str | None
    """Of whose answers it is told; None: of everybody's."""
    upstream: Upstream
    path: str
    secret: str
    """`whsec_…`."""
    events: frozenset[str]
    """What it is told of; empty: everything."""


class Webhooks:
    """Tells what is due."""

    def __init__(
        self,
        outbox: Outbox,
        hooks: Mapping[str, Hook],
        tasks: Tasks,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Tell `hooks`, by name."""
        self._outbox = outbox
        self._hooks = hooks
        self._tasks = tasks
        self._now = wall_clock

    def start(self) -> None:
        """Begin to tell, if there is anybody to be told."""
        if self._hooks:
            self._tasks.start(self._tell(), "tell webhooks")

    async def close(self) -> None:
        """Close the connections."""
        for hook in self._hooks.values():
            await hook.upstream.close()

    def notices(self, owner: str) -> list[tuple[str, str]]:
        """Return ids for the notices of a new run, and the names of those who are to be told."""
        return [
            (f"evt_{secrets.token_hex(24)}", name)
            for name, hook in self._hooks.items()
            if hook.owner in (None, owner)
        ]

    async def _tell(self) -> None:
        while True:
            try:
                notices = await self._outbox.due(_AT_ONCE, _HELD_SECONDS)
            except StoreFault as fault:
                _log.warning("webhooks are told later: %s", fault.message)
                notices = []
            if notices:
                await asyncio.gather(*(self._deliver(notice) for notice in notices))
            if len(notices) < _AT_ONCE:
                await asyncio.sleep(_LOOK_SECONDS)

    async def _deliver(self, notice: Notice) -> None:
        hook = self._hooks.get(notice.hook)
        kind = f"response.{notice.status}"
        try:
            if hook is None or (hook.events and kind not in hook.events):
                await self._outbox.forget(notice.id)
                return
            why = await self._post(hook, notice, kind)
            if why is None:
                await self._outbox.forget(notice.id)
            elif notice.attempt > len(_AGAIN_SECONDS):
                _log.error("webhook %s of %s is given up: %s", notice.id, notice.run_id, why)
                await self._outbox.forget(notice.id)
            else:
                _log.warning("webhook %s of %s is told again: %s", notice.id, notice.run_id, why)
                await self._outbox.put_off(notice.id, _AGAIN_SECONDS[notice.attempt - 1])
        except StoreFault as fault:
            _log.warning("webhook %s is perhaps told again: %s", notice.id, fault.message)

    async def _post(self, hook: Hook, notice: Notice, kind: str) -> str | None:
        """Tell one; None if it was heard, else why it was not."""
        told = {"object": "event", "id": notice.id, "type": kind, "created_at": int(notice.ended_at)}
        body = msgspec.json.encode({**told, "data": {"id": notice.run_id}})
        headers = signed(hook.secret, notice.id, int(self._now()), body)
        request = UpstreamRequest("webhooks", hook.path, body, headers=headers)
        try:
            status = (await ask(hook.upstream, request, within=_ANSWER_SECONDS)).status
        except (UpstreamFault, TimeoutError) as error:
            return str(error) or "no answer in time"
        if 200 <= status < 300:
            return None
        if status == _GONE:
            _log.warning("webhook %s: its receiver is gone for good", notice.id)
            return None
        return f"status {status}"


def signed(secret: str, notice_id: str, at: int, body: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers of Standard Webhooks.

    By hand: it is one HMAC, less than a dependency whose other half verifies what we never receive.
    """
    key = b64decode(secret.removeprefix("whsec_"))
    signature = hmac.digest(key, b"%b.%d.%b" % (notice_id.encode(), at, body), "sha256")
    return (
        (b"webhook-id", notice_id.encode()),
        (b"webhook-timestamp", b"%d" % at),
        (b"webhook-signature", b"v1," + b64encode(signature)),
    )
