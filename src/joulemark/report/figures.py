"""Figures of the page: accuracy against cost, promised against measured, unstructured zeros three ways."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from joulemark.record import Ratio
from joulemark.report import style
from joulemark.report.costs import Loss
from joulemark.report.results import Results
from joulemark.report.rows import BoardView, Row
from joulemark.report.tabulate import Screened
from joulemark.report.words import interval, knobs, points, times, with_prefix
from joulemark.report.zeros import ZerosRow

HOVER = "%{text}<extra></extra>"


def tradeoff(results: Results, view: BoardView) -> go.Figure | None:
    """Accuracy against cost: every attempt small, every winner large, the forbidden band shaded.

    Both axes are placed by the pair with the baseline of the same seed, because absolute seconds drift and validation
    and test images differ in difficulty: y is the accuracy change in points, x the baseline's cost divided by the
    ratio. ``None`` where the baseline's cost is unknown.
    """
    cost = view.baseline_cost
    if cost is None:
        return None
    figure = style.blank(height=430)
    rows = [row for row in (*view.ranked, *view.ineligible) if row.test is not None and row.ratio is not None]
    dots = [dot for one in results.table.screened if (dot := screening_dot(view, one)) is not None]
    for technique in results.techniques:
        small = [dot for dot in dots if dot[0].technique == technique]
        if small:
            figure.add_trace(attempt_trace(results, technique, small))
    for row in rows:
        figure.add_trace(winner_trace(results, view, row, cost))
    frame_tradeoff(figure, view, cost, rows, [(x, y) for _, x, y in dots])
    return figure


def screening_dot(view: BoardView, screened: Screened) -> tuple[Screened, float, float] | None:
    """Place one attempt: the cost by its ratio to the screened baseline of its seed, the accuracy by the same pair."""
    costs = screened.costs.get(view.board.name)
    if costs is None or screened.points is None or view.baseline_cost is None:
        return None
    before, after = costs
    return screened, view.baseline_cost * after / before, screened.points


def attempt_trace(results: Results, technique: str, dots: Sequence[tuple[Screened, float, float]]) -> go.Scatter:
    """Draw the attempts of one technique as small points, hollow where they are simulated."""
    colour = style.colour_of(results.techniques, technique)
    symbol = style.symbol_of(results.techniques, technique)
    return go.Scatter(
        x=[x for _, x, _ in dots],
        y=[y for _, _, y in dots],
        mode="markers",
        meta=technique,
        marker={
            "size": 7,
            "color": colour,
            "opacity": 0.5,
            "symbol": [symbol + ("-open" if a.execution != "real" else "") for a, _, _ in dots],
        },
        text=[
            html.escape(
                f"{technique}, {knobs(technique, a.knobs)}, seed {a.seed}: {points(y)} points on validation images"
            )
            for a, _, y in dots
        ],
        hovertemplate=HOVER,
    )


def winner_trace(results: Results, view: BoardView, row: Row, cost: float) -> go.Scatter:
    """Draw one tested winner as a large point with its intervals; greyed rows keep their colour but stay hollow."""
    if row.test is None or row.ratio is None:
        raise ValueError(f"{row.technique} was not tested: it has no place in the figure")
    colour = style.colour_of(results.techniques, row.technique)
    hollow = "-open" if row.execution != "real" else ""
    x, change = cost / row.ratio.value, -row.test.points
    text = (
        f"{row.technique}: {times(row.ratio.value)}x ({interval(row.ratio)}), "
        f"{with_prefix(x, view.unit)}, {points(change)} points on test rows"
    )
    best, worst = span_of(row.test)
    whisker = {"color": colour, "thickness": 1.5, "width": 4}
    return go.Scatter(
        x=[x],
        y=[change],
        mode="markers",
        meta=row.technique,
        marker={
            "size": 15,
            "color": colour,
            "symbol": style.symbol_of(results.techniques, row.technique) + hollow,
            "line": {"color": colour, "width": 2},
        },
        error_x={"array": [cost / row.ratio.low - x], "arrayminus": [x - cost / row.ratio.high], **whisker},
        error_y={"array": [row.test.points - best], "arrayminus": [worst - row.test.points], **whisker},
        text=[html.escape(text)],
        hovertemplate=HOVER,
    )


def span_of(loss: Loss) -> tuple[float, float]:
    """The two-sided 95 % interval of a tested loss; its one-sided bounds would together be one of 90 %."""
    return loss.interval or (loss.best, loss.bound)


def frame_tradeoff(
    figure: go.Figure, view: BoardView, cost: float, rows: Sequence[Row], dots: Sequence[tuple[float, float]]
) -> None:
    """Set axes, cross-hair and the forbidden band; what fell far below is counted rather than drawn tiny."""
    style.cross_hair(figure, cost, 0.0)
    tested = [row.test for row in rows if row.test is not None]
    bottom = min([-2.5 * view.limit_points, *(-1.25 * span_of(loss)[1] for loss in tested)])
    top = max([0.6 * view.limit_points, *(-1.25 * span_of(loss)[0] for loss in tested), *(1.1 * y for _, y in dots)])
    figure.add_hrect(y0=10 * bottom, y1=-view.limit_points, fillcolor=style.FORBIDDEN, line_width=0, layer="below")
    lower = sum(y < bottom for _, y in dots)
    label = f"beyond the limit of {view.limit_points:g}" + (f" · {lower} more below" if lower else "")
    corner: dict[str, Any] = {"xref": "paper", "showarrow": False, "font": {"size": 12}}
    figure.add_annotation(x=0.01, y=-view.limit_points, text=label, xanchor="left", yanchor="top", **corner)
    corner |= {"xref": "x", "yref": "paper", "x": math.log10(cost), "y": 1}
    figure.add_annotation(text="fp32 baseline ", xanchor="right", yanchor="top", **corner)
    noun = "seconds" if view.unit == "s" else view.board.title.split()[0] + " joules"
    spans = [cost / end for row in rows if row.ratio for end in (row.ratio.low, row.ratio.high)]
    spans += [cost, *(x for x, y in dots if y >= bottom)]
    low, high = min(spans) / 1.15, max(spans) * 1.15
    ticks = style.log_ticks(low, high)
    figure.update_xaxes(type="log", title_text=f"{noun} per input", range=[math.log10(low), math.log10(high)])
    figure.update_xaxes(
        tickvals=ticks, ticktext=[with_prefix(tick, view.unit, short=True) for tick in ticks], tickangle=0
    )
    figure.update_yaxes(title_text=f"{view.metric} change, points", range=[bottom, top])


def promised(results: Results, promises: Sequence[tuple[Row, float]], proxy: str, measured: str) -> go.Figure:
    """Reduction of a proxy against the measured ratio; on the diagonal a technique keeps its promise.

    ``promises`` are tested rows with the factor by which the proxy fell; ``measured`` is "seconds" or "joules".
    """
    figure = style.blank(height=400)
    known = [(row, x, row.ratios[measured]) for row, x in promises if measured in row.ratios]
    spans = [value for _, x, ratio in known for value in (x, ratio.low, ratio.high)]
    low, high = min([0.8, *spans]) / 1.15, max([2.0, *spans]) * 1.15
    line = {"color": style.INK, "width": 1.5, "dash": "dash"}
    figure.add_shape(type="line", x0=low, y0=low, x1=high, y1=high, line=line, layer="below")
    wedge = {"x0": 1, "x1": high, "y0": low, "y1": 1}
    figure.add_shape(type="rect", **wedge, fillcolor=style.FORBIDDEN, line_width=0, layer="below")
    better, worse = ("faster", "slower") if measured == "seconds" else ("fewer measured joules", "more measured joules")
    for row, x, ratio in known:
        figure.add_trace(promise_trace(results, row, x, ratio, f"{proxy} {times(x)}x lower", better))
    corner: dict[str, Any] = {"showarrow": False, "font": {"size": 12}, "xanchor": "right", "x": math.log10(high)}
    figure.add_annotation(y=math.log10(low), yanchor="bottom", text=f"promised cheaper, yet {worse} ", **corner)
    figure.add_annotation(y=math.log10(high), yanchor="top", text="as promised", xshift=-36, **corner)
    values = style.log_ticks(low, high)
    ticks: dict[str, Any] = {"type": "log", "range": [math.log10(low), math.log10(high)], "tickangle": 0}
    ticks |= {"tickvals": values, "ticktext": [f"{value:g}x" for value in values]}
    figure.update_xaxes(title_text=f"promised: {html.escape(proxy)}, times lower", **ticks)
    figure.update_yaxes(title_text=f"measured: times {better}", **ticks)
    return figure


def promise_trace(results: Results, row: Row, x: float, ratio: Ratio, promise: str, better: str) -> go.Scatter:
    """Draw one technique's promise and what was measured, with its interval."""
    colour = style.colour_of(results.techniques, row.technique)
    hollow = "-open" if row.execution != "real" else ""
    spread = {"array": [ratio.high - ratio.value], "arrayminus": [ratio.value - ratio.low]}
    text = f"{row.technique}: {promise}, {times(ratio.value)}x {better} ({row.execution})"
    return go.Scatter(
        x=[x],
        y=[ratio.value],
        mode="markers",
        meta=row.technique,
        marker={
            "size": 13,
            "color": colour,
            "symbol": style.symbol_of(results.techniques, row.technique) + hollow,
            "line": {"color": colour, "width": 2},
        },
        error_y={**spread, "color": colour, "thickness": 1.5, "width": 4},
        text=[html.escape(text)],
        hovertemplate=HOVER,
    )


