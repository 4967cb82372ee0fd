"""Bytes: how events are framed, and how a stream is cut off."""

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from antiphon.drivers.simulator import Answer, Fault
from scripted.speech import Says

DONE = b"data: [DONE]\n\n"


def named(data: Any, event: str = "") -> bytes:
    """Return a server-sent event."""
    name = f"event: {event}\n" if event else ""
    return f"{name}data: {json.dumps(data)}\n\n".encode()


def events(frames: Iterable[bytes]) -> Answer:
    """Return a stream of server-sent events."""
    return Answer(frames=list(frames))


def cut(answer: Answer, says: Says) -> Answer:
    """Let the stream end in its middle, cleanly as far as HTTP knows, where that is what happens."""
    if not says.is_cut:
        return answer
    assert answer.frames is not None
    return replace(answer, fault=Fault.NO_TERMINAL_EVENT, at=len(answer.frames) // 2)
