"""Producing a recording: ask the upstream, and when the answer has ended put it where it was promised."""

import itertools
import secrets
from collections.abc import Callable, Iterator, Sequence

from antiphon.cache.changes import Change, Kind
from antiphon.cache.entry import Entry
from antiphon.cache.key import CacheKey
from antiphon.cache.lifetimes import Lifetimes
from antiphon.cache.status import forward_header, timing_header
from antiphon.dialects.native import NativeRequest
from antiphon.engine.accounts import Accounts
from antiphon.engine.answers import Ending, LiveAnswer
from antiphon.engine.carrying import Carrier, in_background
from antiphon.engine.changing import Changing
from antiphon.engine.encrypted import AskedForMore, Refusals
from antiphon.engine.flights.sharing import Sharing
from antiphon.engine.keeper import Keeper
from antiphon.engine.live import LiveRecording
from antiphon.engine.rendition import Header
from antiphon.engine.shelving import Shelves, Shelving
from antiphon.engine.source import Source
from antiphon.engine.tasks import Tasks
from antiphon.engine.turn import Turn
from antiphon.ports.upstream import AnswerSink, UpstreamRequest
from antiphon.recording import Mode, Recording, State
from antiphon.recording.telling import Opening
from antiphon.settings import Cache
from antiphon.wire.errors import GatewayError

Translate = Callable[[Turn, LiveRecording, Source], None]
"""Sends a turn whose upstream speaks another dialect."""

_BAD_REQUEST = 400
_KEPT = frozenset({State.COMPLETED, State.INCOMPLETE})


