"""Trying ways to run a net: each is measured in blocks against one baseline, until the time is used up."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from joulemark.auditing.integers import quantised
from joulemark.auditing.subject import Subject
from joulemark.backends.backend import Compiled, Images, backend, variant_name
from joulemark.backends.eager import Eager
from joulemark.backends.onnx import OnnxRuntime
from joulemark.backends.openvino import OpenVino
from joulemark.benchmarking.errors import sentence
from joulemark.benchmarking.free import thread_counts
from joulemark.benchmarking.measuring import Pair, joules_ratio, measure_pairs
from joulemark.benchmarking.output_agreement import agreement
from joulemark.benchmarking.passes import cpu_quantity, outputs, whole_batches
from joulemark.benchmarking.suite import Measuring
from joulemark.judging.statistics import paired_ratio
from joulemark.meters.meters import Meters
from joulemark.record import Agreement, Quantity, Ratio, Record
from joulemark.subjects.onnx_file import FAILURES

WINDOW_SECONDS = 0.2
FEWEST_BLOCKS, MOST_BLOCKS = 4, 12
WINDOWS = 4
"""Windows in a block: two of each net."""

COMPILE_SECONDS = 60.0
"""What torch.compile may take (ours, from a slow machine): with less time left it is not tried."""

AGREEMENT_SHARE = 0.015
"""Share of the whole time that one way may spend on outputs to compare."""

FEWEST_COMPARED = 16
CALIBRATION = 32
"""Images that set the ranges of integers, or half of them where there are fewer than 64: outputs are compared on the
others."""

WINDOWS_SHARE = 0.8
"""Share of a way's time for its windows where there is an energy counter; the rest warms up and compares outputs."""

LONGEST_WINDOW_SECONDS = 10.0
"""Where there is an energy counter: more tells no more (docs/how-we-measure.md)."""


class Way(NamedTuple):
    """One way to run the net."""

    backend: str
    options: tuple[str, ...] = ()
    threads: int = 1
    batch_size: int = 1
    integers: bool = False

    @property
    def title(self) -> str:
        """The way in words."""
        precision = ", int8" if self.integers else ""
        threads = f"{self.threads} {'thread' if self.threads == 1 else 'threads'}"
        return f"{variant_name(self.backend, self.options)}{precision}, {threads}, batch {self.batch_size}"


class Tried(Record, frozen=True, kw_only=True):
    """What one way gave. Per input; ratios are baseline over this."""

    title: str
    backend: str
    options: tuple[str, ...]
    threads: int
    batch_size: int
    precision: str  # "fp32", "bf16", "int8"
    control: bool
    reason: str | None = None  # why it was not measured
    ratio: Ratio | None = None
    seconds: Quantity | None = None
    cpu_ratio: Ratio | None = None
    cpu_seconds: Quantity | None = None
    joules_ratio: Ratio | None = None
    joules: Quantity | None = None
    blocks: tuple[tuple[float, float, float], ...] = ()
    agreement: Agreement | None = None


def ways(subject: Subject, cores: int) -> list[Way]:
    """What is tried, the most telling first; the first is the baseline itself, against which all are measured."""
    most, own = max(thread_counts(cores)), "onnxruntime"
    sizes = (1, 8, 64) if subject.batch is None else (subject.batch,)
    first, last = sizes[0], sizes[-1]
    found = [
        Way(own, (), 1, first),
        Way(own, (), 1, first, True),
        *(Way(own, (), threads, first) for threads in thread_counts(cores)[::-1]),
        *(Way(own, (), 1, size) for size in sizes[::-1]),
        Way(own, (), most, first, True),
        Way(own, (), most, last),
        Way(own, (), 1, last, True),
        *(Way("openvino", options, 1, first) for options in ((), ("static",), ("bf16",))),
        Way("openvino", ("static",), 1, first, True),
        Way("openvino", (), 1, last),
        Way("openvino", ("bf16",), 1, last),
    ]
    if subject.module is not None:
        chosen: tuple[tuple[str, ...], ...] = ((), ("channels_last",), ("bf16",), ("bf16", "channels_last"))
        found += [Way("eager", options, 1, first) for options in chosen]
        found += [Way("eager", (), most, first), Way("eager", ("channels_last",), 1, last)]
    if subject.precision != "fp32":
        # There is nothing left to quantise, and nothing in float32 to round.
        found = [way for way in found if not way.integers and (way.backend, way.options) != ("openvino", ("bf16",))]
    if most > 1:
        found.append(Way(own, ("spin",), most, first))
    if subject.module is not None:
        found.append(Way("eager", ("compile",), 1, first))
    return list(dict.fromkeys(found))


