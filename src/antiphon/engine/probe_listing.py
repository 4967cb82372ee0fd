"""The first call of a probe: the list of models, and why there is none where it was looked for."""

import asyncio

from msgspec.structs import replace

from antiphon.dialects.probe_models import Listed
from antiphon.dialects.probes import PROBES, Probe, other_base_urls, stem_of
from antiphon.dialects.signs import Speaker, speaker_of
from antiphon.engine.probe_advice import (
    answered,
    is_refused_key,
    redirected,
    refused_key,
    slow,
    unreachable,
    wrong_speaker,
)
from antiphon.engine.probe_calls import Calls, Reply
from antiphon.engine.probe_subject import DIALECT, KEY, MODELS, REACHABLE, Connect, Subject
from antiphon.engine.verdicts import Step, failed
from antiphon.ports.upstream import Upstream, UpstreamRequest

_NOT_HERE = frozenset({404, 405, 501})
_SURE = frozenset({Speaker.ANTHROPIC, Speaker.GEMINI, Speaker.OLLAMA})
"""Whose answers look like nobody else's."""


class Listing:
    """Asks one provider for its list."""

    def __init__(self, subject: Subject, row: Probe, connect: Connect, calls: Calls) -> None:
        """Ask as `row` says; `connect` reaches the places nearby."""
        self._subject = subject
        self._provider = subject.settings
        self._row = row
        self._connect = connect
        self._calls = calls

    async def ask(self, upstream: Upstream) -> Reply:
        """Ask for the list."""
        return await self._ask(upstream, self._row)

    def read(self, reply: Reply) -> list[Listed] | None:
        """Read the list; None if the answer is none."""
        return _read(self._row, reply)

    def unreachable(self, reply: Reply) -> Step:
        """Say why no answer began."""
        assert reply.fault is not None
        late = slow(reply.fault, "it took the request and says nothing")
        base_url = self._provider.base_url or ""
        return failed(REACHABLE, late or unreachable(reply.fault, base_url, self._subject.proxy))

    async def explain(self, reply: Reply, *, may_answer: bool) -> Step | None:
        """Say why there is no list; None if there is a model to ask, and it may answer all the same."""
        speaker = speaker_of(reply.content_type, reply.body)
        known = self._of_status(reply, speaker)
        if known is not None:
            return known
        if speaker in _SURE - {self._row.speaker}:
            return failed(DIALECT, wrong_speaker(speaker, reply, self._row.models_path))
        place = _place(self._provider.base_url or "", self._row)
        mend = await self._look_around()
        if mend is not None:
            return failed(DIALECT, f"no list of models at {place} (status {reply.status}), but {mend}")
        if speaker is Speaker.WEB or reply.status == 200:
            return failed(DIALECT, wrong_speaker(speaker, reply, self._row.models_path))
        if reply.status in _NOT_HERE and may_answer:
            return None
        return failed(DIALECT, f"no list of models at {place}: {answered(reply)}: check `base_url`")

    def _of_status(self, reply: Reply, speaker: Speaker) -> Step | None:
        status = reply.status
        if reply.fault is not None or reply.is_too_large:
            why = reply.fault.message if reply.fault else "it is longer than 8 MiB"
            return failed(MODELS, f"the list of models did not come whole: {why}")
        if is_refused_key(reply):
            if speaker in _SURE - {self._row.speaker}:
                return failed(DIALECT, wrong_speaker(speaker, reply, self._row.models_path))
            has_key = bool(self._provider.api_key or self._provider.headers)
            return failed(KEY, refused_key(reply, has_key=has_key))
        if 300 <= status < 400:
            return failed(DIALECT, redirected(reply))
        if status == 429:
            return failed(MODELS, f"over a limit, try again later: {answered(reply)}")
        if status >= 500 and status not in _NOT_HERE:
            return failed(MODELS, f"the provider is in trouble: {answered(reply)}")
        return None

    async def _look_around(self) -> str | None:
        """Find where the API is instead; return what to write into the configuration then."""
        base_url = self._provider.base_url
        if base_url is None:
            return None
        own: str = self._provider.type
        places = [(own, url) for url in other_base_urls(base_url, self._row.suffix)]
        places += [(cousin, stem_of(base_url) + PROBES[cousin].suffix) for cousin in self._row.cousins]
        found = await asyncio.gather(*(self._is_at(PROBES[kind], url) for kind, url in places))
        for (kind, url), is_there in zip(places, found, strict=True):
            if is_there:
                type_too = "" if kind == own else f"`type: {kind}` and "
                return f"there is one at {_place(url, PROBES[kind])}: set {type_too}`base_url: {url}`"
        return None

    async def _is_at(self, row: Probe, base_url: str) -> bool:
        upstream = self._connect(replace(self._provider, base_url=base_url))
        try:
            reply = await self._ask(upstream, row)
        finally:
            await upstream.close()
        if is_refused_key(reply):
            return speaker_of(reply.content_type, reply.body) is row.speaker
        return _read(row, reply) is not None

    async def _ask(self, upstream: Upstream, row: Probe) -> Reply:
        return await self._calls.send(upstream, UpstreamRequest("models", row.models_path, method="GET"))


def _read(row: Probe, reply: Reply) -> list[Listed] | None:
    if reply.status != 200 or reply.fault is not None:
        return None
    try:
        return row.read_models(reply.body)
    except ValueError:
        return None


def _place(base_url: str, row: Probe) -> str:
    return base_url + row.models_path.partition("?")[0]
