"""Two techniques of one board side by side: which costs less, how sure that is, or why nobody can say."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from joulemark.judging.losses import Truths, pooled_interval, pooled_loss
from joulemark.judging.statistics import certainly, ratio_of_ratios
from joulemark.record import Ratio, Record
from joulemark.report.board import build_board
from joulemark.report.line import Line
from joulemark.report.results import Results
from joulemark.report.rows import BoardView, Row
from joulemark.report.standing import margin_of
from joulemark.report.words import backend_name, in_points, interval, points, times
from joulemark.task import BASELINE
from joulemark.vocabulary import unknown_name_message


class AccuracyGap(Record, frozen=True, kw_only=True):
    """How many points less accurate the first is than the second on the test images, with a 95 % interval."""

    points: float
    low: float
    high: float

    @property
    def decided(self) -> bool:
        """Whether one of the two is certainly the more accurate."""
        return self.low > 0.0 or self.high < 0.0


class Comparison(Record, frozen=True, kw_only=True):
    """The answer to "first or second?" on one board at one accuracy limit."""

    first: str
    second: str
    board: str
    limit_points: float
    hardware_class: str
    verdict: str  # of the first: "cheaper", "dearer", "undecided" (cannot be told apart) or "none"
    sentence: str
    reason: str | None = None  # why there is no verdict
    ratio: Ratio | None = None  # cost of the second over cost of the first: above 1, the first costs less
    accuracy: AccuracyGap | None = None
    flags: dict[str, tuple[str, ...]] = {}  # technique -> what a reader must know beside the figures


def compare(
    results: Results,
    first: str,
    second: str,
    *,
    board: str = "seconds",
    limit_points: float | None = None,
    elsewhere: Callable[[str], str | None] = lambda name: None,
) -> Comparison:
    """Compare two techniques of one board; ``limit_points`` is one of the suite's (``None``: the largest).

    ``elsewhere`` says of a technique that has no results here why not, if it has some in another place. Raises
    ``ValueError`` for a name, board or limit that is not known.
    """
    known = {one.name: one for one in results.boards}
    if board not in known:
        raise ValueError(unknown_name_message("board", board, known))
    limit = max(results.limits_points) if limit_points is None else limit_points
    if limit not in results.limits_points:
        limits = ", ".join(f"{one:g}" for one in results.limits_points)
        raise ValueError(f"winners at a limit of {in_points(limit)} were not chosen: the suite's limits are {limits}")
    if first == second:
        raise ValueError(f"{first} and {second} are the same technique: name two")
    names = (BASELINE, *results.techniques)
    reasons = [None if name in names else elsewhere(name) for name in (first, second)]
    for name, reason in zip((first, second), reasons, strict=True):
        if name not in names and reason is None:
            raise ValueError(unknown_name_message("technique", name, names))
    answer = functools.partial(
        Comparison,
        first=first,
        second=second,
        board=board,
        limit_points=limit,
        hardware_class=results.hardware_class,
    )
    view = build_board(results, known[board], limit)
    rows = {row.technique: row for row in (*view.rows, *view.ineligible)}
    pair = rows.get(first), rows.get(second)
    why = " ".join(filter(None, reasons)) or why_not(view, *pair)
    if why is None and pair[0] is not None and pair[1] is not None:
        lines = results.table.of_trials[pair[0].trials], results.table.of_trials[pair[1].trials]
        mine, other = (line.at[view.batch_size].by_seed[board] for line in lines)
        ratio, why = ratio_of_ratios(mine, other), unlike_denominators(view, *lines)
        if ratio is None:
            why = "they were not tested with a common seed."
        elif why is None:
            gap = accuracy_gap(
                *lines, backends=[_backend(view, pair[0]), _backend(view, pair[1])], truths=results.truths
            )
            verdict, sentence = judged(results, view, pair[0], pair[1], ratio, gap)
            flags = {row.technique: row.flags for row in pair if row is not None and row.flags}
            return answer(verdict=verdict, sentence=sentence, ratio=ratio, accuracy=gap, flags=flags)
    return answer(
        verdict="none",
        reason=why,
        sentence=f"No verdict on `{first}` and `{second}` by {known[board].title}: {why}",
    )


def why_not(view: BoardView, *rows: Row | None) -> str | None:
    """Say why rows of a board cannot be compared; ``None`` if they can. A missing row means an empty board."""
    if any(row is None for row in rows):
        return view.note or "the board is empty."
    reasons = [
        f"`{row.technique}` is not ranked within {view.limit_words}: {row.reason}."
        for row in rows
        if row is not None and row.status not in ("ranked", "baseline")
    ]
    return " ".join(reasons) or None


def unlike_denominators(view: BoardView, *lines: Line) -> str | None:
    """Say if two lines' ratios of one seed divide by the baseline on different backends; ``None`` if they do not.

    A model has no backend, and the baseline's ratio to itself has any denominator.
    """
    if not view.board.needs_real:
        return None
    seen: dict[int, set[str]] = {}
    for line in lines:
        for seed, backend in line.at[view.batch_size].denominators.items() if line.technique != BASELINE else ():
            seen.setdefault(seed, set()).add(backend)
    unlike = next((sorted(names) for names in seen.values() if len(names) > 1), None)
    if unlike is None:
        return None
    listed = " and ".join(map(backend_name, unlike))
    return f"their ratios divide by the fp32 baseline on different backends, {listed}: run the suite again."


def _backend(view: BoardView, row: Row) -> str:
    """The backend that a row's test accuracy is of."""
    return view.backend if row.backend is None or row.status == "baseline" else row.backend


