"""A bench on which every layer takes what a planted polynomial says, at once."""

from __future__ import annotations

import os
from math import prod
from pathlib import Path

from joulemark.calibrate.sampling import CONTROL
from joulemark.calibrate.timing import Timed
from joulemark.energy.device import DeviceProfile
from joulemark.energy.features import Layer
from joulemark.machine.machine import this_machine, versions
from joulemark.workloads.workload import Operation, Workload

PLANNED = 320  # so that there are enough poolings and fully connected layers for a fit


def planted(layer: Layer) -> float:
    """Seconds of a call: linear in physical terms that are among the features of every type."""
    seconds = 3e-6 + 1e-11 * layer.macs + 2e-11 * layer.weights
    if layer.type in ("conv", "fc"):
        return seconds
    return seconds + 3e-10 * (layer.batch * prod(layer.output) if layer.type == "pool" else layer.moved)


def tiny_net(name: str) -> Workload:
    """Two layers, of one input; ``name`` says how many filters."""
    filters = int(name)
    return Workload(
        inputs=1,
        batch_size=1,
        operations=(
            Operation(
                layer="conv", operator="conv", input_shape=(16, 28, 28), output_shape=(filters, 28, 28),
                weight_shape=(filters, 16, 3, 3), stride=(1, 1), padding=(1, 1), dilation=(1, 1), rows=1, calls=1,
                macs=filters * 28 * 28 * 16 * 9,
            ),
            Operation(
                layer="relu", operator="relu", input_shape=(filters, 28, 28), output_shape=(filters, 28, 28), rows=1,
                calls=1, macs=0,
            ),
        ),
    )  # fmt: skip


class FakeBench:
    """Takes no time. ``slow`` multiplies nets, ``watts`` is what everything draws; it can be killed in the middle."""

    def __init__(self, *, slow: float = 1.0, watts: float | None = None, die_at: int | None = None) -> None:
        self.slow, self.watts, self.die_at = slow, watts, die_at
        self.measured: list[str] = []

    def layer(self, layer: Layer) -> Timed:
        self._one(layer.type)
        seconds = planted(layer)
        return Timed(seconds, 0.9 * seconds, 1.1 * seconds, 9, 3e-4, self.watts)

    def net(self, name: str, batch: int) -> Timed:
        from joulemark.calibrate.held_out import at_batch, layers_of

        self._one(name)
        layers = layers_of(at_batch(tiny_net(name), batch))
        seconds = self.slow * sum(calls * planted(layer) for layer, calls in layers if layer)
        return Timed(seconds, seconds, seconds, 4, 3e-4, self.watts)

    def call_seconds(self) -> float:
        return 0.0

    def _one(self, what: str) -> None:
        if self.die_at is not None and len(self.measured) >= self.die_at:
            os.kill(os.getpid(), 9)
        self.measured.append(what)


def fresh(**changes) -> DeviceProfile:
    settings = {
        "machine": this_machine(), "backend": "eager", "precision": "fp32", "threads": 1, "versions": versions(),
        "seed": 0, "planned": PLANNED, "control": CONTROL, "call_seconds": 0.0, "free": (),
    }  # fmt: skip
    return DeviceProfile(**{**settings, **changes})


def run(path: Path, bench: FakeBench, *, nets: tuple[str, ...] = ("8", "32"), listen=None, clock=None, **changes):
    """Calibrate on the fake bench."""
    from joulemark.calibrate.calibrate import calibrate

    extra = {} if clock is None else {"clock": clock}
    return calibrate(
        path, bench, fresh(**changes), minutes=5.0, nets=nets, listen=listen or (lambda event: None),
        workload_of=tiny_net, **extra,
    )  # fmt: skip
