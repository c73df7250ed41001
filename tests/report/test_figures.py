import numpy as np
import pytest
from synthetic import BASELINE_SECONDS, FAST, SETTINGS, make_results

from joulemark.judging.losses import right_rows
from joulemark.judging.statistics import loss_interval
from joulemark.report import figures, marks
from joulemark.report.board import build_board
from joulemark.report.costs import timing_at


@pytest.fixture(scope="module")
def results():
    return make_results()


def view_of(results, name):
    return build_board(results, next(board for board in results.boards if board.name == name), 2.0)


def traces(figure, technique, size):
    return [t for t in figure.data if t.meta == technique and t.marker.size == size]


def test_tradeoff_places_winner_by_its_ratio(results):
    figure = figures.tradeoff(results, view_of(results, "seconds"))
    (winner,) = traces(figure, FAST.technique, 15)
    assert winner.x[0] == pytest.approx(BASELINE_SECONDS / 2)
    assert winner.y[0] == pytest.approx(-0.5)
    assert winner.error_y.arrayminus[0] > 0
    assert figure.layout.xaxis.type == "log"


def test_accuracy_whiskers_are_a_two_sided_interval(results):
    (winner,) = traces(figures.tradeoff(results, view_of(results, "seconds")), FAST.technique, 15)
    pairs = [(results.baselines[t.seed], t) for t in results.trials if t.technique == FAST.technique]
    low, high = loss_interval(
        *(
            np.stack([right_rows(t.scores["onnxruntime"], results.truths) for t in side])
            for side in zip(*pairs, strict=True)
        )
    )
    ends = winner.y[0] + winner.error_y.array[0], winner.y[0] - winner.error_y.arrayminus[0]
    assert ends == pytest.approx((-low, -high))
    assert high > view_of(results, "seconds").rows[0].test.bound  # the one-sided bound leaves out 5 % on one side


def test_tradeoff_shows_every_attempt(results):
    figure = figures.tradeoff(results, view_of(results, "seconds"))
    small = [t for t in figure.data if t.marker.size == 7]
    assert sum(len(t.x) for t in small) == 2 * (len(SETTINGS) - 1)
    (simulated,) = traces(figure, "unstructured-pruning", 7)
    assert all(symbol.endswith("-open") for symbol in simulated.marker.symbol)


def test_forbidden_band_starts_at_the_limit(results):
    figure = figures.tradeoff(results, view_of(results, "seconds"))
    assert [shape.y1 for shape in figure.layout.shapes if shape.type == "rect"] == [-2.0]
    # Two seeds each of conditional deep learning at 0.1 (10 points lost) and of binary weights (8) fall out of frame.
    assert figure.layout.annotations[0].text == "beyond the limit of 2 · 4 more below"


def test_simulated_winner_is_hollow(results):
    figure = figures.tradeoff(results, view_of(results, "row-stationary"))
    (winner,) = traces(figure, "unstructured-pruning", 15)
    assert winner.marker.symbol.endswith("-open")


def test_no_figure_without_a_baseline_cost(results):
    assert figures.tradeoff(results, view_of(results, "joules")) is None


def test_promised_against_measured(results):
    row = view_of(results, "seconds").rows[0]
    figure = figures.promised(results, [(row, 2.4)], "executed MACs", "seconds")
    assert (figure.data[0].x[0], figure.data[0].y[0]) == (2.4, pytest.approx(2.0))


def test_names_are_escaped_in_figures():
    settings = tuple(s for s in SETTINGS if s.technique != FAST.technique)
    evil = "<a href='http://example.org'>x</a>"
    results = make_results((*settings, type(FAST)(**{**vars(FAST), "technique": evil})))
    figure = figures.tradeoff(results, view_of(results, "seconds"))
    for trace in figure.data:
        assert all("<" not in text for text in trace.text)


def test_whiskers_share_one_scale(results):
    rows = view_of(results, "row-stationary").rows
    placed = marks.whiskers([row.ratio for row in rows])
    assert len({whisker.one for whisker in placed}) == 1
    assert all(w.low <= w.value <= w.high for w in placed)


def test_strip_has_every_window_in_order(results):
    trial = next(trial for trial in results.trials if trial.technique == FAST.technique)
    dots = marks.strip(timing_at(trial, "onnxruntime", 1))
    assert [dot.baseline for dot in dots[:3]] == [True, False, True]
    assert len(dots) == 36
    assert [dot.x for dot in dots] == sorted(dot.x for dot in dots)
