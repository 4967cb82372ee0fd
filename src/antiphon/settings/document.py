"""The configuration file: YAML to `Settings`, with a line and a column for everything that is wrong.

The tree of YAML nodes is walked beside the types of `values.py`, so a field that is added there needs nothing here.
Values are shown in errors only where they were written into the file and are not of type `Secret`.
"""

import difflib
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Final, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import msgspec
import yaml
from msgspec import Struct
from yaml.constructor import ConstructorError, SafeConstructor
from yaml.resolver import Resolver

from antiphon.settings.environment import expand, variables_in
from antiphon.settings.faults import ConfigurationError
from antiphon.settings.quantities import Duration, Secret, Size, Timeout
from antiphon.settings.values import Settings

Path = tuple[str | int, ...]
T = TypeVar("T")

_TAG: Final = "tag:yaml.org,2002:"
_PLAIN_TAGS: Final = {_TAG + kind for kind in ("str", "int", "float", "bool", "null")}
_NOTHING: Final = _TAG + "null"
_ECHOING: Final = ("alias", "anchor", "tag")
_RESOLVER: Final = Resolver()

_EXPECTED: Final[dict[object, str]] = {
    str: "a string",
    bool: "true or false",
    float: "a number",
    Secret: "a string",
    Size: "a size such as 65536, 64KiB or 256MB",
    Duration: "a duration such as 10, 250ms, 10s or 30d",
    Timeout: "a duration of more than zero, such as 10, 250ms, 10s or 30d",
}
_PARSERS: Final[dict[object, Callable[[object], object]]] = {
    Size: Size.parse,
    Duration: Duration.parse,
    Timeout: Timeout.parse,
}


