"""What a client asks of the cache: every row of the contract's table, and what is not understood."""

import math

import pytest

from antiphon.cache.controls import PLAIN, Controls, read_controls
from antiphon.wire.errors import ClientFault

YEARS = "999999999999999999999999"


def controls_of(cache_control=None, member=None, *, opt_in=False, opted=False, **headers):
    """Read controls; `x_antiphon_cache=…` is a header."""
    raw = {name.replace("_", "-").encode(): value.encode("latin-1") for name, value in headers.items()}
    if cache_control is not None:
        raw[b"cache-control"] = cache_control.encode("latin-1")
    return read_controls(raw, member, opt_in=opt_in, opted=opted)


def fault_of(*arguments, **options):
    with pytest.raises(ClientFault) as caught:
        controls_of(*arguments, **options)
    return caught.value


def test_without_controls_a_request_is_plain():
    """Also with an empty `cache` member, and with directives that a cache of answers has no use for."""
    assert controls_of() is PLAIN
    assert controls_of(member={}) is PLAIN
    assert controls_of("") is PLAIN
    assert controls_of("no-transform, private=60") is PLAIN
    assert controls_of(x_antiphon_cache="on") is PLAIN


@pytest.mark.parametrize(
    ("cache_control", "expected"),
    [
        ("no-store", Controls(bypass="no-store", write=False)),
        ("no-cache", Controls(bypass="no-cache", write=True)),
        ("no-cache, no-store", Controls(bypass="no-store", write=False)),
        ("max-age=0", Controls(max_age=0)),
        ("max-age=10", Controls(max_age=10)),
        ("max-age=1.5", Controls(max_age=1.5)),
        ("min-fresh=20", Controls(min_fresh=20)),
        ("max-stale=30", Controls(max_stale=30)),
        ("max-stale=0", Controls(max_stale=0)),
        ("max-stale", Controls(max_stale=math.inf)),
        ("only-if-cached", Controls(only_if_cached=True)),
        (
            "max-age=10, min-fresh=20, max-stale=30, only-if-cached",
            Controls(max_age=10, min_fresh=20, max_stale=30, only_if_cached=True),
        ),
    ],
)
def test_the_directives_of_cache_control(cache_control, expected):
    """Each as RFC 9111, section 5.2.1, has it."""
    assert expected == controls_of(cache_control)


@pytest.mark.parametrize(
    "cache_control",
    [
        "NO-STORE",
        "No-Store",
        " no-store ",
        ",,no-store,,",
        "no-store=1",
        'foo="a, b", no-store',
        "x y, no-store",
    ],
)
def test_case_blanks_and_strange_neighbours_do_not_matter(cache_control):
    """A directive is found wherever it stands (RFC 9110, section 5.6.1: empty elements are ignored)."""
    assert Controls(bypass="no-store", write=False) == controls_of(cache_control)


@pytest.mark.parametrize(
    ("cache_control", "seconds"),
    [
        ('max-age="7"', 7),
        ("MAX-AGE = 7", 7),
        ("max-age=7,max-age=9", 7),
        (f"max-age={YEARS}", 2.0**31),
        (f"max-age={'9' * 5000}", 2.0**31),
    ],
)
def test_seconds_are_read_in_every_spelling(cache_control, seconds):
    """Quoted too; the first of two counts; what is too long counts as 2^31 (RFC 9111, sections 1.2.2, 4.2.1, 5.2)."""
    assert Controls(max_age=seconds) == controls_of(cache_control)


def test_what_stands_inside_a_quoted_text_is_no_directive():
    """A comma in quotes separates nothing."""
    assert controls_of('extension="a, no-store, b"') is PLAIN


@pytest.mark.parametrize("name", ["max-age", "min-fresh", "max-stale"])
@pytest.mark.parametrize(
    "value", ["-1", "soon", "1e3", "1_000", "+5", "nan", "inf", "0x10", "²", "1.2.3", '"']
)
def test_seconds_that_are_none_are_refused(name, value):
    """Status 400, naming the header and the directive."""
    fault = fault_of(f"{name}={value}")
    assert (fault.status, fault.code, fault.param) == (400, "invalid_value", "Cache-Control")
    assert name in fault.message


