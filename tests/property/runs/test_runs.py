"""Runs of several workers on one storage, driven at random, against what the documentation promises (I1 to I9).

`ANTIPHON_EXAMPLES=1000 python -m pytest tests/property/runs` looks for longer; with `ANTIPHON_SHRINK=1` what is found
is made as short as it can be, which takes minutes.
"""

import asyncio
import os
import secrets
from contextlib import ExitStack
from dataclasses import dataclass, field
from random import Random
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from antiphon.dialects.native import read_request
from antiphon.engine.incoming import Incoming
from antiphon.engine.runs.replay import KeptReplay
from antiphon.engine.runs.settling import body_of
from antiphon.engine.turn import Owner
from antiphon.gateway.gateway import RESPONSES_ROUTE
from antiphon.ports.runs import ENDED
from antiphon.wire.errors import ClientFault
from antiphon.wire.objects import read_object, write_object
from drivers.stores.place import Place
from property.runs.listener import Listener, event_of, output_text, text_of
from property.runs.stage import SETTINGS, Clock, Process, Worker
from property.runs.upstream import Turn

OWNER = Owner("alice", "search")
SOMEBODY_ELSE = "eve"
MOST_RUNS, MOST_WORKERS, MOST_LISTENERS = 4, 3, 8
RANKS = {"queued": 0, "in_progress": 1} | dict.fromkeys(ENDED, 2)
PICK = st.integers(0, 11)
_EMPTY_AT_LAST = ("runs", "run_requests", "run_events", "responses", "history")
_EXAMPLES = int(os.environ.get("ANTIPHON_EXAMPLES", "10"))
_SETTINGS = settings(
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
    phases=[Phase.explicit, Phase.reuse, Phase.generate] + [Phase.shrink] * ("ANTIPHON_SHRINK" in os.environ),
)
FUSES = st.tuples(
    st.sampled_from(
        ["create", "claim", "append", "end", "restart", "stale", "read", "state", "settle", "renew"]
    ),
    st.sampled_from(["before", "after"]),
)


@dataclass
class Known:
    """What the model knows of a run that was accepted."""

    id: str
    input: list[Any]
    """What a model has to be shown."""
    is_public: bool
    """Whether its events are promised to somebody."""
    log: list[bytes] = field(default_factory=list)
    """As it was seen last."""
    status: str = "queued"
    epoch: int = 0
    polled: str = "queued"
    """What a client was told last."""
    last_turns: int | None = None
    """How often its upstream had been asked when that was to be for the last time."""
    may_be_gone: bool = False
    """Whether somebody has asked to delete it."""

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED


