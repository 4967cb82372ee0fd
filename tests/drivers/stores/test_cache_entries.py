"""Cache entries: the same whatever keeps them."""

from antiphon.cache.entry import STALE_SECONDS
from antiphon.cache.selecting import Selector
from drivers.sqlite.opening import entry_of, recording_of, run
from drivers.stores.place import LEVELS, NOW, Clock, committed, opened

FIELDS = ("digest", "identity", "recording", "public_id", "echo", "stored_at", "expires_at", "tags", "origin")

pytestmark = LEVELS


def test_an_entry_comes_back_as_it_was_put(place):
    """Also in another process, and one of many megabytes."""

    async def test():
        large = entry_of("large", recording_of("r-large", text=bytes(range(256)) * 20_000))
        entries = [entry_of("a"), entry_of("untagged", tags=(), echo={}), large]
        async with opened(place) as one, opened(place) as other:
            assert await other.cache.get(entries[0].digest) is None
            for entry in entries:
                one.cache.put(entry)
            await committed(one)
            for entry in entries:
                for storage in (one, other):
                    found = await storage.cache.get(entry.digest)
                    assert all(getattr(found, name) == getattr(entry, name) for name in FIELDS)
            assert one.cache.unreadable == other.cache.unreadable == 0

    run(test())


def test_many_are_found_at_once(place):
    """Those that there are; also more, and larger ones, than are read at a time."""

    async def test():
        entries = [
            entry_of(f"{number}", recording_of(f"r-{number}", text=b"x" * 500)) for number in range(1200)
        ]
        async with opened(place) as storage:
            for entry in entries[::2]:
                storage.cache.put(entry)
            await committed(storage)
            await storage.cache.remove(Selector(recording_id="r-0"))
            found = await storage.cache.get_many([entry.digest for entry in entries])
            assert {entry.recording.id for entry in found.values()} == {f"r-{n}" for n in range(2, 1200, 2)}
            assert all(found[entry.digest].identity == entry.identity for entry in found.values())
            assert await storage.cache.get_many([]) == {}

    run(test())


def test_an_entry_takes_the_place_of_an_earlier_one(place):
    async def test():
        async with opened(place) as storage:
            storage.cache.put(entry_of("a"))
            storage.cache.put(entry_of("a", recording_of("newer")))
            await committed(storage)
            assert (await storage.cache.get(entry_of("a").digest)).recording.id == "newer"
            assert len(await storage.cache.select(Selector(), 10)) == 1

    run(test())


def test_what_held_a_recording_is_gone_for_all(place):
    """Although it was not written yet when it was removed."""

    async def test():
        async with opened(place) as one, opened(place) as other:
            kept, removed = entry_of("a"), entry_of("b", recording_of("other"))
            for entry in (kept, removed):
                one.cache.put(entry)
            await one.cache.remove(Selector(recording_id="other"))
            assert await one.cache.get(removed.digest) is None
            await committed(one)
            assert await other.cache.get(removed.digest) is None
            assert await other.cache.get(kept.digest) is not None

    run(test())


def test_what_a_stop_finds_unwritten_is_written(place):
    async def test():
        async with opened(place) as storage:
            for number in range(300):
                storage.cache.put(entry_of(f"{number}"))
        async with opened(place) as storage:
            assert len(await storage.cache.select(Selector(), 1000)) == 300

    run(test())


def test_an_entry_stays_as_long_as_it_may_be_answered_from(place):
    """Stale or not; one that is pinned stays for ever."""

    async def test():
        clock = Clock(NOW)
        async with opened(place, clock) as storage:
            over = NOW - STALE_SECONDS - 1
            entries = {
                "stale": entry_of("stale", expires_at=NOW - 10, keep_until=NOW - 10 + STALE_SECONDS),
                "kept": entry_of("kept", expires_at=over, keep_until=NOW + 10),
                "over": entry_of("over", expires_at=over, keep_until=over),
                "pinned": entry_of("pinned", expires_at=over, keep_until=over, is_pinned=True),
            }
            for entry in entries.values():
                storage.cache.put(entry)
            await committed(storage)
            if hasattr(storage, "sweep"):
                storage.sweep(NOW)
                await committed(storage)
            found = {name for name, entry in entries.items() if await storage.cache.get(entry.digest)}
            assert found == {"stale", "kept", "pinned"}
            assert (await storage.cache.get(entries["pinned"].digest)).is_pinned

    run(test())
