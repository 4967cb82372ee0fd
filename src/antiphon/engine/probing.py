"""Probing a provider: can it be reached, does it take the key, is it what it is said to be, what has it, does it answer.

It asks for the list of models, and for one word. Nothing else is sent, unless an answer makes no sense: then the
places nearby are looked at where the API may be instead, so that the advice is one that was tried.
"""

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from antiphon.dialects.probe_models import Listed, guesses, is_listed, near
from antiphon.dialects.probes import PROBES, Probe
from antiphon.dialects.signs import one_line
from antiphon.engine.error_answers import secrets_of
from antiphon.engine.probe_advice import answered, is_refused_key, refused_key
from antiphon.engine.probe_answer import Answering, Asked
from antiphon.engine.probe_calls import Calls, Reply
from antiphon.engine.probe_listing import Listing
from antiphon.engine.probe_subject import (
    ANSWER,
    DIALECT,
    KEY,
    MODELS,
    REACHABLE,
    STEPS,
    Connect,
    Subject,
)
from antiphon.engine.verdicts import Step, failed, ok, skipped
from antiphon.ports.upstream import Upstream
from antiphon.settings import Provider, Timeout

_MOST_CONNECTIONS = 4
_MOST_SHOWN = 3


def hurried(provider: Provider, seconds: float) -> Provider:
    """The same provider, waited for no longer than `seconds` at a time; recordings are played at once."""

    def within(limit: float) -> Timeout:
        return Timeout(min(limit, seconds))

    return replace(
        provider,
        connect_timeout=within(provider.connect_timeout),
        first_byte_timeout=within(provider.first_byte_timeout),
        idle_timeout=within(provider.idle_timeout),
        total_timeout=Timeout(min(provider.total_timeout, 2 * seconds)),
        max_connections=_MOST_CONNECTIONS,
        pace="instant",
    )


async def probe(subject: Subject, connect: Connect, clock: Callable[[], float]) -> tuple[Step, ...]:
    """Probe one provider; a step for each of STEPS in their order, several answers where several models were named.

    `connect` makes the upstream of a provider's settings; what it raises is not caught. Times come from `clock`.
    """
    row = PROBES.get(subject.settings.type)
    if row is None:
        return unlooked(f"there is no probe for `type: {subject.settings.type}`")
    upstream = connect(subject.settings)
    try:
        return await _Probing(subject, row, upstream, connect, clock).steps()
    finally:
        await upstream.close()


def unlooked(why: str) -> tuple[Step, ...]:
    """All steps skipped."""
    return tuple(skipped(name, why) for name in STEPS)


def unusable(why: str) -> tuple[Step, ...]:
    """Not even to be tried."""
    return (failed(REACHABLE, why), *unlooked(f"see `{REACHABLE}`")[1:])


