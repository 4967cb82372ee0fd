"""What of a head changes the answer of Anthropic Messages."""

import pytest

from antiphon.engine.variant import NO_VARIANT, Variant, read_variant, shortcut
from antiphon.wire.errors import ClientFault

VERSION, BETA = b"anthropic-version", b"anthropic-beta"


@pytest.mark.parametrize(
    ("headers", "query", "variant"),
    [
        ({}, b"", NO_VARIANT),
        ({b"x-other": b"1"}, b"debug=true", NO_VARIANT),
        ({VERSION: b"2023-06-01"}, b"", NO_VARIANT),
        ({VERSION: b"2026-10-21"}, b"", Variant("", ((VERSION, b"2026-10-21"),))),
        ({BETA: b"a,b"}, b"x=1&beta=true", Variant("?beta=true", ((BETA, b"a,b"),))),
        ({}, b"beta=true", Variant("?beta=true")),
    ],
)
def test_version_betas_and_the_beta_route_are_passed_on(headers, query, variant):
    """Naming the version that is sent anyway says nothing."""
    assert variant == read_variant(headers, query)


def test_different_variants_have_different_keys():
    """Each of them may change the answer."""
    told = [
        NO_VARIANT,
        Variant("?beta=true"),
        Variant("", ((VERSION, b"1"),)),
        Variant("", ((BETA, b"1"),)),
        Variant("", ((VERSION, b"1"), (BETA, b"1"))),
    ]

    assert len({each.key for each in told}) == len(told)


@pytest.mark.parametrize("value", [b"", b"a\nb", b"caf\xc3\xa9", b"x" * 2049])
def test_what_cannot_be_sent_is_refused(value):
    """Before it could break a request's head, or fill the memory."""
    with pytest.raises(ClientFault, match="anthropic-beta"):
        read_variant({BETA: value}, b"")


def test_a_shortcut_tells_heads_apart():
    """Equal bytes under another head are another request."""
    heads = [({}, b""), ({VERSION: b"1"}, b""), ({BETA: b"1"}, b""), ({}, b"beta=true")]

    assert len({shortcut(*head) for head in heads}) == len(heads)
