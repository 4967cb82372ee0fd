"""Cache entries selected and removed by what they came from: the same in memory and in every store."""

import pytest

from antiphon.cache.entry import Origin
from antiphon.cache.selecting import PROMPT_LENGTH, Selector
from antiphon.drivers.memory import MemoryCache
from drivers.sqlite.opening import entry_of, run
from drivers.stores.place import LEVELS, NOW, committed, opened

LONG = "Translate: " + "x" * (PROMPT_LENGTH - len("Translate: "))
ORIGINS = {
    "a": Origin("key:alice", "openai/gpt-5.2", "fast", "Summarise: one"),
    "b": Origin("key:alice", "openai/gpt-5.2", "openai/gpt-5.2", "Summarise: 100 %_\\"),
    "c": Origin("key:bob", "local/llama", "fast", LONG),
    "d": Origin("", "local/llama", "local/llama", ""),
}
TAGS = {"a": ("red", "blue"), "b": ("re",), "c": ("blue",), "d": ()}
ENTRIES = [
    entry_of(name, origin=ORIGINS[name], tags=TAGS[name], stored_at=NOW + number)
    for number, name in enumerate("abcd")
]
CASES = [
    (Selector(), "dcba"),
    (Selector(digest=ENTRIES[1].digest), "b"),
    (Selector(digest=b"another"), ""),
    (Selector(recording_id="r-c"), "c"),
    (Selector(scope="key:alice"), "ba"),
    (Selector(scope=""), "d"),
    (Selector(model="fast"), "ca"),
    (Selector(model="openai/gpt-5.2"), "ba"),
    (Selector(model="gpt-5.2"), ""),
    (Selector(tag="blue"), "ca"),
    (Selector(tag="re"), "b"),
    (Selector(prompt="Summarise:"), "ba"),
    (Selector(prompt="Summarise: 100 %_\\"), "b"),
    (Selector(prompt="%"), ""),
    (Selector(prompt="summarise"), ""),
    (Selector(prompt=LONG + "and what else it says"), "c"),
    (Selector(prompt=""), "dcba"),
    (Selector(stored_before=NOW + 2), "ba"),
    (Selector(tag="blue", model="fast", scope="key:bob"), "c"),
    (Selector(tag="blue", scope=""), ""),
]


def names_of(entries):
    return "".join(entry.digest.decode()[:1] for entry in entries)


@pytest.mark.parametrize(("selector", "meant"), CASES)
def test_memory_knows_which_entries_are_meant(selector, meant):
    memory = MemoryCache(1 << 20)
    for entry in ENTRIES:
        memory.put(entry)
    assert names_of(memory.select(selector)) == meant


@LEVELS
def test_a_store_selects_what_is_meant_newest_first(place):
    async def test():
        async with opened(place) as storage:
            for entry in ENTRIES:
                storage.cache.put(entry)
            await committed(storage)
            for selector, meant in CASES:
                found = await storage.cache.select(selector, 100)
                assert names_of(found) == meant, selector
                assert names_of(await storage.cache.select(selector, 1)) == meant[:1]
            found = await storage.cache.select(Selector(digest=ENTRIES[0].digest), 1)
            assert (found[0].origin, found[0].tags) == (ORIGINS["a"], TAGS["a"])

    run(test())


@LEVELS
def test_a_store_removes_what_is_meant_and_nothing_else(place):
    async def test():
        async with opened(place) as storage:
            for selector, meant in CASES:
                for entry in ENTRIES:
                    storage.cache.put(entry)
                # Nothing is waited for: what was put before is removed too.
                assert await storage.cache.remove(selector) == len(meant), selector
                left = [name for name in "dcba" if name not in meant]
                assert names_of(await storage.cache.select(Selector(), 100)) == "".join(left)

    run(test())


@LEVELS
def test_a_prompt_may_hold_what_no_database_takes_as_text(place):
    async def test():
        async with opened(place) as storage:
            storage.cache.put(entry_of("e", origin=Origin("", "p/m", "m", "a\0b\ud83d")))
            await committed(storage)
            (entry,) = await storage.cache.select(Selector(), 1)
            assert entry.origin.prompt == "a b?"

    run(test())


def test_several_entries_are_found_at_once(place):
    """Those that there are, and not what was removed."""

    async def test():
        async with opened(place) as storage:
            cache = storage.cache
            for entry in ENTRIES:
                cache.put(entry)
            await committed(storage)
            await cache.remove(Selector(recording_id="r-b"))
            digests = [entry.digest for entry in ENTRIES]
            found = await cache.get_many(
                [*digests[:3], b"another", *[b"%d" % number for number in range(1200)]]
            )
            assert sorted(found) == [digests[0], digests[2]]
            assert [found[digest].recording for digest in sorted(found)] == [
                ENTRIES[0].recording,
                ENTRIES[2].recording,
            ]
            assert await cache.get_many([]) == {}

    run(test())
