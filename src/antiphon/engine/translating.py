"""Turns whose upstream speaks another dialect: the request is written anew, the answer translated as it comes.

The translation stands between the upstream and the live recording. What is recorded is the answer in the
client's dialect, so that everything behind (listeners, cache, replay, kept responses) is as for native turns.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from antiphon.dialects.files import NamedFile, unreachable_files
from antiphon.dialects.refusing import refuse_service_members
from antiphon.dialects.registry import CLIENTS, UPSTREAMS
from antiphon.dialects.responses.dialect import RESPONSES
from antiphon.dialects.translation import Asking, Download, Structured, Telling
from antiphon.drivers.download import Downloader, Kind, Wanted
from antiphon.drivers.schemas import SchemaCheck
from antiphon.engine.live import LiveRecording
from antiphon.engine.refusals import internal_error
from antiphon.engine.source import Source
from antiphon.engine.tasks import Tasks
from antiphon.engine.translated import CheckedAnswer, TranslatedAnswer
from antiphon.engine.turn import Ask, Turn
from antiphon.ports.upstream import AnswerSink, UpstreamRequest
from antiphon.turn.create import refuse_elsewhere
from antiphon.turn.request import HubRequest, user_message
from antiphon.turn.request_tokens import count_request
from antiphon.turn.response import begun
from antiphon.turn.tokens import estimate, template_of
from antiphon.turn.tools import read_tools
from antiphon.wire.errors import GatewayError
from antiphon.wire.objects import read_object, write_object
from antiphon.wire.sealing import Sealer

_ANSWER_TOOL: Final = "answer"
_SCHEMA: Final = "text.format.schema"
_ACCEPTED: Final = {
    "image": (("image/png", "image/jpeg", "image/gif", "image/webp"), Kind.IMAGE),
    "file": (("application/pdf", "text/*", "application/json", "image/*", "audio/*"), Kind.FILE),
}


@dataclass(frozen=True, slots=True)
class Translating:
    """Sends translated turns."""

    sealer: Sealer
    downloader: Downloader
    tasks: Tasks
    now: Callable[[], float]

    def check(self, ask: Ask, source: Source) -> None:
        """Find out, before anything is promised, whether `source` can be asked. Raises ClientFault.

        What only shows when the files of a request were fetched is not found out.
        """
        if ask.upstream_dialect is None:
            return
        request = CLIENTS[ask.dialect.name].read(read_object(ask.request.body))
        asking = self.asking(source, ask.target.model, request, ask.owner.name, stream=True)
        if ask.upstream_dialect != RESPONSES.name:
            refuse_elsewhere(request, source.profile.label)
        if not unreachable_files(request, source.profile):
            UPSTREAMS[ask.upstream_dialect].write(request, asking)

    def send(self, turn: Turn, live: LiveRecording, source: Source) -> None:
        """Ask the upstream; a request that it cannot be asked ends the recording with the fault."""
        try:
            request = CLIENTS[turn.ask.dialect.name].read(read_object(turn.ask.request.body))
            files = unreachable_files(request, source.profile)
            if files:
                self.tasks.start(
                    self._send_with_files(_Job(turn, live, source, request), files),
                    f"fetch files {turn.request_id.decode()}",
                    on_death=lambda: live.fail(internal_error()),
                )
            else:
                self._send(_Job(turn, live, source, request))
        except GatewayError as fault:
            live.fail(fault)

    async def _send_with_files(self, job: "_Job", files: list[NamedFile]) -> None:
        wanted = [Wanted(file.url, file.path, *_ACCEPTED[file.kind]) for file in files]
        try:
            fetched = await self.downloader.fetch_all(wanted)
            if job.live.recording.is_live:
                downloads = {file.url: Download(*got) for file, got in zip(files, fetched, strict=True)}
                self._send(replace(job, downloads=downloads))
        except GatewayError as fault:
            job.live.fail(fault)

    def _send(self, job: "_Job") -> None:
        """Write the request and send it. Raises ClientFault."""
        source, live = job.source, job.live
        ask = job.turn.ask
        asking = self.asking(
            source,
            ask.target.model,
            job.request,
            ask.owner.name,
            stream=ask.request.stream,
            downloads=job.downloads,
        )
        telling = self._telling(job, asking)
        dialect = job.turn.ask.upstream_dialect
        assert dialect is not None
        form = UPSTREAMS[dialect]
        if dialect != RESPONSES.name:
            refuse_elsewhere(job.request, source.profile.label)
        body = write_object(form.write(job.request, asking))
        answer: AnswerSink
        answer = translated = TranslatedAnswer(
            job.turn.ask.dialect, live, telling, form, source.settings.max_frame_bytes
        )
        if asking.structured is Structured.JSON:
            check = SchemaCheck(job.request["text"]["format"].get("schema"), _SCHEMA)
            answer = CheckedAnswer(translated, check.violation, None if job.is_repair else self._repairs(job))
        path = form.path(asking.model, asking.stream)
        request = UpstreamRequest(dialect, path, body, asking.stream)
        live.started(source.upstream.send(request, answer))

    def _repairs(self, job: "_Job") -> Callable[[str, str], None]:
        """Return what asks once more, after an answer that did not keep to its schema."""

        def repair(answer: str, why: str) -> None:
            said = {"type": "output_text", "text": answer}
            again = [
                *job.request["input"],
                {"type": "message", "role": "assistant", "content": [said]},
                user_message(
                    f"That does not match the schema. {why}\nAnswer again, with JSON that matches it only."
                ),
            ]
            try:
                self._send(replace(job, request=job.request | {"input": again}, is_repair=True))
            except GatewayError as fault:
                job.live.fail(fault)

        return repair

    def asking(
        self,
        source: Source,
        model: str,
        request: HubRequest,
        owner: str,
        *,
        stream: bool,
        downloads: dict[str, Download] | None = None,
    ) -> Asking:
        """Return what the writer of a request to `source` has to know. Raises ClientFault."""
        profile = source.profile
        if profile.translates_to != "responses":
            refuse_service_members(request, profile)
        toolset = read_tools(request, hosted=profile.hosted_tools, upstream=profile.label)
        structured = _structured(request, source, model, has_tools=bool(toolset.tools or toolset.hosted))

        def unseal(text: str) -> Any | None:
            if not self.sealer.is_ours(text):
                return None
            sealed = self.sealer.open(text, owner=owner)
            is_its_own = (sealed.backend, sealed.model) == (source.settings.type, model)
            return sealed.payload if is_its_own or sealed.kind == "compaction" else None

        return Asking(
            model=model,
            stream=stream and structured is not Structured.JSON,
            profile=profile,
            toolset=toolset,
            structured=structured,
            answer_tool=_ANSWER_TOOL if structured is Structured.TOOL else None,
            unseal=unseal,
            is_sealed=self.sealer.is_ours,
            downloads=downloads or {},
        )

    def _telling(self, job: "_Job", asking: Asking) -> Telling:
        turn, source = job.turn, job.source
        client = CLIENTS[turn.ask.dialect.name]
        template = template_of(asking.model)
        response_id = turn.response_id.decode() or make_id(client.id_prefix)

        def seal(payload: Any) -> str:
            return self.sealer.seal(
                "reasoning", source.settings.type, asking.model, payload, owner=turn.ask.owner.name
            )

        return Telling(
            request=job.request,
            asking=asking,
            response=begun(
                job.request, response_id=response_id, created_at=int(self.now()), model=asking.model
            ),
            make_id=make_id,
            now=self.now,
            seal=seal,
            signs=client.signs,
            count_tokens=lambda texts: round(template.factor * sum(map(estimate, texts))),
            count_input=lambda request: count_request(
                request, lambda text: round(template.factor * estimate(text)), template
            ),
        )


@dataclass(frozen=True, slots=True)
class _Job:
    """One request to one upstream."""

    turn: Turn
    live: LiveRecording
    source: Source
    request: HubRequest
    downloads: dict[str, Download] | None = None
    is_repair: bool = False


def make_id(prefix: str) -> str:
    """Return an id that nobody can guess."""
    return prefix + secrets.token_hex(24)


def _structured(request: HubRequest, source: Source, model: str, *, has_tools: bool) -> Structured | None:
    """Choose how the upstream is brought to answer with JSON of a schema, if that is asked."""
    form = request.get("text", {}).get("format") or {}
    if form.get("type") != "json_schema":
        return None
    if source.profile.takes_schema(model, has_tools=has_tools):
        return Structured.NATIVE
    # A tool that must be called leaves no choice between it and the request's own tools.
    return Structured.JSON if has_tools or source.profile.schema == "json" else Structured.TOOL
