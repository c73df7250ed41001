"""The learned energy model: NeuralPower's method on a device profile of this machine.

Source: E. Cai et al., "NeuralPower", ACML 2017. One regression of seconds and one of watts for each layer type
(:mod:`joulemark.energy.features`, :mod:`joulemark.energy.fitting`); with the layers n of a net

    T = sum_n T_n        E = sum_n T_n P_n        P = E / T

Where no counter was there to calibrate with, there are seconds and no joules. Ours, since the paper fits conv, fully
connected, pooling and norm layers only: the other operators of real nets have regressions of their own; a convolution
of up to four groups is that many convolutions side by side; what a backend is known to fuse costs nothing
(``DeviceProfile.free``); what a call costs before any layer runs is counted once a net instead of once a layer.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path

import msgspec

from joulemark.energy.device import BACKENDS, DeviceProfile, Judged, own_profile, usual_path
from joulemark.energy.features import Layer, layer_of, one_group
from joulemark.energy.fitting import Fit
from joulemark.energy.summing import check_inputs, unknown_flags, unknown_notes
from joulemark.machine.machine import this_machine
from joulemark.record import EnergyReport, Kind, LayerEnergy, Quantity
from joulemark.vocabulary import unknown_name_message
from joulemark.workloads.workload import Operation, Workload

SOURCES = (
    "method and features: E. Cai et al., NeuralPower, ACML 2017, and its released code",
    "coefficients: fitted to layers measured on this machine by `joulemark calibrate`",
)

ASSUMPTIONS = (
    "a net takes the sum of its layers, each as when it runs alone",
    "values do not matter: zeros take as long as any number",
)


def device_model(path: Path) -> Learned:
    """The model of a profile that was calibrated on this machine class. ``ValueError`` says why it cannot be used."""
    return Learned(own_profile(path))


def named_model(name: str) -> Learned:
    """The model that a suite or command calls ``name``: "learned:<backend>", or the path of a profile.

    Of a backend it is the profile that ``joulemark calibrate --backend <backend>`` wrote for this machine where it
    writes by itself. Raises ``ValueError`` for a profile that is missing, unfinished or not of this machine and
    backend.
    """
    family, _, backend = name.partition(":")
    if family != "learned":
        return Learned(own_profile(Path(name)), name)
    if backend not in BACKENDS:
        known = [f"learned:{one}" for one in BACKENDS]
        raise ValueError(unknown_name_message("calibrated device", name, known))
    path = usual_path(backend, this_machine().hardware_class)
    command = f"`joulemark calibrate --backend {backend}`"
    if not path.is_file():
        raise ValueError(f"{name} needs the device profile {path}, which is not there: run {command} first")
    profile = own_profile(path)
    if profile.backend != backend:
        raise ValueError(f"{path} was calibrated on the backend {profile.backend}: run {command}")
    return Learned(profile, name)


class Learned:
    """Energy model of one calibrated device."""

    sources = SOURCES

    def __init__(self, profile: DeviceProfile, name: str = "learned") -> None:
        """Take a profile that has fits."""
        self.profile = profile
        self.name = name
        self._fits = {(one.type, one.quantity): one for one in profile.fits}

    @property
    def content(self) -> str:
        """The seal of its profile: what it says depends on nothing else but code."""
        return self.profile.seal

    def seconds_of(self, layer: Layer) -> float | None:
        """Seconds of one call of a layer, whole batch; ``None`` for a type without a fit."""
        if layer.type in self.profile.free:
            return 0.0
        fit = self._fits.get((layer.type, "seconds"))
        return (
            None if fit is None else max(0.0, layer.groups * fit.predict(one_group(layer)) - self.profile.call_seconds)
        )

    def watts_of(self, layer: Layer) -> float | None:
        """Watts while a layer runs; ``None`` where none were fitted."""
        fit: Fit | None = self._fits.get((layer.type, "watts"))
        return None if fit is None else fit.predict(one_group(layer))

    def estimate(self, workload: Workload) -> EnergyReport:
        """Seconds per input and, if watts were fitted, joules per input; what has no fit lowers the coverage.

        A layer is predicted at the mean rows of its calls, rounded to at least one, and scaled to the rows that it had.
        Raises ``ValueError`` for a workload without inputs.
        """
        check_inputs(workload)
        layers, notes, covered = [], [], 0
        for operation in workload.operations:
            found = self._layer(operation, workload.inputs)
            if found is None:
                notes.append(f"not described: {operation.operator} of {operation.layer!r}, {operation.macs} MACs")
                continue
            layers.append(found)
            covered += operation.macs
        notes += [*_notes_on_signals(workload), *unknown_notes(workload)]
        return self._report(workload, tuple(layers), covered, notes)

    def _layer(self, operation: Operation, inputs: int) -> LayerEnergy | None:
        rows = max(1, round(operation.rows / operation.calls)) if operation.calls else 1
        layer = layer_of(operation, rows)
        seconds = None if layer is None else self.seconds_of(layer)
        if layer is None or seconds is None:
            return None
        seconds *= operation.rows / rows / inputs
        watts = self.watts_of(layer)
        return LayerEnergy(
            layer=operation.layer,
            operator=operation.operator,
            joules={} if watts is None else {"device": seconds * watts},
            macs=operation.macs / inputs,
            seconds=seconds,
        )

    def _report(
        self, workload: Workload, layers: tuple[LayerEnergy, ...], covered: int, notes: Sequence[str]
    ) -> EnergyReport:
        macs = sum(operation.macs for operation in workload.operations)
        once = self.profile.call_seconds / min(workload.batch_size, workload.inputs)
        seconds = math.fsum([once, *(layer.seconds or 0.0 for layer in layers)]) if layers else None
        known = bool(layers) and all(layer.joules or not layer.seconds for layer in layers)
        joules = math.fsum(value for layer in layers for value in layer.joules.values()) if known else None
        profile = self.profile
        where = f"{profile.backend} on {profile.machine.processor}, {profile.threads} threads"
        quantity = Quantity(
            value=seconds, unit="s/input", kind=Kind.MODELLED, method=f"learned model, batch {workload.batch_size}",
            scope=where, source="; ".join(SOURCES), reason=None if layers else "no layer has a fit",
            flags=unknown_flags(workload),
        )  # fmt: skip
        coverage = covered / macs if macs else 0.0
        return EnergyReport(
            model=self.name,
            joules=msgspec.structs.replace(quantity, value=joules, unit="J/input", reason=self._no_joules(joules)),
            layers=layers,
            coverage=coverage,
            assumptions=(self.told(), *ASSUMPTIONS, *notes),
            sources=SOURCES,
            seconds=quantity,
        )

    def _no_joules(self, joules: float | None) -> str | None:
        if joules is not None:
            return None
        if not self.profile.has_watts:
            return "power is missing: no energy counter where this device was calibrated, so seconds alone were fitted"
        return "some layers of this net have no fitted power"

    def told(self) -> str:
        """What is predicted, and how far such predictions were off on nets never seen."""
        error = median_net_error(self.profile)
        off = (
            "its error on whole nets was not judged" if error is None else f"nets never seen: {error:.1%} off (median)"
        )
        return f"seconds predicted for {self.profile.backend}, modelled, not measured; {off}"


def _notes_on_signals(workload: Workload) -> list[str]:
    """What is to be said of 1-D convolutions, if there are any (:func:`joulemark.energy.features.layer_of`)."""
    if any(one.operator == "conv" and len(one.weight_shape or ()) == 3 for one in workload.operations):
        return ["1-D convolutions are predicted as 2-D ones of height 1; the fits saw images that are mostly square"]
    return []


def median_net_error(profile: DeviceProfile, quantity: str = "seconds") -> float | None:
    """Median of the relative errors over the judged nets, each at all its batch sizes; ``None`` if there are none."""
    errors = [error for one in profile.nets if (error := net_error(profile, one, quantity)) is not None]
    return statistics.median(abs(error) for error in errors) if errors else None


def net_error(profile: DeviceProfile, one: Judged, quantity: str = "seconds") -> float | None:
    """Relative error of one judged net, predicted over measured less 1; ``None`` if either is not known."""
    predicted, measured = (
        (one.predicted_joules, one.joules)
        if quantity == "joules"
        else (one.predicted_seconds, profile.steady(one.seconds, one.control_seconds))
    )
    return None if predicted is None or measured is None else predicted / measured - 1.0
