"""A board of thousands of trials is drawn at once."""

import time

import numpy as np
from synthetic import SETTINGS, Setting, make_results

from joulemark.report.board import build_board

LIMITS = (0.5, 1.0, 2.0)


def test_boards_of_three_thousand_trials_at_three_limits_take_less_than_two_seconds():
    rng = np.random.default_rng(0)
    settings = [SETTINGS[0]]
    for number in range(500):
        for knob, wrong in enumerate((1, 6, 18)):  # one winner for each limit
            speed = float(np.exp(rng.normal(0.3 * (knob + 1), 0.3)))
            settings.append(
                Setting(f"t{number:03d}", float(knob), speed, (speed, speed * 1.05), speed,
                        wrong + int(rng.integers(0, 3)), tested=True, wobble=0.03)
            )  # fmt: skip
    results = make_results(tuple(settings), limits=LIMITS)
    assert len(results.trials) > 3000
    began = time.process_time()  # the tests may share their cores
    views = [build_board(results, board, limit) for limit in LIMITS for board in results.boards]
    assert time.process_time() - began < 2.0
    assert [len(view.ranked) for view in views] == [0, 500, 500] * 3
    knobs = {row.knobs[0]["strength"] for view in views for row in view.ranked}
    assert knobs == {0.0, 1.0, 2.0}
