"""The path of a turn: resolve the model and what the request refers to, then look up, replay, join or produce.

A request that repeats another one byte for byte, and one that refers to nothing, is answered in the call that
brought it.
"""

from collections.abc import Awaitable, Callable, Hashable, Mapping

from antiphon.dialects.native import NativeRequest, read_request, with_members
from antiphon.dialects.providers import upstream_dialect
from antiphon.dialects.registry import CLIENTS
from antiphon.dialects.responses.dialect import RESPONSES
from antiphon.engine.catalogue import Catalogue
from antiphon.engine.contexts import Contexts, conversation_of
from antiphon.engine.conversations import Conversations
from antiphon.engine.error_answers import in_own_places
from antiphon.engine.incoming import Incoming
from antiphon.engine.keeper import Keeper
from antiphon.engine.look_up import LookUp
from antiphon.engine.refusals import internal_error, refuse
from antiphon.engine.replaying import Replaying
from antiphon.engine.source import Source
from antiphon.engine.tasks import Tasks
from antiphon.engine.turn import Ask, Asked, Owner, Turn, is_minted
from antiphon.engine.variant import NO_VARIANT, read_variant, shortcut
from antiphon.recording import Mode
from antiphon.routing.names import Target
from antiphon.routing.placing import Place, Placing
from antiphon.settings import Cache
from antiphon.turn.history import Context
from antiphon.wire.errors import ClientFault, GatewayError
from antiphon.wire.sealing import ENVELOPE

Accept = Callable[[Incoming, NativeRequest, Context], Awaitable[None]]
"""Accepts a background answer. Raises ClientFault, StoreFault."""
Finish = Callable[[Turn, Mapping[bytes, bytes]], None]
"""Lets the answer of a turn outlive its client, if its headers or the settings want it. Raises ClientFault."""


