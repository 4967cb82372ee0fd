"""Kept responses: found by their owner alone, until they are deleted or have expired."""

import random

from antiphon.cache.selecting import Selector
from antiphon.ports.runs import RunState
from antiphon.turn.history import Context
from drivers.sqlite.opening import entry_of, run
from drivers.stores.place import NOW, Clock, committed, context_of, kept_of, new_run, opened, recording_of
from waiting import eventually


def test_a_response_comes_back_as_it_was(place):
    """At once, once it is written, and at another gateway."""
    kept = kept_of("resp_1", echoed={"metadata": b'{"a":"\\ud83d"}'}, created_at=None)

    async def test():
        async with opened(place) as storage:
            storage.responses.put(kept)
            assert await storage.responses.get("resp_1", "alice") == kept
            await committed(storage)
            assert await storage.responses.get("resp_1", "alice") == kept
        async with opened(place) as storage:
            assert await storage.responses.get("resp_1", "alice") == kept

    run(test())


def test_nobody_else_finds_or_deletes_a_response(place):
    """It is the same to them as an unknown one; they may have one of the same id."""
    recording = recording_of("r")

    async def test():
        async with opened(place) as storage:
            responses = storage.responses
            for owner in ("alice", "bob"):
                responses.put(kept_of("resp_1", recording, owner=owner, echoed={"user": owner.encode()}))
            await committed(storage)
            assert await responses.get("resp_1", "carol") is None
            assert await responses.delete("resp_1", "carol") is None
            assert await responses.get("resp_2", "alice") is None
            assert await responses.delete("resp_1", "bob") == "r"
            assert await responses.get("resp_1", "bob") is None
            assert (await responses.get("resp_1", "alice")).echoed == {"user": b"alice"}

    run(test())


def test_a_response_is_deleted_once(place):
    """Also one that is not written yet."""

    async def test():
        async with opened(place) as one:
            one.responses.put(kept_of("resp_1", recording_of("r")))
            assert await one.responses.delete("resp_1", "alice") == "r"
            assert await one.responses.get("resp_1", "alice") is None
            assert await one.responses.delete("resp_1", "alice") is None

    run(test())


def test_the_recordings_of_a_response_are_found(place):
    """Of one owner, or of all that have a response with this id; what is not written yet too."""

    async def test():
        async with opened(place) as storage:
            responses = storage.responses
            responses.put(kept_of("resp_1", recording_of("r")))
            responses.put(kept_of("resp_1", recording_of("q"), owner="bob"))
            responses.put(kept_of("resp_2", recording_of("q"), owner="bob"))
            assert await responses.recordings_of("resp_1", "alice") == ["r"]
            assert sorted(await responses.recordings_of("resp_1")) == ["q", "r"]
            assert await responses.recordings_of("resp_2") == ["q"]
            assert await responses.recordings_of("resp_2", "alice") == []
            assert await responses.recordings_of("resp_\0") == []

    run(test())


def test_a_response_takes_the_place_of_one_with_the_same_id(place):
    """With its recording and its history, as where hits keep their first id."""

    async def test():
        async with opened(place) as storage:
            responses = storage.responses
            responses.put(kept_of("resp_1", recording_of("r-1"), context=context_of(b"1", b"2")))
            responses.put(kept_of("resp_1", recording_of("r-2", text=b"other"), context=context_of(b"1")))
            await committed(storage)
            found = await responses.get("resp_1", "alice")
            assert found.recording == recording_of("r-2", text=b"other")
            assert await responses.history(found.head.id) == (b"1",)
            assert await place.rows("SELECT count(*) FROM history") == [(1,)]

    run(test())


def test_a_response_expires(place):
    """It is not found from then on, cannot be deleted, and the sweep takes it away with what it held."""
    clock = Clock(NOW)

    async def test():
        async with opened(place, clock) as storage:
            responses = storage.responses
            for number, expires_at in enumerate((NOW - 1, NOW + 10, NOW + 1000)):
                context = context_of(b"%d" % number)
                responses.put(kept_of(f"resp_{number}", expires_at=expires_at, context=context))
            assert await responses.get("resp_0", "alice") is None
            await committed(storage)
            clock.now = NOW + 10
            assert await responses.get("resp_0", "alice") is None
            assert await responses.get("resp_1", "alice") is not None
            clock.now = NOW + 11
            assert await responses.get("resp_1", "alice") is None
            assert await responses.delete("resp_1", "alice") is None
            storage.sweep(NOW + 120)
            await eventually(lambda: _is(place.rows("SELECT id FROM recordings"), [("r-resp_2",)]))
            assert await place.rows("SELECT id FROM responses") == [("resp_2",)]
            assert await place.rows("SELECT count(*) FROM history") == [(1,)]

    run(test())


def test_who_keeps_a_response_elsewhere_is_noted(place):
    """For its owner, at once and at another gateway, until it is forgotten there."""

    async def test():
        async with opened(place) as storage:
            storage.responses.note_upstream("resp_1", "alice", "openai", NOW + 10)
            assert await storage.responses.upstream_of("resp_1", "alice") == "openai"
            storage.responses.note_upstream("resp_1", "alice", "azure", NOW + 10)
        async with opened(place) as storage:
            assert await storage.responses.upstream_of("resp_1", "alice") == "azure"
            assert await storage.responses.upstream_of("resp_1", "bob") is None
            assert await storage.responses.upstream_of("resp_2", "alice") is None
            storage.sweep(NOW + 11)
            await eventually(lambda: _is(storage.responses.upstream_of("resp_1", "alice"), None))

    run(test())


