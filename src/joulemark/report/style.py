"""How figures look: one colour and symbol a technique, transparent grounds, colours that read on light and dark.

Ink (text, axes, grid) is overruled by the page's style sheet, which knows whether the reader's screen is dark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
INK = "#6b7280"
GRID = "rgba(127, 127, 127, 0.18)"
FORBIDDEN = "rgba(213, 94, 0, 0.10)"
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8A7CC9")
"""Okabe and Ito's colours, without black and yellow, which vanish on a dark or a light ground, and one violet."""
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "star", "cross", "x")
GLYPHS = ("●", "■", "◆", "▲", "▼", "★", "✚", "✖")
COMPONENTS = ("#0072B2", "#56B4E9", "#009E73", "#E69F00", "#CC79A7", "#D55E00", "#8A7CC9")


def colour_of(techniques: Sequence[str], technique: str) -> str:
    """Colour of a technique, the same in every figure of a page."""
    return COLOURS[list(techniques).index(technique) % len(COLOURS)]


def symbol_of(techniques: Sequence[str], technique: str) -> str:
    """Marker of a technique: beyond seven techniques the shape tells equal colours apart (7 and 8 share no factor)."""
    return SYMBOLS[list(techniques).index(technique) % len(SYMBOLS)]


def glyph_of(techniques: Sequence[str], technique: str) -> str:
    """Character that looks like the technique's marker, for legends in HTML."""
    return GLYPHS[list(techniques).index(technique) % len(GLYPHS)]


def log_ticks(low: float, high: float) -> list[float]:
    """Choose at most six round values for a log axis that may span a factor of two or ten thousand.

    >>> log_ticks(0.9, 4.5)
    [1.0, 1.5, 2.0, 2.5, 3.0, 4.0]
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 1.5, 2, 2.5, 3, 4, 5, 6, 8), (1, 1.5, 2, 3, 4, 6, 8), (1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        ticks = [float(f"{step}e{power}") for power in powers for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= 6:
            break
    return ticks[:: math.ceil(len(ticks) / 6)] if ticks else []


def blank(*, height: int, left: int = 64) -> go.Figure:
    """Make an empty figure in the house style; its width follows the page."""
    figure = go.Figure()
    figure.update_layout(
        template=go.layout.Template(),
        height=height,
        margin={"l": left, "r": 20, "t": 16, "b": 56},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": FONT, "size": 13, "color": INK},
        showlegend=False,  # the page draws one legend in HTML, which wraps on a narrow screen
        hovermode="closest",
        hoverlabel={"font": {"family": FONT, "size": 13}, "align": "left"},
        dragmode=False,
    )
    axis: dict[str, Any] = {"gridcolor": GRID, "zeroline": False, "automargin": True, "ticks": ""}
    figure.update_xaxes(**axis, title={"standoff": 10})
    figure.update_yaxes(**axis, title={"standoff": 8})
    return figure


def cross_hair(figure: go.Figure, x: float, y: float) -> None:
    """Draw the baseline as two dotted lines."""
    line = {"color": INK, "width": 1, "dash": "dot"}
    figure.add_vline(x=x, line=line, layer="below")
    figure.add_hline(y=y, line=line, layer="below")
