"""What a request refers to, put in its place: the response or conversation that it continues, items by their ids.

Items come from the store as they were written. A request whose references are resolved is one like any other, for
every upstream.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from antiphon.dialects.native import NativeRequest, with_context
from antiphon.dialects.responses.dialect import RESPONSES, items_done
from antiphon.engine.conversations import fault_of
from antiphon.engine.histories import GrownHistories, Histories
from antiphon.engine.references import References
from antiphon.engine.rendition import render
from antiphon.engine.turn import Asked
from antiphon.ports.conversations import ConversationStore, Refusal
from antiphon.ports.runs import ENDED, RunStore
from antiphon.ports.stores import KeptResponse, ResponseStore
from antiphon.recording import Mode, State
from antiphon.turn.chain import Items, Parent, continued, input_items, write_items
from antiphon.turn.history import Context, Head, head_of
from antiphon.turn.items import PLAIN_ID
from antiphon.wire.errors import ClientFault
from antiphon.wire.json import Members

_PREVIOUS: Final = "previous_response_id"
_CONVERSATION: Final = "conversation"
_CONTINUABLE: Final = frozenset({State.COMPLETED, State.INCOMPLETE})


class _Output(msgspec.Struct):
    output: list[msgspec.Raw] = []


class _Conversation(msgspec.Struct):
    id: str


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a chain may become."""

    max_items: int
    max_bytes: int
    memory: int
    """Bytes of histories that are kept at hand."""


class Contexts:
    """Resolves the references of requests."""

    def __init__(
        self,
        responses: ResponseStore,
        runs: RunStore,
        settle: Callable[[str, str], Awaitable[None]],
        conversations: ConversationStore,
        references: References,
        limits: Limits,
    ) -> None:
        """Look in `responses` and `conversations`.

        `runs` can be continued when they have ended, and `settle` (id, owner) knows them.
        """
        self._responses = responses
        self._runs = runs
        self._settle = settle
        self._conversations = conversations
        self._references = references
        self._limits = limits
        self._histories = Histories(limits.memory)
        self._grown = GrownHistories(limits.memory)

    async def resolve(
        self, request: NativeRequest, owner: str, parent: Parent | None = None
    ) -> tuple[NativeRequest, Context]:
        """Return `request` with all that it refers to in its `input`, and what the model is shown.

        `parent` is the response that it continues, where whoever brings the request has it at hand. Raises
        ClientFault, StoreFault.
        """
        parent_id = _parent_id(request.members)
        conversation_id = conversation_of(request)
        given = input_items(request.given)
        new = await self._references.resolve(given, owner)
        if conversation_id is not None:
            return await self._in_conversation(request, conversation_id, new, owner)
        if parent_id is None:
            context = Context(None, new, new)
            return request if new is given else with_context(request, write_items(new), {}), context
        head, shown, output = (
            await self._parent(parent_id, owner) if parent is None else (None, parent.input, parent.output)
        )
        items = continued(shown, output, new)
        context = Context(
            head,
            items if head is None else items[len(shown) :],
            items,
            len(items) - len(new),
            is_text=(request.given or b"").startswith(b'"'),
        )
        self._check_limits(context)
        now = head_of(owner, head, context.new)
        if now is not None and parent is None:
            self._histories.put(now, items)
        echo = {_PREVIOUS: b'"%b"' % parent_id.encode()}
        return with_context(request, write_items(items), echo), context

    async def _in_conversation(
        self, request: NativeRequest, conversation_id: str, new: Items, owner: str
    ) -> tuple[NativeRequest, Context]:
        if await self._conversations.get(conversation_id, owner) is None:
            raise fault_of(Refusal.UNKNOWN, conversation_id, _CONVERSATION)
        most = self._limits.max_items + 1
        items = continued((), await self._conversations.items(conversation_id, owner, most), new)
        before, known = self._grown.longest_known(conversation_id, items)
        context = Context(
            before,
            items[known:],
            items,
            len(items) - len(new),
            is_text=(request.given or b"").startswith(b'"'),
            conversation=conversation_id,
        )
        self._check_limits(context)
        now = head_of(owner, before, context.new)
        if now is not None and request.store:
            self._grown.put(conversation_id, now, items)
        echo = {_CONVERSATION: b'{"id":"%b"}' % conversation_id.encode()}
        return with_context(request, write_items(items), echo), context

    async def _parent(self, response_id: str, owner: str) -> tuple[Head | None, Items, Items]:
        """Return where the response's input is kept, its items, and its output."""
        kept = await self._responses.get(response_id, owner)
        if kept is None:
            state = await self._runs.state(response_id, owner)
            if state is not None and state.status not in ENDED:
                raise ClientFault(
                    f"Previous response with id '{response_id}' has not ended yet.", param=_PREVIOUS
                )
            if state is not None:
                await self._settle(response_id, owner)
            kept = await self._responses.get(response_id, owner)  # it may have ended just now
        if kept is None:
            raise UnknownParent(response_id)
        output = _output_of(kept)
        if kept.recording.outcome.state not in _CONTINUABLE and not output:
            raise ClientFault(
                f"Previous response with id '{response_id}' has no output to continue from.", param=_PREVIOUS
            )
        head, shown = await self.shown(kept)
        return head, shown, output

    async def shown_for(self, response_id: str, owner: str) -> Items | None:
        """Return the input of the owner's response, ended or not; None if there is none. Raises StoreFault."""
        kept = await self._responses.get(response_id, owner)
        if kept is None:
            history = await self._runs.shown(response_id, owner)
            if history is not None:
                return await self._responses.history(history) if history else ()
            kept = await self._responses.get(response_id, owner)  # perhaps it has ended just now
        return None if kept is None else (await self.shown(kept))[1]

    async def shown(self, kept: KeptResponse) -> tuple[Head | None, Items]:
        """Return where the input of a response is kept, and its items. Raises StoreFault."""
        context = kept.context
        head = kept.head if context is None else head_of(kept.owner, context.before, context.new)
        if head is None:
            return None, ()
        if context is not None and context.shown is not None:
            # It is not written yet, and what it continues may be deleted meanwhile.
            return head, context.shown
        items = self._histories.get(head.id)
        if items is None:
            items = await self._responses.history(head.id)
            self._histories.put(head, items)
        return head, items

    def _check_limits(self, context: Context) -> None:
        depth, size = (0, 0) if context.before is None else context.before[1:]
        limits = self._limits
        if depth + len(context.new) > limits.max_items:
            raise ClientFault(
                f"With what it continues, the request has more than {limits.max_items} items.",
                code="array_above_max_length",
                param="input",
            )
        if size + sum(map(len, context.new)) > limits.max_bytes:
            raise ClientFault(
                f"With what it continues, the request is larger than {limits.max_bytes} bytes.",
                code="request_too_large",
                param="input",
                status=413,
            )


