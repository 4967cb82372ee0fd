"""How the demo looks: live in a terminal, plain text where it is piped."""

import contextlib
import re
import sys
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

_INDENT = "   "
_WIDEST = 80
_BAR_WIDTH = 28
_PIECE = re.compile(r"\s+|\S+")


class Screen:
    """Writes headings, running text, facts and checks to standard output."""

    def __init__(self) -> None:
        """Take the terminal's width, but no more than is pleasant to read."""
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="replace")
        self._console = Console(highlight=False, markup=False, emoji=False)
        self._console.width = min(self._console.width, _WIDEST)
        is_utf8 = self._console.encoding.lower().startswith("utf")
        self._mark = "✓" if is_utf8 else "ok:"
        self._writing = _Writing(self._console)

    @property
    def is_live(self) -> bool:
        """Whether what is shown can still change."""
        return self._console.is_terminal and not self._console.is_dumb_terminal

    def title(self, name: str, *lines: str) -> None:
        """Say what this is."""
        self._console.print()
        self._indented(Text(name, "bold"), "")
        for line in lines:
            self._indented(Text(line))

    def act(self, number: int, heading: str, *code: str) -> None:
        """Begin a part; `code` is what is done in it, line by line."""
        self._console.print()
        self._indented(Text(heading, "bold"), f"{number}".ljust(len(_INDENT)))
        for line in code:
            self._indented(Text(line, "dim"))

    def say(self, text: str) -> None:
        """Explain something."""
        self._indented(Text(text))

    def fact(self, name: str, value: str) -> None:
        """State what was seen."""
        self._indented(Text.assemble((f"{name}: ", "dim"), value))

    def check(self, text: str) -> None:
        """State what was seen to be right."""
        self._indented(Text.assemble((f"{self._mark} ", "bold green"), text))

    def failure(self, text: str) -> None:
        """State what was not right."""
        self._console.print()
        self._indented(Text.assemble(("The demo failed: ", "bold red"), text), "")

    def write(self, text: str, *, aside: bool = False) -> None:
        """Write more of a text as it comes, wrapped at words; `aside` is less important."""
        self._writing.add(text, "dim" if aside else "")

    def end_of_text(self) -> None:
        """End the text."""
        self._writing.end()

    @contextlib.contextmanager
    def bars(self, bars: Sequence["Bar"]) -> Iterator[None]:
        """Show how far each of several answers has come, while they come."""
        if not self.is_live or self._console.height < len(bars) + 4:
            yield
            return
        with Live(
            get_renderable=lambda: Padding(_drawn(bars), (0, 0, 0, len(_INDENT))),
            console=self._console,
            refresh_per_second=25,
        ):
            yield

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Show a table; the first column is text, the others numbers. Where it is too wide, show lines."""
        widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
        if len(_INDENT) + sum(widths) + 2 * len(widths) > self._console.width:
            for row in rows:
                self.fact(row[0], ", ".join(map(" ".join, zip(columns[1:], row[1:], strict=True))))
            return
        for index, row in enumerate((columns, *rows)):
            numbers = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
            line = "  ".join((row[0].ljust(widths[0]), *numbers))
            self._indented(Text(line, "dim" if index == 0 else ""))

    def gap(self) -> None:
        """Leave a line empty."""
        self._console.print()

    def _indented(self, text: Text, first: str = _INDENT) -> None:
        indent = first
        for line in text.wrap(self._console, self._console.width - len(_INDENT), overflow="fold"):
            line.rstrip()
            self._console.print(Text.assemble((indent, text.style), line), soft_wrap=True)
            indent = _INDENT


class Bar:
    """How far an answer has come, and what its `Cache-Status` says once it is there."""

    def __init__(self, name: str, whole: int) -> None:
        """Nothing has come of `whole` events."""
        self.name = name
        self.whole = whole
        self.done = 0
        self.verdict = ""


def _drawn(bars: Sequence[Bar]) -> Table:
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(justify="right", style="dim")
    grid.add_column(width=_BAR_WIDTH)
    grid.add_column()
    for bar in bars:
        drawn = ProgressBar(
            bar.whole, bar.done, complete_style="cyan", finished_style="green", style="bright_black"
        )
        grid.add_row(bar.name, drawn, bar.verdict)
    return grid


class _Writing:
    """Text that comes in pieces, wrapped without ever touching what was written before."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._column = 0
        self._space = ""

    def add(self, text: str, style: str) -> None:
        for piece in _PIECE.findall(text):
            if "\n" in piece:
                self.end()
            elif piece.isspace():
                self._space = " "
            else:
                self._word(piece, style)

    def end(self) -> None:
        if self._column:
            self._console.print()
        self._column, self._space = 0, ""

    def _word(self, word: str, style: str) -> None:
        before = self._space
        if self._column + len(before) + len(word) > self._console.width - 1:
            self.end()
            before = ""
        before = before if self._column else _INDENT
        self._column += len(before) + len(word)
        self._space = ""
        self._console.print(Text.assemble(before, (word, style)), end="", soft_wrap=True)
