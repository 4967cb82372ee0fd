"""The last step of a probe: one model asked for one word, streamed."""

from dataclasses import dataclass

from antiphon.dialects.probes import Probe, Question
from antiphon.dialects.signs import Speaker, one_line, speaker_of
from antiphon.engine.probe_advice import (
    answered,
    ended_badly,
    is_refused_key,
    redirected,
    slow,
    wrong_speaker,
)
from antiphon.engine.probe_calls import Calls, Reply
from antiphon.engine.probe_subject import ANSWER, DIALECT
from antiphon.engine.verdicts import Step, failed, ok, skipped
from antiphon.ports.upstream import Upstream, UpstreamRequest
from antiphon.recording import Outcome, State
from antiphon.settings import Provider
from antiphon.turn.usage import NO_USAGE

_REFUSALS = frozenset({400, 404, 405, 422, 501})
"""Statuses for which another way to ask may help."""
_NO_SUCH_ROUTE = frozenset({404, 405, 501})
_OF_THE_MODEL = frozenset({400, 403, 404, 422})
"""Statuses that may be about a model that was only guessed."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A model that was asked, and what came of it."""

    model: str
    reply: Reply
    step: Step
    is_answer: bool = False
    """Whether it answered, however that ended."""
    wrong_dialect: str = ""
    """What to do if the provider is not what its type says."""

    @property
    def may_be_the_model(self) -> bool:
        """Whether another model may answer."""
        return not self.is_answer and self.reply.status in _OF_THE_MODEL


class Answering:
    """Asks models of one provider."""

    def __init__(self, upstream: Upstream, row: Probe, provider: Provider, calls: Calls) -> None:
        """Ask `upstream` as `row` says."""
        self._upstream = upstream
        self._row = row
        self._provider = provider
        self._calls = calls

    async def ask(self, model: str) -> Asked:
        """Ask one model, in another way where the first is refused."""
        refused: Asked | None = None
        for question in self._row.ask(model, self._provider.usage_in_streams):
            if refused and question.blames == DIALECT and refused.reply.status not in _NO_SUCH_ROUTE:
                continue
            reply = await self._send(question)
            if reply.outcome is not None:
                return self._judge(model, question, reply, reply.outcome)
            refused = refused or Asked(model, reply, self._refusal(model, question, reply))
            if reply.status not in _REFUSALS:
                break
        assert refused is not None
        return refused

    async def _send(self, question: Question) -> Reply:
        request = UpstreamRequest(question.dialect, question.path, question.body, stream=True)
        return await self._calls.send(self._upstream, request, question.reading())

    def _refusal(self, model: str, question: Question, reply: Reply) -> Step:
        if reply.fault is not None and not reply.status:
            late = slow(reply.fault, "a model that is only loaded when asked for takes longer")
            return failed(ANSWER, f"{model}: {late or reply.fault.message}", model=model)
        if self._provider.type == "playback" and reply.status == 404:
            return skipped(ANSWER, "the cassette has no recording that answers this question")
        if 300 <= reply.status < 400:
            return failed(ANSWER, redirected(reply), model=model)
        if speaker_of(reply.content_type, reply.body) is Speaker.WEB:
            return failed(ANSWER, wrong_speaker(Speaker.WEB, reply, question.path), model=model)
        if is_refused_key(reply):
            return failed(ANSWER, f"{model}: status {reply.status}, see `key`", model=model)
        mend = {429: ": over a limit, try again later", 404: ": check the model's name, and `base_url`"}
        return failed(ANSWER, f"{model}: {answered(reply)}{mend.get(reply.status, '')}", model=model)

    def _judge(self, model: str, question: Question, reply: Reply, outcome: Outcome) -> Asked:
        wrong_dialect = question.mend if question.blames == DIALECT else ""
        step = self._step(model, reply, outcome)
        if question.blames == ANSWER:
            step = failed(ANSWER, f"{model}: {question.mend}", model=model)
        # An error in the place of an answer proves nothing about the dialect.
        is_answer = bool(reply.frames) and outcome.reason != "upstream_error"
        return Asked(model, reply, step, is_answer, wrong_dialect)

    def _step(self, model: str, reply: Reply, outcome: Outcome) -> Step:
        is_whole = outcome.state is State.COMPLETED or outcome.reason in {
            "max_output_tokens",
            "content_filter",
        }
        if not is_whole or reply.fault is not None:
            return failed(ANSWER, f"{model}: {ended_badly(reply, outcome)}", model=model)
        details: dict[str, str | float] = {"model": model, "seconds": round(reply.seconds, 6)}
        times = f"{reply.seconds:.2f} s in all"
        if reply.first_text_seconds is not None:
            details["first_token_seconds"] = round(reply.first_text_seconds, 6)
            times = f"first token after {reply.first_text_seconds:.2f} s, {times}"
        else:
            times += ", no text within the few tokens that were asked for"
        if outcome.usage == NO_USAGE:
            return self._without_usage(model, times, details)
        usage = outcome.usage
        details |= {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
        counts = f"{usage.input_tokens} + {usage.output_tokens} tokens"
        return ok(ANSWER, f"{one_line(model)}: {times}, {counts}, whole and with usage", **details)

    def _without_usage(self, model: str, times: str, details: dict[str, str | float]) -> Step:
        if self._provider.type == "playback" or not self._provider.usage_in_streams:
            return ok(ANSWER, f"{model}: {times}, whole, without usage", **details)
        sentence = (
            "the stream ended well but without usage, so that the ledger counts no tokens; "
            "`usage_in_streams: false` says that this is known"
        )
        return failed(ANSWER, f"{model}: {times}; {sentence}", **details)
