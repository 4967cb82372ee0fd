"""What a text says that must not differ: numbers, names, negations, code, language. Read once for each text."""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from antiphon.cache.semantic.lexicon import (
    COMMON,
    FILLERS,
    FORMS,
    HOW,
    LANGUAGES,
    NEGATIONS,
    NUMBERS,
    QUESTIONS,
    STOPWORDS,
    UNITS,
    UNITS_WITHOUT_NUMBER,
)

_CODE: Final = re.compile(
    # Each piece is bounded and begins where nothing like it stands before: so a text is read in time that grows with
    # its length alone.
    r"```.*?(?:```|\Z)"  # a fenced block
    r"|`[^`\n]+`"
    r"|(?<![\w.+-])[A-Za-z][A-Za-z0-9+.-]{1,20}://\S+"  # an address
    r"|(?<![\w.])www\.\S+"
    r"|(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"  # of mail
    r"|(?<![\w.])(?:[A-Za-z]:\\|~?/|\.{1,2}/)[\w.\\/-]*\w"  # a path
    r"|(?<![\w.])[\w.]{1,80}\(\S{0,200}?\)"  # a call
    r"|(?<![\w.-])[\w.-]{1,80}\.(?:py|js|ts|rs|go|c|h|cpp|java|rb|sh|md|txt|json|ya?ml|toml|csv|xml|html|css|sql|pdf|png|jpe?g)\b"
    r"|\b[a-z]{1,40}(?:[A-Z][a-z0-9]{0,40}){1,20}\b"  # aName
    r"|(?<!\w)\w{0,80}[A-Za-z0-9]_\w{1,80}"  # a_name
    r"|(?<!\w)--?[A-Za-z][\w-]*"  # an option
    r"|(?<![\w.])[$@#][A-Za-z_]\w*"
    r"|[=<>!]=+|->|=>|<-|&&|\|\||<<|>>|\+\+|::|\*\*|[{}\[\]<>=|&^*~\\]"
    r"|(?<=[\w)])\s?\+\s?(?=[\w(])|(?<=\d)\s?/+\s?(?=\d)|(?<=\w)\s/\s(?=\w)|(?<=\d)\s?-\s?(?=\d)",
    re.DOTALL,
)
_QUOTED: Final = re.compile(
    r"\"([^\"\n]+)\"|“([^”\n]+)”|«([^»\n]+)»|\u2018([^\u2019\n]+)\u2019|(?<!\w)'([^'\n]+)'(?!\w)"
)
_WORD: Final = re.compile(
    r"[$€£¥]|%|v?\d[\d.,:/-]*\d|\d"  # numbers, dates, versions
    r"|[^\W\d_][\w+#]*(?:['\u2019-][^\W\d_]\w*)*[+#]*"
)
_SENTENCE_END: Final = re.compile(r"[.!?:;\n]")
_THOUSANDS: Final = re.compile(r"(?<=\d),(?=\d{3}\b)")
_NUMBER_WITH_UNIT: Final = re.compile(r"(v?\d[\d.,:/-]*)(st|nd|rd|th|[A-Za-z]+|)")
_CONTRACTION: Final = re.compile(r"n['\u2019]t\Z")
_POSSESSIVE: Final = re.compile(r"['\u2019]s\Z")
_BLANKS: Final = re.compile(r"\s+")
_REMEMBERED: Final = 1024
"""Texts that are near many others are compared often."""
_ORDINALS: Final = frozenset({"st", "nd", "rd", "th"})


@dataclass(frozen=True, slots=True)
class Facts:
    """What was read of a text."""

    words: tuple[str, ...]
    """All words in their order, small, numbers among them."""
    content: tuple[str, ...]
    """Those that mean something, without their endings."""
    numbers: tuple[str, ...]
    """Numbers with their units, dates, versions."""
    units: tuple[str, ...]
    names: tuple[str, ...]
    """What is written like a name, small."""
    quoted: tuple[str, ...]
    code: tuple[str, ...]
    negations: int
    question: str
    """Who, when, where, why, how many; "" if it asks for something else."""
    forms: frozenset[str]
    script: str
    language: str
    """As far as its commonest words tell."""

    @property
    def vocabulary(self) -> frozenset[str]:
        """All words, each once."""
        return frozenset(self.words)

    @property
    def bare_words(self) -> tuple[str, ...]:
        """All words, as names are: `france's` is `france`."""
        return tuple(_POSSESSIVE.sub("", word) for word in self.words)