def judged(
    results: Results, view: BoardView, first: Row, second: Row, ratio: Ratio, gap: AccuracyGap | None
) -> tuple[str, str]:
    """The verdict on the first of two rows and its sentence."""
    margin = max(margin_of(first.control), margin_of(second.control))
    verdict = {1: "cheaper", -1: "dearer", 0: "undecided"}[certainly(ratio, margin=margin)]
    where = f"On {results.task_title}, {results.hardware_class}: "
    if view.board.cost.startswith("model:"):
        where = f"By the {view.board.name} model: "
    cost = _cost_clause(view, first, second, ratio, verdict, margin)
    clauses = (
        _limit_clause(view, first, second),
        _accuracy_clause(view, first, second, gap),
        _flags_clause(first, second),
    )
    return verdict, f"{where}{cost}{''.join(clauses)}."


def accuracy_gap(first: Line, second: Line, *, backends: Sequence[str], truths: Truths) -> AccuracyGap | None:
    """Points that the first loses beside the second, paired over test images and seeds; ``None`` without common ones.

    ``backends`` are those of the two. The test images are not looked at again: what both nets predicted is in
    their trials.
    """
    scores = [line.scores.get(backend, {}) for line, backend in zip((first, second), backends, strict=True)]
    seeds = sorted(scores[0].keys() & scores[1].keys())
    if not seeds:
        return None
    ours, theirs = ([side[seed] for seed in seeds] for side in scores)
    points, _ = pooled_loss(theirs, ours, truths)
    low, high = pooled_interval(theirs, ours, truths)
    return AccuracyGap(points=points, low=low, high=high)


def _cost_clause(view: BoardView, first: Row, second: Row, ratio: Ratio, verdict: str, margin: float) -> str:
    modelled = view.board.cost.startswith("model:")
    backends = dict.fromkeys(backend_name(_backend(view, row)) for row in (first, second) if row.status == "ranked")
    setting = f"{' against '.join(backends)}, batch {view.batch_size}"
    if verdict == "undecided":
        what = {"seconds": "speed", "joules": "measured joules"}.get(view.board.cost, "modelled joules")
        text = f"`{first.technique}` and `{second.technique}` cannot be told apart in {what} "
        text += f"(`{first.technique}` {times(ratio.value)}x, 95 % interval {interval(ratio)}"
        if certainly(ratio):
            text += f"; the baseline differs from itself by up to {times(margin)}x here"
        return text + ("" if modelled else f"; {setting}") + ")"
    if verdict == "dearer":
        first, second = second, first
        ratio = Ratio(value=1 / ratio.value, low=1 / ratio.high, high=1 / ratio.low, count=ratio.count)
    gain = {
        "seconds": f"is {times(ratio.value)}x faster here than",
        "joules": f"needs {times(ratio.value)}x fewer measured joules than",
    }.get(view.board.cost, f"needs {times(ratio.value)}x fewer modelled joules than")
    text = f"`{first.technique}` {gain} `{second.technique}`"
    if not modelled:
        return f"{text} (95 % interval {interval(ratio)}; {setting})"
    return f"{text} ({interval(ratio)} over seeds)" if ratio.low < ratio.high else text


def _limit_clause(view: BoardView, first: Row, second: Row) -> str:
    chosen = [row for row in (first, second) if row.status == "ranked"]
    who = "both" if len(chosen) == 2 else f"`{chosen[0].technique}`"
    text = f", {who} within {view.limit_words}"
    over = [f"`{row.technique}`" for row in chosen if row.test is not None and row.test.bound > view.limit_points]
    text += f" on the validation rows (the test rows do not confirm it of {' and '.join(over)})" if over else ""
    simulated = [f"`{row.technique}`" for row in chosen if row.execution == "simulated"]
    return text + (f", {' and '.join(simulated)} simulated on this machine" if simulated else "")


def _accuracy_clause(view: BoardView, first: Row, second: Row, gap: AccuracyGap | None) -> str:
    if gap is None:
        return ""
    span = f"95 % interval {points(gap.low)} to {points(gap.high)}"
    if not gap.decided:
        return (
            f"; in {view.metric} they cannot be told apart (on test rows `{first.technique}` loses "
            f"{points(gap.points)} points more, {span})"
        )
    better = second if gap.points > 0 else first
    if gap.points < 0:
        span = f"95 % interval {points(-gap.high)} to {points(-gap.low)}"
    what = "the more accurate" if view.metric == "accuracy" else f"better in {view.metric}"
    return f"; `{better.technique}` is {what} by {points(abs(gap.points))} points (test rows, {span})"


def _flags_clause(*rows: Row) -> str:
    told = [f"`{row.technique}` ({'; '.join(row.flags)})" for row in rows if row.flags]
    return f"; flagged: {', '.join(told)}" if told else ""
