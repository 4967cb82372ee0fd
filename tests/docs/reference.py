"""Writes the table of all settings into docs/configuration.md: `python tests/docs/reference.py`."""

import ast
import inspect
import itertools
import types
from pathlib import Path
from typing import Annotated, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import NODEFAULT, Struct

from antiphon.settings import Duration, Secret, Settings, Size, Timeout, values

PAGE = Path(__file__).resolve().parents[2] / "docs/configuration.md"
BEGIN = "<!-- written by tests/docs/reference.py -->\n"
END = "<!-- end -->\n"

TAKES = {
    str: "text",
    bool: "`true`, `false`",
    Secret: "text, never shown",
    Size: "a size",
    Duration: "a duration",
    Timeout: "a duration, not 0",
}
PLACES = {"providers": "NAME", "models": "NAME", "keys": "[]"}
SIZES = ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"))
DURATIONS = ((86400, "d"), (3600, "h"), (60, "m"))


def page_with_reference(page):
    """The page with its table written anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + "\n" + "\n".join(sections()) + "\n" + END + after


def sections():
    for name in Settings.__struct_fields__:
        wanted = get_type_hints(values.Settings, include_extras=True)[name]
        struct, repeated = struct_in(wanted)
        heading = f"{name}.{PLACES[name]}" if repeated == "dict" else f"{name}[]" if repeated else name
        meaning = " ".join(filter(None, (inspect.getdoc(struct), meanings(values.Settings).get(name))))
        yield f"### `{heading}`\n\n{meaning}\n"
        yield "| Key | Takes | Default | Meaning |\n|---|---|---|---|"
        yield from rows(struct)
        yield ""


def rows(struct, prefix=""):
    hints = get_type_hints(struct, include_extras=True)
    said = meanings(struct)
    for field in msgspec.structs.fields(struct):
        wanted = hints[field.name]
        inner, repeated = struct_in(wanted)
        if inner is not None and not repeated:
            yield from rows(inner, f"{prefix}{field.name}.")
            continue
        yield f"| `{prefix}{field.name}` | {takes(wanted)} | {default(field)} | {said[field.name]} |"


def meanings(struct):
    """What is said below each field."""
    body = ast.parse(inspect.getsource(struct)).body[0].body
    return {
        field.target.id: " ".join(text.value.value.split())
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }


def struct_in(wanted):
    wanted = without_none(wanted)
    if get_origin(wanted) is dict:
        return struct_of(get_args(wanted)[1]), "dict"
    if get_origin(wanted) is tuple:
        return struct_of(get_args(wanted)[0]), "tuple"
    return struct_of(wanted), ""


def struct_of(wanted):
    return wanted if isinstance(wanted, type) and issubclass(wanted, Struct) else None


def without_none(wanted):
    if get_origin(wanted) in (Union, types.UnionType):
        return next(each for each in get_args(wanted) if each is not type(None))
    return wanted


def takes(wanted):
    if get_origin(wanted) in (Union, types.UnionType) and type(None) not in get_args(wanted):
        return " or ".join(map(takes, get_args(wanted)))
    wanted = without_none(wanted)
    origin = get_origin(wanted)
    if origin is Literal:
        return ", ".join(f"`{each}`" for each in get_args(wanted))
    if origin is Annotated:
        return "a number"
    if origin is tuple:
        return "a list"
    if origin is dict:
        return "names and values"
    return TAKES[wanted]


def default(field):
    value = field.default if field.default is not NODEFAULT else None
    if field.default is NODEFAULT and field.default_factory is NODEFAULT:
        return "needed"
    match value:
        case None | ():
            return "none"
        case bool():
            return f"`{str(value).lower()}`"
        case Size():
            unit, name = next(each for each in SIZES if value % each[0] == 0)
            return f"`{value // unit}{name}`"
        case Duration():
            unit, name = next(
                (each for each in DURATIONS if value >= each[0] and value % each[0] == 0), (1, "s")
            )
            return f"`{value / unit:g}{name}`"
        case _:
            return f"`{value}`"


if __name__ == "__main__":
    PAGE.write_text(page_with_reference(PAGE.read_text()))
