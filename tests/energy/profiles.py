"""A small device profile whose numbers are planted."""

from __future__ import annotations

from pathlib import Path

import msgspec

from joulemark.calibrate.sampling import CONTROL
from joulemark.energy.device import DeviceProfile, Judged, Row, write_profile
from joulemark.energy.features import Layer
from joulemark.energy.fitting import Fit
from joulemark.machine.machine import this_machine, versions


def line(kind: str, quantity: str, intercept: float, *terms: tuple[int, float]) -> Fit:
    return Fit(
        type=kind, quantity=quantity, method="lasso", intercept=intercept, coefficients=terms, rows=50, rmspe=0.2,
        median_error=0.1,
    )  # fmt: skip


def planted_profile(*, watts: bool = False, **changes) -> DeviceProfile:
    """Fully connected: 1 ms + 1 us a row and output; ReLU: 2 us + 1 ns an element. With ``watts`` 50 W and 20 W."""
    fits = [line("fc", "seconds", 1e-3, (6, 1e-6)), line("relu", "seconds", 2e-6, (0, 1e-9))]
    if watts:
        fits += [line("fc", "watts", 50.0), line("relu", "watts", 20.0)]
    row = Row(
        layer=Layer(type="relu", batch=1, input=(8,), output=(8,)), seconds=2e-6, low=1.9e-6, high=2.2e-6, calls=9,
        control_seconds=3e-4,
    )  # fmt: skip
    net = Judged(
        net="lenet", batch=1, seconds=1e-3, low=9e-4, high=1.1e-3, passes=5, control_seconds=3e-4,
        predicted_seconds=1.1e-3,
    )  # fmt: skip
    profile = DeviceProfile(
        machine=this_machine(), backend="eager", precision="fp32", threads=1, versions=versions(), seed=0, planned=1,
        control=CONTROL, call_seconds=0.0, free=(), rows=(row,), fits=tuple(fits), nets=(net,),
    )  # fmt: skip
    return msgspec.structs.replace(profile, **changes)


def planted_times() -> DeviceProfile:
    """Of convolutions 1 us + 0.1 ns a MAC, of fully connected layers 2 us + 1 ns a MAC; all else is free."""
    fits = (line("conv", "seconds", 1e-6, (120, 1e-10)), line("fc", "seconds", 2e-6, (20, 1e-9)))
    return planted_profile(fits=fits, free=("relu", "pool", "batch_norm", "add", "mean", "pad"))


def write_usual(backend: str, profile: DeviceProfile) -> Path:
    """Write a profile where ``joulemark calibrate`` would, below the working directory."""
    path = Path("calibration") / f"{this_machine().hardware_class}-{backend}.json"
    write_profile(path, msgspec.structs.replace(profile, backend=backend))
    return path
