"""Accounting: one row for each turn, priced and written in batches."""

import asyncio
import json

import pytest

from antiphon.dialects.chat.dialect import CHAT
from antiphon.dialects.native import read_request
from antiphon.engine import accounts as engine_accounts
from antiphon.engine.accounts import Accounts
from antiphon.engine.answers import Ending
from antiphon.engine.tasks import Tasks
from antiphon.engine.turn import Ask, Asked, Owner, Turn
from antiphon.ports.ledger import UsageRow
from antiphon.recording import Mode, Outcome, Recording, State
from antiphon.routing.names import Target
from antiphon.turn.usage import NO_USAGE, Usage
from antiphon.wire.errors import StoreFault
from drivers.sqlite.opening import change, rows_of
from engine.scene import run, scene
from serving import Clock
from waiting import eventually

SENT = Ending(200, sent=True)
LEFT = Ending(499, sent=False, error="client_left")
USAGE = Usage(10, 20, 30, 1, 2, 3, 4, 5)


class Paper:
    """A ledger on paper, which may be away."""

    def __init__(self):
        self.batches = []
        self.is_away = False
        self.gate = None

    @property
    def ids(self):
        return [row.id for batch in self.batches for row in batch]

    async def append(self, rows):
        if self.gate is not None:
            await self.gate.wait()
        if self.is_away:
            raise StoreFault("away")
        self.batches.append(list(rows))


class Books:
    """Accounts with everything that they write to."""

    def __init__(self, **changes):
        self.ledger = Paper()
        self.seen, self.saved = [], {}
        self.asked = []
        self.wall, self.clock = Clock(1000.0), Clock(50.0)
        self.tasks = Tasks()
        options = {"ledger": self.ledger, "price": self.price, "log_requests": False, **changes}
        self.accounts = Accounts(
            observe=lambda rows, saved: (self.seen.extend(rows), self.saved.update(saved)),
            tasks=self.tasks,
            wall_clock=self.wall,
            clock=self.clock,
            **options,
        )

    def price(self, provider, model, usage, at):
        self.asked.append((provider, model, usage, at))
        return None if model == "unpriced" else 0.5

    def count(self, number=1, *, ending=SENT, recording=None, result="miss", model="gpt", **fields):
        turn = turn_of(number, model)
        turn.result = result
        for name, value in fields.items():
            setattr(turn, name, value)
        self.accounts.count(turn, recording or recording_of(f"r{number}"), ending)

    async def rows(self):
        await self.accounts.flush()
        return [row for batch in self.ledger.batches for row in batch]


def turn_of(number, model="gpt"):
    request = read_request("chat", b'{"model":"fast","stream":true}')
    target = Target("up", model, "fast")
    ask = Ask(Owner("alice", "search"), CHAT, "/chat/completions", request, target, Asked(Mode.STREAM))
    return Turn(ask, b"req_%03d" % number, None, 40.0)


def recording_of(name="r", *, usage=USAGE, size=100):
    recording = Recording(name, "chat", Mode.STREAM, "up", "gpt", 1000.0)
    recording.extend([b"x" * size], 0)
    recording.outcome = Outcome(State.COMPLETED, usage=usage, response_id="chatcmpl-1")
    return recording


def test_a_row_tells_everything_about_its_turn():
    """Who asked for what, what was used, what it cost, and how long it took."""

    async def test():
        books = Books()
        books.count(first_byte_at=41.5)
        (row,) = await books.rows()
        assert row == UsageRow(
            id="req_001",
            time=990.0,
            key="alice",
            project="search",
            owner="alice",
            alias="fast",
            provider="up",
            model="gpt",
            dialect="chat",
            route="/chat/completions",
            stream=True,
            status=200,
            cache="miss",
            input_tokens=10,
            output_tokens=20,
            total_tokens=30,
            cached_tokens=1,
            cache_write_tokens=2,
            reasoning_tokens=3,
            audio_input_tokens=4,
            audio_output_tokens=5,
            cost=0.5,
            cost_saved=None,
            first_byte_us=1_500_000,
            last_byte_us=10_000_000,
            error=None,
            answer_id="chatcmpl-1",
        )
        assert books.asked == [("up", "gpt", USAGE, 990.0)]
        await books.accounts.stop()

    run(test())


