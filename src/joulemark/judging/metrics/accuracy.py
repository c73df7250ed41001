"""Accuracy: the share of rows whose largest logit is that of the true class."""

from __future__ import annotations

from joulemark.judging.metrics.right_rows import largest, same_class, share_of_right_rows

accuracy = share_of_right_rows(name="accuracy", title="accuracy", keep=largest, right=same_class)
