"""Who runs against whom: the table of the design's section 4, and some rows beside it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from bench.load import Script, rephrased, same, unique
from bench.requests import Body, chat, responses
from bench.servers import CACHED, PASSED, UNBUFFERED

FRAMES = 200
PACED_GAP = 0.004
"""Seconds between two frames of a paced stream."""

ServerKind = Literal["nginx", "cached", "plain"]
"""The gateway with a cache section, or without one."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One way of answering one kind of request."""

    name: str
    label: str
    server: ServerKind
    body: Body
    script: Script = same
    prefix: str = ""
    expects: str = ""
    """The cache result that each of its requests must have, as the gateway itself counts."""
    reference: str = ""
    """The name of the contender that it is compared with."""
    budget: float | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Contenders that run in the same rounds."""

    name: str
    unit: Literal["request", "frame"]
    contenders: tuple[Contender, ...]
    gap: float = 0.0
    """Seconds between two frames of the upstream; where there is one, streams are played instead of wrk."""

    @property
    def needs_wrk(self) -> bool:
        """Whether the load is wrk's."""
        return not self.gap


def _nginx(name: str, label: str, body: Body, prefix: str, script: Script = same) -> Contender:
    return Contender(name, label, "nginx", body, script, prefix)


def _hits() -> Group:
    plain, answer = chat(), responses()
    of = "nginx-hit"
    return Group(
        "hits",
        "request",
        (
            _nginx(of, "proxy_cache hit, 1 KB JSON", plain, CACHED),
            Contender(
                "hit", "exact hit, 1 KB JSON, body seen before", "cached", plain, same, "", "hit", of, 1.0
            ),
            Contender(
                "hit-other-bytes",
                "exact hit, same meaning, other bytes",
                "cached",
                plain,
                rephrased,
                "",
                "hit",
                of,
                1.5,
            ),
            Contender(
                "responses-hit", "Responses: body seen before, own id", "cached", answer, same, "", "hit", of
            ),
            Contender(
                "responses-hit-other-bytes",
                "Responses: other bytes, own id",
                "cached",
                answer,
                rephrased,
                "",
                "hit",
                of,
            ),
            Contender(
                "responses-hit-kept",
                "Responses: body seen before, own id, each kept for retrieval (`store: true`)",
                "cached",
                responses(store=True),
                same,
                "",
                "hit",
                of,
            ),
        ),
    )


def _streamed_hits() -> Group:
    plain, answer = chat(stream=True), responses(stream=True)
    of, of_responses = "nginx-streamed-hit", "nginx-responses-streamed-hit"
    label = f"proxy_cache hit of the same bytes, {FRAMES} frames"
    return Group(
        "streamed-hits",
        "request",
        (
            _nginx(of, label, plain, CACHED),
            Contender(
                "streamed-hit",
                f"streamed hit, {FRAMES} frames, replayed at once",
                "cached",
                plain,
                same,
                "",
                "hit",
                of,
                1.5,
            ),
            _nginx(of_responses, f"Responses: {label}", answer, CACHED),
            Contender(
                "responses-streamed-hit",
                f"Responses: streamed hit, {FRAMES} frames, own id in each that has it",
                "cached",
                answer,
                same,
                "",
                "hit",
                of_responses,
            ),
        ),
    )


def _fetched() -> Group:
    plain = chat()
    of = "nginx-fetched"
    return Group(
        "fetched",
        "request",
        (
            _nginx(of, "proxy_pass, 1 KB JSON", plain, PASSED, unique),
            Contender(
                "fetched",
                "JSON answer fetched from an upstream, native, 1 KB",
                "plain",
                plain,
                unique,
                "",
                "off",
                of,
                2.0,
            ),
            Contender(
                "fetched-stored",
                "the same with a cache: missed, fetched and stored",
                "cached",
                plain,
                unique,
                "",
                "miss",
                of,
            ),
        ),
    )


def _frames() -> Group:
    plain, answer = chat(stream=True), responses(stream=True)
    of, of_responses = "nginx-frames", "nginx-responses-frames"
    return Group(
        "frames",
        "frame",
        (
            _nginx(of, "proxy_pass, unbuffered, paced frames", plain, UNBUFFERED),
            Contender(
                "frames", "streamed answer, native, per frame", "plain", plain, unique, "", "off", of, 1.5
            ),
            Contender(
                "frames-stored",
                "the same with a cache: missed, passed on and stored",
                "cached",
                plain,
                unique,
                "",
                "miss",
                of,
            ),
            _nginx(of_responses, "Responses: proxy_pass, unbuffered, paced frames", answer, UNBUFFERED),
            Contender(
                "responses-frames",
                "Responses: streamed answer, native, own id, per frame",
                "plain",
                answer,
                unique,
                "",
                "off",
                of_responses,
            ),
        ),
        gap=PACED_GAP,
    )


GROUPS: dict[str, Callable[[], Group]] = {
    "hits": _hits,
    "streamed-hits": _streamed_hits,
    "fetched": _fetched,
    "frames": _frames,
}


def find(name: str) -> tuple[Group, Contender] | None:
    """Find a contender of the gateway, and its group."""
    for make in GROUPS.values():
        group = make()
        for contender in group.contenders:
            if contender.name == name and contender.server != "nginx":
                return group, contender
    return None


def names() -> list[str]:
    """Return the names of all contenders of the gateway."""
    return [each.name for make in GROUPS.values() for each in make().contenders if each.server != "nginx"]
