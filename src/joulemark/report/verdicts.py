"""The headline: what the boards say, in sentences that claim no more than was measured.

Without a counter the words are "faster here" and "modelled": nothing in this file may speak of energy as measured
unless the measured-joules board has rows. Technique names stand in backticks, which the page turns into emphasis.
"""

from __future__ import annotations

from collections.abc import Sequence

from joulemark.judging.rules import NO_LOSS_POINTS
from joulemark.report.board import build_board
from joulemark.report.results import Results
from joulemark.report.rows import BoardView, Row
from joulemark.report.words import backend_name, interval, points, times


def headline(results: Results, views: Sequence[BoardView]) -> tuple[str, ...]:
    """Sentences for the boards of one limit, the most direct measurement first."""
    by_cost = {view.board.cost: view for view in views}
    sentences = []
    joules, seconds = by_cost.get("joules"), by_cost.get("seconds")
    leaders = []
    for view in (joules, seconds):
        if view is None or (view is joules and not view.ranked):
            continue
        sentences.append(sentence(results, view))
        leaders += [row.technique for row in best_rows(view)]
    modelled = [view for view in views if view.board.cost.startswith("model:") and (view.rows or view.ineligible)]
    told = [view for view in modelled if [row.technique for row in best_rows(view)] == leaders[-1:]]
    sentences += [sentence(results, view) for view in modelled if view not in told]
    return tuple(sentences)


def best_rows(view: BoardView) -> tuple[Row, ...]:
    """Rows in the first place that are certainly cheaper than the baseline; several when tied."""
    return tuple(row for row in view.ranked if row.rank and row.rank[0] == 1 and row.verdict == "cheaper")


def sentence(results: Results, view: BoardView) -> str:
    """Say who wins a board by how much and for what, or that nothing does."""
    where = f"On {results.task_title}, {results.hardware_class}"
    if view.board.cost.startswith("model:"):
        where = f"By the {view.board.name} model"
    best = best_rows(view)
    if not best:
        return f"{where}: {nothing_wins(view)}{other_sizes_clause(results, view)}"
    first = best[0]
    text = f"{where}: `{first.technique}` {gain(view, first)} for {price(view, first)}"
    text += modelled_clause(results, first) if view.board.cost in ("seconds", "joules") else ""
    others = [f"`{row.technique}`" for row in best[1:]]
    text += f". It cannot be told apart from {' and '.join(others)}" if others else ""
    return f"{text}.{other_sizes_clause(results, view, first)}"


def gain(view: BoardView, row: Row) -> str:
    """Say what a winner gains, in the words that its board has earned."""
    if row.ratio is None:
        raise ValueError(f"{row.technique} has no ratio: it cannot have won {view.board.name}")
    setting = f"{backend_name(row.backend or view.backend)}, batch {view.batch_size}"
    if view.elsewhere(row):
        setting += f", against {' or '.join(map(backend_name, view.reference))}, the fastest fp32 backend"
    if view.board.cost == "seconds":
        return f"is {times(row.ratio.value)}x faster (95 % interval {interval(row.ratio)}; {setting})"
    if view.board.cost == "joules":
        return f"needs {times(row.ratio.value)}x fewer measured joules (95 % interval {interval(row.ratio)}; {setting})"
    notes = [f"{interval(row.ratio)} over seeds"] if row.ratio.low < row.ratio.high else []
    notes += ["simulated on this machine"] if row.execution == "simulated" else []
    spread = f" ({'; '.join(notes)})" if notes else ""
    return f"leads by {times(row.ratio.value)}x in modelled joules{spread}"


def other_sizes_clause(results: Results, view: BoardView, winner: Row | None = None) -> str:
    """Say at which other batch sizes the same nets give another winner; empty where they agree."""
    told = ""
    for size in results.batch_sizes[1:] if view.board.needs_real else ():
        other = build_board(results, view.board, view.limit_points, size)
        best = best_rows(other)
        here = next((row for row in other.ranked if winner is not None and row.technique == winner.technique), None)
        if here in best:
            continue
        parts = [] if here is None else [f"`{here.technique}`: {row_verdict(other, here)}"]
        names = " and ".join(f"`{row.technique}`" for row in best)
        parts += [f"{names} {'leads' if len(best) == 1 else 'lead'}: {row_verdict(other, best[0])}"] if best else []
        told += f" At batch {size} {', and '.join(parts)}." if parts else ""
    return told


def price(view: BoardView, row: Row) -> str:
    """Say what a winner costs in the task's metric: the limit it was chosen under, then what the test rows say."""
    validation = row.validation
    if validation is not None and validation.bound <= NO_LOSS_POINTS:
        text = f"no loss of {view.metric}" if view.lost == view.metric else f"no {view.lost}"
    else:
        text = f"at most {view.limit_words}"
    if row.test is None:
        return text
    over = ", over the limit" if row.test.bound > view.limit_points else ""
    return f"{text} (on test rows {points(row.test.points)} lost, 95 % bound {points(row.test.bound)}{over})"


def modelled_clause(results: Results, row: Row) -> str:
    """Say what the energy models think of the same nets."""
    clauses = []
    for model in results.models:
        ratio = row.ratios.get(model)
        if ratio is None:
            continue
        name = f"modelled accelerator energy ({model})"
        if ratio.low > 1.0:
            clauses.append(f"{name} is {times(ratio.value)}x lower")
        elif ratio.high < 1.0:
            clauses.append(f"{name} is {times(1.0 / ratio.value)}x higher")
        else:
            clauses.append(f"{name} does not certainly change")
    return f"; {', '.join(clauses)}" if clauses else ""


def nothing_wins(view: BoardView) -> str:
    """Say plainly that nothing beats the baseline, and how many tried."""
    tried = len(view.ranked) + len(view.ineligible)
    word = {"seconds": "faster here than the baseline", "joules": "cheaper in measured joules than the baseline"}
    what = word.get(view.board.cost, "cheaper than the baseline")
    open_ = sum(cannot_decide(view, row) for row in view.ineligible)
    undecided = sum(row.verdict == "undecided" for row in view.ranked)
    dearer = sum(row.verdict == "dearer" for row in view.ranked)
    parts = [
        (len(view.ineligible) - open_, "not eligible, failed or untested"),
        (open_, "with too few validation images to decide"),
        (undecided, "not to be told apart from it"),
        (dearer, "certainly slower" if view.board.cost == "seconds" else "certainly dearer"),
    ]
    why = ", ".join(f"{number} {words}" for number, words in parts if number)
    limit = f"within {view.limit_words}"
    return f"nothing is {what} {limit} ({tried} tried{': ' + why if why else ''})."


def cannot_decide(view: BoardView, row: Row) -> bool:
    """Whether the validation images neither prove nor exclude that a row keeps within the limit."""
    loss = row.validation
    simulated = view.board.needs_real and row.execution == "simulated"
    return loss is not None and not simulated and loss.best <= view.limit_points < loss.bound


def row_verdict(view: BoardView, row: Row) -> str | None:
    """Say in a few words how one row stands to the baseline."""
    if row.ratio is None or row.verdict is None:
        return None
    if row.verdict == "undecided":
        return "cannot be told apart from the baseline"
    factor = row.ratio.value if row.verdict == "cheaper" else 1.0 / row.ratio.value
    dearer = row.verdict == "dearer"
    if view.board.cost == "seconds":
        return f"{times(factor)}x {'slower' if dearer else 'faster'}"
    kind = "modelled " if view.board.cost.startswith("model:") else ""
    return f"{times(factor)}x {'more' if dearer else 'fewer'} {kind}joules"