class Turns:
    """Answers requests."""

    def __init__(
        self,
        *,
        sources: Mapping[str, Source],
        catalogue: Catalogue,
        cache: Cache | None,
        look_up: LookUp,
        replaying: Replaying,
        keeper: Keeper,
        contexts: Contexts,
        conversations: Conversations,
        accept: Accept,
        finish: Finish,
        placing: Placing,
        check: Callable[[Ask, Source], None],
        tasks: Tasks,
    ) -> None:
        """Ask `sources` for what `look_up` does not find; `contexts` resolve references, `keeper` knows who keeps what.

        `accept` takes the background turns that `placing` wants to be run here, if `check` does not refuse them, and
        `finish` all that are kept. `conversations` says whose turn it is in each.
        """
        self._check = check
        self._placing = placing
        self._contexts = contexts
        self._conversations = conversations
        self._finish = finish
        self._accept = accept
        self._sources = sources
        self._catalogue = catalogue
        self._cache = cache
        self._keeper = keeper
        self._replaying = replaying
        self._tasks = tasks
        self._look_up = look_up

    def answer(self, incoming: Incoming) -> None:
        """Answer one request. Raises GatewayError; faults that come later reach the reply."""
        shortcut_key = self._shortcut_key(incoming)
        if shortcut_key is not None and self._replaying.repeat(
            shortcut_key, incoming.request_id, incoming.reply, incoming.received_at
        ):
            return
        request = _read(incoming)
        target = self._catalogue.resolve(request.model)
        if target is None or (_is_stateful(request) and not self._is_passed_on(incoming, target)):
            self._tasks.start(
                self._answer_later(incoming, request, target),
                f"resolve {incoming.request_id.decode()}",
                on_death=lambda: _refuse(incoming, internal_error()),
            )
            return
        self._look_up.answer(self._turn(incoming, request, target), incoming.headers, shortcut_key)

    async def foretell(self, incoming: Incoming) -> Turn:
        """Return the turn that a request would become, and what the cache would do. Nobody is asked or answered.

        Raises GatewayError.
        """
        request = _read(incoming)
        target = self._catalogue.resolve(request.model) or await self._catalogue.resolve_listed(request.model)
        context = None
        if _is_stateful(request) and not self._is_passed_on(incoming, target):
            request, context = await self._contexts.resolve(request, incoming.owner.name, incoming.parent)
        turn = self._turn(incoming, request, target)
        turn.context = turn.context or context
        await self._look_up.foretell(turn, incoming.headers)
        return turn

    async def is_spoken(self, model: str, dialect: str) -> bool:
        """Whether the provider of `model` has the route of `dialect` itself. Raises ClientFault."""
        target = self._catalogue.resolve(model) or await self._catalogue.resolve_listed(model)
        return dialect in self._sources[target.provider].profile.speaks

    async def is_kept_upstream(self, model: str) -> bool:
        """Whether the provider of `model` keeps responses itself. Raises ClientFault."""
        target = self._catalogue.resolve(model) or await self._catalogue.resolve_listed(model)
        return self._keeps_responses(target)

    async def _answer_later(self, incoming: Incoming, request: NativeRequest, target: Target | None) -> None:
        """Answer a request whose model is not known yet, or that refers to what is kept here."""
        try:
            if target is None:
                target = await self._catalogue.resolve_listed(request.model)  # perhaps a provider lists it
            if not _is_stateful(request) or self._is_passed_on(incoming, target):
                self._look_up.answer(self._turn(incoming, request, target), incoming.headers, None)
                return
            is_background = bytes(request.members.get("background", b"")) == b"true"
            if is_background and not request.store:
                raise ClientFault("A background response needs `store: true`.", param="background")
            place = self._placing.place(request.model, target) if is_background else None
            if place is Place.UPSTREAM or await self._continues_upstream(request, incoming.owner, target):
                await self._pass_on(incoming, request, target)
                return
            if place is Place.NOWHERE:
                raise ClientFault(
                    f"Background answers of '{request.model}' are not made here: ask without 'background'.",
                    code="unsupported_parameter",
                    param="background",
                )
            conversation_id = conversation_of(request)
            if conversation_id is None:
                await self._answer_resolved(incoming, request, target, is_background=is_background)
            else:
                await self._answer_in(conversation_id, incoming, request, target, is_background=is_background)
        except GatewayError as fault:
            _refuse(incoming, fault)

    async def _answer_in(
        self,
        conversation_id: str,
        incoming: Incoming,
        request: NativeRequest,
        target: Target,
        *,
        is_background: bool,
    ) -> None:
        """Answer a request whose answer becomes part of a conversation. Raises GatewayError."""
        incoming.response_id = incoming.new_id()
        holder = incoming.response_id.decode()
        await self._conversations.lock(conversation_id, incoming.owner.name, holder)
        has_begun = False
        try:
            await self._answer_resolved(incoming, request, target, is_background=is_background)
            has_begun = True
        finally:
            if is_background and has_begun:
                self._conversations.hand_over(holder)
            elif not has_begun:
                self._conversations.release(holder)

    async def _answer_resolved(
        self, incoming: Incoming, request: NativeRequest, target: Target, *, is_background: bool
    ) -> None:
        """Answer a request when what it refers to is in its place. Raises GatewayError."""
        resolved, context = await self._contexts.resolve(request, incoming.owner.name, incoming.parent)
        incoming.shown = context.shown
        if is_background:
            try:
                self._check(self._turn(incoming, resolved, target).ask, self._sources[target.provider])
            except GatewayError as fault:
                raise in_own_places(fault, context) from fault
            await self._accept(incoming, resolved, context)
            return
        turn = self._turn(incoming, resolved, target)
        turn.context = context
        self._look_up.answer(turn, incoming.headers, None)

    async def _continues_upstream(self, request: NativeRequest, owner: Owner, target: Target) -> bool:
        """Whether a request continues a response that its provider keeps. Raises StoreFault."""
        parent_id = request.previous_response_id
        if parent_id is None or is_minted(parent_id):
            return False
        return await self._keeper.provider_of(parent_id, owner.name) == target.provider

    async def _pass_on(self, incoming: Incoming, request: NativeRequest, target: Target) -> None:
        """Let the provider keep the answer, whoever keeps its others. Raises ClientFault, StoreFault."""
        parent_id = request.previous_response_id
        if parent_id is not None and is_minted(parent_id):
            background = request.members.get("background")
            resolved, _ = await self._contexts.resolve(request, incoming.owner.name)
            request = resolved if background is None else with_members(resolved, {"background": background})
        turn = self._turn(incoming, request, target)
        if turn.ask.upstream_dialect is not None:
            raise ClientFault(
                f"The provider of '{request.model}' cannot be passed this request for a background answer.",
                code="unsupported_parameter",
                param="background",
            )
        turn.response_id, turn.keeps, turn.is_kept_upstream = b"", False, True
        self._look_up.answer(turn, incoming.headers, None)

    def _shortcut_key(self, incoming: Incoming) -> tuple[Hashable, ...] | None:
        headers = incoming.headers
        if self._cache is None or b"cache-control" in headers or b"x-antiphon-replay" in headers:
            return None
        route, opted = incoming.route, headers.get(b"x-antiphon-cache")
        if route.takes_files or incoming.reserved_id:
            return None
        if route.has_variants:
            told = shortcut(headers, incoming.query)
            return (route.path, incoming.owner.name, opted, incoming.body, told)
        return (route.path, incoming.owner.name, opted, incoming.body)

    def _turn(self, incoming: Incoming, request: NativeRequest, target: Target) -> Turn:
        route = incoming.route
        asked = Asked(Mode.STREAM if request.stream else Mode.JSON, request.include_usage, target.open_names)
        source = self._sources[target.provider]
        translated_to = upstream_dialect(source.profile, route.dialect.name, CLIENTS)
        if translated_to is None and route.dialect is RESPONSES and ENVELOPE in request.body:
            # What only this gateway can open is opened on the way: the provider would refuse it.
            translated_to = source.profile.translates_to
        variant = read_variant(incoming.headers, incoming.query) if route.has_variants else NO_VARIANT
        ask = Ask(
            incoming.owner, route.dialect, route.upstream_path, request, target, asked, variant, translated_to
        )
        turn = Turn(ask, incoming.request_id, incoming.reply, incoming.received_at)
        turn.carriage = incoming.carriage
        turn.context = incoming.context
        if route.dialect is RESPONSES:
            if translated_to is not None or source.settings.state == "gateway":
                turn.response_id = incoming.new_id()
                turn.keeps = request.store
                if turn.keeps:
                    self._finish(turn, incoming.headers)
                turn.is_for_chains = request.store or bool(incoming.response_id)
            else:
                turn.is_kept_upstream = True
        return turn

    def _is_passed_on(self, incoming: Incoming, target: Target) -> bool:
        """Whether the provider keeps responses itself, and so knows what a request refers to."""
        if incoming.parent is not None:
            return False  # that one is known here
        return self._keeps_responses(target)

    def _keeps_responses(self, target: Target) -> bool:
        source = self._sources[target.provider]
        is_native = upstream_dialect(source.profile, RESPONSES.name, CLIENTS) is None
        return is_native and source.settings.state == "upstream"


def _is_stateful(request: NativeRequest) -> bool:
    """Whether a request is about something that is kept, or is to be kept from the beginning."""
    return request.stateful_member is not None or request.refers


def _read(incoming: Incoming) -> NativeRequest:
    route = incoming.route
    if route.read is not None:
        return route.read(incoming.headers, incoming.body)
    return read_request(route.dialect.name, incoming.body)


def _refuse(incoming: Incoming, fault: GatewayError) -> None:
    refuse(incoming.reply, incoming.request_id, fault, incoming.route.dialect.errors)
