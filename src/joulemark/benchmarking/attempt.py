"""One attempt: a technique with one setting of its knobs and one seed, judged on validation images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from joulemark.backends.backend import Compiled, simulated
from joulemark.backends.predicting import predict
from joulemark.benchmarking.errors import AttemptError, sentence
from joulemark.benchmarking.measuring import Pair, measure_pairs, seconds_quantity
from joulemark.benchmarking.modelling import modelled
from joulemark.benchmarking.suite import Measuring
from joulemark.benchmarking.tracing import judged_by, key_of
from joulemark.benchmarking.truths import truth_of
from joulemark.data.splits import Split
from joulemark.judging.truths import score_of_logits
from joulemark.meters.replay import SHORTEST_UPDATES
from joulemark.record import Attempt, Made, Quantity, Score, Truth, content_key

if TYPE_CHECKING:
    from joulemark.benchmarking.session import Session, StoredNet

SCREENING_BLOCKS = 5


def attempt_inputs(session: Session, made: str) -> str:
    """Digest of all that decides how a made net is judged, but for code; ``made`` is the key of its making."""
    suite = session.suite
    return content_key(
        "attempt", made, suite.backends, suite.threads, session.filled, session.machine.hardware_class,
        suite.batch_sizes[0], suite.measuring.screening_seconds, suite.measuring.images, session.counters,
    )  # fmt: skip


def run_attempt(
    session: Session, made: Made, baseline: StoredNet | None, baseline_seconds: float | None = None
) -> Attempt:
    """Judge one made net on the validation images.

    ``baseline`` is the trained net of the same seed (``None``: this one is it) and ``baseline_seconds`` what it took
    per input when it was screened. Raises :class:`AttemptError` if the net does not run.
    """
    stored = session.net(made.net)
    if stored is None:
        raise AttemptError(
            f"the saved net {made.net} is missing or damaged: remove made/{made.key}.json to make it anew"
        )
    net = stored.net
    try:
        home = session.home(net)
    except (ValueError, RuntimeError) as error:
        raise AttemptError(f"its net cannot be built: {sentence(error)}") from error
    try:
        compiled = session.compiled(stored, home)
        truth = truth_of(session, "validation", baseline or stored)
        score = score_of(compiled, session.splits["validation"], truth, session.suite.task.metric)
        seconds, per_input = _screen(session, compiled, baseline, baseline_seconds)
        reports, known = modelled(session, net)
    except (ValueError, RuntimeError) as error:
        raise AttemptError(f"its net does not run on {home.name}: {sentence(error)}") from error
    reason = simulated(net, home)
    code = judged_by(session, [net, *([baseline.net] if baseline else [])])
    return Attempt(
        key=key_of(attempt_inputs(session, made.key), code),
        task=made.task,
        task_key=made.task_key,
        technique=made.technique,
        knobs=made.knobs,
        seed=made.seed,
        made=made.key,
        net=made.net,
        score=score,
        backend=home.name,
        execution="real" if reason is None else "simulated",
        reason=reason,
        seconds=seconds,
        joules=per_input,
        models={report.model: report.joules for report in reports},
        proxies=known,
        making=made.making,
        notes=made.notes,
        code=code,
        provenance=session.provenance(),
    )


def score_of(compiled: Compiled, split: Split, truth: Truth, metric: str) -> Score:
    """The metric of a compiled net on the rows of a split."""
    logits = predict(compiled, split.images)
    if logits.shape[0] != truth.rows or not np.isfinite(logits).all():
        raise ValueError("its logits are not finite or not one row an input")
    return score_of_logits(logits, truth, metric)


def _screen(
    session: Session, compiled: Compiled, baseline: StoredNet | None, baseline_seconds: float | None
) -> tuple[Quantity, Quantity]:
    """Seconds and joules per input at the first batch size, short windows: to choose between attempts, not to report.

    Attempts are screened minutes apart, so the seconds are those of the seed's baseline times the paired ratio.
    """
    suite = session.suite
    updates = max((source.update_seconds for source in session.meters.sources), default=0.0)
    measuring = Measuring(
        window_seconds=suite.measuring.screening_seconds,
        joules_window_seconds=max(suite.measuring.screening_seconds, SHORTEST_UPDATES * updates),
        blocks=SCREENING_BLOCKS,
        joules_blocks=SCREENING_BLOCKS,
    )
    images = session.splits["validation"].images[: suite.measuring.images]
    reference = compiled if baseline is None else session.compiled(baseline, session.backends[0])
    pair = Pair("screening", reference, compiled, suite.batch_sizes[0])
    measure_pairs([pair], images, measuring, session.meters)
    own = [middle for _, middle, _ in pair.seconds]
    if baseline_seconds is not None:
        own = [baseline_seconds * middle / (first * last) ** 0.5 for first, middle, last in pair.seconds]
    return seconds_quantity(own), pair.candidate_joules