def three_ways(rows: Sequence[ZerosRow]) -> go.Figure:
    """Draw each net with unstructured zeros as a line of points, one a way, on a log axis of gains.

    Full points ran on real kernels; hollow ones are simulated or modelled.
    """
    figure = style.blank(height=110 + 44 * len(rows), left=200)
    heads = [f"{row.technique}, {100 * row.zeros:.1f} % zero, batch {row.batch_size}" for row in rows]
    names = [f"{head} ({knobs(row.technique, row.knobs)})" if heads.count(head) > 1 else head
             for head, row in zip(heads, rows, strict=True)]  # fmt: skip
    ways: dict[str, list[Ratio | None]] = {
        "dense kernel, measured": [row.dense for row in rows],
        "sparse kernel, measured": [row.sparse for row in rows],
    } | {f"{model}, modelled": [row.models[model] for row in rows] for model in rows[0].models}
    for place, (way, ratios) in enumerate(ways.items()):
        known = [(name, ratio) for name, ratio in zip(names, ratios, strict=True) if ratio is not None]
        colour = style.COMPONENTS[place % len(style.COMPONENTS)]
        figure.add_trace(
            go.Scatter(
                x=[ratio.value for _, ratio in known],
                y=[html.escape(name) for name, _ in known],
                mode="markers",
                name=html.escape(way),
                marker={
                    "size": 11,
                    "color": colour,
                    "symbol": style.SYMBOLS[place % len(style.SYMBOLS)] + ("" if way.startswith("sparse") else "-open"),
                    "line": {"color": colour, "width": 2},
                },
                text=[
                    html.escape(f"{name}: {way}, {times(ratio.value)}x ({interval(ratio)})") for name, ratio in known
                ],
                hovertemplate=HOVER,
            )
        )
    values = [ratio.value for ratios in ways.values() for ratio in ratios if ratio is not None]
    low, high = min([0.9, *values]) / 1.15, max([1.5, *values]) * 1.15
    ticks = style.log_ticks(low, high)
    figure.update_layout(showlegend=True, legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0})
    figure.add_vline(x=1.0, line={"color": style.INK, "width": 1, "dash": "dot"}, layer="below")
    figure.update_xaxes(type="log", title_text="times faster, or times fewer modelled joules", tickangle=0)
    figure.update_xaxes(range=[math.log10(low), math.log10(high)], tickvals=ticks, ticktext=[f"{x:g}x" for x in ticks])
    figure.update_yaxes(autorange="reversed", type="category")
    return figure
