"""The contract of a backend: run a net for real, and say which nets it has real kernels for."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from joulemark.nets.net import Net
from joulemark.record import unknown_name

Images = NDArray[np.float32]

BACKENDS = {
    "onnxruntime": "joulemark.backends.onnx:OnnxRuntime",
    "eager": "joulemark.backends.eager:Eager",
}


class Compiled(Protocol):
    """A net made ready to run. What is timed is exactly ``run``; accuracy comes from the same object."""

    def run(self, images: Images) -> Images:
        """Logits (rows, classes) of images (rows, ...), both float32."""
        ...


@runtime_checkable
class Backend(Protocol):
    """A runtime with its precision pinned: fp32 means fp32."""

    name: str
    title: str
    precision: str

    def unavailable(self) -> str | None:
        """Why this backend cannot run here, with what to do; ``None`` if it can."""
        ...

    def simulated(self, net: Net) -> str | None:
        """Why running this net here only simulates its savings; ``None`` if real kernels execute all of them."""
        ...

    def compile(self, net: Net, *, threads: int) -> Compiled:
        """The net ready to run on ``threads`` threads. Raises ``ValueError`` for a net it cannot run."""
        ...


def backend(name: str) -> Backend:
    """The backend of that name. ``ValueError`` for an unknown one, offering the nearest."""
    known = backend_names()
    if name not in known:
        raise ValueError(unknown_name("backend", name, known))
    module, _, factory = known[name].partition(":")
    made = getattr(importlib.import_module(module), factory)()
    if not isinstance(made, Backend):
        raise ValueError(f"backend {name!r} ({known[name]}) is not a backend: it lacks part of the contract")
    return made


def backend_names() -> dict[str, str]:
    """Names of all backends and where they are: ours, then those of installed packages."""
    found = {entry.name: entry.value for entry in entry_points(group="joulemark.backends")}
    return {**found, **BACKENDS}
