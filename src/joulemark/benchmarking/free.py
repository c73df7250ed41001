"""What is free comes first: ways to run the unchanged net that cost nothing, measured like any technique.

Runtime, threads, batch size, memory layout, compilation and precision, each against the fp32 baseline on the suite's
first backend at batch 1 on the suite's threads. A technique that gains less than these gains nothing that was not there
for the asking.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from joulemark.backends.backend import DENSE_AS, Backend, Configurable, Images, backend, backend_names, variant_name
from joulemark.backends.fidelity import apart
from joulemark.benchmarking.errors import sentence
from joulemark.benchmarking.measuring import (
    Pair,
    joules_ratio,
    joules_values,
    measure_pairs,
)
from joulemark.benchmarking.output_agreement import agreement
from joulemark.benchmarking.passes import cpu_quantity, outputs, whole_batches
from joulemark.benchmarking.tracing import free_by, key_of
from joulemark.benchmarking.truths import truth_of
from joulemark.judging.losses import pooled_loss
from joulemark.judging.stability import disturbances
from joulemark.judging.statistics import paired_ratio
from joulemark.judging.truths import score_of_logits
from joulemark.machine.machine import activity, computed_by_detours, conditions
from joulemark.nets.layers.layer import is_stochastic
from joulemark.record import FreeTrial, Kind, Quantity, content_key

if TYPE_CHECKING:
    from joulemark.benchmarking.session import Session, StoredNet

BATCH_SIZES = (1, 8, 64)
VARIANT_BATCH_SIZES = (1, 64)
SCORED_BATCH = 64
"""Batch size of the accuracy pass, except for a compiled net, which runs in the shape it was compiled for."""
GROUP = 6
"""Settings measured together, their blocks shuffled; a run that is killed loses one group at most."""
VARIANTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "eager": (("channels_last",), ("bf16",), ("bf16", "channels_last"), ("compile",)),
    "openvino": (("static",), ("bf16",), ("bf16", "static")),
}
"""Options that are tried together; of other backends each option is tried alone."""


Tell = Callable[[str, int, int, float | None], None]
"""Hears of each group: a title, settings measured, settings kept, seconds; no seconds yet when it starts."""


class Setting(NamedTuple):
    """One way to run the net."""

    backend: str
    options: tuple[str, ...]
    threads: int
    batch_size: int

    @property
    def variant(self) -> str:
        """Name of the backend with its options."""
        return variant_name(self.backend, self.options)

    @property
    def title(self) -> str:
        """The setting in words."""
        return f"{self.variant}, {self.threads} {'thread' if self.threads == 1 else 'threads'}, batch {self.batch_size}"


def thread_counts(cores: int) -> tuple[int, ...]:
    """1, 2, 4, ... and all cores.

    >>> thread_counts(6), thread_counts(1)
    ((1, 2, 4, 6), (1,))
    """
    return tuple(sorted({*(2**power for power in range(cores.bit_length())), cores}))


def settings(session: Session) -> list[Setting]:
    """All settings of a suite on this machine, the baseline's own first: it is the A/A control."""
    cores, suite = session.machine.cores, session.suite
    own = Setting(suite.backends[0], (), suite.threads, 1)
    found = [own]
    names = [name for name in backend_names() if name not in DENSE_AS]  # the baseline has no masks
    for name in sorted(names, key=lambda name: (name != own.backend, name)):
        plain, reason = _opened(name)
        if plain is None or reason is not None:
            found.append(Setting(name, (), suite.threads, 1))  # once, to say why not
            continue
        counts = sorted({*thread_counts(cores), suite.threads})
        found += [Setting(name, (), threads, size) for threads in counts for size in BATCH_SIZES]
        options = plain.options if isinstance(plain, Configurable) else {}
        for chosen in VARIANTS.get(name, tuple((option,) for option in options)):
            # Spinning is a way to wait for other threads: with one there is nothing to wait for.
            threads = max(counts) if chosen == ("spin",) else suite.threads
            possible = _opened(variant_name(name, chosen))[1] is None
            found += [Setting(name, chosen, threads, size) for size in (VARIANT_BATCH_SIZES if possible else (1,))]
    return list(dict.fromkeys(found))


