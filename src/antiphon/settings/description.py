"""Settings, written out for a person, with nothing secret in them."""

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from msgspec import Struct

from antiphon.settings.quantities import Secret
from antiphon.settings.values import Settings

HIDDEN: Final = "***"
"""What stands for a secret."""

_USER_INFO: Final = re.compile(r"(?<=://)[^/?#]*(?=@)", re.ASCII)


class Setting(NamedTuple):
    """One value, as it may be shown."""

    path: str
    value: str
    redacted: bool


def describe(settings: Settings) -> list[Setting]:
    """List every value by its path, secrets as `***`."""
    return list(_described("", settings))


def _described(path: str, value: object) -> Iterator[Setting]:
    match value:
        case Struct():
            for name in value.__struct_fields__:
                yield from _described(f"{path}.{name}" if path else name, getattr(value, name))
        case Mapping() if value:
            for name, member in value.items():
                yield from _described(f"{path}.{name}", member)
        case tuple() if value:
            for i, member in enumerate(value):
                yield from _described(f"{path}[{i}]", member)
        case _:
            yield _leaf(path, value)


def _leaf(path: str, value: object) -> Setting:
    match value:
        case Secret():
            return Setting(path, HIDDEN, redacted=True)
        case None | Mapping() | tuple():
            return Setting(path, "none", redacted=False)
        case bool():
            return Setting(path, str(value).lower(), redacted=False)
        case float():
            return Setting(path, f"{value:.12g} s", redacted=False)
        case _:
            text = _USER_INFO.sub(HIDDEN, str(value))
            return Setting(path, text, redacted=text != str(value))