class Document:
    """A parsed file that knows where each of its values stands."""

    def __init__(self, text: str, name: str, environ: Mapping[str, str]) -> None:
        """Parse `text`; `name` is how errors call the file."""
        self._name = name
        self._environ = environ
        self._marks: dict[Path, yaml.Mark] = {}
        self._variables: dict[Path, tuple[str, ...]] = {}
        self._root = self._compose(text)

    def settings(self) -> Settings:
        """Make settings; ConfigurationError for the first thing that is wrong with them."""
        if self._root is None:
            return Settings()
        try:
            return cast("Settings", self._value(self._root, Settings, ()))
        except RecursionError:
            raise ConfigurationError(f"{self._name}: nested too deeply") from None

    def has(self, *path: str | int) -> bool:
        """Whether the file says anything there."""
        return path in self._marks

    def origins(self) -> dict[str, str]:
        """Where each value of the settings stands, and which variables went into it: `antiphon.yaml:3 (KEY)`."""
        return {shown(path): self._origin(path, mark) for path, mark in self._marks.items()}

    def _origin(self, path: Path, mark: yaml.Mark) -> str:
        variables = ", ".join(self._variables.get(path, ()))
        return f"{self._name}:{mark.line + 1}" + (f" ({variables})" if variables else "")

    def fault(self, path: Path, message: str) -> ConfigurationError:
        """Make the error for a value, or for the nearest thing around it that stands in the file."""
        while path and path not in self._marks:
            path = path[:-1]
        mark = self._marks.get(path)
        return ConfigurationError(f"{self._name}: {message}") if mark is None else self._at(mark, message)

    def _at(self, mark: yaml.Mark, message: str) -> ConfigurationError:
        return ConfigurationError(f"{self._name}:{mark.line + 1}:{mark.column + 1}: {message}")

    def _compose(self, text: str) -> yaml.Node | None:
        try:
            return yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            # What stands after an anchor, alias or tag may be a piece of a key that was not put in quotes.
            problem = error.problem or "not YAML"
            if any(word in problem for word in _ECHOING):
                problem = (
                    problem.partition("'")[0].partition('"')[0].rstrip() + " (text with * & ! goes in quotes)"
                )
            mark = error.problem_mark or error.context_mark
            if mark is None:
                raise ConfigurationError(f"{self._name}: {problem}") from None
            if any("${" in line for line in text.split("\n")[mark.line : mark.line + 1]):
                problem += "; inside {…} and […] a ${…} goes in quotes"
            raise self._at(mark, problem) from None
        except yaml.reader.ReaderError as error:
            before = text[: error.position]
            line, column = before.count("\n") + 1, error.position - before.rfind("\n")
            raise ConfigurationError(
                f"{self._name}:{line}:{column}: a character that YAML does not allow"
            ) from None
        except RecursionError:
            raise ConfigurationError(f"{self._name}: nested too deeply") from None

    def _value(self, node: yaml.Node, wanted: Any, path: Path) -> object:
        self._marks[path] = node.start_mark
        choice = _choice_or_list(wanted)
        if choice is not None:
            return self._choice(node, *choice, path)
        wanted, optional = _without_none(wanted)
        if isinstance(wanted, type) and issubclass(wanted, Struct):
            return self._struct(node, wanted, path, optional=optional)
        if get_origin(wanted) is dict:
            return self._dictionary(node, get_args(wanted)[1], path)
        if get_origin(wanted) is tuple:
            return self._list(node, get_args(wanted)[0], path, optional=optional)
        return self._leaf(node, wanted, path, optional=optional)

    def _struct(self, node: yaml.Node, wanted: type[Struct], path: Path, *, optional: bool) -> object:
        if _is_nothing(node):
            # `cache:` with nothing after it is the section with its defaults; `cache: null` is none.
            if optional and node.value:
                return None
            node = yaml.MappingNode(_TAG + "map", [], node.start_mark, node.end_mark)
        hints = get_type_hints(wanted, include_extras=True)
        values: dict[str, object] = {}
        for key, value in self._members(node, path):
            if key.value not in hints:
                raise self._at(key.start_mark, _unknown(key.value, hints, path))
            values[key.value] = self._value(value, hints[key.value], (*path, key.value))
        for known in msgspec.structs.fields(wanted):
            if known.required and known.name not in values:
                raise self._at(node.start_mark, f"{shown(path)} needs `{known.name}`")
        return wanted(**values)

    def _dictionary(self, node: yaml.Node, wanted: Any, path: Path) -> dict[str, object]:
        if _is_nothing(node):
            return {}
        return {
            key.value: self._value(value, wanted, (*path, key.value))
            for key, value in self._members(node, path)
        }

    def _list(self, node: yaml.Node, wanted: Any, path: Path, *, optional: bool) -> tuple[object, ...] | None:
        if _is_nothing(node):
            return None if optional else ()
        if not isinstance(node, yaml.SequenceNode):
            raise self._at(node.start_mark, f"{shown(path)}: expected a list, got {_kind(node)}")
        return tuple(self._value(member, wanted, (*path, i)) for i, member in enumerate(node.value))

    def _choice(self, node: yaml.Node, words: Any, names: Any, path: Path) -> object:
        if isinstance(node, yaml.SequenceNode):
            return self._list(node, get_args(names)[0], path, optional=False)
        if words is str:
            return self._leaf(node, words, path, optional=False)
        if not isinstance(node, yaml.ScalarNode) or self._scalar(node, path)[0] not in {
            *get_args(words),
            False,
        }:
            written = _written(node) if isinstance(node, yaml.ScalarNode) else _kind(node)
            message = f"{shown(path)}: expected {', '.join(get_args(words))} or a list, got {written}"
            raise self._at(node.start_mark, message)
        return self._leaf(node, words, path, optional=False)

    def _members(self, node: yaml.Node, path: Path) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
        if not isinstance(node, yaml.MappingNode):
            raise self._at(node.start_mark, f"{shown(path)}: expected a mapping, got {_kind(node)}")
        seen: dict[str, yaml.Mark] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or not key.value:
                raise self._at(key.start_mark, f"{shown(path)}: a key must be plain text")
            if key.value in seen:
                first = seen[key.value].line + 1
                raise self._at(
                    key.start_mark, f"'{key.value}' stands twice in {shown(path)}, first in line {first}"
                )
            seen[key.value] = key.start_mark
        return cast("list[tuple[yaml.ScalarNode, yaml.Node]]", node.value)

    def _leaf(self, node: yaml.Node, wanted: Any, path: Path, *, optional: bool) -> object:
        expected = _expectation(wanted)
        if not isinstance(node, yaml.ScalarNode):
            raise self._at(node.start_mark, f"{shown(path)}: expected {expected}, got {_kind(node)}")
        value, from_outside = self._scalar(node, path)
        if from_outside:
            self._variables[path] = variables_in(node.value, self._environ)
        if optional and value in (None, ""):
            return None
        if wanted in (str, Secret) and from_outside:
            return wanted(expand(node.value, self._environ)[0])
        try:
            return _leaf_of(wanted, value)
        except (ValueError, msgspec.ValidationError):
            hide = wanted is Secret or from_outside
            got = "something else" if hide else _written(node)
            quotes = "; put it in quotes" if wanted in (str, Secret) and value is not None else ""
            message = f"{shown(path)}: expected {expected}, got {got}{quotes}"
            raise self._at(node.start_mark, message) from None

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> tuple[object, bool]:
        try:
            text, from_outside = expand(node.value, self._environ)
        except ValueError as error:
            raise self._at(node.start_mark, f"{shown(path)}: {error}") from None
        # A variable in quotes is still a number where a number is wanted: braces force the quotes in `{…}`.
        tag = _plain_tag(text) if from_outside else node.tag
        if tag not in _PLAIN_TAGS:
            if tag != _TAG + "timestamp":
                raise self._at(node.start_mark, f"{shown(path)}: YAML tags are not understood")
            return node, False
        try:
            return SafeConstructor().construct_object(yaml.ScalarNode(tag, text)), from_outside
        except (ValueError, ConstructorError):
            return text, from_outside


