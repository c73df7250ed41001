"""How results are shown in a session: as the text that the command prints, and in a notebook as its page in a frame."""

from __future__ import annotations

import html
import io
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console

FRAME_PIXELS = 640
"""Height of the frame that holds a page in a notebook."""
PIPE_COLUMNS = 120
"""Width of text that no terminal shows, as of the command."""


def as_text(renderables: Iterable[Any]) -> str:
    r"""Tables and texts as plain lines, as wide as the terminal.

    >>> as_text(["one", "two"])
    'one\ntwo'
    """
    width = None if sys.stdout.isatty() else PIPE_COLUMNS
    console = Console(file=io.StringIO(), width=width, color_system=None, force_jupyter=False, markup=False)
    with console.capture() as capture:
        for part in renderables:
            console.print(part)
    return "\n".join(line.rstrip() for line in capture.get().rstrip().splitlines())


def framed(page: str) -> str:
    """A whole page in a frame of its own: its style stays in there, and no script of it runs."""
    return (
        f'<iframe sandbox srcdoc="{html.escape(page)}" width="100%" height="{FRAME_PIXELS}" style="border: 0"></iframe>'
    )
