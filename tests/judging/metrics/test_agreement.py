"""Agreement: points of rows with another class than the original's."""

from __future__ import annotations

import numpy as np
import pytest

from joulemark.judging.losses import pooled_loss
from joulemark.judging.metrics.agreement import agreement
from joulemark.judging.statistics import mean_bound
from joulemark.judging.truths import score_of_logits, truth_record


def test_the_loss_is_what_differs_from_the_baseline_net():
    rng = np.random.default_rng(0)
    before = rng.normal(size=(500, 4)).astype(np.float32)
    after = before.copy()
    after[:15] = -after[:15]  # another largest
    truth = truth_record("t", "k", "test", before.argmax(1), classes=4, net="0" * 16)
    scores = [score_of_logits(one, truth, "agreement") for one in (before, after)]
    assert agreement.truth == "baseline"
    assert scores[0].value == 1.0
    loss, bound = pooled_loss(scores[:1], scores[1:], {truth.key: truth})
    assert loss == pytest.approx(3.0)
    assert bound == pytest.approx(100 * mean_bound([0, 1], [485, 15]))