class Producing:
    """All live recordings of this process."""

    def __init__(
        self,
        *,
        cache: Cache | None,
        lifetimes: Lifetimes,
        shelves: Shelves,
        keeper: Keeper,
        accounts: Accounts,
        translate: Translate,
        tasks: Tasks,
        changing: Changing | None = None,
        on_stored: Callable[[Turn, Entry], None] | None = None,
        wall_clock: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        """Put recordings on `shelves`, give them to `keeper`, and count them in `accounts`; `clock` is monotonic.

        What `changing` purges meanwhile is not stored. `on_stored` is told of each new cache entry.
        """
        self._shelves = shelves
        self._keeper = keeper
        self._accounts = accounts
        self._translate = translate
        self._changing = changing
        if changing is not None:
            changing.follow(self._part)
        self._tasks = tasks
        self._now = wall_clock
        self._clock = clock
        self._recording_ids = _recording_ids()
        self._shelving = Shelving(
            cache, shelves, lifetimes, self._recording_ids, changing=changing, on_stored=on_stored
        )
        self._flights: dict[tuple[str, bytes], LiveRecording] = {}
        self._live: set[LiveRecording] = set()
        self._refusals = Refusals()
        self.sharing: Sharing | None = None
        """The other processes, where equal requests in flight are shared with any."""
        self._unpaid: dict[str, list[tuple[Turn, Ending]]] = {}

    @property
    def count(self) -> int:
        """How many recordings are live."""
        return len(self._live)

    def new_recording_id(self) -> str:
        """Return an id that no other recording has."""
        return next(self._recording_ids)

    def flight(self, turn: Turn, key: CacheKey) -> LiveRecording | None:
        """Return the live recording that answers equal requests of the same owner, if there is one."""
        live = self._flights.get((turn.ask.owner.name, key.identity))
        if live is None or self._changing is None or self._changing.joins(live.recording.started_at):
            return live
        return None

    def begin(self, turn: Turn, source: Source, key: CacheKey | None, *, shared: bool) -> LiveRecording:
        """Make a live recording for `turn`, which pays for it; `shared` lets equal requests join."""
        settings = source.settings
        is_translated = turn.ask.upstream_dialect is not None
        asks = settings.usage_in_streams and source.profile.stream_options
        asks_usage = (asks or is_translated) and turn.ask.request.stream
        recording = Recording(
            id=next(self._recording_ids),
            dialect=turn.ask.dialect.name,
            mode=turn.ask.asked.mode,
            provider=source.name,
            model=turn.ask.target.model,
            started_at=self._now(),
            usage_requested=asks_usage or turn.ask.request.include_usage,
        )
        live = LiveRecording(
            recording,
            turn.ask.dialect,
            clock=self._clock,
            max_frame_bytes=settings.max_frame_bytes,
            max_answer_bytes=settings.max_answer_bytes,
            secrets=source.secrets,
            takes_text=turn.ask.request.takes_text,
            on_ended=lambda live: self._ended(live, turn, key),
        )
        self._live.add(live)
        if key is not None and shared:
            self._flights[turn.ask.owner.name, key.identity] = live
        turn.pays = True
        if self._changing is not None:
            turn.as_of, turn.era = self._changing.mark, self._changing.era
        live.echo = turn.ask.request.upstream_echo
        self.join(turn, live)
        return live

    def join(self, turn: Turn, live: LiveRecording) -> None:
        """Let `turn` be answered by what `live` records."""
        tells_kept = self._keeper.is_waited_for(turn)
        answer = LiveAnswer(
            turn, live, live.echo, self._headers, self._account, self._clock, tells_kept=tells_kept
        )
        live.attach(answer)
        if live.recording.frames:
            answer.on_frames()
            live.caught_up()  # those before may have been slow enough to hold the upstream back

    def send(self, turn: Turn, live: LiveRecording, source: Source) -> None:
        """Ask the upstream, or follow another process that is at it."""
        key = turn.key
        # Where no purge is heard, what others have begun may be older than one.
        is_trusted = self._shelves.memory.is_trusted
        if self.sharing is not None and is_trusted and key is not None and self.flight(turn, key) is live:
            self.sharing.depart(turn, live, source, key)
        else:
            self.ask(turn, live, source)

    def ask(self, turn: Turn, live: LiveRecording, source: Source) -> None:
        """Ask the upstream."""
        if turn.fetch is not None:
            turn.fetch(live)
            return
        if turn.ask.upstream_dialect is not None:
            self._translate(turn, live, source)
            return
        target = (source.name, turn.ask.target.model)
        asks_more = (
            turn.is_for_chains and not turn.ask.request.asks_encrypted and target not in self._refusals
        )
        if _is_carried(turn, source):
            assert turn.carriage is not None
            Carrier(live, source, turn.carriage, self._tasks).begin(native_request(turn, source))
            return
        sink: AnswerSink = live
        if asks_more:
            sink = AskedForMore(
                live,
                lambda again: source.upstream.send(native_request(turn, source), again),
                lambda: self._refusals.add(target),
            )
        live.started(source.upstream.send(native_request(turn, source, ask_encrypted=asks_more), sink))

    def withdraw(self, turn: Turn, live: LiveRecording, key: CacheKey) -> list[Turn]:
        """Give up `live` before anything was sent upstream, and return the turns that wait for it."""
        turns = [listener.turn for listener in live.listeners if isinstance(listener, LiveAnswer)]
        live.listeners.clear()
        self._forget(turn, live, key)
        self._count_unpaid(live.recording)
        return turns

    def _part(self, change: Change | None) -> None:
        """Let nobody join any more what was under way when a change came that may mean it."""
        if change is not None and change.kind in (Kind.PIN, Kind.UNPIN):
            return
        meant = None if change is None else change.selector
        for name, live in tuple(self._flights.items()):
            if meant is None or meant.recording_id in (None, live.recording.id):
                del self._flights[name]

    # What another process asks for.

    def follow(self, turn: Turn, live: LiveRecording) -> None:
        """Note that another process asks, and pays, for what was begun for `turn`."""
        live.is_followed = True
        turn.result, turn.pays = "collapsed", False
        self._count_unpaid(live.recording)

    def relabel(self, live: LiveRecording, opening: Opening) -> None:
        """Make a live recording the same as the one that another process has begun."""
        recording = live.recording
        recording.id, recording.started_at = opening.recording_id, opening.started_at
        recording.usage_requested = opening.usage_requested
        live.echo = opening.echo
        live.elapsed = opening.elapsed / 1e6
        for listener in live.listeners:
            if isinstance(listener, LiveAnswer):
                listener.recorded_for(live.echo)
        is_stream = opening.mode is Mode.STREAM and opening.status < _BAD_REQUEST
        content_type = b"text/event-stream" if is_stream else opening.content_type
        live.head(opening.status, ((b"content-type", content_type), *opening.headers))

    def take_back(self, turn: Turn, live: LiveRecording, key: CacheKey) -> Sequence[Turn]:
        """Take the turns whose clients were sent nothing away from `live`, and return them."""
        waiting = [each for each in live.listeners if isinstance(each, LiveAnswer) and not each.is_begun]
        if len(waiting) == len(live.listeners):
            return self.withdraw(turn, live, key)
        for listener in waiting:
            live.listeners.remove(listener)
        return [listener.turn for listener in waiting]

    def keep_alive(self, seconds: float) -> None:
        """Let clients hear something whose upstream has been silent for so long."""
        for live in tuple(self._live):
            live.tell_silence(seconds)

    def fail_all(self, fault: GatewayError) -> None:
        """End every live recording as broken."""
        for live in tuple(self._live):
            live.fail(fault)

    # When a recording has ended.

    def _ended(self, live: LiveRecording, turn: Turn, key: CacheKey | None) -> None:
        try:
            self._keep_or_not(live, turn, key)
            if self.sharing is not None:
                self.sharing.ended(live)
        finally:
            self._keeper.release(turn)

    def _keep_or_not(self, live: LiveRecording, turn: Turn, key: CacheKey | None) -> None:
        recording = live.recording
        recording.ended_at = self._now()
        self._forget(turn, live, key)
        self._count_unpaid(recording)
        if live.error_answer is not None or recording.outcome.state not in _KEPT:
            return
        if key is not None and turn.controls.write and not live.is_followed:
            live.stored = self._shelving.store(live, turn, key)
        for listener in live.listeners:
            if isinstance(listener, LiveAnswer):
                self._keeper.keep(listener.turn, recording, live.echo, None)
                if not listener.is_begun:
                    self._keeper.note_upstream(listener.turn, live)

    def _headers(self, turn: Turn, live: LiveRecording) -> tuple[Header, ...]:
        """Return what goes out with an answer that begins: from now on its client knows its id."""
        if turn.keeping is None:
            self._keeper.note_upstream(turn, live)
        headers = _headers(turn, live)
        if turn.result == "partial":
            headers = (*headers, timing_header(self._clock() - turn.received_at))
        return headers

    def _forget(self, turn: Turn, live: LiveRecording, key: CacheKey | None) -> None:
        self._live.discard(live)
        name = (turn.ask.owner.name, b"" if key is None else key.identity)
        if self._flights.get(name) is live:
            del self._flights[name]

    def _count_unpaid(self, recording: Recording) -> None:
        for payer, ending in self._unpaid.pop(recording.id, ()):
            self._accounts.count(payer, recording, ending)

    def _account(self, turn: Turn, recording: Recording, ending: Ending) -> None:
        if not (turn.pays and recording.is_live):
            self._accounts.count(turn, recording, ending)
            return
        # Who pays has left while others listen: what it cost is known when the answer has ended.
        self._unpaid.setdefault(recording.id, []).append((turn, ending))


def _is_carried(turn: Turn, source: Source) -> bool:
    """Whether the upstream carries the answer."""
    return turn.carriage is not None and source.settings.background


def native_request(
    turn: Turn, source: Source, request: NativeRequest | None = None, *, ask_encrypted: bool = False
) -> UpstreamRequest:
    """Return what an upstream is sent that speaks the client's dialect; a `request` other than the turn's if given."""
    request, settings, variant = request or turn.ask.request, source.settings, turn.ask.variant
    body = request.upstream_body(
        turn.ask.target.model,
        keep_state=not turn.is_kept_upstream,
        ask_usage=settings.usage_in_streams and source.profile.stream_options,
        ask_encrypted=ask_encrypted,
    )
    if _is_carried(turn, source):
        body = in_background(body)
    return UpstreamRequest(
        turn.ask.dialect.name,
        source.profile.native_prefix + turn.ask.route + variant.query,
        body,
        request.stream,
        headers=variant.headers or request.upstream_headers,
    )


def _recording_ids() -> Iterator[str]:
    """Ids that no other process makes, at the price of a counter."""
    prefix = secrets.token_hex(12)
    return (f"{prefix}{number:08x}" for number in itertools.count())


def _headers(turn: Turn, live: LiveRecording) -> tuple[Header, ...]:
    """What goes out beside the content type."""
    headers = live.recording.head.headers
    told = b"x-request-id" in [name for name, _ in headers]
    headers = (*headers, (b"x-antiphon-request-id" if told else b"x-request-id", turn.request_id))
    if turn.result == "off":
        return headers
    ended = not live.recording.is_live
    status = live.recording.head.status if live.error_answer is not None else 0
    if turn.result == "bypass":
        reason, detail = "bypass", turn.detail
    elif turn.result == "partial":
        reason, detail = "partial", f'"{turn.detail}"'
    else:
        note = "" if turn.question is None else turn.question.note
        reason, detail = turn.detail or "miss", f'"{note}"' if note else ""
    header = forward_header(
        reason,
        stored=ended and live.stored and turn.pays,
        collapsed=turn.result == "collapsed",
        detail=detail,
        status=status,
    )
    return (*headers, header)
