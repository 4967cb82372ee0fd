"""JSON values made by hypothesis, what they mean, and the many ways in which one value can be written."""

import json
from random import Random

from hypothesis import strategies as st

names = st.text(st.characters(codec="utf-8"), max_size=6) | st.sampled_from(
    ["a", "b", "A", 'a"', "a:", "é", ""]
)
numbers = (
    st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0, 0.0, -0.0, 1, 1.0, 100, 1e2, 0.1, 2**53, 2**64, 1e22, 1e300])
)
scalars = (
    st.none()
    | st.booleans()
    | numbers
    | st.text(st.characters(codec="utf-8"), max_size=8)
    | st.sampled_from(["1", "null", "😀", 'a":1', "\\", "\n", "\x7f"])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(names, values, max_size=5)


def meaning(value):
    """Return what is equal for values of equal meaning alone: `1` is `1.0`, and neither is `true`."""
    if isinstance(value, bool) or value is None:
        return ("constant", repr(value))
    if isinstance(value, dict):
        return ("object", frozenset((name, meaning(member)) for name, member in value.items()))
    if isinstance(value, list):
        return ("array", tuple(map(meaning, value)))
    return ("number" if isinstance(value, int | float) else "text", value)


def spelled(value):
    """Write `value` in its many ways: members in any order, any blanks, numbers and texts as they come."""
    return st.integers(0, 2**32).map(lambda seed: _spell(value, Random(seed)))


def _spell(value, random):
    def blank():
        return random.choice(["", "", " ", "\n", "\t\r\n "])

    if isinstance(value, dict):
        members = random.sample(list(value.items()), len(value))
        parts = [
            f"{blank()}{_spell(name, random)}{blank()}:{blank()}{_spell(member, random)}{blank()}"
            for name, member in members
        ]
        return "{" + (",".join(parts) or blank()) + "}"
    if isinstance(value, list):
        parts = [f"{blank()}{_spell(member, random)}{blank()}" for member in value]
        return "[" + (",".join(parts) or blank()) + "]"
    if isinstance(value, str):
        return '"' + "".join(random.choice(_characters(character)) for character in value) + '"'
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    return random.choice(_numbers(value))


def _characters(character):
    plain = json.dumps(character, ensure_ascii=False)[1:-1]
    units = character.encode("utf-16-be")
    escaped = "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
    forms = [plain, plain, escaped, escaped.upper().replace("\\U", "\\u")]
    return [*forms, "\\/"] if character == "/" else forms


def _numbers(value):
    if value == 0:
        return ["0", "-0", "0.0", "-0.0", "0e0", "-0E5"]
    forms = [json.dumps(value)]
    if isinstance(value, int):
        forms += [f"{value}.0", f"{value}.00e0"] if abs(value) < 2**53 else []
        forms += [f"{value // 10}e1", f"{value}0E-1"] if value % 10 == 0 and abs(value) < 2**53 else []
    elif value.is_integer():
        forms += [str(int(value)), f"{int(value)}e+0"]
    else:
        forms += [repr(value).replace("e", "E")]
    return forms
