"""An audit made up by hand: no net was opened, nothing was timed."""

from __future__ import annotations

from joulemark.auditing.audit import Audit
from joulemark.auditing.trying import Tried
from joulemark.record import Agreement, EnergyReport, Kind, LayerEnergy, Machine, Quantity, Ratio
from joulemark.workloads.workload import Operation, Workload

NEAR = Agreement(
    images=200,
    same_class=0.975,
    low=0.943,
    high=0.989,
    largest_difference=1.0,
    mean_relative=0.02,
    largest_relative=0.3,
)
MACHINE = Machine(
    hardware_class="toy-cpu", processor="Toy CPU 3000", cores=2, memory_bytes=None, accelerator=None, system="x",
    virtual=None, governor=None,
)  # fmt: skip


def quantity(value: float | None, unit: str = "s/input", kind: Kind = Kind.MEASURED, **changes) -> Quantity:
    return Quantity(value=value, unit=unit, kind=kind, method="m", scope="s", source="t", **changes)


def ratio(low: float, value: float, high: float) -> Ratio:
    return Ratio(value=value, low=low, high=high, count=8)


def made(title, found, **changes) -> Tried:
    """A way with its ratio as (low, value, high); ``None``: it was not measured."""
    known = {"backend": "onnxruntime", "options": (), "threads": 1, "precision": "fp32", "batch_size": 1,
             "control": False}  # fmt: skip
    return Tried(title=title, ratio=None if found is None else ratio(*found), **{**known, **changes})


def timed(title, found, **changes) -> Tried:
    """The same with seconds and CPU-seconds."""
    return made(title, found, **{"seconds": quantity(2e-3), "cpu_seconds": quantity(3e-3), **changes})


def layer(name: str, joules: float, operator: str = "conv", macs: float = 100.0) -> LayerEnergy:
    return LayerEnergy(layer=name, operator=operator, joules={"MAC": joules / 2, "DRAM": joules / 2}, macs=macs)


LAYERS = (layer("conv1", 3e-6), layer("fc1", 1e-6, "linear", 50.0))


def made_audit(*tried: Tried, layers=LAYERS, **changes) -> Audit:
    total = sum(sum(one.joules.values()) for one in layers)
    energy = EnergyReport(
        model="toy-model", joules=quantity(total or None, "J/input", Kind.MODELLED), layers=tuple(layers), coverage=0.8,
        assumptions=("weights fit the buffer",), sources=("Someone 2016",),
    )  # fmt: skip
    work = Operation(layer="conv1", operator="conv", input_shape=(1,), output_shape=(1,), rows=1, calls=1, macs=1234567)
    known = {
        "net": "toy.onnx", "inputs": "folder, as it is", "random": False, "input_shape": (1, 8, 8), "images": 80,
        "baseline": "ONNX Runtime, 1 thread, batch 1", "energy": energy, "advice": "Do this.", "notes": (),
        "workload": Workload(inputs=1, batch_size=1, operations=(work,)), "machine": MACHINE, "versions": {},
        "seconds": 61.7,
    }  # fmt: skip
    return Audit(tried=tried, **{**known, **changes})
