"""A request as it comes in, and the route that it came on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from antiphon.dialects.dialect import Dialect
from antiphon.dialects.native import NativeRequest
from antiphon.engine.carriage import Carriage
from antiphon.engine.turn import Owner, mint_response_id
from antiphon.ports.reply import Reply
from antiphon.turn.chain import Items, Parent
from antiphon.turn.history import Context


@dataclass(frozen=True, slots=True)
class Route:
    """A route that models answer on."""

    path: str
    upstream_path: str
    dialect: Dialect
    read: Callable[[Mapping[bytes, bytes], bytes], NativeRequest] | None = None
    """Reads headers and body of a request; None: `read_request` does. Raises ClientFault."""
    takes_files: bool = False
    """Whether requests may be too large to be known again by their bytes, which are kept for that."""
    has_variants: bool = False
    """Whether something of the head changes the answer."""


@dataclass(slots=True, eq=False)
class Incoming:
    """A request, and who asks."""

    route: Route
    owner: Owner
    request_id: bytes
    headers: Mapping[bytes, bytes]
    body: bytes
    reply: Reply
    received_at: float
    """Monotonic seconds."""
    query: bytes = b""
    response_id: bytes = b""
    """The id that the answer is to have; without it one is minted."""
    reserved_id: bytes = b""
    """The id that was minted for it before, with its idempotency key."""
    carriage: Carriage | None = None
    """Where the answer may go on in the upstream's own background mode."""
    context: Context | None = None
    """What the model is to be shown, where that was found out before."""
    parent: Parent | None = None
    """The response that is continued, where whoever brings the request has it at hand."""
    shown: Items | None = None
    """What the model is shown, as soon as that is known."""

    def new_id(self) -> bytes:
        """Return the id for an answer that is given one now."""
        return self.response_id or self.reserved_id or mint_response_id()
