"""Whether a compiled net still computes the net that was made: asked on real rows, before anything is timed or judged.

Runtimes fuse, reorder and round. How far the outputs may part is a share of what the net's own rounding does to them:

    in float32:   rms(compiled - made) <= max(1e-4 rms(made), r)
    in bfloat16:  rms(compiled - made) <= 2e-2 rms(made) + r,    r = min(rms(made - float), 0.9 rms(made))

where *made* is the net in eager PyTorch, its integers simulated, and *float* the same net without number formats. On
shipped baselines as int8 the left side is 0.04 to 0.67 of rms(made - float), because values on the edge of two integers
round either way; a bias that did not fit its integers gave 40.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from joulemark.backends.backend import Backend, Compiled, CompiledExits, Images
from joulemark.backends.eager import Eager
from joulemark.nets.layers.layer import is_stochastic
from joulemark.nets.net import Net

ROWS = 64
"""Rows that are compared."""
FLOAT32, BFLOAT16 = 1e-4, 2e-2
"""Share of the root mean square of the outputs by which rounding and the order of sums may change them.

Shipped baselines in ONNX Runtime are 1e-7 to 4e-7 off, in bfloat16 2e-3 to 6e-3.
"""
MOST = 0.9
"""However coarse its integers are, what a net answers is not to be lost."""


@runtime_checkable
class Inspectable(Protocol):
    """A backend that can say what the layers of a static net receive when it runs them."""

    def received(self, net: Net, paths: Sequence[str], images: Images) -> Mapping[str, Images]:
        """What each layer's products get for ``images``; layers that the backend has lost sight of are left out."""
        ...


def compiled_as_made(net: Net, backend: Backend, *, threads: int, images: Images) -> Compiled:
    """``net`` compiled on ``backend``, once its outputs for ``images`` were those of the net that was made.

    Raises ``ValueError`` as :func:`refuse_another_net` does, or for a net that the backend cannot run.
    """
    before = torch.get_num_threads()
    try:
        compiled = backend.compile(net, threads=threads)
        refuse_another_net(compiled, net, backend, images)
    finally:
        torch.set_num_threads(before)  # a backend may have set its own
    return compiled


def refuse_another_net(compiled: Compiled, net: Net, backend: Backend, images: Images) -> None:
    """Raise ``ValueError`` if ``compiled`` computes another net than ``net``, naming the layer at which they part.

    ``images`` are real rows, of which the first :data:`ROWS` are run. A dynamic net is compared at every exit, all rows
    going through all of it: on the edge of a threshold a row may leave either way. One that is random by design, or
    whose exits the backend cannot tell, is not compared.
    """
    rows = images[:ROWS]
    module, plain = net.module(), net.module(formats=False)
    dynamic = net.route is not None
    if is_stochastic(module) or (dynamic and not isinstance(compiled, CompiledExits)):
        return
    made, floats = (Eager().ready(one, torch.get_num_threads()).exit_logits(rows) for one in (module, plain))
    given = compiled.exit_logits(rows) if isinstance(compiled, CompiledExits) else [compiled.run(rows)]
    for number, (one, right, rough) in enumerate(zip(given, made, floats, strict=True), start=1):
        if not np.isfinite(right).all():
            raise ValueError("the net that was made gives outputs that are not finite")
        parted, allowed = apart(one, right, rough, backend.precision)
        if not parted <= allowed:
            where = f"at exit {number}" if dynamic else _where(net, backend, rows)
            raise ValueError(
                f"{backend.title} computes another net than the one that was made: its outputs are {parted:.2g} off "
                f"(root mean square, {allowed:.2g} allowed); they part {where}"
            )


def apart(given: NDArray[Any], made: NDArray[Any], floats: NDArray[Any], precision: str) -> tuple[float, float]:
    """By how much what was computed is off, and by how much it may be in this precision.

    >>> made = np.array([3.0, 4.0])
    >>> [round(one, 6) for one in apart(made + 0.1, made, made, "fp32")]
    [0.1, 0.000354]
    >>> [round(one, 6) for one in apart(made + 0.1, made, made - 0.05, "bf16")]
    [0.1, 0.120711]
    """
    with np.errstate(all="ignore"):  # what is not finite is parted, or refused
        size, rounding = _rms(made), _rms(made - floats)
        rounding = min(rounding, MOST * size) if np.isfinite(rounding) else 0.0
        parted = _rms(given - made)
    return parted, max(FLOAT32 * size, rounding) if precision == "fp32" else BFLOAT16 * size + rounding


def _where(net: Net, backend: Backend, images: Images) -> str:
    """The layer at which they part, in words: the last with weights whose input is still as it was made."""
    if not isinstance(backend, Inspectable):
        return f"somewhere: {backend.title} does not tell what its layers receive"
    made, floats = received(net.module(), images), received(net.module(formats=False), images)
    given = backend.received(net, list(made), images)
    last = None
    for path, right in made.items():
        if path not in given or path not in floats:
            continue
        parted, allowed = apart(given[path], right, floats[path], backend.precision)
        if not parted <= allowed:
            break
        last = path
    return "before the first layer with weights" if last is None else f"at layer {last!r}"


def received(module: nn.Module, images: Images) -> dict[str, Images]:
    """What each layer with weights receives in eager PyTorch, by its path, in the order in which they run.

    Of an integer layer, its input in integers. A layer that runs several times counts with the first.
    """
    found: dict[str, Images] = {}

    def keep(path: str) -> Any:
        def hook(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
            if path not in found and inputs and isinstance(inputs[0], torch.Tensor):
                found[path] = getattr(layer, "received", lambda x: x)(inputs[0]).detach().float().numpy().copy()

        return hook

    held = [
        layer.register_forward_pre_hook(keep(path))
        for path, layer in module.named_modules()
        if getattr(layer, "weight", None) is not None
    ]
    with torch.no_grad():
        module(torch.from_numpy(images))
    for one in held:
        one.remove()
    return found


def _rms(values: NDArray[Any]) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