class Trier:
    """Measures ways of one subject on the same images until ``deadline`` (of ``time.monotonic``)."""

    def __init__(self, subject: Subject, images: Images, *, seconds: float, meters: Meters) -> None:
        self.subject, self.images, self.meters, self.seconds = subject, images, meters, seconds
        self.deadline = time.monotonic() + seconds
        self.size = subject.batch or 1
        cut = min(CALIBRATION, len(images) // 2)
        self.calibration = images[:cut] if cut else images
        self._integers: bytes | None = None
        self.baseline = self.made(Way("onnxruntime", (), 1, self.size))
        self.each = self._timed(self.baseline, self.size)  # seconds per input
        others = images[cut:]
        most = max(FEWEST_COMPARED, int(AGREEMENT_SHARE * seconds / self.each))
        self.compared = others[:most]
        self.expected = outputs(self.baseline, self.compared, self.size)
        if not np.isfinite(self.expected).all():
            raise ValueError(
                f"{subject.name} gives outputs that are not finite (NaN or infinity) on these inputs, so nothing can be"
                " compared with it: check the file, and that --scale, --mean and --std are those it was trained with"
            )

    def try_all(self, everything: Sequence[Way], tell: Callable[[str], None]) -> Iterator[Tried]:
        """Try the ways in their order; each gets an equal share of the time that is left."""
        for place, way in enumerate(everything):
            tell(f"{place + 1} of {len(everything)}: {way.title}")
            left = self.deadline - time.monotonic()
            share = left / (len(everything) - place)
            try:
                yield self._try(way, control=place == 0, left=left, share=share)
            except FAILURES as error:  # one that does not run must not stop the others
                yield _not_tried(way, sentence(error), self.subject)

    def made(self, way: Way) -> Compiled:
        """The net ready to run in one way, on images with channels first."""
        if way.backend == "eager" and self.subject.module is not None:
            return Eager(way.options).ready(copy.deepcopy(self.subject.module), way.threads)
        graph = self._quantised() if way.integers else self.subject.graph
        runtime = OpenVino if way.backend == "openvino" else OnnxRuntime
        compiled = runtime(way.options).ready(graph, way.threads)
        return _Turned(compiled) if self.subject.last else compiled

    def _quantised(self) -> bytes:
        if self._integers is None:
            rows = self.subject.rows(self.calibration)
            rows = whole_batches(rows, self.size)
            self._integers = quantised(self.subject.graph, rows, batch_size=self.size)
        return self._integers

    def _try(self, way: Way, *, control: bool, left: float, share: float) -> Tried:
        reason = backend(variant_name(way.backend, way.options)).unavailable()
        if reason is None and "compile" in way.options and left < COMPILE_SECONDS:
            reason = "torch.compile may take longer than the time that was left"
        images = whole_batches(self.images[: max(way.batch_size, 8)], way.batch_size)
        measuring, needed = schedule(share, self.each * len(images), metered=bool(self.meters.sources))
        if reason is None and not control and needed > left:
            reason = "the time was used up: give more --minutes"
        if reason is not None:
            return _not_tried(way, reason, self.subject)
        compiled = self.made(way)
        pair = Pair(way.title, self.baseline, compiled, way.batch_size, baseline_batch_size=self.size)
        compiled.run(images[: way.batch_size])  # what compiles on demand does so before it is timed
        measure_pairs([pair], images, measuring, self.meters)
        found = outputs(compiled, self.compared, way.batch_size)
        return Tried(
            title=way.title,
            backend=way.backend,
            options=way.options,
            threads=way.threads,
            batch_size=way.batch_size,
            precision=_precision(way, self.subject),
            control=control,
            ratio=paired_ratio(pair.seconds),
            seconds=pair.candidate_seconds,
            cpu_ratio=paired_ratio(pair.cpu_seconds),
            cpu_seconds=cpu_quantity([middle for _, middle, _ in pair.cpu_seconds]),
            joules_ratio=joules_ratio(pair.joules),
            joules=pair.candidate_joules,
            blocks=tuple(pair.seconds),
            agreement=agreement(self.expected, found),
        )

    def _timed(self, compiled: Compiled, size: int) -> float:
        """Seconds per input, roughly: the second of two batches."""
        rows = np.ascontiguousarray(whole_batches(self.images, size)[:size])
        compiled.run(rows)
        began = time.perf_counter()
        compiled.run(rows)
        return (time.perf_counter() - began) / size


class _Turned:
    """A graph that takes channels last, fed with channels first; turning them is part of what it costs."""

    def __init__(self, compiled: Compiled) -> None:
        self.compiled = compiled

    def run(self, images: Images) -> Images:
        """Outputs for images with channels first."""
        return self.compiled.run(np.ascontiguousarray(images.transpose(0, 2, 3, 1)))


def schedule(share: float, least: float, *, metered: bool) -> tuple[Measuring, float]:
    """How one way is measured in ``share`` seconds, and the seconds that at least takes; ``least``: one pass.

    With an energy counter there are few blocks and the windows are as long as the share allows, since a counter tells
    little of a short one; without one the windows are short and the blocks many.
    """
    longest = max(least, WINDOW_SECONDS)
    if metered:
        longest = max(longest, min(WINDOWS_SHARE * share / (FEWEST_BLOCKS * WINDOWS), LONGEST_WINDOW_SECONDS))
    blocks = int(np.clip(share / (WINDOWS * longest), FEWEST_BLOCKS, MOST_BLOCKS))
    measuring = Measuring(
        window_seconds=WINDOW_SECONDS, blocks=blocks, joules_window_seconds=longest, joules_blocks=FEWEST_BLOCKS
    )
    return measuring, FEWEST_BLOCKS * WINDOWS * longest


def _precision(way: Way, subject: Subject) -> str:
    return "int8" if way.integers else "bf16" if "bf16" in way.options else subject.precision


def _not_tried(way: Way, reason: str, subject: Subject) -> Tried:
    return Tried(
        title=way.title, backend=way.backend, options=way.options, threads=way.threads, batch_size=way.batch_size,
        precision=_precision(way, subject), control=False, reason=reason,
    )  # fmt: skip
