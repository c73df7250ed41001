"""Agreement: the share of rows to which a net gives the class that the baseline net gives. It needs no labels.

The loss is what the baseline does not lose to itself: points of rows with another class than the original's.
"""

from __future__ import annotations

from joulemark.judging.metrics.right_rows import largest, same_class, share_of_right_rows

agreement = share_of_right_rows(
    name="agreement",
    title="agreement with the original net",
    lost="disagreement with the original net",
    keep=largest,
    right=same_class,
    truth="baseline",
)
