"""The first level of the cache, against a plain model of it."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from antiphon.cache.entry import Entry
from antiphon.cache.selecting import Selector
from antiphon.drivers.memory import MemoryCache
from antiphon.recording import Mode, Recording

KB = 1024
SHORTCUT = 512
"""What a shortcut takes beside the bytes of its request."""


def entry_of(name, *, recording="", size=0, identity=b"identity"):
    recorded = Recording(recording or name, "chat", Mode.JSON, "up", "m", 0.0)
    recorded.extend([b"x" * size], 0)
    return Entry(name.encode(), identity, recorded, "", {}, 0.0, 100.0)


def cache_with(*entries, max_bytes=100 * KB):
    cache = MemoryCache(max_bytes)
    for entry in entries:
        cache.put(entry)
    return cache


def names_in(cache, *names):
    return {name for name in names if cache.get(name.encode(), b"identity") is not None}


def test_an_entry_is_found_until_it_is_removed():
    """By its digest, as the object that was put."""
    entry = entry_of("a")
    cache = cache_with(entry)
    assert cache.get(b"a", b"identity") is entry
    assert (len(cache), cache.size, entry.is_current) == (1, entry.size, True)
    cache.remove(b"a")
    cache.remove(b"a")
    assert cache.get(b"a", b"identity") is None
    assert (len(cache), cache.size, entry.is_current) == (0, 0, False)


def test_a_collision_of_digests_is_a_miss():
    """An entry with the same digest and another identity is not this request's."""
    cache = cache_with(entry_of("a", identity=b"one"))
    assert cache.get(b"a", b"other") is None
    other = entry_of("a", identity=b"other")
    cache.put(other)
    assert cache.get(b"a", b"one") is None
    assert cache.get(b"a", b"other") is other
    assert (len(cache), cache.size) == (1, other.size)


def test_what_was_used_longest_ago_goes_first():
    """Looking up counts as using, and so does a shortcut."""
    a, b, c, d = (entry_of(name, size=20 * KB) for name in "abcd")
    cache = cache_with(a, b, c, max_bytes=64 * KB)
    cache.get(b"a", b"identity")
    cache.add_shortcut("to b", b, "value", 1)
    assert cache.shortcut("to b") is not None
    cache.put(d)
    assert names_in(cache, *"abcd") == {"a", "b", "d"}
    assert (cache.evictions, c.is_current) == (1, False)


def test_a_miss_does_not_count_as_using():
    """Neither does a look-up for another identity."""
    cache = cache_with(*(entry_of(name, size=20 * KB) for name in "abc"), max_bytes=64 * KB)
    cache.get(b"a", b"other")
    cache.put(entry_of("d", size=20 * KB))
    assert names_in(cache, *"abcd") == {"b", "c", "d"}


def test_what_is_larger_than_the_cache_is_left_out():
    """And takes nothing else with it; what had its place is gone all the same."""
    cache = cache_with(entry_of("a"), entry_of("b"), max_bytes=8 * KB)
    large = entry_of("a", size=8 * KB)
    cache.put(large)
    assert names_in(cache, "a", "b") == {"b"}
    assert not large.is_current


def test_an_entry_that_was_left_out_or_put_out_takes_no_room():
    """Forms and shortcuts for it are not kept: nobody would ever remove them."""
    left_out, put_out = entry_of("a", size=8 * KB), entry_of("b")
    cache = cache_with(left_out, put_out, max_bytes=4 * KB)
    cache.remove(b"b")
    for entry in (left_out, put_out):
        cache.add_rendition(entry, "form", "rendition", 1000)
        cache.add_shortcut(f"to {entry.digest}", entry, "value", 100)
        assert cache.shortcut(f"to {entry.digest}") is None
    assert (len(cache), cache.size) == (0, 0)


def test_shortcuts_end_with_their_entry():
    """Whether it is removed, put out or replaced."""
    for end in ("remove", "replace", "crowd out", "clear"):
        entry = entry_of("a")
        cache = cache_with(entry, max_bytes=16 * KB)
        cache.add_shortcut("to a", entry, "value", 1)
        found = cache.shortcut("to a")
        assert found is not None
        assert (found.entry, found.value) == (entry, "value")
        if end == "remove":
            cache.remove(b"a")
        elif end == "replace":
            cache.put(entry_of("a"))
        elif end == "clear":
            cache.clear()
        else:
            cache.put(entry_of("b", size=14 * KB))
        assert cache.shortcut("to a") is None, end


def test_a_shortcut_stays_with_the_entry_it_was_made_for():
    """A second one under the same key changes nothing."""
    a, b = entry_of("a"), entry_of("b")
    cache = cache_with(a, b)
    cache.add_shortcut("key", a, "first", 1)
    cache.add_shortcut("key", b, "second", 1)
    found = cache.shortcut("key")
    assert found is not None
    assert (found.entry, found.value) == (a, "first")


def test_many_shortcuts_to_one_entry_do_not_crowd_out_others():
    """Requests that differ in members that are not keyed, such as the user, are many for one answer."""
    a, b = entry_of("a"), entry_of("b")
    cache = cache_with(b, a, max_bytes=64 * KB)
    for number in range(1000):
        cache.add_shortcut(number, a, "value", 200)
    assert names_in(cache, "a", "b") == {"a", "b"}
    assert cache.shortcut(999) is not None
    assert cache.shortcut(0) is None


