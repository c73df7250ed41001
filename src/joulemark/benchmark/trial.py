"""One trial: a chosen attempt, measured by the full protocol on every backend and tested once."""

from __future__ import annotations

from joulemark.backends.backend import Compiled
from joulemark.benchmark.attempt import score_of
from joulemark.benchmark.making import AttemptError
from joulemark.benchmark.measuring import Pair, joules_quantity, joules_ratio, measure_pairs, seconds_quantity
from joulemark.benchmark.modelling import modelled
from joulemark.benchmark.session import Session
from joulemark.nets.net import Net
from joulemark.record import Attempt, Timing, Trial, content_key
from joulemark.stats import paired_ratio


def trial_key(session: Session, attempt: Attempt, baseline: Attempt) -> str:
    """Content key of a trial: the attempt, its baseline and how they are measured."""
    suite = session.suite
    return content_key(
        "trial", attempt.key, baseline.key, suite.scenarios, suite.threads, suite.models,
        suite.measuring, attempt.net, baseline.net, session.code,
    )  # fmt: skip


def run_trial(session: Session, attempt: Attempt, baseline: Attempt) -> Trial:
    """Measure and test one attempt against the baseline of its seed.

    The baseline's own trial measures it against a second compilation of itself: the A/A control. Raises
    :class:`AttemptError` if a saved net is gone or damaged.
    """
    suite = session.suite
    nets = [_saved(session, one) for one in (baseline, attempt)]
    pairs: list[Pair] = []
    candidates: dict[str, Compiled] = {}
    for backend in session.backends:
        reference = session.compiled(nets[0], backend)
        control = nets[0].hash == nets[1].hash  # A/A: the same net compiled a second time
        candidate = backend.compile(nets[1], threads=suite.threads) if control else session.compiled(nets[1], backend)
        candidates[backend.name] = candidate
        sizes = [size for name, size in suite.scenarios if name == backend.name]
        pairs += [Pair(f"{backend.name} batch {size}", reference, candidate, size) for size in sizes]
    images = session.splits["validation"].images[: suite.measuring.images]
    order = tuple(measure_pairs(pairs, images, suite.measuring, session.meters))
    # Scored after the windows, on the very objects that were timed.
    scores = {name: score_of(compiled, session.splits["test"], "test") for name, compiled in candidates.items()}
    models, known = modelled(session, nets[1])
    return Trial(
        key=trial_key(session, attempt, baseline),
        attempt=attempt.key,
        task=suite.task.name,
        task_key=suite.task.key,
        hardware_class=session.machine.hardware_class,
        technique=attempt.technique,
        knobs=attempt.knobs,
        seed=attempt.seed,
        net=nets[1].hash,
        scores=scores,
        timings=tuple(_timings(session, nets[1], pairs, order)),
        models=models,
        proxies=known,
        notes=attempt.notes,
        provenance=session.provenance(),
    )


def _saved(session: Session, attempt: Attempt) -> Net:
    net = session.net(attempt.net) if attempt.net is not None else None
    if net is None:
        raise AttemptError(f"the saved net {attempt.net} is missing or damaged: remove attempts/{attempt.key}.json")
    return net


def _timings(session: Session, net: Net, pairs: list[Pair], order: tuple[str, ...]) -> list[Timing]:
    made = []
    backends = {backend.name: backend for backend in session.backends}
    for (name, batch_size), pair in zip(session.suite.scenarios, pairs, strict=True):
        backend = backends[name]
        reason = backend.simulated(net)
        made.append(
            Timing(
                backend=backend.name,
                batch_size=batch_size,
                threads=session.suite.threads,
                precision=backend.precision,
                execution="real" if reason is None else "simulated",
                reason=reason,
                seconds=seconds_quantity([middle for _, middle, _ in pair.seconds]),
                baseline_seconds=seconds_quantity([one for first, _, last in pair.seconds for one in (first, last)]),
                ratio=paired_ratio(pair.seconds),
                joules=joules_quantity([middle for _, middle, _ in pair.joules]),
                joules_ratio=joules_ratio(pair.joules),
                blocks=tuple(pair.seconds),
                order=order,
            )
        )
    return made