def conversation_of(request: NativeRequest) -> str | None:
    """Return the id of the conversation that an answer is to become part of. Raises ClientFault."""
    raw = bytes(request.members.get(_CONVERSATION, b"null"))
    if raw == b"null":
        return None
    _check_exclusive(request.members)
    try:
        told = msgspec.json.decode(raw, type=str | _Conversation)
    except msgspec.DecodeError as error:
        raise ClientFault(
            f"'{_CONVERSATION}' must be a string, or an object with an id.",
            code="invalid_type",
            param=_CONVERSATION,
        ) from error
    conversation_id = told if isinstance(told, str) else told.id
    if PLAIN_ID.fullmatch(conversation_id) is None:
        raise ClientFault(
            f"'{_CONVERSATION}' is no conversation id.", code="invalid_value", param=_CONVERSATION
        )
    return conversation_id


def _check_exclusive(members: Members) -> None:
    if all(bytes(members.get(name, b"null")) != b"null" for name in (_PREVIOUS, _CONVERSATION)):
        raise ClientFault(
            "'previous_response_id' and 'conversation' exclude each other.",
            code="mutually_exclusive_parameters",
            param=_PREVIOUS,
        )


class UnknownParent(ClientFault):
    """There is no such response to continue, or it belongs to somebody else."""

    def __init__(self, response_id: str) -> None:
        """Say it as clients know it."""
        super().__init__(
            f"Previous response with id '{response_id}' not found.",
            code="previous_response_not_found",
            param=_PREVIOUS,
        )


def _parent_id(members: Members) -> str | None:
    raw = bytes(members.get(_PREVIOUS, b"null"))
    if raw == b"null":
        return None
    _check_exclusive(members)
    try:
        parent_id = msgspec.json.decode(raw, type=str)
    except msgspec.DecodeError as error:
        raise ClientFault(f"'{_PREVIOUS}' must be a string.", code="invalid_type", param=_PREVIOUS) from error
    if PLAIN_ID.fullmatch(parent_id) is None:
        raise ClientFault(f"'{_PREVIOUS}' is no response id.", code="invalid_value", param=_PREVIOUS)
    return parent_id


def _output_of(kept: KeptResponse) -> Items:
    """Return what a response has brought; where it broke off, only the items that were finished."""
    recording = kept.recording
    if recording.outcome.state not in _CONTINUABLE and recording.mode is Mode.STREAM:
        return tuple(items_done(recording.frames))
    try:
        body = render(recording, RESPONSES, Asked(Mode.JSON)).fill(kept.id.encode(), None, {})
        return tuple(map(bytes, msgspec.json.decode(body, type=_Output).output))
    except ValueError:
        return ()
