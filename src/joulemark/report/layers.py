"""The layer-by-layer figure: modelled joules of the baseline beside those of one winner, stacked by component."""

from __future__ import annotations

import html
from collections.abc import Sequence

import plotly.graph_objects as go

from joulemark.report import style
from joulemark.report.by_layer import Stacks
from joulemark.report.results import Results
from joulemark.report.rows import Row
from joulemark.report.words import with_prefix

MOST_LAYERS = 24
OTHERS = "all other layers"


def fold_small(stacks: Stacks, keep: Sequence[str]) -> Stacks:
    """Fold every layer that is not kept into one, so that nothing is lost from the sum."""
    folded: Stacks = {layer: dict(stacks.get(layer, {})) for layer in keep}
    for layer, parts in stacks.items():
        if layer not in folded:
            others = folded.setdefault(OTHERS, {})
            for component, joules in parts.items():
                others[component] = others.get(component, 0.0) + joules
    return folded


def per_layer(results: Results, row: Row, model: str) -> go.Figure | None:
    """Draw two bars a layer, the pale upper one the baseline and the full lower one the winner.

    ``None`` where the model says nothing of either.
    """
    before, after = results.table.of_trials[row.trials].layers[model]
    if not before or not after:
        return None
    names = list(dict.fromkeys([*before, *after]))
    weight = {n: max(sum(before.get(n, {}).values()), sum(after.get(n, {}).values())) for n in names}
    largest = set(sorted(names, key=lambda name: -weight[name])[:MOST_LAYERS])
    keep = [name for name in names if name in largest]
    before, after = fold_small(before, keep), fold_small(after, keep)
    order = list(dict.fromkeys([*before, *after]))
    figure = style.blank(height=96 + 34 * len(order), left=96)
    components = results.table.components[model]
    for stacks, side, opacity, offset in ((before, "baseline", 0.45, -0.38), (after, row.technique, 1.0, 0.02)):
        bases = dict.fromkeys(order, 0.0)
        for index, component in enumerate(components):
            values = {layer: stacks.get(layer, {}).get(component, 0.0) for layer in order}
            figure.add_trace(bar(values, bases, component, side, index, opacity, offset))
            bases = {layer: bases[layer] + values[layer] for layer in order}
    figure.update_layout(barmode="overlay", bargap=0.2)
    figure.update_xaxes(title_text="modelled joules per input", tickformat="~s", ticksuffix="J")
    figure.update_xaxes(nticks=6, rangemode="tozero")
    figure.update_yaxes(autorange="reversed", type="category", showgrid=False)
    return figure


def bar(
    values: dict[str, float],
    bases: dict[str, float],
    component: str,
    side: str,
    index: int,
    opacity: float,
    offset: float,
) -> go.Bar:
    """Draw one component of one net over all layers; bars are stacked by hand, as each layer has two stacks."""
    return go.Bar(
        orientation="h",
        y=[html.escape(layer) for layer in values],
        x=list(values.values()),
        base=list(bases.values()),
        offset=offset,
        width=0.36,
        meta=component,
        marker={
            "color": style.COMPONENTS[index % len(style.COMPONENTS)],
            "opacity": opacity,
            "line": {"width": 0},
        },
        text=[
            html.escape(f"{layer}, {component}, {side}: {with_prefix(joules, 'J')}") for layer, joules in values.items()
        ],
        textposition="none",
        hovertemplate="%{text}<extra></extra>",
    )
