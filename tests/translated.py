"""Translations without sockets: requests and answers through the hub, for tests of any dialect."""

import itertools
import json
from collections.abc import Sequence
from typing import Any

from antiphon.dialects.providers import PROVIDERS
from antiphon.dialects.registry import CLIENTS, UPSTREAMS
from antiphon.dialects.translation import Asking, Structured, Telling, Translation, feed
from antiphon.turn.events import Event
from antiphon.turn.grammar import violations
from antiphon.turn.request import HubRequest, normalized
from antiphon.turn.response import begun
from antiphon.turn.tools import read_tools
from antiphon.wire.sse import parse_frame
from recorded import Exchange

NOW = 1_800_000_000.0
LARGEST_FRAME = 1 << 24


def asking(request: HubRequest, provider: str = "openai-chat", **changes: Any) -> Asking:
    """What the writer of an upstream's request is told; envelopes are plain JSON behind `sealed:`."""
    profile = PROVIDERS[provider]
    toolset = read_tools(request, hosted=profile.hosted_tools, upstream=profile.label)
    told = {"model": "m", "stream": False, "profile": profile, "toolset": toolset}
    return Asking(**{**told, "unseal": unseal, "is_sealed": is_sealed, **changes})


def seal(payload: Any) -> str:
    return "sealed:" + json.dumps(payload)


def is_sealed(text: str) -> bool:
    return text.startswith("sealed:")


def unseal(text: str) -> Any:
    return json.loads(text.removeprefix("sealed:")) if is_sealed(text) else None


def write(dialect: str, body: dict[str, Any], provider: str, **changes: Any) -> dict[str, Any]:
    """Write a Responses create body for an upstream."""
    request = normalized(body)
    return UPSTREAMS[dialect].write(request, asking(request, provider, **changes))


def telling(
    client: str = "responses",
    body: dict[str, Any] | None = None,
    provider: str = "openai-chat",
    **changes: Any,
) -> Telling:
    """What the reader and writer of one answer are told; ids count up from 0."""
    request = normalized(body or {"input": "Hi"})
    numbers = itertools.count()
    response_id = f"{CLIENTS[client].id_prefix}own"
    return Telling(
        request=request,
        asking=asking(request, provider, **changes),
        response=begun(request, response_id=response_id, created_at=int(NOW), model="m"),
        make_id=lambda prefix: f"{prefix}{next(numbers)}",
        now=lambda: NOW,
        seal=seal,
        count_tokens=lambda texts: sum(map(len, texts)),
        count_input=lambda request: len(json.dumps(request)),
        signs=CLIENTS[client].signs,
    )


def read_answer(
    dialect: str, told: Telling, data: bytes, *, stream: bool, cuts: Sequence[int] = ()
) -> list[Event]:
    """Return the hub's events of an upstream's answer, its bytes cut at `cuts`; through JSON and back."""
    form = UPSTREAMS[dialect]
    if not stream:
        reader = form.reader(told)
        feed(reader, data, "")
        reader.close(clean=True)
        return json.loads(json.dumps(reader.drain()))
    translation = Translation(
        form.reader(told), CLIENTS["responses"].writer(told), form.framing, LARGEST_FRAME
    )
    places = [0, *sorted(cuts), len(data)]
    frames = [
        frame for start, stop in itertools.pairwise(places) for frame in translation.feed(data[start:stop])
    ]
    return events_in([*frames, *translation.close(clean=True)])


def events_in(frames: Sequence[bytes]) -> list[Event]:
    """Return the events of a stream of the Responses API, `[DONE]` left out."""
    events = [parse_frame(frame) for frame in frames]
    return [json.loads(event.data) for event in events if event and event.data != b"[DONE]"]


def read_recording(dialect: str, exchange: Exchange, told: Telling | None = None) -> list[Event]:
    """Return the hub's events of a recorded answer, which must keep the grammar."""
    events = read_answer(dialect, told or telling(), exchange.body, stream=exchange.mode == "stream")
    assert violations(events) == []
    return events


def whole(events: Sequence[Event]) -> Event:
    """Return the response of the terminal event."""
    return events[-1]["response"]


__all__ = ["Structured", "asking", "events_in", "read_answer", "read_recording", "telling", "whole", "write"]
