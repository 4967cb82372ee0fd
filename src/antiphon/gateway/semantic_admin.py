"""The routes under `/admin/v1/cache/semantic`: what was learned, and telling what was right or wrong."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Final

import msgspec

from antiphon.engine.semantic.level import SemanticLevel
from antiphon.engine.tasks import Tasks
from antiphon.gateway.admin import PREFIX, require_admin
from antiphon.gateway.gateway import Handler, answer_later
from antiphon.gateway.request import Request
from antiphon.ports.reply import Headers, Reply
from antiphon.wire.errors import ClientFault

_JSON: Final = (b"content-type", b"application/json")
_PATH: Final = PREFIX + "/cache/semantic"


class _Feedback(msgspec.Struct, forbid_unknown_fields=True):
    model: str
    """`provider/model`, which gave the answer."""
    similarity: Annotated[float, msgspec.Meta(ge=0, le=1)]
    """As it stood in `Cache-Status`."""
    right: bool


class SemanticAdmin:
    """Handlers over the semantic level."""

    def __init__(self, semantic: SemanticLevel, admin_key: str | None, tasks: Tasks) -> None:
        """Show `semantic` to whoever has the admin key."""
        self._semantic = semantic
        self._admin_key = admin_key
        self._tasks = tasks

    def handlers(self) -> dict[tuple[str, str], Handler]:
        """Return the routes."""
        return {
            ("GET", _PATH): self._later(self._report),
            ("POST", _PATH + "/feedback"): self._later(self._feedback),
        }

    def _later(self, body_for: Callable[[Request], Awaitable[object]]) -> Handler:
        def handler(request: Request, request_id: bytes, reply: Reply) -> None:
            require_admin(request.headers, self._admin_key)

            async def answer() -> tuple[int, Headers, bytes]:
                return 200, (_JSON,), msgspec.json.encode(await body_for(request))

            answer_later(self._tasks, request_id, reply, answer)

        return handler

    async def _report(self, request: Request) -> object:  # noqa: ARG002
        return await self._semantic.report()

    async def _feedback(self, request: Request) -> object:
        try:
            told = msgspec.json.decode(request.body, type=_Feedback)
        except msgspec.DecodeError as error:
            raise ClientFault(f"The body is no feedback: {error}.", code="invalid_value") from error
        self._semantic.judge_served(told.model, told.similarity, right=told.right)
        return {"threshold": self._semantic.thresholds.threshold(told.model)}
