import re

import msgspec
import pytest
from synthetic import BASELINE_SECONDS, FAST, SETTINGS, Setting, make_results, with_joules, with_metric

from joulemark.record import Ratio
from joulemark.report.board import build_board
from joulemark.report.verdicts import headline, row_verdict
from joulemark.report.words import count, duration, with_prefix

FORBIDDEN = re.compile(r"saves? energy|kWh|CO2|break-?even", re.IGNORECASE)


def views_of(results, limit=2.0):
    return [build_board(results, board, limit) for board in results.boards]


def test_a_winner_in_words():
    results = make_results()
    sentences = headline(results, views_of(results))
    assert sentences[0].startswith(
        "On Toy digits, toy-cpu: `conditional-deep-learning` is 2.00x faster "
        "(95 % interval 2.00 to 2.00; ONNX Runtime, batch 1) for at most 2 points of accuracy (on test rows 0.50 lost"
    )
    assert sentences[0].endswith("; modelled accelerator energy (row-stationary) is 2.00x lower.")


def test_losses_are_named_after_the_metric():
    results = with_metric(make_results(), "weighted-f1")
    sentences = headline(results, views_of(results))
    assert "for at most 2 points of weighted F1 (on test rows 0.50 lost, 95 % bound 0." in sentences[0]
    assert not any("accuracy" in sentence for sentence in sentences)


def test_a_tie_on_the_model_is_said():
    results = make_results()
    assert "cannot be told apart from `conditional-deep-learning`" in headline(results, views_of(results))[1]
    assert "simulated on this machine" in headline(results, views_of(results))[1]


def with_speed(results, technique, batch_size, ratio):
    """The same results as if the technique's nets had this ratio at one batch size."""

    def changed(trial):
        timings = tuple(
            msgspec.structs.replace(timing, ratio=Ratio(value=ratio, low=ratio, high=ratio, count=12))
            if (trial.technique, timing.batch_size) == (technique, batch_size)
            else timing
            for timing in trial.timings
        )
        return msgspec.structs.replace(trial, timings=timings)

    return msgspec.structs.replace(results, trials=[changed(trial) for trial in results.trials])


def test_where_another_batch_size_says_otherwise_the_sentence_says_so():
    second = Setting("second", 0.5, 1.5, (2.0, 2.0), 2.0, 3, tested=True)
    results = make_results((*SETTINGS, second))
    assert "At batch" not in headline(results, views_of(results))[0]
    slower = with_speed(results, FAST.technique, 64, 0.5)
    assert headline(slower, views_of(slower))[0].endswith(
        ". At batch 64 `conditional-deep-learning`: 2.00x slower, and `second` leads: 1.50x faster."
    )
    nothing_first = with_speed(make_results(), FAST.technique, 1, 0.5)
    sentence = headline(nothing_first, views_of(nothing_first))[0]
    assert "nothing is faster here" in sentence
    assert sentence.endswith(". At batch 64 `conditional-deep-learning` leads: 2.00x faster.")


def test_nothing_wins_in_words():
    results = make_results(tuple(s for s in SETTINGS if s.technique != FAST.technique))
    first = headline(results, views_of(results))[0]
    assert "nothing is faster here than the baseline within 2 points of accuracy" in first
    assert "(3 tried: 3 not eligible, failed or untested)" in first


def test_too_few_images_are_said_apart_from_a_loss():
    few = Setting("few", 1.0, 2.0, (2.0, 2.0), 2.0, 38)  # 1.9 points seen of a limit of 2
    results = make_results((*(s for s in SETTINGS if s.technique != FAST.technique), few))
    first = headline(results, views_of(results))[0]
    assert "(4 tried: 3 not eligible, failed or untested, 1 with too few validation images to decide)" in first


@pytest.mark.parametrize("limit", [0.5, 2.0])
def test_no_word_of_saved_energy_without_a_counter(limit):
    results = make_results()
    text = " ".join(headline(results, views_of(results, limit)))
    assert not FORBIDDEN.search(text)
    assert "measured joules" not in text


def test_measured_joules_come_first():
    results = with_joules(make_results())
    first = headline(results, views_of(results))[0]
    assert "needs 2.00x fewer measured joules (95 % interval 1.94 to 2.06" in first


def test_undecided_row():
    noisy = Setting("noisy", 1.0, 1.0, (1.1, 1.1), 1.0, 2, tested=True, wobble=0.2)
    view = views_of(make_results((*SETTINGS, noisy)))[1]
    row = next(row for row in view.rows if row.technique == "noisy")
    assert row_verdict(view, row) == "cannot be told apart from the baseline"


def test_words():
    assert with_prefix(BASELINE_SECONDS, "s") == "400 µs"
    assert with_prefix(0.001234, "J") == "1.23 mJ"
    assert with_prefix(0.0, "J") == "0 J"
    assert (duration(41.2), duration(720), duration(12_000)) == ("41 s", "12 min", "3 h 20 min")
    assert (count(980), count(12_500), count(3.1e6)) == ("980", "12 k", "3.1 M")