@pytest.mark.parametrize(
    ("result", "ending", "cache", "cost", "saved"),
    [
        ("miss", SENT, "miss", 0.5, None),
        ("miss", LEFT, "miss", 0.5, None),
        ("bypass", SENT, "bypass", 0.5, None),
        ("off", SENT, "off", 0.5, None),
        ("hit", SENT, "hit", 0.0, 0.5),
        ("collapsed", SENT, "collapsed", 0.0, 0.5),
        ("hit", LEFT, "abandoned", 0.0, None),
        ("collapsed", LEFT, "abandoned", 0.0, None),
    ],
)
def test_only_who_asked_the_upstream_pays(result, ending, cache, cost, saved):
    """Others have saved as much, if they were sent all of it."""

    async def test():
        books = Books()
        books.count(result=result, ending=ending)
        (row,) = await books.rows()
        assert (row.cache, row.cost, row.cost_saved) == (cache, cost, saved)
        assert (row.status, row.error) == (ending.status, ending.error)
        await books.accounts.stop()

    run(test())


@pytest.mark.parametrize(("ending", "cost_saved", "tokens"), [(SENT, 0.5, {"req_001": 3}), (LEFT, None, {})])
def test_of_a_partly_cached_answer_the_rest_is_paid(ending, cost_saved, tokens):
    """What the upstream was asked for is in the row, and what it was not asked for is saved, once it was sent."""
    answer, saved = Usage(input_tokens=10, total_tokens=10), Usage(input_tokens=3, total_tokens=3)
    paid = Usage(input_tokens=7, total_tokens=7)

    async def test():
        books = Books()
        books.count(1, ending=ending, result="partial", saved=saved, recording=recording_of(usage=answer))
        (row,) = await books.rows()
        assert (row.cache, row.input_tokens, row.total_tokens) == ("partial", 7, 7)
        assert (row.cost, row.cost_saved, books.saved) == (0.5, cost_saved, tokens)
        assert [usage for _, _, usage, _ in books.asked] == [saved, paid]
        await books.accounts.stop()

    run(test())


def test_what_has_no_price_has_no_cost():
    """Nor has what used nothing: nobody asks for its price."""

    async def test():
        books = Books()
        books.count(1, model="unpriced")
        books.count(2, model="unpriced", result="hit")
        books.count(3, recording=recording_of("none", usage=NO_USAGE))
        rows = await books.rows()
        assert [(row.cost, row.cost_saved) for row in rows] == [(None, None), (0.0, None), (None, None)]
        assert [model for _, model, _, _ in books.asked] == ["unpriced", "unpriced"]
        await books.accounts.stop()

    run(test())


def test_rows_are_written_together_and_once():
    """And seen once by whoever counts them; with nothing to write nothing is written."""

    async def test():
        books = Books()
        for number in range(20):
            books.count(number)
        assert books.accounts.queued == 20
        await books.rows()
        await books.accounts.flush()
        assert [len(batch) for batch in books.ledger.batches] == [20]
        assert (
            books.ledger.ids == [f"req_{number:03}" for number in range(20)] == [row.id for row in books.seen]
        )
        assert books.accounts.queued == 0
        await books.accounts.stop()

    run(test())


def test_rows_are_written_by_themselves(monkeypatch):
    """After a while, without anybody asking."""
    monkeypatch.setattr(engine_accounts, "_FLUSH_SECONDS", 0.0)

    async def test():
        books = Books()
        for number in range(3):
            books.count(number)
            await eventually(lambda count=number + 1: len(books.ledger.ids) == count)
        await books.accounts.stop()
        await books.tasks.stop()

    run(test())


@pytest.mark.parametrize(("limit", "value", "size"), [("_FLUSH_TURNS", 10, 1), ("_FLUSH_BYTES", 9_500, 1000)])
def test_many_turns_or_large_answers_are_written_at_once(monkeypatch, limit, value, size):
    """They are not held in memory until the time has come."""
    monkeypatch.setattr(engine_accounts, "_FLUSH_SECONDS", 1000.0)
    monkeypatch.setattr(engine_accounts, limit, value)

    async def test():
        books = Books()
        for number in range(35):
            books.count(number, recording=recording_of(f"r{number}", size=size))
        await eventually(lambda: len(books.ledger.ids) >= 30)
        await books.accounts.stop()
        assert sorted(books.ledger.ids) == [f"req_{number:03}" for number in range(35)]
        await books.tasks.stop()

    run(test())


def test_stopping_writes_what_is_left():
    """D7: a graceful stop loses nothing."""

    async def test():
        books = Books()
        books.count(1)
        await books.accounts.stop()
        assert books.ledger.ids == ["req_001"]
        assert books.accounts._timer is None or books.accounts._timer.cancelled()

    run(test())


def test_a_ledger_that_is_away_gets_its_rows_later():
    """Each once and in order; whoever counts them has seen them once."""

    async def test():
        books = Books()
        books.ledger.is_away = True
        for number in range(3):
            books.count(number)
            await books.accounts.flush()
        assert (books.accounts.queued, books.ledger.ids) == (3, [])
        books.ledger.is_away = False
        books.count(3)
        await books.accounts.flush()
        expected = [f"req_{number:03}" for number in range(4)]
        assert books.ledger.ids == expected == [row.id for row in books.seen]
        assert (books.accounts.queued, books.accounts.lost) == (0, 0)
        await books.accounts.stop()

    run(test())


