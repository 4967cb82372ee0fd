"""What one worker tells those who run the gateway: its metrics with those of the others, and whether it is ready."""

import asyncio
import logging
import secrets
from typing import TYPE_CHECKING, Final

from antiphon.wire.errors import StoreFault

if TYPE_CHECKING:
    from antiphon.app.application import Application

_log = logging.getLogger(__name__)

_PUBLISH_SECONDS: Final = 2.0
_FORGET_SECONDS: Final = 3600.0


class Reporting:
    """Reports of one worker."""

    def __init__(self, gateway: "Application") -> None:
        """Look at `gateway` when somebody asks."""
        self._gateway = gateway
        self._worker = secrets.token_hex(8)

    async def publish(self) -> None:
        """Show the metrics of this worker to the others, again and again."""
        shared, now = self._gateway.storage.metrics, self._gateway.wall_clock
        while True:
            await asyncio.sleep(_PUBLISH_SECONDS)
            try:
                await shared.publish(self._worker, self._gateway.metrics.snapshot(), now())
                await shared.forget(now() - _FORGET_SECONDS)
            except StoreFault as fault:
                _log.warning("metrics are not shared with the other workers: %s", fault)

    async def metrics(self) -> bytes:
        """Return the page of metrics of all workers."""
        gateway = self._gateway
        await gateway.accounts.flush()
        try:
            await gateway.runs.count()
        except StoreFault as fault:
            _log.warning("how many runs wait is not known: %s", fault)
        others: list[bytes] = []
        if gateway.storage.is_shared:
            try:
                others = await gateway.storage.metrics.others(self._worker)
            except StoreFault as fault:
                _log.warning("metrics of the other workers are missing: %s", fault)
        return await asyncio.to_thread(gateway.metrics.render, others)

    async def readiness(self) -> dict[str, str]:
        """Return the state of each part: `ok`, or what is wrong with it."""
        gateway = self._gateway
        parts = {"storage": "ok"}
        try:
            await gateway.storage.check()
        except StoreFault:
            parts["storage"] = "not available"
        if gateway.second_level is not None:
            parts["cache"] = "ok" if await gateway.second_level.check() else "not available"
        if gateway.changing is not None and not gateway.changing.is_heard:
            parts["cache"] = "not used: purges are not heard of"
        return parts