def _opened(variant: str) -> tuple[Backend | None, str | None]:
    """A backend and why it cannot run here, if it cannot."""
    try:
        made = backend(variant)
    except ImportError as error:
        return None, f"its package is not installed: {sentence(error)}"
    return made, made.unavailable()


def free_inputs(session: Session, baseline: StoredNet, setting: Setting) -> str:
    """Digest of all that goes into one free trial, but for code: the net, the setting and how it is measured."""
    suite = session.suite
    return content_key(
        "free", baseline.hash, suite.task.key, suite.backends[0], suite.threads, suite.measuring, tuple(setting),
        session.machine.hardware_class,
    )  # fmt: skip


def measure_free(session: Session, baseline: StoredNet, seed: int, tell: Tell, keep: Callable[[str], None]) -> None:
    """Measure and store every setting that is not stored yet; one that could not run is tried again.

    ``keep`` hears of every key.
    """
    everything = settings(session)
    done = 0
    for group in _groups(everything, session.suite.measuring.order_seed):
        stored = {one: session.current(FreeTrial, free_inputs(session, baseline, one)) for one in group}
        missing = [one for one, record in stored.items() if record is None or record.reason is not None]
        keys = {one: record.key for one, record in stored.items() if record is not None}
        done += len(group)
        title = f"what is free: {done} of {len(everything)} settings"
        began = time.monotonic()
        tell(title, 0, 0, None)
        for record in _measured(session, baseline, seed, missing):
            session.store.put(record)
            keys[Setting(record.backend, record.options, record.threads, record.batch_size)] = record.key
        for one in group:
            keep(keys[one])
        tell(title, len(missing), len(group) - len(missing), time.monotonic() - began)


def _groups(everything: Sequence[Setting], order_seed: int) -> Iterator[list[Setting]]:
    order = np.random.default_rng(order_seed).permutation(len(everything))
    for start in range(0, len(order), GROUP):
        yield [everything[index] for index in order[start : start + GROUP]]


class _Ready(NamedTuple):
    """A setting made ready to be measured."""

    setting: Setting
    pair: Pair
    seconds: float  # that making it ready took


def _measured(session: Session, baseline: StoredNet, seed: int, group: Sequence[Setting]) -> Iterator[FreeTrial]:
    """Measure a group of settings in shuffled blocks; those that cannot run come back with the reason."""
    ready: list[_Ready] = []
    for setting in group:
        made, reason = _opened(setting.variant)
        if made is not None and reason is None:
            try:
                ready.append(_ready(session, baseline, setting, made))
            except (ValueError, RuntimeError) as error:  # one that does not run must not stop the others
                reason = f"it could not run: {sentence(error)}"
        if reason is not None:
            yield _blank(session, baseline, seed, setting, reason)
    measuring = session.suite.measuring
    order_seed = int(content_key(measuring.order_seed, [tuple(one) for one in group]), 16) % 2**32
    before = activity()
    itself = _control(session, baseline, ready)
    pairs = [one.pair for one in ready if one.pair is not itself] + ([itself] if itself is not None else [])
    order = tuple(measure_pairs(pairs, _images(session), measuring, session.meters, order_seed=order_seed))
    seen = conditions(before, activity())
    for one in ready:
        try:
            record = _trial(session, baseline, seed, one)
        except ValueError as error:  # outputs that are not finite, or another net's
            record = _blank(session, baseline, seed, one.setting, sentence(error))
        control = None if itself is None else paired_ratio(itself.seconds)
        record = msgspec.structs.replace(
            record, order=order, order_seed=order_seed, conditions=seen, control_ratio=control
        )
        slower = computed_by_detours(record.precision)
        yield msgspec.structs.replace(record, flags=(*([slower] if slower else []), *disturbances(seen)))


def _control(session: Session, baseline: StoredNet, ready: Sequence[_Ready]) -> Pair | None:
    """The A/A control of a group: the baseline against a second compilation of itself; ``None`` for an empty group."""
    own = Setting(session.suite.backends[0], (), session.suite.threads, 1)
    if not ready:
        return None
    there = next((one.pair for one in ready if one.setting == own), None)
    return there or _ready(session, baseline, own, session.backends[0]).pair


