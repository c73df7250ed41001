"""One attempt: a technique with one setting of its knobs and one seed, metered and judged on validation images."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from joulemark.backends.backend import Compiled
from joulemark.benchmark.ledger import Ledger
from joulemark.benchmark.measuring import Pair, joules_quantity, measure_pairs, seconds_quantity
from joulemark.benchmark.modelling import modelled
from joulemark.benchmark.session import Session
from joulemark.benchmark.suite import Measuring
from joulemark.benchmark.workbench import Bench, predict
from joulemark.data.splits import Split
from joulemark.meters.window import SHORTEST_UPDATES
from joulemark.nets.net import Net
from joulemark.record import Attempt, Making, Quantity, Score, content_key
from joulemark.rules import BASELINE, pack_bits
from joulemark.techniques.technique import Technique
from joulemark.training import sgd

SCREENING_BLOCKS = 5


class AttemptError(ValueError):
    """A technique failed; the message is one sentence for the board."""


class TimeLimit(BaseException):
    """Raised inside a technique that ran too long. Not an ``Exception``, so that a technique's own handlers miss it."""


def chain_name(chain: Sequence[Technique]) -> str:
    """Name of a composition; the baseline is the empty one."""
    return "+".join(one.name for one in chain) or BASELINE


def attempt_key(
    session: Session, chain: Sequence[Technique], knobs: Mapping[str, Any], seed: int, baseline: Net | None
) -> str:
    """Content key of an attempt: everything that decides its outcome, code and runtimes included."""
    suite = session.suite
    budget = [suite.budget.of(one.start) for one in chain]
    return content_key(
        "attempt", suite.task.key, [(one.name, one.source) for one in chain], knobs, seed, budget,
        max(suite.limits_points), suite.backends[0], suite.threads, suite.models, session.machine.hardware_class,
        suite.batch_sizes[0], suite.measuring.screening_seconds, baseline.hash if baseline else None, session.code,
    )  # fmt: skip


def run_attempt(
    session: Session,
    chain: Sequence[Technique],
    knobs: Mapping[str, Any],
    seed: int,
    baseline: Net | None,
    baseline_seconds: float | None = None,
) -> Attempt:
    """Make one net and judge it.

    ``baseline`` is the trained net of the same seed (``None``: train it now) and ``baseline_seconds`` what it took per
    input when it was screened.

    Raises :class:`AttemptError` if the technique raises, hangs or returns something that is not a usable net.
    """
    key = attempt_key(session, chain, knobs, seed, baseline)
    ledger = Ledger(session.store, key)
    bench = _bench(session, chain, seed, ledger)
    with session.meters.window() as window:
        net = _make(session, chain, knobs, bench, baseline)
    making = ledger.cost
    joules = window.joules
    if ledger.interrupted:
        bench.notes["interrupted"] = True  # the seconds between its last finished step and the stop were not kept
        joules = _unknown(joules, "the attempt was interrupted; the joules before the restart were not kept")
    first = session.backends[0]
    try:
        compiled = session.compiled(net, first)
        score = score_of(compiled, session.splits["validation"], "validation")
        seconds, per_input = _screen(session, compiled, baseline, baseline_seconds)
        reports, known = modelled(session, net)
    except (ValueError, RuntimeError) as error:
        raise AttemptError(f"its net does not run on {first.name}: {sentence(error)}") from error
    reason = first.simulated(net)
    return Attempt(
        key=key,
        task=session.suite.task.name,
        task_key=session.suite.task.key,
        technique=chain_name(chain),
        knobs=dict(knobs),
        seed=seed,
        net=session.save_net(net),
        score=score,
        execution="real" if reason is None else "simulated",
        reason=reason,
        seconds=seconds,
        joules=per_input,
        models={report.model: report.joules for report in reports},
        proxies=known,
        making=Making(
            seconds=making.seconds, cpu_seconds=making.cpu_seconds, image_passes=making.image_passes, joules=joules
        ),
        notes=bench.notes,
        provenance=session.provenance(),
    )


def _bench(session: Session, chain: Sequence[Technique], seed: int, ledger: Ledger) -> Bench:
    suite = session.suite
    return Bench(
        task=suite.task,
        seed=seed,
        limit_points=max(suite.limits_points),
        epochs=suite.budget.of(chain[0].start)[1] if chain else suite.task.recipe.epochs,
        splits={name: split for name, split in session.splits.items() if name != "test"},
        backend=session.backends[0],
        threads=suite.threads,
        training_threads=session.machine.cores,
        model=session.models[0],
        ledger=ledger,
    )