class _Probing:
    def __init__(
        self,
        subject: Subject,
        row: Probe,
        upstream: Upstream,
        connect: Connect,
        clock: Callable[[], float],
    ) -> None:
        self._subject = subject
        self._provider = subject.settings
        self._row = row
        self._upstream = upstream
        self._calls = Calls(secrets_of(self._provider.api_key, self._provider.headers), clock)
        self._listing = Listing(subject, row, connect, self._calls)
        self._is_playback = self._provider.type == "playback"
        self._has_key = bool(self._provider.api_key or self._provider.headers)
        self._done: dict[str, Step] = {}

    async def steps(self) -> tuple[Step, ...]:
        reply = await self._listing.ask(self._upstream)
        if not reply.status:
            self._note(self._listing.unreachable(reply))
            return self._rest("it is not reachable")
        where = "the cassette is read" if self._is_playback else f"answered after {_time(reply.seconds)}"
        self._note(ok(REACHABLE, where, seconds=round(reply.seconds, 6)))
        listed = self._listing.read(reply)
        if listed is None:
            may_answer = bool(self._subject.asked or self._candidates(None))
            fault = await self._listing.explain(reply, may_answer=may_answer)
            if fault is not None:
                self._note(fault)
                return self._rest(f"see `{fault.name}`")
        asked = await self._ask(listed)
        self._judge_dialect(listed, asked)
        self._judge_key(asked)
        self._judge_models(listed, reply, asked)
        answers = [one.step for one in asked] or [
            skipped(ANSWER, "no model to ask: name one with --model, or in `models:`")
        ]
        return (*(self._done[name] for name in STEPS[:-1]), *answers)

    def _note(self, step: Step) -> None:
        """Keep the first verdict of each step."""
        self._done.setdefault(step.name, step)

    def _rest(self, why: str) -> tuple[Step, ...]:
        for name in STEPS:
            self._note(skipped(name, why))
        return tuple(self._done[name] for name in STEPS)

    # The answer -----------------------------------------------------------------------------------------------

    def _candidates(self, listed: Sequence[Listed] | None) -> list[str]:
        """Models of which the first that answers will do."""
        names = [model.name for model in listed or ()]
        known = [*dict.fromkeys(self._subject.aliases.values()), *(self._provider.models or ())]
        there = [model for model in known if listed is None or is_listed(model, names)]
        return there[:1] or guesses(listed or ()) or known[:1]

    async def _ask(self, listed: Sequence[Listed] | None) -> list[Asked]:
        answering = Answering(self._upstream, self._row, self._provider, self._calls)
        if self._subject.asked:
            return [await answering.ask(model) for model in self._subject.asked]
        asked: list[Asked] = []
        for model in self._candidates(listed):
            asked = [await answering.ask(model)]
            if not asked[0].may_be_the_model:
                break
        return asked

    def _judge_dialect(self, listed: Sequence[Listed] | None, asked: Sequence[Asked]) -> None:
        for one in asked:
            if one.wrong_dialect:
                self._note(failed(DIALECT, one.wrong_dialect))
        if listed is not None or any(one.is_answer for one in asked):
            self._note(ok(DIALECT, self._row.speaks))
        self._note(failed(DIALECT, "neither a list of models nor an answer: check `type` and `base_url`"))

    def _judge_key(self, asked: Sequence[Asked]) -> None:
        for one in asked:
            if is_refused_key(one.reply):
                self._note(failed(KEY, refused_key(one.reply, has_key=self._has_key)))
        if self._is_playback:
            self._note(skipped(KEY, "recordings need none"))
        elif not self._has_key:
            self._note(ok(KEY, "none is configured, and none was asked for"))
        elif any(one.is_answer for one in asked):
            self._note(ok(KEY, "accepted"))
        else:
            self._note(ok(KEY, "not refused; no answer was had that would prove it"))

    def _judge_models(self, listed: Sequence[Listed] | None, listing: Reply, asked: Sequence[Asked]) -> None:
        if listed is None:
            self._note(skipped(MODELS, f"it has no list of models: {answered(listing)}"))
            return
        names = [model.name for model in listed]
        there = [*names, *(one.model for one in asked if one.is_answer)]
        wanted = [(f"models.{alias}", model) for alias, model in self._subject.aliases.items()]
        wanted += [(f"providers.{self._subject.name}.models", model) for model in self._provider.models or ()]
        missing = [(where, model) for where, model in wanted if not is_listed(model, there)]
        count = f"{len(names)} {'model' if len(names) == 1 else 'models'} listed"
        if missing:
            said = "; ".join(self._missing(where, model, names) for where, model in missing[:_MOST_SHOWN])
            more = f"; and {len(missing) - _MOST_SHOWN} more" if len(missing) > _MOST_SHOWN else ""
            self._note(failed(MODELS, f"{count}, but {said}{more}", count=len(names), missing=len(missing)))
        elif not names:
            self._note(failed(MODELS, "no model is listed: load one there first", count=0))
        else:
            known = ", and those that the configuration names are among them" if wanted else ""
            self._note(ok(MODELS, count + known, count=len(names)))

    def _missing(self, where: str, model: str, names: Sequence[str]) -> str:
        close = near(model, names)
        mend = (
            f"did you mean {' or '.join(map(one_line, close))}?"
            if close
            else f"--model {self._subject.name}/{model} shows whether it answers all the same"
        )
        return f"not {model} ({where}): {mend}"


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
