"""The page: one HTML file that opens from disk, asks the network for nothing and runs only the scripts it names.

The policy lists the two inline scripts by their hashes, so that no text of a record could ever run, even if escaping
failed. Figures and records travel as JSON in data blocks, with every ``<`` escaped.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
from importlib import resources
from typing import Any

import jinja2
import msgspec
import plotly.graph_objects as go
import plotly.offline
from markupsafe import Markup, escape

from joulemark.judging.statistics import kendall_tau
from joulemark.report import facts, figures, layers, marks, sizes, style, words, zeros
from joulemark.report.board import build_board, other_views
from joulemark.report.exporting import export_command
from joulemark.report.free_board import build_free
from joulemark.report.generations import earlier_code
from joulemark.report.line import NO_PROXY
from joulemark.report.own_task import own_sentences
from joulemark.report.pace import paced_rows
from joulemark.report.results import Results
from joulemark.report.rows import BoardView, Row
from joulemark.report.template import page_environment
from joulemark.report.verdicts import best_rows, headline, row_verdict

PROXIES = {
    "macs_per_input": "executed MACs",
    "bytes_moved_per_input": "bytes moved",
    "parameters": "parameters",
    "nonzero_parameters": "non-zero parameters",
    "weight_bytes": "weight bytes",
    "peak_memory_bytes": "peak memory",
}
"""Proxies by name, in the order in which the page offers them."""


def render_page(results: Results) -> str:
    """Draw the whole page of one task on one hardware class."""
    drawn: dict[str, Any] = {}
    limits = [limit_context(results, limit, index, drawn) for index, limit in enumerate(results.limits_points)]
    library = plotly.offline.get_plotlyjs().replace("\r\n", "\n")
    script = asset("page.js")
    rows = zeros.zeros_rows(results)
    if rows:
        add(drawn, "zeros", figures.three_ways(rows))
    return (
        environment()
        .get_template("page.html")
        .render(
            results=results,
            limits=limits,
            chosen=max(range(len(limits)), key=lambda index: results.limits_points[index]),
            legend=[
                (name, style.glyph_of(results.techniques, name), style.colour_of(results.techniques, name))
                for name in results.techniques
            ],
            figures=drawn,
            raw=msgspec.to_builtins({"trials": list(results.trials), "failures": list(results.failures)}),
            strips=strips(results),
            free=build_free(results.free, max(results.limits_points)),
            paced=paced_rows(results),
            sizes=sizes,
            sizes_rows=sizes.sizes_rows(results),
            zeros=zeros,
            zeros_rows=rows,
            facts=facts,
            earlier_code=earlier_code,
            own_sentences=own_sentences,
            label=facts.label(results),
            library=Markup(library),  # noqa: S704 - plotly's own script, checked by its hash in the policy
            script=Markup(script),  # noqa: S704 - our own script, likewise
            css=Markup(asset("page.css")),  # noqa: S704
            hashes=[script_hash(library), script_hash(script)],
        )
    )


def asset(name: str) -> str:
    """Read a file that lies beside this one."""
    return resources.files("joulemark.report").joinpath(name).read_text(encoding="utf-8")


def script_hash(text: str) -> str:
    """Hash an inline script as a content security policy wants it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@functools.cache
def environment() -> jinja2.Environment:
    """Set up the template engine with the words of the page."""
    made = page_environment("joulemark.report")
    made.filters |= {
        "prefix": words.with_prefix,
        "duration": words.duration,
        "count": words.count,
        "points": words.points,
        "times": words.times,
        "interval": words.interval,
        "knobs": words.knobs,
        "backend": words.backend_name,
        "emphasise": emphasise,
        "sentence_case": words.sentence_case,
    }
    made.globals |= {"row_verdict": row_verdict, "export_command": export_command}
    return made


def emphasise(sentence: str) -> Markup:
    """Escape a sentence and set what stands in backticks in bold."""
    return Markup(re.sub(r"`([^`]+)`", r"<b>\1</b>", str(escape(sentence))))  # noqa: S704 - escaped first


def limit_context(results: Results, limit: float, index: int, drawn: dict[str, Any]) -> dict[str, Any]:
    """Build everything on the page that depends on the accuracy limit; figures go into ``drawn``."""
    views = [build_board(results, board, limit) for board in results.boards]
    scatter: list[tuple[str, BoardView]] = []
    for view in views:
        figure = figures.tradeoff(results, view) if view.rows else None
        if figure is not None:
            scatter.append((add(drawn, f"tradeoff-{index}-{len(scatter)}", figure), view))
    return {
        "points": limit,
        "sentences": headline(results, views),
        "best": best_of(views),
        "scatter": scatter,
        "boards": [(view, marks.whiskers([row.ratio for row in view.rows])) for view in views],
        "sizes": [(view, marks.whiskers([row.ratio for row in view.rows])) for view in other_views(results, limit)],
        "settings": settings_table(results, views),
        "promises": promise_context(results, views, index, drawn),
        "layers": layer_context(results, views, index, drawn),
    }