def _make(
    session: Session, chain: Sequence[Technique], knobs: Mapping[str, Any], bench: Bench, baseline: Net | None
) -> Net:
    recipe = session.suite.task.recipe
    # The thread count decides the last digits: it must not depend on what this process measured before.
    torch.set_num_threads(bench.training_threads)
    if baseline is None:
        fresh = Net.new(recipe.builder, session.suite.task.input_shape, seed=bench.seed, **recipe.options)
        optimiser = sgd(recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
        return bench.fit(fresh, epochs=recipe.epochs, optimiser=optimiser)
    net, process = baseline, os.getpid()
    for one in chain:
        mine = f"{one.name}."
        settings = {name.removeprefix(mine): v for name, v in knobs.items() if name.startswith(mine)}
        minutes = session.suite.budget.minutes
        # What other knob settings may share depends on this technique, the net that comes in and the seed, no more.
        bench.shared = f"shared-{content_key(one.name, one.source, net.hash, bench.seed, bench.epochs)}"
        try:
            with time_limit(minutes * 60.0):
                returned = one(net, bench, **(settings if len(chain) > 1 else dict(knobs)))
        except TimeLimit as error:
            raise AttemptError(f"{one.name} ran longer than {minutes:g} minutes and was stopped") from error
        except (Exception, SystemExit, GeneratorExit) as error:  # anybody's code: what it raises is its row's reason
            raise AttemptError(f"{one.name} raised {type(error).__name__}: {sentence(error)}") from error
        _restore(process)
        net = usable(returned, one.name, session.suite.task.classes)
    return net


def _restore(process: int) -> None:
    """Undo what a technique may have left behind: a forked copy of this process, PyTorch's global defaults."""
    if os.getpid() != process:
        os._exit(1)  # the child of a fork must not go on with the run
    torch.set_default_dtype(torch.float32)
    torch.set_default_device("cpu")
    torch.set_grad_enabled(True)


def usable(returned: Any, name: str, classes: int) -> Net:
    """``returned`` if it is a net that builds and gives finite logits; else :class:`AttemptError`."""
    if not isinstance(returned, Net):
        raise AttemptError(f"{name} returned {type(returned).__name__}, not a Net")
    try:
        module = returned.module()
        with torch.no_grad():
            logits = getattr(module, "run", module)(torch.zeros(2, *returned.input_shape))
        finite = bool(torch.isfinite(logits).all())
    except Exception as error:  # the same: a net is made of anybody's builder
        raise AttemptError(f"{name} returned a net that does not run: {sentence(error)}") from error
    if tuple(logits.shape) != (2, classes):
        raise AttemptError(f"{name} returned a net with outputs of shape {tuple(logits.shape)}, not (2, {classes})")
    if not finite:
        raise AttemptError(f"{name} returned a net whose outputs are not finite")
    return returned


def score_of(compiled: Compiled, split: Split, name: str) -> Score:
    """Accuracy of a compiled net on a split, image by image."""
    logits = predict(compiled, split.images)
    if logits.shape[0] != len(split.labels) or not np.isfinite(logits).all():
        raise ValueError("its logits are not finite or not one row an image")
    correct = logits.argmax(1) == split.labels
    return Score(split=name, images=len(correct), accuracy=float(correct.mean()), correct=pack_bits(correct))


def _screen(
    session: Session, compiled: Compiled, baseline: Net | None, baseline_seconds: float | None
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
    )
    images = session.splits["validation"].images[: suite.measuring.images]
    reference = compiled if baseline is None else session.compiled(baseline, session.backends[0])
    pair = Pair("screening", reference, compiled, suite.batch_sizes[0])
    measure_pairs([pair], images, measuring, session.meters)
    own = [middle for _, middle, _ in pair.seconds]
    if baseline_seconds is not None:
        own = [baseline_seconds * middle / (first * last) ** 0.5 for first, middle, last in pair.seconds]
    return seconds_quantity(own), joules_quantity([middle for _, middle, _ in pair.joules])


def _unknown(quantity: Quantity, reason: str) -> Quantity:
    return Quantity(
        value=None, unit=quantity.unit, kind=quantity.kind, method=quantity.method, scope=quantity.scope,
        source=quantity.source, flags=quantity.flags, reason=quantity.reason or reason,
    )  # fmt: skip


def sentence(error: BaseException) -> str:
    """The message of an error as one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:297]}..."


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise :class:`TimeLimit` in the block after ``seconds``. Works in the main thread of a POSIX system."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield  # nothing can interrupt a block here; the caller's own limit has to
        return

    def stop(_number: int, _frame: Any) -> None:
        raise TimeLimit

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
