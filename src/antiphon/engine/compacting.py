"""Compacting a conversation with the model that is to go on: a turn like any other asks for the summary."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from antiphon.engine.incoming import Incoming, Route
from antiphon.engine.inner import InnerReply, Told
from antiphon.engine.translating import make_id
from antiphon.engine.turn import Owner
from antiphon.engine.turns import Turns
from antiphon.turn.compaction import compacted, compaction_request
from antiphon.turn.request import normalized
from antiphon.turn.response import output_text
from antiphon.wire.errors import ClientFault, UpstreamFault
from antiphon.wire.objects import read_object, write_object
from antiphon.wire.sealing import JsonValue, Sealer

KIND: Final = "compaction"


class Compacting:
    """Compacts for upstreams that have no way of their own."""

    def __init__(
        self,
        turns: Turns,
        route: Route,
        sealer: Sealer,
        *,
        wall_clock: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask through `turns` on `route`, the one of the Responses API; `clock` is monotonic."""
        self._turns = turns
        self._route = route
        self._sealer = sealer
        self._now = wall_clock
        self._clock = clock

    async def compact(
        self,
        body: dict[str, Any],
        owner: Owner,
        request_id: bytes,
        headers: Mapping[bytes, bytes],
        reply: InnerReply,
    ) -> bytes:
        """Return the compaction; `reply` is told when nobody waits any more. Raises GatewayError."""
        request = normalized(body)
        if not request["input"]:
            raise ClientFault(
                "Missing required parameter: 'input'.", code="missing_required_parameter", param="input"
            )
        asked = write_object(compaction_request(request))
        self._turns.answer(Incoming(self._route, owner, request_id, headers, asked, reply, self._clock()))
        response = _read(await reply.told)
        summary: JsonValue = {"text": output_text(response["output"])}
        sealed = self._sealer.seal(KIND, "", request["model"], summary, owner=owner.name)
        return write_object(
            compacted(
                request,
                sealed,
                created_at=int(self._now()),
                usage=response.get("usage"),
                make_id=make_id,
            )
        )


def _read(told: Told) -> dict[str, Any]:
    """Return the response. Raises GatewayError for an error, or an answer that does not say all."""
    if told.status >= 400:
        error = read_object(told.body).get("error") or {}
        fault = ClientFault if told.status < 500 else UpstreamFault
        raise fault(
            error.get("message") or "The model could not be asked.",
            code=error.get("code"),
            param=error.get("param"),
            status=told.status,
            headers=tuple(header for header in told.headers if header[0].startswith(b"retry-after")),
        )
    response = read_object(told.body)
    if response.get("status") != "completed" or not output_text(response.get("output") or []):
        raise UpstreamFault("The model wrote no summary.", code="compaction_failed")
    return response
