"""A recorded reply: every follower gets every byte, whenever it comes and however slowly it reads."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from antiphon.engine.idempotency.recorded import REPLAYED, RecordedReply
from antiphon.ports.idempotency import Outcome

HEADERS = ((b"content-type", b"text/plain"),)


class Client:
    """A reply that a test reads from, when it wants to."""

    def __init__(self):
        self.congested = False
        self.watcher = None
        self.head = None
        self.length = None
        self.body = b""
        self.state = "waiting"
        self.sends = 0

    def watch(self, watcher):
        self.watcher = watcher

    def send(self, status, headers, body):
        assert self.state == "waiting"
        self.head, self.length, self.body, self.state = (status, tuple(headers)), len(body), body, "ended"

    def start(self, status, headers, length=None):
        assert self.state == "waiting"
        self.head, self.length, self.state = (status, tuple(headers)), length, "begun"

    def write(self, data):
        assert self.state == "begun"
        assert data
        self.body += data

    def end(self):
        assert self.state == "begun"
        assert self.length in {None, len(self.body)}
        self.state = "ended"

    def abort(self):
        assert self.state in {"waiting", "begun"}
        self.state = "cut"

    def go_on(self):
        self.congested = False
        self.watcher.on_writable()


class Heard:
    """Who writes; hears what becomes of it."""

    def __init__(self):
        self.writable = self.sent = self.gone = 0

    def on_writable(self):
        self.writable += 1

    def on_sent(self):
        self.sent += 1

    def on_gone(self):
        self.gone += 1


def recorded(most=1000):
    over = []
    reply = RecordedReply(most, lambda: over.append(True))
    heard = Heard()
    reply.watch(heard)
    return reply, heard, over


def followed(reply, *, is_late=False):
    client = Client()
    reply.follow(client, is_late=is_late)
    return client


def test_a_whole_answer_is_sent_as_one():
    reply, heard, over = recorded()
    early = followed(reply)
    reply.send(404, HEADERS, b"body")
    late = followed(reply, is_late=True)
    assert early.head == (404, HEADERS)
    assert late.head == (404, (*HEADERS, REPLAYED))
    assert early.body == late.body == b"body"
    assert (over, heard.sent, heard.gone) == ([True], 1, 0)
    assert reply.outcome == Outcome(404, HEADERS, b"body")


def test_a_stream_is_passed_on_as_it_comes():
    reply, heard, over = recorded()
    early = followed(reply)
    reply.start(200, HEADERS)
    reply.write(b"one ")
    late = followed(reply, is_late=True)
    assert (early.body, late.body, early.length) == (b"one ", b"one ", None)
    reply.write(b"two")
    assert (early.state, over) == ("begun", [])
    reply.end()
    assert (early.body, early.state) == (late.body, late.state) == (b"one two", "ended")
    after = followed(reply, is_late=True)
    assert (after.body, after.length) == (b"one two", 7)
    assert (heard.sent, heard.gone) == (1, 0)


def test_a_client_that_leaves_takes_nothing_with_it():
    reply, heard, _ = recorded()
    leaving = followed(reply)
    reply.start(200, HEADERS)
    reply.write(b"one")
    leaving.watcher.on_gone()
    reply.write(b"two")
    reply.end()
    assert (leaving.body, heard.gone, heard.sent) == (b"one", 0, 1)
    assert reply.outcome == Outcome(200, HEADERS, b"onetwo")


@pytest.mark.parametrize("begin", [False, True])
def test_what_is_cut_is_cut_for_everybody_and_no_outcome(begin):
    reply, _, over = recorded()
    early = followed(reply)
    if begin:
        reply.start(200, HEADERS)
        reply.write(b"half")
    reply.abort()
    late = followed(reply, is_late=True)
    assert early.state == late.state == "cut"
    assert (reply.outcome, over) == (None, [True])


def test_what_is_said_twice_is_cut():
    """A defect of ours: what was begun must not look whole."""
    reply, _, _ = recorded()
    client = followed(reply)
    reply.start(200, HEADERS)
    reply.send(500, HEADERS, b"no")
    assert (client.state, reply.outcome) == ("cut", None)


def test_a_slow_client_holds_up_nobody_while_the_answer_is_kept():
    reply, _, _ = recorded()
    slow, fast = followed(reply), followed(reply)
    reply.start(200, HEADERS)
    slow.congested = True
    for _ in range(5):
        reply.write(b"part")
    assert (reply.congested, fast.body, slow.body) == (False, b"part" * 5, b"")
    reply.end()
    assert (fast.state, slow.state) == ("ended", "begun")
    slow.go_on()
    assert (slow.body, slow.state) == (b"part" * 5, "ended")


def test_what_is_too_large_is_passed_on_at_the_pace_of_the_slowest_and_not_kept():
    reply, heard, _ = recorded(most=6)
    slow, fast = followed(reply), followed(reply)
    reply.start(200, HEADERS)
    slow.congested = True
    reply.write(b"part")
    assert not reply.congested
    reply.write(b"part")
    assert reply.congested
    assert not reply.may_be_joined
    assert reply.size == 8
    slow.go_on()
    assert (reply.congested, reply.size, heard.writable) == (False, 0, 1)
    reply.write(b"part")
    slow.watcher.on_gone()
    reply.write(b"more")
    reply.end()
    assert (fast.body, fast.state, reply.outcome, reply.size) == (b"partpartpartmore", "ended", None, 0)


def test_one_that_is_too_large_goes_on_when_the_slow_one_leaves():
    reply, heard, _ = recorded(most=1)
    slow = followed(reply)
    reply.start(200, HEADERS)
    slow.congested = True
    reply.write(b"part")
    assert reply.congested
    slow.watcher.on_gone()
    assert (reply.congested, reply.size, heard.writable) == (False, 0, 1)


def test_a_stored_outcome_is_told_in_slices_to_who_keeps_up():
    outcome = Outcome(200, HEADERS, bytes(range(256)) * 4096)
    reply, _, over = recorded(most=10**9)
    slow, fast = followed(reply, is_late=True), followed(reply, is_late=True)
    slow.congested = True
    reply.tell(outcome)
    assert (fast.body, fast.length, slow.body) == (outcome.body, len(outcome.body), b"")
    slow.go_on()
    assert (slow.body, slow.state, over) == (outcome.body, "ended", [True])


class AnyOrder(RuleBasedStateMachine):
    """One writer, clients that come, stall, go on and leave at any time, against what they must have got."""

    @initialize(most=st.sampled_from([5, 10**6]), begins=st.booleans())
    def begin(self, most, begins):
        self.reply, self.heard, self.over = recorded(most)
        self.told = b""
        self.clients = [followed(self.reply)]
        self.left = []

    @precondition(lambda self: self.reply.state == "waiting")
    @rule(whole=st.one_of(st.none(), st.binary(max_size=12)))
    def start(self, whole):
        if whole is None:
            self.reply.start(200, HEADERS)
        else:
            self.told = whole
            self.reply.send(200, HEADERS, whole)

    @precondition(lambda self: self.reply.state == "begun" and not self.reply.congested)
    @rule(data=st.binary(max_size=4))
    def write(self, data):
        self.told += data
        self.reply.write(data)

    @precondition(lambda self: self.reply.state == "begun")
    @rule(how=st.sampled_from(["end", "abort"]))
    def finish(self, how):
        getattr(self.reply, how)()

    @precondition(lambda self: self.reply.may_be_joined)
    @rule(stalled=st.booleans())
    def join(self, stalled):
        client = Client()
        client.congested = stalled
        self.reply.follow(client, is_late=True)
        self.clients.append(client)

    @rule(pick=st.integers(0, 9))
    def stall(self, pick):
        self._one(pick).congested = True

    @rule(pick=st.integers(0, 9))
    def go_on(self, pick):
        client = self._one(pick)
        if client not in self.left:
            client.go_on()

    @rule(pick=st.integers(0, 9))
    def leave(self, pick):
        client = self._one(pick)
        if client not in self.left and client.state in {"waiting", "begun"}:
            self.left.append(client)
            client.watcher.on_gone()

    def _one(self, pick):
        return self.clients[pick % len(self.clients)]

    @invariant()
    def everybody_has_the_beginning_and_who_keeps_up_has_all(self):
        for client in self.clients:
            assert self.told.startswith(client.body)
            if client.state == "ended":
                assert client.body == self.told
            keeps_up = not client.congested and client not in self.left
            if keeps_up:
                assert client.state == self.reply.state
                assert client.body == self.told or client.state == "waiting"

    @invariant()
    def it_is_over_once_and_nobody_hears_of_leaving(self):
        is_over = self.reply.state in {"ended", "cut"}
        assert (len(self.over), self.heard.sent, self.heard.gone) == (is_over, is_over, 0)

    @invariant()
    def memory_is_bounded(self):
        assert self.reply.size == sum(map(len, self.reply.parts))
        if not self.reply.may_be_joined and not any(c.congested for c in self.clients if c not in self.left):
            assert self.reply.size == 0


TestAnyOrder = AnyOrder.TestCase
