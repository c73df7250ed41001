"""A device profile: layers measured on one machine and backend, what was fitted to them, and how wrong that is.

One JSON file, schema-versioned and sealed by a hash of its content. It holds every raw row, so that anybody can fit
again. It is written as it grows: until the fits are in it, it is unfinished. A profile says nothing about another
machine class, and is refused there.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Annotated

import msgspec

from joulemark.energy.features import Layer, one_group
from joulemark.energy.fitting import Fit
from joulemark.machine.atomic_files import replace_file
from joulemark.machine.machine import this_machine
from joulemark.record import Conditions, Machine, Record, content_key

SCHEMA = 1
"""Version of a profile. It goes up when the meaning of a field changes."""

BACKENDS = ("eager", "onnxruntime", "cuda")
"""What can be calibrated; cuda is eager PyTorch on the GPU."""

Positive = Annotated[float, msgspec.Meta(gt=0)]


class Row(Record, frozen=True, kw_only=True):
    """One measured layer. Seconds are of one call, the whole batch."""

    layer: Layer
    seconds: Positive  # median of the calls
    low: Positive  # quartiles
    high: Positive
    calls: Annotated[int, msgspec.Meta(ge=1)]
    control_seconds: Positive  # the control layer's median in the same seconds, its calls in between
    watts: Positive | None = None  # of everything that has a counter; None: there is none


class Judged(Record, frozen=True, kw_only=True):
    """One net that the fits never saw, at one batch size. Seconds are of one pass, the whole batch."""

    net: str
    batch: int
    seconds: Positive  # median of the passes
    low: Positive
    high: Positive
    passes: Annotated[int, msgspec.Meta(ge=1)]
    control_seconds: Positive
    joules: Positive | None = None  # of one pass; None: no counter
    predicted_seconds: float | None = None  # None: before the fit
    predicted_joules: float | None = None


class DeviceProfile(Record, frozen=True, kw_only=True):
    """What ``joulemark calibrate`` writes. ``seal`` is the content key of everything else in it."""

    schema: int = SCHEMA
    seal: str = ""
    machine: Machine
    backend: str
    precision: str
    threads: int
    versions: dict[str, str]
    seed: int
    planned: int  # rows
    control: Layer
    call_seconds: float  # what a call of the backend costs before any layer: subtracted from rows, added once a net
    free: tuple[str, ...]  # layer types that the backend fuses into the layer before
    rows: tuple[Row, ...] = ()
    fits: tuple[Fit, ...] = ()
    nets: tuple[Judged, ...] = ()
    alone: tuple[Row, ...] = ()  # layers of the nets, measured one by one; no fit sees them
    conditions: tuple[Conditions, ...] = ()  # of the machine, one for each stage

    @property
    def has_watts(self) -> bool:
        """Whether watts were fitted, so that energy can be told."""
        return any(one.quantity == "watts" for one in self.fits)

    def steady(self, seconds: float, control_seconds: float) -> float:
        """Seconds as they would be if the control layer had then taken its median over all rows."""
        return seconds * statistics.median(row.control_seconds for row in self.rows) / control_seconds


def usual_path(backend: str, hardware_class: str) -> Path:
    """Where ``joulemark calibrate`` writes a profile unless told otherwise: below the working directory."""
    return Path("calibration") / f"{hardware_class}-{backend}.json"


def write_profile(path: Path, profile: DeviceProfile) -> None:
    """Seal and write, whole or not at all. Raises ``OSError``."""
    sealed = msgspec.structs.replace(profile, seal=_seal(profile))
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, msgspec.json.encode(sealed) + b"\n")


def read_profile(path: Path) -> DeviceProfile:
    """Read a profile of any machine. ``ValueError`` says in one sentence what is wrong with it."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(
            f"cannot read the device profile {path}: {error.strerror or error}; `joulemark calibrate` writes one"
        ) from error
    try:
        schema = msgspec.json.decode(data, type=_Version).schema
        if schema != SCHEMA:
            raise ValueError(
                f"{path} is a device profile of version {schema}, and this is version {SCHEMA}: calibrate again"
            )
        profile = msgspec.json.decode(data, type=DeviceProfile)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"{path} is no device profile ({error}): make one with `joulemark calibrate`") from error
    if profile.seal != _seal(profile):
        raise ValueError(f"{path} was changed after it was written (its seal does not fit): calibrate again")
    return profile


def own_profile(path: Path) -> DeviceProfile:
    """Read a finished profile of this very machine class. ``ValueError`` for any other, in one sentence."""
    profile = read_profile(path)
    here, there = this_machine().hardware_class, profile.machine.hardware_class
    if here != there:
        raise ValueError(
            f"{path} was calibrated on {there}, and this machine is {here}: run `joulemark calibrate` here"
        )
    if not profile.fits:
        raise ValueError(
            f"{path} is unfinished ({len(profile.rows)} of {profile.planned} layers measured): "
            "run the same `joulemark calibrate` again, it goes on from there"
        )
    for fit in profile.fits:
        layer = next((row.layer for row in profile.rows if row.layer.type == fit.type), None)
        try:
            if layer is not None:
                fit.predict(one_group(layer))
        except IndexError as error:
            raise ValueError(
                f"{path} has a coefficient for a feature that layers of type {fit.type!r} do not have: calibrate again"
            ) from error
    return profile


class _Version(msgspec.Struct):
    """Any version of a profile."""

    schema: int


def _seal(profile: DeviceProfile) -> str:
    return content_key("device profile", msgspec.to_builtins(msgspec.structs.replace(profile, seal="")))
