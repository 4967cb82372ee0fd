"""How an answer ended that was recorded where bytes come from the upstream, in whatever dialect."""

from typing import Final

from antiphon.dialects.chat.dialect import CHAT
from antiphon.dialects.completions.dialect import COMPLETIONS
from antiphon.dialects.dialect import Dialect
from antiphon.dialects.embeddings import EMBEDDINGS
from antiphon.dialects.messages.dialect import MESSAGES
from antiphon.dialects.rerank import RERANK
from antiphon.dialects.responses.dialect import RESPONSES
from antiphon.dialects.transcriptions import TRANSCRIPTIONS
from antiphon.recording import Mode, Outcome, Recording, State
from antiphon.wire.errors import UpstreamFault

_WATCHED: Final[dict[str, Dialect]] = {
    each.name: each for each in (CHAT, COMPLETIONS, EMBEDDINGS, MESSAGES, RERANK, RESPONSES, TRANSCRIPTIONS)
}
_ENDED: Final = frozenset({State.COMPLETED, State.INCOMPLETE})


def outcome_of(recording: Recording, fault: UpstreamFault | None, *, clean: bool) -> Outcome:
    """Judge an answer as the gateway does: by its last event where its dialect is known.

    `clean` is whether its body ended as HTTP says; if not, `fault` says why, and without one nobody wanted the rest.
    """
    status = recording.head.status
    if status and not 200 <= status < 300:
        return Outcome(State.FAILED, "upstream_error")
    dialect = _WATCHED.get(recording.dialect)
    if dialect is not None and recording.frames and (recording.mode is Mode.STREAM or clean):
        watcher = dialect.watch(recording.mode)
        watcher.feed(recording.frames)
        outcome = watcher.close(clean=clean)
    else:
        outcome = Outcome(State.COMPLETED if clean else State.FAILED)
    if clean or outcome.state in _ENDED:
        return outcome
    if fault is None or fault.code == "shutting_down":
        return Outcome(State.CANCELLED, "cancelled", outcome.usage)
    return Outcome(State.FAILED, fault.code, outcome.usage)
