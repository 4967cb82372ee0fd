"""Through the hub and back into the same dialect, for requests and for answers."""

import json
from typing import Any

from antiphon.dialects.chat.dialect import CHAT
from antiphon.dialects.completions.dialect import COMPLETIONS
from antiphon.dialects.messages.dialect import MESSAGES
from antiphon.dialects.registry import CLIENTS, UPSTREAMS
from antiphon.dialects.translation import Structured
from official_library import frames_of
from recorded import Exchange
from said_recorded import body_of
from translated import asking, read_answer, telling

APIS = {"chat": "openai.chat", "messages": "anthropic.messages", "completions": "openai.completions"}
PROVIDERS = {"chat": "openai", "messages": "anthropic", "completions": "openai-completions"}
DIALECTS = {"chat": CHAT, "messages": MESSAGES, "completions": COMPLETIONS}


def there_and_back(dialect: str, body: dict[str, Any], provider: str | None = None) -> dict[str, Any]:
    """Read a request as a client's, and write it for an upstream of the same dialect. Raises ClientFault."""
    request = CLIENTS[dialect].read(body)
    wants_schema = (request.get("text", {}).get("format") or {}).get("type") == "json_schema"
    changes = {"structured": Structured.NATIVE} if wants_schema else {}
    told = asking(
        request,
        provider or PROVIDERS[dialect],
        model=body.get("model"),
        stream=bool(body.get("stream")),
        **changes,
    )
    return UPSTREAMS[dialect].write(request, told)


def folded(dialect: str, exchange: Exchange) -> Any:
    """Return a recorded answer as JSON."""
    body = body_of(exchange)
    return json.loads(DIALECTS[dialect].fold(frames_of(body)) if exchange.mode == "stream" else body)


def answer_and_back(dialect: str, exchange: Exchange) -> Any:
    """Read a recorded answer as an upstream's, and write it as the JSON that a client of the dialect gets."""
    provider = PROVIDERS[dialect]
    body, is_stream = body_of(exchange), exchange.mode == "stream"
    events = read_answer(dialect, telling(provider=provider), body, stream=is_stream)
    frames = CLIENTS[dialect].writer(telling(dialect, provider=provider)).feed(events)
    return json.loads(DIALECTS[dialect].fold(frames))
