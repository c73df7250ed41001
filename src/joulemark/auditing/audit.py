"""The audit: the per-layer picture, what this machine would give, and advice, within a few minutes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from joulemark.auditing.advice import advice
from joulemark.auditing.images import Preprocessing, random_images, read_images
from joulemark.auditing.subject import Subject, open_subject
from joulemark.auditing.trying import CALIBRATION, Tried, Trier, ways
from joulemark.benchmarking.passes import whole_batches
from joulemark.energy.model import energy_model
from joulemark.machine.machine import quiet_checks, this_machine, versions
from joulemark.meters.meters import open_meters
from joulemark.record import Check, EnergyReport, Machine, Record
from joulemark.subjects.graph import record_graph
from joulemark.workloads.workload import Workload

MOST_IMAGES = 232
"""32 that calibrate and 200 to compare outputs on."""

RECORDED = 4
"""Inputs whose operations are recorded: zeros differ between inputs, operations do not."""

RESERVE = 0.15
"""Share of the time kept for opening, modelling and what overruns."""


class Audit(Record, frozen=True, kw_only=True):
    """Everything an audit says."""

    net: str
    inputs: str  # where they came from and what was done to them
    random: bool  # inputs are noise
    input_shape: tuple[int, ...]
    images: int
    baseline: str
    workload: Workload
    energy: EnergyReport
    tried: tuple[Tried, ...]
    advice: str
    notes: tuple[str, ...]
    machine: Machine
    versions: dict[str, str]
    seconds: float  # that the audit took


def audit(
    net: str | Subject,
    images: Path | NDArray[np.float32] | None,
    *,
    how: Preprocessing,
    shape: tuple[int, ...] | None = None,
    minutes: float = 5.0,
    tell: Callable[[str], None] = lambda line: None,
) -> Audit:
    """Audit ``model.onnx``, ``package.module:function`` or a net that is open. ``ValueError`` says what cannot be used.

    ``images`` are a folder, a ``.npy`` file or float32 inputs (inputs, ...) that are ready. ``tell`` hears a line
    before each step.
    """
    began = time.monotonic()
    tell("opening the net")
    subject = open_subject(net, shape) if isinstance(net, str) else net
    tell("reading images")
    rows, told = _rows(images, subject, how), _told(images, subject, how)
    checks = quiet_checks()
    tell("recording what it executes")
    size = subject.batch or 1
    workload = record_graph(
        subject.graph, subject.rows(whole_batches(rows[: max(RECORDED, size)], size)), batch_size=size
    )
    energy = energy_model("row-stationary").estimate(workload)
    machine = this_machine()
    with open_meters(checked=False) as meters:
        left = 60 * minutes * (1 - RESERVE) - (time.monotonic() - began)
        trier = Trier(subject, rows, seconds=max(left, 1.0), meters=meters)
        everything = ways(subject, machine.cores)
        tried = tuple(trier.try_all(everything, tell))
    return Audit(
        net=subject.name,
        inputs=told,
        random=images is None,
        input_shape=subject.shape,
        images=len(rows),
        baseline=everything[0].title,
        workload=workload,
        energy=energy,
        tried=tried,
        advice=advice(tried, energy.layers, images=None if images is None else told),
        notes=tuple(_notes(subject, checks, len(rows), random=images is None)),
        machine=machine,
        versions=versions(),
        seconds=time.monotonic() - began,
    )


def _rows(images: Path | NDArray[np.float32] | None, subject: Subject, how: Preprocessing) -> NDArray[np.float32]:
    if images is None:
        return random_images(subject.shape, MOST_IMAGES // 4)
    if isinstance(images, Path):
        return read_images(images, subject.shape, how, most=MOST_IMAGES)
    return images[:MOST_IMAGES]


def _told(images: Path | NDArray[np.float32] | None, subject: Subject, how: Preprocessing) -> str:
    if images is None:
        return "random normal numbers"
    if not isinstance(images, Path):
        return "given by the caller, as they are"
    return f"{images}, as it is" if images.suffix == ".npy" else f"{images}: {how.words(subject.shape)}"


def _notes(subject: Subject, checks: list[Check], images: int, *, random: bool) -> list[str]:
    notes = []
    if random:
        notes.append(
            "NO IMAGES WERE GIVEN: inputs are random numbers. Times hold; agreement of outputs, ranges of integers and"
            " the zeros in the energy picture mean nothing. Give --images."
        )
    elif subject.precision == "fp32" and images < 2 * CALIBRATION:
        own = "the very image that set their ranges" if images < 2 else "the half that did not set their ranges"
        notes.append(
            f"Only {images} {'image was' if images == 1 else 'images were'} found: outputs of eight-bit integers are"
            f" compared on {own}. Give {2 * CALIBRATION} or more."
        )
    if subject.precision != "fp32":
        notes.append(
            "The file is quantised already: its own eight-bit integers are the baseline, and what they do to its"
            " outputs is not known. Give the float32 file for that."
        )
    if subject.batch is not None:
        notes.append(f"The file fixes the batch at {subject.batch}: export it with a free batch axis to try others.")
    if subject.module is None:
        notes.append("PyTorch's layouts and bf16 are not tried for an ONNX file: give the torch module as"
                     " package.module:function for them.")  # fmt: skip
    busy = [check.detail for check in checks if check.ok is False and check.name != "virtual machine"]
    if busy:
        notes.append(f"The machine is not quiet ({'; '.join(busy)}): intervals are wider than they need be.")
    return notes
