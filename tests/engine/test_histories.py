"""Histories at hand."""

from antiphon.engine.histories import Histories
from antiphon.turn.history import grow


def history(owner, count, *, before=None):
    nodes = grow(owner, before, [b"%d:%b" % (place, b"x" * 98) for place in range(count)])
    return nodes[-1].head, tuple(node.item for node in nodes)


def test_what_was_put_is_there():
    """Under its last item, which stands for its owner too."""
    histories = Histories(10_000)
    (alice, items), (bob, _) = history("alice", 3), history("bob", 3)
    histories.put(alice, items)
    histories.put(alice, items)
    assert histories.get(alice.id) == items
    assert histories.get(bob.id) is None
    assert histories.size == sum(map(len, items)) + 3 * 64


def test_the_least_used_make_room():
    """One that is larger than all of the room is not taken."""
    histories = Histories(700)
    made = [history(owner, 2) for owner in "abc"]
    for head, items in made[:2]:
        histories.put(head, items)
    assert histories.get(made[0][0].id)
    histories.put(*made[2])
    assert histories.size <= 700
    assert [histories.get(head.id) is not None for head, _ in made] == [True, False, True]
    large = history("d", 100)
    histories.put(*large)
    assert histories.get(large[0].id) is None
    assert histories.get(made[2][0].id)