class Machine(RuleBasedStateMachine):
    """Rules do what clients, upstreams, processes and time do; after each, everything promised must hold."""

    def __init__(self, place: Place) -> None:
        """Begin with an empty `place`."""
        super().__init__()
        self.chance = Random(0)
        self.patched = ExitStack()
        for name, made in (("token_hex", self.token), ("randbelow", self.chance.randrange)):
            self.patched.enter_context(patch.object(secrets, name, made))
        self.clock = Clock()
        self.place = place
        asyncio.run(place.empty())
        self.observer = Process(place, self.clock)
        self.turns: list[Turn] = []
        self.workers: list[Worker] = []
        self.known: dict[str, Known] = {}
        self.listeners: list[Listener] = []
        self.are_hints_lost = False
        self.made = 0
        self.start_worker()
        self.start_worker()

    # Processes and time.

    @precondition(lambda self: self.up)
    @rule(pick=PICK, how=st.sampled_from(["kill", "lose", "stop", "freeze", "later"]), place=FUSES)
    def disturb(self, pick: int, how: str, place: tuple[str, str]) -> None:
        match how:
            case "kill" | "lose":
                self.kill(pick, is_seen=how == "kill")
            case "stop":
                self.stop(pick)
            case "freeze":
                self.freeze(pick)
            case _:
                self.stop_later(pick, place)

    @rule(seconds=st.integers(2, 20), are_hints_lost=st.booleans())
    def be_suspended(self, seconds: int, are_hints_lost: bool) -> None:
        self.are_hints_lost = are_hints_lost
        self.wake_up_later(seconds)

    @precondition(lambda self: len(self.alive) < MOST_WORKERS)
    @rule()
    def start_worker(self) -> None:
        self.made += 1
        self.workers.append(Worker(f"w{self.made}", self.place, self.clock, self.turns))
        self.rest()

    def kill(self, pick: int, is_seen: bool = True) -> None:
        chosen(self.alive, pick).kill(is_seen=is_seen)

    def stop(self, pick: int) -> None:
        """As SIGTERM does: what it has is handed over."""
        worker = chosen(self.up, pick)
        worker.runs.retire()
        worker.ask(worker.runs.hand_over(), lambda done: (raised(done), worker.kill()))
        self.rest()

    def freeze(self, pick: int) -> None:
        chosen(self.up, pick).freeze()

    @precondition(lambda self: self.up)
    @rule(pick=PICK)
    def freeze_for_long(self, pick: int) -> None:
        """Long enough for others to take over what it had."""
        chosen(self.up, pick).freeze()
        self.let_time_pass(10)

    @precondition(lambda self: any(turn.worker.is_up for turn in self.open_turns))
    @rule(pick=PICK, pieces=st.integers(1, 2), others=st.integers(0, 3))
    def come_back_from_the_dead(self, pick: int, pieces: int, others: int) -> None:
        """A worker sleeps until it has lost its run, and its upstream has gone on when it wakes up."""
        turn = chosen([turn for turn in self.open_turns if turn.worker.is_up], pick)
        turn.worker.freeze()
        self.let_time_pass(10)
        for other in [each for each in self.open_turns if each.run_id == turn.run_id and each is not turn]:
            for _ in range(others):
                other.say()
        self.rest()
        self.hold()
        for _ in range(pieces):
            turn.say()
        turn.worker.thaw()
        self.rest()

    @precondition(lambda self: self.frozen and self.known and len(self.listeners) < MOST_LISTENERS)
    @rule(pick=PICK, which=PICK, after=st.integers(-1, 8))
    def thaw_and_follow(self, pick: int, which: int, after: int) -> None:
        """A worker wakes up, and a client is there before it has understood how late it is."""
        worker = chosen(self.frozen, pick)
        worker.thaw()
        self.attach(worker, self.run_at(which), after)

    @precondition(lambda self: self.frozen and self.known)
    @rule(pick=PICK, which=PICK)
    def thaw_and_poll(self, pick: int, which: int) -> None:
        worker = chosen(self.frozen, pick)
        worker.thaw()
        self.ask_for(worker, self.run_at(which))

    @precondition(lambda self: self.frozen)
    @rule(pick=PICK)
    def thaw(self, pick: int) -> None:
        chosen(self.frozen, pick).thaw()
        self.rest()

    def stop_later(self, pick: int, place: tuple[str, str]) -> None:
        chosen(self.up, pick).fuse = place

    @rule(seconds=st.integers(1, 10))
    def let_time_pass(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.passed += 1
            before = {run.id: list(run.log) for run in self.known.values()}
            self.rest()
            self.hold()
        for listener in self.following:
            log = before[listener.run_id]
            assert listener.last + 1 >= len(log), "a listener was not told within a second (I9)"

    def wake_up_later(self, seconds: int) -> None:
        """The machine was suspended: nobody could do anything meanwhile."""
        self.clock.passed += seconds
        self.rest()

    def lose_hints(self, are_lost: bool) -> None:
        self.are_hints_lost = are_lost

    # Upstreams.

    @precondition(lambda self: self.open_turns)
    @rule(pick=PICK, pieces=st.integers(1, 3), acts=st.sampled_from([False, False, False, True]))
    def say(self, pick: int, pieces: int, acts: bool = False) -> None:
        if acts:
            self.act(pick)
        if not self.open_turns:
            return
        turn = chosen(self.open_turns, pick)
        for _ in range(pieces):
            turn.say()
            self.rest()

    def act(self, pick: int) -> None:
        chosen(self.open_turns, pick).act()
        self.rest()

    @precondition(lambda self: self.open_turns)
    @rule(
        pick=PICK,
        how=st.sampled_from(["completed", "completed", "incomplete", "failed", "refused", "aborted", "cut"]),
    )
    def finish(self, pick: int, how: str) -> None:
        chosen(self.open_turns, pick).finish(how)
        self.rest()

    # Clients.

    @precondition(lambda self: self.up and len(self.known) < MOST_RUNS)
    @rule(pick=PICK, stream=st.booleans())
    def create(self, pick: int, stream: bool) -> None:
        self.accept(chosen(self.up, pick), [], None, stream=stream)

    @precondition(lambda self: self.up and len(self.known) < MOST_RUNS and self.kept)
    @rule(pick=PICK, which=PICK, stream=st.booleans())
    def chain(self, pick: int, which: int, stream: bool) -> None:
        parent = chosen(self.kept, which)
        kept = self.observer.run(self.observer.opened.responses.get(parent.id, OWNER.name))
        if kept is not None:
            shown = [*parent.input, *read_object(body_of(kept))["output"]]
            self.accept(chosen(self.up, pick), shown, parent.id, stream=stream)

    @precondition(lambda self: self.up and self.known)
    @rule(pick=PICK, which=PICK)
    def poll(self, pick: int, which: int) -> None:
        self.ask_for(chosen(self.up, pick), self.run_at(which))

    def ask_for(self, worker: Worker, run: Known) -> None:
        asked_at = self.clock.passed

        def told(body: Any) -> None:
            if body is None:
                assert run.may_be_gone, "a run that was accepted is not found"
                return
            response = read_object(raised(body))
            assert response["id"] == run.id
            self.check_text(run, output_text(response["output"]))
            if asked_at == self.clock.passed:
                assert RANKS[response["status"]] >= RANKS[run.polled], "a status went backwards"
                assert run.polled not in ENDED or response["status"] == run.polled
                run.polled = response["status"]

        worker.ask(retrieve(worker, run.id), told)
        self.rest()

    @precondition(lambda self: self.up and self.known)
    @rule(pick=PICK, which=PICK, how=st.sampled_from(["cancel", "delete", "intrude"]))
    def meddle(self, pick: int, which: int, how: str) -> None:
        getattr(self, how)(pick, which)

    @precondition(lambda self: self.following)
    @rule(pick=PICK, how=st.sampled_from(["leave", "read_slowly"]))
    def turn_away(self, pick: int, how: str) -> None:
        getattr(self, how)(pick)

    @precondition(lambda self: any(listener.is_slow for listener in self.listeners))
    @rule()
    def turn_back(self) -> None:
        self.read_on()

    @precondition(lambda self: self.up and self.known and len(self.listeners) < MOST_LISTENERS)
    @rule(pick=PICK, which=PICK, after=st.integers(-1, 8))
    def follow(self, pick: int, which: int, after: int) -> None:
        self.attach(chosen(self.up, pick), self.run_at(which), after)

    @precondition(lambda self: self.up and self.away)
    @rule(pick=PICK, which=PICK)
    def come_back(self, pick: int, which: int) -> None:
        """Resume, anywhere, after the last event that came."""
        listener = chosen(self.away, which)
        self.listeners.remove(listener)
        self.attach(chosen(self.up, pick), self.known[listener.run_id], listener.last)

    def leave(self, pick: int) -> None:
        chosen(self.following, pick).leave()
        self.rest()

    def read_slowly(self, pick: int) -> None:
        chosen(self.following, pick).is_slow = True

    def read_on(self) -> None:
        self.all_read_on()
        self.rest()

    def cancel(self, pick: int, which: int) -> None:
        worker, run = chosen(self.up, pick), self.run_at(which)

        def told(is_there: Any) -> None:
            if raised(is_there) and not run.may_be_gone:
                _, status, _ = self.look(run)
                assert status in ENDED, "what was cancelled goes on"

        worker.ask(worker.runs.cancel(run.id, OWNER.name), told)
        self.rest()

    def delete(self, pick: int, which: int) -> None:
        worker, run = chosen(self.up, pick), self.run_at(which)
        was_gone, run.may_be_gone = run.may_be_gone, True

        def told(is_deleted: Any) -> None:
            assert raised(is_deleted) or was_gone
            found = self.observer.run(retrieve(self.observer, run.id))
            assert found is None, "what was deleted is there"

        worker.ask(delete(worker, run.id), told)
        self.rest()

    def intrude(self, pick: int, which: int) -> None:
        """Another owner finds nothing, and changes nothing."""
        runs, run = chosen(self.up, pick).runs, self.run_at(which)
        reply = Listener(run.id, chosen(self.up, pick), -1)

        async def try_all() -> list[Any]:
            return [
                await runs.body(run.id, SOMEBODY_ELSE),
                await runs.tail(run.id, SOMEBODY_ELSE, -1, reply, b""),
                await runs.cancel(run.id, SOMEBODY_ELSE),
                await runs.delete(run.id, SOMEBODY_ELSE),
            ]

        def told(found: Any) -> None:
            assert raised(found) == [None, False, False, False]
            assert reply.status == 0

        chosen(self.up, pick).ask(try_all(), told)
        self.rest()

    # What has to hold.

    @invariant()
    def hold(self) -> None:
        for run in self.known.values():
            if not run.may_be_gone:
                self.check(run)
        for listener in self.listeners:
            self.check_listener(listener)

    def check(self, run: Known) -> None:
        log, status, epoch = self.look(run)
        events = [event_of(frame) for frame in log]
        assert [event["sequence_number"] for event in events] == list(range(len(log))), "I1"
        shared = next(
            (at for at, pair in enumerate(zip(run.log, log, strict=False)) if pair[0] != pair[1]),
            min(len(run.log), len(log)),
        )
        if shared < len(run.log):
            assert not run.has_ended, "an answer that had ended was changed (I4, I5)"
            told = max((listener.last for listener in self.listeners_of(run)), default=-1)
            assert told < shared, "an event that was shown was taken back (I1)"
        kinds = [event["type"] for event in events]
        ends = [kind for kind in kinds if kind.removeprefix("response.") in ENDED]
        if status in ENDED - {"cancelled"}:
            assert ends == [f"response.{status}"], "I2"
            assert kinds[-1] == ends[0], "I2"
        else:
            assert not ends, "I2"
        if run.has_ended:
            assert (log, status) == (run.log, run.status), "an answer that had ended was changed (I2, I4)"
        assert epoch is None or epoch >= run.epoch, "I7"
        turns = [turn for turn in self.turns if turn.run_id == run.id]
        assert len(turns) <= SETTINGS.max_attempts, "I8"
        assert run.last_turns is None or len(turns) <= run.last_turns, "it was begun again"
        for turn in turns:
            assert turn.input == run.input, "the model was shown something else"
        self.check_text(run, text_of(events))
        if status == "completed":
            assert text_of(events) in [turn.text for turn in turns if turn.is_over]
            assert output_text(events[-1]["response"]["output"]) == text_of(events)
            assert events[-1]["response"]["background"] is True
        has_output = "response.output_item.added" in kinds
        has_effect = any(event.get("item", {}).get("type") == "image_generation_call" for event in events)
        if run.last_turns is None and (has_effect or (has_output and run.is_public)):
            run.last_turns = len(turns)
        run.log, run.status, run.epoch = log, status, epoch or run.epoch

    def check_text(self, run: Known, text: str) -> None:
        """A text is what one attempt has said so far: never of two, never with a piece missing."""
        said = [turn.text for turn in self.turns if turn.run_id == run.id]
        assert not text or any(each.startswith(text) for each in said), f"{text!r} was never said: {said}"

    def check_listener(self, listener: Listener) -> None:
        run = self.known[listener.run_id]
        numbers = [event_of(frame)["sequence_number"] for frame in listener.frames]
        assert numbers == list(range(listener.after + 1, listener.last + 1)), "I6"
        if run.may_be_gone:
            return
        logged = run.log[listener.after + 1 : listener.last + 1]
        # The members of a JSON object have no order: kept answers are written anew.
        for told, stored in zip(listener.frames, logged, strict=True):
            assert event_of(told) == event_of(stored), f"I3: {told!r} is not {stored!r}"
        if listener.is_whole and not listener.is_gone:
            assert run.has_ended, "a stream ended before its run"
            assert listener.last + 1 >= len(run.log), "a stream ended early"

    def teardown(self) -> None:
        try:
            self.come_to_an_end()
        finally:
            for worker in self.alive:
                worker.kill()
            self.observer.close()
            self.patched.close()

    def come_to_an_end(self) -> None:
        """Whatever has happened: with one worker and answers from upstream, every run ends."""
        for worker in self.alive:
            worker.thaw()
        self.are_hints_lost = False
        self.all_read_on()
        if not self.alive:
            self.start_worker()
        self.rest()
        for _ in range(int(SETTINGS.timeout) + 60):
            if all(self.is_settled(run) for run in self.known.values()) and not self.open_turns:
                break
            for turn in self.open_turns:
                turn.finish("completed")
            self.clock.passed += 1
            self.rest()
            self.hold()
        for run in self.known.values():
            assert self.is_settled(run), f"{run} does not end"
        self.let_time_pass(2)
        for listener in self.listeners:
            assert listener.is_over or not listener.is_listening, "a stream does not end"
        self.forget_all()

    def forget_all(self) -> None:
        """Nothing is left of what was deleted."""
        for run_id in {*self.known, *(turn.run_id for turn in self.turns)}:
            self.observer.run(delete(self.observer, run_id))
        for table in _EMPTY_AT_LAST:
            assert asyncio.run(self.place.rows(f"SELECT count(*) FROM {table}")) == [(0,)], table

    # What there is.

    @property
    def alive(self) -> list[Worker]:
        return [worker for worker in self.workers if not worker.is_dead]

    @property
    def up(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.is_up]

    @property
    def frozen(self) -> list[Worker]:
        return [worker for worker in self.alive if worker.is_frozen]

    @property
    def open_turns(self) -> list[Turn]:
        return [turn for turn in self.turns if turn.is_alive]

    @property
    def kept(self) -> list[Known]:
        return [run for run in self.known.values() if run.status in {"completed", "incomplete"}]

    @property
    def following(self) -> list[Listener]:
        """Those who ought to hear of everything."""
        return [
            each for each in self.listeners if each.is_listening and each.worker.is_up and not each.is_slow
        ]

    @property
    def away(self) -> list[Listener]:
        return [listener for listener in self.listeners if not listener.is_listening]

    def run_at(self, pick: int) -> Known:
        return chosen(list(self.known.values()), pick)

    def listeners_of(self, run: Known) -> list[Listener]:
        return [listener for listener in self.listeners if listener.run_id == run.id]

    # How it is done.

    def token(self, size: int) -> str:
        """Make an id: what happens is the same whenever the same is done."""
        return self.chance.randbytes(size).hex()

    def rest(self) -> None:
        """Let everybody do what there is to do, until time passes."""
        for _ in range(2):
            for worker in self.alive:
                if not self.are_hints_lost:
                    worker.hint()
                worker.come_to_rest()

    def accept(self, worker: Worker, shown: list[Any], parent: str | None, *, stream: bool) -> None:
        self.made += 1
        item = {"type": "message", "role": "user", "content": f"Question {self.made}"}
        asked = {"model": "p/m", "input": [item], "background": True, "stream": stream}
        body = write_object(asked | ({"previous_response_id": parent} if parent else {}))
        listener = Listener("", worker, -1)

        async def work() -> None:
            request = read_request("responses", body)
            resolved, context = await worker.contexts.resolve(request, OWNER.name)
            incoming = Incoming(RESPONSES_ROUTE, OWNER, b"", {}, body, listener, self.clock.monotonic())
            await worker.runs.accept(incoming, resolved, context)

        def told(fault: Any) -> None:
            if isinstance(fault, ClientFault):
                assert parent is not None  # it was deleted meanwhile
                assert self.known[parent].may_be_gone
                return
            raised(fault)
            response = event_of(listener.frames[0])["response"] if stream else read_object(listener.body)
            assert response["status"] == "queued"
            run = self.known[response["id"]] = Known(response["id"], [*shown, item], is_public=stream)
            listener.run_id = run.id
            if stream:
                self.listeners.append(listener)

        worker.ask(work(), told)
        self.rest()

    def attach(self, worker: Worker, run: Known, after: int) -> None:
        listener = Listener(run.id, worker, after)

        def told(is_there: Any) -> None:
            assert raised(is_there) or run.may_be_gone, "a run that was accepted is not found"

        async def work() -> bool:
            kept = await worker.responses.get(run.id, OWNER.name)
            if kept is None:
                if await worker.runs.tail(run.id, OWNER.name, after, listener, b""):
                    return True
                kept = await worker.responses.get(run.id, OWNER.name)
            if kept is not None:
                KeptReplay(kept, after, listener, b"")
            return kept is not None

        # From here on it may be promised: when it is told is decided elsewhere.
        self.listeners.append(listener)
        worker.ask(work(), told)
        self.rest()
        run.is_public = run.is_public or listener.status == 200

    def all_read_on(self) -> None:
        for listener in self.listeners:
            if listener.is_slow:
                listener.read_on()

    def look(self, run: Known) -> tuple[list[bytes], str, int | None]:
        """Return the log, the status and the epoch as anybody finds them in storage."""
        opened = self.observer.opened
        page = self.observer.run(opened.runs.read(run.id, -1))
        if page.state is not None:
            return page.frames, page.state.status, page.state.epoch
        kept = self.observer.run(opened.responses.get(run.id, OWNER.name))
        assert kept is not None, "a run that was accepted is lost"
        return kept.recording.frames, kept.recording.outcome.state.value, None

    def is_settled(self, run: Known) -> bool:
        opened = self.observer.opened
        return run.may_be_gone or (
            run.has_ended and self.observer.run(opened.runs.state(run.id, OWNER.name)) is None
        )


async def retrieve(process: Any, run_id: str) -> bytes | None:
    """Do what GET does."""
    runs = getattr(process, "runs", None)
    responses = process.opened.responses if runs is None else process.responses
    kept = await responses.get(run_id, OWNER.name)
    if kept is None and runs is not None:
        body = await runs.body(run_id, OWNER.name)
        if body is not None:
            return bytes(body)
        kept = await responses.get(run_id, OWNER.name)
    if kept is None and runs is None and await process.opened.runs.state(run_id, OWNER.name) is not None:
        return b"{}"
    return None if kept is None else body_of(kept)


async def delete(process: Any, run_id: str) -> bool:
    """Do what DELETE does."""
    runs = getattr(process, "runs", process.opened.runs)
    responses = getattr(process, "responses", process.opened.responses)
    return await runs.delete(run_id, OWNER.name) or await responses.delete(run_id, OWNER.name) is not None


def chosen(from_: list[Any], pick: int) -> Any:
    """Return one of them."""
    return from_[pick % len(from_)]


def raised(result: Any) -> Any:
    """Return a result; what was raised is raised again."""
    if isinstance(result, BaseException):
        raise result
    return result


def test_whatever_happens_to_runs_and_their_workers_promises_are_kept(place):
    # Connections and tables are made anew for each example: with a server that takes ten times as long.
    examples = _EXAMPLES if place.url.startswith("sqlite") else max(1, _EXAMPLES // 4)
    run_state_machine_as_test(lambda: Machine(place), settings=settings(_SETTINGS, max_examples=examples))