@pytest.mark.parametrize("name", ["max-age", "min-fresh"])
def test_seconds_that_are_missing_are_refused(name):
    """Only `max-stale` may stand alone."""
    assert fault_of(name).param == "Cache-Control"


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        ({"ttl": 60}, Controls(ttl=60)),
        ({"ttl": 0}, Controls(ttl=0)),
        ({"ttl": 1.5}, Controls(ttl=1.5)),
        ({"ttl": None}, PLAIN),
        ({"ttl": 10**400}, Controls(ttl=2.0**31)),
        ({"s-maxage": 5}, Controls(max_age=5)),
        ({"s-max-age": 5}, Controls(max_age=5)),
        ({"no-cache": True}, Controls(bypass="no-cache")),
        ({"no-cache": False}, PLAIN),
        ({"no-cache": None}, PLAIN),
        ({"no-store": True}, Controls(bypass="no-store", write=False)),
        ({"no-store": False}, PLAIN),
        ({"namespace": "blue"}, Controls(namespace="blue")),
        ({"namespace": None}, PLAIN),
        ({"namespace": "n" * 256}, Controls(namespace="n" * 256)),
        ({"use-cache": True}, PLAIN),
        ({"use-cache": False}, PLAIN),
        ({"something": "else"}, PLAIN),
        (
            {"ttl": 60, "s-maxage": 5, "namespace": "blue", "no-cache": True},
            Controls(bypass="no-cache", ttl=60, max_age=5, namespace="blue"),
        ),
    ],
)
def test_the_members_that_litellm_clients_send(member, expected):
    """Each means what the header of the same purpose means."""
    assert expected == controls_of(member=member)


@pytest.mark.parametrize(
    ("member", "param"),
    [
        ({"ttl": "60"}, "cache.ttl"),
        ({"ttl": -1}, "cache.ttl"),
        ({"ttl": True}, "cache.ttl"),
        ({"ttl": [1]}, "cache.ttl"),
        ({"s-maxage": "5"}, "cache.s-maxage"),
        ({"s-max-age": -5}, "cache.s-max-age"),
        ({"no-cache": "false"}, "cache.no-cache"),
        ({"no-cache": 1}, "cache.no-cache"),
        ({"no-store": "yes"}, "cache.no-store"),
        ({"use-cache": "no"}, "cache.use-cache"),
        ({"namespace": 5}, "cache.namespace"),
        ({"namespace": ["blue"]}, "cache.namespace"),
        ({"namespace": "n" * 257}, "cache.namespace"),
    ],
)
def test_members_of_the_wrong_kind_are_refused(member, param):
    """Status 400, with the path of the member."""
    fault = fault_of(member=member)
    assert (400, "invalid_type", param) == (fault.status, fault.code, fault.param)
    assert param in fault.message


def test_header_and_member_add_up():
    """The stricter of two limits counts, and either may forbid."""
    assert Controls(max_age=3) == controls_of("max-age=10", {"s-maxage": 3})
    assert Controls(max_age=3) == controls_of("max-age=3", {"s-maxage": 10})
    assert Controls(bypass="no-store", write=False) == controls_of("no-cache", {"no-store": True})
    assert Controls(bypass="no-cache", ttl=5) == controls_of("no-cache", {"ttl": 5})


@pytest.mark.parametrize(
    ("sent", "tags"),
    [
        ("a", ("a",)),
        ("a, b", ("a", "b")),
        (" a ,, b ,a ", ("a", "b")),
        ("team:search", ("team:search",)),
        (",".join(map(str, range(16))), tuple(map(str, range(16)))),
        ("t" * 128, ("t" * 128,)),
        (" , ", ()),
    ],
)
def test_tags_are_a_list(sent, tags):
    """Separated by commas, each once."""
    assert tags == controls_of(x_antiphon_cache_tag=sent).tags


