"""The contract of a backend: run a net for real, and say which nets it has real kernels for.

A *variant* is a backend with options that change no weight, written ``eager:bf16,channels_last``. A backend that has
some offers ``options`` (names and what they do) and ``with_options``; all else about a variant is as of any backend.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
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
    "sparse": "joulemark.backends.sparse:Sparse",
}
DENSE_AS = {"sparse": "eager"}
"""Backends that run a net without masks exactly as another one does: beside it nothing is learnt of such a net."""


class Compiled(Protocol):
    """A net made ready to run. What is timed is exactly ``run``; accuracy comes from the same object."""

    def run(self, images: Images) -> Images:
        """Logits (rows, classes) of images (rows, ...), both float32."""
        ...


@runtime_checkable
class CompiledExits(Compiled, Protocol):
    """A compiled net that can also answer at every exit: for choosing thresholds on what will really run."""

    def exit_logits(self, images: Images) -> list[Images]:
        """Logits (rows, classes) of every exit that has some, in order, for all rows: none leaves on the way."""
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


@runtime_checkable
class Configurable(Protocol):
    """A backend that has variants."""

    options: Mapping[str, str]  # name -> what it does, in a few words

    def with_options(self, options: Sequence[str]) -> Backend:
        """The variant with these options, all of them among ``options``."""
        ...


def backend(name: str) -> Backend:
    """The backend of that name, or a variant of it ("eager:bf16,channels_last").

    ``ValueError`` for an unknown name or option, offering the nearest.
    """
    plain, colon, words = name.partition(":")
    known = backend_names()
    if plain not in known:
        raise ValueError(unknown_name("backend", plain, known))
    module, _, factory = known[plain].partition(":")
    made = getattr(importlib.import_module(module), factory)()
    if not isinstance(made, Backend):
        raise ValueError(f"backend {plain!r} ({known[plain]}) is not a backend: it lacks part of the contract")
    if not colon:
        return made
    options = [word.strip() for word in words.split(",")]
    offered = made.options if isinstance(made, Configurable) else {}
    for option in options:
        if option not in offered:
            raise ValueError(unknown_name(f"option of backend {plain!r}:", option, offered))
    return made.with_options(options) if isinstance(made, Configurable) else made


def precision_of(net: Net, backend: Backend) -> str:
    """What the products of ``net`` are really computed in on ``backend``.

    "int8" if all layers that multiply have a format that it runs in integers, "mixed" if only some have, and the
    backend's own precision if none has or if it only simulates integers.
    """
    bare = without_masks(net)  # zeros without a kernel do not change what the products are computed in
    formats = _formats(bare)
    if not formats or backend.simulated(bare) != backend.simulated(_without_formats(bare)):
        return backend.precision
    weights = (getattr(layer, "weight", None) for layer in net.module(formats=False).modules())
    products = sum(weight is not None and weight.dim() > 1 for weight in weights)
    return "int8" if formats == products else "mixed"


def without_masks(net: Net) -> Net:
    """``net`` without its own masks and those of its parts; its weights stay as they are."""
    return net.replace(masks={}, parts={name: without_masks(part) for name, part in net.parts.items()})


def _without_formats(net: Net) -> Net:
    return net.replace(formats={}, parts={name: _without_formats(part) for name, part in net.parts.items()})


def _formats(net: Net) -> int:
    return len(net.formats) + sum(map(_formats, net.parts.values()))


def variant_name(plain: str, options: Iterable[str]) -> str:
    """The one name of a variant, whatever the order of its options.

    >>> variant_name("eager", ["channels_last", "bf16"]), variant_name("eager", [])
    ('eager:bf16,channels_last', 'eager')
    """
    words = ",".join(sorted(set(options)))
    return f"{plain}:{words}" if words else plain


def backend_names() -> dict[str, str]:
    """Names of all backends and where they are: ours, then those of installed packages."""
    found = {entry.name: entry.value for entry in entry_points(group="joulemark.backends")}
    return {**found, **BACKENDS}