def add(drawn: dict[str, Any], name: str, figure: go.Figure) -> str:
    """Keep a figure as plain JSON under a name."""
    drawn[name] = json.loads(figure.to_json())
    return name


def best_of(views: list[BoardView]) -> tuple[BoardView, Row] | None:
    """Pick what the label card shows: the winner of the most direct board that has one."""
    return next(((view, best_rows(view)[0]) for view in views if best_rows(view)), None)


def chosen_rows(views: list[BoardView]) -> list[Row]:
    """List the tested rows of all boards of a limit, each net once."""
    rows = [row for view in views for row in (*view.ranked, *view.ineligible) if row.trials]
    return list({row.trials: row for row in rows}.values())


def settings_table(results: Results, views: list[BoardView]) -> list[tuple[Row, list[Any]]]:
    """Tabulate speed ratios on every backend and batch size: one line a tested row."""
    lines = []
    for row in chosen_rows(views):
        at = results.table.of_trials[row.trials].at
        cells = [at[size].on[name] for name in results.backends for size in results.batch_sizes]
        lines.append((row, [(cell.own.get("seconds"), cell.real) for cell in cells]))
    return lines


def promise_context(results: Results, views: list[BoardView], index: int, drawn: dict[str, Any]) -> list[Any]:
    """Compare what each proxy and model promised with what was measured: (name, figure, sentence)."""
    rows = chosen_rows(views)
    measured = "joules" if any("joules" in row.ratios for row in rows) else "seconds"
    names = results.table.proxies
    made: list[Any] = []
    for proxy in [
        *sorted(names, key=lambda name: (name not in PROXIES, [*PROXIES, name].index(name))),
        *results.models,
    ]:
        promises = []
        for row in rows:
            if proxy in names:
                factor = results.table.of_trials[row.trials].proxies.get(proxy, NO_PROXY).ratio
            else:
                ratio = row.ratios.get(proxy)
                factor = ratio.value if ratio is not None else None
            if factor is not None and measured in row.ratios:
                promises.append((row, factor))
        if promises:
            title = PROXIES.get(proxy, proxy if proxy in names else f"modelled joules ({proxy})")
            figure = figures.promised(results, promises, title, measured)
            name = add(drawn, f"promise-{index}-{len(made)}", figure)
            made.append((title, name, agreement(promises, title, measured)))
    return made


def agreement(promises: list[tuple[Row, float]], proxy: str, measured: str) -> str:
    """Say in words how well a proxy orders the techniques."""
    factors = [factor for _, factor in promises]
    ratios = [row.ratios[measured].value for row, _ in promises]
    tau = kendall_tau(factors, ratios)
    if tau is None:
        return "One tested net only: nothing to order."
    pairs = [(i, j) for i in range(len(ratios)) for j in range(i)]
    wrong = sum((factors[i] - factors[j]) * (ratios[i] - ratios[j]) < 0 for i, j in pairs)
    name = words.sentence_case(proxy)
    return f"{name} order {wrong} of {len(pairs)} pairs the wrong way round (Kendall's tau {tau:.2f})."


def layer_context(results: Results, views: list[BoardView], index: int, drawn: dict[str, Any]) -> list[Any]:
    """Draw the layers of every winner of the modelled boards: (title, figure, components, sums)."""
    made: list[Any] = []
    for view in views:
        if not view.board.cost.startswith("model:"):
            continue
        model = view.board.name
        shades = [
            (part, style.COMPONENTS[place % len(style.COMPONENTS)])
            for place, part in enumerate(results.table.components[model])
        ]
        for row in view.ranked:
            figure = layers.per_layer(results, row, model)
            if figure is not None:
                name = add(drawn, f"layers-{index}-{len(made)}", figure)
                made.append((f"{row.technique} · {model}", name, shades, view, row))
    return made


def strips(results: Results) -> list[tuple[str, str, list[marks.Dot]]]:
    """List the raw windows of every trial at the headline setting: (technique, words, dots)."""
    return [
        (
            one.technique,
            f"{words.knobs(one.technique, one.knobs)} · seed {one.seed}".strip(" ·"),
            marks.strip(one.timing),
        )
        for one in results.table.windows
    ]
