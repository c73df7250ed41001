"""Profiles made up by hand: no net was run."""

from __future__ import annotations

from joulemark.profiling.profile import Layer, Modelled, Profile
from joulemark.record import Kind, Quantity


def quantity(value: float | None, **changes) -> Quantity:
    known = {"unit": "J/input", "kind": Kind.MODELLED, "method": "m", "scope": "s", "source": "t"}
    return Quantity(value=value, **{**known, **changes})


def layer(name: str, operator: str = "conv", macs: float = 0.0, **changes) -> Layer:
    known = {"input": "1x8x8", "output": "4x6x6", "weights": None, "rows": 1.0, "bytes": 100.0, "joules": {}}
    return Layer(layer=name, operator=operator, macs=macs, **{**known, **changes})


def modelled(name: str = "toy", joules: Quantity | None = None, **changes) -> Modelled:
    known = {"components": {}, "coverage": 1.0, "missing": {}, "published": (), "assumptions": (), "sources": ()}
    return Modelled(model=name, joules=joules or quantity(3e-6), **{**known, **changes})


def profile(net: str = "toy-net", layers=(), models=(), **changes) -> Profile:
    known = {
        "input_shape": (1, 8, 8), "batch_size": 1, "inputs": 1, "bits": None, "dynamic": False, "proxies": {},
        "unknown": {}, "warnings": (), "notes": (),
    }  # fmt: skip
    return Profile(net=net, layers=tuple(layers), models=tuple(models), **{**known, **changes})
