"""Putting answers where they were promised: into storage for their owners, and into conversations."""

from collections.abc import Callable, Mapping

from antiphon.dialects.native import changed_echo
from antiphon.dialects.responses.output import output_of_recording
from antiphon.engine.conversations import Conversations
from antiphon.engine.keeping import Keeping
from antiphon.engine.live import LiveRecording
from antiphon.engine.turn import Turn
from antiphon.ports.stores import KeptResponse, ResponseStore
from antiphon.recording import Recording
from antiphon.turn.history import Context


class Keeper:
    """Keeps what turns have promised to keep."""

    def __init__(
        self,
        responses: ResponseStore,
        conversations: Conversations,
        *,
        retention: float,
        wall_clock: Callable[[], float],
    ) -> None:
        """Keep answers in `responses` for `retention` seconds, or add them to `conversations`."""
        self._responses = responses
        self._conversations = conversations
        self._retention = retention
        self._now = wall_clock

    @property
    def is_full(self) -> bool:
        """Whether nothing more can be kept at the moment."""
        return self._responses.is_full

    def is_waited_for(self, turn: Turn) -> bool:
        """Whether the end of an answer is told when it is kept: the next request may refer to it, elsewhere."""
        conversation = None if turn.context is None else turn.context.conversation
        leads_somewhere = turn.keeps or turn.is_kept_upstream or conversation is not None
        return leads_somewhere and self._responses.is_waited_for

    def keep(
        self, turn: Turn, recording: Recording, recorded_echo: Mapping[str, bytes], created_at: int | None
    ) -> None:
        """Keep the answer of `turn`, if that was promised.

        It was recorded for a request with `recorded_echo`; `created_at` is shown as its time, if that is another.
        """
        self._add(turn, recording)
        if not turn.keeps:
            return
        self._responses.put(
            KeptResponse(
                id=turn.response_id.decode(),
                owner=turn.ask.owner.name,
                recording=recording,
                created_at=created_at,
                echoed=changed_echo(turn.ask.request.echo, recorded_echo),
                expires_at=self._now() + self._retention,
                is_replay=turn.is_replay,
                context=turn.context or Context.of(turn.ask.request.given),
            )
        )
        self._wait(turn)

    def note_upstream(self, turn: Turn, live: LiveRecording) -> None:
        """Note who keeps the answer, if its provider does that itself and has named it."""
        response_id = live.response_id
        if turn.is_kept_upstream and response_id:
            expires_at = self._now() + self._retention
            owner, provider = turn.ask.owner.name, live.recording.provider
            self._responses.note_upstream(response_id, owner, provider, expires_at)
            self._wait(turn)

    async def provider_of(self, response_id: str, owner: str) -> str | None:
        """Return the provider that keeps an answer of `owner` itself. Raises StoreFault."""
        return await self._responses.upstream_of(response_id, owner)

    def release(self, turn: Turn) -> None:
        """Let go of the turn's conversation, if nothing was added to it."""
        self._conversations.release(turn.response_id.decode())

    def _add(self, turn: Turn, recording: Recording) -> None:
        """Add an answer to its conversation, unless the store does that when it keeps it."""
        context = turn.context
        if context is None or context.conversation is None:
            return
        holder = turn.response_id.decode()
        if turn.keeps or turn.is_kept_by_run:
            self._conversations.hand_over(holder)
            return
        owner, given = turn.ask.owner.name, context.given
        self._conversations.add(
            context.conversation, owner, holder, lambda: (*given, *output_of_recording(recording))
        )
        self._wait(turn)

    def _wait(self, turn: Turn) -> None:
        """Let the end of an answer wait for what was handed over to storage, where others are to find it first."""
        if self._responses.is_waited_for:
            turn.keeping = Keeping()
            self._responses.when_written(turn.keeping.over)