def test_stopping_without_a_ledger_does_not_fail(caplog):
    """What could not be written is in the log as a number."""

    async def test():
        books = Books()
        books.ledger.is_away = True
        books.count(1)
        await books.accounts.stop()

    run(test())
    assert "1 rows wait" in caplog.text


def test_rows_that_wait_are_bounded(monkeypatch):
    """The oldest are lost first, and counted."""
    monkeypatch.setattr(engine_accounts, "_MOST_ROWS", 5)

    async def test():
        books = Books()
        books.ledger.is_away = True
        for number in range(12):
            books.count(number)
            await books.accounts.flush()
        assert (books.accounts.queued, books.accounts.lost) == (5, 7)
        books.ledger.is_away = False
        await books.accounts.stop()
        assert books.ledger.ids == [f"req_{number:03}" for number in range(7, 12)]

    run(test())


def test_two_who_write_at_once_write_each_row_once():
    """Also rows that were noted meanwhile."""

    async def test():
        books = Books()
        books.ledger.gate = asyncio.Event()
        books.count(1)
        flushing = [asyncio.ensure_future(books.accounts.flush()) for _ in range(3)]
        await eventually(lambda: books.seen)
        books.count(2)
        books.ledger.gate.set()
        await asyncio.gather(*flushing)
        await books.accounts.stop()
        assert books.ledger.ids == ["req_001", "req_002"]

    run(test())


def test_without_a_ledger_rows_are_only_seen():
    """And do not pile up."""

    async def test():
        books = Books(ledger=None)
        books.count(1)
        await books.accounts.stop()
        assert ([row.id for row in books.seen], books.accounts.queued) == (["req_001"], 0)

    run(test())


def test_each_turn_is_a_line_of_the_log(capfd):
    """JSON, with the request's id, and nothing of what was said or of what is secret."""

    async def test():
        books = Books(log_requests=True)
        books.count(1, first_byte_at=40.25)
        books.count(2, result="hit", ending=LEFT)
        await books.accounts.stop()

    run(test())
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [(line["request_id"], line["cache"], line["status"], line["error"]) for line in lines] == [
        ("req_001", "miss", 200, None),
        ("req_002", "abandoned", 499, "client_left"),
    ]
    assert (lines[0]["first_byte_ms"], lines[0]["last_byte_ms"], lines[0]["cost"]) == (250.0, 10_000.0, 0.5)
    assert (lines[0]["key"], lines[0]["model"], lines[0]["upstream_model"]) == ("alice", "fast", "gpt")
    assert {"level": "info", "event": "request"}.items() <= lines[0].items()


# End to end.


def test_every_turn_has_a_row_whatever_becomes_of_it(tmp_path):
    """Misses, hits, errors of the upstream; what was refused before was no turn."""

    async def test():
        async with scene(tmp_path) as play:
            await play.ask(model="up/gpt-4o")
            await play.ask(model="up/gpt-4o", stream=True)
            await play.ask(model="up/gpt-4o", headers={"Cache_Control": "no-store"})
            await play.ask(model="nowhere/at-all")
            rows = await play.rows()
            assert [(row.cache, row.status, row.alias, row.provider, row.model) for row in rows] == [
                (cache, 200, "up/gpt-4o", "up", "gpt-4o") for cache in ("miss", "hit", "bypass")
            ]
            paid, saved, again = rows
            assert paid.cost == saved.cost_saved == again.cost > 0
            assert (saved.cost, paid.cost_saved) == (0.0, None)

    run(test())


def test_a_database_that_fails_gets_its_rows_later(tmp_path):
    """The answers went out all the same."""

    async def test():
        async with scene(tmp_path) as play:
            change(tmp_path, "ALTER TABLE usage RENAME TO away")
            assert [await play.outcome(), await play.outcome()] == ["miss", "hit"]
            await play.application.accounts.flush()
            assert play.application.accounts.queued == 2
            change(tmp_path, "ALTER TABLE away RENAME TO usage")
            assert await play.outcome() == "hit"
            assert [row.cache for row in await play.rows()] == ["miss", "hit", "hit"]

    run(test())


def test_a_graceful_stop_writes_the_rows(tmp_path):
    """D7: without waiting for the next batch."""

    async def test():
        async with scene(tmp_path) as play:
            for seed in range(5):
                await play.ask(seed=seed)

    run(test())
    assert rows_of(tmp_path, "SELECT count(*) FROM usage") == [(5,)]