def test_tags_may_be_utf_8():
    """What is not UTF-8 does not fail."""
    assert controls_of(x_antiphon_cache_tag="grün".encode().decode("latin-1")).tags == ("grün",)
    assert len(controls_of(x_antiphon_cache_tag="\xff").tags) == 1


@pytest.mark.parametrize("sent", [",".join(map(str, range(17))), "t" * 129])
def test_too_many_or_too_long_tags_are_refused(sent):
    """Status 400, naming the header."""
    fault = fault_of(x_antiphon_cache_tag=sent)
    assert (fault.status, fault.param) == (400, "X-Antiphon-Cache-Tag")


# Opt-in mode.


def test_where_the_mode_is_opt_in_a_request_takes_no_part_by_itself():
    """It is neither looked up nor written."""
    assert Controls(bypass="opt-in", write=False) == controls_of(opt_in=True)
    assert Controls(bypass="opt-in", write=False) == controls_of(member={"use-cache": False}, opt_in=True)
    assert Controls(bypass="opt-in", write=False, max_age=5) == controls_of("max-age=5", opt_in=True)
    assert controls_of("no-store", opt_in=True).bypass == "no-store"


@pytest.mark.parametrize("value", ["on", "ON", " on ", "true", "1"])
def test_a_header_opts_in(value):
    """`X-Antiphon-Cache: on`, in any spelling of yes."""
    assert controls_of(opt_in=True, x_antiphon_cache=value) is PLAIN


def test_a_body_opts_in():
    """By `"nomyo": {"cache": true}` or by `"cache": {"use-cache": true}`."""
    assert controls_of(opt_in=True, opted=True) is PLAIN
    assert controls_of(opt_in=True, member={"use-cache": True}) is PLAIN
    assert Controls(ttl=5) == controls_of(opt_in=True, member={"use-cache": True, "ttl": 5})


def test_who_opted_in_has_all_other_controls():
    """The rest of the controls counts as in the other mode."""
    assert Controls(bypass="no-cache") == controls_of("no-cache", opt_in=True, x_antiphon_cache="on")
    assert Controls(tags=("a",)) == controls_of(opt_in=True, opted=True, x_antiphon_cache_tag="a")


@pytest.mark.parametrize("opt_in", [True, False])
@pytest.mark.parametrize("value", ["off", "Off", "false", "0"])
def test_a_header_opts_out(value, opt_in):
    """Whatever the mode, and whatever the body says."""
    expected = Controls(bypass="opt-out", write=False)
    assert expected == controls_of(opt_in=opt_in, opted=True, x_antiphon_cache=value)


@pytest.mark.parametrize("opt_in", [True, False])
def test_who_wants_the_same_words_takes_part_all_the_same(opt_in):
    """In the mode that is opt-in, too."""
    assert Controls(is_exact=True) == controls_of(opt_in=opt_in, x_antiphon_cache="Exact ")


@pytest.mark.parametrize("value", ["", "yes", "maybe", "on, on", "\xff"])
def test_a_switch_that_is_neither_on_nor_off_is_refused(value):
    """Status 400, naming the header."""
    fault = fault_of(x_antiphon_cache=value)
    assert (fault.status, fault.param) == (400, "X-Antiphon-Cache")


def test_windows_for_stale_answers_are_read():
    """RFC 5861, by header and in the body; the lesser counts. Zero is not nothing."""
    controls = controls_of("stale-while-revalidate=30, stale-if-error=0")
    assert (controls.stale_while_revalidate, controls.stale_if_error) == (30.0, 0.0)
    controls = controls_of("stale-if-error=60", {"stale-if-error": 9, "stale-while-revalidate": 1.5})
    assert (controls.stale_while_revalidate, controls.stale_if_error) == (1.5, 9.0)
    for wrong in ("stale-if-error", "stale-while-revalidate=soon"):
        with pytest.raises(ClientFault):
            controls_of(wrong)
