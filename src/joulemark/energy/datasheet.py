"""Modelled joules from a data sheet: arithmetic over peak performance per watt, the crudest model there is.

Source: R. Desislavov, F. Martinez-Plumed, J. Hernandez-Orallo, "Trends in AI inference energy consumption", Sustainable
Computing 38:100857, 2023. With the two FLOPs that one multiply-accumulate is,

    E = 2 macs / (peak FLOPS / TDP) = 2 macs TDP / peak FLOPS.

It says what a device would need if it always ran at its peak and at its full power, which no net reaches: at batch 1
expect several times more on the meter. All nets are ranked as by their multiply-accumulates. Devices stand in
``datasheet.toml``, each figure with its source.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import msgspec

from joulemark.energy.model import Published
from joulemark.energy.sourced import Constant, told
from joulemark.energy.summing import unknown_flags, unknown_notes
from joulemark.record import EnergyReport, Kind, LayerEnergy, Quantity, Record
from joulemark.vocabulary import unknown_name_message
from joulemark.workloads.workload import Workload

DEFAULT = "rtx-2080-ti"
PAPER = "Method: Desislavov et al., Trends in AI inference energy consumption (SUSCOM 38:100857, 2023)"
FLOPS_PER_MAC = 2
"""A multiplication and an addition."""

ASSUMPTIONS = (
    "the device always runs at its 32-bit floating-point peak and at its thermal design power: nets reach less of both",
    "a multiply-accumulate is two FLOPs, whatever its bits and zeros; other operators, memory and idle cost nothing",
    "no interval: a data sheet does not say how far from the peak a net stays",
)


class Device(Record, frozen=True, kw_only=True):
    """A device by its data sheet."""

    title: str
    peak_flops: Constant
    power_watts: Constant
    published: tuple[Published, ...] = ()

    @property
    def joules_per_mac(self) -> float:
        """Joules of one multiply-accumulate at peak and full power."""
        return FLOPS_PER_MAC * self.power_watts.value / self.peak_flops.value


@cache
def devices() -> Mapping[str, Device]:
    """All devices by name.

    >>> card = devices()["rtx-2080-ti"]
    >>> f"{card.peak_flops.value / card.power_watts.value / 1e9:.1f} GFLOPS/W"
    '53.8 GFLOPS/W'
    """
    text = (files("joulemark.energy") / "datasheet.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), dict[str, Device])


class DataSheet:
    """Energy model of one device of the table, by its peak and its power.

    >>> from joulemark.workloads.workload import Operation
    >>> layer = Operation(layer="fc", operator="linear", input_shape=(1000,), output_shape=(10,),
    ...                   weight_shape=(10, 1000), rows=1, calls=1, macs=10_000)
    >>> DataSheet().estimate(Workload(inputs=1, batch_size=1, operations=(layer,))).joules.value  # 2 x 10,000 x 250 W
    3.717472118959108e-07
    """

    def __init__(self, device: str = DEFAULT) -> None:
        """Take a device of the table. ``ValueError`` for a name that it lacks."""
        if device not in devices():
            raise ValueError(unknown_name_message("device of the data-sheet model", device, devices()))
        self.key, self.device = device, devices()[device]

    @property
    def name(self) -> str:
        """Name of the model, with the device if it is not the first of the table."""
        return "datasheet" if self.key == DEFAULT else f"datasheet:{self.key}"

    @property
    def sources(self) -> tuple[str, ...]:
        """Sources of method and constants."""
        return (PAPER, *told({"peak": self.device.peak_flops, "power": self.device.power_watts}))

    @property
    def variants(self) -> Mapping[str, str]:
        """Devices of the table and their titles."""
        return {name: device.title for name, device in devices().items()}

    @property
    def published(self) -> tuple[Published, ...]:
        """Figures of the literature on this device."""
        return self.device.published

    def variant(self, name: str) -> DataSheet:
        """The model of another device."""
        return DataSheet(name)

    def estimate(self, workload: Workload) -> EnergyReport:
        """Joules per input of all operators that multiply. ``ValueError`` for a workload without inputs."""
        if workload.inputs < 1:
            raise ValueError("a workload without inputs has no joules per input")
        layers = tuple(
            LayerEnergy(
                layer=one.layer,
                operator=one.operator,
                joules={"whole device": self.device.joules_per_mac * one.macs / workload.inputs},
                macs=one.macs / workload.inputs,
            )
            for one in workload.operations
            if one.macs
        )
        joules = Quantity(
            value=self.device.joules_per_mac * workload.known_macs_per_input if layers else None,
            unit="J/input",
            kind=Kind.MODELLED,
            method=f"{self.name} model: 2 macs TDP / peak FLOPS",
            scope=f"{self.device.title} at its peak",
            source="; ".join(self.sources),
            flags=unknown_flags(workload),
            reason=None if layers else "the workload multiplies nothing",
        )
        return EnergyReport(
            model=self.name,
            joules=joules,
            layers=layers,
            coverage=1.0 if layers else 0.0,
            assumptions=(*ASSUMPTIONS, *unknown_notes(workload)),
            sources=self.sources,
        )