def shown(path: Path) -> str:
    """Write a path as people do: `keys[0].name`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text or "the file"


def _plain_tag(text: str) -> str:
    tag = _RESOLVER.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    return tag if tag in _PLAIN_TAGS else _TAG + "str"


def _is_nothing(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == _NOTHING


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    # Not the text itself: `openai: sk-…` is an easy mistake.
    return "nothing" if _is_nothing(node) else "plain text"


def _written(node: yaml.ScalarNode) -> str:
    if _is_nothing(node):
        return "nothing"
    if len(node.value) > 60 or not node.value.isprintable():
        return "something else"
    return f"'{node.value}'" if node.tag == _TAG + "str" else str(node.value)


def _choice_or_list(wanted: Any) -> tuple[Any, Any] | None:
    """Return the words, or `str` for any text, and the list of a value that is either."""
    if get_origin(wanted) not in (Union, types.UnionType):
        return None
    words = [member for member in get_args(wanted) if get_origin(member) is Literal or member is str]
    lists = [member for member in get_args(wanted) if get_origin(member) is tuple]
    return (words[0], lists[0]) if words and lists else None


def _without_none(wanted: Any) -> tuple[Any, bool]:
    if get_origin(wanted) in (Union, types.UnionType):
        members = [member for member in get_args(wanted) if member is not type(None)]
        if len(members) == len(get_args(wanted)):
            return wanted, False  # a word or a number
        return members[0], True
    return wanted, False


def _unknown(key: str, known: Iterable[str], path: Path) -> str:
    nearest = difflib.get_close_matches(key[:100], known, n=1)
    section = f" in {shown(path)}" if path else ""
    if nearest:
        return f"unknown key '{key}'{section}; did you mean '{nearest[0]}'?"
    return f"unknown key '{key}'{section}; known are {', '.join(sorted(known))}"


def _expectation(wanted: Any) -> str:
    if get_origin(wanted) is Literal:
        *others, last = get_args(wanted)
        return f"{', '.join(others)} or {last}" if others else str(last)
    if get_origin(wanted) in (Union, types.UnionType):
        return " or ".join(map(_expectation, get_args(wanted)))
    if get_origin(wanted) is Annotated:
        kind, meta = get_args(wanted)
        if kind is float:
            return "a number from 0 to 1" if meta.lt is None else "a number between 0 and 1"
        least = meta.ge if meta.ge is not None else meta.gt + 1
        return (
            f"an integer of at least {least}" if meta.le is None else f"an integer from {least} to {meta.le}"
        )
    return _EXPECTED[wanted]


def _leaf_of(wanted: Any, value: object) -> object:
    if isinstance(value, bool) and get_origin(wanted) is Literal:
        value = "on" if value else "off"  # what YAML makes of them
    if wanted in _PARSERS:
        return _PARSERS[wanted](value)
    if wanted is Secret:
        return Secret(msgspec.convert(value, str))
    return msgspec.convert(value, wanted)
