"""Who runs against whom: the table of the design's section 4, and some rows beside it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from antiphon.dialects.providers import PROVIDERS as PROFILES
from antiphon.dialects.providers import upstream_dialect
from antiphon.dialects.registry import CLIENTS
from antiphon.wire.errors import ClientFault
from bench.load import Script, rephrased, same, unique
from bench.requests import Body, chat, completions, messages, responses
from bench.servers import CACHED, MODEL, PASSED, PROVIDERS, UNBUFFERED

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
    pair: tuple[str, str] | None = None
    """The dialects of client and upstream, where it is one row of the table of pairs."""


@dataclass(frozen=True, slots=True)
class Group:
    """Contenders that run in the same rounds."""

    name: str
    unit: Literal["request", "frame"]
    contenders: tuple[Contender, ...]
    gap: float = 0.0
    """Seconds between two frames of the upstream; where there is one, streams are played instead of wrk."""
    rounds: int | None = None
    """At most so many rounds."""
    streams_each: int | None = None
    """At most so many streams on each connection."""

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
            Contender(
                "fetched-translated",
                "JSON answer translated whole, chat upstream to Responses client, 1 KB",
                "plain",
                responses(model=_at("chat")),
                unique,
                "",
                "off",
                of,
            ),
        ),
    )


def _frames() -> Group:
    plain, answer, message = chat(stream=True), responses(stream=True), messages(stream=True)
    of, of_responses, of_messages = "nginx-frames", "nginx-responses-frames", "nginx-messages-frames"
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
            Contender(
                "translated-frames",
                "streamed answer, chat upstream to Responses client, per frame",
                "plain",
                responses(stream=True, model=_at("chat")),
                unique,
                "",
                "off",
                of,
                3.0,
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
            _nginx(of_messages, "Messages: proxy_pass, unbuffered, paced frames", message, UNBUFFERED),
            Contender(
                "messages-frames",
                "Messages: streamed answer, native, per frame",
                "plain",
                messages(stream=True, model=_at("messages")),
                unique,
                "",
                "off",
                of_messages,
            ),
        ),
        gap=PACED_GAP,
    )


_BODIES: dict[str, Callable[..., Body]] = {
    "responses": responses,
    "chat": chat,
    "messages": messages,
    "completions": completions,
}


def _at(upstream: str) -> str:
    """Name a model of the upstream that speaks this dialect."""
    return f"{upstream}/{MODEL}"


def _pairs() -> Group:
    of = "nginx-pairs"
    contenders = [_nginx(of, "proxy_pass, unbuffered, paced frames of chat", chat(stream=True), UNBUFFERED)]
    for client, body in _BODIES.items():
        for upstream in PROVIDERS:
            if _is_translated(client, upstream):
                label = f"{upstream} upstream to {client} client"
                asked = body(stream=True, model=_at(upstream))
                contenders.append(
                    Contender(
                        f"{upstream}-to-{client}",
                        label,
                        "plain",
                        asked,
                        unique,
                        "",
                        "off",
                        of,
                        pair=(client, upstream),
                    )
                )
    return Group("pairs", "frame", tuple(contenders), gap=PACED_GAP, rounds=2, streams_each=2)


def _is_translated(client: str, upstream: str) -> bool:
    """Whether a client of one dialect can ask this upstream, and its answers have to be translated."""
    try:
        return upstream_dialect(PROFILES[PROVIDERS[upstream][0]], client, CLIENTS) is not None
    except ClientFault:
        return False


GROUPS: dict[str, Callable[[], Group]] = {
    "hits": _hits,
    "streamed-hits": _streamed_hits,
    "fetched": _fetched,
    "frames": _frames,
    "pairs": _pairs,
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