def _images(session: Session) -> Images:
    """The images of every window: whole batches at every size, so that all settings run the same ones."""
    return whole_batches(session.splits["validation"].images[: session.suite.measuring.images], max(BATCH_SIZES))


def _ready(session: Session, baseline: StoredNet, setting: Setting, made: Backend) -> _Ready:
    images = _images(session)
    began = time.perf_counter()
    compiled = made.compile(baseline.net, threads=setting.threads)
    compiled.run(images[: setting.batch_size])  # what compiles on demand does so here
    seconds = time.perf_counter() - began
    reference = session.compiled(baseline, session.backends[0])
    return _Ready(
        setting, Pair(setting.title, reference, compiled, setting.batch_size, baseline_batch_size=1), seconds
    )  # fmt: skip


def _trial(session: Session, baseline: StoredNet, seed: int, one: _Ready) -> FreeTrial:
    split, pair = session.splits["validation"], one.pair
    size = one.setting.batch_size if "compile" in one.setting.options else SCORED_BATCH
    reference = outputs(pair.baseline, split.images, SCORED_BATCH)
    logits = outputs(pair.candidate, split.images, size)
    near = agreement(reference, logits)
    blank = _blank(session, baseline, seed, one.setting, None)
    exact = "fp32" if {blank.precision, session.backends[0].precision} == {"fp32"} else "bf16"
    parted, allowed = apart(logits, reference, reference, exact)
    if not parted <= allowed and not is_stochastic(baseline.net.module()):
        raise ValueError(f"it computes another net: its outputs are {parted:.2g} off, {allowed:.2g} allowed")
    truth = truth_of(session, "validation", baseline)
    scores = [score_of_logits(array, truth, session.suite.task.metric) for array in (reference, logits)]
    loss, bound = pooled_loss(scores[:1], scores[1:], {truth.key: truth})
    return msgspec.structs.replace(
        blank,
        ratio=paired_ratio(pair.seconds),
        seconds=pair.candidate_seconds,
        cpu_ratio=paired_ratio(pair.cpu_seconds),
        cpu_seconds=cpu_quantity([middle for _, middle, _ in pair.cpu_seconds]),
        joules_ratio=joules_ratio(pair.joules),
        joules=pair.candidate_joules,
        blocks=tuple(pair.seconds),
        cpu_blocks=tuple(pair.cpu_seconds),
        joules_blocks=tuple((a, b, c) for a, b, c in joules_values(pair.joules)),
        turned=tuple(pair.turned),
        ready_seconds=one.seconds,
        agreement=near,
        score=scores[1],
        baseline_score=scores[0],
        loss_points=loss,
        loss_bound=bound,
    )


def _blank(session: Session, baseline: StoredNet, seed: int, setting: Setting, reason: str | None) -> FreeTrial:
    """A record without measurements."""
    suite = session.suite
    made, _ = _opened(setting.variant)
    unknown = Quantity(
        value=None, unit="s/input", kind=Kind.MEASURED, method="monotonic clock, median of windows",
        scope="the call of the compiled net, inputs ready in memory", source="time.perf_counter_ns", reason=reason,
    )  # fmt: skip
    joules = msgspec.structs.replace(unknown, unit="J/input", method="energy counter, median of windows", source="")
    control = setting == Setting(suite.backends[0], (), suite.threads, 1)
    code = free_by(session, baseline.net, made)
    return FreeTrial(
        key=key_of(free_inputs(session, baseline, setting), code),
        code=code,
        task=suite.task.name,
        task_key=suite.task.key,
        hardware_class=session.machine.hardware_class,
        seed=seed,
        net=baseline.hash,
        backend=setting.backend,
        options=setting.options,
        threads=setting.threads,
        batch_size=setting.batch_size,
        precision=made.precision if made else "unknown",
        control=control,
        reason=reason,
        seconds=unknown,
        cpu_seconds=cpu_quantity([], reason),
        joules=joules,
        provenance=session.provenance(),
    )