def test_forms_are_kept_with_their_entry():
    """Each once, and its bytes count."""
    entry = entry_of("a")
    cache = cache_with(entry)
    plain = cache.size
    cache.add_rendition(entry, "json", "rendition", 700)
    cache.add_rendition(entry, "json", "another", 900)
    cache.add_rendition(entry, "stream", "rendition", 50)
    assert entry.renditions == {"json": "rendition", "stream": "rendition"}
    assert cache.size == plain + 750
    cache.remove(b"a")
    assert (cache.size, entry.renditions) == (0, {})


def test_a_form_that_does_not_fit_costs_the_entry():
    """Its own, too, if it is the only one."""
    entry = entry_of("a")
    cache = cache_with(entry, max_bytes=4 * KB)
    cache.add_rendition(entry, "json", "rendition", 4 * KB)
    assert (len(cache), cache.size, entry.is_current) == (0, 0, False)


def test_all_entries_of_a_recording_are_found_together():
    """Under whatever keys it was stored."""
    cache = cache_with(
        entry_of("a", recording="r"), entry_of("b", recording="r"), entry_of("c", recording="s")
    )
    assert {entry.digest for entry in cache.select(Selector(recording_id="r"))} == {b"a", b"b"}
    assert cache.select(Selector(recording_id="unknown")) == []


def test_an_entry_may_come_again():
    """After it was put out, and in its own place."""
    entry = entry_of("a")
    cache = cache_with(entry)
    cache.add_rendition(entry, "json", "rendition", 100)
    cache.put(entry)
    assert (len(cache), cache.size) == (1, entry.size)
    cache.remove(b"a")
    cache.put(entry)
    assert (len(cache), cache.size, entry.is_current) == (1, entry.size, True)


@pytest.mark.parametrize("max_bytes", [0, 1, KB])
def test_a_cache_without_room_holds_nothing(max_bytes):
    """Every put is left out."""
    cache = cache_with(entry_of("a"), max_bytes=max_bytes)
    assert (len(cache), cache.size) == (0, 0)


class AgainstAModel(RuleBasedStateMachine):
    """Whatever is done in whatever order: the bound holds, and what is found is what was put."""

    LIMIT = 24 * KB
    digests = st.sampled_from(["a", "b", "c", "d", "e"])
    sizes = st.sampled_from([0, 100, 3 * KB, 9 * KB, 23 * KB, 30 * KB])

    @initialize()
    def start(self):
        self.cache = MemoryCache(self.LIMIT)
        self.put_last = {}
        self.all = []
        self.shortcuts = {}
        self.serial = 0

    @rule(
        name=digests,
        size=sizes,
        recording=st.sampled_from(["r", "s", ""]),
        identity=st.sampled_from([b"i", b"j"]),
    )
    def put(self, name, size, recording, identity):
        entry = entry_of(name, recording=recording, size=size, identity=identity)
        self.put_last[name] = entry
        self.all.append(entry)
        self.cache.put(entry)
        assert entry.is_current == (entry.size <= self.LIMIT)

    @precondition(lambda self: self.all)
    @rule(data=st.data())
    def put_again(self, data):
        entry = data.draw(st.sampled_from(self.all))
        self.put_last[entry.digest.decode()] = entry
        self.cache.put(entry)

    @rule(name=digests, identity=st.sampled_from([b"i", b"j"]))
    def get(self, name, identity):
        found = self.cache.get(name.encode(), identity)
        expected = self.put_last.get(name)
        if found is not None:
            assert found is expected
            assert found.identity == identity
            assert found.is_current

    @rule(name=digests)
    def remove(self, name):
        self.cache.remove(name.encode())
        self.put_last.pop(name, None)

    @rule(recording=st.sampled_from(["r", "s", "a", "unknown"]))
    def remove_recording(self, recording):
        for entry in self.cache.select(Selector(recording_id=recording)):
            self.cache.remove(entry.digest)
        for name, entry in list(self.put_last.items()):
            if entry.recording.id == recording:
                del self.put_last[name]

    @precondition(lambda self: self.all)
    @rule(data=st.data(), form=st.sampled_from(["json", "stream", "usage"]), size=sizes)
    def add_rendition(self, data, form, size):
        entry = data.draw(st.sampled_from(self.all))
        self.cache.add_rendition(entry, form, "rendition", size)

    @precondition(lambda self: self.all)
    @rule(data=st.data(), key=st.integers(0, 40), size=st.sampled_from([10, 2 * KB, 30 * KB]))
    def add_shortcut(self, data, key, size):
        entry = data.draw(st.sampled_from(self.all))
        was_there = self.cache.shortcut(key)
        self.serial += 1
        self.cache.add_shortcut(key, entry, self.serial, size)
        if was_there is None:
            self.shortcuts[key] = (entry, self.serial)

    @rule(key=st.integers(0, 40))
    def shortcut(self, key):
        found = self.cache.shortcut(key)
        if found is not None:
            assert (found.entry, found.value) == self.shortcuts[key]
            assert found.entry.is_current

    @rule()
    def clear(self):
        self.cache.clear()
        self.put_last.clear()
        assert self.cache.size == 0

    @invariant()
    def sizes_add_up(self):
        current = [entry for entry in self.all if entry.is_current]
        assert len(self.cache) == len(current)
        assert 0 <= sum(entry.size for entry in current) <= self.cache.size <= self.LIMIT
        assert current or self.cache.size == 0
        assert all(self.put_last[entry.digest.decode()] is entry for entry in current)


AgainstAModel.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestAgainstAModel = AgainstAModel.TestCase
