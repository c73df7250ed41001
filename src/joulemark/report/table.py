"""A table that stays readable: where its words and numbers do not fit, each row becomes a block of lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

LONGEST_WORD = 28
"""Characters: longer ones (paths, hashes) may be broken, or one of them would cost every reader the table."""


class RowsOrBlocks(Table):
    """A rich table that breaks no word and shortens no number.

    Every column gets its longest word (all of its text if it is ``no_wrap``), short columns then the rest of what they
    want, long ones share what is left. Where the terminal is too narrow for that, a row is written as a block: a line
    for each cell that is not empty, headed by the name of its column.
    """

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Any:
        """Draw it at the width that there is."""
        if not self.columns:
            return
        least, most = zip(*(_widths(console, options, column) for column in self.columns), strict=True)
        spare = options.max_width - 3 * len(self.columns) - 1 - sum(least)  # 3: a rule and a blank on each side
        if spare < 0:
            yield from self._blocks()
            return
        wants = [wish - need for need, wish in zip(least, most, strict=True)]
        for left, index in zip(range(len(wants), 0, -1), sorted(range(len(wants)), key=wants.__getitem__), strict=True):
            given = min(wants[index], spare // left)
            self.columns[index].width = least[index] + given
            self.columns[index].overflow = "fold"  # rich would cut a word that is too long
            spare -= given
        yield from super().__rich_console__(console, options)

    def _blocks(self) -> Iterator[RenderableType]:
        if self.title:
            yield _words(self.title, "italic")
        heads = [" ".join(str(column.header).split()) for column in self.columns]
        cells = zip(*(column.cells for column in self.columns), strict=True)
        for row, values in zip(self.rows, cells, strict=True):
            block = Table.grid(padding=(0, 2, 0, 0))
            block.add_column(no_wrap=True, style="dim")
            block.add_column(overflow="fold")
            for head, value in zip(heads, values, strict=True):
                if str(value):
                    block.add_row(head, _one_line(value), style=row.style)
            yield block
            yield ""
        if self.caption:
            yield _words(self.caption, "dim italic")


def _widths(console: Console, options: ConsoleOptions, column: Column) -> tuple[int, int]:
    """The least and the most characters that a column can use."""
    wide = options.update(max_width=10_000)
    sizes = [Measurement.get(console, wide, cell) for cell in (column.header, *column.cells)]
    most = max(size.maximum for size in sizes)
    return (most if column.no_wrap else min(max(size.minimum for size in sizes), LONGEST_WORD)), most


def _one_line(cell: RenderableType) -> Text:
    """The lines of a cell behind each other."""
    text = cell if isinstance(cell, Text) else Text.from_markup(str(cell))
    return Text(", ").join(text.split("\n"))


def _words(said: RenderableType, style: str) -> Text:
    return said if isinstance(said, Text) else Text.from_markup(str(said), style=style)