@lru_cache(_REMEMBERED)
def read_facts(text: str) -> Facts:
    """Read a text."""
    text = unicodedata.normalize("NFKC", text)
    code: list[str] = []

    def take(found: re.Match[str]) -> str:
        code.append(_BLANKS.sub(" ", found.group().strip("`").strip()))
        return " "

    # What is code is no word.
    plain = _CODE.sub(take, text)
    quoted = tuple(
        next(group for group in found.groups() if group).casefold().strip()
        for found in _QUOTED.finditer(plain)
    )
    tokens = [(found.group(), found.start()) for found in _WORD.finditer(plain)]
    words = tuple(_small(token) for token, _ in tokens)
    numbers, units = _numbers(words)
    return Facts(
        words=words,
        content=tuple(
            stem(word)
            for word in words
            if word not in FILLERS and word not in NEGATIONS and word not in UNITS and not word[0].isdigit()
        ),
        numbers=numbers,
        units=units,
        names=_names(plain, tokens),
        quoted=quoted,
        code=tuple(code),
        negations=sum(word in NEGATIONS or bool(_CONTRACTION.search(word)) for word in words),
        question=_question(words),
        forms=frozenset(stem(word) for word in words if word in FORMS),
        script=_script(plain),
        language=_language(words),
    )


def stem(word: str) -> str:
    """Return a word without its commonest endings: crude, and the same for both texts."""
    word = _POSSESSIVE.sub("", word)
    for ending, instead in (
        ("ies", "y"),
        ("sses", "ss"),
        ("ly", ""),
        ("ing", ""),
        ("ed", ""),
        ("es", "e"),
        ("s", ""),
    ):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            word = word[: -len(ending)] + instead
            break
    if len(word) > 4 and word[-1] == word[-2] and word[-1] not in "lsz":
        word = word[:-1]  # running, run
    return word[:-1] if len(word) > 4 and word.endswith("e") else word


def _small(token: str) -> str:
    return token.casefold().replace("\u2019", "'")


def _numbers(words: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    numbers: list[str] = []
    units: list[str] = []
    before = ""
    for place, word in enumerate(words):
        after = words[place + 1] if place + 1 < len(words) else ""
        if word[0].isdigit() or (word[0] == "v" and word[1:2].isdigit()):
            found = _NUMBER_WITH_UNIT.match(word)
            assert found is not None
            number = _THOUSANDS.sub("", found[1]).removeprefix("v").rstrip(".,:/-")
            unit = found[2] if found[2] not in _ORDINALS else ""
            unit = unit or (after if after in UNITS else "") or (before if before in "$€£¥" else "")
            numbers.append(f"{number} {UNITS.get(unit, unit)}".strip())
        elif word in NUMBERS and not (word == "one" and (before in COMMON or not before)):
            unit = after if after in UNITS else ""
            numbers.append(f"{NUMBERS[word]} {UNITS.get(unit, unit)}".strip())
        elif word in UNITS_WITHOUT_NUMBER:
            units.append(UNITS[word])
        before = word
    return tuple(numbers), tuple(units)


def _names(plain: str, tokens: list[tuple[str, int]]) -> tuple[str, ...]:
    names = []
    end = 0
    is_first = True
    shouted = sum(token.isupper() and len(token) > 1 for token, _ in tokens) > len(tokens) / 2
    for token, start in tokens:
        is_first = is_first or bool(_SENTENCE_END.search(plain, end, start))
        end = start + len(token)
        word = _POSSESSIVE.sub("", _small(token))
        is_name = word in LANGUAGES
        if not is_name and token[0].isupper() and not shouted:
            # At the beginning of a sentence every word is written so.
            is_name = word not in COMMON and (not is_first or not _is_plain(word))
        if is_name and token[0].isalpha() and word != "i" and word not in NUMBERS:
            names.append(word)
        is_first = False
    return tuple(names)


def _is_plain(word: str) -> bool:
    return word in COMMON or word in FORMS or word in NEGATIONS or word.endswith(("ing", "ly"))


def _question(words: tuple[str, ...]) -> str:
    for place, word in enumerate(words):
        if word == "how" and place + 1 < len(words) and words[place + 1] in HOW:
            return f"how {words[place + 1]}"
        if word in QUESTIONS:
            return QUESTIONS[word]
    return ""


def _script(plain: str) -> str:
    counts: dict[str, int] = {}
    for character in plain[:200]:
        if character.isalpha():
            name = unicodedata.name(character, "?").split(" ")[0]
            counts[name] = counts.get(name, 0) + 1
    return max(counts, key=lambda name: counts[name], default="")


def _language(words: tuple[str, ...]) -> str:
    counts = {language: sum(word in common for word in words) for language, common in STOPWORDS.items()}
    best, second = sorted(counts, key=lambda language: counts[language], reverse=True)[:2]
    return best if counts[best] > counts[second] else ""