def test_a_run_and_a_response_share_what_they_were_shown(place):
    """Each item is there once, until the last that was shown it goes."""

    async def test():
        async with opened(place) as storage:
            storage.responses.put(kept_of("resp_1", context=context_of(b"1", b"2")))
            await committed(storage)
            lease = await storage.runs.create(new_run("resp_2", context=context_of(b"1", b"2", b"3")), "me")
            assert await place.rows("SELECT count(*) FROM history") == [(3,)]
            await storage.responses.delete("resp_1", "alice")
            assert await storage.responses.history(lease.history) == (b"1", b"2", b"3")
            assert await storage.runs.state("resp_2", "alice") == RunState("in_progress", 1, 1, NOW)
            await storage.runs.delete("resp_2", "alice")
            assert await place.rows("SELECT count(*) FROM history") == [(0,)]

    run(test())


def test_what_is_continued_may_be_deleted_while_the_answer_is_made(place):
    """All of it is kept again, where it is at hand."""

    async def test():
        async with opened(place) as storage:
            responses = storage.responses
            responses.put(kept_of("resp_1", context=context_of(b"1", b"2")))
            await committed(storage)
            before = (await responses.get("resp_1", "alice")).head
            await responses.delete("resp_1", "alice")
            context = Context(before, (b"3",), shown=(b"1", b"2", b"3"))
            responses.put(kept_of("resp_2", context=context))
            lease = await storage.runs.create(new_run("resp_3", context=context), "me")
            await committed(storage)
            head = (await responses.get("resp_2", "alice")).head
            assert await responses.history(head.id) == (b"1", b"2", b"3")
            assert lease.history == head.id
            assert await place.rows("SELECT count(*) FROM history") == [(3,)]

    run(test())


def test_what_is_kept_survives_the_cache_that_shares_it(place):
    """And the other way round: a recording goes with the last that shows it."""
    recording = recording_of("r")

    async def test():
        async with opened(place) as storage:
            storage.cache.put(entry_of("a", recording))
            storage.responses.put(kept_of("resp_1", recording, is_replay=True))
            storage.responses.put(kept_of("resp_2", recording, is_replay=True))
            await committed(storage)
            await storage.responses.delete("resp_1", "alice")
            await storage.cache.remove(Selector(recording_id="r"))
            storage.sweep(NOW + 1)
            await committed(storage)
            assert (await storage.responses.get("resp_2", "alice")).recording == recording
            await storage.responses.delete("resp_2", "alice")
            storage.sweep(NOW + 120)
            await eventually(lambda: _is(place.rows("SELECT count(*) FROM recordings"), [(0,)]))

    run(test())


def test_the_oldest_responses_make_room(place):
    """In the background, one after the other until all that is kept is within the bound."""

    async def test():
        async with opened(place, max_bytes=1_000_000) as storage:
            for number in range(40):
                recording = recording_of(f"r-{number}", text=random.randbytes(50_000), ended_at=NOW + number)
                context = context_of(random.randbytes(25_000).hex().encode())
                storage.responses.put(kept_of(f"resp_{number:02}", recording, context=context))
            await committed(storage)
            storage.sweep(NOW)
            await eventually(lambda: _count_is_below(place, 11))
            left = [name for (name,) in await place.rows("SELECT id FROM responses ORDER BY id")]
            assert len(left) >= 5
            assert left == [f"resp_{number:02}" for number in range(40 - len(left), 40)]
            assert await place.rows("SELECT count(*) FROM history") == [(len(left),)]
            await committed(storage)
            storage.sweep(NOW)
            await committed(storage)
            assert await place.rows("SELECT count(*) FROM responses") == [(len(left),)]

    run(test())


def test_nothing_that_a_run_or_a_later_response_needs_makes_room(place):
    """What they were shown stays, although what it came from is gone."""

    async def test():
        async with opened(place, max_bytes=1) as storage:
            responses, runs = storage.responses, storage.runs
            responses.put(kept_of("resp_1", context=context_of(b"1", b"2")))
            await committed(storage)
            before = (await responses.get("resp_1", "alice")).head
            lease = await runs.create(new_run("resp_2", context=context_of(b"3", before=before)), "me")
            storage.sweep(NOW)
            await committed(storage)
            assert await responses.get("resp_1", "alice") is None
            assert await responses.history(lease.history) == (b"1", b"2", b"3")
            assert await runs.state("resp_2", "alice") is not None

    run(test())


def test_replays_are_counted_without_their_recording(place):
    """It is there once, however often it is served again."""
    recording = recording_of("r", text=random.randbytes(100_000))

    async def test():
        async with opened(place, max_bytes=1_000_000) as storage:
            for number in range(60):
                storage.responses.put(kept_of(f"resp_{number}", recording, is_replay=number > 0))
            await committed(storage)
            storage.sweep(NOW)
            await committed(storage)
            assert await place.rows("SELECT count(*) FROM responses") == [(60,)]

    run(test())


def test_runs_that_nobody_has_looked_after_are_forgotten(place):
    """When what they would have answered would have expired too."""

    async def test():
        async with opened(place, retention=1000.0) as storage:
            await storage.runs.create(new_run("old", deadline=NOW + 10), "gone")
            await storage.runs.create(new_run("new", deadline=NOW + 20), None)
            storage.sweep(NOW + 1015)
            await eventually(lambda: _is(place.rows("SELECT id FROM runs"), [("new",)]))
            for table in ("run_requests", "history"):
                await eventually(lambda: _is(place.rows(f"SELECT count(*) FROM {table}"), [(1,)]))  # noqa: B023

    run(test())


async def _count_is_below(place, number):
    ((count,),) = await place.rows("SELECT count(*) FROM responses")
    return count < number


async def _is(given, value):
    return await given == value
